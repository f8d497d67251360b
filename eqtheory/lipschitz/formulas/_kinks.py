"""Absolute values and extrema with derivatives that take one side of a kink: `|u|' = u'` where `u > 0`, `-u'` where `u < 0`.

`Branch(u, p, q)` is `p` where `u > 0`, `q` where `u < 0`, and between the two where `u = 0`: by the chain rule of Clarke's calculus the
generalized derivatives of a continuous formula with such kinks lie in the convex hull of the derivatives of its branches. All
entries of one Jacobian that hang on the same `u` take the same side, which intervals for each entry would forget.

This module needs sympy when it is imported; others import it where they use it.

References:
    F. H. Clarke, Optimization and Nonsmooth Analysis, Wiley 1983, Theorems 2.3.7 (mean values), 2.3.10 and 2.6.6 (chain rules).
"""

from __future__ import annotations

from typing import Any

import sympy

__all__ = ["Absolute", "Branch", "Jump", "Larger", "Smaller", "with_sides"]


class Branch(sympy.Function):  # type: ignore[misc]
    """`Branch(u, p, q)`: `p` where `u > 0` and `q` where `u < 0`."""

    nargs = 3

    def _eval_derivative(self, symbol: Any) -> Any:
        u, p, q = self.args
        return _branch(u, p.diff(symbol), q.diff(symbol))


def _branch(u: Any, p: Any, q: Any) -> Any:
    return p if p == q else Branch(u, p, q)


class Absolute(sympy.Function):  # type: ignore[misc]
    """Absolute value."""

    nargs = 1

    def _eval_derivative(self, symbol: Any) -> Any:
        (u,) = self.args
        slope = u.diff(symbol)
        return _branch(u, slope, -slope)


class Larger(sympy.Function):  # type: ignore[misc]
    """The larger of two values."""

    nargs = 2

    def _eval_derivative(self, symbol: Any) -> Any:
        a, b = self.args
        return _branch(a - b, a.diff(symbol), b.diff(symbol))


class Smaller(sympy.Function):  # type: ignore[misc]
    """The smaller of two values."""

    nargs = 2

    def _eval_derivative(self, symbol: Any) -> Any:
        a, b = self.args
        return _branch(a - b, b.diff(symbol), a.diff(symbol))


class Jump(sympy.Function):  # type: ignore[misc]
    """The sign; its derivative is 0 away from the jump, and at the jump nothing is concluded from derivatives."""

    nargs = 1

    def _eval_derivative(self, symbol: Any) -> Any:  # noqa: ARG002  (sympy's signature)
        return sympy.Integer(0)


def _nested(kind: Any, arguments: tuple[Any, ...]) -> Any:
    first, *rest = sorted(arguments, key=sympy.default_sort_key)
    return first if not rest else kind(first, _nested(kind, tuple(rest)))


def with_sides(expression: Any) -> Any:
    """Write absolute values, extrema and signs as functions of this module.

    Args:
        expression: a sympy expression.

    Returns:
        An equal one.
    """
    return (
        expression.replace(sympy.Abs, Absolute)
        .replace(sympy.sign, Jump)
        .replace(sympy.Max, lambda *arguments: _nested(Larger, arguments))
        .replace(sympy.Min, lambda *arguments: _nested(Smaller, arguments))
    )
