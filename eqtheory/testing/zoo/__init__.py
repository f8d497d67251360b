"""The zoo of broken things: constructions that look right and are not, kept so that every check can be seen to fail."""

from __future__ import annotations

from eqtheory.testing.zoo.adjoint_bounds import BROKEN_ADJOINT_BOUNDS, BoundClaim
from eqtheory.testing.zoo.adjoints import BROKEN_ADJOINTS, BROKEN_THRESHOLDS, AdjointClaim, ThresholdClaim
from eqtheory.testing.zoo.bounds import BROKEN_BOUNDS, BrokenBound, broken_bounds
from eqtheory.testing.zoo.flows import FlowClaim, advection_form, broken_flows, honest_flows
from eqtheory.testing.zoo.pointwise_contraction import PointwiseContraction, twin_slope_pair
from eqtheory.testing.zoo.relaxations import BROKEN_RELAXATIONS, RelaxationClaim, honest_claim
from eqtheory.testing.zoo.restorations import (
    BROKEN_RESTORATIONS,
    HONEST_RESTORATIONS,
    Restoration,
    RestorationClaim,
)
from eqtheory.testing.zoo.schedules import BROKEN_SCHEDULES, ScheduleClaim

__all__ = [
    "BROKEN_ADJOINTS",
    "BROKEN_ADJOINT_BOUNDS",
    "BROKEN_BOUNDS",
    "BROKEN_RELAXATIONS",
    "BROKEN_RESTORATIONS",
    "BROKEN_SCHEDULES",
    "BROKEN_THRESHOLDS",
    "HONEST_RESTORATIONS",
    "AdjointClaim",
    "BoundClaim",
    "BrokenBound",
    "FlowClaim",
    "PointwiseContraction",
    "RelaxationClaim",
    "Restoration",
    "RestorationClaim",
    "ScheduleClaim",
    "ThresholdClaim",
    "advection_form",
    "broken_bounds",
    "broken_flows",
    "honest_claim",
    "honest_flows",
    "twin_slope_pair",
]
