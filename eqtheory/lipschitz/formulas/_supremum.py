r"""Supremum of a formula over a box, enclosed in interval arithmetic.

Over a box with midpoint `m` and half-widths `r` the values lie below the natural enclosure and, where the formula is continuous with
generalized derivatives in `D`, below `f(m) + max sum_k r_k |D_k|` (mean value). Where `D_k` has one sign, `f` is monotone in the
coordinate, and the box is replaced by a face. Values at exact points of the box bound the supremum from below.

References:
    R. E. Moore, Interval Analysis, Prentice-Hall 1966; F. H. Clarke, Optimization and Nonsmooth Analysis, Wiley 1983, Theorem 2.3.7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.errors import DomainError, InputError
from eqtheory.lipschitz.formulas._branch_and_bound import Found, Seen, maximize
from eqtheory.lipschitz.formulas._formulas import Box, Formulas, box_of, expression_of
from eqtheory.lipschitz.formulas._intervals import EVERYTHING, Interval, sum_up
from eqtheory.validate import count, open_unit

__all__ = [
    "Ends",
    "at_point",
    "blind_points",
    "bracket_of",
    "face_of",
    "half_widths",
    "midpoint",
    "prepared",
    "supremum",
]

Ends = list[tuple[Interval, Interval]]


def supremum(
    expression: Any, box: Mapping[Any, tuple[Any, Any]], *, rtol: float = 1e-6, max_boxes: int = 100_000
) -> Bracket:
    """Enclose the supremum of a formula over a box, rigorously.

    Args:
        expression: a sympy expression of sums, products, powers, exp, log, sin, cos, tan, cot, sinh, cosh, tanh, asinh, acosh, asin, acos,
            atan, erf, Abs, sign, Max, Min, Piecewise. General powers are read as `exp(y log x)`.
        box: for every symbol a pair `(low, high)`: numbers, fractions or constant sympy expressions, taken exactly.
        rtol: relative gap at which the search ends.
        max_boxes: boxes after which it ends in any case, with the wider bracket it has then.

    Returns:
        Proved bounds. Points at which the formula is not defined as a real number are left out. The upper bound is infinite at a pole.
        Cost: about a millisecond a box for ten operations in three variables; tens of boxes in one
            variable, thousands in three, far more where the supremum is attained along a curve.

    Raises:
        InputError: an unsupported function, a symbol without a range, or an unusable box.
        DomainError: the formula is defined nowhere in the box.
        MissingDependencyError: python-flint is not installed.

    References:
        R. E. Moore, Interval Analysis, Prentice-Hall 1966.

    Example:
        >>> import sympy
        >>> x = sympy.Symbol("x")
        >>> found = supremum(x * (1 - x), {x: (0, 1)})
        >>> found.lower.value <= 0.25 <= found.upper.value <= 0.25 * (1 + 2e-6)
        True
    """
    (e,), symbols, ends = prepared([expression], box, rtol=rtol, max_boxes=max_boxes)
    objective = _Values(e, symbols, ends)
    root = tuple(Interval(low.low, high.high) for low, high in ends)
    whole = objective.formulas.run(root)[objective.value]
    found = maximize(objective, root, rtol=rtol, max_boxes=max_boxes)
    if found.upper == -math.inf:
        raise DomainError("box", str(dict(box)), f"a box in which {expression} is defined", "move or widen the box")
    partly = whole is None or not whole.continuous
    assumptions = ("only points at which the formula is defined count",) if partly else ()
    return bracket_of(found, "formula", "value at a point of the box", assumptions=assumptions)


def prepared(
    expressions: list[Any], box: Mapping[Any, tuple[Any, Any]], *, rtol: float, max_boxes: int
) -> tuple[list[Any], list[Any], Ends]:
    """Check what a search is asked for, and write it in real symbols with one-sided kinks.

    Args:
        expressions: formulas.
        box: for every symbol its range.
        rtol: wanted gap.
        max_boxes: largest number of boxes.

    Returns:
        The formulas, their symbols, and the enclosures of the ends of their ranges.

    Raises:
        InputError: a symbol of a formula has no range.
    """
    import sympy

    from eqtheory.lipschitz.formulas._kinks import with_sides

    open_unit("rtol", rtol)
    count("max_boxes", max_boxes, "pass for example max_boxes=100_000")
    ranges = box_of(box)
    for s, (
        low,
        high,
    ) in ranges.items():  # also of symbols that sympy has simplified away already, such as sin(pi n) to 0
        _require_true_assumptions(s, low, high)
    real = {s: sympy.Dummy(s.name, real=True) for s in ranges}
    written = []
    for k, value in enumerate(expressions):
        e = expression_of(value, "expression" if len(expressions) == 1 else f"expressions[{k}]")
        if missing := sorted(str(s) for s in e.free_symbols - set(ranges)):
            raise InputError("box", f"no range for {', '.join(missing)}", "one for every symbol", "add them to the box")
        # Floating-point numbers become the rationals they are, or sympy would round when it differentiates.
        exact = {f: _rational(f) for f in e.atoms(sympy.Float)}
        written.append(with_sides(e.xreplace(exact).xreplace(real)))
    return written, list(real.values()), list(ranges.values())


def _require_true_assumptions(symbol: Any, low: Interval, high: Interval) -> None:
    """Require that whatever sympy takes for granted about a symbol holds on its whole range.

    Raises:
        InputError: something does not, or is not known to.
    """
    import sympy

    signs = (("positive", low.low > 0), ("negative", high.high < 0), ("nonnegative", low.low >= 0))
    known = {sign: True for sign, holds in (*signs, ("nonpositive", high.high <= 0)) if holds}
    true = sympy.Dummy(real=True, **known).assumptions0
    wrong = [name for name, value in symbol.assumptions0.items() if true.get(name) is not value]
    if wrong:
        came = f"a symbol {symbol} whose assumptions do not hold on its range"
        needed = f"a formula that was not simplified by them ({wrong[0]})"
        raise InputError("box", came, needed, "use sympy.Symbol(..., real=True)")


def _rational(number: Any) -> Any:
    import sympy

    sign, mantissa, exponent, _ = number._mpf_
    size = sympy.Integer(int(mantissa)) * sympy.Integer(2) ** int(exponent)
    return -size if sign else size


def midpoint(box: Box) -> tuple[float, ...]:
    """Floating-point numbers in the middle of a box.

    Args:
        box: with finite ends.

    Returns:
        One per coordinate, between its ends.
    """
    return tuple(min(max(x.low + 0.5 * (x.high - x.low), x.low), x.high) for x in box)


def blind_points(box: Box) -> tuple[tuple[float, tuple[float, ...]], ...]:
    """Points to look at where nothing is known of slopes: the middle and two opposite corners.

    Args:
        box: with finite ends.

    Returns:
        Points, each with an infinite guess.
    """
    points = (midpoint(box), tuple(x.low for x in box), tuple(x.high for x in box))
    return tuple((math.inf, point) for point in points)


def half_widths(box: Box, middle: tuple[float, ...]) -> list[float]:
    """Distances of a point of a box from its ends, rounded upwards.

    Args:
        box: with finite ends.
        middle: a point in it.

    Returns:
        One per coordinate.
    """
    return [max(sum_up(x.high, [(m, -1.0)]), sum_up(m, [(x.low, -1.0)])) for x, m in zip(box, middle, strict=True)]


def at_point(point: tuple[float, ...], ends: Ends) -> Box:
    """Enclose a point of the root box; ends of the box that are no floating-point numbers are enclosed themselves.

    Args:
        point: one number per coordinate.
        ends: enclosures of the ends.

    Returns:
        Intervals that hold one exact point of the box.
    """
    return tuple(
        low if t <= low.high else high if t >= high.low else Interval(t, t)
        for t, (low, high) in zip(point, ends, strict=True)
    )


class _Values:
    """The values of a formula."""

    def __init__(self, e: Any, symbols: list[Any], ends: Ends) -> None:
        self.formulas, self.ends = Formulas(symbols), ends
        self.value = self.formulas.entry(e)
        self.slopes = [self.formulas.entry(e.diff(s)) for s in symbols]

    def above(self, box: Box) -> Seen:
        values = self.formulas.run(box)
        here = values[self.value]
        if here is None:
            return Seen(-math.inf, box)
        middle = midpoint(box)
        slopes = [[run[k] or EVERYTHING for k in self.slopes] for _, run in self.formulas.cases(box, values)]
        if not here.continuous or not all(d.finite for case in slopes for d in case):
            return Seen(here.high, box, points=blind_points(box))
        face = tuple(face_of(x, [case[k] for case in slopes]) for k, x in enumerate(box))
        if face != box:
            return self.above(face)
        radii = half_widths(box, middle)
        centre = self.at(middle)
        linear = max(sum_up(centre, [(r, d.magnitude) for r, d in zip(radii, case, strict=True)]) for case in slopes)
        weights = tuple(r * max(case[k].magnitude for case in slopes) for k, r in enumerate(radii))
        corner = tuple(x.high if d.low + d.high > 0 else x.low for x, d in zip(box, slopes[0], strict=True))
        return Seen(min(here.high, linear), box, weights, ((math.inf, middle), (linear, corner)))

    def at(self, middle: tuple[float, ...]) -> float:
        value = self.formulas.run(tuple(Interval(t, t) for t in middle), upto=self.value)[self.value]
        return math.inf if value is None else value.high

    def below(self, point: tuple[float, ...]) -> float:
        value = self.formulas.run(at_point(point, self.ends), upto=self.value)[self.value]
        return value.low if value is not None and value.continuous else -math.inf


def face_of(x: Interval, slopes: list[Interval]) -> Interval:
    """The end at which a coordinate's values are largest, where its derivative has one sign.

    Args:
        x: the coordinate.
        slopes: enclosures of the derivative.

    Returns:
        An end, or the coordinate itself.
    """
    if all(d.low >= 0 for d in slopes):
        return Interval(x.high, x.high)
    return Interval(x.low, x.low) if all(d.high <= 0 for d in slopes) else x


def bracket_of(found: Found, what: str, below: str, *, norm: str = "", assumptions: tuple[str, ...] = ()) -> Bracket:
    """Label both sides of an enclosure.

    Args:
        found: the enclosure.
        what: what was bounded.
        below: what bounds from below.
        norm: name of the norm, if one is meant.
        assumptions: what the bounds rest on.

    Returns:
        Two proved bounds.
    """
    ended = "" if found.settled else "; stopped before the wanted gap"
    method = f"interval branch and bound on the {what}, {found.boxes} boxes{ended}"
    lower = Bound(found.lower, Side.LOWER, below, Evidence.PROVED, norm=norm, assumptions=assumptions)
    return Bracket(lower, Bound(found.upper, Side.UPPER, method, Evidence.PROVED, norm=norm, assumptions=assumptions))
