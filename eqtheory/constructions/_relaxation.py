"""`G(y, x) = y + eps(x) (F(x) - y)`: a map as the fixed point of a relaxation whose step adapts to how steep the map is (T3).

The form `y + eps (F - y)` returns `F` bit for bit at `y = F`, so the represented values are exact fixed points in floating
point too. Contraction is exact for any step, `|G(y1,x) - G(y2,x)| = (1 - eps(x)) |y1 - y2|`; what the choice of `eps` decides
is the simplicity budget.
"""

from __future__ import annotations

from abc import abstractmethod
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.constructions._rules import RelaxationRule
from eqtheory.errors import DomainError, GradientUnavailableError, InputError
from eqtheory.norms import Metric, Norm, Spectral, same_shape
from eqtheory.operators import ImplicitOperator, OncePerInput, Regularity
from eqtheory.roundoff import Rounding, unit_roundoff
from eqtheory.theorems.sufficiency import BUDGET

__all__ = ["AdaptiveRelaxation", "StepRelaxation", "check_scale"]

_EXACT_STEPS = "steps as in exact arithmetic, not rounded"


def check_scale(scale: Any) -> Any:
    """Require the factor `c` of T3a to lie in `(0, 1]`.

    Args:
        scale: what came.

    Returns:
        `scale`.

    Raises:
        InputError: outside.
    """
    if not 0 < scale <= 1:
        raise InputError(
            "scale", str(scale), "0 < scale <= 1", "scale = 1 is the step of T3; smaller is simpler and slower"
        )
    return scale


class StepRelaxation(ImplicitOperator):
    """The common part of all relaxations whose step depends on the input; concrete ones say what the step is.

    Args:
        L0: budget at the zero state.
        L1: growth of the budget with the norm of the state.
        output_norm: norm on the states.
        input_metric: metric on the inputs.
    """

    def __init__(self, *, L0: Bound, L1: Bound, output_norm: Norm, input_metric: Metric) -> None:
        # (R1) holds with equality for any step at all, so it is proved even where the radii are only estimated.
        # (R2) makes the step continuous, hence `mu`: in `(eps' - eps) y + eps F - eps' F' = G(y,x) - G(y,x')` let `y` grow in one
        # direction, `|eps - eps'| <= L1 d(x,x')`. That is known as far as the budget is.
        mu = LocalBound(
            lambda x: 1 - self.step(x),
            Side.EXACT,
            "relaxation",
            Evidence.PROVED,
            output_norm.name,
            semicontinuous=L1.side is not Side.ESTIMATE,
        )
        rounding = Rounding(relative=lambda x: 4 * self._spread(x), constant=self._constant_rounding)
        self.regularity = Regularity(mu, L0, L1, output_norm, input_metric, rounding)
        self._at = OncePerInput(self._step_and_value)

    @abstractmethod
    def relaxation(self, x: Tensor) -> Tensor:
        """Find the step, in whatever type it is known.

        Args:
            x: inputs, batch axis first.

        Returns:
            `eps(x)` in `(0, 1]`, shape `(batch,)`.
        """

    @abstractmethod
    def target(self, x: Tensor) -> Tensor:
        """Evaluate the represented map.

        Args:
            x: inputs, batch axis first.

        Returns:
            `F(x)`, shape `(batch, ...)`.
        """

    def value_error(self, x: Tensor) -> Tensor | float:  # noqa: ARG002  (stored values are exact)
        """Bound the evaluation error of the map itself.

        Args:
            x: inputs, batch axis first.

        Returns:
            Bound on the norm of the error of `target(x)`, shape `(batch,)` or 0.
        """
        return 0.0

    def _spread(self, x: Tensor) -> float:
        # Entrywise rounding errors of a matrix are bounded entry by entry: its spectral norm can be sqrt(min(m, n)) times larger.
        return sqrt(min(self._at(x)[1].shape[-2:])) if isinstance(self.norm, Spectral) else 1.0

    def _constant_rounding(self, x: Tensor) -> Tensor:
        # fl(y + eps (F - y)): F carries its own error; the difference, the product and the sum round once each. The first two act
        # on eps |F - y|, the last on |G| <= |y| + eps |F - y|: at most eps error(F) + u (4 eps |F| + 4 |y|) to first order in u.
        eps, value = self._at(x)
        return eps * (self.value_error(x) / unit_roundoff(value.dtype) + 4 * self._spread(x) * self.norm(value))

    def step(self, x: Tensor) -> Tensor:
        """Return the relaxation at the inputs.

        Args:
            x: inputs, batch axis first.

        Returns:
            `eps(x)` in `(0, 1]`, shape `(batch,)`.
        """
        return self._at(x)[0].clone()  # the kept one must not change under the caller's hands

    def _step_and_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(x, Tensor) and x.requires_grad and torch.is_grad_enabled():
            message = "x requires a gradient, but the step is found by bisection and carries none; detach x"
            raise GradientUnavailableError(message)
        value = self.target(x)
        with torch.no_grad():
            eps = self.relaxation(x).to(value.dtype)
        if not bool((eps > 0).all()):
            i = int((eps <= 0).nonzero()[0])
            came = f"sample {i} = {x[i].tolist()}, where the step underflows in {str(eps.dtype).removeprefix('torch.')}"
            raise DomainError(
                "x",
                came,
                "a point where the map is tame enough for a positive step",
                "use a wider type or a milder point",
            )
        return eps, value

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        eps, value = self._at(x)
        same_shape("y, F(x)", y, value)
        return y + eps.reshape(-1, *[1] * (y.ndim - 1)) * (value - y)

    def initial_state(self, x: Tensor) -> Tensor:
        """Start from zero.

        Args:
            x: inputs, batch axis first.

        Returns:
            Zeros of the shape of `F(x)`.
        """
        return torch.zeros_like(self._at(x)[1])


class AdaptiveRelaxation(StepRelaxation):
    """The common part of all adaptive relaxations; concrete ones say how radii are found.

    Args:
        rule: how the step follows from the radii.
        scale: the factor `c` of T3a, `0 < c <= 1`; the budget is `(2c, 2c)`.
        output_norm: norm on the states.
        input_metric: metric on the inputs.
        evidence: where the radii are known from; decides what the budget proves.
        assumptions: what the budget still rests on.
    """

    def __init__(
        self,
        *,
        rule: RelaxationRule,
        scale: float,
        output_norm: Norm,
        input_metric: Metric,
        evidence: Evidence,
        assumptions: tuple[str, ...] = (_EXACT_STEPS,),
    ) -> None:
        self.rule = rule
        self.scale = check_scale(scale)
        self.budget = BUDGET * float(scale)
        side = Side.ESTIMATE if evidence is Evidence.ESTIMATED else Side.UPPER
        budget = Bound(self.budget, side, rule.theorem, evidence, output_norm.name, assumptions)
        super().__init__(L0=budget, L1=budget, output_norm=output_norm, input_metric=input_metric)

    @abstractmethod
    def radii(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Find the radii on which the map is tame.

        Args:
            x: inputs, batch axis first.

        Returns:
            `rho` and `sigma`, each of shape `(batch,)`.
        """

    def relaxation(self, x: Tensor) -> Tensor:
        """Make the step from the radii.

        Args:
            x: inputs, batch axis first.

        Returns:
            `c rule(rho, sigma)`, shape `(batch,)`.
        """
        return self.scale * self.rule(*self.radii(x))
