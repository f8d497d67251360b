"""Gradients that differentiate a few steps from the fixed point instead of the equation: cheap, biased, and unchecked.

No adjoint is solved, so none can fail: at a fixed point that repels, or beyond T9a's threshold, they can point uphill and say nothing.
`gradient_bias` measures them against the exact gradient; `Neumann` looks at its own terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from eqtheory.gradients._gradient import Equilibrium, Gradient
from eqtheory.gradients._surrogate import surrogate
from eqtheory.validate import count, open_unit

__all__ = ["OneStep", "Phantom"]


@final
@dataclass(frozen=True)
class OneStep(Gradient):
    """Differentiate one evaluation at the fixed point, held fixed: the Jacobian-free gradient `v dG/dx`.

    The adjoint `w = (I - J^T)^{-1} v` is replaced by `v`. Whether that still descends is decided by T9a's threshold; `gradient_bias`
    measures it, and nothing here does. Memory: one evaluation's graph. Second derivatives are refused.

    Theorem: T9a.

    References:
        Wu Fung, Heaton, Li, McKenzie, Osher and Yin, JFB: Jacobian-free backpropagation for implicit networks, AAAI 2022.
    """

    exact = False

    def attach(self, equilibrium: Equilibrium) -> Tensor:
        """Give the fixed point the derivative of one evaluation.

        Args:
            equilibrium: what was found.

        Returns:
            The value with its place in the graph.
        """
        return surrogate(equilibrium.value, equilibrium.operator(equilibrium.value, equilibrium.x))


@final
@dataclass(frozen=True)
class Phantom(Gradient):
    """Differentiate a few relaxed steps from the fixed point, held fixed where they start.

    At a fixed point the adjoint is `relaxation * sum_{k < steps} ((1 - relaxation) I + relaxation J^T)^k v`, within
    `(1 - relaxation (1 - mu))^steps / (1 - mu) |v|` of the exact one. Memory: the graphs of `steps` evaluations. Second derivatives
    are refused.

    Args:
        steps: how many, at least 1.
        relaxation: `new = (1 - relaxation) old + relaxation G(old)`, in `(0, 1]`.

    Raises:
        InputError: an argument out of range.

    Theorem: T9.

    References:
        Geng, Zhang, Bai, Wang and Lin, On training implicit models, NeurIPS 2021, section 3.
    """

    steps: int = 5
    relaxation: float = 0.5

    exact = False

    def __post_init__(self) -> None:
        count("steps", self.steps, "pass steps=5, or use OneStep()")
        open_unit("relaxation", self.relaxation, include_one=True)

    def attach(self, equilibrium: Equilibrium) -> Tensor:
        """Give the fixed point the derivative of the steps.

        Args:
            equilibrium: what was found.

        Returns:
            The value with its place in the graph.
        """
        z = equilibrium.value
        for _ in range(self.steps):
            g = equilibrium.operator(z, equilibrium.x)
            z = g if self.relaxation == 1 else (1 - self.relaxation) * z + self.relaxation * g
        return surrogate(equilibrium.value, z)
