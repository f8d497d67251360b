"""Extreme-value estimates: intervals cover known ends as often as they say, and laws that do not fit are told."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Evidence, Side
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import extreme_value_estimate

BLOCKS, LENGTH, TRIALS, LEVEL = 50, 40, 60, 0.9


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(rng: torch.Generator) -> Tensor:
    return torch.rand(BLOCKS * LENGTH, generator=rng, dtype=torch.float64)


def beta(rng: torch.Generator) -> Tensor:
    """Beta(1, 3): density `3 (1 - s)^2`, so the shape is -1/3."""
    return 1 - torch.rand(BLOCKS * LENGTH, generator=rng, dtype=torch.float64) ** (1 / 3)


def directions(rng: torch.Generator) -> Tensor:
    """Norms of a diagonal matrix applied to random directions; the largest is its largest entry."""
    v = torch.randn(BLOCKS * LENGTH, 3, generator=rng, dtype=torch.float64)
    v = v / torch.linalg.vector_norm(v, dim=1, keepdim=True)
    return torch.linalg.vector_norm(v * torch.tensor([1.0, 0.6, 0.2], dtype=torch.float64), dim=1)


@pytest.mark.parametrize("draw", [uniform, beta, directions])
def test_intervals_cover_the_end_as_often_as_they_say(draw: Callable[[torch.Generator], Tensor]) -> None:
    rng, hits, rejected = generator(1), 0, 0
    for _ in range(TRIALS):
        samples = draw(rng)
        found = extreme_value_estimate(samples, generator=rng, blocks=BLOCKS, level=LEVEL, replicates=39)
        hits += found.interval[0] <= 1.0 <= found.interval[1]
        rejected += found.goodness_of_fit <= 0.05
        assert found.bound.value >= float(samples.max())
        assert found.interval[0] >= float(samples.max())
    # Three standard deviations of the binomial law; covering more often than promised does no harm.
    assert hits >= TRIALS * LEVEL - 3 * math.sqrt(TRIALS * LEVEL * (1 - LEVEL))
    assert rejected <= TRIALS * 0.05 + 3 * math.sqrt(TRIALS * 0.05 * 0.95)


def test_an_interval_of_the_spread_of_the_estimate_alone_would_be_seen() -> None:
    # The planted fault: the interval between the largest sample and the estimate, which misses the end about half of the time.
    rng, hits = generator(2), 0
    for _ in range(TRIALS):
        found = extreme_value_estimate(beta(rng), generator=rng, blocks=BLOCKS, replicates=19)
        hits += found.interval[0] <= 1.0 <= found.bound.value
    assert hits < TRIALS * LEVEL - 3 * math.sqrt(TRIALS * LEVEL * (1 - LEVEL))


def test_the_fit_agrees_with_scipy_where_likelihood_is_regular() -> None:
    stats = pytest.importorskip("scipy.stats")
    sample = stats.genextreme.rvs(0.25, loc=1.0, scale=0.2, size=400, random_state=np.random.default_rng(0))
    found = extreme_value_estimate(torch.from_numpy(sample), generator=generator(), replicates=19)
    c, loc, scale = stats.genextreme.fit(sample, 0.25, loc=1.0, scale=0.2)
    ours = -found.shape
    # Likelihoods, not parameters: ours is found on a grid whose steps are 6 percent of the distance to the end.
    end = found.bound.value
    k, y = 1 / ours, end - sample
    lam = np.mean(y**k) ** (1 / k)
    likelihood = stats.weibull_min.logpdf(y, k, scale=lam).sum()
    assert likelihood >= stats.genextreme.logpdf(sample, c, loc, scale).sum() - 0.05
    assert found.interval[0] <= loc + scale / c <= found.interval[1]


def test_heavy_tails_have_no_finite_end() -> None:
    rng = generator(3)
    found = extreme_value_estimate(1 / torch.rand(6000, generator=rng, dtype=torch.float64), blocks=60, generator=rng)
    assert found.bound.value == found.interval[1] == math.inf
    assert found.shape == 0
    assert found.goodness_of_fit <= 0.05
    assert "no finite end" in found.bound.method
    assert str(found).startswith("~ inf in [")


def test_a_mixture_does_not_fit() -> None:
    rng = generator(4)
    low, high = (0.1 * torch.rand(30, generator=rng, dtype=torch.float64) for _ in range(2))
    found = extreme_value_estimate(torch.cat([low, 1 + high]), generator=rng)
    assert found.goodness_of_fit <= 0.01
    assert found.bound.value >= float((1 + high).max())


def test_equal_slopes_are_the_end() -> None:
    for values in ([2.0] * 40, [0.0] * 40, [2.0, math.nextafter(2.0, 3.0)] * 20):
        found = extreme_value_estimate(values, generator=generator())
        assert found.bound.value == max(values)
        assert found.interval == (max(values), max(values))
        assert found.goodness_of_fit == 1.0


def test_scaling_the_slopes_scales_the_estimate() -> None:
    samples = beta(generator(5))
    one, many = (
        extreme_value_estimate(c * samples, generator=generator(6), blocks=BLOCKS, replicates=19)
        for c in (1.0, 2.0**60)
    )
    assert many.bound.value == pytest.approx(2.0**60 * one.bound.value, rel=1e-9)
    assert many.interval == pytest.approx(tuple(2.0**60 * end for end in one.interval), rel=1e-9)


def test_the_same_generator_gives_the_same_result_and_it_is_labelled() -> None:
    samples = uniform(generator())
    one, two = (extreme_value_estimate(samples, generator=generator(7), blocks=BLOCKS) for _ in range(2))
    assert one == two
    assert (one.bound.side, one.bound.evidence) == (Side.ESTIMATE, Evidence.ESTIMATED)
    assert str(one).startswith("~ ")
    assert str(one.bound).startswith("~ ")
    assert (one.blocks, one.level) == (BLOCKS, 0.95)


def test_refusals() -> None:
    rng = generator()
    with pytest.raises(InputError, match="blocks: got 29, needed at least 30; draw more samples"):
        extreme_value_estimate([1.0] * 29, generator=rng)
    with pytest.raises(ShapeError, match="samples: got 40 samples, needed at least one for each of 50 blocks"):
        extreme_value_estimate([1.0] * 40, generator=rng, blocks=50)
    with pytest.raises(NonFiniteError):
        extreme_value_estimate([1.0] * 40 + [math.inf], generator=rng)
    with pytest.raises(InputError, match="replicates: got 5"):
        extreme_value_estimate([1.0] * 40, generator=rng, replicates=5)
    with pytest.raises(InputError, match="level"):
        extreme_value_estimate([1.0] * 40, generator=rng, level=1.5)


@pytest.mark.parametrize(("level", "needed"), [(0.95, 19), (0.99, 99), (0.995, 199), (0.999, 999), (0.5, 19)])
def test_replicates_have_to_reach_the_level(level: float, needed: int) -> None:
    """The largest of `R` ratios is the quantile of level `R / (R + 1)`; it once stood for every level above."""
    samples = torch.rand(40, generator=generator(), dtype=torch.float64)
    with pytest.raises(InputError, match=rf"replicates: got {needed - 1}, needed an integer >= {needed} for level"):
        extreme_value_estimate(samples, generator=generator(), level=level, replicates=needed - 1)
    assert extreme_value_estimate(samples, generator=generator(), level=level, replicates=needed).level == level
