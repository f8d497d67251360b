"""How steep iterates are after every number of iterations, in one pass."""

from __future__ import annotations

from eqtheory.lipschitz.curves._curve import curve
from eqtheory.lipschitz.curves._findings import Finding, Shape
from eqtheory.lipschitz.curves._iteration import Iteration
from eqtheory.lipschitz.curves._result import Curve

__all__ = ["Curve", "Finding", "Iteration", "Shape", "curve"]
