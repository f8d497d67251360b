"""The step of `AndersonTGS` as one pass of compiled code: every sample's vectors are read while they are in cache."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.solvers._native import load
from eqtheory.solvers._safeguard import CLEAR_PROGRESS

__all__ = ["NativeState", "empty", "extrapolate"]


@dataclass(frozen=True)
class NativeState:
    """What the compiled iteration remembers; everything is written in place, the batch is the first axis of every tensor.

    Args:
        vectors: shape `(batch, 3 + 2 (m + 1), n)`: residual and image at the previous state, image at the best state, directions,
            their moves.
        numbers: shape `(batch, 5 + 2 (m + 1))`: last residual, best one, the safeguard's mark, steps since it, whether the previous
            state may be differenced with, lengths of the directions (zero where there is none), components along them.
        slot: where the next direction goes.
    """

    vectors: Tensor
    numbers: Tensor
    slot: int

    @property
    def size(self) -> Tensor:
        """Residuals at the last states, shape `(batch,)`."""
        return self.numbers[:, 0]


def empty(flat: Tensor, kept: int) -> NativeState:
    """Return an empty memory.

    Args:
        flat: states, shape `(batch, n)`, float32 or float64.
        kept: how many directions are used.

    Returns:
        The state before the first step.

    Raises:
        InputError: the states are not on a CPU.
    """
    if flat.device.type != "cpu":
        raise InputError("native", f"True, and states on {flat.device}", "states on a CPU", "pass native=False")
    batch, n = flat.shape
    _kernel(flat.dtype)  # compiled before the first step, where an error belongs
    slots = kept + 1
    numbers = flat.new_zeros(batch, 5 + 2 * slots)
    numbers[:, :3] = torch.inf
    return NativeState(flat.new_zeros(batch, 3 + 2 * slots, n), numbers, 0)


def extrapolate(
    state: NativeState, y: Tensor, g: Tensor, *, mixing: float, floor: float, growth: float, patience: int
) -> tuple[Tensor, NativeState]:
    """Propose the next states.

    Args:
        state: used up.
        y: states, shape `(batch, n)`.
        g: `G(y, x)`.
        mixing: `beta`.
        floor: share of a difference that has to be new.
        growth: residual over the best one that makes it start again.
        patience: steps without clear progress that do.

    Returns:
        Proposals, shape `(batch, n)`, and the next memory.
    """
    y, g = y.contiguous(), g.contiguous()
    out = torch.empty_like(g)
    batch, n = g.shape
    slots = (state.numbers.shape[1] - 5) // 2
    pointers = (t.data_ptr() for t in (y, g, state.vectors, state.numbers, out))
    tiny = torch.finfo(g.dtype).tiny
    _kernel(g.dtype)(batch, n, slots, state.slot, *pointers, mixing, floor, tiny, CLEAR_PROGRESS, growth, patience)
    return out, NativeState(state.vectors, state.numbers, (state.slot + 1) % slots)


@cache
def _kernel(dtype: torch.dtype) -> Any:
    function = getattr(load("_anderson_tgs"), "tgs_step_double" if dtype is torch.float64 else "tgs_step_float")
    function.argtypes = [*[ctypes.c_long] * 4, *[ctypes.c_void_p] * 5, *[ctypes.c_double] * 5, ctypes.c_long]
    function.restype = None
    return function
