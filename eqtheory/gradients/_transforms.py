r"""Fixed points under `torch.func`: `vmap`, `grad`, `jacrev`, `jacfwd`, `jvp` and what they compose to.

A solver looks at numbers, and inside of a transform there are none to be looked at. So the whole solve is one function of everything it
depends on, inputs and captured tensors alike, with its own rules:

- **reverse**: the adjoint `w` is the fixed point of `H(w; v, y, ...) = v + J^T w`, by the same function one level up; then `w` is
  multiplied by the derivative in the operands;
- **forward**: the tangent is the fixed point of `u -> dz + J u`, likewise;
- **vmap**: the mapped axis joins the batch, and the operator itself is mapped.

So every composition of transforms ends in solves on plain tensors. What is evaluated anew under a transform has no graph to keep,
so a product costs up to two evaluations more than outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from eqtheory.errors import InputError
from eqtheory.gradients._flat_equations import Equation, Linear, Mapped, Original, Outcome
from eqtheory.gradients._tangents import carries_tangent, outer_tangents, primal

__all__ = ["transformed", "under_transforms"]

_OUT_OF_REACH = (
    "G",
    "an operator that uses transformed tensors from elsewhere",
    "all of them in x, in parameters or in closures",
    "hand them to G through x, for example as a tuple (x, parameters)",
)


def transformed() -> bool:
    """Whether a transform of `torch.func` is under way.

    Returns:
        True inside of `vmap`, `grad`, `jvp` and their kind.
    """
    return torch._C._are_functorch_transforms_active()  # noqa: SLF001  (what torch.autograd.Function asks itself)


class _Solve(Function):
    """A fixed point as one function of everything it depends on."""

    generate_vmap_rule = False

    @staticmethod
    def forward(equation: Equation, start: Tensor, *operands: Tensor) -> Outcome:
        return equation.solve(start, operands)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        equation, _, *operands = inputs
        y, *others = output
        ctx.mark_non_differentiable(*others)
        ctx.save_for_backward(y, *operands)
        ctx.save_for_forward(y, *operands)
        ctx.equation = equation

    @staticmethod
    def backward(ctx: Any, v: Tensor, *_: Any) -> Any:
        y, *operands = ctx.saved_tensors
        w = _Solve.apply(Linear(ctx.equation, transposed=True), v, v, y, *operands)[0]  # type: ignore[no-untyped-call]
        wanted = [i for i in range(len(operands)) if ctx.needs_input_grad[2 + i]]
        function = _in_some(ctx.equation, y, operands, wanted)
        pull = torch.func.vjp(function, *(operands[i] for i in wanted))[1]
        gradients: list[Tensor | None] = [None] * len(operands)
        for i, gradient in zip(wanted, pull(w), strict=True):
            gradients[i] = gradient
        return None, None, *gradients

    @staticmethod
    def jvp(ctx: Any, _: None, start: Any, *tangents: Tensor | None) -> Any:  # noqa: ARG004
        y, *operands = primal(ctx.saved_tensors)
        given, moving = zip(*((i, t.contiguous()) for i, t in enumerate(tangents) if t is not None), strict=True)
        function = _in_some(ctx.equation, y, operands, given)
        # What is expanded can not be a dual number.
        at = tuple(operands[i].contiguous() for i in given)
        with outer_tangents():
            dz = torch.func.jvp(function, at, moving)[1]
            u = _Solve.apply(Linear(ctx.equation, transposed=False), dz, dz, y, *operands)[0]  # type: ignore[no-untyped-call]
        return u, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, equation: Equation, start: Tensor, *operands: Tensor) -> Any:
        size, at = info.batch_size, in_dims[1]
        first = start.movedim(at, 0) if at is not None else start.expand(size, *start.shape)
        shape = first.shape[:2]
        mapped = Mapped(equation, tuple(in_dims[2:]), size)
        flat = first.reshape(-1, *first.shape[2:]).clone()  # what is expanded can not be a dual number
        found = _Solve.apply(mapped, flat, *operands)  # type: ignore[no-untyped-call]
        return tuple(part.reshape(*shape, *part.shape[1:]) for part in found), (0,) * len(found)


def _in_some(equation: Equation, y: Tensor, operands: Sequence[Tensor], which: Sequence[int]) -> Callable[..., Tensor]:
    """The operator at fixed states as a function of some of its operands."""

    def function(*some: Tensor) -> Tensor:
        full = list(operands)
        for i, t in zip(which, some, strict=True):
            full[i] = t
        return equation.bind(full)(y)

    return function


def under_transforms(equation: Original, start: Tensor) -> Outcome:
    """Solve an equation inside of a transform.

    Args:
        equation: the equation.
        start: starting states.

    Returns:
        What was found; the value carries the derivatives of the equation.

    Raises:
        InputError: the operator uses tensors that are transformed and that could not be found.
        RuntimeError: from the operator itself.
    """
    try:
        operands = equation.operands()
        if equation.rule is None:
            operands = tuple(t.detach() for t in operands)
        found = _Solve.apply(equation, start, *operands)  # type: ignore[no-untyped-call]
        _refuse_hidden(equation, found[0])
    except RuntimeError as error:
        if "functorch" not in str(error).lower() and "batchedtensor" not in str(error).lower():
            raise
        raise InputError(*_OUT_OF_REACH) from error
    return found


def _refuse_hidden(equation: Original, value: Tensor) -> None:
    """Refuse an operator whose value still carries derivatives when everything that was found carries none.

    On its way down to plain tensors torch strips what a transform has wrapped, silently: a tensor that was not found would be a
    constant. So the operator is evaluated once more where the transform can be seen.

    Raises:
        InputError: it does.
    """
    plain = tuple(t.detach() for t in equation.operands())
    z: Tensor = equation.bind(plain)(value.detach())
    levels = torch._C._functorch  # noqa: SLF001  (there is no public way to an outer transform)
    while True:
        if not levels.is_batchedtensor(z) and (z.requires_grad or carries_tangent(z)):
            raise InputError(*_OUT_OF_REACH)
        if not levels.is_functorch_wrapped_tensor(z):
            return
        z = levels.get_unwrapped(z)
