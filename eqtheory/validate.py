"""Checks at the public entry points: finite, non-empty, the right shape; one line each when not."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError

__all__ = ["above_one", "all_finite", "batch_of", "count", "inside", "open_unit", "positive", "require_finite"]


def batch_of(name: str, value: Any, *, trailing: tuple[int | None, ...] | None = None) -> Tensor:
    """Require a non-empty batch of finite floating-point samples.

    Args:
        name: name of the argument, for the message.
        value: what came.
        trailing: required shape after the batch axis, `None` where any length will do; `None` for any shape.

    Returns:
        `value`, unchanged.

    Raises:
        InputError: not a floating-point tensor.
        ShapeError: no batch axis, an empty batch, or the wrong trailing shape.
        NonFiniteError: a NaN or an infinity, with the first offending sample.
    """
    if not isinstance(value, Tensor):
        raise InputError(name, type(value).__name__, "a torch.Tensor", "wrap it in torch.as_tensor(...)")
    if not value.dtype.is_floating_point:
        raise InputError(name, f"dtype {value.dtype}", "a floating-point tensor", "convert with .double()")
    if value.ndim == 0:
        raise ShapeError(name, "a tensor without axes", "a batch axis first", "use .unsqueeze(0)")
    if trailing is not None:
        wanted = "(batch" + "".join(f", {'*' if t is None else t}" for t in trailing) + ")"
        right = len(trailing) == value.ndim - 1 and all(
            t is None or t == size for t, size in zip(trailing, value.shape[1:], strict=True)
        )
        if not right:
            raise ShapeError(name, f"shape {tuple(value.shape)}", wanted, "reshape it, batch axis first")
    if value.numel() == 0:
        raise ShapeError(name, f"an empty batch of shape {tuple(value.shape)}", "at least one sample", "skip the call")
    if not all_finite(value):
        where = (~torch.isfinite(value)).nonzero()[0].tolist()
        bad = value[tuple(where)].item()
        raise NonFiniteError(name, f"{bad} at index {tuple(where)}", "finite numbers", "remove or repair that sample")
    return value


def all_finite(t: Tensor) -> bool:
    """Whether no entry is NaN or infinite; one pass and no storage where the type allows it.

    Args:
        t: any strided tensor.

    Returns:
        True where all are finite.
    """
    if t.dtype.is_complex or t.numel() == 0:
        return bool(torch.isfinite(t).all())
    low, high = torch.aminmax(t.detach())
    return low.item() > -torch.inf and high.item() < torch.inf  # false for NaN


def require_finite(name: str, t: Tensor, remedy: str) -> None:
    """Require finite entries.

    Args:
        name: name of the argument.
        t: any strided tensor.
        remedy: what to do.

    Raises:
        NonFiniteError: a NaN or an infinity, with where the first one stands.
    """
    if not all_finite(t):
        where = tuple((~torch.isfinite(t)).nonzero()[0].tolist())
        raise NonFiniteError(name, f"a NaN or an infinity at index {where}", "finite numbers", remedy)


def inside(name: str, x: Tensor, mask: Tensor, domain: str, remedy: str) -> None:
    """Require every sample to lie in a domain.

    Args:
        name: name of the argument.
        x: the inputs, batch axis first.
        mask: which samples are inside, shape `(batch,)`.
        domain: the domain in words.
        remedy: what to do with a sample outside.

    Raises:
        DomainError: with the first sample outside and its value.
    """
    if not bool(mask.all()):
        first = int((~mask).nonzero()[0])
        shown = x[first].tolist()
        text = f"{shown} at sample {first}"
        raise DomainError(name, text if len(text) < 120 else text[:117] + "...", domain, remedy)


def positive(name: str, value: float) -> float:
    """Require a finite positive number.

    Args:
        name: name of the argument.
        value: what came.

    Returns:
        `value`.

    Raises:
        InputError: zero, negative, NaN or infinite.
    """
    if not (value > 0 and math.isfinite(value)):
        raise InputError(name, str(value), "a finite number > 0", f"pass for example {name}=1.0")
    return value


def open_unit(name: str, value: float, *, include_one: bool = False) -> float:
    """Require a number in the open unit interval.

    Args:
        name: name of the argument.
        value: what came.
        include_one: whether 1 is allowed.

    Returns:
        `value`.

    Raises:
        InputError: outside.
    """
    if not (0 < value < 1 or (include_one and value == 1)):
        raise InputError(
            name, str(value), f"0 < {name} {'<=' if include_one else '<'} 1", f"pass for example {name}=0.5"
        )
    return value


def above_one(name: str, value: float, usual: float) -> float:
    """Require a number above one.

    Args:
        name: name of the argument.
        value: what came.
        usual: what to pass instead.

    Returns:
        `value`, unchanged.

    Raises:
        InputError: one or less, or NaN.
    """
    if not value > 1:
        raise InputError(name, str(value), "a number > 1", f"pass {name}={usual}")
    return value


def count(name: str, value: int, remedy: str) -> int:
    """Require an integer of at least one.

    Args:
        name: name of the argument.
        value: what came.
        remedy: what to pass instead.

    Returns:
        `value`, unchanged.

    Raises:
        InputError: less, or no integer.
    """
    if not (isinstance(value, int) and value >= 1):
        raise InputError(name, str(value), "an integer >= 1", remedy)
    return value
