"""When is a sample done?

A sample has converged when one measured quantity is small relative to another:

    RESIDUAL          |G(y,x) - y|               <=  atol + rtol |G(y,x)|
    CERTIFIED_ERROR   T1's bound on |y - y*|     <=  atol + rtol |y|

Both are taken at the state that is returned, and both use the operator itself: a relaxed solver takes shorter steps, but it
cannot shorten what is tested. A small residual is not a small error: by T1 the error can be `1/(1 - mu)` times larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import isfinite

from eqtheory.errors import InputError

__all__ = ["Quantity", "Stop"]


class Quantity(Enum):
    """What the stop test compares with the tolerance."""

    RESIDUAL = "norm of G(y, x) - y, relative to the norm of G(y, x)"
    CERTIFIED_ERROR = "T1's bound on the distance to the fixed point, relative to the norm of y"


@dataclass(frozen=True)
class Stop:
    """The stop test, applied to every sample on its own.

    Args:
        rtol: relative tolerance, at least 0.
        atol: absolute tolerance in the units of the state, at least 0. With `rtol = atol = 0` only an exact fixed point of
            the floating-point operator passes.
        of: what is tested; `CERTIFIED_ERROR` needs an operator with a proved or declared `mu`.
        max_steps: number of steps, at least 0; one more evaluation than steps is made, and with 0 the start is only judged.
        check_every: steps between two looks at the accelerator from the host; by default 1 on a CPU and 8 elsewhere. Samples
            freeze at the right step either way; up to `check_every - 1` evaluations are made in vain at the end.
        divergence: a sample is given up when its residual exceeds this multiple of `|G(y0)| + |G(y0) - y0|`. By default
            `1/u`, with `u` the unit roundoff of the state's dtype: beyond it, adding the starting point to the state would
            change nothing, so nothing of the problem's scale is left. Transient growth of non-normal operators stays below.

    Raises:
        InputError: a tolerance that is negative or not finite, or a count out of range.

    Example:
        >>> Stop(rtol=1e-3, max_steps=20).of.name
        'RESIDUAL'
    """

    rtol: float = 1e-6
    atol: float = 0.0
    of: Quantity = Quantity.RESIDUAL
    max_steps: int = 1000
    check_every: int | None = None
    divergence: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if not (isfinite(value) and value >= 0):
                raise InputError(name, str(value), "a finite number >= 0", f"pass for example {name}=1e-6")
        if not isinstance(self.of, Quantity):
            raise InputError("of", repr(self.of), "a Quantity", "pass Quantity.RESIDUAL or Quantity.CERTIFIED_ERROR")
        if not (isinstance(self.max_steps, int) and self.max_steps >= 0):
            raise InputError("max_steps", str(self.max_steps), "an integer >= 0", "pass for example max_steps=1000")
        if self.check_every is not None and not (isinstance(self.check_every, int) and self.check_every >= 1):
            raise InputError("check_every", str(self.check_every), "an integer >= 1 or None", "leave it at None")
        if self.divergence is not None and not (isfinite(self.divergence) and self.divergence > 1):
            raise InputError("divergence", str(self.divergence), "a finite number > 1 or None", "leave it at None")
