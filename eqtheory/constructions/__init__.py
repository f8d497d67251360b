"""What the proofs build: operators with a prescribed fixed-point map and proved regularity."""

from __future__ import annotations

from eqtheory.constructions._adaptive import adaptive_relaxation
from eqtheory.constructions._certificate import (
    BudgetCertificate,
    SimplicityCertificate,
    certify_budget,
    certify_simplicity,
)
from eqtheory.constructions._constant import ConstantRelaxation
from eqtheory.constructions._estimated import EstimatedRelaxation, estimated_relaxation
from eqtheory.constructions._exact import ExactRelaxation, exact_radii
from eqtheory.constructions._fastest_schedule import ScheduleComparison, compare_schedules, fastest_schedule
from eqtheory.constructions._finite_radii import exact_ball_radii, majorant_radii
from eqtheory.constructions._greatest_schedule import exact_greatest_schedule, greatest_on_line, greatest_schedule
from eqtheory.constructions._jacobian_free import WorstInstance, least_cosine, least_descent
from eqtheory.constructions._radius import largest_radius
from eqtheory.constructions._reciprocal import MatrixInverse, Reciprocal, TwoSidedReciprocal
from eqtheory.constructions._relaxation import AdaptiveRelaxation, StepRelaxation
from eqtheory.constructions._rules import RadiusProduct, RelaxationRule, SquaredRadius
from eqtheory.constructions._schedules import ScheduledRelaxation
from eqtheory.constructions._steady_flow import OseenStep, StokesPicard
from eqtheory.constructions._tables import ExactBalls, SlopeMajorant, TableRelaxation
from eqtheory.constructions._target import TargetRelaxation
from eqtheory.constructions._torus import GalerkinTorus
from eqtheory.constructions.imaging import (
    Ball,
    Box,
    CircularBlur,
    ConstraintSet,
    DenseMap,
    HalfQuadraticSplitting,
    LinearMap,
    ProximalGradient,
    ProximalStep,
    SingularVectors,
    Sphere,
    Subspace,
    hqs,
    pgd,
)
from eqtheory.constructions.linear_programming import (
    LargestPart,
    LinearProgram,
    LinearSolution,
    LinearStatus,
    OptimalBasis,
    Optimality,
    PrimalDual,
    ProgramPart,
    RegularisedDual,
    ScaledProgram,
    block_diagonal,
    equilibrated,
    farkas_radius,
    optimal_basis,
    optimality,
    part_distances,
    perturbed,
    primal_dual_step,
    recession_cone,
    recession_radius,
    shifted,
    solve_linear_program,
)

__all__ = [
    "AdaptiveRelaxation",
    "Ball",
    "Box",
    "BudgetCertificate",
    "CircularBlur",
    "ConstantRelaxation",
    "ConstraintSet",
    "DenseMap",
    "EstimatedRelaxation",
    "ExactBalls",
    "ExactRelaxation",
    "GalerkinTorus",
    "HalfQuadraticSplitting",
    "LargestPart",
    "LinearMap",
    "LinearProgram",
    "LinearSolution",
    "LinearStatus",
    "MatrixInverse",
    "OptimalBasis",
    "Optimality",
    "OseenStep",
    "PrimalDual",
    "ProgramPart",
    "ProximalGradient",
    "ProximalStep",
    "RadiusProduct",
    "Reciprocal",
    "RegularisedDual",
    "RelaxationRule",
    "ScaledProgram",
    "ScheduleComparison",
    "ScheduledRelaxation",
    "SimplicityCertificate",
    "SingularVectors",
    "SlopeMajorant",
    "Sphere",
    "SquaredRadius",
    "StepRelaxation",
    "StokesPicard",
    "Subspace",
    "TableRelaxation",
    "TargetRelaxation",
    "TwoSidedReciprocal",
    "WorstInstance",
    "adaptive_relaxation",
    "block_diagonal",
    "certify_budget",
    "certify_simplicity",
    "compare_schedules",
    "equilibrated",
    "estimated_relaxation",
    "exact_ball_radii",
    "exact_greatest_schedule",
    "exact_radii",
    "farkas_radius",
    "fastest_schedule",
    "greatest_on_line",
    "greatest_schedule",
    "hqs",
    "largest_radius",
    "least_cosine",
    "least_descent",
    "majorant_radii",
    "optimal_basis",
    "optimality",
    "part_distances",
    "perturbed",
    "pgd",
    "primal_dual_step",
    "recession_cone",
    "recession_radius",
    "shifted",
    "solve_linear_program",
]
