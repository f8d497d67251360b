"""Every way a sample can end is told from the others, in every dtype."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.solvers import (
    Anderson,
    KrasnoselskiiMann,
    OnFailure,
    Picard,
    Quantity,
    Status,
    Stop,
    fixed_point,
)
from tests.problems import problem

RETURN = OnFailure.RETURN
ONE = torch.ones(1, dtype=torch.float64)


def half(y: Tensor, x: Tensor) -> Tensor:
    return 0.5 * y + x


def statuses(G: Any, y0: Tensor = ONE, **settings: Any) -> tuple[Status, ...]:
    return fixed_point(G, y0, y0, on_failure=RETURN, **settings).statuses


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_operators_without_contraction_are_reported(dtype: torch.dtype) -> None:
    one = torch.ones(1, dtype=dtype)
    assert statuses(lambda y, x: -y, one) == (Status.CYCLING,)
    assert statuses(lambda y, x: 2 * y + 1, one) == (Status.DIVERGED,)
    assert statuses(lambda y, x: y + 1, one, stop=Stop(max_steps=100)) == (Status.MAX_STEPS,)
    assert statuses(lambda y, x: y * torch.nan, one) == (Status.NON_FINITE,)


@pytest.mark.parametrize("period", [2, 3, 5, 7, 12])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_cycles_of_any_period_are_found(period: int, offset: float) -> None:
    y0 = (torch.arange(period, dtype=torch.float64) + offset).unsqueeze(0)
    s = fixed_point(lambda y, x: y.roll(1, dims=1), y0, y0, stop=Stop(rtol=1e-12), on_failure=RETURN)
    assert s.statuses == (Status.CYCLING,)
    # The anchor lies at most at twice the first multiple of 8 above the period; lcm(p, 8) <= 8 p steps behind it is a look.
    assert int(s.steps) <= 2 * 8 * period + 8 * period


def test_an_attracting_cycle_is_found() -> None:
    """The logistic map at 3.2 draws everything onto a cycle of period two, without ever being periodic at first."""
    assert statuses(lambda y, x: 3.2 * y * (1 - y), 0.3 * ONE) == (Status.CYCLING,)


@pytest.mark.parametrize("name", ["linear 0.9", "linear 0.99", "rotation", "relu"])
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("solver", [Picard(), KrasnoselskiiMann(0.5), Anderson()], ids=lambda s: type(s).__name__)
def test_contractions_at_their_rounding_floor_stagnate(name: str, declared: bool, solver: Any) -> None:
    """They return to the anchor too, but are no cycles; whether a mu is known or not."""
    p = problem(name, torch.float32)
    G = p.operator if declared else p.operator.__call__  # a plain function declares nothing
    s = fixed_point(G, p.x, p.y0, solver=solver, stop=Stop(rtol=0.0, max_steps=5000), on_failure=RETURN)
    assert set(s.statuses) <= {Status.STAGNATED, Status.CONVERGED}
    assert p.error(s.value).max() < 1e-4 * p.operator.norm(p.y_star).max()


@pytest.mark.parametrize("declared", [True, False])
def test_amplified_rounding_is_told_from_a_cycle(declared: bool) -> None:
    """At mu = 0.999 rounding alone keeps residuals of hundreds of roundoffs alive, whether mu is known or not."""
    p = problem("linear 0.999", torch.float32)
    G = p.operator if declared else p.operator.__call__
    s = fixed_point(G, p.x, p.y0, stop=Stop(rtol=0.0, max_steps=40_000), on_failure=RETURN)
    assert set(s.statuses) <= {Status.STAGNATED, Status.CONVERGED}
    assert Status.STAGNATED in s.statuses


def test_a_solver_that_does_not_move_stagnates() -> None:
    assert statuses(half, solver=KrasnoselskiiMann(1e-30)) == (Status.STAGNATED,)


def test_slow_progress_is_no_stagnation() -> None:
    """1 - mu = 1e-5 in float64: steps are tiny for long, and it goes on."""
    s = fixed_point(
        lambda y, x: (1 - 1e-5) * y + x, ONE, 0 * ONE, stop=Stop(rtol=1e-9, max_steps=300), on_failure=RETURN
    )
    assert s.statuses == (Status.MAX_STEPS,)


def test_transient_growth_is_no_divergence() -> None:
    """A nilpotent operator whose residual grows by 1e12 before it vanishes."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        return 1e4 * torch.nn.functional.pad(y[:, 1:], (0, 1)) + x

    y0 = torch.zeros(1, 4, dtype=torch.float64)
    x = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    s = fixed_point(G, x, y0, trace=True)
    assert s.trace.residuals.max() > 1e11
    assert s.value[0, 0] == 1e12
    assert statuses(lambda y, x: 3 * y, stop=Stop(divergence=100.0, max_steps=7)) == (Status.DIVERGED,)


def test_a_certified_stop_stagnates_where_rounding_forbids_it() -> None:
    p = problem("linear 0.99", torch.float32)
    stop = Stop(rtol=1e-9, of=Quantity.CERTIFIED_ERROR, max_steps=5000)
    s = fixed_point(p.operator, p.x, p.y0, stop=stop, on_failure=RETURN)
    assert set(s.statuses) == {Status.STAGNATED}


def test_every_status_advises() -> None:
    assert sorted(status.value for status in Status) == list(range(len(Status)))
    for status in Status:
        assert "\n" not in str(status)
        assert str(status) == f"{status.name.lower()}: {status.advice}"
        assert len(status.advice) > 20
    assert "Anderson()" in Status.MAX_STEPS.advice
    assert "KrasnoselskiiMann" in Status.CYCLING.advice
    assert "wider dtype" in Status.STAGNATED.advice
