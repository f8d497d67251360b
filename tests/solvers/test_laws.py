"""The laws of `Solver`, on every solver and every problem, and each law seen to reject a solver that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from eqtheory.operators import FunctionOperator
from eqtheory.solvers import (
    Anderson,
    AndersonTGS,
    BarzilaiBorwein,
    KrasnoselskiiMann,
    OnFailure,
    Picard,
    Solver,
    Stop,
    fixed_point,
)
from tests.problems import PROBLEMS, problem
from tests.solvers import laws, zoo

SOLVERS: dict[str, Solver[Any]] = {
    "picard": Picard(),
    "krasnoselskii_mann": KrasnoselskiiMann(0.7),
    "anderson": Anderson(),
    "anderson, memory 1, mixed": Anderson(memory=1, mixing=0.5),
    "anderson, long memory": Anderson(memory=12),
    "anderson, compiled": Anderson(native=True),
    "anderson, memory 2, mixed, compiled": Anderson(memory=2, mixing=0.5, native=True),
    "barzilai_borwein": BarzilaiBorwein(),
    "anderson, truncated": AndersonTGS(),
    "anderson, truncated, compiled": AndersonTGS(2, native=True),
    "anderson, truncated to 1, mixed": AndersonTGS(memory=1, mixing=0.5),
    "anderson, truncated to 4, mixed, compiled": AndersonTGS(memory=4, mixing=0.5, native=True),
}
solvers = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
FAST = [name for name in PROBLEMS if name not in {"linear 0.99", "linear 0.999", "reciprocal"}]
dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


@dtypes
@pytest.mark.parametrize("name", PROBLEMS)
@solvers
def test_converges_to_the_equilibrium(solver: Solver[Any], name: str, dtype: torch.dtype) -> None:
    laws.converges_to_the_equilibrium(solver, problem(name, dtype))


@dtypes
@pytest.mark.parametrize("name", FAST)
@solvers
def test_is_independent_of_batch_mates(solver: Solver[Any], name: str, dtype: torch.dtype) -> None:
    laws.is_independent_of_batch_mates(solver, problem(name, dtype))


@pytest.mark.parametrize("name", ["rotation", "tanh"])
@solvers
def test_is_deterministic(solver: Solver[Any], name: str) -> None:
    laws.is_deterministic(solver, problem(name, torch.float32))


@pytest.mark.parametrize("name", FAST)
@solvers
def test_counts_its_evaluations(solver: Solver[Any], name: str) -> None:
    laws.counts_its_evaluations(solver, problem(name, torch.float64))


@dtypes
@pytest.mark.parametrize("name", PROBLEMS)
@solvers
def test_follows_a_change_of_scale(solver: Solver[Any], name: str, dtype: torch.dtype) -> None:
    laws.follows_a_change_of_scale(solver, problem(name, dtype))


@pytest.mark.parametrize("name", PROBLEMS)
@solvers
def test_follows_a_change_of_origin(solver: Solver[Any], name: str) -> None:
    laws.follows_a_change_of_origin(solver, problem(name, torch.float64))


@pytest.mark.parametrize("name", ["linear 0.9", "tanh", "reciprocal"])
@solvers
def test_steps_purely(solver: Solver[Any], name: str) -> None:
    laws.steps_purely(solver, problem(name, torch.float64))


@pytest.mark.parametrize("name", ["linear 0.9", "tanh", "reciprocal"])
@solvers
def test_leaves_a_fixed_point_alone(solver: Solver[Any], name: str) -> None:
    laws.leaves_a_fixed_point_alone(solver, problem(name, torch.float64))


BROKEN: list[tuple[Callable[..., None], Solver[Any]]] = [
    (laws.converges_to_the_equilibrium, zoo.Stuck()),
    (laws.converges_to_the_equilibrium, zoo.OriginBound()),
    (laws.is_independent_of_batch_mates, zoo.BatchMean()),
    (laws.is_deterministic, zoo.Remembering()),
    (laws.follows_a_change_of_scale, zoo.AbsoluteRidge()),
    (laws.follows_a_change_of_scale, zoo.Forgetful()),
    (laws.follows_a_change_of_origin, zoo.OriginBound()),
    (laws.steps_purely, zoo.Remembering()),
    (laws.steps_purely, zoo.Overwriting()),
    (laws.leaves_a_fixed_point_alone, zoo.Forgetful()),
]


@pytest.mark.parametrize(("law", "solver"), BROKEN, ids=[f"{a.__name__}-{type(b).__name__}" for a, b in BROKEN])
def test_laws_reject_broken_solvers(law: Callable[..., None], solver: Solver[Any]) -> None:
    with pytest.raises(AssertionError):
        law(solver, problem("tanh", torch.float64))


def test_counting_law_rejects_a_hidden_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem("tanh", torch.float64)
    honest = Picard.step

    def peeking(self: Picard, state: None, y: Any, g: Any, active: Any) -> Any:
        return honest(self, state, y, captured[0](g, p.x), active)

    captured: list[Any] = []
    build = FunctionOperator.__init__

    def remember(self: FunctionOperator, function: Any, **rest: Any) -> None:
        build(self, function, **rest)
        captured.append(self)

    monkeypatch.setattr(FunctionOperator, "__init__", remember)
    monkeypatch.setattr(Picard, "step", peeking)
    with pytest.raises(AssertionError):
        laws.counts_its_evaluations(Picard(), p)


def test_a_proposal_that_is_not_finite_becomes_a_picard_step() -> None:
    p = problem("linear 0.9", torch.float64)
    stop = Stop(rtol=1e-6)
    picard = fixed_point(p.operator, p.x, p.y0, stop=stop)
    repaired = fixed_point(p.operator, p.x, p.y0, stop=stop, solver=zoo.NanProposer(), on_failure=OnFailure.RETURN)
    assert laws.same_bits(repaired.value, picard.value)
    assert laws.same_bits(repaired.status, picard.status)
