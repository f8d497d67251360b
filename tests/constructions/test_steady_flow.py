"""Oseen's and Stokes-Picard's steps: declared constants, one fixed point for both, declared rounding, derivatives, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Evidence, Side
from eqtheory.constructions import GalerkinTorus, OseenStep, StokesPicard
from eqtheory.errors import InputError, ShapeError, SolverError
from eqtheory.solvers import NewtonKrylov, Picard, Stop, fixed_point
from eqtheory.theorems.navier_stokes import embedding_constant

TORUS = GalerkinTorus((16, 20), 0.7)
NU = 0.5
F0 = 0.95 * NU**2 / (2 * embedding_constant(0.7))


def flows(count: int, seed: int, torus: GalerkinTorus = TORUS) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    c = torch.randn(count, torus.dimension, generator=g, dtype=torch.float64) / torus.squared
    return c / torch.linalg.vector_norm(c, dim=1, keepdim=True)


def forces(count: int, seed: int) -> Tensor:
    return TORUS.field(0.999 * F0 * flows(count, seed) * TORUS.squared)


def test_constants_are_proved_and_carry_their_norms() -> None:
    picard, oseen = StokesPicard(TORUS, NU, F0), OseenStep(TORUS, NU)
    assert picard.regularity is not None
    assert oseen.regularity is not None
    assert picard.regularity.mu.value == pytest.approx(0.95, rel=1e-12)
    assert torch.allclose(oseen.regularity.mu.at(forces(3, 0)), torch.tensor(0.475 * 0.999).double(), rtol=1e-12)
    for regularity in (picard.regularity, oseen.regularity):
        assert regularity.L0.value == 1 / NU
        assert regularity.L1.value == 0
        assert regularity.L0.side is Side.UPPER
        assert regularity.L0.evidence is Evidence.PROVED


def test_both_have_the_same_fixed_point_and_newton_finds_it() -> None:
    x = forces(4, 1)
    ends = [
        fixed_point(G, x, solver=solver, stop=Stop(rtol=1e-13))
        for G, solver in (
            (OseenStep(TORUS, NU), Picard()),
            (StokesPicard(TORUS, NU, F0), Picard()),
            (OseenStep(TORUS, NU), NewtonKrylov()),
            (StokesPicard(TORUS, NU, F0), NewtonKrylov()),
        )
    ]
    norm = OseenStep(TORUS, NU).state_norm
    for end in ends[1:]:
        assert ends[0].error_bound is not None
        assert end.error_bound is not None
        gap = norm.distance(end.value, ends[0].value)
        assert bool((gap <= ends[0].error_bound.value + end.error_bound.value).all())
        assert float(gap.max()) < 1e-10 * float(norm(end.value).min())


def test_the_declared_rounding_covers_another_order_of_operations_and_is_not_vacuous() -> None:
    """On a grid of twice the points every transform rounds differently."""
    fine = GalerkinTorus((32, 40), 0.7)
    x = forces(6, 2)
    places = {tuple(k): i for i, k in enumerate(fine.modes.tolist())}
    half = torch.tensor([places[tuple(k)] for k in TORUS.modes.tolist()])
    both = torch.cat([half, half + fine.dimension // 2])

    def lifted(field: Tensor) -> Tensor:
        c = torch.zeros(len(field), fine.dimension, dtype=torch.float64)
        c[:, both] = TORUS.coordinates(field)
        return fine.field(c)

    y = TORUS.field(3 * F0 / NU * flows(6, 3))
    here, there = StokesPicard(TORUS, NU, F0), StokesPicard(fine, NU, F0)
    assert here.regularity is not None
    assert here.regularity.rounding is not None
    declared = here.regularity.rounding.error(here.norm(y), x)
    gap = torch.linalg.vector_norm(
        TORUS.coordinates(here(y, x)) - fine.coordinates(there(lifted(y), lifted(x)))[:, both], dim=1
    )
    assert bool((gap <= 3 * declared).all())
    assert float(declared.max()) < 1e-11 * float(here.norm(here(y, x)).min())


@pytest.mark.parametrize("G", [OseenStep(TORUS, NU), StokesPicard(TORUS, NU, F0)], ids=["Oseen", "Stokes-Picard"])
def test_derivatives_are_those_of_finite_differences(G: OseenStep | StokesPicard) -> None:
    x, y, v = forces(3, 4), TORUS.field(0.5 * F0 / NU * flows(3, 5)), TORUS.field(F0 / NU * flows(3, 6))
    h = 1e-4
    quotient = (G(y + h * v, x) - G(y - h * v, x)) / (2 * h)
    found = G.pushforward(y, x, v)
    assert float((quotient - found).abs().max()) < 1e-7 * float(v.abs().max())


@pytest.mark.parametrize("G", [OseenStep(TORUS, NU), StokesPicard(TORUS, NU, F0)], ids=["Oseen", "Stokes-Picard"])
def test_a_sample_does_not_depend_on_its_batch(G: OseenStep | StokesPicard) -> None:
    x, y = forces(5, 7), TORUS.field(F0 / NU * flows(5, 8))
    whole = G(y, x)
    for few in (1, 2, 4):
        assert torch.equal(G(y[:few], x[:few].clone()), whole[:few])


def test_what_is_no_contraction_and_what_is_not_solved_is_refused() -> None:
    with pytest.raises(InputError, match=r"force: got 1\.0, needed 2 c F0 < nu\^2"):
        StokesPicard(TORUS, NU, 1.0)
    with pytest.raises(InputError, match=r"viscosity: got 0\.0"):
        OseenStep(TORUS, 0.0)
    G = OseenStep(TORUS, NU, limit=2)
    x = forces(2, 9)
    with pytest.raises(
        SolverError, match=r"2 of 2 Oseen systems are not solved in 2 products, relative residual up to .*; raise limit"
    ):
        G(TORUS.field(10 * flows(2, 10)), x)
    with pytest.raises(ShapeError, match=r"y, x: got"):
        OseenStep(TORUS, NU)(TORUS.field(flows(1, 1)), x)
    with pytest.raises(InputError, match=r"x: got mean"):
        OseenStep(TORUS, NU).initial_state(x + 1.0)
