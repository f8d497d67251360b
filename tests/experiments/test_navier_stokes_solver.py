"""The steady solver against exact flows, published values, finite differences and dense linear algebra; and what it says when it fails."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus, OseenStep, StokesPicard
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.roundoff import gamma
from eqtheory.solvers import Stop, fixed_point
from experiments.navier_stokes.forces import ForceLaw, draw_forces
from experiments.navier_stokes.measure import PUBLISHED
from experiments.navier_stokes.solver import (
    FlowStatus,
    Linearization,
    TangentMap,
    critical_reynolds,
    dense_energy_form,
    dense_jacobian,
    energy_balance,
    energy_margin,
    growth_rates,
    inner_torus,
    kolmogorov_force,
    laminar,
    local_lipschitz,
    residual,
    secondary_state,
    solve_coordinates,
    solve_steady,
)
from experiments.navier_stokes.solver._levels import levels_of
from experiments.navier_stokes.solver._linearized import cut, prolong

GRID = GalerkinTorus((32, 32))


def random(torus: GalerkinTorus, count: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, torus.dimension, generator=g, dtype=torch.float64) / torus.squared


def draw(grashof: float, count: int, torus: GalerkinTorus = GRID) -> tuple[Tensor, Tensor]:
    forces = draw_forces(torus, ForceLaw((0.01, 0.1), (grashof, grashof)), 3, range(count))
    return forces.g, forces.viscosity


# Exact and published values.


@pytest.mark.parametrize("reynolds", [0.1, 3.0, 50.0])
def test_laminar_flow_is_found(reynolds: float) -> None:
    g, viscosity = kolmogorov_force(GRID, reynolds)
    flows = solve_coordinates(GRID, g, viscosity)
    assert float((flows.vorticity - GRID.field(laminar(GRID))).abs().max()) <= 1e-12
    balance = energy_balance(GRID, flows.c, g, viscosity)
    assert float(balance.energy) == pytest.approx(0.25, abs=1e-12)
    assert float(balance.enstrophy) == pytest.approx(0.25, abs=1e-12)


@pytest.mark.parametrize("shell", [1, 5, 25, 50])
def test_flows_on_one_shell_are_found(shell: int) -> None:
    """Several modes: term by term the advection is large, and only exact products let it cancel."""
    on = GRID.squared == shell
    c = torch.where(on, random(GRID, 6, shell), 0.0)
    c = c / torch.linalg.vector_norm(c, dim=1, keepdim=True)
    nu = torch.full((6,), 0.5, dtype=torch.float64)
    g = 0.5 * shell * c
    assert float(residual(GRID, c, g, nu).abs().max()) < 1e-12
    flows = solve_coordinates(GRID, g, nu)
    assert float((flows.vorticity - GRID.field(c)).abs().max()) <= 1e-12


def test_the_critical_reynolds_numbers_are_the_published_ones() -> None:
    assert abs(critical_reynolds(0.5) - PUBLISHED["critical_reynolds_0.5"]) < 1e-8
    assert abs(critical_reynolds(0.01) - PUBLISHED["critical_reynolds_0.01"]) < 1e-7
    assert critical_reynolds(0.5, waves=12) == pytest.approx(critical_reynolds(0.5), abs=1e-12)
    with pytest.raises(InputError, match=r"aspect: got 1\.0, needed 0 < aspect < 1"):
        critical_reynolds(1.0)
    with pytest.raises(InputError, match=r"bracket: got \(1\.0, 1\.5\)"):
        critical_reynolds(0.5, bracket=(1.0, 1.5))


def test_the_branch_off_the_laminar_flow_is_the_published_one() -> None:
    torus = GalerkinTorus((32, 32), 0.7)
    g, viscosity = kolmogorov_force(torus, 4.0)
    state = secondary_state(torus, 4.0)
    assert state is not None
    balance = energy_balance(torus, state.c, g, viscosity)
    assert abs(float(balance.energy) - PUBLISHED["energy_0.7_4"]) < 1e-10
    assert abs(float(balance.enstrophy) - PUBLISHED["enstrophy_0.7_4"]) < 1e-10
    assert float(balance.defect) < 1e-11
    rates = growth_rates(torus, state.c, viscosity, exact=True).leading[0]
    assert abs(rates[0]) < 1e-10  # shifts in x
    assert float(rates[1].real) < -0.1
    assert secondary_state(torus, 2.9) is None  # the critical number is 3.0115


# The derivative, its transpose and its matrix are one map.


@pytest.mark.parametrize("torus", [GalerkinTorus((16, 16)), GalerkinTorus((10, 14), 0.6)], ids=str)
def test_the_derivative_is_right_and_so_are_its_transpose_and_matrix(torus: GalerkinTorus) -> None:
    c, h, q = (random(torus, 3, seed) for seed in (1, 2, 3))
    nu = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)
    at = Linearization.at(torus, c, nu)
    # The equation is quadratic: a central difference of any length is the derivative.
    quotient = (residual(torus, c + h, q, nu) - residual(torus, c - h, q, nu)) / 2
    product = at.apply(h)
    slack = gamma(4000, c.dtype) * float(product.abs().max())
    assert float((product - quotient).abs().max()) < slack
    assert float((product * q - h * at.transposed(q)).sum(dim=1).abs().max()) < slack
    matrix = dense_jacobian(torus, c, nu, torus)
    assert float(((matrix @ h.unsqueeze(2)).squeeze(2) - product).abs().max()) < slack
    coarse = inner_torus(torus, 2.0)
    low = random(coarse, 3, 4)
    small = dense_jacobian(torus, c, nu, coarse) @ low.unsqueeze(2)
    assert float((small.squeeze(2) - cut(torus, coarse, at.apply(prolong(coarse, torus, low)))).abs().max()) < slack


def test_the_energy_form_is_that_of_the_difference() -> None:
    torus = GalerkinTorus((10, 14), 0.6)
    c, e = random(torus, 3, 1), random(torus, 3, 2)
    nu = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)
    h = e * torus.squared.sqrt()  # the vorticity of the velocity with coordinates e
    d, u = (torus.synthesis(torus.velocity(torus.complex_of(v))) for v in (h, c))
    direct = (torus.real_of(torus.advection(d, u)) * h / torus.squared).sum(dim=1) + nu * h.square().sum(dim=1)
    matrix = dense_energy_form(torus, c, nu, torus)
    assert torch.allclose((e.unsqueeze(1) @ matrix @ e.unsqueeze(2)).flatten(), direct, rtol=1e-12, atol=1e-13)


def test_the_tangent_map_is_the_derivative_of_the_solution() -> None:
    g, nu = draw(8.0, 4)
    flows = solve_coordinates(GRID, g, nu)
    dg = random(GRID, 4, 5) * torch.linalg.vector_norm(g, dim=1, keepdim=True)
    tangent = TangentMap.of(GRID, flows.c, nu)
    h = 1e-5
    quotient = (solve_coordinates(GRID, g + h * dg, nu).c - solve_coordinates(GRID, g - h * dg, nu).c) / (2 * h)
    found = tangent.apply(dg)
    size = torch.linalg.vector_norm(found, dim=1)
    assert bool((torch.linalg.vector_norm(found - quotient, dim=1) < 1e-6 * size).all())
    w = random(GRID, 4, 6)
    left, right = (found * w).sum(dim=1), (dg * tangent.transposed(w)).sum(dim=1)
    assert torch.allclose(left, right, rtol=1e-10, atol=0)


def test_the_local_lipschitz_constant_is_the_largest_singular_value() -> None:
    g, nu = draw(12.0, 4, torus := GalerkinTorus((26, 26)))
    flows = solve_coordinates(torus, g, nu)
    found = local_lipschitz(torus, flows.c, nu)
    exact = 1 / torch.linalg.svdvals(dense_jacobian(torus, flows.c, nu, torus))[:, -1]
    assert bool((found.value <= exact * (1 + 1e-12)).all())
    assert torch.allclose(found.value, exact, rtol=1e-8, atol=0)
    attained = TangentMap.of(torus, flows.c, nu).apply(found.force)
    assert torch.allclose(torch.linalg.vector_norm(attained, dim=1), found.value, rtol=1e-10, atol=0)


def test_levels_agree_with_the_whole_spectrum() -> None:
    g, nu = draw(15.0, 3)
    flows = solve_coordinates(GRID, g, nu)
    quick, exact = (growth_rates(GRID, flows.c, nu, exact=exact) for exact in (False, True))
    assert bool(quick.settled.all())
    gap = (quick.leading[:, 0].real - exact.leading[:, 0].real).abs()
    assert bool((gap <= 1e-3 * exact.leading[:, 0].real.abs()).all())


def test_the_energy_margin_is_a_lower_bound_and_tight_for_slow_flows() -> None:
    g, nu = draw(1.5, 4)
    flows = solve_coordinates(GRID, g, nu)
    exact = torch.linalg.eigvalsh(dense_energy_form(GRID, flows.c, nu, GRID))[:, 0]
    found = energy_margin(GRID, flows.c, nu, wavenumber=6.0)
    assert bool((found <= exact + 1e-12 * nu).all())
    assert bool((found > 0.5 * exact).all())
    # One wave in the block: nearly all of the form is estimated by the strain, and the bound still holds.
    crude = energy_margin(GRID, flows.c, nu, wavenumber=1.0)
    assert bool((crude <= exact + 1e-12 * nu).all())
    # A flow at rest: nothing but viscosity on the longest wave.
    rest = energy_margin(GRID, 0 * flows.c, nu)
    assert torch.allclose(rest, nu, rtol=1e-6, atol=0)


# Solving.


@pytest.mark.parametrize("grashof", [0.2, 5.0, 20.0])
def test_flows_solve_their_equation_and_balance_their_energy(grashof: float) -> None:
    torus = GalerkinTorus((48, 48))
    g, nu = draw(grashof, 6, torus)
    flows = solve_coordinates(torus, g, nu)
    assert bool(flows.converged.all()), flows.summary()
    assert float(flows.residual.max()) <= 1e-10
    again = torch.linalg.vector_norm(residual(torus, flows.c, g, nu), dim=1) / torch.linalg.vector_norm(g, dim=1)
    assert float(again.max()) <= 1e-10
    assert float(energy_balance(torus, flows.c, g, nu).defect.max()) <= 1e-11


def test_newton_oseen_and_stokes_picard_agree_where_all_are_proved_to_work() -> None:
    forces = draw_forces(GRID, ForceLaw((0.1,), (0.2, 0.2)), 5, range(4))
    curl = GRID.field(forces.g)
    newton = solve_steady(GRID, curl, 0.1)
    oseen = OseenStep(GRID, 0.1)
    for G in (oseen, StokesPicard(GRID, 0.1, float(oseen.force_norm(curl).max()))):
        end = fixed_point(G, curl, stop=Stop(rtol=1e-13))
        gap = oseen.state_norm.distance(end.value, newton.vorticity)
        assert bool((gap < 1e-12 * oseen.state_norm(end.value)).all())


def test_a_flow_does_not_depend_on_its_batch() -> None:
    g, nu = draw(15.0, 6)
    whole = solve_coordinates(GRID, g, nu)
    for rows in ([0], [3], [1, 4, 5], [5, 0]):
        few = solve_coordinates(GRID, g[rows], nu[rows])
        assert torch.equal(few.c, whole.c[rows])
        assert [few.history[i] for i in range(len(rows))] == [whole.history[i] for i in rows]


def test_flows_scale_with_viscosity() -> None:
    """`w(nu^2 s g; s nu) = s w`: with `s` a power of two nothing rounds differently."""
    g, nu = draw(6.0, 3)
    one, other = solve_coordinates(GRID, g, nu), solve_coordinates(GRID, 16 * g, 4 * nu)
    assert torch.allclose(other.c, 4 * one.c, rtol=0, atol=1e-12 * float(one.c.abs().max()))


def test_rest_and_a_small_budget_are_handled() -> None:
    flows = solve_coordinates(GRID, torch.zeros(2, GRID.dimension, dtype=torch.float64), torch.ones(2).double())
    assert bool(flows.converged.all())
    assert float(flows.c.abs().max()) == 0


def test_a_grid_that_is_too_coarse_says_so() -> None:
    torus = GalerkinTorus((16, 16))
    g, nu = draw(40.0, 6, torus)
    flows = solve_coordinates(torus, g, nu)
    assert not bool(flows.converged.any())
    text = flows.summary()
    assert text.startswith("0 of 6 converged")
    assert "refine the grid" in text
    assert "last residuals of sample" in text
    for row in (~flows.converged).nonzero().squeeze(1).tolist():
        assert len(flows.history[row]) > 2
        assert all(math.isfinite(r) for r in flows.history[row])


def test_a_branch_that_cannot_be_followed_says_so() -> None:
    torus = GalerkinTorus((26, 26))
    forces = draw_forces(torus, ForceLaw((0.01, 0.1), (1000.0, 1000.0)), 0, range(16))
    flows = solve_coordinates(torus, forces.g, forces.viscosity)
    stalled = flows.status == FlowStatus.STALLED.value
    assert bool(stalled.any())
    assert bool((flows.share[stalled] < 1).all())
    assert "could not be followed to the whole force" in flows.summary()


def test_every_status_advises() -> None:
    assert all(status.advice for status in FlowStatus)


def test_unusable_arguments_are_refused() -> None:
    curl = GRID.field(random(GRID, 2, 1))
    with pytest.raises(NonFiniteError, match="curl: got inf"):
        solve_steady(GRID, curl * torch.tensor([1.0, torch.inf]).reshape(2, 1, 1).double().where(curl != 0, curl), 1.0)
    with pytest.raises(InputError, match="curl: got mean"):
        solve_steady(GRID, curl + 1, 1.0)
    with pytest.raises(ShapeError, match="curl: got a grid of 31 x 32 points"):
        solve_steady(GRID, curl[:, :31], 1.0)
    with pytest.raises(InputError, match=r"viscosity: got 0\.0, needed numbers > 0"):
        solve_steady(GRID, curl, 0.0)
    with pytest.raises(NonFiniteError, match="viscosity: got a NaN"):
        solve_steady(GRID, curl, float("nan"))
    with pytest.raises(ShapeError, match=r"viscosity: got shape \(3,\)"):
        solve_steady(GRID, curl, torch.ones(3).double())


def test_levels_are_nested() -> None:
    for torus in (GalerkinTorus((64, 64)), GalerkinTorus((64, 64), 0.5), GalerkinTorus((12, 40), 2.0), GRID):
        found = levels_of(torus)
        assert found[-1] == torus
        for small, large in pairwise(found):
            assert all(a <= b for a, b in zip(small.cutoff, large.cutoff, strict=True))
            assert small.dimension < large.dimension or small == large
            c = random(small, 2, 0)
            assert torch.equal(cut(large, small, prolong(small, large, c)), c)
