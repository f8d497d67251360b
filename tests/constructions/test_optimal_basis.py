"""Optimal bases: recognised, recomputed, differentiated against rationals and finite differences, degenerate ones refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from eqtheory.constructions import ProgramPart, optimal_basis, optimality, perturbed, solve_linear_program
from eqtheory.errors import DomainError
from eqtheory.roundoff import gamma
from tests.constructions.linear_programs import drawn, program


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_derivatives_by_hand() -> None:
    # min -y1 - y2, y1 + 2 y2 <= 1, 0 <= y <= 3: y1 = (b - a2 y2)/a1 with y2 = l2 = 0.
    x = program([[1, 2]], [1], [-1, -1], [0, 0], [3, 3])
    found = optimal_basis(x, torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[1.0]]).double())
    assert bool(found.nondegenerate)
    assert found.y.tolist() == [[1.0, 0.0]]
    assert found.p.tolist() == [[1.0]]
    expected = {
        ProgramPart.MATRIX: [[-1.0, 0.0], [0.0, 0.0]],
        ProgramPart.RIGHT_SIDE: [[1.0], [0.0]],
        ProgramPart.COSTS: [[0.0, 0.0], [0.0, 0.0]],
        ProgramPart.LOWER: [[0.0, -2.0], [0.0, 1.0]],
        ProgramPart.UPPER: [[0.0, 0.0], [0.0, 0.0]],
    }
    for part, matrix in expected.items():
        assert torch.equal(found.jacobian(part)[0], torch.tensor(matrix).double()), part
    # The margins: y1 from its bounds 0 and 3, and the reduced cost -1 + 2 of y2, the price 1 of the row.
    assert abs(float(found.primal_margin) - 1) < 1e-10
    assert abs(float(found.dual_margin) - 1) < 1e-10


def test_the_jacobian_is_the_one_of_rationals() -> None:
    # A_B = [[2, 1], [1, 3]], y_B = A_B^-1 b; the derivative in b is the inverse, in a_ij it is -column_i y_j.
    x = program([[2, 1, 1], [1, 3, 0]], [3, 4], [-1, -1, 5], [0, 0, 0], [9, 9, 9], [True, True])
    y = torch.tensor([[1.0, 1.0, 0.0]]).double()
    found = optimal_basis(x, y, torch.zeros(1, 2).double())
    inverse = [[Fraction(3, 5), Fraction(-1, 5)], [Fraction(-1, 5), Fraction(2, 5)]]
    exact = torch.tensor([[float(v) for v in row] for row in inverse] + [[0.0, 0.0]], dtype=torch.float64)
    # The inverse of a system of five rows, whose norm times that of its inverse is below 12.
    grain = gamma(5 * 8, torch.float64) * 12
    assert torch.allclose(found.jacobian(ProgramPart.RIGHT_SIDE)[0], exact, rtol=0, atol=grain)
    by_entry = -exact[:, x.rows[0]] * y[0][x.columns[0]]
    assert torch.allclose(found.jacobian(ProgramPart.MATRIX)[0], by_entry, rtol=0, atol=grain)


@pytest.mark.parametrize("part", ProgramPart)
def test_finite_differences_agree(part: ProgramPart) -> None:
    x = drawn(seeded(), batch=12)
    solved = solve_linear_program(x, tolerance=1e-10)
    basis = optimal_basis(x, solved.y, solved.p)
    assert bool(basis.nondegenerate.all())
    assert float(optimality(x, basis.y, basis.p).relative_error.max()) < 1e-12
    moved = perturbed(x, part, 1e-6, seeded(1))
    again = solve_linear_program(moved, tolerance=1e-10)
    there = optimal_basis(moved, again.y, again.p)
    by = getattr(moved, part.value) - getattr(x, part.value)
    linear = (basis.jacobian(part) @ by.unsqueeze(2)).squeeze(2)
    error = torch.linalg.vector_norm(there.y - basis.y - linear, dim=1)
    assert float(error.max()) <= 1e-9  # second order in 1e-6


DEGENERATE = {
    # c = 0 on a box: no reduced cost is strict (N6).
    "costs vanish": (program([[1]], [5], [0], [0], [1]), [0.0], [0.0]),
    # The row is tight although y is at its bound: primal degenerate.
    "tight row at a bound": (program([[1, 1]], [0], [1, 1], [0, 0], [1, 1]), [0.0, 0.0], [0.0]),
    # Several solutions: the middle of an edge has two basic variables on one row.
    "an edge of solutions": (program([[1, 1]], [1], [1, 1], [0, 0], [1, 1], [True]), [0.5, 0.5], [-1.0]),
    # A vertex of that edge: its basis has a reduced cost of zero.
    "a vertex of the edge": (program([[1, 1]], [1], [1, 1], [0, 0], [3, 1], [True]), [1.0, 0.0], [-1.0]),
    # Not optimal at all.
    "the wrong vertex": (program([[1, 1]], [1], [1, 2], [0, 0], [3, 3], [True]), [0.0, 1.0], [-2.0]),
    "singular": (program([[1, 1], [1, 1]], [1, 1], [1, 1], [0, 0], [3, 3], [True, True]), [0.5, 0.5], [0.0, 0.0]),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_and_wrong_bases_are_recognised(name: str) -> None:
    x, y, p = DEGENERATE[name]
    found = optimal_basis(x, torch.tensor([y]).double(), torch.tensor([p]).double())
    assert not bool(found.nondegenerate)
    with pytest.raises(DomainError, match="program: got a degenerate basis at instance 0"):
        found.jacobian(ProgramPart.RIGHT_SIDE)


def test_fixed_variables_need_no_strict_reduced_cost() -> None:
    x = program([[1, 1]], [1], [1, 1], [0, 0.5], [1, 0.5], [True])
    found = optimal_basis(x, torch.tensor([[0.5, 0.5]]).double(), torch.tensor([[-1.0]]).double())
    assert bool(found.nondegenerate)
    kept = found.select(torch.tensor([0]))
    assert torch.equal(kept.y, found.y)
    moved = replace(x, b=x.b + 0.25)
    assert optimal_basis(moved, torch.tensor([[0.75, 0.5]]).double(), found.p).y.tolist() == [[0.75, 0.5]]
