"""Sums of values, their multiples by constants, and the repetitions that broadcasting means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import NonFiniteError
from eqtheory.lipschitz.traced._call import Call
from eqtheory.lipschitz.traced._slopes import rounded_up
from eqtheory.lipschitz.traced._values import Affine, Leaf, Value
from eqtheory.validate import all_finite

__all__ = ["spread", "times", "total"]


def spread(call: Call, value: Value | Tensor, shape: tuple[int, ...]) -> Value | Tensor:
    """Broadcast: every entry is repeated `r` times, which costs `sqrt(r)` in l2, `r` in l1 and nothing in sup.

    Args:
        call: the call that broadcasts.
        value: a value or a constant.
        shape: the new shape.

    Returns:
        The value itself if it has that shape.
    """
    if isinstance(value, Tensor):
        return value.expand(shape)
    if value.shape == shape:
        return value
    r = math.prod(shape) / max(math.prod(value.shape), 1)
    gain = rounded_up(call.scope.of_norm(l2=r**0.5, l1=r, sup=1.0))

    def repeat(t: Tensor) -> Tensor:
        return t.expand(shape)

    return call.affine([value], repeat, repeat, lambda _: (gain,), shape=shape, is_complex=value.is_complex)


def times(call: Call, factor: Tensor | complex, value: Value | Tensor, shape: tuple[int, ...]) -> Value | Tensor:
    """A value times a constant, entry by entry.

    Args:
        call: the call that multiplies.
        factor: the constant, which broadcasts.
        value: the value.
        shape: shape of the product.

    Returns:
        The product.
    """
    if isinstance(value, Tensor):
        return (factor * value).expand(shape)
    if not isinstance(factor, Tensor) and factor == 1 and value.shape == shape:
        return value
    grown = spread(call, value, shape)
    assert not isinstance(grown, Tensor)  # noqa: S101  (a value stays a value)
    if not isinstance(factor, Tensor):
        gain = abs(factor)
    else:
        gain = math.inf if not all_finite(factor) else float(factor.abs().amax()) if factor.numel() else 0.0
    gain = rounded_up(gain)

    def scale(t: Tensor) -> Tensor:
        return factor * t

    kind = grown.is_complex or (factor.is_complex() if isinstance(factor, Tensor) else isinstance(factor, complex))
    return call.affine([grown], scale, scale, lambda _: (gain,), shape=shape, is_complex=kind)


def total(call: Call, terms: Sequence[Value | Tensor | complex], shape: tuple[int, ...]) -> Value:
    """A sum of values and constants.

    Args:
        call: the call that adds.
        terms: at least one of them a value.
        shape: shape of the sum; terms broadcast.

    Returns:
        The sum.

    Raises:
        NonFiniteError: a constant is not finite.
    """
    values = [spread(call, t, shape) for t in terms if isinstance(t, (Leaf, Affine))]
    constant: Any = 0.0
    for t in terms:
        if not isinstance(t, (Leaf, Affine)):
            constant = constant + t
    if not all_finite(torch.as_tensor(constant)):
        raise NonFiniteError(
            str(call.target), "a NaN or an infinity among its constants", "finite numbers", "repair it"
        )
    kept = [v for v in values if isinstance(v, (Leaf, Affine))]
    kind = any(v.is_complex for v in kept) or torch.as_tensor(constant).is_complex()

    def add(*tensors: Tensor) -> Tensor:
        return sum(tensors[1:], tensors[0])

    def add_all(*tensors: Tensor) -> Tensor:
        return add(*tensors) + constant

    return call.affine(kept, add_all, add, lambda _: (1.0,) * len(kept), shape=shape, is_complex=kind)
