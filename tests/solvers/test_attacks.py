"""Ways in which a solve could go wrong without a word, each seen to have done so once."""

from __future__ import annotations

from dataclasses import dataclass
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
    OnFailure,
    Picard,
    Solver,
    Status,
    Stop,
    fixed_point,
)
from tests.solvers.laws import same_bits

RETURN = OnFailure.RETURN
SOLVERS: list[Solver[Any]] = [
    Picard(), KrasnoselskiiMann(0.9), Halpern(), Anderson(), Anderson(native=True), AndersonTGS(),
    AndersonTGS(native=True), BarzilaiBorwein(), Broyden(),
]  # fmt: skip
solvers = pytest.mark.parametrize("solver", SOLVERS, ids=repr)


@solvers
def test_a_shared_tensor_of_the_length_of_a_later_batch_stays_whole(solver: Solver[Any]) -> None:
    g = torch.Generator().manual_seed(1)
    rate = torch.tensor([0.1] * 36 + [0.6] * 32 + [0.95] * 32, dtype=torch.float64).unsqueeze(1)
    c, W = torch.randn(100, 256, generator=g).double(), torch.randn(64, 256, generator=g).double()
    G = lambda y, x: x[1] * y + x[0] + x[2].mean(dim=0)  # noqa: E731
    s = fixed_point(G, (c, rate, W), 0 * c, solver=solver, stop=Stop(rtol=1e-9, max_steps=5000))
    star = (c + W.mean(dim=0)) / (1 - rate)
    assert float(((s.value - star).norm(dim=1) / star.norm(dim=1)).max()) < 1e-6


@solvers
def test_an_operator_may_reuse_its_storage(solver: Solver[Any]) -> None:
    d = torch.linspace(-0.5, 0.9, 8, dtype=torch.float64)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    buffer = torch.empty_like(x)

    def G(y: Tensor, x: Tensor) -> Tensor:
        torch.mul(y, d, out=buffer)
        return buffer.add_(x)

    stop = Stop(rtol=1e-9, max_steps=5000)
    s = fixed_point(G, x, 0 * x, solver=solver, stop=stop)
    plain = fixed_point(lambda y, x: d * y + x, x, 0 * x, solver=solver, stop=stop)
    assert same_bits(s.value, plain.value)
    assert same_bits(s.evaluations, plain.evaluations)


def overwrites(y: Tensor, x: Tensor) -> Tensor:
    return y.mul_(0.5).add_(x)


def overwrites_through_numpy(y: Tensor, x: Tensor) -> Tensor:
    a = y.numpy()
    a *= 0.5
    a += x.numpy()
    return torch.from_numpy(a)


@pytest.mark.parametrize("G", [overwrites, overwrites_through_numpy], ids=lambda G: G.__name__)
@pytest.mark.parametrize("inference", [False, True])
def test_an_operator_that_overwrites_its_state_is_refused(G: Any, inference: bool) -> None:
    with torch.inference_mode(inference), pytest.raises(InputError, match="an operator that overwrites its argument y"):
        fixed_point(G, torch.ones(2, 3), torch.zeros(2, 3))


@solvers
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_norm_that_overflows_is_no_tolerance(solver: Solver[Any], dtype: torch.dtype) -> None:
    y0 = torch.full((1, 400), 0.8 * torch.finfo(dtype).max, dtype=dtype)
    s = fixed_point(lambda y, x: 0.98 * y, y0, y0, solver=solver, stop=Stop(max_steps=3), on_failure=RETURN)
    assert s.statuses != (Status.CONVERGED,)
    assert bool(torch.isfinite(s.value).all())


@pytest.mark.parametrize("solver", [s for s in SOLVERS if not isinstance(s, Halpern)], ids=repr)
@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scales_whose_squares_leave_the_range(solver: Solver[Any], scale: float) -> None:
    d = torch.linspace(-0.5, 0.99, 8, dtype=torch.float64)
    x = scale * torch.randn(2, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    s = fixed_point(lambda y, x: d * y + x, x, 0 * x, solver=solver, stop=Stop(rtol=1e-5, max_steps=3000))
    assert float(((s.value / scale - x / scale / (1 - d)).abs() / (x / scale / (1 - d)).abs().amax()).max()) < 2e-3


@pytest.mark.parametrize("solver", [Anderson(), AndersonTGS(), AndersonTGS(native=True)], ids=repr)
def test_an_image_of_zero_hides_no_convergence(solver: Solver[Any]) -> None:
    """`G(y0) = 0`, so a tolerance relative to that image says nothing of the samples' size."""
    c = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    alone = fixed_point(lambda y, x: -y + x, c, c.clone(), solver=solver, stop=Stop(max_steps=5))
    assert int(alone.steps) == 2
    # A mate that is near its tolerance from the start makes the loop read everything at every step.
    both_c, both_y = torch.cat([c, c]), torch.cat([c, 0.5 * c * (1 + 1e-4)])
    both = fixed_point(lambda y, x: -y + x, both_c, both_y, solver=solver, stop=Stop(max_steps=5))
    assert same_bits(both.steps[0], alone.steps[0])
    assert same_bits(both.value[0], alone.value[0])
    part = fixed_point(lambda y, x: -y + x, c, 0 * c, solver=solver, stop=Stop(max_steps=1), on_failure=RETURN)
    whole = fixed_point(lambda y, x: -y + x, c, 0 * c, solver=solver, stop=Stop(max_steps=50))
    resumed = fixed_point(lambda y, x: -y + x, c, part, solver=solver, stop=Stop(max_steps=50))
    assert same_bits(resumed.value, whole.value)
    assert same_bits(resumed.steps, whole.steps)


def test_the_rule_of_nearness_is_the_same_in_company() -> None:
    """An image that grows a billionfold between two full readings: it is trusted at the next one, alone and in company alike."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        climbing = torch.where(y < 0.9, 1 + 0 * y, torch.where(y < 2, 1e9 + 0 * y, y + 100))
        return torch.where(x > 0, climbing, 0.5 * y + x)

    x = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    y0 = torch.tensor([[0.5, 0.5], [-2.0 + 3e-4, -2.0]], dtype=torch.float64)
    stop = Stop(rtol=1e-6, max_steps=50)
    both, alone = fixed_point(G, x, y0, stop=stop), fixed_point(G, x[:1], y0[:1], stop=stop)
    assert int(alone.steps) == 8
    assert same_bits(both.steps[0], alone.steps[0])
    assert same_bits(both.value[0], alone.value[0])


@dataclass
class Remembers:
    """An input with a part that is no field."""

    c: Tensor

    def __post_init__(self) -> None:
        self.rate = 0.9


def asserts_its_batch(y: Tensor, x: Any) -> Tensor:
    assert len(y) == 64, "made for 64"
    return 0.9 * torch.tanh(y) + x


def looks_up_its_batch(y: Tensor, x: Any) -> Tensor:
    return {64: 0.9}[len(y)] * torch.tanh(y) + x


def needs_its_attribute(y: Tensor, x: Any) -> Tensor:
    return x.rate * torch.tanh(y) + x.c


@pytest.mark.parametrize("G", [asserts_its_batch, looks_up_its_batch, needs_its_attribute], ids=lambda G: G.__name__)
def test_whatever_an_operator_says_to_a_part_the_whole_goes_on(G: Any) -> None:
    c = torch.randn(64, 64, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    c *= torch.logspace(-3, 1, 64, dtype=torch.float64).unsqueeze(1)
    x = Remembers(c) if G is needs_its_attribute else c
    s = fixed_point(G, x, 0 * c, stop=Stop(rtol=1e-9))
    plain = fixed_point(lambda y, x: 0.9 * torch.tanh(y) + x, c, 0 * c, stop=Stop(rtol=1e-9))
    assert same_bits(s.value, plain.value)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_half_precision_values_are_finite(solver: Solver[Any]) -> None:
    x = torch.full((2, 4), 400.0, dtype=torch.float16)
    s = fixed_point(lambda y, x: 0.995 * y + x, x, 0 * x, solver=solver, stop=Stop(max_steps=300), on_failure=RETURN)
    assert bool(torch.isfinite(s.value).all())
