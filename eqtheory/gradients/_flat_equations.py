"""Fixed-point equations whose operands are one flat list of tensors: the operator's own, its two linear ones, and mapped ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.errors import GradientUnavailableError
from eqtheory.gradients._captured import Captured
from eqtheory.gradients._reattach import AdjointRule
from eqtheory.nests import map_tensors, tensors
from eqtheory.operators._linearization import Linearization, Map

__all__ = ["Equation", "Linear", "Mapped", "Original", "Outcome"]

Bound = Callable[[Tensor], Tensor]
Outcome = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Value, status, steps, residual, evaluations."""


class Equation(ABC):
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
class Original(Equation):
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
        x, rest = self._formed(operands)

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
        x, rest = self._formed(operands)
        with self.captured.replaced(rest):
            return self.run(self.function, x, start)

    def _formed(self, operands: Sequence[Tensor]) -> tuple[Any, Sequence[Tensor]]:
        """The inputs in their form, and what stands for the captured tensors."""
        split = len(operands) - len(self.captured.tensors)
        given = iter(operands[:split])
        return map_tensors(lambda _: next(given), self.x), operands[split:]


@dataclass(frozen=True, eq=False)
class Linear(Equation):
    """One of the two linear equations, with operands `(b, y, ...)`.

    Args:
        of: the equation that is differentiated.
        transposed: whether it is the adjoint equation.
    """

    of: Equation
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
        return _alone(value)


@dataclass(frozen=True, eq=False)
class Mapped(Equation):
    """An equation with one more mapped axis, which has joined the batch.

    Args:
        of: the equation of one entry of that axis.
        dims: where the operands have the axis.
        size: its length.
    """

    of: Equation
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
        kind: Equation = self
        while isinstance(kind, Mapped):
            kind = kind.of
        if isinstance(kind, Original):
            return kind.run(lambda y, _: self.bind(operands)(y), None, start)
        return self._linear(kind, start, operands)

    def _linear(self, kind: Equation, start: Tensor, operands: Sequence[Tensor]) -> Outcome:
        """A mapped linear equation: its derivative is that of the mapped map, which is linear too."""
        function = self.bind(operands)
        zero = torch.zeros_like(start)
        b = function(zero)
        jacobian = Linearization(lambda w, _: function(w), zero, ())
        # The rule's tangent equation, u = b + A u with A the derivative of this affine map, is the equation itself.
        value = _required(kind.rule).tangent(jacobian, b)
        return _alone(value)


def _alone(value: Tensor) -> Outcome:
    """A solution whose account stands in a report."""
    nothing = torch.zeros(len(value), dtype=torch.int64, device=value.device)
    return value, nothing, nothing, nothing.to(value.dtype), nothing


def _required(rule: AdjointRule | None) -> AdjointRule:
    if rule is None:  # its operands came without derivatives
        raise GradientUnavailableError("this gradient differentiates a few steps, and never the solve")
    return rule
