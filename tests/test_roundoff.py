"""Derived tolerances are bounds that rounding really reaches: neither violated nor vacuous."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.roundoff import Rounding, gamma, tolerance, unit_roundoff

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
EXPONENTS = {torch.float64: -53, torch.float32: -24, torch.bfloat16: -8, torch.float16: -11}


def spacing_above_one(dtype: torch.dtype) -> float:
    """Find the next number after 1 by halving: `torch.nextafter` does not know every type."""
    step = 1.0
    while float((torch.ones((), dtype=dtype) + torch.tensor(step / 2, dtype=dtype)).item()) > 1.0:
        step /= 2
    return step


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_unit_roundoff_is_half_the_spacing_at_one(dtype: torch.dtype) -> None:
    assert unit_roundoff(dtype) == 2.0 ** EXPONENTS[dtype]
    assert unit_roundoff(dtype) == spacing_above_one(dtype) / 2
    if dtype is not torch.float16:
        one = torch.ones((), dtype=dtype)
        assert unit_roundoff(dtype) == float((torch.nextafter(one, 2 * one) - one).item()) / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_unit_roundoff_bounds_rounding_and_is_nearly_attained(dtype: torch.dtype) -> None:
    x = 1 + torch.rand(100_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    worst = float(((x.to(dtype).double() - x).abs() / x).max())
    assert 0.98 * unit_roundoff(dtype) < worst <= unit_roundoff(dtype)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_types_that_are_not_floating_point_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(
        InputError, match=rf"dtype: got {dtype}, needed a floating-point type; convert with .double\(\)"
    ):
        unit_roundoff(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_gamma(n: int, dtype: torch.dtype) -> None:
    u = Fraction(unit_roundoff(dtype))
    exact = n * u / (1 - n * u)
    assert abs(Fraction(gamma(n, dtype)) - exact) <= 4 * exact / 2**53


@pytest.mark.parametrize(
    ("n", "dtype"), [(0, torch.float64), (-1, torch.float32), (128, torch.bfloat16), (2**23, torch.float32)]
)
def test_gamma_says_nothing_outside_its_range(n: int, dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=rf"operations: got {n}, needed 1 <= n and n u < 1/2 in {dtype}; use a wider"):
        gamma(n, dtype)


def test_gamma_is_defined_up_to_the_end_of_its_range() -> None:
    assert gamma(127, torch.bfloat16) == pytest.approx(127 / 129, rel=1e-15)


def running_sum(terms: Tensor) -> float:
    total = torch.zeros((), dtype=terms.dtype)
    for term in terms:
        total = total + term
    return float(total)


def sum_violation(terms: Tensor, operations: int) -> float:
    """Error of a sum relative to `gamma_n sum |a|`; above 1 the bound is violated."""
    exact = sum(Fraction(float(t)) for t in terms)
    size = sum(abs(Fraction(float(t))) for t in terms)
    return float(abs(Fraction(running_sum(terms)) - exact) / (Fraction(gamma(operations, terms.dtype)) * size))


def test_a_sum_stays_within_gamma_and_comes_close_to_it() -> None:
    # Adding u to 1 rounds back to 1, so after n additions the error is n u against gamma_n (1 + n u).
    n = 200
    adverse = torch.full((n + 1,), unit_roundoff(torch.float32), dtype=torch.float32)
    adverse[0] = 1.0
    assert 0.99 < sum_violation(adverse, n) <= 1
    # One rounding fewer than happened is not enough: the check can fail.
    assert sum_violation(adverse, n - 3) > 1
    for seed in range(5):
        terms = torch.randn(n + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
        assert sum_violation(terms, n) <= 1


def test_tolerance_is_gamma_times_condition_times_magnitude_per_sample() -> None:
    magnitude = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
    condition = torch.tensor([1.0, 10.0, 1e3], dtype=torch.float64)
    assert torch.equal(tolerance(magnitude, 5), gamma(5, torch.float64) * magnitude.abs())
    assert torch.equal(tolerance(magnitude, 5, condition), gamma(5, torch.float64) * condition * magnitude.abs())
    assert tolerance(magnitude.float(), 5).dtype is torch.float32
    assert float(tolerance(magnitude.float(), 5)[0]) == pytest.approx(2 * gamma(5, torch.float32), rel=1e-6)


@pytest.mark.parametrize("mu", [0.0, 0.9, 0.999])
def test_the_condition_number_of_a_fixed_point_is_needed_and_enough(mu: float) -> None:
    # y <- fl(mu y + b) in float32: every evaluation errs by at most gamma_2 (|mu y| + |b|), T14 multiplies by 1/(1 - mu).
    b = torch.rand(2000, generator=torch.Generator().manual_seed(2), dtype=torch.float64).float()
    m = torch.tensor(mu, dtype=torch.float32)
    y = torch.zeros_like(b)
    for _ in range(400 if mu < 0.99 else 40_000):  # mu^t is far below the roundoff
        y = m * y + b
    true = b.double() / (1 - float(m))
    error = (y.double() - true).abs() / true.abs()
    # Two roundings on quantities of size at most |y*| each, so |error| <= 2 u |y*| / (1 - mu - 2 u); gamma_3 covers the -2 u.
    assert float(error.max()) <= float(tolerance(torch.ones(1, dtype=torch.float32), 3, 1 / (1 - mu)))
    if mu > 0.99:
        assert float(error.max()) > 20 * gamma(3, torch.float32)  # without the condition number it would be violated


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_is_in_units_of_the_type_in_use(dtype: torch.dtype) -> None:
    size = torch.tensor([0.0, 1.0, 8.0], dtype=dtype)
    error = Rounding(relative=3.0, constant=2.0).error(size, None)
    assert error.dtype is dtype
    assert error.tolist() == [unit_roundoff(dtype) * (2 + 3 * v) for v in size.tolist()]


def test_rounding_may_depend_on_the_input() -> None:
    x = torch.tensor([1.0, 4.0], dtype=torch.float64)
    size = torch.tensor([1.0, 2.0], dtype=torch.float64)
    rounding = Rounding(relative=lambda t: t, constant=lambda t: 10 * t)
    assert torch.equal(rounding.error(size, x), 2.0**-53 * (10 * x + x * size))
    assert torch.equal(Rounding(relative=lambda t: float(t.shape[0])).error(size, x), 2.0**-53 * 2 * size)


def test_rounding_has_no_constant_part_unless_declared() -> None:
    assert Rounding(relative=1.0).error(torch.zeros(1), None).item() == 0.0
    assert math.isclose(Rounding(relative=1.0).error(torch.ones(1), None).item(), 2.0**-24)
