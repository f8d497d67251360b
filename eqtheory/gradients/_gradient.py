"""What every rule for the derivative of a fixed point is handed, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from eqtheory.bounds import Bound, LocalBound, Side
from eqtheory.gradients._captured import Captured
from eqtheory.gradients._reattach import AdjointRule, reattach
from eqtheory.gradients._report import AdjointLog
from eqtheory.gradients._surrogate import surrogate
from eqtheory.norms import Euclidean
from eqtheory.operators import ImplicitOperator
from eqtheory.solvers import Solver

__all__ = ["Equilibrium", "Gradient", "euclidean_factor", "surely_contracts"]


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A fixed point that was found without autograd.

    Args:
        operator: the operator, on states of one tensor.
        x: its inputs, as they came, with their gradients.
        value: the fixed point, shape `(batch, ...)`, detached.
        steps: steps that every sample took, int64, shape `(batch,)`.
        longest: the largest of them.
        solver: took them.
        start: where they began, as it came.
        log: receives the reports of adjoint solves.
    """

    operator: ImplicitOperator
    x: Any
    value: Tensor
    steps: Tensor
    longest: int
    solver: Solver[Any]
    start: Tensor
    log: AdjointLog


class Gradient:
    """A rule for the derivative of a fixed point.

    Laws: the value is that of the solve, to the bit, or, where the solve itself is differentiated, that of the same iteration; an
    exact rule is exact for every derivative that is carried; what is not carried is refused, never zero.
    """

    exact: bool = True
    """Whether the derivative is that of what is returned, up to the tolerance of its solve."""
    uses_start: bool = False
    """Whether the start carries a gradient too."""

    def rule(self, operator: ImplicitOperator, log: AdjointLog) -> AdjointRule | None:  # noqa: ARG002
        """Return how the linear equations are solved, for the rules that solve any.

        Args:
            operator: what is known of the operator.
            log: receives the reports.

        Returns:
            The rule, or `None` where the derivative is that of ordinary operations.
        """
        return None

    def attach(self, equilibrium: Equilibrium) -> Tensor:
        """Give the fixed point its derivative: that of the implicit function theorem, its linear equations solved by the rule.

        Args:
            equilibrium: what was found.

        Returns:
            The value with its place in the graph, shape `(batch, ...)`; differentiated once where the rule is not exact.

        Raises:
            NotImplementedError: a gradient that solves no linear equation has to say how it attaches.
        """
        rule = self.rule(equilibrium.operator, equilibrium.log)
        if rule is None:
            raise NotImplementedError(type(self).__name__)
        # Captured tensors that are no leaves have a life of their own in the graph: they become operands.
        captured = Captured(equilibrium.operator)
        given = tuple(t for t in captured.tensors if t.grad_fn is not None)

        def function(y: Tensor, nest: Any) -> Tensor:
            x, others = nest
            if not given:
                return equilibrium.operator(y, x)
            instead = iter(others)
            with captured.replaced([next(instead) if t.grad_fn is not None else t for t in captured.tensors]):
                return equilibrium.operator(y, x)

        value = reattach(function, equilibrium.value, (equilibrium.x, given), rule)
        return value if self.exact else surrogate(equilibrium.value, value)


def euclidean_factor(operator: ImplicitOperator) -> Bound | LocalBound | None:
    """A bound on the Euclidean norm of `dG/dy`, where one is known: then it bounds that of the transpose too.

    Args:
        operator: the operator.

    Returns:
        Its contraction factor if that is measured in the Euclidean norm.
    """
    known = operator.regularity
    return known.mu if known is not None and isinstance(known.state_norm, Euclidean) else None


def surely_contracts(operator: ImplicitOperator) -> bool:
    """Whether a contraction factor is proved or declared, in whatever norm: the spectral radius of `dG/dy` is below one then.

    Args:
        operator: the operator.

    Returns:
        True where it is.
    """
    return operator.regularity is not None and operator.regularity.mu.side is not Side.ESTIMATE
