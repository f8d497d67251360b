"""The laws of every solver for Newton's method, what is counted, and the solver as an object."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.operators import FunctionOperator
from eqtheory.solvers import Status, Stop, fixed_point
from eqtheory.solvers._newton_krylov import NewtonKrylov, NewtonKrylovState
from tests.problems import PROBLEMS, Problem, problem
from tests.solvers import laws
from tests.solvers.newton_samples import (
    NONLINEAR,
    RETURN,
    attached,
    cubic,
    dtypes,
    ones,
    problems,
    solvers,
)

# Torch's own: it is raised once a process, when forward derivatives are first used.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


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
