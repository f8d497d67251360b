"""One sample does not touch another: failures are quarantined, samples freeze one by one, layouts do not matter."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.norms import Euclidean, Spectral
from eqtheory.operators import FunctionOperator, Regularity
from eqtheory.solvers import (
    Anderson,
    KrasnoselskiiMann,
    OnFailure,
    Picard,
    Solution,
    Status,
    Stop,
    fixed_point,
)
from eqtheory.solvers._measure import Gauge
from tests.problems import problem
from tests.solvers.laws import same_bits
from tests.solvers.samples import INPUTS, STARTS, mixed

RETURN = OnFailure.RETURN
ONE = torch.ones(1, dtype=torch.float64)
PER_SAMPLE = ("value", "status", "steps", "residual", "evaluations")


@pytest.mark.parametrize("check_every", [None, 1, 4, 7])
def test_failures_are_quarantined(check_every: int | None) -> None:
    stop = Stop(rtol=1e-9, check_every=check_every)
    s = fixed_point(mixed, INPUTS, STARTS, stop=stop, on_failure=RETURN)
    good, lost = Status.CONVERGED, Status.NON_FINITE
    assert s.statuses == (good, lost, good, lost, Status.CYCLING, Status.DIVERGED, good)
    assert bool(torch.isfinite(s.value).all())
    assert s.value[[1, 3]].tolist() == [4.0, 4.0]  # the last finite iterate
    assert s.steps[[1, 3]].tolist() == [4, 4]  # the step at which G failed there
    assert s.evaluations[[1, 3]].tolist() == [5, 5]
    assert s.residual[[1, 3]].tolist() == [torch.inf, torch.inf]
    healthy = [0, 2, 6]
    apart = fixed_point(mixed, INPUTS[healthy], STARTS[healthy], stop=stop)
    for name in PER_SAMPLE:
        assert same_bits(getattr(s, name)[healthy], getattr(apart, name)), name


def test_looking_less_often_changes_no_result() -> None:
    p = problem("relu", torch.float32)
    for solver in (Picard(), Anderson()):
        prompt, *lazy = (
            fixed_point(p.operator, p.x, p.y0, solver=solver, stop=Stop(rtol=1e-5, check_every=k))
            for k in (1, 3, 8, 50)
        )
        for other in lazy:
            for name in PER_SAMPLE:
                assert same_bits(getattr(other, name), getattr(prompt, name)), name
            assert prompt.calls <= other.calls
        assert lazy[1].calls % 8 == 1  # looked at steps 0, 8, 16, ...


def freezes(s: Solution) -> None:
    """Every sample's path is constant from its own last step on and ends at its value."""
    assert s.trace is not None
    assert s.trace.iterates is not None
    for i, step in enumerate(s.steps.tolist()):
        path = s.trace.iterates[:, i]
        assert same_bits(path[step:], s.value[i].expand_as(path[step:]))
        residuals = s.trace.residuals[step:, i]
        assert same_bits(residuals, s.residual[i].expand_as(residuals))


def owns_its_residual(s: Solution, G: Any, x: Tensor) -> None:
    again = Euclidean()(G(s.value, x) - s.value)
    assert same_bits(again, s.residual), "the residual belongs to another state"


@pytest.mark.parametrize("solver", [Picard(), KrasnoselskiiMann(0.3), Anderson()], ids=lambda s: type(s).__name__)
def test_samples_freeze_one_by_one(solver: Any) -> None:
    p = problem("relu", torch.float64)
    s = fixed_point(p.operator, p.x, p.y0, solver=solver, stop=Stop(max_steps=5000), iterates=True)
    assert len(set(s.steps.tolist())) > 1
    freezes(s)
    owns_its_residual(s, p.operator, p.x)
    assert same_bits(s.evaluations, s.steps + 1)


def test_laws_of_freezing_and_of_residuals_can_fail() -> None:
    p = problem("reciprocal", torch.float64)
    s = fixed_point(p.operator, p.x, p.y0, stop=Stop(max_steps=5000), iterates=True)
    one_step_more = dataclasses.replace(s, value=p.operator(s.value, p.x))
    with pytest.raises(AssertionError):
        freezes(one_step_more)
    with pytest.raises(AssertionError, match="belongs to another state"):
        owns_its_residual(one_step_more, p.operator, p.x)
    thawed = dataclasses.replace(s, steps=s.steps - 1)
    with pytest.raises(AssertionError):
        freezes(thawed)


def test_a_last_iterate_is_reported_with_its_own_residual() -> None:
    p = problem("tanh", torch.float64)
    for steps in (0, 1, 5):
        s = fixed_point(p.operator, p.x, p.y0, stop=Stop(rtol=0.0, max_steps=steps), on_failure=RETURN)
        owns_its_residual(s, p.operator, p.x)
        assert s.calls == steps + 1


def test_batch_independence_needs_it_from_the_operator() -> None:
    """The check compares bits: an operator that averages over the batch is seen."""
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    both = fixed_point(lambda y, x: 0.5 * y + x + 1e-12 * y.mean(), x, 0 * x)
    alone = fixed_point(lambda y, x: 0.5 * y + x + 1e-12 * y.mean(), x[:1], 0 * x[:1])
    assert not same_bits(both.value[:1], alone.value)


def test_memory_layout_of_the_operator_does_not_matter() -> None:
    x = torch.randn(37, 500, generator=torch.Generator().manual_seed(0))
    plain = fixed_point(lambda y, x: 0.9 * torch.tanh(y) + x, x, 0 * x, solver=Anderson())

    def columns_first(y: Tensor, x: Tensor) -> Tensor:
        return (0.9 * torch.tanh(y.T.contiguous()) + x.T).T

    assert not columns_first(x, x).is_contiguous()
    turned = fixed_point(columns_first, x, 0 * x, solver=Anderson())
    for name in PER_SAMPLE:
        assert same_bits(getattr(plain, name), getattr(turned, name)), name


def test_half_precision_is_measured_in_float32() -> None:
    p = problem("relu", torch.bfloat16)
    s = fixed_point(p.operator, p.x, p.y0, stop=Stop(rtol=0.0, max_steps=1), on_failure=RETURN)
    exact = Euclidean()(p.operator(s.value, p.x).float() - s.value.float())
    assert same_bits(s.residual, exact)


def test_norms_do_not_see_the_layout() -> None:
    v = torch.randn(500, 37, generator=torch.Generator().manual_seed(0)).T
    gauge = Gauge(Euclidean(), v, certified=True)
    assert not same_bits(Euclidean()(v), Euclidean()(v.contiguous()))  # what it protects from
    assert same_bits(gauge(v), gauge(v.contiguous()))


def test_a_spectral_norm_survives_a_broken_sample() -> None:
    """A singular value decomposition refuses the whole batch for one NaN; the neighbours must not notice."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        return torch.where((x < 0) & (y > 2), torch.nan, 0.5 * y + x.abs())

    constants = Regularity.declared(mu=0.5, L0=1.0, L1=0.0, state_norm=Spectral())
    x = torch.ones(3, 2, 2, dtype=torch.float64) * torch.tensor([1.0, -5.0, 2.0]).reshape(3, 1, 1)
    s = fixed_point(FunctionOperator(G, regularity=constants), x, 0 * x, on_failure=RETURN)
    assert s.statuses == (Status.CONVERGED, Status.NON_FINITE, Status.CONVERGED)
    assert s.error_bound.value[1] == torch.inf
    alone = fixed_point(FunctionOperator(G, regularity=constants), x[2:], 0 * x[2:])
    assert same_bits(alone.value[0], s.value[2])
