"""The adjoint as a partial sum of the Neumann series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.gradients._equations import LinearEquation
from eqtheory.gradients._gradient import Gradient, euclidean_factor, surely_contracts
from eqtheory.gradients._reattach import AdjointRule
from eqtheory.gradients._report import AdjointLog, AdjointReport, OnAdjointFailure
from eqtheory.gradients._solve import AdjointSettings, euclidean, expansion, finite_cotangent, judged
from eqtheory.operators import ImplicitOperator
from eqtheory.operators._linearization import Linearization
from eqtheory.solvers import Picard, Status, Stop, certify

__all__ = ["Neumann"]


@final
@dataclass(frozen=True)
class Neumann(Gradient):
    """Replace the adjoint by `v + J^T v + ... + (J^T)^(terms - 1) v`.

    Within `mu^terms / (1 - mu) |v|` of the exact one. What the sum leaves of the equation is its next term, which is formed
    too: where that is not smaller than `v` and no contraction factor is known, the sum is no better than no gradient at all, and the
    failure is handled as `on_failure` says. Memory: one evaluation's graph. Second derivatives are refused.

    Args:
        terms: how many, at least 1; one term is `OneStep`.
        on_failure: what to do where the terms do not shrink.
        exact_up_to: largest dimension of the state in which `FALL_BACK` builds a dense matrix.

    Raises:
        InputError: an argument out of range.

    Theorem: T9.
    """

    terms: int = 10
    on_failure: OnAdjointFailure = OnAdjointFailure.RAISE
    exact_up_to: int = 256

    exact = False

    def __post_init__(self) -> None:
        if not (isinstance(self.terms, int) and self.terms >= 1):
            raise InputError("terms", str(self.terms), "an integer >= 1", "pass terms=10, or use OneStep()")
        if not isinstance(self.on_failure, OnAdjointFailure):
            raise InputError("on_failure", repr(self.on_failure), "an OnAdjointFailure", "pass OnAdjointFailure.RAISE")

    def rule(self, operator: ImplicitOperator, log: AdjointLog) -> AdjointRule:
        """Sum the series.

        Args:
            operator: what is known of the operator.
            log: receives the reports.

        Returns:
            The rule.
        """
        return _PartialSum(self, operator, log)


@final
class _PartialSum(AdjointRule):
    """The linear equations by partial sums."""

    def __init__(self, gradient: Neumann, operator: ImplicitOperator, log: AdjointLog) -> None:
        self._gradient, self._operator, self._log = gradient, operator, log

    def adjoint(self, jacobian: Linearization, v: Tensor) -> Tensor:
        return self._sum(jacobian, v, transposed=True)

    def tangent(self, jacobian: Linearization, dz: Tensor) -> Tensor:
        return self._sum(jacobian, dz, transposed=False)

    def _sum(self, jacobian: Linearization, b: Tensor, *, transposed: bool) -> Tensor:
        finite_cotangent(b, transposed=transposed)
        chosen = self._gradient
        mu = euclidean_factor(self._operator)
        equation = LinearEquation(jacobian, b, transposed=transposed, compacts=False, mu=mu)
        y, x = jacobian.y, jacobian.x
        total, term = b, b
        for k in range(chosen.terms):
            following = equation.product(term, y, x)
            equation.witnesses.along(term, following)
            term = following
            total = total + term if k < chosen.terms - 1 else total
        rest = term  # b + A total - total
        gauge = euclidean(b)
        residual, size = gauge(rest), gauge(b)
        known = surely_contracts(
            self._operator
        )  # in some norm, in which the terms shrink though Euclidean norms may grow at first
        shrinks = (residual < size) | ((size == 0) & (residual == 0)) | known
        status = torch.where(shrinks, Status.CONVERGED.value, Status.DIVERGED.value).to(torch.int8)
        expanding, radius = expansion(equation, total, shrinks & (not known))
        report = AdjointReport(
            status=torch.where(torch.isfinite(residual), status, Status.NON_FINITE.value).to(torch.int8),
            residual=residual,
            size=size,
            evaluations=torch.full_like(status, chosen.terms, dtype=torch.int64),
            error_bound=None if mu is None else certify(equation, equation.inputs, total),
            expanding=expanding,
            radius=radius,
            replacement=torch.zeros_like(status),
            method=f"Neumann({chosen.terms})",
        )
        settings = AdjointSettings(
            Picard(), Stop(), chosen.on_failure, expects_contraction=True, exact_up_to=chosen.exact_up_to
        )
        return judged(equation, total, report, settings, self._log)
