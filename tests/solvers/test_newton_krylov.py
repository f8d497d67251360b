"""What is particular to Newton's method: directions, their accuracy, the line search and the fallback to Picard's step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.solvers import Picard, Stop, _newton_krylov, fixed_point
from eqtheory.solvers._gmres import KrylovSolution, gmres
from eqtheory.solvers._newton_krylov import NewtonKrylov
from tests.problems import problem
from tests.solvers import laws
from tests.solvers.newton_samples import (
    NONLINEAR,
    RETURN,
    cycle,
    ones,
    solve_nonlinear,
)
from tests.solvers.samples import matvec

# Torch's own: it is raised once a process, when forward derivatives are first used.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


# Where Picard fails.


@pytest.mark.parametrize("name", NONLINEAR)
def test_solves_where_picard_fails(name: str) -> None:
    assert not bool(solve_nonlinear(name, Picard()).converged.any())
    s = solve_nonlinear(name, NewtonKrylov())
    assert bool(s.converged.all()), str(s)
    assert int(s.evaluations.max()) <= 130


def negated(*arguments: Any, **options: Any) -> KrylovSolution:
    found = gmres(*arguments, **options)
    return replace(found, value=-found.value)


def test_directions_of_the_wrong_sign_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_newton_krylov, "gmres", negated)
    assert not bool(solve_nonlinear("broyden", NewtonKrylov()).converged.any())


def test_full_steps_alone_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y0 = ones(1), 5 * ones(1)
    assert int(fixed_point(cycle, x, y0, solver=NewtonKrylov(), stop=Stop(atol=1e-9)).evaluations) < 12
    monkeypatch.setattr(_newton_krylov, "_DECREASE", -torch.inf)  # accept whatever comes
    bare = fixed_point(cycle, x, y0, solver=NewtonKrylov(), stop=Stop(atol=1e-9), on_failure=RETURN)
    assert not bool(bare.converged)


@pytest.mark.parametrize("name", ["linear 0.9", "rotation", "tanh", "relu"])
def test_a_contraction_converges_whatever_the_directions_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(name, torch.float64)
    monkeypatch.setattr(_newton_krylov, "gmres", negated)
    safe = laws.solve(NewtonKrylov(), p, rtol=1e-3)
    assert bool(safe.converged.all())
    monkeypatch.setattr(_newton_krylov, "_SHORTEST", 0.0)  # never give up
    assert not bool(laws.solve(NewtonKrylov(), p, rtol=1e-3, max_steps=300).converged.any())


# How exactly, and at what price.


def residuals(name: str, **options: Any) -> Tensor:
    s = solve_nonlinear(name, NewtonKrylov(goal=1e-13, **options), trace=True)
    return s.trace.residuals[:, 0]


@pytest.mark.parametrize("name", ["broyden", "cubic"])
def test_the_end_is_superlinear_and_not_over_solved(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near the end every step at least squares the quotient of residuals, at fewer products than exact directions take."""
    r = residuals(name)
    quotients = r[1:] / r[:-1]
    last = quotients[-3:]
    assert bool((last[1:] <= 2 * last[:-1] ** 1.8).all()), quotients
    assert float(last[-1]) < 1e-4
    cheap = solve_nonlinear(name, NewtonKrylov(goal=1e-13))
    exact = lambda self, state, size, goal, dtype: torch.full_like(size, 1e-14)  # noqa: E731
    monkeypatch.setattr(NewtonKrylov, "_forcing", exact)
    dear = solve_nonlinear(name, NewtonKrylov(goal=1e-13))
    assert int(cheap.evaluations[0]) < 0.8 * int(dear.evaluations[0])
    monkeypatch.setattr(NewtonKrylov, "_forcing", lambda self, state, size, goal, dtype: torch.full_like(size, 0.5))
    slow = residuals(name)
    assert not bool((slow[-2:] / slow[-3:-1] < 1e-4).any())  # what the test above would see


def symmetric(mu: float, n: int) -> Tensor:
    basis = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    return basis @ torch.diag(torch.linspace(-mu, mu, n, dtype=torch.float64)) @ basis.T


@pytest.mark.parametrize(("mu", "most"), [(0.9, 45), (0.99, 70), (0.999, 80)])
def test_linear_problems_end_with_the_second_step(mu: float, most: int) -> None:
    W, x = symmetric(mu, 100), ones(2, 100) * torch.tensor([[1.0], [1e6]]).double()
    solver = NewtonKrylov(inner=100, goal=1e-8)
    s = fixed_point(lambda y, x: matvec(W, y) + x, x, 0 * x, solver=solver, stop=Stop(rtol=1e-8))
    assert int(s.steps.max()) <= 2
    assert int(s.evaluations.max()) <= most


def test_a_goal_of_the_size_of_the_tolerance_saves_products() -> None:
    W, x = symmetric(0.99, 100), ones(1, 100)
    evaluations = {}
    for goal in (1e-15, 1e-4):
        solver = NewtonKrylov(inner=100, goal=goal)
        s = fixed_point(lambda y, x: matvec(W, y) + x, x, 0 * x, solver=solver, stop=Stop(rtol=1e-4))
        evaluations[goal] = int(s.evaluations)
    assert evaluations[1e-4] < 0.7 * evaluations[1e-15]


def test_an_unscaled_forcing_term_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = NewtonKrylov._forcing
    absolute = lambda self, state, size, *rest: (honest(self, state, size, *rest) / size).clamp(1e-12, 0.5)  # noqa: E731
    monkeypatch.setattr(NewtonKrylov, "_forcing", absolute)
    with pytest.raises(AssertionError):
        laws.follows_a_change_of_scale(NewtonKrylov(), problem("tanh", torch.float64))


# The line search, step by step.


def pair(solver: NewtonKrylov, *values: float) -> tuple[list[float], list[float]]:
    """States that are proposed, and lengths, when `G(y) - y` is first 1 with derivative -1 and then as given."""
    solver = solver.attached(lambda y, v, _: 0 * y * v)
    y = ones(1)
    state = solver.init(y)
    proposals, lengths = [], []
    for value in (1.0, *values):
        y, state = solver.step(state, y, y + value, torch.ones(1, dtype=torch.bool))
        proposals.append(float(y))
        lengths.append(float(state.length))
    return proposals, lengths


def test_refused_steps_are_shortened_until_the_picard_step() -> None:
    """From 1 with direction 1: the parabola through `|f|^2 = 1`, slope -2 and the refused value, within 0.1 and 0.5."""
    assert pair(NewtonKrylov(), 1.0) == ([2.0, 1.5], [1.0, 0.5])
    assert pair(NewtonKrylov(), 2.0) == ([2.0, 1.2], [1.0, 0.2])
    assert pair(NewtonKrylov(), 100.0) == ([2.0, 1.1], [1.0, 0.1])
    proposals, lengths = pair(NewtonKrylov(), *[1.0] * 11)
    assert lengths == [2.0**-k for k in range(11)] + [0.0]
    assert proposals[:-1] == [1 + t for t in lengths[:-1]]
    assert proposals[-1] == 2.0  # the Picard step from 1
    assert pair(NewtonKrylov(), 0.9998)[1] == [1.0, 1.0]  # accepted, and a new direction on trial
    assert pair(NewtonKrylov(), 0.99995)[1] == [1.0, 0.5]  # not quite


def test_infinite_residuals_are_refused() -> None:
    assert pair(NewtonKrylov(), 1e300)[1] == [1.0, 0.1]  # its square overflows


def test_steps_beyond_the_dtype_become_picard_steps() -> None:
    """A direction of 3e5 leaves float16; nothing is on trial afterwards."""
    y = torch.zeros(1, 1, dtype=torch.float16)
    solver = NewtonKrylov().attached(lambda y, v, _: 0.9 * v)
    proposal, state = solver.step(solver.init(y), y, y + 30000, torch.ones(1, dtype=torch.bool))
    assert proposal.tolist() == [[30000]]
    assert float(state.length) == 0


# Singular, not finite, small and strange.


def test_nearly_singular_jacobians() -> None:
    """`1 - dG/dy` of 1e-9 is still solved in one step, and a double root converges by halves."""
    s = fixed_point(lambda y, x: (1 - 1e-9) * y + x, ones(1), 0 * ones(1), solver=NewtonKrylov(), stop=Stop(rtol=1e-14))
    torch.testing.assert_close(s.value, 1e9 * ones(1), rtol=1e-6, atol=0.0)
    assert int(s.steps) <= 2
    s = fixed_point(lambda y, x: y - y * y + 0 * x, ones(1), ones(1), solver=NewtonKrylov(), stop=Stop(atol=1e-12))
    assert float(s.value) < 1e-5
    assert int(s.steps) < 25


def test_singular_jacobians_take_the_picard_step() -> None:
    """At 0 the derivative of `y^2 - 4` vanishes."""
    G = lambda y, x: y - (y * y - x)  # noqa: E731
    s = fixed_point(G, 4 * ones(1), 0 * ones(1), solver=NewtonKrylov(), stop=Stop(rtol=1e-12), iterates=True)
    assert s.trace.iterates[1].tolist() == [4.0]
    torch.testing.assert_close(s.value, 2 * ones(1))


def test_products_that_are_not_finite_take_the_picard_step() -> None:
    """The derivative of a root is infinite at 0; the neighbour does not notice."""
    G = lambda y, x: 0.5 * y.abs().sqrt() + x  # noqa: E731
    x, y0 = ones(2, 3), torch.stack([0 * ones(3), 2 * ones(3)])
    both = fixed_point(G, x, y0, solver=NewtonKrylov(), iterates=True)
    alone = fixed_point(G, x[1:], y0[1:], solver=NewtonKrylov())
    assert torch.equal(both.trace.iterates[1, 0], x[0])
    assert torch.equal(both.value[1], alone.value[0])
    assert bool(both.converged.all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 4), (3, 2, 3, 2)], ids=str)
def test_states_of_any_shape_and_dtype(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.tensor([1.0, -2.0, 5.0], dtype=dtype).reshape(3, *[1] * (len(shape) - 1)).expand(shape)
    eps = torch.finfo(dtype).eps
    asked: list[torch.dtype] = []

    def G(y: Tensor, x: Tensor) -> Tensor:
        asked.append(y.dtype)
        return x - 3 * y

    s = fixed_point(G, x, torch.zeros_like(x), solver=NewtonKrylov(), stop=Stop(rtol=8 * eps))
    assert s.value.dtype is dtype
    assert set(asked) == {dtype}
    torch.testing.assert_close(s.value, x / 4, rtol=40 * eps, atol=0.0)
    state = NewtonKrylov().init(x)
    assert state.base.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)


def test_an_operator_without_forward_derivative_is_refused() -> None:
    class Opaque(torch.autograd.Function):
        @staticmethod
        def forward(y: Tensor) -> Tensor:
            return 0.5 * y

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

    with pytest.raises(InputError, match=r"torch\.func\.jvp can differentiate"):
        fixed_point(lambda y, x: Opaque.apply(y) + x, ones(2, 3), 0 * ones(2, 3), solver=NewtonKrylov())
