r"""Ranges of activations and of their slopes on intervals: values at the ends, and the extrema between them.

A function that is monotone between finitely many known extrema takes its extreme values on an interval at its ends or at those extrema. The
extrema come from the equations in the table: `GELU'' = phi(x) (2 - x^2)` vanishes at `+-sqrt 2`; `SiLU'` is extreme where
`2 = x tanh(x/2)`, and `SiLU` is least where `x = -1 - e^x`. Slopes at kinks are those of both sides, which holds for Lipschitz maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.lipschitz.layers._activations import ACTIVATION_CONSTANTS, SOFTPLUS_THRESHOLD
from eqtheory.lipschitz.layers._own_forward import replaced_method
from eqtheory.roundoff import unit_roundoff

__all__ = ["SLACK", "Activation", "activation_of", "on"]

SLACK = 64 * unit_roundoff(torch.float64)
"""Granted to a value in units of `1 + |x|`, and to a slope: each is a handful of elementary functions of a few roundoffs each."""

_GELU_DIP, _GELU_LEAST = -0.7517915246935645, -0.1699712074799036
_GELU_STEEP = ACTIVATION_CONSTANTS["gelu"]
_SILU_DIP, _SILU_LEAST = -1.2784645427610738, -0.2784645427610738
_SILU_TURN, _SILU_STEEP = 2.3993572805154677, ACTIVATION_CONSTANTS["silu"]
Extrema = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Activation:
    """An activation as intervals see it.

    Args:
        value: the function.
        slope: its derivative; at a kink either side.
        extrema: places and values of its local extrema.
        slope_extrema: those of its derivative; for a jump the limits of both sides.
        exact: whether no elementary function is evaluated.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    extrema: Extrema = ()
    slope_extrema: Extrema = ()
    exact: bool = False


def on(function: Callable[[Tensor], Tensor], extrema: Extrema, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Range of a function between its extrema, before rounding.

    Args:
        function: monotone between neighbouring extrema.
        extrema: places and values; a place counts as inside when it is as near as its last digits.
        low: lower ends.
        high: upper ends.

    Returns:
        Smallest and largest values.
    """
    at_low, at_high = function(low), function(high)
    least, most = torch.minimum(at_low, at_high), torch.maximum(at_low, at_high)
    for place, value in extrema:
        near = 1e-12 * abs(place)  # the places are rounded; where nothing is near, a kink at zero stays a kink
        inside = (low < place + near) & (high > place - near) if place else (low < 0) & (high > 0)
        least = torch.where(inside, least.clamp_max(value), least)
        most = torch.where(inside, most.clamp_min(value), most)
    return least, most


def _ramp(slopes: tuple[float, ...], places: tuple[float, ...]) -> Activation:
    """A continuous piecewise linear function that is zero at zero or clamped, by its slopes between its kinks.

    Returns:
        The activation; its value is set by the caller's module.
    """
    extrema = tuple((p, s) for p, pair in zip(places, pairwise(slopes), strict=True) for s in pair)

    def slope(x: Tensor) -> Tensor:
        found = torch.full_like(x, slopes[0])
        for place, after in zip(places, slopes[1:], strict=True):
            found = torch.where(x > place, after, found)
        return found

    return Activation(lambda x: x, slope, slope_extrema=extrema, exact=True)


def _gaussian(x: Tensor) -> Tensor:
    return torch.special.ndtr(x) + x * torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _bell(x: Tensor) -> Tensor:
    """Derivative of the sigmoid, without cancellation.

    Returns:
        `s(x) s(-x)`.
    """
    return torch.sigmoid(x) * torch.sigmoid(-x)


def _softplus(layer: Any) -> Activation:
    beta = float(layer.beta)
    if beta <= 0:
        raise InputError("network", f"Softplus with beta={beta}", "beta > 0", "pass beta=1")
    if layer.threshold < SOFTPLUS_THRESHOLD:
        came = f"Softplus that becomes linear at {layer.threshold}, where it jumps"
        raise InputError("network", came, f"a threshold of at least {SOFTPLUS_THRESHOLD}", "take the default")
    return Activation(
        lambda x: x.clamp_min(0) + torch.log1p(torch.exp(-(beta * x).abs())) / beta, lambda x: torch.sigmoid(beta * x)
    )


def _elu(layer: Any) -> Activation:
    alpha = float(layer.alpha)
    if alpha < 0:
        raise InputError("network", f"ELU with alpha={alpha}", "alpha >= 0", "pass alpha=1")
    return Activation(
        lambda x: torch.where(x > 0, x, alpha * torch.expm1(x.clamp_max(0))),
        lambda x: torch.where(x > 0, 1.0, alpha * torch.exp(x.clamp_max(0))),
        slope_extrema=((0.0, alpha), (0.0, 1.0)),
    )


def _leaky(layer: Any) -> Activation:
    s = float(layer.negative_slope)
    ramp = _ramp((s, 1.0), (0.0,))
    return Activation(lambda x: torch.where(x > 0, x, s * x), ramp.slope, ((0.0, 0.0),), ramp.slope_extrema, exact=True)


def _hard(layer: Any) -> Activation:
    low, high = float(layer.min_val), float(layer.max_val)
    ramp = _ramp((0.0, 1.0, 0.0), (low, high))
    return Activation(lambda x: x.clamp(low, high), ramp.slope, (), ramp.slope_extrema, exact=True)


def _gelu(layer: Any) -> Activation:
    if layer.approximate != "none":
        raise InputError("network", f"GELU(approximate='{layer.approximate}')", "the exact GELU", "use GELU()")
    turns = ((math.sqrt(2), _GELU_STEEP), (-math.sqrt(2), 1 - _GELU_STEEP))
    return Activation(lambda x: x * torch.special.ndtr(x), _gaussian, ((_GELU_DIP, _GELU_LEAST),), turns)


def _silu(_layer: Any) -> Activation:
    turns = ((_SILU_TURN, _SILU_STEEP), (-_SILU_TURN, 1 - _SILU_STEEP))
    return Activation(
        lambda x: x * torch.sigmoid(x), lambda x: torch.sigmoid(x) + x * _bell(x), ((_SILU_DIP, _SILU_LEAST),), turns
    )


def _relu(_layer: Any) -> Activation:
    ramp = _ramp((0.0, 1.0), (0.0,))
    return Activation(torch.relu, ramp.slope, (), ramp.slope_extrema, exact=True)


_KINDS: dict[type[torch.nn.Module], Callable[[Any], Activation]] = {
    torch.nn.ReLU: _relu,
    torch.nn.LeakyReLU: _leaky,
    torch.nn.Hardtanh: _hard,
    torch.nn.ELU: _elu,
    torch.nn.Softplus: _softplus,
    torch.nn.SiLU: _silu,
    torch.nn.GELU: _gelu,
    torch.nn.Tanh: lambda _: Activation(torch.tanh, lambda x: 4 * _bell(2 * x), slope_extrema=((0.0, 1.0),)),
    torch.nn.Sigmoid: lambda _: Activation(torch.sigmoid, _bell, slope_extrema=((0.0, 0.25),)),
}


def activation_of(layer: torch.nn.Module) -> Activation | None:
    """Find what is known of an activation.

    Args:
        layer: a layer.

    Returns:
        The activation; `None` where it is none of the supported ones.
    """
    for kind, build in _KINDS.items():
        if isinstance(layer, kind) and replaced_method(layer, kind) is None:
            return build(layer)
    return None
