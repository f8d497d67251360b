"""The step of a solver of Anderson's kind as compiled code, two passes over the vectors of a sample while they are in cache.

The torch versions of `AndersonTGS` and `Anderson` say what is computed. Around an operation of 200 microseconds the price of a step
is the number of times its vectors are read and written, so the kernels compute the same in fewer passes:

- **No image of the previous state.** With `y_{k+1} = h_k - sum_j c_j w_j` and `h_k = y_k + beta f_k`, the newest move is

      h_{k+1} - h_k = beta f_{k+1} - sum_j c_j w_j,

  made of what the step reads anyway. The best image, to which the safeguard returns, is found in the same way when the residual
  first fails to become smaller, `G(y_k) = y_{k+1} + sum_j c_j w_j + (1 - beta) f_k`, and is not copied before that.
- **Coefficients before vectors.** A first pass takes the inner products of `f = f_k`, of `e = f_k - f_{k-1}` and of the columns `v_j`.
  For orthogonal `v_j` of lengths `l_j`, `s_j = <v_j, e> / l_j^2` and `a_j = <v_j, f> / l_j^2` (the last step's, plus `s_j`), what
  Gram and Schmidt leave of the difference, `d = e - sum_j s_j v_j`, has

      |d|^2 = |e|^2 - sum_j s_j <v_j, e>,       <d, f> = <e, f> - sum_j a_j <v_j, e>,

  so the coefficient `<d, f> / |d|^2` of its move is known before `d` is formed. Where less than a sixteenth of `|e|^2` is left, a
  further pass takes the products of `d` itself and removes what rounding left of the `v_j` ("twice is enough"); so at most four
  bits are ever lost to the subtraction. A second pass then writes `d`, its move `beta f - sum_j a_j w_j` and the proposal.
- **The oldest column gives way in place**, entry by entry, in the second pass.

For `Anderson` the products with `f` likewise follow from those with `e`, `<u_j, f_k> = <u_j, f_{k-1}> + <u_j, e>`, and the small system
is solved by `L D L^T`, whose pivots are at least the ridge wherever `U^T U` is positive semidefinite but for rounding below it.

The norms of `g - y` and of `g`, which the loop asks for, are by-products of the first pass.

References:
    Giraud, Langou and Rozloznik, The loss of orthogonality in the Gram-Schmidt orthogonalization process, Comput. Math. Appl. 50
    (2005), section 4 (twice is enough).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.solvers._native import compile_kernels, compiled, kernel
from eqtheory.solvers._safeguard import CLEAR_PROGRESS

__all__ = ["LONGEST", "CompiledState", "Rules", "address", "begin", "extrapolate"]

LONGEST = 64
"""The longest memory of a kernel: what `kernels/all.c` has storage for."""
_GUARD = 5
_DOUBLES = ("mixing", "floor", "tiny", "progress", "growth", "ridge")
_LONGS = ("patience", "batch", "n", "m")
_POINTERS = ("vectors", "numbers", "size", "scale", "small")


class _Plan(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_double) for name in _DOUBLES),
        *((name, ctypes.c_long) for name in _LONGS),
        *((name, ctypes.c_void_p) for name in _POINTERS),
    ]


@dataclass(frozen=True)
class Rules:
    """The settings of a kernel.

    Args:
        name: of the kernel.
        mixing: `beta`.
        growth: residual over the best one that makes it start again.
        patience: steps without clear progress that do.
        floor: share of a difference that has to be new.
        ridge: relative ridge on unit columns.
    """

    name: str
    mixing: float
    growth: float
    patience: int
    floor: float = 0.0
    ridge: float = 0.0


@dataclass
class CompiledState:
    """What a compiled iteration remembers; everything is written in place, the batch is the first axis of every tensor.

    Args:
        vectors: shape `(batch, 2 + 2 m, n)`: residual at the previous state, image at the best state, columns, their moves.
        numbers: shape `(batch, 5 + k)`: best residual, the safeguard's mark, steps since it, whether the previous state may be
            differenced with, whether the best image is still to be kept; what else the kernel knows in the states' precision.
        small: shape `(batch, k)`: what it knows in float64.
        size: norms of `g - y` at the last states, shape `(batch,)`.
        scale: norms of `g` there, shape `(batch,)`.
        slot: where the next column goes.
    """

    vectors: Tensor
    numbers: Tensor
    small: Tensor
    size: Tensor
    scale: Tensor
    slot: int

    @property
    def ready(self) -> bool:
        """Whether the kernel's arguments are put together for these very tensors; rows that were taken have to be prepared anew."""
        return "plan" in self.__dict__

    def prepare(self, rules: Rules) -> CompiledState:
        """Put together what a kernel is handed at every step.

        Args:
            rules: the settings.

        Returns:
            The state itself.

        Raises:
            InputError: a tensor that the kernel would misread.
        """
        batch, rows, n = self.vectors.shape
        m, dtype = (rows - 2) // 2, self.vectors.dtype
        numbers, small = _widths(rules.name, m)
        self.step = _step(rules.name, dtype)
        self.plan = _Plan(
            **{name: getattr(rules, name) for name in ("mixing", "growth", "patience", "floor", "ridge")},
            vectors=address("vectors", self.vectors, (batch, rows, n), dtype),
            numbers=address("numbers", self.numbers, (batch, numbers), dtype),
            small=address("small", self.small, (batch, small), torch.float64),
            size=address("size", self.size, (batch,), dtype),
            scale=address("scale", self.scale, (batch,), dtype),
            tiny=torch.finfo(dtype).tiny,
            progress=CLEAR_PROGRESS,
            batch=batch,
            n=n,
            m=m,
        )
        return self


def begin(name: str, flat: Tensor, kept: int) -> CompiledState:
    """Return an empty memory, and compile the kernels where they are not.

    Args:
        name: of the kernel.
        flat: states, shape `(batch, n)`, float32 or float64.
        kept: how many columns are used.

    Returns:
        The state before the first step.

    Raises:
        InputError: the states are not on a CPU, the memory is too long, or there is no working C compiler.
    """
    if flat.device.type != "cpu":
        raise InputError("native", f"True, and states on {flat.device}", "states on a CPU", "pass native=False")
    if kept > LONGEST:
        raise InputError("native", f"True, and memory {kept}", f"memory <= {LONGEST}", "pass native=False")
    if compiled() is None:
        compile_kernels()
        _step.cache_clear()
    batch, n = flat.shape
    numbers, small = _widths(name, kept)
    known = flat.new_zeros(batch, numbers)
    known[:, :2] = torch.inf
    return CompiledState(
        vectors=flat.new_empty(batch, 2 + 2 * kept, n),  # nothing is read before it is written
        numbers=known,
        small=torch.zeros(batch, small, dtype=torch.float64),
        size=flat.new_full((batch,), torch.inf),
        scale=flat.new_full((batch,), torch.inf),
        slot=0,
    )


def extrapolate(state: CompiledState, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, CompiledState]:
    """Propose the next states.

    Args:
        state: prepared; used up.
        y: states, shape `(batch, n)`.
        g: `G(y, x)`.
        active: which samples are still iterated; the others stay where they are.

    Returns:
        Proposals, shape `(batch, n)`, and the next memory.
    """
    plan, dtype = state.plan, state.vectors.dtype
    shape = (plan.batch, plan.n)
    y, g = y.contiguous(), g.contiguous()
    out = torch.empty_like(g)
    addresses = (
        address("y", y, shape, dtype),
        address("g", g, shape, dtype),
        address("active", active, shape[:1], torch.bool),
    )
    state.step(ctypes.addressof(plan), state.slot, *addresses, out.data_ptr())
    state.slot = (state.slot + 1) % plan.m
    return out, state


def _widths(name: str, m: int) -> tuple[int, int]:
    """How many numbers a sample has in the states' precision and in float64."""
    return (_GUARD + 2 * m, 0) if name == "anderson_tgs" else (_GUARD, m * m + 2 * m)


def address(name: str, t: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Where a tensor's numbers lie, one after the other.

    Args:
        name: what the tensor is, for the message.
        t: the tensor.
        shape: what compiled code takes it for.
        dtype: likewise.

    Returns:
        The address of its first number.

    Raises:
        InputError: a tensor that compiled code would misread.
    """
    if t.shape != shape or t.dtype is not dtype or not t.is_cpu or not t.is_contiguous():
        came = f"{tuple(t.shape)}, {t.dtype} on {t.device}{'' if t.is_contiguous() else ', not contiguous'}"
        raise InputError(name, came, f"{shape}, {dtype} on cpu, contiguous", "pass the state that `init` returned")
    return t.data_ptr()


@cache
def _step(name: str, dtype: torch.dtype) -> Any:
    return kernel(name, dtype, (ctypes.c_void_p, ctypes.c_long, *[ctypes.c_void_p] * 4))
