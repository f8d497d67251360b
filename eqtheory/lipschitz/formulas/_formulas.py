"""Formulas compiled to lists of interval operations.

A sympy expression becomes a list of operations in which every subexpression stands once; a run over a box encloses all of them.
Values are enclosed where the expression is defined: an entry is `None` where it is defined nowhere in the box.

At a kink whose side the box does not decide, a run takes the sides it is given, or encloses both. So the maximum of a convex
function of the entries can be bounded side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

from eqtheory.errors import InputError, NonFiniteError
from eqtheory.lipschitz.formulas._elementary import FUNCTIONS, constant, exponential, largest, logarithm, root, smallest
from eqtheory.lipschitz.formulas._intervals import EVERYTHING, Interval, add, hull, multiply, of_fraction, power

__all__ = ["Box", "Formulas", "box_of", "expression_of"]

Box = tuple[Interval, ...]
Values = list[Interval | None]
_Operation = Callable[[Values, Box, Mapping[int, bool]], Interval | None]

_SIDES = 3
"""Undecided kinks up to which all combinations of sides are run through."""


class Formulas:
    """Expressions compiled together, so that what they share is enclosed once.

    Args:
        symbols: the variables, in the order of the coordinates of a box.

    Raises:
        InputError: an expression holds something that is not supported.
    """

    def __init__(self, symbols: Sequence[Any]) -> None:
        self.symbols = list(symbols)
        self._operations: list[_Operation] = []
        self._known: dict[Any, int] = {}
        self._conditions: list[tuple[int, int]] = []

    def entry(self, expression: Any) -> int:
        """Compile an expression, unless it is compiled already.

        Args:
            expression: a sympy expression, with the kinks of `eqtheory.lipschitz.formulas._kinks`.

        Returns:
            Its place in what `run` returns. A run up to one entry encloses all entries compiled before it.
        """
        if expression not in self._known:
            operation = self._compiled(expression)
            self._operations.append(operation)
            self._known[expression] = len(self._operations) - 1
        return self._known[expression]

    def run(self, box: Box, sides: Mapping[int, bool] | None = None, *, upto: int | None = None) -> Values:
        """Enclose the entries over a box.

        Args:
            box: one interval per variable.
            sides: for some entries `u`, whether `u > 0` is taken, wherever the box lies.
            upto: last entry that is needed; all by default.

        Returns:
            One enclosure per entry, `None` where it is defined nowhere.
        """
        values: Values = []
        chosen = sides or {}
        for operation in self._operations if upto is None else self._operations[: upto + 1]:
            values.append(operation(values, box, chosen))
        return values

    def cases(self, box: Box, values: Values) -> list[tuple[Mapping[int, bool], Values]]:
        """Run once for every combination of sides of undecided kinks.

        Args:
            box: one interval per variable.
            values: the run over the box with no side chosen.

        Returns:
            Sides and enclosures per combination; where there are too many, the one that encloses all of them.
        """
        undecided = sorted({u for u, e in self._conditions if _straddles(values[u]) and values[e] is not None})
        if not undecided or len(undecided) > _SIDES:
            return [({}, values)]
        combinations = product((True, False), repeat=len(undecided))
        chosen = [dict(zip(undecided, sides, strict=True)) for sides in combinations]
        return [(sides, self.run(box, sides)) for sides in chosen]

    def _compiled(self, e: Any) -> _Operation:
        import sympy

        if e in self.symbols:
            index = self.symbols.index(e)
            return lambda _values, box, _sides: box[index]
        if e.is_Rational or e.is_Float:
            value = of_fraction(_fraction(e))
            return lambda _values, _box, _sides: value
        if e in {sympy.pi, sympy.E}:
            number = constant("pi" if e == sympy.pi else "const_e")
            return lambda _values, _box, _sides: number
        if e.is_Add or e.is_Mul:
            return _folded(add if e.is_Add else multiply, [self.entry(a) for a in e.args])
        if e.is_Pow:
            return self._power(e)
        if isinstance(e, sympy.Piecewise):
            return self._piecewise(e)
        return self._function(e)

    def _power(self, e: Any) -> _Operation:
        base, exponent = e.args
        if exponent.is_Integer:
            n = int(exponent)
            return _unary(lambda x: power(x, n), self.entry(base))
        if exponent.is_Rational:
            q = _fraction(exponent)
            return _unary(lambda x: root(x, q), self.entry(base))
        return _folded(_general_power, [self.entry(base), self.entry(exponent)])

    def _function(self, e: Any) -> _Operation:
        name = type(e).__name__
        if name == "Branch":
            return self._branch(e)
        if name in {"Larger", "Smaller"}:
            return _folded(largest if name == "Larger" else smallest, [self.entry(a) for a in e.args])
        name = {"Absolute": "Abs", "Jump": "sign"}.get(name, name)
        if name not in FUNCTIONS or len(e.args) != 1:
            raise InputError(
                "expression",
                f"{e} ({type(e).__name__})",
                f"sums, products, powers, {', '.join(sorted(FUNCTIONS))}, Max, Min or Piecewise of the symbols of the box",
                "rewrite it with these, or bound it by hand",
            )
        return _unary(FUNCTIONS[name], self.entry(e.args[0]))

    def _branch(self, e: Any) -> _Operation:
        u, p, q = (self.entry(a) for a in e.args)
        self._conditions.append((u, len(self._operations)))

        def take(values: Values, _box: Box, sides: Mapping[int, bool]) -> Interval | None:
            at = values[u]
            if at is None:
                return None
            if u in sides:  # also at points of the box that lie on the other side: mean values belong to one branch
                return values[p] if sides[u] else values[q]
            if _straddles(at):
                return hull(values[p], values[q])
            return values[p] if at.low > 0 else values[q]

        return take

    def _piecewise(self, e: Any) -> _Operation:
        pieces = [(self.entry(value), self._condition(condition)) for value, condition in e.args]

        def take(values: Values, _box: Box, _sides: Mapping[int, bool]) -> Interval | None:
            found, decided = None, True
            for value, condition in pieces:
                holds = condition(values)
                if holds is False:
                    continue
                here = values[value]
                found = here if decided and found is None and holds else hull(found, here)
                if holds:
                    return found
                decided = False
            return None if found is None else found.broken()  # defined on a part at most

        return take

    def _condition(self, c: Any) -> Callable[[Values], bool | None]:
        """Compile a condition to a function that is true, false, or undecided.

        Returns:
            The function of the enclosures.

        Raises:
            InputError: not made of comparisons.
        """
        import sympy

        if c in {sympy.true, sympy.false}:
            answer = bool(c)
            return lambda _values: answer
        if isinstance(c, sympy.And | sympy.Or | sympy.Not):
            parts, joined = [self._condition(a) for a in c.args], {sympy.And: _every, sympy.Or: _some, sympy.Not: _none}
            return lambda values: joined[c.func]([part(values) for part in parts])
        if isinstance(c, sympy.core.relational.Relational):
            difference = self.entry(c.lhs - c.rhs)
            return lambda values: _compare(c.rel_op, values[difference])
        raise InputError(
            "expression",
            f"the condition {c} ({type(c).__name__})",
            "comparisons, And, Or, Not",
            "rewrite it with these",
        )


def _straddles(at: Interval | None) -> bool:
    return at is not None and at.low <= 0 <= at.high


def _every(parts: list[bool | None]) -> bool | None:
    return False if False in parts else None if None in parts else True


def _some(parts: list[bool | None]) -> bool | None:
    return True if True in parts else None if None in parts else False


def _none(parts: list[bool | None]) -> bool | None:
    return None if parts[0] is None else not parts[0]


def _compare(operator: str, at: Interval | None) -> bool | None:
    """Compare a difference with zero on all of a box.

    Returns:
        The answer where it is the same at all points, else `None`.
    """
    if at is None:
        return None
    if operator in {"<", "<=", "==", "!="}:
        above, below = at.low > 0, at.high < 0
        zero = at.low == at.high == 0
        answers = {
            "<": (below, above or at.low == 0),
            "<=": (below or at.high == 0, above),
            "==": (zero, above or below),
            "!=": (above or below, zero),
        }
        yes, no = answers[operator]
        return True if yes else False if no else None
    return _compare({">": "<", ">=": "<="}[operator], Interval(-at.high, -at.low))


def _unary(function: Callable[[Interval], Interval | None], at: int) -> _Operation:
    def apply(values: Values, _box: Box, _sides: Mapping[int, bool]) -> Interval | None:
        x = values[at]
        return None if x is None else function(x)

    return apply


def _folded(function: Callable[[Interval, Interval], Interval | None], places: list[int]) -> _Operation:
    def apply(values: Values, _box: Box, _sides: Mapping[int, bool]) -> Interval | None:
        found = values[places[0]]
        for place in places[1:]:
            other = values[place]
            if found is None or other is None:
                return None
            found = function(found, other)
        return found

    return apply


def _general_power(base: Interval, exponent: Interval) -> Interval | None:
    """Enclose `base ^ exponent` for bases that are not negative; elsewhere it is defined at some exponents only.

    Returns:
        An enclosure; everything where the base may be negative.
    """
    if base.low < 0 or (base.low == 0 and exponent.low <= 0):
        return EVERYTHING
    logarithms = logarithm(base)
    if logarithms is None:
        return None if base.high < 0 else Interval(0.0, 0.0, continuous=False)
    return exponential(multiply(logarithms, exponent))


def _fraction(number: Any) -> Fraction:
    import sympy

    exact = sympy.Rational(number)
    return Fraction(int(exact.p), int(exact.q))


def expression_of(value: Any, name: str = "expression") -> Any:
    """Accept what sympy understands as a real expression.

    Args:
        value: an expression or a number.
        name: name of the argument, for the message.

    Returns:
        A sympy expression.

    Raises:
        InputError: not an expression, or one with complex or infinite constants.
    """
    import sympy

    if isinstance(value, str):
        raise InputError(
            name, "a string", "a sympy expression", "parse it with sympy.sympify where its source is trusted"
        )
    try:
        e = sympy.sympify(value, strict=True)
    except sympy.SympifyError as error:
        raise InputError(
            name, type(value).__name__, "a sympy expression or a number", "build it from symbols"
        ) from error
    if not isinstance(e, sympy.Expr):
        raise InputError(name, type(e).__name__, "a scalar sympy expression", "pass entries one by one")
    if e.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.I):
        raise InputError(name, str(e), "real and finite constants", "remove infinities, nan and I")
    return e


def box_of(box: Mapping[Any, tuple[Any, Any]]) -> dict[Any, tuple[Interval, Interval]]:
    """Enclose the ends of a box.

    Args:
        box: for every symbol its lower and upper end; numbers, rationals or constant expressions, taken as they are.

    Returns:
        For every symbol the enclosures of its two ends.

    Raises:
        InputError: empty, not symbols with pairs, ends that depend on symbols, or ends in the wrong order.
        NonFiniteError: an end is infinite or no number.
    """
    import sympy

    if not isinstance(box, Mapping) or not box or not all(isinstance(s, sympy.Symbol) for s in box):
        raise InputError("box", str(box), "a dict of symbols to (low, high)", "pass for example {x: (0, 1)}")
    found = {}
    for symbol, pair in box.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError("box", f"{symbol}: {pair}", "a pair (low, high)", "pass for example {x: (0, 1)}")
        ends = [end if isinstance(end, sympy.Basic) else _exact(symbol, end) for end in pair]
        numbers = [_constant(symbol, end) for end in ends]
        if bool(ends[0] > ends[1]):
            raise InputError("box", f"{symbol}: {pair}", "low <= high", "exchange them")
        found[symbol] = (numbers[0], numbers[1])
    return found


def _exact(symbol: Any, end: Any) -> Any:
    import sympy

    if isinstance(end, Fraction):
        return sympy.Rational(end.numerator, end.denominator)
    try:
        value = end if isinstance(end, int) else float(end)
    except (TypeError, ValueError) as error:
        raise InputError(
            "box", f"{symbol}: {end!r}", "numbers", "pass floats, integers, fractions or sympy numbers"
        ) from error
    if not math.isfinite(value):
        raise NonFiniteError("box", f"{symbol}: {end}", "finite ends", "bound the box, or transform the variable")
    return sympy.Integer(value) if isinstance(value, int) else sympy.Rational(value)


def _constant(symbol: Any, end: Any) -> Interval:
    if end.free_symbols or not end.is_finite or not end.is_real:
        raise NonFiniteError("box", f"{symbol}: {end}", "finite real ends", "bound the box, or transform the variable")
    formulas = Formulas([])
    at = formulas.entry(end)
    found = formulas.run(())[at]
    if found is None or not found.finite:
        raise NonFiniteError("box", f"{symbol}: {end}", "ends that float64 encloses", "rescale the variable")
    return found
