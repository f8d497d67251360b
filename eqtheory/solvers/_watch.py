"""Who leaves at this step? Asked of compiled code, at every step, in one pass over the states.

What a solve does, and to the last bit what it returns, is what the ledger would decide in torch. Most steps decide nothing, since everyone
stays, and most samples leave because they have clearly converged. The compiled reading sees both for a fraction of the price; whom it is
not sure of it names, and only these are read by the ledger.

**Why no bit changes.** Let `r` and `i` be the norms of `g - y` and of `g` as torch computes them, `r'` and `i'` as compiled code does. Both
are within `1 ± gamma`, `gamma = gamma_{2n+16}`, of the norms of the same rounded vectors, so they differ by a factor of at most
`rho = (1 + gamma) / (1 - gamma)`, which has room for the roundings of the comparison itself. With `limit` and `near`, the bounds of the
ledger, computed from `r'` and `i'` where the ledger has them from `r` and `i`, a sample surely stays if

    r' > rho^2 (rtol max(i', floor) + atol)      and      rho^2 r' <= limit,

whence `r > rtol i + atol` and `r` is within its limit; and it surely converges if

    rho^2 r' <= rtol i' + atol,      rho^2 r' <= near      and      rho^2 r' <= limit.

Below `floor` squares may have lost their digits. There, where anything is NaN or infinite, and in the narrow strips between, the
ledger looks. Of a sample that has left, `G` at its last state is kept, from which torch computes the residual that is reported. Where
states are so long that `rho` tells nothing, nothing is asked.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.roundoff import gamma, unit_roundoff
from eqtheory.solvers._compiled_step import CompiledState, address
from eqtheory.solvers._measure import Gauge, roundings
from eqtheory.solvers._native import compiled, kernel
from eqtheory.solvers._status import Status
from eqtheory.solvers._stop import Quantity, Stop

__all__ = ["Watch"]

_MOST = 0.1
"""The largest `n u` with which a reading is worth its price."""


class _Account(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "n")),
        *((name, ctypes.c_double) for name in ("rtol", "atol", "growth", "floor", "most", "rounding")),
        *(
            (name, ctypes.c_void_p)
            for name in ("limit", "near", "active", "status", "steps", "doubtful", "gone", "image")
        ),
        *((name, ctypes.c_int64) for name in ("doubts", "left", "converged")),
    ]


@final
class Watch:
    """The compiled reading for one batch. It writes into the account's tensors.

    Args:
        stop: the stop test.
        gauge: measures states.
        growth: residuals beyond this multiple of the start's size diverge.
        active: who is still iterated, bool, shape `(batch,)`.
        status: how the others ended, int8, shape `(batch,)`.
        steps: when, int64, shape `(batch,)`.
        bounds: float64, shape `(2, batch)`: beyond which residuals diverge and below which they are near the tolerance; what they
            hold is overwritten at the first step and at every eighth.
    """

    def __init__(
        self, stop: Stop, gauge: Gauge, growth: float, active: Tensor, status: Tensor, steps: Tensor, bounds: Tensor
    ) -> None:
        share, shape = gamma(roundings(gauge.entries), gauge.dtype), active.shape
        self._shape, self._dtype = shape, gauge.dtype
        self._listed = torch.empty((2, *shape), dtype=torch.int64)
        self._image = torch.empty((*shape, gauge.entries), dtype=gauge.dtype)
        self.bounds = bounds
        self._read = _reader(gauge.dtype)
        limits = address("bounds", bounds, (2, *shape), torch.float64)
        listed = self._listed.data_ptr()
        self._account = _Account(
            batch=shape[0],
            n=gauge.entries,
            rtol=stop.rtol,
            atol=stop.atol,
            growth=growth,
            floor=gauge.floor,
            most=torch.finfo(gauge.dtype).max,
            rounding=(1 + share) / (1 - share),
            limit=limits,
            near=limits + 8 * shape[0],
            active=address("active", active, shape, torch.bool),
            status=address("status", status, shape, torch.int8),
            steps=address("steps", steps, shape, torch.int64),
            doubtful=listed,
            gone=listed + 8 * shape[0],
            image=self._image.data_ptr(),
            converged=Status.CONVERGED.value,
        )
        self._at = ctypes.addressof(self._account)
        self._keep = (active, status, steps)

    @staticmethod
    def possible(stop: Stop, gauge: Gauge, y: Tensor) -> bool:
        """Whether there is a compiled reading for such a solve.

        Args:
            stop: the stop test.
            gauge: measures states.
            y: states of the shape, dtype and device to come.

        Returns:
            True for residuals in the Euclidean norm, in float32 or float64 on a CPU, where the kernels have been compiled.
        """
        return (
            y.is_cpu
            and gauge.euclidean
            and stop.of is Quantity.RESIDUAL
            and roundings(gauge.entries) * unit_roundoff(gauge.dtype) < _MOST
            and compiled() is not None
        )

    @property
    def left(self) -> int:
        """How many have left at the word of compiled code."""
        return int(self._account.left)

    @property
    def gone(self) -> Tensor:
        """Who they are, in the order in which they left, shape `(left,)`."""
        return self._listed[1, : self.left]

    @property
    def images(self) -> Tensor:
        """`G` at their last states, shape `(batch, n)`; the rows of the others mean nothing."""
        return self._image

    @property
    def doubtful(self) -> Tensor:
        """Whom the last look was not sure of, shape `(k,)`."""
        return self._listed[0, : int(self._account.doubts)]

    def look(
        self,
        t: int,
        y: Tensor,
        g: Tensor,
        *,
        eighth: bool,
        last: bool,
        measured: CompiledState | None,
        anchor: Tensor | None,
        proposal: Tensor | None,
    ) -> int:
        """Let those go who have surely converged, and find out who else may leave.

        Args:
            t: the step.
            y: states, shape `(batch, ...)`, contiguous.
            g: `G(y, x)`, likewise.
            eighth: whether nearness to the tolerance is reckoned from here.
            last: whether no step follows, so that nearness does not matter.
            measured: norms, where a compiled step at these states has taken them.
            anchor: states to which a sample may have come back.
            proposal: the next states where they are known; those who leave stay where they are in it.

        Returns:
            How many are `doubtful`; -1 where a sample may be back at the anchor.
        """
        shape, dtype = (*self._shape, *y.shape[1:]), self._dtype
        then = None if anchor is None else address("anchor", anchor, shape, dtype)
        size = scale = to = None
        if measured is None:
            here = address("y", y, shape, dtype), address("g", g, shape, dtype)
        else:  # the step has checked y and g
            here, size, scale = (y.data_ptr(), g.data_ptr()), measured.plan.size, measured.plan.scale
            to = None if proposal is None else address("proposal", proposal, shape, dtype)
        found: int = self._read(self._at, t, eighth, last, *here, size, scale, then, to)
        return found


@cache
def _reader(dtype: torch.dtype) -> Any:
    arguments = (ctypes.c_void_p, *[ctypes.c_long] * 3, *[ctypes.c_void_p] * 6)
    return kernel("read", dtype, arguments, ctypes.c_long)
