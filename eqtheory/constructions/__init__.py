"""What the proofs build: operators with a prescribed fixed-point map and proved regularity."""

from __future__ import annotations

from eqtheory.constructions._adaptive import adaptive_relaxation
from eqtheory.constructions._certificate import BudgetCertificate, certify_budget
from eqtheory.constructions._constant import ConstantRelaxation
from eqtheory.constructions._estimated import EstimatedRelaxation, estimated_relaxation
from eqtheory.constructions._exact import ExactRelaxation, exact_radii
from eqtheory.constructions._finite_radii import exact_ball_radii, majorant_radii
from eqtheory.constructions._jacobian_free import WorstInstance, least_cosine, least_descent
from eqtheory.constructions._radius import largest_radius
from eqtheory.constructions._reciprocal import MatrixInverse, Reciprocal, TwoSidedReciprocal
from eqtheory.constructions._relaxation import AdaptiveRelaxation
from eqtheory.constructions._rules import RadiusProduct, RelaxationRule, SquaredRadius
from eqtheory.constructions._tables import ExactBalls, SlopeMajorant, TableRelaxation
from eqtheory.constructions._target import TargetRelaxation

__all__ = [
    "AdaptiveRelaxation",
    "BudgetCertificate",
    "ConstantRelaxation",
    "EstimatedRelaxation",
    "ExactBalls",
    "ExactRelaxation",
    "MatrixInverse",
    "RadiusProduct",
    "Reciprocal",
    "RelaxationRule",
    "SlopeMajorant",
    "SquaredRadius",
    "TableRelaxation",
    "TargetRelaxation",
    "TwoSidedReciprocal",
    "WorstInstance",
    "adaptive_relaxation",
    "certify_budget",
    "estimated_relaxation",
    "exact_ball_radii",
    "exact_radii",
    "largest_radius",
    "least_cosine",
    "least_descent",
    "majorant_radii",
]
