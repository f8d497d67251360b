"""The upper side of a curve: the recursion of T4 and T4b at every sample.

The recursion `lambda_{t+1} <= a lambda_t + b lambda_0 + c (m lambda_t + L0 + L1 R_t)` holds on every ball around `x`, with `m = sup mu`
and `R_t = sup |y_t|` over the ball. Let its radius go to zero: `lambda_t` tends to the local modulus of `y_t` at `x`; `R_t` to
`|y_t(x)|`, since iterates are continuous where their moduli are finite; and `m` to `max(mu(x), limsup mu(x'))`, which is `mu(x)` if and
only if `mu` is upper semicontinuous there. Values of `mu` at the samples alone bound nothing: slopes at `x` come from pairs *near* `x`
(the trap of N1). So a factor that depends on the input has to say that it is semicontinuous, or there is no upper side; one that holds
uniformly need not.

Theorem: T4, T4b, N1.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from eqtheory.bounds import Bound, LocalBound, Side
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
        if constants is not None:  # no bound where the factor is not known, and no product of zero and infinity
            self._known = np.isfinite(constants[0])
            self._constants = (np.where(self._known, constants[0], 0.0), *constants[1:])
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
        for name, bound in zip(("mu", "L0", "L1"), bounds, strict=True):
            if why := _only_at_samples(bound):
                return UpperSide(None, batch, (f"no upper side: {name} {why}",))
        constants = (regularity.factors(x, batch).cpu().numpy(), *(_numbers(bound.at(x)) for bound in bounds[1:]))
        assumptions = [f"mu: {regularity.mu.evidence.value}"]
        assumptions += [
            f"{name}: {bound.evidence.value}" for name, bound in (("L0", regularity.L0), ("L1", regularity.L1))
        ]
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
            found.append(np.where(self._known, self._value * (1 + _ROUNDINGS * self._done * unit), np.inf))
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


def _only_at_samples(bound: Bound | LocalBound) -> str:
    """Why a constant says nothing of inputs next to a sample; empty where it does."""
    if isinstance(bound, LocalBound):
        if bound.semicontinuous:
            return ""
        return (
            "depends on the input and is not known to be upper semicontinuous, so it may be larger next to a sample; "
            "pass LocalBound(..., semicontinuous=True) if it is, or one number that holds everywhere"
        )
    if isinstance(bound.value, Tensor) and bound.value.ndim > 0:
        return "is one number per sample, which says nothing of inputs next to them; pass one number, or a LocalBound"
    return ""


def _numbers(value: Any) -> Any:
    return value.detach().to(torch.float64).cpu().numpy() if isinstance(value, Tensor) else float(value)
