"""Pairs: exact on what is known, lowered by rounding, never above the truth, and steeper when halved."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import (
    frequency_direction,
    halved_pairs,
    pair_lower_bound,
    perturbation_lower_bound,
    random_directions,
)
from eqtheory.lipschitz.search import _pairs
from eqtheory.norms import Sum, Sup
from eqtheory.roundoff import Rounding


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_slopes_of_pairs_are_those_of_the_map() -> None:
    A = draw(1, 3, 4)
    a, b = draw(2, 50, 4), draw(3, 50, 4)
    found = pair_lower_bound(lambda x: x @ A.T, a, b)
    truth = torch.linalg.vector_norm((b - a) @ A.T, dim=1) / torch.linalg.vector_norm(b - a, dim=1)
    assert torch.allclose(found.values, truth, rtol=1e-11)
    assert bool((found.values <= truth).all())
    assert found.worst().value == pytest.approx(float(truth.max()))
    for norm, p in ((Sup(), math.inf), (Sum(), 1.0)):
        other = pair_lower_bound(lambda x: x @ A.T, a, b, norm=norm)
        ratio = torch.linalg.vector_norm((b - a) @ A.T, ord=p, dim=1) / torch.linalg.vector_norm(b - a, ord=p, dim=1)
        assert torch.allclose(other.values, ratio, rtol=1e-11)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), decades=st.integers(0, 17), mu=st.sampled_from([0.5, 0.999999, 1.0]))
def test_rounding_never_makes_a_slope(seed: int, decades: int, mu: float) -> None:
    """A map of slope `mu` with an offset, between points that are close: without the slack rounding alone gives slopes far above."""
    a = draw(seed, 64, 3)
    b = a + 10.0 ** (-decades) * draw(seed + 1, 64, 3)
    found = pair_lower_bound(lambda x: mu * x + 3.0, a, b)
    assert bool((found.values <= mu * (1 + 1e-15)).all())


def test_without_the_slack_rounding_makes_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: evaluations taken as exact; the test above would see it."""
    from eqtheory.lipschitz import _witness

    monkeypatch.setattr(_witness, "ASSUMED_ROUNDINGS", 0.0)
    a = draw(5, 4000, 3)
    b = a + 1e-15 * draw(6, 4000, 3)
    assert float(pair_lower_bound(lambda x: 0.5 * x + 3.0, a, b).worst().value) > 1.0


def test_declared_rounding_is_used() -> None:
    a, b = torch.zeros(1, 1).double(), torch.full((1, 1), 1e-6).double()
    coarse = pair_lower_bound(lambda x: x, a, b, rounding=Rounding(relative=0.0, constant=2.0**31))
    assert coarse.worst().value < 0.8 < pair_lower_bound(lambda x: x, a, b).worst().value


def test_points_that_coincide_have_no_slope() -> None:
    a = draw(1, 3, 2)
    assert pair_lower_bound(lambda x: 5 * x, a, a).values.tolist() == [0.0, 0.0, 0.0]


def test_perturbations_take_the_best_direction() -> None:
    x = draw(1, 6, 2)
    directions = torch.tensor([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    found = perturbation_lower_bound(lambda x: x * torch.tensor([2.0, 5.0]), x, directions, size=0.1)
    assert torch.allclose(found.values, torch.full((6,), 5.0).double(), rtol=1e-9)
    assert found.b is not None
    assert torch.allclose(found.b - x, torch.tensor([0.0, 0.1]).double().expand(6, 2), atol=1e-12)
    assert "between" in found.at(0)


def test_waves_are_eigenvectors_of_circular_convolutions() -> None:
    """A blur of an image: along a frequency its slope is the size of its transfer function there."""
    size = (8, 6)
    kernel = torch.zeros(size, dtype=torch.float64)
    kernel[0, 0], kernel[0, 1], kernel[1, 0] = 0.5, 0.3, 0.2
    transfer = torch.fft.fftn(kernel).abs()

    def blur(x: Tensor) -> Tensor:
        return torch.fft.ifftn(torch.fft.fftn(x, dim=(1, 2)) * torch.fft.fftn(kernel), dim=(1, 2)).real

    for frequency in ((0, 0), (1, 2), (4, 3), (3, 0)):
        wave = frequency_direction(frequency, size)
        assert float(torch.linalg.vector_norm(wave)) == pytest.approx(1.0)
        found = perturbation_lower_bound(blur, torch.zeros(1, *size).double(), wave.unsqueeze(0), size=1.0)
        assert found.worst().value == pytest.approx(float(transfer[frequency]), rel=1e-9)


def test_halving_never_loses_and_finds_the_steepest_part() -> None:
    a, b = torch.zeros(1, 1).double(), torch.full((1, 1), 4.0).double()
    whole = pair_lower_bound(torch.sin, a, b).worst().value
    found = halved_pairs(torch.sin, a, b)
    assert found.worst().value >= whole
    assert found.worst().value == pytest.approx(0.9537, abs=0.05) or found.worst().value > 0.95


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_halving_is_monotone_on_any_map(seed: int) -> None:
    W = draw(seed, 5, 3)
    a, b = draw(seed + 1, 32, 3), draw(seed + 2, 32, 3)

    def f(x: Tensor) -> Tensor:
        return torch.sin(3 * x @ W.T).abs() + torch.floor(x[:, :1])

    assert bool((halved_pairs(f, a, b).values >= pair_lower_bound(f, a, b).values * (1 - 1e-12)).all())


def test_jumps_double_until_the_separation() -> None:
    a, b = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    found = halved_pairs(lambda x: (x > 0.3).double(), a, b, separation=1e-6)
    assert found.b is not None
    assert 1e-6 <= float(found.b - found.a) < 2e-6
    assert 5e5 < found.worst().value <= 1e6


def test_taking_the_flatter_half_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: the other half is kept. Slopes then fall short of those of a jump."""
    a, b = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    kept = _pairs.spread
    monkeypatch.setattr(
        _pairs, "spread", lambda mask, like: ~kept(mask, like) if mask.dtype == torch.bool else kept(mask, like)
    )
    assert halved_pairs(lambda x: (x > 0.3).double(), a, b).worst().value < 1e6


def test_directions_are_unit_vectors_and_reproducible() -> None:
    made = [random_directions(4, (2, 3), generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(made[0], made[1])
    assert torch.allclose(torch.linalg.vector_norm(made[0].flatten(1), dim=1), torch.ones(4).double())


def test_refusals() -> None:
    x = draw(1, 2, 2)
    with pytest.raises(ShapeError, match=r"a, b: got \(2, 2\) and \(1, 2\), needed equal shapes"):
        pair_lower_bound(lambda x: x, x, x[:1])
    with pytest.raises(NonFiniteError, match=r"function\(x\): got a NaN or an infinity at sample 0"):
        pair_lower_bound(lambda x: x / 0, x, x)
    with pytest.raises(ShapeError, match=r"function\(x\): got shape \(\), needed \(2, \.\.\.\)"):
        pair_lower_bound(lambda x: x.sum(), x, x)
    with pytest.raises(ShapeError, match=r"directions: got shape \(1, 3\), needed \(k, 2\)"):
        perturbation_lower_bound(lambda x: x, x, torch.ones(1, 3), size=1.0)
    with pytest.raises(InputError, match=r"directions: got a zero direction"):
        perturbation_lower_bound(lambda x: x, x, torch.zeros(1, 2), size=1.0)
    with pytest.raises(InputError, match=r"size: got 0.0, needed a finite number > 0"):
        perturbation_lower_bound(lambda x: x, x, torch.ones(1, 2), size=0.0)
    with pytest.raises(ShapeError, match=r"frequency: got 1 numbers, needed 2, one per axis"):
        frequency_direction((1,), (4, 4))
    with pytest.raises(InputError, match=r"phase: got .*, needed a wave that does not vanish on the grid"):
        frequency_direction((0,), (4,), phase=math.pi / 2)
