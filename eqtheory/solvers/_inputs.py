"""What may enter a solve: finite inputs, a batch of states, an operator that maps states to states, and no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import GradientUnavailableError, InputError, ShapeError
from eqtheory.nests import tensors
from eqtheory.operators import FunctionOperator, ImplicitOperator
from eqtheory.validate import batch_of, require_finite

__all__ = ["first_value", "refuse_gradients", "starting_states"]


def starting_states(x: Any, y0: Any) -> Tensor:
    """Check the inputs and return the states to start from.

    Args:
        x: the inputs.
        y0: states.

    Returns:
        States of shape `(batch, ...)`, detached, with storage of their own.

    Raises:
        NonFiniteError: a NaN or an infinity in `x` or `y0`.
        ShapeError: an input tensor whose batch is not that of the states, or states without a batch.
        InputError: states that are no floating-point tensor.
    """
    for name, part in tensors(x):
        inexact = part.dtype.is_floating_point or part.dtype.is_complex
        if inexact and part.layout is torch.strided:
            require_finite(name, part, "repair that input")
    y = batch_of("y0", y0)
    if isinstance(x, Tensor) and (x.ndim == 0 or x.shape[0] != y.shape[0]):
        came = f"shape {tuple(x.shape)} for states of shape {tuple(y.shape)}"
        raise ShapeError("x", came, f"{y.shape[0]} samples along the first axis", "expand x to the batch of y0")
    return y.detach().clone(memory_format=torch.contiguous_format)


def refuse_gradients(G: Any, operator: ImplicitOperator, x: Any, y0: Any) -> None:
    """Refuse a call whose result would silently lack a gradient.

    Args:
        G: what the caller passed.
        operator: the operator made of it.
        x: the inputs.
        y0: the start.

    Raises:
        GradientUnavailableError: autograd is on and `x`, `y0` or a parameter of the module requires a gradient.
    """
    if not torch.is_grad_enabled():
        return
    candidates = [*tensors(x), *tensors(y0, "y0")]
    for module in (G, operator.function if isinstance(operator, FunctionOperator) else operator):
        if isinstance(module, torch.nn.Module):
            candidates += [(f"parameter {name} of G", parameter) for name, parameter in module.named_parameters()]
    for name, tensor in candidates:
        if tensor.requires_grad:
            raise GradientUnavailableError(_no_gradient(f"{name} requires a gradient"))


def first_value(operator: ImplicitOperator, x: Any, y: Tensor) -> Tensor:
    """Evaluate the operator for the first time and check that it is one.

    Runs in the caller's grad mode, so that parameters hidden in a closure show in the result.

    Args:
        operator: the operator.
        x: the inputs.
        y: states, shape `(batch, ...)`.

    Returns:
        `G(y, x)`, detached.

    Raises:
        ShapeError: the value has another shape than the states.
        InputError: another dtype or device, or `G` overwrote its argument.
        GradientUnavailableError: autograd is on and the value requires a gradient.
    """
    before = y.clone()
    g = operator(y, x)
    if not isinstance(g, Tensor) or g.shape != y.shape:
        came = f"shape {tuple(g.shape)}" if isinstance(g, Tensor) else type(g).__name__
        raise ShapeError("G(y, x)", came, f"the state's shape {tuple(y.shape)}", "an operator maps states to states")
    if (g.dtype, g.device) != (y.dtype, y.device):
        raise InputError(
            "G(y, x)",
            f"{g.dtype} on {g.device}",
            f"{y.dtype} on {y.device}, as the states",
            "cast inside G, or pass y0 so",
        )
    if not torch.equal(before, y):
        raise InputError(
            "G",
            "an operator that overwrites its argument y",
            "one that returns a new tensor",
            "replace in-place operations",
        )
    if g.requires_grad and torch.is_grad_enabled():  # an operator may return what it was given
        raise GradientUnavailableError(
            _no_gradient("G(y, x) requires a gradient, through a parameter or a captured tensor")
        )
    return g.detach()


def _no_gradient(why: str) -> str:
    return (
        f"eqtheory.solvers.fixed_point returns values without gradients, and {why}; "
        "use eqtheory.fixed_point, or call it under torch.no_grad()"
    )
