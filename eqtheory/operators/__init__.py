"""Operators `G(y, x)`, what they promise, and how they combine."""

from __future__ import annotations

from eqtheory.operators._attention import written_out
from eqtheory.operators._base import FunctionOperator, ImplicitOperator, as_operator
from eqtheory.operators._combinators import Cascade, Clipped, Composed, Encoded, Relaxed
from eqtheory.operators._linearization import Linearization
from eqtheory.operators._memo import OncePerInput
from eqtheory.operators._regularity import Regularity

__all__ = [
    "Cascade",
    "Clipped",
    "Composed",
    "Encoded",
    "FunctionOperator",
    "ImplicitOperator",
    "Linearization",
    "OncePerInput",
    "Regularity",
    "Relaxed",
    "as_operator",
    "written_out",
]
