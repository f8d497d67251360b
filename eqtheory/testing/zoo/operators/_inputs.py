"""Operators that contract in the state and are not simple in the input, or not finite.

Two are steep in `x` where the state is large and still contract: with `u = x a(y)`, `G = y/2 + 1/4 tanh(u)` has `dG/dx = a/4` at
`x = 0`, while `dG/dy = 1/2 + 1/4 (u / cosh^2 u) a'/a` and `|u / cosh^2 u| < 0.45`. For `a = 1 + y^2` (`|a'/a| <= 1`) and
`a = e^|y|` (`|a'/a| = 1`) that is below 0.62.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqtheory.testing.zoo.operators._case import (
    ANY,
    HIDDEN,
    REFUTED,
    AuditCase,
    expected,
    normal,
    uniform,
    within_reach_of_zero,
)

__all__ = ["NOT_FINITE", "NOT_SIMPLE"]

_UNIT = ((-1.0, 1.0), (-1.0, 1.0))


def _drive(part: Callable[[Tensor], Tensor]) -> Callable[[], Any]:
    """Builder of `y/2 + part(x)`."""
    return lambda: lambda y, x: 0.5 * y + part(x)


def _steep_where_large(growth: Callable[[Tensor], Tensor]) -> Callable[[], Any]:
    return lambda: lambda y, x: 0.5 * y + 0.25 * torch.tanh(x * growth(y))


def _box(u: Tensor) -> Tensor:
    return 2 * u - 1


NOT_SIMPLE: tuple[AuditCase, ...] = (
    AuditCase(
        "steep like the square of the state",
        _steep_where_large(lambda y: 1 + y.square()),
        within_reach_of_zero(18, lambda u: 10.0 ** (8 * u)),
        expected(R2=REFUTED, gradient=ANY),
        "dG/dx is (1 + y^2)/4 at x = 0: no budget L0 + L1 |y| holds, and (R1) does.",
        domain=((-1e9, 1e9), (-1.0, 1.0)),
    ),
    AuditCase(
        "steep like an exponential of the state",
        _steep_where_large(lambda y: torch.exp(y.abs())),
        within_reach_of_zero(13, lambda u: 60 * u - 30),
        expected(R2=REFUTED, gradient=ANY),
        "dG/dx is e^|y|/4 at x = 0, which passes every budget at |y| = 30.",
        domain=((-30.0, 30.0), (-1.0, 1.0)),
    ),
    AuditCase(
        "sign of the input",
        _drive(torch.sign),
        within_reach_of_zero(12, _box),
        expected(R2=REFUTED, gradient=ANY),
        "N9: the derivative is zero wherever it exists, and inputs on both sides of zero are 2 apart.",
        domain=_UNIT,
        mu=0.5,
    ),
    AuditCase(
        "floor of the input",
        _drive(lambda x: torch.floor(4 * x) / 4),
        uniform(),
        expected(R2=REFUTED, gradient=ANY),
        "Jumps of 1/4 at every multiple of 1/4; the derivative is zero elsewhere.",
        domain=_UNIT,
        mu=0.5,
    ),
    AuditCase(
        "root of the input",
        _drive(lambda x: x.abs().sqrt()),
        within_reach_of_zero(18, _box),
        expected(R2=REFUTED, gradient=HIDDEN),
        "N4: sqrt|x| has infinite slope at zero, where automatic derivatives give NaN.",
        domain=_UNIT,
        mu=0.5,
    ),
)
"""Every operator here violates (R2), and contracts."""

NOT_FINITE: tuple[AuditCase, ...] = (
    AuditCase(
        "logarithm of a state that may be negative",
        lambda: lambda y, x: 0.1 * torch.log(y + 0.5) + x,
        uniform(),
        expected(finite=REFUTED, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "NaN for entries below -1/2, a quarter of all.",
        domain=_UNIT,
    ),
    AuditCase(
        "root of an input that may be negative",
        _drive(torch.sqrt),
        uniform(),
        expected(finite=REFUTED, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "NaN for negative inputs, and infinite slope at zero.",
        domain=_UNIT,
    ),
    AuditCase(
        "zero over zero at one input",
        _drive(lambda x: torch.sin(x) / x),
        normal(),
        expected(finite=HIDDEN, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "sin(x)/x is smooth, and its formula is NaN at exactly x = 0, which random inputs never are.",
        mu=0.5,
    ),
    AuditCase(
        "overflow",
        _drive(lambda x: torch.exp(800 * x)),
        uniform(),
        expected(finite=REFUTED, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "exp(800 x) leaves the range of float64 at x = 0.89.",
        domain=_UNIT,
    ),
)
"""Every operator here gives NaN or infinity somewhere in its domain."""
