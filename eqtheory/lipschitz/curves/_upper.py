"""The upper side of a curve: the recursion of T4 and T4b at every sample.

On balls that shrink to `x` the suprema in `lambda_{t+1} <= a lambda_t + b lambda_0 + c (mu lambda_t + L0 + L1 R_t)` become values
at `x` (the iterates are continuous, and so is `mu`), so the recursion bounds the local modulus of `y_t` at `x`.

Theorem: T4, T4b.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from eqtheory.bounds import LocalBound, Side
from eqtheory.lipschitz.curves._block import Block
from eqtheory.norms import Norm
from eqtheory.operators import Regularity
from eqtheory.theorems.averaged_growth import averaged_step

__all__ = ["UpperSide"]

_ROUNDINGS = 64
"""Unit roundoffs a step that the bound is raised by, so that rounding in the lower side does not push it over."""

Constants = tuple[Any, Any, Any]


@final
class UpperSide:
    """The recursion at every sample; nothing where the constants are not known in these norms.

    Args:
        constants: `mu, L0, L1`, each a number or one per sample; `None` where there is no bound.
        batch: number of samples.
        assumptions: what it rests on, or why there is none.
    """

    def __init__(self, constants: Constants | None, batch: int, assumptions: tuple[str, ...]) -> None:
        self.assumptions = assumptions
        self._constants = constants
        self._value = np.zeros(batch)
        self._done = 0

    @staticmethod
    def of(regularity: Regularity | None, x: Any, block: Block, V0: Tensor, *, given: bool) -> UpperSide:
        """Begin.

        Args:
            regularity: what the operator promises.
            x: inputs.
            block: tangents, for their norm.
            V0: derivative of the start along them.
            given: whether the start was handed in.

        Returns:
            The recursion at `t = 0`.
        """
        batch = V0.shape[1]
        if regularity is None:
            return UpperSide(None, batch, ("no upper side: the operator declares no constants",))
        bounds = (regularity.mu, regularity.L0, regularity.L1)
        if any(bound.side not in (Side.UPPER, Side.EXACT) for bound in bounds):
            return UpperSide(None, batch, ("no upper side: the operator's constants are estimates",))
        metric = regularity.input_metric
        if not isinstance(metric, Norm) or metric != block.norm:  # by value: names do not tell weights apart
            why = f"no upper side: the operator's constants refer to {metric.name}, not {block.norm.name}"
            return UpperSide(None, batch, (why,))
        if bool((V0 != 0).any()):
            return UpperSide(None, batch, ("no upper side: the start depends on the input",))
        constants = tuple(_numbers(bound.at(x)) for bound in bounds)
        assumptions = [f"mu: {regularity.mu.evidence.value}", f"L0, L1: {regularity.L0.evidence.value}"]
        if isinstance(regularity.mu, LocalBound):
            assumptions.append("mu is upper semicontinuous in the input")
        if not given:
            assumptions.append("the start does not depend on the input (its derivative vanishes at the samples)")
        return UpperSide(constants, batch, tuple(assumptions))

    def along(self, states: list[Tensor], weights: list[tuple[float, float, float]], norm: Norm) -> Tensor | None:
        """Go through some steps.

        Args:
            states: the states that were stepped from.
            weights: of `y_t`, `y_0` and `G(y_t, x)` at these steps.
            norm: norm on the states.

        Returns:
            The bounds before each of the steps, float64, shape `(len(states), batch)`, or `None`.
        """
        if self._constants is None:
            return None
        mu, L0, L1 = self._constants
        count, batch = len(states), states[0].shape[0]
        sizes = norm(torch.cat(states)).to(torch.float64).reshape(count, batch).cpu().numpy()
        unit = torch.finfo(states[0].dtype).eps / 2
        found = []
        for size, (a, _, c) in zip(sizes, weights, strict=True):
            self._done += 1
            found.append(self._value * (1 + _ROUNDINGS * self._done * unit))
            _, self._value = averaged_step.sides(
                slope_after=0.0,
                kept=a * self._value,  # the start does not depend on the input, so its share adds nothing
                moved=c * self._value,
                weight=c,
                weighted_size=c * size,
                mu=mu,
                L0=L0,
                L1=L1,
            )
        return torch.as_tensor(np.stack(found), device=states[0].device)


def _numbers(value: Any) -> Any:
    return value.detach().to(torch.float64).cpu().numpy() if isinstance(value, Tensor) else float(value)
