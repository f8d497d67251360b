r"""Functions of one number: how steep they are between two limits, and between which limits their values lie.

Suprema of derivatives, rounded up. GELU: `Phi + x phi` is stationary at `sqrt(2)`, where it is `1.128905`; its tanh form has
the derivative `1.128994` at most, near 1.419; SiLU `1.099840` near 2.399; Mish `1.088499` near 1.492; hardswish 3/2 at 3; erf
`2 / sqrt(pi)` at 0; the logistic function 1/4 at 0. The rest have derivatives between -1 and 1, or monotone ones, whose
suprema are at the limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqtheory.lipschitz.layers._activations import ACTIVATION_CONSTANTS as CONSTANTS
from eqtheory.lipschitz.traced._call import UNTRACKED, Call, is_dependent
from eqtheory.lipschitz.traced._slopes import EVERYWHERE, rounded_up
from eqtheory.lipschitz.traced._sums import spread
from eqtheory.lipschitz.traced._values import Interval, Leaf, Value

__all__ = ["ACTIVATIONS", "SUPREMA"]

_UNIT: Interval = (-1.0, 1.0)
_BOX = "pass ranges=, or clamp what enters it"

SUPREMA: dict[str, tuple[float, Interval]] = {
    "tanh": (CONSTANTS["tanh"], _UNIT),
    "sigmoid": (CONSTANTS["sigmoid"], (0.0, 1.0)),
    "silu": (CONSTANTS["silu"], (-0.27846456, math.inf)),
    "mish": (CONSTANTS["mish"], (-0.30884342, math.inf)),
    "hardsigmoid": (CONSTANTS["hardsigmoid"], (0.0, 1.0)),
    "hardswish": (CONSTANTS["hardswish"], (-0.375, math.inf)),
    "sin": (1.0, _UNIT),
    "cos": (1.0, _UNIT),
    "atan": (1.0, (-1.5707963267948968, 1.5707963267948968)),
    "asinh": (1.0, EVERYWHERE),
    "erf": (1.1283791670955128, _UNIT),
    "erfc": (1.1283791670955128, (0.0, 2.0)),
    "log_sigmoid_forward": (1.0, (-math.inf, 0.0)),
    "softshrink": (CONSTANTS["softshrink"], EVERYWHERE),
}
"""Slope and limits of functions without parameters."""


def _fixed(call: Call) -> Any:
    slope, limits = SUPREMA[call.name]
    found = _made(call, slope, limits)
    return (found, UNTRACKED) if call.name == "log_sigmoid_forward" else found


def _operand(call: Call) -> Value:
    """The only operand that depends on the arguments.

    Returns:
        The operand.

    Raises:
        NotBoundedError: there are others, or it is complex.
    """
    operands = call.dependents()
    if len(operands) != 1 or not is_dependent(call.args[0]):
        raise call.refuse("has parameters that depend on the arguments", "use constants")
    if operands[0].is_complex:
        raise call.refuse("is applied to complex numbers", "apply it to .real and .imag, or to .abs()")
    return operands[0]


def _made(call: Call, slope: float, limits: Any = EVERYWHERE) -> Leaf:
    value = spread(call, _operand(call), call.shape)
    assert not isinstance(value, Tensor)  # noqa: S101  (a value stays a value)
    return call.leaf([slope * s for s in call.scope.slopes(value)], limits)


def _monotone(call: Call, function: Callable[[float], float], slope: float = 1.0) -> Leaf:
    """An increasing function: its limits are its values at the limits.

    Returns:
        The value.
    """
    value = _operand(call)

    def limits() -> Interval:
        low, high = (function(end) for end in call.scope.limits(value))
        return low - abs(low) * 1e-12, high + abs(high) * 1e-12  # a few roundings of the library function

    return _made(call, slope, limits)


def _relu(call: Call) -> Leaf:
    return _monotone(call, lambda v: max(v, 0.0))


def _gelu(call: Call) -> Leaf:
    slope = CONSTANTS["gelu" if call.named("approximate", "none") == "none" else "gelu_tanh"]
    return _made(call, slope, (-0.17004076, math.inf))


def _leaky(call: Call) -> Leaf:
    return _made(call, max(1.0, abs(float(call.named("negative_slope", 0.01)))))


def _prelu(call: Call) -> Leaf:
    return _made(call, max(1.0, float(call.args[1].abs().amax())))


def _elu(call: Call) -> Leaf:
    """`scale x` above zero, `scale alpha (exp(input_scale x) - 1)` below.

    Returns:
        The value.
    """
    alpha, scale = float(call.named("alpha", 1.0)), abs(float(call.named("scale", 1.0)))
    inner = 1 / alpha if call.name == "celu" else float(call.named("input_scale", 1.0))
    if inner < 0:
        raise call.refuse("grows exponentially below zero", "use a positive input_scale")
    return _made(call, rounded_up(scale * max(1.0, abs(alpha * inner))))


def _softplus(call: Call) -> Leaf:
    beta, threshold = float(call.named("beta", 1)), float(call.named("threshold", 20))
    if not (beta > 0 and threshold >= 20):
        raise call.refuse(f"jumps at its threshold {threshold}", "use beta > 0 and threshold >= 20")
    call.scope.assumptions.add("softplus is log(1 + exp(x)) also above its threshold")
    return _made(call, 1.0, (0.0, math.inf))


def _clamp(call: Call) -> Leaf:
    """Monotone, flat outside.

    Returns:
        The value.

    Raises:
        NotBoundedError: bounds that depend on the arguments.
    """
    names = ("min_val", "max_val") if call.name == "hardtanh" else ("min", "max")
    ends = []
    for name, absent in zip(names, EVERYWHERE, strict=True):
        bound = call.named(name)
        if is_dependent(bound):
            raise call.refuse("has bounds that depend on the arguments", "use minimum and maximum")
        t = torch.as_tensor(absent if bound is None else bound, dtype=torch.float64)
        ends.append((float(t.amin()), float(t.amax())))
    value = _operand(call)

    def limits() -> Interval:  # min(max(v, low), high), which grows with all three
        inside = zip(call.scope.limits(value), *ends, strict=True)
        low, high = (min(max(v, below), above) for v, below, above in inside)
        return low, high

    return _made(call, 1.0, limits)


def _abs(call: Call) -> Leaf:
    value = call.dependents()[0]
    scope = call.scope
    return call.leaf(scope.slopes(value), lambda: (0.0, rounded_up(scope.largest(value))))


def _threshold(call: Call) -> Leaf:
    if call.named("threshold") != call.named("value"):
        raise call.refuse("jumps at its threshold", "use the same value and threshold")
    return _monotone(call, lambda v: max(v, float(call.named("value"))))


# Steeper the further out: bounded where their arguments are.


def _within(call: Call, slope: Callable[[float, float], float], limits: Callable[[float, float], Interval]) -> Leaf:
    low, high = call.scope.limits(_operand(call))
    steepest = slope(low, high)
    if not math.isfinite(steepest):
        raise call.refuse("has slopes without bound where its argument has no limits", _BOX)
    a, b = limits(low, high)
    return _made(call, steepest * (1 + 1e-12), (a - abs(a) * 1e-12, b + abs(b) * 1e-12))


def _exp(call: Call) -> Leaf:
    def value(v: float) -> float:
        return math.exp(v) if v < 700 else math.inf

    return _within(call, lambda _, high: value(high), lambda low, high: (value(low), value(high)))


def _power(call: Call) -> Any:
    """`x^n` for whole numbers `n >= 1`, one for all entries or each its own: steepest where `|x|` is largest, `n |x|^(n - 1)`.

    Returns:
        The value.

    Raises:
        NotBoundedError: other exponents, or one that depends on the arguments.
    """
    base, exponent = call.args[:2]
    known = is_dependent(base) and not is_dependent(exponent)
    given = torch.as_tensor(exponent).reshape(-1).tolist() if known else []
    if not given or not all(isinstance(n, (int, float)) and n >= 1 and float(n).is_integer() for n in given):
        raise call.refuse("has slopes without bound at zero, or an exponent that is no positive integer", "use x ** n")
    whole = {int(n) for n in given}

    def limits(low: float, high: float) -> Interval:
        top = max(max(abs(low), abs(high)) ** n for n in whole)
        return (0.0 if all(n % 2 == 0 for n in whole) else -top, top)

    return _within(call, lambda low, high: max(n * max(abs(low), abs(high)) ** (n - 1) for n in whole), limits)


def _away_from_zero(
    slope: Callable[[float], float], limits: Callable[[float, float], Interval]
) -> Callable[[Call], Leaf]:
    """Rule of a function of positive numbers that is steepest at the smallest.

    Returns:
        The rule.
    """

    def rule(call: Call) -> Leaf:
        if call.scope.limits(_operand(call))[0] <= 0:
            raise call.refuse(
                "has slopes without bound at zero", "add a constant that keeps its argument away from zero"
            )
        return _within(call, lambda low, _: slope(low), limits)

    return rule


ACTIVATIONS: dict[str, Callable[[Call], Any]] = {
    **dict.fromkeys(SUPREMA, _fixed),
    "relu": _relu,
    "gelu": _gelu,
    "leaky_relu": _leaky,
    "_prelu_kernel": _prelu,
    **dict.fromkeys(("elu", "celu"), _elu),
    "softplus": _softplus,
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "hardtanh"), _clamp),
    "abs": _abs,
    "threshold": _threshold,
    "exp": _exp,
    "pow": _power,
    "sqrt": _away_from_zero(lambda low: 0.5 / math.sqrt(low), lambda low, high: (math.sqrt(low), math.sqrt(high))),
    "log": _away_from_zero(lambda low: 1 / low, lambda low, high: (math.log(low), math.log(high))),
    "rsqrt": _away_from_zero(lambda low: 0.5 * low**-1.5, lambda low, high: (high**-0.5, low**-0.5)),
    "reciprocal": _away_from_zero(lambda low: low**-2, lambda low, high: (1 / high, 1 / low)),
}
