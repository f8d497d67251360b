"""Linear programs: data, regular and averaged operators whose fixed points solve them, solves with certificates, derivatives (T12)."""

from __future__ import annotations

from eqtheory.constructions.linear_programming._basis import OptimalBasis, optimal_basis
from eqtheory.constructions.linear_programming._optimality import Optimality, optimality
from eqtheory.constructions.linear_programming._perturbation import (
    LargestPart,
    ProgramPart,
    part_distances,
    perturbed,
    shifted,
)
from eqtheory.constructions.linear_programming._primal_dual import PrimalDual, primal_dual_step
from eqtheory.constructions.linear_programming._program import LinearProgram, block_diagonal
from eqtheory.constructions.linear_programming._rays import farkas_radius, recession_cone, recession_radius
from eqtheory.constructions.linear_programming._regularised_dual import RegularisedDual
from eqtheory.constructions.linear_programming._scaling import ScaledProgram, equilibrated
from eqtheory.constructions.linear_programming._solve import LinearSolution, LinearStatus, solve_linear_program

__all__ = [
    "LargestPart",
    "LinearProgram",
    "LinearSolution",
    "LinearStatus",
    "OptimalBasis",
    "Optimality",
    "PrimalDual",
    "ProgramPart",
    "RegularisedDual",
    "ScaledProgram",
    "block_diagonal",
    "equilibrated",
    "farkas_radius",
    "optimal_basis",
    "optimality",
    "part_distances",
    "perturbed",
    "primal_dual_step",
    "recession_cone",
    "recession_radius",
    "shifted",
    "solve_linear_program",
]
