"""Solves that go on where others stopped, and solvers that take over from others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.solvers import (
    Anderson,
    AndersonTGS,
    BarzilaiBorwein,
    Broyden,
    Halpern,
    KrasnoselskiiMann,
    NewtonKrylov,
    OnFailure,
    Picard,
    Solver,
    Status,
    Stop,
    fixed_point,
)
from tests.problems import problem
from tests.solvers.laws import same_bits

RETURN = OnFailure.RETURN
ALL: list[Solver[Any]] = [
    Picard(), KrasnoselskiiMann(0.6), Halpern(), Anderson(3), AndersonTGS(2), AndersonTGS(2, native=True),
    BarzilaiBorwein(), Broyden(), NewtonKrylov(),
]  # fmt: skip
names = lambda s: type(s).__name__ + ("-native" if getattr(s, "native", False) else "")  # noqa: E731


@pytest.mark.parametrize("solver", ALL, ids=names)
@pytest.mark.parametrize("name", ["tanh", "relu", "rotation"])
def test_a_resumed_solve_is_the_uninterrupted_one(name: str, solver: Solver[Any]) -> None:
    p = problem(name, torch.float64)
    at = lambda steps: Stop(rtol=0.0, max_steps=steps)  # noqa: E731
    whole = fixed_point(p.operator, p.x, p.y0, solver=solver, stop=at(6), on_failure=RETURN)
    part = fixed_point(p.operator, p.x, p.y0, solver=solver, stop=at(2), on_failure=RETURN)
    for _ in range(2):  # resuming uses nothing up
        resumed = fixed_point(p.operator, p.x, part, solver=solver, stop=at(4), on_failure=RETURN)
        assert same_bits(resumed.value, whole.value)
        assert same_bits(resumed.steps, whole.steps)
        assert same_bits(resumed.evaluations, whole.evaluations + 1)  # the state it went on from was evaluated twice
        assert resumed.calls == whole.calls + 1


@pytest.mark.parametrize("solver", [s for s in ALL if not isinstance(s, (Picard, KrasnoselskiiMann))], ids=names)
def test_the_memory_is_what_makes_it_so(solver: Solver[Any]) -> None:
    p = problem("tanh", torch.float64)
    part = fixed_point(p.operator, p.x, p.y0, solver=solver, stop=Stop(rtol=0.0, max_steps=3), on_failure=RETURN)
    stop = Stop(rtol=0.0, max_steps=3)
    resumed = fixed_point(p.operator, p.x, part, solver=solver, stop=stop, on_failure=RETURN)
    forgetful = fixed_point(p.operator, p.x, part.value, solver=solver, stop=stop, on_failure=RETURN)
    if not isinstance(solver, NewtonKrylov):  # which is at its fixed point by now
        assert not same_bits(resumed.value, forgetful.value)
    other = fixed_point(p.operator, p.x, part, solver=Picard(), stop=stop, on_failure=RETURN)
    fresh = fixed_point(p.operator, p.x, part.value, solver=Picard(), stop=stop, on_failure=RETURN)
    assert same_bits(other.value, fresh.value)  # another solver's memory is not used


@pytest.mark.parametrize("solver", ALL, ids=names)
def test_a_solve_of_which_some_samples_are_done_is_resumed(solver: Solver[Any]) -> None:
    """Samples that ran out of steps go on with their memory, the others start afresh from their values."""
    p = problem("relu", torch.float64)
    steps = fixed_point(p.operator, p.x, p.y0, solver=solver, stop=Stop(rtol=1e-3, max_steps=999)).steps
    middle = int(steps.sort().values[len(steps) // 2 - 1])
    part = fixed_point(p.operator, p.x, p.y0, solver=solver, stop=Stop(rtol=1e-3, max_steps=middle), on_failure=RETURN)
    if bool(part.converged.all()):
        pytest.skip("every sample takes the same number of steps")
    resumed = fixed_point(p.operator, p.x, part, solver=solver, stop=Stop(rtol=1e-8, max_steps=5000))
    assert bool((p.error(resumed.value) <= resumed.error_bound.value).all())
    out = int((~part.converged).nonzero()[0])
    alone = fixed_point(
        p.operator, p.x[out : out + 1], p.y0[out : out + 1], solver=solver, stop=Stop(rtol=1e-8, max_steps=5000)
    )
    assert same_bits(resumed.value[out], alone.value[0])


def rotation(y: Tensor, x: Tensor) -> Tensor:
    """An isometry around `x` where `x > 0`, a contraction elsewhere."""
    turned = torch.stack([-y[:, 1], y[:, 0]], dim=1)
    return torch.where(x > 0, turned + x, 0.5 * y + x)


def test_a_fallback_takes_what_the_first_solver_leaves() -> None:
    x = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [2.0, 2.0]], dtype=torch.float64)
    first = fixed_point(rotation, x, 0 * x, on_failure=RETURN)
    assert first.statuses == (Status.CYCLING, Status.CONVERGED, Status.CYCLING)
    s = fixed_point(rotation, x, 0 * x, fallback=(KrasnoselskiiMann(0.5),))
    assert bool(s.converged.all())
    assert s.attempt.tolist() == [1, 0, 1]
    assert same_bits(s.value[1], first.value[1])
    assert same_bits(s.evaluations[1], first.evaluations[1])
    second = fixed_point(rotation, x, first.value, solver=KrasnoselskiiMann(0.5))
    assert same_bits(s.value[[0, 2]], second.value[[0, 2]])
    assert same_bits(s.steps[[0, 2]], (first.steps + second.steps)[[0, 2]])
    assert same_bits(s.evaluations[[0, 2]], (first.evaluations + second.evaluations)[[0, 2]])


def test_samples_that_were_lost_start_again() -> None:
    def G(y: Tensor, x: Tensor) -> Tensor:
        return torch.where(y.abs() > 50, torch.nan, 1 - 3 * y)

    x = torch.ones(1, 2, dtype=torch.float64)
    s = fixed_point(G, x, 0 * x, fallback=(KrasnoselskiiMann(0.25), Anderson()))
    torch.testing.assert_close(s.value, torch.full_like(x, 0.25))
    assert s.attempt.tolist() == [1]
    again = fixed_point(G, x, 0 * x, solver=KrasnoselskiiMann(0.25))
    assert same_bits(s.value, again.value)


def test_a_fallback_that_is_not_needed_costs_nothing() -> None:
    p = problem("tanh", torch.float64)
    plain = fixed_point(p.operator, p.x, p.y0)
    guarded = fixed_point(p.operator, p.x, p.y0, fallback=(Anderson(),))
    assert guarded.calls == plain.calls
    assert same_bits(guarded.value, plain.value)


def test_traces_of_both_solvers_are_kept() -> None:
    x = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    s = fixed_point(rotation, x, 0 * x, fallback=(KrasnoselskiiMann(0.5),), iterates=True)
    assert len(s.trace.residuals) == len(s.trace.iterates) == s.calls


def test_fallbacks_are_checked() -> None:
    x = torch.ones(1, 2, dtype=torch.float64)
    with pytest.raises(InputError, match=r"fallback\[0\]: got Anderson, needed a Solver"):
        fixed_point(rotation, x, 0 * x, fallback=(Anderson,))
