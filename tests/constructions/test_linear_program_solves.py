"""Solves of linear programs: right answers, certificates that hold, and never 'solved' where there is nothing to solve."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy.optimize import linprog

from eqtheory.bounds import Side
from eqtheory.constructions import (
    LinearProgram,
    LinearStatus,
    block_diagonal,
    equilibrated,
    farkas_radius,
    optimality,
    primal_dual_step,
    recession_radius,
    solve_linear_program,
)
from eqtheory.constructions.linear_programming._iteration import Products, start
from eqtheory.errors import InputError
from eqtheory.nests import take
from eqtheory.operators import FunctionOperator
from eqtheory.solvers import Halpern
from tests.constructions.linear_programs import INF, drawn, program, two_variables


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def value_by_highs(x: LinearProgram, i: int) -> float:
    A, e = x.dense()[i].numpy(), x.equality[i].numpy()
    bounds = list(zip(x.lower[i].tolist(), x.upper[i].tolist(), strict=True))
    b = x.b[i].numpy()
    return float(linprog(x.c[i].numpy(), A_ub=A[~e], b_ub=b[~e], A_eq=A[e], b_eq=b[e], bounds=bounds).fun)


def test_values_are_those_of_highs_and_inside_the_brackets() -> None:
    x = drawn(seeded(), batch=20)
    found = solve_linear_program(x, tolerance=1e-7)
    assert set(found.status) == {LinearStatus.SOLVED}
    assert bool(found.solved.all())
    for i in range(20):
        exact = value_by_highs(x, i)
        bracket = found.optimality.bracket(i)
        assert bracket.lower.value - 1e-9 <= exact <= bracket.upper.value + 1e-9
        assert float(found.optimality.gap[i]) < 1e-4
    again = optimality(x, found.y, found.p)
    assert float(again.relative_error.max()) <= 1e-7


def test_the_bracket_says_what_it_rests_on_and_nothing_where_it_rests_on_nothing() -> None:
    exact = optimality(two_variables(), torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[-1.0]]).double()).bracket()
    assert exact.lower.side is Side.LOWER
    assert exact.lower.assumptions == ()  # all bounds are there, so the dual value needs nothing
    assert (
        "every entry of optimal multipliers is at most twice" in exact.upper.assumptions[0]
    )  # an equation is met up to rounding
    free = program([[1, 1]], [1], [1, 1], [-INF, -INF], [INF, INF], [True])
    off = optimality(free, torch.tensor([[0.5, 0.5]]).double(), torch.tensor([[-1.001]]).double()).bracket()
    assert "every entry of an optimal point is at most twice" in off.lower.assumptions[0]
    assert off.lower.value <= 1.0 <= off.upper.value


def test_an_instance_does_not_depend_on_its_batch_mates() -> None:
    x = drawn(seeded(), batch=6)
    together = solve_linear_program(x)
    alone = solve_linear_program(take(x, torch.tensor([4]), 6))
    assert torch.allclose(alone.y, together.y[4:5], atol=1e-12)
    assert int(alone.steps) == int(together.steps[4])


def test_a_block_diagonal_program_has_the_value_of_its_parts() -> None:
    x = drawn(seeded(), batch=3)
    parts = [take(x, torch.tensor([i]), 3) for i in range(3)]
    whole = solve_linear_program(block_diagonal([*parts, two_variables()]), tolerance=1e-8)
    separate = solve_linear_program(x, tolerance=1e-8).optimality.primal_value.sum() + 1.0
    assert float((whole.optimality.primal_value - separate).abs()) < 1e-5


NO_SOLUTION = {
    "negative sum": (program([[1, 1]], [-1], [1, 1], [0, 0], [INF, INF]), LinearStatus.INFEASIBLE),
    "parallel equations": (
        program([[1, 1], [1, 1]], [1, 2], [1, 1], [0, 0], [INF, INF], [True, True]),
        LinearStatus.INFEASIBLE,
    ),
    "free variables": (
        program([[1, -1], [1, -1]], [1, 2], [1, 1], [-INF] * 2, [INF] * 2, [True, True]),
        LinearStatus.INFEASIBLE,
    ),
    "small box": (program([[1, 1]], [3], [1, 1], [0, 0], [1, 1], [True]), LinearStatus.INFEASIBLE),
    "both": (program([[1, -1], [-1, 1]], [-1, -1], [-1, -1], [0, 0], [INF, INF]), LinearStatus.INFEASIBLE),
    "unbounded": (program([[1, -1]], [1], [-1, -1], [0, 0], [INF, INF]), LinearStatus.UNBOUNDED),
    "unbounded, free": (program([[1, -1]], [1], [-1, -1], [-INF] * 2, [INF] * 2, [True]), LinearStatus.UNBOUNDED),
    "no entries": (program([[0, 0]], [1], [-1, -1], [0, 0], [INF, INF]), LinearStatus.UNBOUNDED),
}


@pytest.mark.parametrize("name", NO_SOLUTION)
def test_programs_without_a_solution_are_never_solved_and_the_ray_proves_it(name: str) -> None:
    x, expected = NO_SOLUTION[name]
    found = solve_linear_program(x)
    assert found.status == (expected,)
    assert float(found.radius) >= 1e9
    if expected is LinearStatus.INFEASIBLE:
        assert float(farkas_radius(x, found.p)) == float(found.radius)
    else:
        assert float(recession_radius(x, found.y)) == float(found.radius)


def test_random_infeasible_programs_among_feasible_ones() -> None:
    x = drawn(seeded(5), batch=8)
    # A y = b on row 0, and once more with another right side, for half of them.
    A, b, equality = x.dense(), x.b.clone(), x.equality.clone()
    A[:, 2], equality[:, 2] = A[:, 0], True
    b[:, 2] = b[:, 0] + torch.where(torch.arange(8) % 2 == 0, 0.5, 0.0)
    mixed = LinearProgram.from_dense(
        A, b=b, c=x.c, l=x.l, u=x.u, equality=equality, pattern=torch.ones_like(A, dtype=torch.bool)
    )
    found = solve_linear_program(mixed, max_steps=100_000)
    assert found.status == (LinearStatus.INFEASIBLE, LinearStatus.SOLVED) * 4


def test_rays_prove_nothing_where_there_is_a_solution() -> None:
    x = drawn(seeded(), batch=50)
    for seed in range(20):
        p, d = (
            torch.randn(50, 3, generator=seeded(seed)).double(),
            torch.randn(50, 6, generator=seeded(seed + 99)).double(),
        )
        # All programs have points below 100; they have optimal multipliers, whose size HiGHS would have to tell.
        assert float(farkas_radius(x, p).max()) <= 100
        assert float(recession_radius(x, d).max()) == 0  # boxes have no direction to infinity
    # A planted fault: the ray of another program.
    ray = torch.tensor([[1.0, -1.0]]).double()
    contradicting = program([[1, 1], [1, 1]], [1, 2], [1, 1], [0, 0], [INF, INF], [True, True])
    consistent = program([[1, 1], [1, 1]], [1, 1], [1, 1], [0, 0], [INF, INF], [True, True])
    assert float(farkas_radius(contradicting, ray)) > 1e9 or float(farkas_radius(contradicting, -ray)) > 1e9
    assert float(torch.maximum(farkas_radius(consistent, ray), farkas_radius(consistent, -ray))) == 0


def test_a_radius_is_the_distance_it_says() -> None:
    # 0.001 y = 1 has the solution y = 1000: the multiplier -1 excludes all smaller points and no others.
    x = program([[0.001]], [1], [0], [-INF], [INF], [True])
    assert abs(float(farkas_radius(x, torch.tensor([[-1.0]]).double())) - 1000) < 1e-9
    # min -y, y <= 1: dual feasible multipliers start at 1.
    y = program([[1]], [1], [-1], [0], [INF])
    assert abs(float(recession_radius(y, torch.tensor([[1.0]]).double())) - 1) < 1e-12


def test_the_iteration_is_halperns_on_the_reflected_step() -> None:
    scaled = equilibrated(drawn(seeded(), batch=3)).program
    products, state = Products(scaled), start(scaled)
    after = state.advanced(scaled, products, 6, 10_000)
    n = scaled.shape[2]
    tau, sigma = state.eta / state.weight, state.eta * state.weight

    def reflected(z: torch.Tensor, x: LinearProgram) -> torch.Tensor:
        image = torch.cat(primal_dual_step(z[:, :n], z[:, n:], x, tau, sigma, x.times, x.transposed), dim=1)
        return 2 * image - z

    G, solver = FunctionOperator(reflected), Halpern(restart=None)
    z = torch.cat([state.y, state.p], dim=1)
    memory, active = solver.init(z), torch.ones(3, dtype=torch.bool)
    for _ in range(6):
        z, memory = solver.step(memory, z, G(z, scaled), active)
    restarted = after.k.squeeze(1) == 0
    assert not bool(restarted.all())
    assert torch.allclose(torch.cat([after.y, after.p], dim=1)[~restarted], z[~restarted], atol=1e-13)


def test_limits_are_kept_and_said() -> None:
    found = solve_linear_program(drawn(seeded()), tolerance=1e-14, max_steps=64)
    assert LinearStatus.STEP_LIMIT in found.status
    assert int(found.steps.max()) == 64
    with pytest.raises(InputError, match="tolerance: got 0"):
        solve_linear_program(two_variables(), tolerance=0.0)
    with pytest.raises(InputError, match="max_steps: got 0"):
        solve_linear_program(two_variables(), max_steps=0)
    with pytest.raises(InputError, match="program: got list"):
        solve_linear_program([])  # type: ignore[arg-type]


def test_programs_without_rows_and_in_float32() -> None:
    none = LinearProgram(
        entries=torch.zeros(1, 0).double(),
        rows=torch.zeros(1, 0, dtype=torch.int64),
        columns=torch.zeros(1, 0, dtype=torch.int64),
        b=torch.zeros(1, 0).double(),
        equality=torch.zeros(1, 0, dtype=torch.bool),
        c=torch.tensor([[1.0, -1.0]]).double(),
        l=torch.zeros(1, 2).double(),
        u=torch.ones(1, 2).double(),
    )
    found = solve_linear_program(none)
    assert found.status == (LinearStatus.SOLVED,)
    assert found.y.tolist() == [[0.0, 1.0]]
    x = two_variables()
    single = replace(
        x, **{name: getattr(x, name).float() for name in ("entries", "b", "c")}, l=x.l.float(), u=x.u.float()
    )
    assert solve_linear_program(single, tolerance=1e-4).status == (LinearStatus.SOLVED,)
