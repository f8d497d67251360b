"""What a regular implicit operator promises: a contraction factor and a simplicity budget.

(R1) contractive in the state:  `|G(y1, x) - G(y2, x)| <= mu(x) |y1 - y2|` with `mu(x) < 1`, locally bounded away from 1.
(R2) simple in the input:       `|G(y, x) - G(y, x')| <= (L0 + L1 |y|) d(x, x')` for all `y`, `x`, `x'`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import Euclidean, Metric, Norm
from eqtheory.roundoff import Rounding, unit_roundoff

__all__ = ["Regularity"]


@dataclass(frozen=True)
class Regularity:
    """The constants of a regular operator and where they are known from.

    Args:
        mu: contraction factor; a `Bound` for one number, a `LocalBound` where it depends on the input.
        L0: simplicity budget at the zero state.
        L1: growth of the budget with the norm of the state.
        state_norm: norm on the states.
        input_metric: metric on the inputs.
        rounding: bound on the evaluation error, where one was worked out.

    Example:
        >>> print(Regularity.declared(mu=0.5, L0=1.0, L1=0.0).mu)
        <= 0.5 in l2 (upper bound, declared by the user: argument)
    """

    mu: Bound | LocalBound
    L0: Bound
    L1: Bound
    state_norm: Norm
    input_metric: Metric
    rounding: Rounding | None = None

    def __post_init__(self) -> None:
        for name, budget in (("L0", self.L0), ("L1", self.L1)):
            if not isinstance(budget, Bound):
                came, remedy = type(budget).__name__, "bound it over all inputs, or clip the state"
                raise InputError(name, came, "a Bound: (R2) holds with one budget for all inputs", remedy)
        for name, bound in (("mu", self.mu), ("L0", self.L0), ("L1", self.L1)):
            if bound.side is Side.LOWER:
                raise InputError(
                    name, bound.side.value, "an upper bound or an estimate", "a lower bound cannot certify an error"
                )
        for name, found in (("L0", self.L0), ("L1", self.L1), ("mu", self.mu)):
            if isinstance(found, Bound) and not isinstance(found.value, (int, float, Fraction, Tensor)):
                raise InputError(name, repr(found.value), "a number", "pass for example 0.5")
        for name, constant in (("L0", self.L0.value), ("L1", self.L1.value)):
            if not constant >= 0:
                raise InputError(name, str(constant), "a number >= 0", "a budget is a Lipschitz constant")
        if isinstance(self.mu, Bound) and not _all_between_zero_and_one(self.mu.value):
            raise InputError(
                "mu", str(self.mu.value), "0 <= mu < 1", "an operator that does not contract is not regular"
            )

    @staticmethod
    def declared(
        *, mu: float, L0: float, L1: float, state_norm: Norm | None = None, input_metric: Metric | None = None
    ) -> Regularity:
        """Take the user's word for the three constants.

        Args:
            mu: contraction factor, `0 <= mu < 1`.
            L0: budget at the zero state.
            L1: growth of the budget with the norm of the state.
            state_norm: norm on the states; Euclidean by default.
            input_metric: metric on the inputs; Euclidean by default.

        Returns:
            A `Regularity` whose bounds are labelled declared.
        """
        norm = state_norm or Euclidean()

        def bound(value: float) -> Bound:
            return Bound(value, Side.UPPER, method="argument", evidence=Evidence.DECLARED, norm=norm.name)

        return Regularity(bound(mu), bound(L0), bound(L1), norm, input_metric or Euclidean())

    def factors(self, x: Any, batch: int) -> Tensor:
        """Evaluate the contraction factor at inputs, from above.

        A factor that is computed is a rounded number, often of a few operations on quantities of size one: it is raised by 16 unit
        roundoffs of its own type, and what rounding left below zero by no more than that is zero. Where it is NaN, as at an input that
        holds one, nothing is known, which is an infinite factor: the sample's neighbours keep theirs.

        Args:
            x: a batch of inputs.
            batch: how many.

        Returns:
            float64, shape `(batch,)`, on the device where the factor was evaluated.

        Raises:
            InputError: a factor is negative.
            ShapeError: neither one factor nor one for each sample.
        """
        came = self.mu.at(x)
        if not isinstance(came, Tensor):
            came = torch.tensor(float(came), dtype=torch.float64)
        if came.numel() != 1 and came.shape != (batch,):
            raise ShapeError(
                "mu(x)", f"shape {tuple(came.shape)}", f"one number or shape ({batch},)", "return one mu per sample"
            )
        room = 16 * (unit_roundoff(came.dtype) if came.dtype.is_floating_point else 0.0)
        value = came.detach().to(torch.float64).reshape(-1).nan_to_num(torch.inf, torch.inf)
        if bool((value < -room).any()):
            worst = int((value < -room).nonzero()[0])
            remedy = "a contraction factor is a Lipschitz constant; correct the function that computes it"
            raise InputError("mu(x)", f"{float(value[worst])} at sample {worst}", "a number >= 0", remedy)
        return (value.clamp_min(0.0) + room).expand(batch)


def _all_between_zero_and_one(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(((value >= 0) & (value < 1)).all())
    return bool(0 <= value < 1)
