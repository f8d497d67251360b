"""Formulas on boxes: known suprema and constants are hit, samples never exceed an upper bound, and faults are seen."""

from __future__ import annotations

import builtins
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import (
    Abs,
    E,
    Max,
    Min,
    Piecewise,
    Rational,
    atan,
    cos,
    erf,
    exp,
    log,
    pi,
    sign,
    sin,
    sqrt,
    symbols,
    tan,
    tanh,
)

from eqtheory.bounds import Evidence, Side
from eqtheory.errors import DomainError, InputError, MissingDependencyError, NonFiniteError
from eqtheory.lipschitz import formula_lipschitz, supremum
from eqtheory.lipschitz.formulas import _elementary, _kinks
from eqtheory.lipschitz.formulas._elementary import FUNCTIONS
from eqtheory.lipschitz.formulas._intervals import Interval, add, multiply, of_fraction, power, reciprocal
from eqtheory.norms import BlockSum, Euclidean, Norm, Sum, Sup

pytest.importorskip("flint")
x, y, z = symbols("x y z")
TENTH, THIRD = Rational(1, 10), Rational(1, 3)


# Intervals.

finite = st.floats(allow_nan=False, allow_infinity=False, width=64).map(lambda v: v + 0.0)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(a=finite, b=finite)
def test_ends_are_on_the_right_sides_of_exact_results(a: float, b: float) -> None:
    X, Y = Interval(a, a), Interval(b, b)
    exact: list[tuple[Interval | None, Fraction]] = [
        (add(X, Y), Fraction(a) + Fraction(b)),
        (multiply(X, Y), Fraction(a) * Fraction(b)),
        (power(X, 3), Fraction(a) ** 3),
        (power(X, 2), Fraction(a) ** 2),
    ]
    if a:
        exact.append((reciprocal(X), 1 / Fraction(a)))
    if b:
        exact.append((of_fraction(Fraction(a) / Fraction(b)), Fraction(a) / Fraction(b)))
    for found, true in exact:
        assert found is not None
        assert found.low == -math.inf or Fraction(found.low) <= true
        assert found.high == math.inf or Fraction(found.high) >= true


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_enclose_their_values(name: str) -> None:
    import mpmath

    rng = np.random.default_rng(0)
    reference = {"Abs": abs, "sign": mpmath.sign, "log": mpmath.log}.get(name) or getattr(mpmath, name)
    for _ in range(150):
        low, high = sorted(rng.normal(size=2) * 10.0 ** rng.integers(-2, 2))
        found = FUNCTIONS[name](Interval(low, high))
        for t in (low, high, *rng.uniform(low, high, 5)):
            value = reference(mpmath.mpf(float(t)))
            if isinstance(value, mpmath.mpf) or name in {"Abs", "sign"}:
                assert found is not None
                assert mpmath.mpf(found.low) * (1 - 1e-14 * mpmath.sign(found.low)) <= value
                assert value <= mpmath.mpf(found.high) * (1 + 1e-14 * mpmath.sign(found.high))


def test_a_wave_that_forgets_its_crest_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert supremum(sin(x) ** 3, {x: (1, 2)}).upper.value >= 1.0
    monkeypatch.setattr(_elementary, "_turns", lambda *_: False)
    found = FUNCTIONS["sin"](Interval(1.0, 2.0))
    assert found is not None
    assert found.high < 1.0  # the fault; the assertion above is what catches it


# Suprema.

SUPREMA: list[tuple[Any, dict[Any, Any], Any]] = [
    (x * (1 - x), {x: (0, 1)}, Rational(1, 4)),
    (sin(x) * exp(-y), {x: (0, 3), y: (0, 1)}, 1),
    (1 / x, {x: (TENTH, 1)}, 10),
    (x * log(x), {x: (THIRD, 2)}, 2 * log(2)),
    (-x * log(x), {x: (0.01, 1)}, 1 / E),
    (Min(x, 1 - x) - y**2, {x: (0, 1), y: (-1, 1)}, Rational(1, 2)),
    (Abs(x) * Max(x, -2 * x), {x: (-1, 1)}, 2),
    (sqrt(x - TENTH), {x: (TENTH, 1)}, sqrt(Rational(9, 10))),
    (Piecewise((x, x < THIRD), (0, True)), {x: (0, 1)}, THIRD),
    (x**y, {x: (0, 2), y: (Rational(1, 2), 2)}, 4),
    (tan(x), {x: (0, pi / 4)}, 1),
    (x + y * z, {x: (0, Fraction(1, 3)), y: (-2, 1), z: (-3, 1)}, 6 + THIRD),
]


@pytest.mark.parametrize(("e", "box", "true"), SUPREMA)
def test_known_suprema_are_hit(e: Any, box: dict[Any, Any], true: Any) -> None:
    found = supremum(e, box)
    value = float(true)
    assert found.lower.value <= value * (1 + 1e-15)
    assert found.upper.value >= value * (1 - 1e-15)
    assert found.upper.value - found.lower.value <= 1e-6 * value
    assert (found.lower.side, found.upper.side) == (Side.LOWER, Side.UPPER)
    assert found.lower.evidence is found.upper.evidence is Evidence.PROVED


def test_a_supremum_of_zero_ends_at_the_resolution_of_the_numbers() -> None:
    found = supremum(-((x - THIRD) ** 2), {x: (0, 1)})
    assert -1e-30 < found.lower.value <= 0 <= found.upper.value < 1e-30


def test_a_pole_gives_an_infinite_bound_and_no_crash() -> None:
    for e, box in ((1 / x, {x: (-1, 1)}), (tan(x), {x: (0, pi)}), (1 / (x - y), {x: (0, 1), y: (0, 1)})):
        found = supremum(e, box)
        assert found.upper.value == math.inf
        assert found.lower.value > 1e6
        assert found.upper.assumptions == ("only points at which the formula is defined count",)


def test_few_boxes_give_a_wider_bracket_that_says_so() -> None:
    e, box = sin(x) + sin(y) - cos(x * y), {x: (0, 6), y: (0, 6)}
    fine, coarse = supremum(e, box), supremum(e, box, max_boxes=8)
    assert "stopped before the wanted gap" in coarse.upper.method
    assert "stopped" not in fine.upper.method
    assert coarse.lower.value <= fine.upper.value
    assert fine.lower.value <= coarse.upper.value
    assert fine.upper.value - fine.lower.value < coarse.upper.value - coarse.lower.value


def test_an_isolated_value_counts_and_no_lower_bound_is_taken_at_a_jump() -> None:
    found = supremum(1 - sign(x) ** 2, {x: (-1, 1)}, max_boxes=200)
    assert (found.lower.value, found.upper.value) == (0.0, 1.0)


# Constants.

CONSTANTS: list[tuple[Any, dict[Any, Any], Norm, Any]] = [
    (tanh(100 * x), {x: (-1, 1)}, Euclidean(), 100),
    (sin(x) * exp(-y), {x: (0, 3), y: (0, 1)}, Euclidean(), 1),
    (1 / x, {x: (TENTH, 1)}, Sup(), 100),
    (x - Rational(9, 10) * sin(x), {x: (-4, 4)}, Euclidean(), Rational(19, 10)),
    (atan(3 * x + 1), {x: (-2, 2)}, Euclidean(), 3),
    (erf(x), {x: (-1, 2)}, Euclidean(), 2 / sqrt(pi)),
    (exp(-(x**2)), {x: (-2, 2)}, Euclidean(), sqrt(2 / E)),
    (Abs(x), {x: (-1, 1)}, Euclidean(), 1),
    (2 * Abs(x - THIRD) + Abs(sin(5 * x)), {x: (-1, 1)}, Euclidean(), 7),
    (Max(x, y), {x: (-1, 1), y: (-1, 1)}, Sup(), 1),
    (Max(x, 2 * y, x + y - THIRD), {x: (-1, 1), y: (-1, 1)}, Sup(), 2),
    (Max(x**2, 2 - x), {x: (-3, 3)}, Euclidean(), 6),
    (x ** Rational(3, 2), {x: (0, 1)}, Euclidean(), Rational(3, 2)),
    ([cos(x), sin(x)], {x: (0, 3)}, Euclidean(), 1),
    ([x**2 - y**2, 2 * x * y], {x: (-1, 1), y: (-1, 1)}, Euclidean(), 2 * sqrt(2)),
    ([x**2 - y**2, 2 * x * y], {x: (-1, 1), y: (-1, 1)}, Sum(), 4),
    ([x**2 - y**2, 2 * x * y], {x: (-1, 1), y: (-1, 1)}, Sup(), 4),
    ([x + y, x - y], {x: (0, 1), y: (0, 1)}, Euclidean(), sqrt(2)),
    ([x * y, y * z, z * x], {x: (-1, 1), y: (-1, 1), z: (-1, 1)}, Euclidean(), 2),
    (Rational(3), {x: (0, 1)}, Euclidean(), 0),
    (x * y, {x: (-1, 1), y: (3, 3)}, Euclidean(), 3),
]


@pytest.mark.parametrize(("e", "box", "norm", "true"), CONSTANTS)
def test_known_constants_are_hit(e: Any, box: dict[Any, Any], norm: Norm, true: Any) -> None:
    found = formula_lipschitz(e, box, norm=norm)
    value = float(true)
    assert found.lower.value <= value * (1 + 1e-15)
    assert found.upper.value >= value * (1 - 1e-15)
    assert found.upper.value - found.lower.value <= 1e-6 * value
    assert found.upper.norm == norm.name


def test_an_oscillating_map_away_from_its_singularity() -> None:
    found = formula_lipschitz(x**2 * sin(1 / x), {x: (TENTH, 1)})
    t = np.linspace(0.1, 1, 400_001)
    sampled = np.abs(2 * t * np.sin(1 / t) - np.cos(1 / t)).max()
    assert found.upper.value >= sampled * (1 - 1e-12)
    assert found.upper.value == pytest.approx(sampled, rel=3e-6)


@pytest.mark.parametrize(
    "e", [1 / x, sign(x), atan(1 / x), Piecewise((0, x < 0), (1, True)), sqrt(Abs(x)), x * sign(x), log(Abs(x))]
)
def test_what_may_jump_or_be_steep_without_end_has_an_infinite_bound(e: Any) -> None:
    # The derivative of atan(1/x) is bounded where it exists: only the proof of continuity refuses it (N9).
    found = formula_lipschitz(e, {x: (-1, 1)})
    assert found.upper.value == math.inf
    assert found.lower.value >= 0


def test_mixed_norms_and_those_without_a_formula() -> None:
    found = formula_lipschitz([x, y], {x: (0, 1), y: (0, 1)}, norm=Euclidean(), output_norm=Sup())
    assert found.upper.norm == "l2 to sup"
    assert found.upper.value == pytest.approx(1, rel=1e-12)
    with pytest.raises(InputError, match="needed a pair whose operator norm can be computed"):
        formula_lipschitz([x, y], {x: (0, 1), y: (0, 1)}, norm=Sup(), output_norm=Euclidean())
    with pytest.raises(InputError, match=r"norm: got weighted block sum #\w{8}, needed l2, l1 or sup"):
        formula_lipschitz(x, {x: (0, 1)}, norm=BlockSum((1,), (1.0,), Sup()))


def test_a_derivative_that_takes_one_side_of_a_kink_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    e, box = Max(x, -3 * x + Rational(1, 7) * x), {x: (-1, 1)}
    true = float(Rational(20, 7))
    assert formula_lipschitz(e, box).upper.value >= true * (1 - 1e-12)
    one_sided = []
    for side in (1, 2):
        monkeypatch.setattr(_kinks, "_branch", lambda *parts, side=side: parts[side])
        one_sided.append(formula_lipschitz(e, box).upper.value)
    assert min(one_sided) < true / 2


def test_mean_values_belong_to_one_branch() -> None:
    # The middle of the box lies on one side of the kink; the other branch is the steeper one.
    found = formula_lipschitz(y / 2 - Abs(x - y) / 2, {x: (-1, 1), y: (Rational(-1, 2), 1)})
    assert found.upper.value == pytest.approx(math.sqrt(5) / 2, rel=1e-12)
    assert found.lower.value == pytest.approx(math.sqrt(5) / 2, rel=1e-12)


# Against samples.

_coefficient = st.integers(-4, 4).map(lambda n: Rational(n, 2))
_atom = st.sampled_from(
    [x, y, x * y, x**2, y**3, sin(2 * x), cos(y - x), tanh(3 * y), exp(-(x**2)), Abs(x - y), Max(x, 2 * y)]
)
_formula = st.lists(st.tuples(_coefficient, _atom), min_size=1, max_size=3).map(lambda t: sum(c * a for c, a in t))
GRID = np.stack(np.meshgrid(np.linspace(-1, 1, 41) + 1e-3, np.linspace(-0.5, 1, 41) + 1.5e-3), -1).reshape(-1, 2)
BOX = {x: (-1.0, 1.01), y: (-0.5, 1.01)}


@settings(max_examples=15, deadline=None, derandomize=True)
@given(e=_formula)
def test_samples_lie_below_upper_bounds_and_lower_bounds_below_suprema(e: Any) -> None:
    e = sympy.sympify(e)
    function = sympy.lambdify((x, y), e, "numpy")
    values = np.broadcast_to(function(GRID[:, 0], GRID[:, 1]), (len(GRID),))
    found = supremum(e, BOX, rtol=1e-2, max_boxes=300)
    size = float(np.abs(values).max())
    assert found.upper.value >= values.max() - 1e-13 * size
    # The grid is 0.05 apart, so the supremum is at most half the diagonal times a Lipschitz constant above its maximum.
    steep = formula_lipschitz(e, BOX, rtol=5e-2, max_boxes=300)
    assert found.lower.value <= values.max() + 0.05 * steep.upper.value + 1e-13 * size
    rng = np.random.default_rng(0)
    a, b = GRID[rng.integers(len(GRID), size=(2, 4000))]
    near = a + 1e-3 * (b - a)
    for first, second in ((a, b), (a, near)):
        gap = np.linalg.norm(first - second, axis=1)
        rise = np.abs(function(*first.T) - function(*second.T)) * np.ones(len(gap))
        slopes = (rise - 1e-13 * size)[gap > 0] / gap[gap > 0]
        assert steep.upper.value * (1 + 1e-12) >= slopes.max()


# Refusals.


@pytest.mark.parametrize(
    ("e", "box", "kind", "message"),
    [
        (sympy.gamma(x), {x: (1, 2)}, InputError, r"expression: got gamma\(.*\), needed sums, products"),
        (x + y, {x: (0, 1)}, InputError, "box: got no range for y, needed one for every symbol"),
        (x, {x: (1, 0)}, InputError, "needed low <= high; exchange them"),
        (x, {x: (0, math.inf)}, NonFiniteError, "needed finite ends"),
        (x, {x: (0, math.nan)}, NonFiniteError, "needed finite ends"),
        (x, {x: (0, y)}, NonFiniteError, "needed finite real ends"),
        (x, {}, InputError, "box: got {}"),
        (x, {x: 1}, InputError, r"needed a pair \(low, high\)"),
        (x + sympy.I, {x: (0, 1)}, InputError, "needed real and finite constants"),
        ("x", {x: (0, 1)}, InputError, "got a string"),
        (log(-1 - x), {x: (0, 1)}, DomainError, "a box in which .* is defined"),
    ],
)
def test_refusals_say_what_is_needed(e: Any, box: Any, kind: type[InputError], message: str) -> None:
    with pytest.raises(kind, match=message):
        supremum(e, box)


def test_numbers_of_the_search_are_checked() -> None:
    with pytest.raises(InputError, match="rtol: got 0"):
        supremum(x, {x: (0, 1)}, rtol=0)
    with pytest.raises(InputError, match="max_boxes: got 0"):
        formula_lipschitz(x, {x: (0, 1)}, max_boxes=0)
    with pytest.raises(InputError, match="expressions: got an empty sequence"):
        formula_lipschitz([], {x: (0, 1)})


def test_without_the_balls_the_group_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "flint":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependencyError, match=r"flint is not installed.*eqtheory\[check\]"):
        supremum(sin(x), {x: (0, 1)})


def test_the_state_of_the_ball_library_is_left_alone() -> None:
    from flint import ctx

    before = ctx.prec
    supremum(sin(x), {x: (0, 1)})
    assert ctx.prec == before
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.parametrize(
    ("formula", "assumed"),
    [
        (lambda p: sin(pi * p), {"integer": True}),  # sympy has made 0 of it already
        (lambda p: sqrt(p**2) - p, {"positive": True}),
        (lambda p: Abs(p) + p, {"nonpositive": True}),
        (lambda p: Piecewise((1, sympy.Ne(p, 0)), (5, True)), {"nonzero": True}),
        (lambda p: sympy.im(p) + 1, {"imaginary": True}),
    ],
)
def test_assumptions_that_have_simplified_a_formula_have_to_hold(formula: Any, assumed: dict[str, bool]) -> None:
    p = sympy.Symbol("p", **assumed)
    for ask in (supremum, formula_lipschitz):
        with pytest.raises(InputError, match=r"box: got a symbol p whose assumptions do not hold on its range, needed"):
            ask(formula(p), {p: (-1, 1)})


@pytest.mark.parametrize("assumed", [{}, {"real": True}, {"positive": True}, {"nonnegative": True}, {"nonzero": True}])
def test_assumptions_that_hold_are_no_obstacle(assumed: dict[str, bool]) -> None:
    p = sympy.Symbol("p", **assumed)
    assert supremum(p**2, {p: (1, 2)}).upper.value == pytest.approx(4, rel=1e-5)
