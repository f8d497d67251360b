"""Krasnoselskii and Mann's averaged iteration: `y_{t+1} = (1 - eps) y_t + eps G(y_t, x)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.solvers._solver import Solver
from eqtheory.validate import open_unit

__all__ = ["KrasnoselskiiMann"]


@final
@dataclass(frozen=True)
class KrasnoselskiiMann(Solver[None]):
    """Average the operator's value with the current state: `new = (1 - eps) old + eps G(old, x)`.

    Converges in finite dimension for every nonexpansive `G` that has a fixed point, where Picard may circle, as on a rotation.
    For a contraction the averaged operator contracts by `1 - eps (1 - mu)`, which is slower. The stop test is that of `G`
    itself, so a small `eps` costs steps and not accuracy.

    Args:
        eps: relaxation, `0 < eps <= 1`; 1 is Picard.

    Raises:
        InputError: `eps` outside `(0, 1]`.

    References:
        Krasnoselskii 1955; Mann 1953.

    Example:
        >>> from eqtheory.solvers import fixed_point
        >>> fixed_point(lambda y, x: -y + x, torch.ones(1), torch.zeros(1), solver=KrasnoselskiiMann(0.5)).value
        tensor([0.5000])
    """

    eps: float

    def __post_init__(self) -> None:
        open_unit("eps", self.eps, include_one=True)

    def averaging(self, t: int) -> tuple[float, float, float]:  # noqa: ARG002
        """Weights of step `t`.

        Args:
            t: the step, from 0.

        Returns:
            `(1 - eps, 0, eps)`.
        """
        return 1 - self.eps, 0.0, self.eps

    def init(self, y: Tensor) -> None:
        """Remember nothing.

        Args:
            y: starting states.
        """

    def step(self, state: None, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, None]:  # noqa: ARG002
        """Move part of the way to the operator's value.

        Args:
            state: nothing.
            y: current states.
            g: `G(y, x)`.
            active: which samples are still iterated.

        Returns:
            `(1 - eps) y + eps g`.
        """
        return torch.lerp(y, g, self.eps), None
