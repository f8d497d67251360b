"""Contraction factors that depend on the input are evaluated in one place, from above, and checked there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import eqtheory as eq
from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.errors import EqTheoryError, InputError, ShapeError
from eqtheory.lipschitz import curve
from eqtheory.operators import FunctionOperator, Regularity
from eqtheory.solvers import Stop

X = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)


def local(function: Callable[[Any], Any]) -> Regularity:
    mu = LocalBound(function, Side.UPPER, "a test", Evidence.DECLARED, semicontinuous=True)
    return replace(Regularity.declared(mu=0.5, L0=1.0, L1=0.0), mu=mu)


def test_factors_are_raised_by_rounding_of_their_own_type() -> None:
    for dtype in (torch.float32, torch.float64):
        found = local(lambda x, dtype=dtype: (x[:, 0] / 4).to(dtype)).factors(X, 3)
        room = 8 * torch.finfo(dtype).eps
        assert found.dtype == torch.float64
        assert found.tolist() == [0.25 + room, 0.5 + room, 0.75 + room]
    assert Regularity.declared(mu=0.5, L0=1, L1=0).factors(X, 3).tolist() == [0.5 + 2.0**-49] * 3


def test_what_rounding_left_below_zero_is_zero() -> None:
    found = local(lambda x: -1e-16 * x[:, 0]).factors(X, 3)
    assert found.tolist() == [2.0**-49] * 3


WRONG: dict[str, tuple[Callable[[Tensor], Any], type[EqTheoryError], str]] = {
    "negative": (lambda x: 0.5 - x[:, 0] / 4, InputError, r"mu\(x\): got -0.25 at sample 2, needed a number >= 0"),
    "a column": (lambda x: x / 4, ShapeError, r"mu\(x\): got shape \(3, 1\), needed one number or shape \(3,\)"),
    "too few": (lambda x: x[:2, 0] / 4, ShapeError, r"shape \(2,\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_factor_that_cannot_be_one_is_refused_wherever_it_is_used(name: str) -> None:
    function, error, message = WRONG[name]
    operator = FunctionOperator(lambda y, x: 0.1 * y + x, initial_state=torch.zeros_like, regularity=local(function))
    with pytest.raises(error, match=message):
        operator.regularity.factors(X, 3)  # type: ignore[union-attr]
    with pytest.raises(error, match=message):
        eq.fixed_point(operator, X, stop=Stop(rtol=1e-6))
    with pytest.raises(error, match=message):
        curve(operator, X, 4)


def test_a_factor_that_is_nan_is_unknown_and_its_neighbours_keep_theirs() -> None:
    found = local(lambda x: (x[:, 0] - 1.9).sqrt() / 2)
    assert found.factors(X, 3).isinf().tolist() == [True, False, False]
    operator = FunctionOperator(lambda y, x: 0.1 * y + x, initial_state=torch.zeros_like, regularity=found)
    solution = eq.fixed_point(operator, X, stop=Stop(rtol=1e-6))
    assert solution.error_bound is not None
    assert solution.error_bound.value.isfinite().tolist() == [False, True, True]
    upper = curve(operator, X, 4).upper
    assert upper is not None
    assert upper[-1].isfinite().tolist() == [False, True, True]


def test_bounds_of_other_kinds_are_taken_as_they_are() -> None:
    exact = Bound(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), Side.EXACT, "a test", Evidence.PROVED)
    found = replace(local(lambda x: x), mu=exact).factors(X, 3)
    assert torch.allclose(found, exact.value, rtol=0, atol=1e-14)
    assert bool((found > exact.value).all())
