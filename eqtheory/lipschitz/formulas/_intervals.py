"""Intervals of float64 numbers whose operations never lose a value: ends are rounded outwards.

An `Interval` encloses the values of an expression at all points of a box where the expression is defined, and says whether the
expression is known to be defined and continuous at every point of the box. Only then may a mean value be taken there.

Directed rounding by comparison: `s = fl(a + b)` and its error `e = a + b - s` are both floating-point numbers (TwoSum), so the
sign of `e` says on which side `s` lies. Other results are moved to the neighbouring number unless they are seen to be exact.

References:
    T. J. Dekker, Numerische Mathematik 18 (1971); IEEE 1788-2015 (enclosures of functions on a part of their domain, decorations).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

__all__ = [
    "EVERYTHING",
    "Interval",
    "add",
    "hull",
    "multiply",
    "negate",
    "of_fraction",
    "power",
    "reciprocal",
    "sum_up",
]

_LARGEST = math.nextafter(math.inf, 0.0)
_EXACT_INTEGERS = 2.0**53


class Interval(NamedTuple):
    """All real numbers between two ends.

    Args:
        low: lower end; minus infinity where there is none.
        high: upper end; infinity where there is none.
        continuous: whether the enclosed expression is proved to be defined and continuous on the whole box.
    """

    low: float
    high: float
    continuous: bool = True

    @property
    def magnitude(self) -> float:
        """Largest absolute value."""
        return max(-self.low, self.high)

    @property
    def mignitude(self) -> float:
        """Smallest absolute value."""
        return max(self.low, -self.high, 0.0)

    @property
    def finite(self) -> bool:
        """Whether both ends are finite."""
        return self.low > -math.inf and self.high < math.inf

    def broken(self) -> Interval:
        """The same values, no longer known to be continuous.

        Returns:
            An interval.
        """
        return self._replace(continuous=False)


EVERYTHING = Interval(-math.inf, math.inf, continuous=False)


def _fit(value: float, *operands: float) -> float:
    """Lower end for a result that overflowed: the infinity where an operand was infinite, else the largest number below.

    Returns:
        A number at most the true result.
    """
    return value if value < 0 or any(math.isinf(x) for x in operands) else _LARGEST


def _add_down(a: float, b: float) -> float:
    s = a + b
    if math.isnan(s):
        return -math.inf
    if math.isinf(s):
        return _fit(s, a, b)
    t = s - a
    return s if (a - (s - t)) + (b - t) >= 0 else math.nextafter(s, -math.inf)


def _multiply_down(a: float, b: float) -> float:
    if a == 0 or b == 0:  # also 0 times infinity: no point of the box has an infinite factor
        return 0.0
    p = a * b
    if math.isinf(p):
        return _fit(p, a, b)
    exact = abs(a) == 1 or abs(b) == 1 or (a.is_integer() and b.is_integer() and abs(p) < _EXACT_INTEGERS)
    return p if exact else math.nextafter(p, -math.inf)


def _reciprocal_down(a: float) -> float:
    q = 1.0 / a
    if math.isinf(q):
        return _fit(q)
    return q if math.isinf(a) or (abs(math.frexp(a)[0]) == 0.5 and q != 0) else math.nextafter(q, -math.inf)


def _power_down(a: float, exponent: int) -> float:
    """Lower end of a power of a number that is not negative.

    Returns:
        A number at most `a^exponent`.
    """
    found, square = 1.0, a
    while exponent:
        if exponent & 1:
            found = _multiply_down(found, square)
        exponent >>= 1
        if exponent:
            square = _multiply_down(square, square)
    return max(found, 0.0)


def _power_up(a: float, exponent: int) -> float:
    found, square = 1.0, a
    while exponent:
        if exponent & 1:
            found = -_multiply_down(-found, square)
        exponent >>= 1
        if exponent:
            square = -_multiply_down(-square, square)
    return found


def of_fraction(value: Fraction) -> Interval:
    """Enclose a rational number.

    Args:
        value: the number.

    Returns:
        Two equal or neighbouring numbers around it.
    """
    try:
        near = value.numerator / value.denominator
    except OverflowError:
        return Interval(_LARGEST, math.inf) if value > 0 else Interval(-math.inf, -_LARGEST)
    back = Fraction(near)
    low = near if back <= value else math.nextafter(near, -math.inf)
    return Interval(low, near if back >= value else math.nextafter(near, math.inf))


def negate(x: Interval) -> Interval:
    """Enclose `-x`.

    Args:
        x: an interval.

    Returns:
        An interval.
    """
    return Interval(-x.high, -x.low, x.continuous)


def add(x: Interval, y: Interval) -> Interval:
    """Enclose `x + y`.

    Args:
        x: an interval.
        y: an interval.

    Returns:
        An interval.
    """
    return Interval(_add_down(x.low, y.low), -_add_down(-x.high, -y.high), x.continuous and y.continuous)


def multiply(x: Interval, y: Interval) -> Interval:
    """Enclose `x y`.

    Args:
        x: an interval.
        y: an interval.

    Returns:
        An interval.
    """
    ends = ((x.low, y.low), (x.low, y.high), (x.high, y.low), (x.high, y.high))
    low = min(_multiply_down(a, b) for a, b in ends)
    return Interval(low, max(-_multiply_down(-a, b) for a, b in ends), x.continuous and y.continuous)


def reciprocal(x: Interval) -> Interval | None:
    """Enclose `1 / x` where it is defined.

    Args:
        x: an interval.

    Returns:
        An interval, or `None` where `x` is zero and nothing else.
    """
    if x.low > 0 or x.high < 0:
        return Interval(_reciprocal_down(x.high), -_reciprocal_down(-x.low), x.continuous)
    if x.low == x.high:
        return None
    low = -math.inf if x.low < 0 else _reciprocal_down(x.high)
    return Interval(low, math.inf if x.high > 0 else -_reciprocal_down(-x.low), continuous=False)


def power(x: Interval, exponent: int) -> Interval | None:
    """Enclose an integer power where it is defined; not a product, so that squares are not negative.

    Args:
        x: an interval.
        exponent: an integer.

    Returns:
        An interval, or `None` where nothing is defined.
    """
    if exponent < 0:
        return None if (inner := power(x, -exponent)) is None else reciprocal(inner)
    if exponent % 2 == 0:
        return Interval(_power_down(x.mignitude, exponent), _power_up(x.magnitude, exponent), x.continuous)
    low = _power_down(x.low, exponent) if x.low >= 0 else -_power_up(-x.low, exponent)
    high = _power_up(x.high, exponent) if x.high >= 0 else -_power_down(-x.high, exponent)
    return Interval(low, high, x.continuous)


def hull(x: Interval | None, y: Interval | None) -> Interval | None:
    """Enclose the values of two expressions, of which one is taken; continuity across the border is not known.

    Args:
        x: an interval, or `None` where it is undefined.
        y: an interval, or `None`.

    Returns:
        An interval, or `None` where both are undefined.
    """
    if x is None or y is None:
        known = y if x is None else x
        return None if known is None else known.broken()
    return Interval(min(x.low, y.low), max(x.high, y.high), continuous=False)


def sum_up(first: float, products: list[tuple[float, float]]) -> float:
    """Upper end of `first + sum a b`.

    Args:
        first: a number.
        products: pairs `(a, b)`.

    Returns:
        A number at least the sum.
    """
    total = first
    for a, b in products:
        total = -_add_down(-total, _multiply_down(-a, b))
    return total
