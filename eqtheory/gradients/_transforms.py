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

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.autograd import Function

from eqtheory.errors import GradientUnavailableError, InputError
from eqtheory.gradients._captured import Captured
from eqtheory.gradients._linearization import Linearization, Map
from eqtheory.gradients._reattach import AdjointRule
from eqtheory.gradients._tangents import carries_tangent, outer_tangents, primal
from eqtheory.nests import map_tensors, tensors

__all__ = ["Original", "Outcome", "transformed", "under_transforms"]

_OUT_OF_REACH = (
    "G",
    "an operator that uses transformed tensors from elsewhere",
    "all of them in x, in parameters or in closures",
    "hand them to G through x, for example as a tuple (x, parameters)",
)

Bound = Callable[[Tensor], Tensor]
Outcome = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Value, status, steps, residual, evaluations."""


def transformed() -> bool:
    """Whether a transform of `torch.func` is under way.

    Returns:
        True inside of `vmap`, `grad`, `jvp` and their kind.
    """
    return torch._C._are_functorch_transforms_active()  # noqa: SLF001  (what torch.autograd.Function asks itself)


class _Equation(ABC):
    """A fixed-point equation whose operands are one flat list of tensors."""

    @abstractmethod
    def bind(self, operands: Sequence[Tensor]) -> Bound:
        """Fix the operands: what is left maps states to states."""

    @abstractmethod
    def solve(self, start: Tensor, operands: Sequence[Tensor]) -> Outcome:
        """Find the fixed point for plain tensors."""

    @property
    @abstractmethod
    def rule(self) -> AdjointRule | None:
        """How linear equations are solved; `None` where nothing is differentiated."""


@final
@dataclass(frozen=True, eq=False)
class Original(_Equation):
    """The equation `y = G(y, x)` itself.

    Args:
        function: the operator.
        x: a nest that gives the operands their form.
        captured: what the operator uses beside.
        run: solves it for plain tensors, given a function of the state and a start.
        how: solves linear equations.
    """

    function: Map
    x: Any
    captured: Captured
    run: Callable[[Map, Any, Tensor], Outcome]
    how: AdjointRule | None

    @property
    def rule(self) -> AdjointRule | None:
        """How linear equations are solved."""
        return self.how

    def operands(self) -> tuple[Tensor, ...]:
        """Everything the equation depends on.

        Returns:
            The tensors of `x`, then the captured ones.
        """
        return (*(t for _, t in tensors(self.x)), *self.captured.tensors)

    def bind(self, operands: Sequence[Tensor]) -> Bound:
        """Fix the operands.

        Args:
            operands: in the order of `operands()`.

        Returns:
            A map of states.
        """
        split = len(operands) - len(self.captured.tensors)
        given = iter(operands[:split])
        x, rest = map_tensors(lambda _: next(given), self.x), operands[split:]

        def G(y: Tensor) -> Tensor:
            with self.captured.replaced(rest):
                return self.function(y, x)

        return G

    def solve(self, start: Tensor, operands: Sequence[Tensor]) -> Outcome:
        """Solve it with the engine.

        Args:
            start: starting states.
            operands: plain tensors.

        Returns:
            What was found.
        """
        split = len(operands) - len(self.captured.tensors)
        given = iter(operands[:split])
        x = map_tensors(lambda _: next(given), self.x)
        with self.captured.replaced(operands[split:]):
            return self.run(self.function, x, start)


@dataclass(frozen=True, eq=False)
class _Linear(_Equation):
    """One of the two linear equations, with operands `(b, y, ...)`."""

    of: _Equation
    transposed: bool

    @property
    def rule(self) -> AdjointRule | None:
        return self.of.rule

    def bind(self, operands: Sequence[Tensor]) -> Bound:
        b, y, *rest = operands
        function = self.of.bind(rest)
        if self.transposed:
            pull = torch.func.vjp(function, y)[1]
            return lambda w: b + pull(w)[0]
        at = y.contiguous()
        return lambda u: b + torch.func.jvp(function, (at,), (u.contiguous(),))[1]

    def solve(self, start: Tensor, operands: Sequence[Tensor]) -> Outcome:  # noqa: ARG002
        b, y, *rest = operands
        jacobian = Linearization(lambda at, others: self.of.bind(others)(at), y, tuple(rest))
        rule = _required(self.rule)
        value = (rule.adjoint if self.transposed else rule.tangent)(jacobian, b)
        nothing = torch.zeros(len(b), dtype=torch.int64, device=b.device)
        return value, nothing, nothing, nothing.to(value.dtype), nothing


@dataclass(frozen=True, eq=False)
class _Mapped(_Equation):
    """An equation with one more mapped axis, which has joined the batch."""

    of: _Equation
    dims: tuple[int | None, ...]
    size: int

    @property
    def rule(self) -> AdjointRule | None:
        return self.of.rule

    def bind(self, operands: Sequence[Tensor]) -> Bound:
        def F(y: Tensor) -> Tensor:
            apart = y.reshape(self.size, -1, *y.shape[1:])
            mapped = torch.func.vmap(lambda at, *others: self.of.bind(others)(at), in_dims=(0, *self.dims))
            return mapped(apart, *operands).reshape(y.shape)

        return F

    def solve(self, start: Tensor, operands: Sequence[Tensor]) -> Outcome:
        kind: _Equation = self
        while isinstance(kind, _Mapped):
            kind = kind.of
        if isinstance(kind, Original):
            return kind.run(lambda y, _: self.bind(operands)(y), None, start)
        return self._linear(kind, start, operands)

    def _linear(self, kind: _Equation, start: Tensor, operands: Sequence[Tensor]) -> Outcome:
        """A mapped linear equation: its derivative is that of the mapped map, which is linear too."""
        function = self.bind(operands)
        zero = torch.zeros_like(start)
        b = function(zero)
        jacobian = Linearization(lambda w, _: function(w), zero, ())
        # The rule's tangent equation, u = b + A u with A the derivative of this affine map, is the equation itself.
        value = _required(kind.rule).tangent(jacobian, b)
        nothing = torch.zeros(len(b), dtype=torch.int64, device=b.device)
        return value, nothing, nothing, nothing.to(value.dtype), nothing


def _required(rule: AdjointRule | None) -> AdjointRule:
    if rule is None:  # its operands came without derivatives
        raise GradientUnavailableError("this gradient differentiates a few steps, and never the solve")
    return rule


class _Solve(Function):
    """A fixed point as one function of everything it depends on."""

    generate_vmap_rule = False

    @staticmethod
    def forward(equation: _Equation, start: Tensor, *operands: Tensor) -> Outcome:
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
        w = _Solve.apply(_Linear(ctx.equation, transposed=True), v, v, y, *operands)[0]  # type: ignore[no-untyped-call]
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
            u = _Solve.apply(_Linear(ctx.equation, transposed=False), dz, dz, y, *operands)[0]  # type: ignore[no-untyped-call]
        return u, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, equation: _Equation, start: Tensor, *operands: Tensor) -> Any:
        size, at = info.batch_size, in_dims[1]
        first = start.movedim(at, 0) if at is not None else start.expand(size, *start.shape)
        shape = first.shape[:2]
        mapped = _Mapped(equation, tuple(in_dims[2:]), size)
        flat = first.reshape(-1, *first.shape[2:]).clone()  # what is expanded can not be a dual number
        found = _Solve.apply(mapped, flat, *operands)  # type: ignore[no-untyped-call]
        return tuple(part.reshape(*shape, *part.shape[1:]) for part in found), (0,) * len(found)


def _in_some(equation: _Equation, y: Tensor, operands: Sequence[Tensor], which: Sequence[int]) -> Callable[..., Tensor]:
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
