"""Bisection over the encodings of floating-point numbers: the answer is right to the last bit at every scale."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.constructions import largest_radius

TINY = 5e-324
MODEST = settings(max_examples=60, deadline=None, derandomize=True)


def of(numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


SCALES = [
    TINY,
    3e-323,
    2.2250738585072014e-308,
    1e-300,
    1e-200,
    1e-100,
    1e-16,
    1e-8,
    0.1,
    1 / 3,
    0.5,
    0.75,
    1 - 2**-53,
    1.0,
]


def test_thresholds_are_found_to_the_last_bit_at_every_scale() -> None:
    threshold = of(SCALES)
    assert torch.equal(largest_radius(lambda r: r <= threshold, threshold), threshold)


def test_open_ends_give_the_number_below() -> None:
    threshold = of(SCALES[1:])
    below = of([math.nextafter(t, 0.0) for t in SCALES[1:]])
    assert torch.equal(largest_radius(lambda r: r < threshold, threshold), below)


@MODEST
@given(thresholds=st.lists(st.floats(min_value=TINY, max_value=1.0, allow_subnormal=True), min_size=1, max_size=20))
def test_any_threshold(thresholds: list[float]) -> None:
    threshold = of(thresholds)
    assert torch.equal(largest_radius(lambda r: r <= threshold, threshold), threshold)


def test_radii_stop_at_one_where_everything_is_admissible() -> None:
    assert largest_radius(torch.isfinite, of([0.0, 0.0])).tolist() == [1.0, 1.0]


def test_zero_says_that_nothing_is_admissible() -> None:
    found = largest_radius(lambda r: (r < 0) | (of([0.0, 1.0, 0.0]) * r > 0), of([0.0] * 3))
    assert found.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("threshold", [0.0, TINY, 0.3, 1.0])
def test_only_radii_in_the_unit_interval_are_ever_tried(threshold: float) -> None:
    tried: list[float] = []

    def admissible(r: Tensor) -> Tensor:
        tried.extend(r.tolist())
        return r <= threshold

    largest_radius(admissible, of([0.0]))
    assert min(tried) > 0
    assert max(tried) <= 1
    assert len(tried) <= 64  # a constant number of trials whatever the scale


def conditions() -> dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[float], float]]]:
    """Increasing conditions `g(r, a) <= 1` with the closed form of their root."""
    return {
        "linear": (lambda r, a: r * a <= 1, lambda a: 1 / a),
        "square": (lambda r, a: (r * a) * (r * a) <= 1, lambda a: 1 / a),
        "sizes": (lambda r, a: r * (1 + a) <= 1, lambda a: 1 / (1 + a)),
        "quadratic": (lambda r, a: r * (1 + a * r) <= 1, lambda a: 2 / (1 + math.sqrt(1 + 4 * a))),
    }


@pytest.mark.parametrize("name", conditions())
def test_closed_forms_up_to_the_rounding_of_the_condition(name: str) -> None:
    condition, root = conditions()[name]
    a = of([1.0, 2.0, 3.0, 10.0, 1e3, 1e8, 1e15, 1e100, 1e150])
    found = largest_radius(lambda r: condition(r, a), a)
    exact = of([root(v) for v in a.tolist()])
    # Conditions round at most 4 times and grow at least like r; the closed form rounds at most 5 times.
    assert bool(((found - exact).abs() <= 10 * 2.0**-53 * exact).all())
    # The last admissible number and the first that is not are neighbours: nothing was lost to the bisection itself.
    assert bool(condition(found, a).all())
    above = torch.nextafter(found, of([2.0])).clamp_max(1.0)
    assert not bool(condition(above, a)[found < 1].any())


def test_a_sample_does_not_depend_on_its_batch_mates() -> None:
    threshold = of(SCALES)
    together = largest_radius(lambda r: r <= threshold, threshold)
    for i, t in enumerate(SCALES):
        assert largest_radius(lambda r, t=t: r <= t, of([0.0])).item() == together[i].item()
