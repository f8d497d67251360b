"""The step of `AndersonTGS` as one pass of compiled code: every sample's vectors are read while they are in cache."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.solvers._native import library
from eqtheory.solvers._safeguard import CLEAR_PROGRESS

__all__ = ["NativeState", "empty", "extrapolate"]


@dataclass(frozen=True)
class NativeState:
    """What the compiled iteration remembers; everything is written in place, the batch is the first axis of every tensor.

    Args:
        f: residuals at the previous states, shape `(batch, n)`.
        h: their images `y + beta f`.
        directions: orthogonal directions, shape `(batch, m + 1, n)`; one more than are used, for the next.
        moves: the moves that go with them.
        lengths: of the directions, shape `(batch, m + 1)`; zero where there is none.
        along: `<d, f> / |d|^2` of each, shape `(batch, m + 1)`.
        slot: where the next direction goes.
        image: `G` at the best state since the last restart, shape `(batch, n)`.
        best: its residual, shape `(batch,)`.
        mark: residual at the last clear progress, shape `(batch,)`.
        stale: steps since then, shape `(batch,)`.
        known: whether there is a previous state to difference with, uint8, shape `(batch,)`.
        size: residuals at the last states, shape `(batch,)`.
    """

    f: Tensor
    h: Tensor
    directions: Tensor
    moves: Tensor
    lengths: Tensor
    along: Tensor
    slot: int
    image: Tensor
    best: Tensor
    mark: Tensor
    stale: Tensor
    known: Tensor
    size: Tensor


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
    return NativeState(
        f=torch.zeros_like(flat),
        h=torch.zeros_like(flat),
        directions=flat.new_zeros(batch, kept + 1, n),
        moves=flat.new_zeros(batch, kept + 1, n),
        lengths=flat.new_zeros(batch, kept + 1),
        along=flat.new_zeros(batch, kept + 1),
        slot=0,
        image=torch.zeros_like(flat),
        best=flat.new_full((batch,), torch.inf),
        mark=flat.new_full((batch,), torch.inf),
        stale=torch.zeros(batch, dtype=torch.int64),
        known=torch.zeros(batch, dtype=torch.uint8),
        size=flat.new_full((batch,), torch.inf),
    )


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
    slots = state.lengths.shape[1]
    tensors = (
        y, g, state.f, state.h, state.directions, state.moves, state.lengths, state.along, state.image,
        state.best, state.mark, state.stale, state.known, state.size, out,
    )  # fmt: skip
    _kernel(g.dtype)(
        batch, n, slots, state.slot, *(t.data_ptr() for t in tensors),
        mixing, floor, torch.finfo(g.dtype).tiny, CLEAR_PROGRESS, growth, patience,
    )  # fmt: skip
    object.__setattr__(state, "slot", (state.slot + 1) % slots)
    return out, state


@cache
def _kernel(dtype: torch.dtype) -> Any:
    function = getattr(library("_anderson_tgs"), "tgs_step_double" if dtype is torch.float64 else "tgs_step_float")
    function.argtypes = [*[ctypes.c_long] * 4, *[ctypes.c_void_p] * 15, *[ctypes.c_double] * 5, ctypes.c_long]
    function.restype = None
    return function
