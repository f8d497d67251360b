"""The value of a fixed point with the first derivative of something else, and no second one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.autograd import Function

from eqtheory.errors import GradientUnavailableError
from eqtheory.gradients._tangents import outer_tangents, primal

__all__ = ["refused", "surrogate"]

_REFUSAL = (
    "this gradient approximates the derivative of a fixed point, and the derivative of an approximation is not an approximation of the "
    "second derivative; use gradient=Implicit()"
)


class _Once(Function):
    """The first argument as something that depends on the second, in a way that refuses to be differentiated.

    Without the second one a constant gradient would need no derivative, and the one through the operator alone would pass for all.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, z: Tensor) -> Tensor:  # noqa: ARG004
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # noqa: ARG004
        raise GradientUnavailableError(_REFUSAL)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:  # noqa: ARG004
        raise GradientUnavailableError(_REFUSAL)


class _Surrogate(Function):
    """The first argument's value with the second one's derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, z: Tensor) -> Tensor:  # noqa: ARG004
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return None, _Once.apply(gradient, *ctx.saved_tensors)  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, _: None, tangent: Tensor) -> Any:
        with outer_tangents():
            return _Once.apply(primal(tangent), *primal(ctx.saved_tensors))  # type: ignore[no-untyped-call]


def surrogate(value: Tensor, z: Tensor) -> Tensor:
    """Return a value that is differentiated, once, as if it were another.

    Args:
        value: what is returned, to the bit.
        z: what is differentiated, the same shape.

    Returns:
        The value; its second derivatives are refused.
    """
    return _Surrogate.apply(value, z)  # type: ignore[no-untyped-call]


class _Refused(Function):
    """An identity that says at the first derivative why there is none."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, why: str, *on: Tensor) -> Tensor:  # noqa: ARG004
        ctx.why = why
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # noqa: ARG004
        raise GradientUnavailableError(ctx.why)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:  # noqa: ARG004
        raise GradientUnavailableError(ctx.why)


def refused(value: Tensor, on: Sequence[Tensor], why: str) -> Tensor:
    """Return a value whose derivative is refused.

    Args:
        value: what is returned, to the bit.
        on: what it would depend on.
        why: what the error says.

    Returns:
        The value.
    """
    return _Refused.apply(value, why, *on)  # type: ignore[no-untyped-call]
