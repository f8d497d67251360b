"""What is particular to Newton's method: directions, their accuracy, the line search and the fallback to Picard's step."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.operators import FunctionOperator
from eqtheory.solvers import OnFailure, Picard, Solution, Solver, Status, Stop, _newton_krylov, fixed_point
from eqtheory.solvers._gmres import KrylovSolution, gmres
from eqtheory.solvers._newton_krylov import NewtonKrylov, NewtonKrylovState
from tests.problems import PROBLEMS, Problem, problem
from tests.solvers import laws

# Torch's own: it is raised once a process, when forward derivatives are first used.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

RETURN = OnFailure.RETURN
SOLVERS = {"default": NewtonKrylov(), "two products": NewtonKrylov(inner=2, forcing=0.5, goal=1e-3)}
solvers = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
problems = pytest.mark.parametrize("name", PROBLEMS)
dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def matvec(W: Tensor, v: Tensor) -> Tensor:
    return (W * v.unsqueeze(-2)).sum(dim=-1)


def attached(solver: NewtonKrylov, G: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> NewtonKrylov:
    return solver.attached(lambda y, v, _: torch.func.jvp(lambda at: G(at, x), (y,), (v,))[1])


def neighbours(y: Tensor) -> tuple[Tensor, Tensor]:
    pad = torch.nn.functional.pad
    return pad(y, (1, 0))[:, :-1], pad(y, (0, 1))[:, 1:]


def broyden(y: Tensor, x: Tensor) -> Tensor:
    """`G = y - F` with Broyden's tridiagonal function."""
    left, right = neighbours(y)
    return y - ((3 - 2 * y) * y - left - 2 * right + x)


def bratu(y: Tensor, x: Tensor) -> Tensor:
    """`-y'' = x exp(y)` by finite differences; the branch ends near `x = 3.51`."""
    left, right = neighbours(y)
    return y - (2 * y - left - right - x * torch.exp(y) / (y.shape[1] + 1) ** 2)


def cubic(y: Tensor, x: Tensor) -> Tensor:
    return x - 3 * y - y**3 + 0.5 * torch.sin(y.roll(1, -1))


def arctan(y: Tensor, x: Tensor) -> Tensor:
    """Newton's full steps diverge from further than 1.4 off."""
    return y - 2 * torch.atan(y - x)


def cycle(y: Tensor, x: Tensor) -> Tensor:
    """A contraction with factor 0.9 on which Newton's full steps jump between -18 and 18."""
    return -0.9 * y.clamp(-1, 1) + 0.9 * (y - y.clamp(-1, 1)) + 0 * x


def ones(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float64)


NONLINEAR: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]] = {
    "broyden": (broyden, ones(2, 50), -ones(2, 50)),
    "bratu": (bratu, torch.tensor([[1.0], [3.0], [3.5]]).double(), 0 * ones(3, 30)),
    "cubic": (cubic, 20 * torch.linspace(-3, 3, 40).double().reshape(2, 20), 0 * ones(2, 20)),
    "arctan": (arctan, torch.tensor([0.5, 2.0, 5.0, 20.0]).double(), 0 * ones(4)),
}


def solve_nonlinear(name: str, solver: Solver[Any], **settings: Any) -> Solution:
    G, x, y0 = NONLINEAR[name]
    stop = Stop(rtol=1e-10, atol=1e-12, max_steps=60)
    return fixed_point(G, x, y0, solver=solver, stop=stop, on_failure=RETURN, **settings)


# The laws of every solver.


@dtypes
@problems
@solvers
def test_converges_to_the_equilibrium(solver: NewtonKrylov, name: str, dtype: torch.dtype) -> None:
    laws.converges_to_the_equilibrium(solver, problem(name, dtype))


@dtypes
@pytest.mark.parametrize("name", [name for name in PROBLEMS if name not in {"linear 0.99", "linear 0.999"}])
@solvers
def test_is_independent_of_batch_mates(solver: NewtonKrylov, name: str, dtype: torch.dtype) -> None:
    laws.is_independent_of_batch_mates(solver, problem(name, dtype))


@pytest.mark.parametrize("name", ["rotation", "tanh"])
@solvers
def test_is_deterministic(solver: NewtonKrylov, name: str) -> None:
    laws.is_deterministic(solver, problem(name, torch.float32))


@dtypes
@problems
@solvers
def test_follows_a_change_of_scale(solver: NewtonKrylov, name: str, dtype: torch.dtype) -> None:
    laws.follows_a_change_of_scale(solver, problem(name, dtype))


@pytest.mark.parametrize("name", [name for name in PROBLEMS if name not in {"multiple", "reciprocal"}])
@solvers
def test_follows_a_change_of_origin(solver: NewtonKrylov, name: str) -> None:
    """Without the two scalar problems, which are solved exactly after one step."""
    laws.follows_a_change_of_origin(solver, problem(name, torch.float64))


@pytest.mark.parametrize("name", ["linear 0.9", "tanh", "reciprocal"])
@solvers
def test_steps_purely(solver: NewtonKrylov, name: str) -> None:
    p = problem(name, torch.float64)
    laws.steps_purely(attached(solver, p.operator, p.x), p)


@pytest.mark.parametrize("name", ["linear 0.9", "tanh", "reciprocal"])
@solvers
def test_leaves_a_fixed_point_alone(solver: NewtonKrylov, name: str) -> None:
    p = problem(name, torch.float64)
    laws.leaves_a_fixed_point_alone(attached(solver, p.operator, p.x), p)


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


# What is counted.


def counted(p: Problem) -> tuple[FunctionOperator, list[int]]:
    calls: list[int] = []

    def function(y: Tensor, x: Tensor) -> Tensor:
        calls.append(1)
        return p.operator(y, x)

    return FunctionOperator(function), calls


@pytest.mark.parametrize("name", ["linear 0.9", "shift", "tanh", "relu", "reciprocal"])
def test_every_evaluation_is_counted(name: str) -> None:
    """Alone a sample needs every call; in company each is charged with its own, and calls are those of all steps."""
    p, stop = problem(name, torch.float64), Stop(rtol=1e-9)
    G, calls = counted(p)
    together = fixed_point(G, p.x, p.y0, solver=NewtonKrylov(), stop=stop)
    assert len(calls) == together.calls >= int(together.evaluations.max())
    for i in range(len(p.x)):
        G, calls = counted(p)
        alone = fixed_point(G, p.x[i : i + 1], p.y0[i : i + 1], solver=NewtonKrylov(), stop=stop)
        assert len(calls) == alone.calls == int(alone.evaluations) == int(together.evaluations[i])


def test_products_are_asked_for_those_that_need_them() -> None:
    """Two distinct eigenvalues take two products, three take three; one that has left takes none."""
    spectra = torch.tensor([[0.5] * 6, [0.5, -0.5] * 3, [0.5, -0.5, 0.9] * 2], dtype=torch.float64)
    y = ones(4, 6)
    G = lambda y: spectra[[0, 1, 2, 2]] * y + torch.arange(1.0, 7.0, dtype=torch.float64)  # noqa: E731
    asked = torch.zeros(4, dtype=torch.int64)

    def pushforward(y: Tensor, v: Tensor, needed: Tensor) -> Tensor:
        asked.add_(needed)
        assert bool((v[~needed] == 0).all())
        return torch.func.jvp(G, (y,), (v,))[1]

    solver = NewtonKrylov(forcing=1e-9, goal=1e-9).attached(pushforward)
    proposal, state = solver.step(solver.init(y), y, G(y), torch.tensor([True, True, True, False]))
    assert asked.tolist() == [1, 2, 3, 0]
    torch.testing.assert_close(G(proposal)[:3], proposal[:3])
    asked.zero_()
    solver.step(state, proposal - 1e6, G(proposal) + 1e6, torch.ones(4, dtype=torch.bool))  # refused: shorter steps
    assert asked.tolist() == [0, 0, 0, 6 - 3]  # a sample without a direction has nothing to refuse


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


# The solver as an object.


def test_is_equal_to_its_attached_copy() -> None:
    solver = NewtonKrylov(inner=7)
    copy = solver.attached(lambda y, v, _: v)
    assert copy == solver
    assert hash(copy) == hash(solver)
    assert repr(copy) == repr(solver) == "NewtonKrylov(inner=7, forcing=0.1, goal=1e-06)"
    assert pickle.loads(pickle.dumps(solver)) == solver
    with pytest.raises(InputError) as caught:
        solver.step(solver.init(ones(1)), ones(1), ones(1), torch.ones(1, dtype=torch.bool))
    assert "fixed_point(G, x, y0, solver=NewtonKrylov())" in str(caught.value)


def test_resumed_solves_go_on_as_if_never_interrupted() -> None:
    """Also with samples that left before, whose rows are filled up."""
    G, x, y0 = NONLINEAR["arctan"]
    whole = fixed_point(G, x, y0, solver=NewtonKrylov(), stop=Stop(rtol=1e-10, max_steps=40))
    for cut in (1, 2, 5, 8):
        part = fixed_point(G, x, y0, solver=NewtonKrylov(), stop=Stop(rtol=1e-10, max_steps=cut), on_failure=RETURN)
        rest = fixed_point(G, x, part, solver=NewtonKrylov(), stop=Stop(rtol=1e-10, max_steps=40))
        assert torch.equal(rest.value, whole.value)
        assert torch.equal(rest.steps, whole.steps)


def test_a_batch_is_cut_down_to_those_that_remain() -> None:
    """Rows of the memory move with their samples: values and counts are those of the samples alone."""
    x = torch.logspace(-3, 2.5, 16, dtype=torch.float64).unsqueeze(1) * torch.linspace(-1, 1, 200, dtype=torch.float64)
    stop = Stop(rtol=1e-9, max_steps=60)
    sizes: set[int] = set()

    def G(y: Tensor, x: Tensor) -> Tensor:
        sizes.add(len(y))
        return cubic(y, x)

    s = fixed_point(G, x, 0 * x, solver=NewtonKrylov(), stop=stop)
    assert len(sizes) > 1
    for i in range(0, 16, 3):
        alone = fixed_point(cubic, x[i : i + 1], 0 * x[:1], solver=NewtonKrylov(), stop=stop)
        assert torch.equal(alone.value[0], s.value[i])
        assert torch.equal(alone.evaluations[0], s.evaluations[i])


def test_memory_is_rows_of_the_batch() -> None:
    state = NewtonKrylov().init(torch.ones(3, 2, 2, dtype=torch.float16))
    assert isinstance(state, NewtonKrylovState)
    for value in vars(state).values():
        assert len(value) == 3
        assert not bool(value.any())


def test_stagnation_is_seen() -> None:
    """Where rounding allows no more, the line search moves back and forth and the solve ends before `max_steps`."""
    p = problem("tanh", torch.float32)
    s = fixed_point(p.operator, p.x, p.y0, solver=NewtonKrylov(), stop=Stop(rtol=1e-12), on_failure=RETURN)
    assert set(s.status.tolist()) <= {Status.STAGNATED.value, Status.CONVERGED.value, Status.CYCLING.value}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inner": 0}, "inner: got 0, needed an integer >= 1; pass inner=50"),
        ({"inner": 2.5}, "inner: got 2.5, needed an integer >= 1; pass inner=50"),
        ({"forcing": 0.0}, "forcing: got 0.0, needed 0 < forcing <= 0.5; pass forcing=0.1"),
        ({"forcing": 0.6}, "forcing: got 0.6, needed 0 < forcing <= 0.5; pass forcing=0.1"),
        ({"goal": 0.0}, "goal: got 0.0, needed 0 < goal < 1; pass for example goal=0.5"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        NewtonKrylov(**arguments)
    assert str(caught.value) == message
