"""An inequality is written once and works on rationals, tensors and symbols alike."""

from __future__ import annotations

import inspect
import math
from fractions import Fraction
from typing import Any

import pytest
import sympy
import torch

from eqtheory.roundoff import gamma
from eqtheory.theorems import THEOREMS, Inequality, contraction, simplicity
from eqtheory.theorems._types import inequality
from eqtheory.theorems.banach import a_posteriori, a_priori, residual_bound
from eqtheory.theorems.closure import cascade_contraction, encoded_budget, max_of
from eqtheory.theorems.imaging import (
    data_stability,
    half_quadratic_budget,
    half_quadratic_contraction,
    half_quadratic_simplicity,
    proximal_gradient_contraction,
    proximal_gradient_simplicity,
    proximal_step,
    stability,
    stationarity,
)
from eqtheory.theorems.implicit_gradient import (
    certificate,
    gradient_certificate,
    jacobian_bound,
    neumann_truncation,
    phantom_truncation,
)
from eqtheory.theorems.inexactness import inexact_fixed_point, inexact_limit
from eqtheory.theorems.jacobian_free import alignment, below_threshold, deviation, half_tangent, threshold
from eqtheory.theorems.linear_programming import (
    averaged_step,
    basis_change,
    basis_stability,
    dual_contraction,
    dual_simplicity,
    exact_regularisation,
    regularisation_error,
)
from eqtheory.theorems.naive_averaging import constant_step_budget, violation
from eqtheory.theorems.navier_stokes import energy, size, trilinear
from eqtheory.theorems.navier_stokes import stability as flow_stability
from eqtheory.theorems.necessity import local_rate, pairwise_slope
from eqtheory.theorems.order_optimal_step import lipschitz_rate, never_slower
from eqtheory.theorems.reciprocal import closed_form
from eqtheory.theorems.sufficiency import BUDGET, joint_budget, relaxation_offset, relaxation_step, step_radius
from tests.theorems.growth_by_hand import GROWTH_BY_HAND

ALL = {
    f"{where}:{i.name}": i
    for where, several in [("types", (contraction, simplicity)), *((t.id, t.inequalities) for t in THEOREMS)]
    for i in several
}
EACH = pytest.mark.parametrize("ineq", ALL.values(), ids=ALL)
STEPS = 3
COUNTED = ("steps", "terms")


def quantities(ineq: Inequality) -> dict[str, Fraction]:
    """Different rationals in (0, 1/2), so that `1 - mu - kappa` and all denominators stay positive."""
    names = inspect.signature(ineq.sides).parameters
    return {n: Fraction(STEPS) if n in COUNTED else Fraction(2 * k + 3, 61) for k, n in enumerate(names)}


def as_int_steps(values: dict[str, Any]) -> dict[str, Any]:
    return {n: STEPS if n in COUNTED else v for n, v in values.items()}


@EACH
def test_rationals_stay_rationals(ineq: Inequality) -> None:
    margin = ineq.margin(**as_int_steps(quantities(ineq)))
    assert isinstance(margin, Fraction)
    lhs, rhs = ineq.sides(**as_int_steps(quantities(ineq)))
    assert margin == rhs - lhs


@EACH
def test_tensors_give_the_same_margins_per_sample(ineq: Inequality) -> None:
    exact = quantities(ineq)
    tensors = {n: torch.tensor([float(v), float(v) / 2], dtype=torch.float64) for n, v in exact.items()}
    found = torch.as_tensor(ineq.margin(**as_int_steps(tensors)))
    lhs, rhs = ineq.sides(**as_int_steps(exact))
    # Fewer than 16 roundings on the way to either side, divisions by 1 - mu >= 1/4 amplify by at most 4.
    slack = 4 * gamma(16, torch.float64) * float(abs(lhs) + abs(rhs))
    assert found.shape == (2,)
    assert abs(float(found[0]) - float(rhs - lhs)) <= slack


@EACH
def test_symbols_give_the_formula(ineq: Inequality) -> None:
    exact = quantities(ineq)
    symbols = {n: sympy.Symbol(n, positive=True) for n in exact}
    formula = sympy.sympify(ineq.margin(**as_int_steps(symbols)))
    assert formula.free_symbols <= set(symbols.values())
    numbers = {symbols[n]: sympy.Rational(v.numerator, v.denominator) for n, v in exact.items()}
    expected = ineq.margin(**as_int_steps(exact))
    assert sympy.simplify(formula.subs(numbers) - sympy.Rational(expected.numerator, expected.denominator)) == 0


@EACH
def test_arguments_are_named_and_the_statement_is_an_inequality(ineq: Inequality) -> None:
    kinds = {p.kind for p in inspect.signature(ineq.sides).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
    assert "<" in ineq.statement
    assert ineq.name == ineq.sides.__name__
    with pytest.raises(TypeError):
        ineq.margin(**as_int_steps(quantities(ineq)), unheard_of=1)


F = Fraction
# Worked by hand: the margin at quantities chosen so that every term of the formula matters.
BY_HAND: list[tuple[Inequality, dict[str, Any], Fraction]] = [
    (contraction, {"gap_after": F(1), "gap_before": F(4), "mu": F(1, 2)}, F(1)),
    (simplicity, {"gap": F(1), "state_norm": F(3), "delta": F(1, 2), "L0": F(5), "L1": F(2)}, F(9, 2)),
    (a_priori, {"error": F(1), "mu": F(1, 2), "first_step": F(8), "steps": 3}, F(1)),
    (a_posteriori, {"error": F(1), "mu": F(3, 4), "last_step": F(1)}, F(2)),
    (residual_bound, {"error": F(1), "mu": F(3, 4), "residual": F(1)}, F(3)),
    (residual_bound, {"error": F(1), "mu": F(3, 4), "residual": F(1), "evaluation_error": F(1, 4)}, F(4)),
    (
        pairwise_slope,
        {"gap": F(1), "state_norm": F(3), "mu_other": F(1, 2), "delta": F(1, 4), "L0": F(1), "L1": F(2)},
        F(5, 2),
    ),
    (local_rate, {"mu": F(1, 2), "local_modulus": F(4), "state_norm": F(3), "L0": F(1), "L1": F(2)}, F(5)),
    (step_radius, {"gap": F(1, 3), "delta": F(1, 2)}, F(1, 6)),
    (relaxation_step, {"gap": F(1), "delta": F(2)}, F(3)),
    (relaxation_offset, {"gap": F(1), "delta": F(2), "scale": F(1, 4)}, F(0)),
    (joint_budget, {"step_gap": F(1), "offset_gap": F(2), "delta": F(3), "scale": F(1, 2)}, F(0)),
    (joint_budget, {"step_gap": F(1), "offset_gap": F(2), "delta": F(3)}, F(3)),
    (never_slower, {"squared": F(1, 9), "product": F(1, 3)}, F(2, 9)),
    (lipschitz_rate, {"eps": F(1), "size": F(1), "slope": F(2)}, F(7, 8)),
    (trilinear, {"form": F(-3), "u": F(1), "v": F(2), "w": F(1, 2), "c": F(5, 2)}, F(-1, 2)),
    (energy, {"form": F(-1, 7)}, F(-1, 7)),
    (size, {"solution": F(3), "force": F(1), "viscosity": F(1, 2)}, F(-1)),
    # 1 - c F0 / nu^2 = 1 - 2 * 1/16 / (1/4) = 1/2, so the bound is 1 / (1/2 * 1/2) = 4.
    (
        flow_stability,
        {"gap": F(3), "force_gap": F(1), "force": F(1, 16), "viscosity": F(1, 2), "c": F(2)},
        F(1),
    ),
    (closed_form, {"iterate": F(3, 2), "eta": F(1, 2), "x": F(1, 2), "steps": 2}, F(-5, 8)),
    (violation, {"gap": F(5), "delta": F(1), "L0": F(2)}, F(3)),
    (constant_step_budget, {"offset_gap": F(1), "eps": F(1, 2), "slope": F(3), "delta": F(2)}, F(2)),
    (jacobian_bound, {"derivative_norm": F(1), "input_norm": F(3), "mu": F(1, 2)}, F(5)),
    (neumann_truncation, {"error": F(1), "mu": F(1, 2), "cotangent_norm": F(8), "terms": 3}, F(1)),
    (basis_change, {"residual": F(1, 3)}, F(-1, 3)),
    (
        basis_stability,
        {"gap": F(1), "inverse_norm": F(2), "right_moved": F(3), "matrix_moved": F(1, 2), "size": F(4)},
        F(9),
    ),
    (
        # max(|1 - 1/8|, |1 - (1/2)(16 + 1/4)|) = 57/8.
        dual_contraction,
        {"gap_after": F(1), "gap_before": F(2), "tau": F(1, 2), "lam": F(1, 4), "delta": F(1, 4), "norm": F(2)},
        F(53, 4),
    ),
    (
        # max(|1 - 1/2|, |1 - (1/2)(1 + 1)|) = 1/2.
        dual_contraction,
        {"gap_after": F(1), "gap_before": F(2), "tau": F(1, 2), "lam": F(4), "delta": F(1), "norm": F(2)},
        F(0),
    ),
    (
        dual_simplicity,
        {
            "gap": F(1),
            "moved": F(2),
            "multiplier_norm": F(5),
            "tau": F(1, 2),
            "lam": F(2),
            "size": F(4),
            "radius": F(3),
            "spread": F(3, 2),
        },
        F(19),
    ),
    (regularisation_error, {"gap_squared": F(1, 4), "lam": F(3), "delta": F(1, 2), "multiplier_squared": F(16)}, F(5)),
    (exact_regularisation, {"lam": F(1, 2), "norm_gain": F(3), "cost_gain": F(2)}, F(1, 2)),
    (averaged_step, {"image_squared": F(1), "residual_squared": F(4), "gap_squared": F(9)}, F(4)),
    (
        # The factor is 1 - (1/2)(1/2) = 3/4: (3/4)^2 / (1/2) * 8 = 9 on the right.
        phantom_truncation,
        {"error": F(1), "mu": F(1, 2), "relaxation": F(1, 2), "cotangent_norm": F(8), "steps": 2},
        F(8),
    ),
    (
        certificate,
        {
            "error": F(1),
            "mu": F(3, 4),
            "alpha": F(2),
            "beta": F(1),
            "derivative_norm": F(3),
            "state_error": F(1, 2),
        },
        F(13),
    ),
    (
        # 3 (1 + 2 * 1/2 * 4) + 5 * 1/2 * 4 = 25 on the right.
        gradient_certificate,
        {
            "error": F(1),
            "alpha": F(2),
            "beta": F(5),
            "derivative_norm": F(3),
            "adjoint_norm": F(4),
            "adjoint_residual": F(1),
            "state_error": F(1, 2),
        },
        F(24),
    ),
    (below_threshold, {"gamma": F(1, 2), "kappa": F(4)}, F(39, 4)),
    (below_threshold, {"gamma": F(4, 5), "kappa": F(4)}, F(0)),
    (deviation, {"shortfall": F(1, 2), "gamma": F(1, 2), "kappa": F(4)}, F(9, 4)),
    (alignment, {"gap": F(1, 2), "kappa": F(4), "half_tangent": F(1, 2)}, F(1, 2)),
    (
        inexact_limit,
        {"error": F(1), "mu": F(1, 2), "theta": F(1), "kappa": F(1, 4), "solution_norm": F(2)},
        F(5),
    ),
    (
        inexact_fixed_point,
        {"error": F(1), "mu": F(1, 2), "theta": F(1), "kappa": F(1, 4), "computed_norm": F(2)},
        F(2),
    ),
    (
        encoded_budget,
        {"gap": F(1), "state_norm": F(3), "delta": F(1, 2), "L0": F(1), "L1": F(2), "lipschitz": F(4)},
        F(13),
    ),
    (
        # theta = (1 - 1/2)/(2*2) = 1/8: 1 + 1/4 on the left, max(3/4, 7/8)(2 + 1) = 21/8 on the right.
        cascade_contraction,
        {
            "after1": F(1),
            "after2": F(2),
            "before1": F(2),
            "before2": F(8),
            "m1": F(1, 2),
            "m2": F(7, 8),
            "coupling": F(2),
        },
        F(11, 8),
    ),
    (
        # The same with a fast second operator: the factor is (1 + m1)/2 = 3/4, and 9/4 stands on the right.
        cascade_contraction,
        {
            "after1": F(1),
            "after2": F(2),
            "before1": F(2),
            "before2": F(8),
            "m1": F(1, 2),
            "m2": F(1, 8),
            "coupling": F(2),
        },
        F(1),
    ),
    (proximal_step, {"c": F(1, 3), "distance_squared": F(8), "moved_squared": F(2), "left_squared": F(6)}, F(2)),
    (
        # |1 - 1/4| = 3/4 at the smallest singular value, |1 - 9/4| = 5/4 at the largest: 4 times that on the right.
        proximal_gradient_contraction,
        {"gap_after": F(1), "gap_before": F(4), "gamma": F(1, 4), "smallest": F(1), "norm": F(3)},
        F(4),
    ),
    (
        # Here the smallest one decides: |1 - 1/4| = 3/4 against 0.
        proximal_gradient_contraction,
        {"gap_after": F(1), "gap_before": F(4), "gamma": F(1), "smallest": F(1, 2), "norm": F(1)},
        F(2),
    ),
    (proximal_gradient_simplicity, {"gap": F(1), "delta": F(4), "gamma": F(1, 2), "norm": F(3)}, F(5)),
    (half_quadratic_contraction, {"gap_after": F(1), "gap_before": F(9), "beta": F(1, 2), "smallest": F(1)}, F(2)),
    (half_quadratic_simplicity, {"gap": F(1), "delta": F(6), "beta": F(2), "steepest": F(1)}, F(1)),
    (half_quadratic_budget, {"gap": F(1, 2), "delta": F(3), "beta": F(2)}, F(7)),
    (stationarity, {"residual": F(1, 2)}, F(-1, 2)),
    (data_stability, {"image_gap": F(1), "delta": F(3)}, F(2)),
    (stability, {"gap": F(2), "delta": F(3), "smallest": F(1, 2)}, F(2)),
    *GROWTH_BY_HAND,
]


@pytest.mark.parametrize(("ineq", "values", "margin"), BY_HAND, ids=lambda v: getattr(v, "name", ""))
def test_margins_worked_by_hand(ineq: Inequality, values: dict[str, Any], margin: Fraction) -> None:
    assert ineq.margin(**values) == margin


def test_every_inequality_but_prices_and_rates_was_worked_by_hand() -> None:
    assert {i.name for i in ALL.values()} - {i.name for i, _, _ in BY_HAND} == {"price"}
    price = next(i for i in ALL.values() if i.name == "price")
    assert price.margin(contraction_gap=F(1, 2), eps=F(1), scale=F(1, 4)) == F(1, 4)


@pytest.mark.parametrize(("a", "b"), [(F(1), F(2)), (F(2), F(1)), (F(-3), F(-3)), (F(-1, 3), F(0))])
def test_max_of_is_the_maximum_of_rationals_and_of_symbols(a: Fraction, b: Fraction) -> None:
    assert max_of(a, b) == max(a, b)
    x, y = sympy.symbols("x y", real=True)
    assert max_of(x, y).subs({x: sympy.Rational(str(a)), y: sympy.Rational(str(b))}) == sympy.Rational(str(max(a, b)))


@pytest.mark.parametrize(("p", "q"), [(1, 1), (2, 1), (5, 3), (1000, 1)])
def test_the_threshold_is_where_its_condition_is_an_equality(p: int, q: int) -> None:
    kappa = F(p, q) ** 2
    exact = F(2 * p * q, p * p + q * q)
    assert below_threshold.margin(gamma=exact, kappa=kappa) == 0
    assert abs(threshold(float(kappa)) - float(exact)) <= 8 * 2.0**-53
    batch = torch.tensor([float(kappa)], dtype=torch.float64)
    assert abs(float(threshold(batch)) - float(exact)) <= 8 * 2.0**-53


@pytest.mark.parametrize("t", [F(0), F(1, 1000), F(1, 2), F(9, 10)])
def test_the_half_tangent_inverts_the_sine(t: Fraction) -> None:
    sine = 2 * t / (1 + t * t)
    # 1 - gamma^2 is off by 2u, which its root and the quotient pass on over sqrt(1 - gamma^2) > 1/10.
    assert abs(half_tangent(float(sine)) - float(t)) <= 40 * 2.0**-53
    assert abs(2 * math.atan(float(t)) - math.asin(float(sine))) <= 40 * 2.0**-53


def test_the_budget_is_two() -> None:
    assert BUDGET == 2


def test_the_decorator_keeps_name_and_statement() -> None:
    @inequality("a <= b")
    def small(*, a: Any, b: Any) -> tuple[Any, Any]:
        return a, b

    assert (small.name, small.statement) == ("small", "a <= b")
    assert small.margin(a=1, b=3) == 2
    assert small.margin(a=3, b=1) == -2
