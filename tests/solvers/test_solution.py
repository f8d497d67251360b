"""What a solve returns, how it fails, and what a relaxation cannot hide."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from eqtheory.errors import NonFiniteError, SolverError
from eqtheory.operators import FunctionOperator, Regularity
from eqtheory.roundoff import Rounding
from eqtheory.solvers import (
    ConvergenceWarning,
    KrasnoselskiiMann,
    OnFailure,
    Status,
    Stop,
    fixed_point,
)
from tests.problems import problem
from tests.solvers.laws import same_bits
from tests.solvers.samples import INPUTS, STARTS, mixed

RETURN = OnFailure.RETURN
ONE = torch.ones(1, dtype=torch.float64)


def half(y: Tensor, x: Tensor) -> Tensor:
    return 0.5 * y + x


@pytest.mark.parametrize("eps", [0.1, 0.01, 0.003])
def test_relaxation_does_not_shrink_its_own_stop_test(eps: float) -> None:
    """Fixed point 10; stopping on the length of relaxed steps of 1e-3 returns 9.9, 9.0 and 6.7 here."""
    constants = dataclasses.replace(Regularity.declared(mu=0.9, L0=1.0, L1=0.0), rounding=Rounding(4.0, 4.0))
    G = FunctionOperator(lambda y, x: 0.9 * y + x, regularity=constants)
    s = fixed_point(G, ONE, 0 * ONE, solver=KrasnoselskiiMann(eps), stop=Stop(rtol=1e-3, max_steps=200_000))
    assert abs(float(s.value) - 10) <= float(s.error_bound.value) <= 0.11
    early = 0.0
    while abs(step := eps * (0.9 * early + 1 - early)) > 1e-3:  # the fault: the step instead of the residual
        early += step
    assert abs(early - 10) > 0.9 * 1e-3 / (0.1 * eps)  # the error it leaves grows as the relaxation shrinks


def test_solution_sums_itself_up() -> None:
    p = problem("multiple", torch.float64)
    s = fixed_point(p.operator, p.x, p.y0, stop=Stop(rtol=1e-3))
    assert str(s).startswith("5 samples: 5 converged; residual <= ")
    assert ", error <= " in str(s)
    assert "\n" not in str(s)
    assert s.status.dtype is torch.int8
    assert s.trace is None
    assert s.failures() == ""
    assert s.count() == {Status.CONVERGED: 5}
    mixed_up = fixed_point(mixed, INPUTS, STARTS, on_failure=RETURN)
    assert str(mixed_up).startswith("7 samples: 3 converged, 1 diverged, 2 non_finite, 1 cycling; residual <= inf, ev")
    assert mixed_up.converged.tolist() == [True, False, True, False, False, False, True]


def test_trace_is_kept_only_on_request() -> None:
    p = problem("tanh", torch.float64)
    s = fixed_point(p.operator, p.x, p.y0, trace=True)
    assert s.trace.residuals.shape == (s.calls, 4)
    assert s.trace.iterates is None
    assert fixed_point(p.operator, p.x, p.y0).trace is None
    full = fixed_point(p.operator, p.x, p.y0, iterates=True).trace
    assert full.iterates.shape == (s.calls, *p.x.shape)
    assert same_bits(full.residuals, s.trace.residuals)
    assert same_bits(full.iterates[0], p.y0)
    broken = fixed_point(mixed, INPUTS[:2], STARTS[:2], on_failure=RETURN, trace=True)
    assert broken.trace.residuals[:, 1].tolist() == [1.0] * 4 + [torch.inf] * (broken.calls - 4)  # infinite, not NaN


def test_the_value_has_storage_of_its_own() -> None:
    y0 = torch.tensor([2.0])
    s = fixed_point(half, torch.ones(1), y0)
    assert s.calls == 1  # converged at the start
    s.value.zero_()
    assert float(y0) == 2.0


def test_failure_is_raised_warned_or_returned() -> None:
    x = torch.tensor([7.0, 1.0, 8.0, 8.0], dtype=torch.float64)
    line = f"3 of 4 samples did not converge: 2 diverged: {Status.DIVERGED.advice}; 1 cycling: {Status.CYCLING.advice}"
    with pytest.raises(SolverError) as caught:
        fixed_point(mixed, x, torch.ones_like(x))
    assert str(caught.value) == line
    assert caught.value.solution.statuses[1] is Status.CONVERGED
    with pytest.warns(ConvergenceWarning) as warned:
        s = fixed_point(mixed, x, torch.ones_like(x), on_failure=OnFailure.WARN)
    assert str(warned[0].message) == line
    assert warned[0].filename == __file__
    again = pickle.loads(pickle.dumps(s))
    assert same_bits(again.status, caught.value.solution.status)
    assert same_bits(fixed_point(mixed, x, torch.ones_like(x), on_failure=RETURN).value, s.value)


def test_a_start_may_be_judged_without_a_step() -> None:
    s = fixed_point(half, ONE, 0 * ONE, stop=Stop(max_steps=0), on_failure=RETURN)
    assert (s.calls, s.steps.tolist(), s.residual.tolist()) == (1, [0], [1.0])


def test_an_operator_broken_at_the_start_keeps_the_start() -> None:
    s = fixed_point(lambda y, x: y / 0 * 0, ONE, 3 * ONE, on_failure=RETURN)
    assert (s.statuses, s.value.tolist(), s.steps.tolist()) == ((Status.NON_FINITE,), [3.0], [0])


def test_an_infinite_value_is_never_a_fixed_point() -> None:
    """Against an infinite scale an infinite residual is small, unless someone thought of it."""
    for G in (lambda y, x: y * torch.inf, lambda y, x: -y * torch.inf, lambda y, x: y + 1.7e308):
        s = fixed_point(G, ONE, 1.7e308 * ONE, on_failure=RETURN)
        assert (s.statuses, s.residual.tolist()) == ((Status.NON_FINITE,), [torch.inf])


def test_operators_bring_their_own_start() -> None:
    p = problem("tanh", torch.float64)
    assert same_bits(fixed_point(p.operator, p.x).value, fixed_point(p.operator, p.x, p.y0).value)


@dataclass
class Instance:
    matrix: Tensor
    rest: tuple[Tensor, dict[str, Tensor]]


def test_inputs_may_be_nests() -> None:
    x = Instance(0.5 * torch.ones(2, 3), (torch.ones(2, 3), {"b": torch.zeros(2, 3), "index": torch.arange(2)}))
    G = lambda y, x: x.matrix * y + x.rest[0] + x.rest[1]["b"]  # noqa: E731
    torch.testing.assert_close(fixed_point(G, x, torch.zeros(2, 3)).value, 2 * torch.ones(2, 3))
    x.rest[1]["b"][1, 2] = torch.inf
    with pytest.raises(NonFiniteError) as caught:
        fixed_point(G, x, torch.zeros(2, 3))
    assert str(caught.value) == (
        "x.rest[1]['b']: got a NaN or an infinity at index (1, 2), needed finite numbers; repair that input"
    )
