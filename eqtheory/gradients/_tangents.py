"""Dual numbers of forward differentiation: seeing them, and computing without them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from torch import Tensor
from torch.autograd import Function, forward_ad
from torch.autograd.forward_ad import unpack_dual

from eqtheory.nests import map_tensors, tensors

__all__ = ["carries_tangent", "outer_tangents", "primal", "tangents_possible", "without_derivatives"]

T = TypeVar("T")


class _Plain(Function):
    """Both kinds of differentiation rest while the forward of a function runs."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[[], Any]) -> Any:  # noqa: ARG004
        return compute()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ARG004
        return None


def without_derivatives(compute: Callable[[], T]) -> T:
    """Compute with neither reverse nor forward differentiation, whatever the operands carry.

    Args:
        compute: what is to be computed.

    Returns:
        Its value.
    """
    return _Plain.apply(compute)  # type: ignore[no-untyped-call]


def tangents_possible() -> bool:
    """Whether forward differentiation is under way.

    Returns:
        True inside of `torch.autograd.forward_ad.dual_level`.
    """
    return forward_ad._current_level >= 0  # noqa: SLF001  (a dual level is announced nowhere else)


def outer_tangents() -> AbstractContextManager[None]:
    """Let the tangents of outer transforms live inside of a rule for forward differentiation.

    torch calls such rules with forward differentiation switched off, so that a second forward derivative would be lost, silently.

    Returns:
        The context.
    """
    return forward_ad._set_fwd_grad_enabled(True)  # noqa: SLF001, FBT003  (there is no other switch)


def carries_tangent(nest: Any) -> bool:
    """Whether a tensor of a nest is a dual number.

    Args:
        nest: tensors.

    Returns:
        True if one has a tangent.
    """
    return any(unpack_dual(t).tangent is not None for _, t in tensors(nest))  # type: ignore[no-untyped-call]


def primal(nest: T) -> T:
    """Strip the tangents.

    Args:
        nest: tensors.

    Returns:
        The same nest without tangents.
    """
    return map_tensors(_primal, nest)


def _primal(t: Tensor) -> Tensor:
    return unpack_dual(t).primal  # type: ignore[no-untyped-call]
