"""Who could leave at this step? Asked of compiled code, at every step, in one pass over the states.

What a solve does, and to the last bit what it returns, is decided by the ledger, in torch. Most steps decide nothing: everyone stays.
The compiled reading finds that out for a fraction of the price and names those it is not sure of; only these are read by the ledger.

**Why no bit changes.** Let `r` and `i` be the norms of `g - y` and of `g` as torch computes them, `r'` and `i'` as compiled code does. Both
are within `1 ± gamma`, `gamma = gamma_{2n+16}`, of the norms of the same rounded difference, so they differ by a factor of at most
`rho = (1 + gamma) / (1 - gamma)`, which has room for the roundings of the comparison itself. A sample is passed over only if

    r' > rho^2 (rtol max(i', floor) + atol),      r' > rho floor,      rho r' <= limit,

whence `r > rtol i + atol` and `r <= limit`: the ledger would have let it stay. Below `floor` squares may have lost their digits; there, and
where anything is NaN or infinite, a comparison fails and the ledger looks. Where states are so long that `rho` tells nothing, nobody is
passed over and nothing is asked.
"""

from __future__ import annotations

import ctypes
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.roundoff import gamma, unit_roundoff
from eqtheory.solvers._compiled_step import CompiledState, address
from eqtheory.solvers._measure import Gauge, roundings
from eqtheory.solvers._native import compiled, kernel
from eqtheory.solvers._stop import Quantity, Stop

__all__ = ["Watch"]

_MOST = 0.1
"""The largest `n u` with which a reading is worth its price."""


class _Account(ctypes.Structure):
    _fields_ = [
        ("batch", ctypes.c_long),
        ("n", ctypes.c_long),
        *((name, ctypes.c_double) for name in ("rtol", "atol", "floor", "rounding")),
        *((name, ctypes.c_void_p) for name in ("limit", "active", "rows")),
    ]


@final
class Watch:
    """The compiled reading for one batch.

    Args:
        stop: the stop test.
        gauge: measures states.
        limit: residuals above it diverge, shape `(batch,)`.
        active: who is still iterated, shape `(batch,)`.
    """

    def __init__(self, stop: Stop, gauge: Gauge, limit: Tensor, active: Tensor) -> None:
        share = gamma(roundings(gauge.entries), gauge.dtype)
        self._batch, self._dtype = len(limit), gauge.dtype
        self._rows = torch.zeros(self._batch, dtype=torch.int64)
        self._read: Any = kernel("read", gauge.dtype, (ctypes.c_void_p,) * 6, ctypes.c_long)
        self._account = _Account(
            batch=self._batch,
            n=gauge.entries,
            rtol=stop.rtol,
            atol=stop.atol,
            floor=gauge.floor,
            rounding=(1 + share) / (1 - share),
            rows=self._rows.data_ptr(),
        )
        self._at = ctypes.addressof(self._account)
        self._limit = limit.contiguous()
        self._account.limit = self._limit.data_ptr()
        self.follow(active)

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

    def follow(self, active: Tensor) -> None:
        """Take notice of who is left.

        Args:
            active: shape `(batch,)`.
        """
        self._active = active.contiguous()
        self._account.active = self._active.data_ptr()

    def look(self, y: Tensor, g: Tensor, measured: CompiledState | None, anchor: Tensor | None) -> Tensor | None:
        """Say who could leave.

        Args:
            y: states, shape `(batch, ...)`, contiguous.
            g: `G(y, x)`, likewise.
            measured: norms, where a compiled step at these states has taken them.
            anchor: states to which a sample may have come back.

        Returns:
            The rows that have to be read, shape `(k,)`; `None` where a sample may be back at the anchor.
        """
        size = scale = then = None
        if measured is not None:
            size = address("size", measured.size, self._limit.shape, self._dtype)
            scale = address("scale", measured.scale, self._limit.shape, self._dtype)
        if anchor is not None:
            then = address("anchor", anchor, y.shape, self._dtype)
        shape = (self._batch, *y.shape[1:])
        found = self._read(self._at, address("y", y, shape, self._dtype), address("g", g, shape, self._dtype), size, scale, then)
        return None if found < 0 else self._rows[:found]
