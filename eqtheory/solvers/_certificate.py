"""How far is this state from the fixed point? T1's residual bound, in floating point.

    |y - y*|  <=  (|G(y,x) - y| + evaluation error) / (1 - mu(x))

holds at every state, whoever produced it. What is computed is not what stands there, so every term is replaced by an upper
bound of it:

- the residual: the computed norm is multiplied by `Gauge.inflation` and increased by `Gauge.underflow`;
- the evaluation error: the operator's declared `Rounding`. Without one it is taken as zero, and the bound says so;
- `mu`: it is a floating-point number, so it is raised by its rounding (`Regularity.factors`). Where that reaches one, nothing is known
  and the bound is infinite;
- the arithmetic of the bound itself happens in float64 and is increased by its own few roundings.
"""

from __future__ import annotations

from copy import copy
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Side
from eqtheory.operators import Regularity
from eqtheory.roundoff import gamma, unit_roundoff
from eqtheory.solvers._measure import Gauge
from eqtheory.theorems.banach import residual_bound

__all__ = ["Certificate"]

_EXACT_EVALUATION = "G is evaluated exactly (its regularity declares no rounding)"


@final
class Certificate:
    """T1's bound at the inputs of one solve.

    Args:
        regularity: what the operator promises.
        x: the inputs.
        y: states of the shape and dtype to come.
        gauge: how residuals are measured.
    """

    def __init__(self, regularity: Regularity, x: Any, y: Tensor, gauge: Gauge) -> None:
        self.regularity = regularity
        self.gauge = gauge
        self.mu = regularity.factors(x, len(y)).to(y.device)
        self.x = x
        self._dtype = y.dtype

    def take(self, keep: Tensor, x: Any) -> Certificate:
        """Restrict the bound to some samples.

        Args:
            keep: their indices, shape `(k,)`.
            x: their inputs.

        Returns:
            The certificate of those samples.
        """
        made = copy(self)
        made.mu, made.x = self.mu.index_select(0, keep), x
        return made

    @property
    def guaranteed(self) -> bool:
        """Whether the bound rests on a proved or declared `mu`, and not on an estimated one."""
        return self.regularity.mu.side is not Side.ESTIMATE

    def evaluation_error(self, state_norm: Tensor) -> Tensor | None:
        """Bound what rounding did inside the operator.

        Args:
            state_norm: computed norms of the states, shape `(batch,)`.

        Returns:
            Shape `(batch,)` in float64, or `None` where the operator declares nothing.
        """
        rounding = self.regularity.rounding
        if rounding is None:
            return None
        # The declaration counts unit roundoffs of the norm's dtype. It is read in float64, where its own arithmetic is
        # accurate, and then counted in those of the state; what `constant` and `relative` round is covered by the 16.
        upper = state_norm.double() * self.gauge.inflation + self.gauge.underflow
        counted = rounding.error(upper, self.x) / unit_roundoff(torch.float64)
        # Below the normal range an operation errs absolutely, by at most half the smallest subnormal number of the state's type.
        limits = torch.finfo(self._dtype)
        subnormal = 64 * self.gauge.entries**0.5 * limits.tiny * limits.eps
        return counted.double() * unit_roundoff(self._dtype) * (1 + 16 * unit_roundoff(self._dtype)) + subnormal

    def error(self, residual: Tensor, state_norm: Tensor) -> Tensor:
        """Bound the distance to the fixed point.

        Args:
            residual: computed norms of `G(y, x) - y`, shape `(batch,)`.
            state_norm: computed norms of `y`, shape `(batch,)`.

        Returns:
            Shape `(batch,)` in float64; infinite where `mu` is not below one or the residual is not finite.
        """
        upper = residual.double() * self.gauge.inflation + self.gauge.underflow
        evaluation = self.evaluation_error(state_norm)
        _, bound = residual_bound.sides(
            error=0, mu=self.mu, residual=upper, evaluation_error=0 if evaluation is None else evaluation
        )
        # Inflation, sum, difference, quotient and the product of this line, twice over.
        bound = bound * (1 + gamma(10, torch.float64))
        return torch.where((self.mu < 1) & (bound < torch.inf), bound, torch.inf)

    def bound(self, residual: Tensor, state_norm: Tensor) -> Bound:
        """Label the bound with what it rests on.

        Args:
            residual: computed norms of `G(y, x) - y`, shape `(batch,)`.
            state_norm: computed norms of `y`, shape `(batch,)`.

        Returns:
            An upper bound with the evidence of `mu`, or an estimate where `mu` is one.
        """
        mu = self.regularity.mu
        inherited = mu.assumptions if isinstance(mu, Bound) else ()
        own = (_EXACT_EVALUATION,) if self.regularity.rounding is None else ()
        return Bound(
            self.error(residual, state_norm),
            Side.UPPER if self.guaranteed else Side.ESTIMATE,
            method="T1 residual bound",
            evidence=mu.evidence,
            norm=self.gauge.norm.name,
            assumptions=(*inherited, *own),
        )
