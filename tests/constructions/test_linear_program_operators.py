"""The two operators of linear programs: what they find, what they promise, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from eqtheory.constructions import LinearProgram, PrimalDual, ProgramPart, RegularisedDual, optimality, perturbed
from eqtheory.errors import DomainError, InputError, ShapeError
from eqtheory.lipschitz import curve
from eqtheory.norms import Euclidean
from eqtheory.solvers import Halpern, Picard, Stop, fixed_point
from tests.constructions.linear_programs import INF, drawn, program, two_variables


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dual_for(x: LinearProgram, lam: float, delta: float) -> RegularisedDual:
    size = float(torch.linalg.matrix_norm(x.dense(), ord=2).max()) * (1 + 1e-9)
    radius = float(torch.linalg.vector_norm(torch.maximum(x.l.abs(), x.u.abs()), dim=1).max()) * (1 + 1e-9)
    return RegularisedDual(size=size, radius=radius, lam=lam, delta=delta)


def test_the_fixed_point_is_the_regularised_solution() -> None:
    # min y1 + 2 y2 + lam |y|^2 / 2 + |y1 + y2 - 1|^2 / (2 delta) inside the box: by hand y2 = 0, y1 = (1/delta - 1)/(lam + 1/delta).
    lam, delta = 0.5, 0.125
    x = two_variables()
    G = dual_for(x, lam, delta)
    found = fixed_point(G, x, stop=Stop(rtol=1e-12, atol=1e-12, max_steps=10_000))
    assert torch.allclose(G.decode(found.value, x), torch.tensor([[7 / 8.5, 0.0]]).double(), atol=1e-10)


def test_small_weights_find_the_solution_of_least_norm() -> None:
    # Costs are equal, so every point of the segment is optimal; the middle has the least norm, for every lam.
    x = program([[1, 1]], [1], [1, 1], [0, 0], [1, 1], [True])
    G = dual_for(x, 1.0, 1e-4)
    found = fixed_point(G, x, stop=Stop(rtol=1e-10, max_steps=200_000), solver=Halpern())
    # T12: within sqrt(delta/lam) |p_0| / 2, p_0 = -(1 + lam/2).
    gap = torch.linalg.vector_norm(G.decode(found.value, x) - 0.5)
    assert float(gap) <= 0.5 * (1e-4) ** 0.5 * 1.5 + 1e-8


def test_declared_constants_hold_on_pairs_and_the_factor_is_per_instance() -> None:
    x = drawn(seeded(), batch=16)
    moved = perturbed(x, ProgramPart.MATRIX, 1e-3, seeded(1))
    moved = perturbed(moved, ProgramPart.COSTS, 1e-3, seeded(2))
    both = torch.maximum(*(torch.linalg.matrix_norm(q.dense(), ord=2) for q in (x, moved)))
    radius = float(torch.linalg.vector_norm(torch.maximum(x.l.abs(), x.u.abs()), dim=1).max()) * 1.01
    size = float(both.max()) * (1 + 1e-9)
    # Much damping and a long step, so that the factor is the one of the steep direction, which differs.
    delta = 2 * size**2 / 0.3
    G = RegularisedDual(size=size, radius=radius, lam=0.3, delta=delta, tau=1.98 / (1.5 * delta))
    r = G.regularity
    assert r is not None
    p, q = torch.randn(2, 16, 3, generator=seeded(3)).double()
    p, q = x.projected(p), x.projected(q)
    norm = Euclidean()
    mu = r.mu.at(x)
    assert mu.shape == (16,)
    assert bool((mu < 1).all())
    assert len(set(mu.tolist())) > 1
    assert bool((norm(G(p, x) - G(q, x)) <= mu * norm(p - q) * (1 + 1e-12)).all())
    gap = norm(G(p, x) - G(p, moved))
    assert bool((gap <= (r.L0.value + r.L1.value * norm(p)) * r.input_metric.distance(x, moved)).all())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 1.4}, r"x.entries: got norm of A 1.41421 at instance 0, needed at most 1.4;"),
        ({"radius": 1.4}, r"x.l, x.u: got norm of max\(|l|, |u|\) 1.41421 at instance 0"),
    ],
)
def test_data_outside_the_set_of_the_constants_is_refused(change: dict[str, float], message: str) -> None:
    G = RegularisedDual(**{"size": 1.5, "radius": 1.5, "lam": 1.0, "delta": 0.1, **change})
    with pytest.raises(DomainError, match=message):
        G.initial_state(two_variables())
    assert G.regularity is not None
    with pytest.raises(DomainError, match=message):
        G.regularity.mu.at(two_variables())


def test_arguments_outside_their_ranges_are_refused() -> None:
    with pytest.raises(InputError, match=r"tau: got 3.0, needed 0 < tau < 2 / \(a\^2 / lam \+ delta\) = 1;"):
        RegularisedDual(size=1.0, radius=1.0, lam=1.0, delta=1.0, tau=3.0)
    with pytest.raises(InputError, match="delta: got 0"):
        RegularisedDual(size=1.0, radius=1.0, lam=1.0, delta=0.0)
    with pytest.raises(InputError, match="x: got Tensor, needed a LinearProgram"):
        PrimalDual(size=1.0).initial_state(torch.zeros(1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"fraction: got 1\.0"):
        PrimalDual(size=1.0, fraction=1.0)
    with pytest.raises(DomainError, match=r"x\.entries: got norm 1\.41421 at instance 0, needed at most 1"):
        PrimalDual(size=1.0).initial_state(two_variables())
    with pytest.raises(ShapeError, match=r"z: got shape \(1, 2\), needed \(batch, 3\)"):
        PrimalDual(size=2.0)(torch.zeros(1, 2).double(), two_variables())


@pytest.mark.parametrize("weight", [0.3, 1.0, 5.0])
def test_the_primal_dual_step_finds_a_pair_of_solutions(weight: float) -> None:
    x = drawn(seeded())
    size = float(torch.linalg.matrix_norm(x.dense(), ord=2).max()) * (1 + 1e-9)
    G = PrimalDual(size=size, weight=weight)
    found = fixed_point(G, x, solver=Halpern(), stop=Stop(rtol=1e-11, max_steps=100_000))
    assert float(optimality(x, *G.split(found.value, x)).relative_error.max()) < 1e-7
    plain = fixed_point(
        G, x, solver=Picard(), stop=Stop(rtol=1e-11, max_steps=100_000)
    )  # averaged, so Picard converges as well
    assert torch.allclose(plain.value, found.value, atol=1e-6)


def test_missing_bounds_pass_through_the_solvers() -> None:
    x = program([[1, 1]], [1], [1, 2], [0, 0], [INF, INF], [True])
    G = PrimalDual(size=1.5)
    found = fixed_point(G, x, solver=Halpern(), stop=Stop(rtol=1e-11, max_steps=100_000))
    assert torch.allclose(G.split(found.value, x)[0], torch.tensor([[1.0, 0.0]]).double(), atol=1e-8)


def test_curves_and_derivatives_run_through_the_operators() -> None:
    x = drawn(seeded())
    G = dual_for(x, 1.0, 1.0)
    tangent = torch.zeros(1, x.entries.shape[1] + 3 + 3 * 6).double()
    tangent[0, x.entries.shape[1]] = 1.0  # the first right side
    found = curve(G, x, 5, block=tangent)
    h = 1e-6
    by = torch.zeros_like(x.b)
    by[:, 0] = h
    p, q = G.initial_state(x), G.initial_state(x)
    moved = replace(x, b=x.b + by)
    for _ in range(5):
        p, q = G(p, x), G(q, moved)
    assert torch.allclose(Euclidean()(q - p) / h, found.lower[-1], rtol=1e-4, atol=1e-6)
