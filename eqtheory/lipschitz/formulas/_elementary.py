"""Enclosures of elementary functions on intervals: ball arithmetic at the ends, and the extrema between them.

A monotone function takes its extreme values at the ends of an interval, where Arb encloses it. Sines and cosines also take them at
multiples of half a turn, which are looked for in ball arithmetic; a ball that may contain one counts as containing it. Where an
argument leaves the domain, the values at the points inside are enclosed and the result is no longer known to be continuous.

References:
    F. Johansson, Arb: efficient arbitrary-precision midpoint-radius interval arithmetic, IEEE Trans. Computers 66 (2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from eqtheory.errors import MissingDependencyError
from eqtheory.lipschitz.formulas._intervals import EVERYTHING, Interval, multiply, reciprocal

__all__ = [
    "FUNCTIONS",
    "absolute",
    "balls",
    "constant",
    "exponential",
    "largest",
    "logarithm",
    "root",
    "sign",
    "smallest",
]

_LARGEST = math.nextafter(math.inf, 0.0)


def balls() -> Any:
    """Import the library of ball arithmetic.

    Returns:
        The class `flint.arb`.

    Raises:
        MissingDependencyError: python-flint is not installed.
    """
    try:
        from flint import arb
    except ImportError as error:
        raise MissingDependencyError("flint", "check") from error
    return arb


def _ends(ball: Any) -> tuple[float, float]:
    """Floating-point numbers around a ball; where the ball is a floating-point number, that number twice.

    Returns:
        Lower and upper end.
    """
    if ball.is_nan():
        return -math.inf, math.inf
    arb, bottom, top = balls(), ball.lower(), ball.upper()
    low, high = float(bottom), float(top)
    if math.isinf(low) and bottom.is_finite():  # beyond the largest number
        low = _LARGEST if low > 0 else -math.inf
    elif not math.isinf(low) and not arb(low) <= bottom:
        low = math.nextafter(low, -math.inf)
    if math.isinf(high) and top.is_finite():
        high = -_LARGEST if high < 0 else math.inf
    elif not math.isinf(high) and not arb(high) >= top:
        high = math.nextafter(high, math.inf)
    return low, high


def constant(name: str) -> Interval:
    """Enclose a constant.

    Args:
        name: name of Arb's constructor, `pi` or `const_e`.

    Returns:
        Two neighbouring numbers around it.
    """
    return Interval(*_ends(getattr(balls(), name)()))


def _at(name: str, t: float, limits: tuple[float, float]) -> tuple[float, float]:
    if math.isinf(t):
        limit = limits[t > 0]
        return limit, limit
    return _ends(getattr(balls()(t), name)())


def _monotone(
    name: str, limits: tuple[float, float], *, domain: tuple[float, float] = (-math.inf, math.inf), falls: bool = False
) -> Callable[[Interval], Interval | None]:
    """Enclosure of a monotone function.

    Args:
        name: Arb's name.
        limits: bounds of its values at minus infinity and at infinity, rounded outwards.
        domain: where it is defined; ends at which it is infinite are treated like the others, as Arb answers there with no number.
        falls: whether it falls.

    Returns:
        The enclosure as a function of an interval.
    """

    def enclose(x: Interval) -> Interval | None:
        low, high = max(x.low, domain[0]), min(x.high, domain[1])
        if low > high:
            return None
        at_low, at_high = _at(name, low, limits), _at(name, high, limits)
        whole = x.continuous and low == x.low and high == x.high
        found = (at_high[0], at_low[1]) if falls else (at_low[0], at_high[1])
        return Interval(*found, whole and found[0] > -math.inf and found[1] < math.inf)

    return enclose


def _turns(x: Interval, offset: Fraction, period: int) -> bool:
    """Whether the interval may hold `pi (offset + k period)` for an integer `k`.

    Returns:
        False only where that is proved.
    """
    arb = balls()
    start = arb(offset.numerator) / offset.denominator
    low, high = ((arb(end) / arb.pi() - start) / period for end in (x.low, x.high))
    return bool(low.union(high).contains_integer())


def _wave(name: str, top: Fraction) -> Callable[[Interval], Interval]:
    def enclose(x: Interval) -> Interval:
        if not x.finite:
            return Interval(-1.0, 1.0, x.continuous)
        (a, b), (c, d) = _at(name, x.low, (-1.0, 1.0)), _at(name, x.high, (-1.0, 1.0))
        low = -1.0 if _turns(x, top + 1, 2) else min(a, c)
        return Interval(low, 1.0 if _turns(x, top, 2) else max(b, d), x.continuous)

    return enclose


def _tangent(x: Interval) -> Interval:
    if not x.finite or _turns(x, Fraction(1, 2), 1):
        return EVERYTHING
    return Interval(_at("tan", x.low, (0.0, 0.0))[0], _at("tan", x.high, (0.0, 0.0))[1], x.continuous)


def _cosine_hyperbolic(x: Interval) -> Interval:
    ends = (math.inf, math.inf)
    return Interval(_at("cosh", x.mignitude, ends)[0], _at("cosh", x.magnitude, ends)[1], x.continuous)


def absolute(x: Interval) -> Interval:
    """Enclose `|x|`.

    Args:
        x: an interval.

    Returns:
        An interval.
    """
    return Interval(x.mignitude, x.magnitude, x.continuous)


def sign(x: Interval) -> Interval:
    """Enclose the sign, which jumps at zero.

    Args:
        x: an interval.

    Returns:
        An interval.
    """
    low, high = (math.copysign(1.0, end) if end else 0.0 for end in (x.low, x.high))
    return Interval(low, high, x.continuous and (x.low > 0 or x.high < 0))


def largest(x: Interval, y: Interval) -> Interval:
    """Enclose the larger of two values.

    Args:
        x: an interval.
        y: an interval.

    Returns:
        An interval.
    """
    return Interval(max(x.low, y.low), max(x.high, y.high), x.continuous and y.continuous)


def smallest(x: Interval, y: Interval) -> Interval:
    """Enclose the smaller of two values.

    Args:
        x: an interval.
        y: an interval.

    Returns:
        An interval.
    """
    return Interval(min(x.low, y.low), min(x.high, y.high), x.continuous and y.continuous)


_half_pi = math.nextafter(math.pi / 2, 2.0)
exponential = _monotone("exp", (0.0, math.inf))
_log = _monotone("log", (-math.inf, math.inf), domain=(0.0, math.inf))


def logarithm(x: Interval) -> Interval | None:
    """Enclose the natural logarithm where it is defined.

    Args:
        x: an interval.

    Returns:
        An interval, or `None` where nothing is defined.
    """
    if x.high <= 0:
        return None
    found = _log(x)
    return found if found is None or x.low > 0 else Interval(-math.inf, found.high, continuous=False)


def root(x: Interval, exponent: Fraction) -> Interval | None:
    """Enclose a power with a rational exponent that is no integer; its base is not negative.

    Args:
        x: an interval.
        exponent: the exponent.

    Returns:
        An interval, or `None` where nothing is defined.
    """
    if exponent < 0:
        return None if (inner := root(x, -exponent)) is None else reciprocal(inner)
    if x.high < 0:
        return None

    def at(t: float) -> tuple[float, float]:
        if math.isinf(t) or t == 0:
            return t, t
        arb = balls()
        ball = (
            arb(t).sqrt() if exponent == Fraction(1, 2) else arb(t) ** (arb(exponent.numerator) / exponent.denominator)
        )
        return _ends(ball)

    low = at(max(x.low, 0.0))[0]
    return Interval(max(low, 0.0), at(x.high)[1], x.continuous and x.low >= 0)


def _tangent_reciprocal(x: Interval) -> Interval | None:
    sine, cosine = FUNCTIONS["sin"](x), FUNCTIONS["cos"](x)
    inverse = None if sine is None else reciprocal(sine)
    return None if inverse is None or cosine is None else multiply(cosine, inverse)


FUNCTIONS: dict[str, Callable[[Interval], Interval | None]] = {
    "Abs": absolute,
    "acos": _monotone("acos", (0.0, math.pi), domain=(-1.0, 1.0), falls=True),
    "acosh": _monotone("acosh", (0.0, math.inf), domain=(1.0, math.inf)),
    "asin": _monotone("asin", (-_half_pi, _half_pi), domain=(-1.0, 1.0)),
    "asinh": _monotone("asinh", (-math.inf, math.inf)),
    "atan": _monotone("atan", (-_half_pi, _half_pi)),
    "cos": _wave("cos", Fraction(0)),
    "cosh": _cosine_hyperbolic,
    "cot": _tangent_reciprocal,
    "erf": _monotone("erf", (-1.0, 1.0)),
    "exp": exponential,
    "log": logarithm,
    "sign": sign,
    "sin": _wave("sin", Fraction(1, 2)),
    "sinh": _monotone("sinh", (-math.inf, math.inf)),
    "tan": _tangent,
    "tanh": _monotone("tanh", (-1.0, 1.0)),
}
"""What a formula may contain beside sums, products, powers, extrema and branches, under the names sympy uses."""
