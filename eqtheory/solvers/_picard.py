"""Picard's iteration: `y_{t+1} = G(y_t, x)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from eqtheory.solvers._solver import Solver

__all__ = ["Picard"]


@final
@dataclass(frozen=True)
class Picard(Solver[None]):
    """Apply the operator again and again: `y_{t+1} = G(y_t, x)`.

    Errors shrink by `mu` a step, so `log(1/tol) / log(1/mu)` evaluations buy a factor `tol`. The iteration of which the
    growth theorems speak, and the one whose Lipschitz constant grows by at most one budget a step.

    Theorem: T1.

    References:
        Banach 1922.

    Example:
        >>> import torch
        >>> from eqtheory.solvers import fixed_point
        >>> fixed_point(lambda y, x: 0.5 * y + x, torch.ones(1), torch.zeros(1), solver=Picard()).value
        tensor([2.0000])
    """

    def averaging(self, t: int) -> tuple[float, float, float]:  # noqa: ARG002
        """Weights of step `t`.

        Args:
            t: the step, from 0.

        Returns:
            `(0, 0, 1)`: all weight on the operator's value.
        """
        return 0.0, 0.0, 1.0

    def init(self, y: Tensor) -> None:
        """Remember nothing.

        Args:
            y: starting states.
        """

    def step(self, state: None, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, None]:  # noqa: ARG002
        """Move to the operator's value.

        Args:
            state: nothing.
            y: current states.
            g: `G(y, x)`.
            active: which samples are still iterated.

        Returns:
            `g` itself.
        """
        return g, None
