"""The adaptive relaxation of a map whose size and slope on balls are proved (T3, T3b)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Evidence
from eqtheory.constructions._radius import largest_radius
from eqtheory.constructions._relaxation import AdaptiveRelaxation
from eqtheory.constructions._rules import RelaxationRule
from eqtheory.errors import DomainError
from eqtheory.operators import OncePerInput
from eqtheory.targets import Target

__all__ = ["TargetRelaxation"]


@final
class TargetRelaxation(AdaptiveRelaxation):
    """The adaptive relaxation of a map whose size and slope on balls are known.

    `H(x, r) = 1 + sup + lip` from `target.ball_bounds` is a majorant of `h`: it grows with balls, is finite on small ones,
    and bounds size and slopes. T3 and T3b hold with it; `sigma` uses the size alone.

    Args:
        target: the map.
        rule: how the step follows from the radii.
        scale: the factor `c` of T3a.
    """

    def __init__(self, target: Target, *, rule: RelaxationRule, scale: float) -> None:
        super().__init__(
            rule=rule,
            scale=scale,
            output_norm=target.output_norm,
            input_metric=target.input_norm,
            evidence=Evidence.PROVED,
        )
        self.represented = target
        self._value_error = OncePerInput(target.evaluation_error)

    def target(self, x: Tensor) -> Tensor:
        """Evaluate the represented map.

        Args:
            x: inputs in the map's domain.

        Returns:
            `F(x)`.
        """
        return self.represented(x)

    def value_error(self, x: Tensor) -> Tensor:
        """Bound the evaluation error of the represented map.

        Args:
            x: inputs in the map's domain.

        Returns:
            Bound in the output norm, shape `(batch,)`.
        """
        return self._value_error(x)

    def radii(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Find both radii by bisection of the proved bound.

        Args:
            x: inputs in the map's domain.

        Returns:
            `rho` and `sigma`, float64, each of shape `(batch,)`.

        Raises:
            DomainError: no radius is admissible at a sample: the map is not locally Lipschitz there, or too steep for float64.
        """
        wide = x.double()

        def tame(r: Tensor) -> Tensor:
            size, slope = self.represented.ball_bounds(wide, r)
            return r * (1 + size + slope) <= 1

        def small(r: Tensor) -> Tensor:
            return r * (1 + self.represented.ball_bounds(wide, r)[0]) <= 1

        one_each = wide.reshape(wide.shape[0], -1)[:, 0]
        rho, sigma = largest_radius(tame, one_each), largest_radius(small, one_each)
        if not bool((rho > 0).all()):
            i = int((rho <= 0).nonzero()[0])
            raise DomainError(
                "x",
                f"sample {i} = {x[i].tolist()}",
                "a point where the map is tame on some ball",
                "move away from the singularity",
            )
        return rho, torch.maximum(sigma, rho)
