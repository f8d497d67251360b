"""The zoo of broken things: constructions that look right and are not, kept so that every check can be seen to fail."""

from __future__ import annotations

from eqtheory.testing.zoo.adjoint_bounds import BROKEN_BOUNDS, BoundClaim
from eqtheory.testing.zoo.adjoints import BROKEN_ADJOINTS, BROKEN_THRESHOLDS, AdjointClaim, ThresholdClaim
from eqtheory.testing.zoo.pointwise_contraction import PointwiseContraction, twin_slope_pair
from eqtheory.testing.zoo.relaxations import BROKEN_RELAXATIONS, RelaxationClaim, honest_claim

__all__ = [
    "BROKEN_ADJOINTS",
    "BROKEN_BOUNDS",
    "BROKEN_RELAXATIONS",
    "BROKEN_THRESHOLDS",
    "AdjointClaim",
    "BoundClaim",
    "PointwiseContraction",
    "RelaxationClaim",
    "ThresholdClaim",
    "honest_claim",
    "twin_slope_pair",
]
