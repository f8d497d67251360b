"""The adaptive relaxation of any callable: contraction is exact, the budget is an estimate and says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Evidence
from eqtheory.constructions._finite_radii import exact_ball_radii
from eqtheory.constructions._relaxation import AdaptiveRelaxation
from eqtheory.constructions._rules import RadiusProduct, RelaxationRule
from eqtheory.errors import InputError, NonFiniteError
from eqtheory.norms import Euclidean, Norm, slopes_of
from eqtheory.validate import batch_of

__all__ = ["EstimatedRelaxation", "estimated_relaxation"]


@final
class EstimatedRelaxation(AdaptiveRelaxation):
    """The adaptive relaxation of any callable; the radii come from a finite cloud, so the budget is an estimate.

    A supremum over a cloud is at most the supremum over the ball, so the radii are never smaller than the true ones: steps can
    be too long, never too short. Contraction is exact all the same. The same offsets serve every input, so the step is a
    function of the input alone.

    Args:
        function: the map, batch axis first.
        offsets: displacements of the cloud, shape `(m, ...)`, the trailing shape of the inputs.
        rule: how the step follows from the radii.
        scale: the factor `c` of T3a.
        input_norm: norm on the inputs.
        output_norm: norm on the values.
        contains: which points lie in the domain; all by default.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        offsets: Tensor,
        *,
        rule: RelaxationRule,
        scale: float,
        input_norm: Norm,
        output_norm: Norm,
        contains: Callable[[Tensor], Tensor] | None,
    ) -> None:
        super().__init__(
            rule=rule, scale=scale, output_norm=output_norm, input_metric=input_norm, evidence=Evidence.ESTIMATED
        )
        # How exactly the callable is evaluated nobody knows, so no evaluation error is declared and certificates say so.
        known = self.regularity
        if known is not None:
            self.regularity = replace(known, rounding=None)
        self.function = function
        self.offsets = batch_of("offsets", offsets)
        self.input_norm, self.output_norm = input_norm, output_norm
        self.contains = contains

    def target(self, x: Tensor) -> Tensor:
        """Evaluate the callable.

        Args:
            x: inputs, batch axis first.

        Returns:
            `F(x)`.

        Raises:
            NonFiniteError: the callable returned NaN or an infinity.
            InputError: it did not return one value per sample.
        """
        value = self.function(batch_of("x", x, trailing=tuple(self.offsets.shape[1:])))
        if value.shape[:1] != x.shape[:1]:
            raise InputError(
                "F(x)",
                f"shape {tuple(value.shape)}",
                f"{x.shape[0]} values, batch axis first",
                "return one value per sample",
            )
        if not bool(torch.isfinite(value).all()):
            i = int((~torch.isfinite(value)).reshape(x.shape[0], -1).any(dim=1).nonzero()[0])
            raise NonFiniteError(
                "F(x)", f"a non-finite value at sample {i} = {x[i].tolist()}", "finite values", "restrict the inputs"
            )
        return value

    def radii(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate both radii from the cloud around each input.

        Args:
            x: inputs, batch axis first.

        Returns:
            `rho` and `sigma`, each of shape `(batch,)`; never smaller than the true radii. Cost: `m` evaluations of the map
            and O(m^2) slopes per sample.

        Raises:
            NonFiniteError: the callable is not finite on the cloud.
        """
        batch, m = x.shape[0], self.offsets.shape[0] + 1
        moves = torch.cat([torch.zeros_like(self.offsets[:1]), self.offsets]).to(x)
        cloud = x.unsqueeze(1) + moves.unsqueeze(0)
        flat = cloud.flatten(0, 1)
        inside = torch.ones(batch * m, dtype=torch.bool, device=x.device)
        if self.contains is not None:
            inside = self.contains(flat)
        home = x.unsqueeze(1).expand_as(cloud).flatten(0, 1)
        # Points outside the domain are replaced by the centre, which adds nothing to any supremum.
        used = torch.where(inside.reshape(-1, *[1] * (flat.ndim - 1)), flat, home)
        values = self.function(used)
        if not bool(torch.isfinite(values).all()):
            i = int((~torch.isfinite(values)).reshape(batch, -1).any(dim=1).nonzero()[0])
            came = f"a non-finite value close to sample {i} = {x[i].tolist()}"
            raise NonFiniteError(
                "F(x)", came, "finite values on the cloud", "pass contains=... to keep it inside the domain"
            )
        gaps = self._all_pairs(self.output_norm, values, batch, m)
        distances = self._all_pairs(self.input_norm, used, batch, m)
        return exact_ball_radii(distances[:, 0], self.output_norm(values).reshape(batch, m), slopes_of(gaps, distances))

    @staticmethod
    def _all_pairs(norm: Norm, points: Tensor, batch: int, m: int) -> Tensor:
        rows = points.reshape(batch, m, *points.shape[1:])
        gap = rows.unsqueeze(2) - rows.unsqueeze(1)
        return norm(gap.flatten(0, 2)).reshape(batch, m, m)


def estimated_relaxation(
    function: Callable[[Tensor], Tensor],
    example: Tensor,
    *,
    generator: torch.Generator,
    cloud: int = 64,
    rule: RelaxationRule | None = None,
    scale: float = 1.0,
    input_norm: Norm | None = None,
    output_norm: Norm | None = None,
    contains: Callable[[Tensor], Tensor] | None = None,
) -> EstimatedRelaxation:
    """Relax any callable with steps estimated from samples; the result's budget says that it is an estimate.

    Args:
        function: the map, batch axis first.
        example: a batch of inputs; gives shape, dtype and device.
        generator: draws the cloud.
        cloud: points around each input, at distances spread over eight decades up to 1.
        rule: how the step follows from the radii; `RadiusProduct()` by default.
        scale: the factor `c` of T3a.
        input_norm: norm on the inputs; Euclidean by default.
        output_norm: norm on the values; Euclidean by default.
        contains: maps points to booleans; points outside the domain are left out of the cloud.

    Returns:
        The operator.

    Raises:
        InputError: a cloud of fewer than two points.

    Example:
        >>> x = torch.linspace(-1, 1, 5).double()
        >>> G = estimated_relaxation(torch.tanh, x, generator=torch.Generator().manual_seed(0))
        >>> G.regularity.L0.side.value
        'estimate'
    """
    if cloud < 2:
        raise InputError("cloud", str(cloud), "at least 2 points", "pass for example cloud=64")
    batch_of("example", example)
    shape = (cloud, *example.shape[1:])
    norm = input_norm or Euclidean()
    direction = torch.randn(shape, generator=generator, dtype=torch.float64)
    distance = 10.0 ** (-8 * torch.rand(cloud, generator=generator, dtype=torch.float64))
    unit = direction / norm(direction).reshape(-1, *[1] * (direction.ndim - 1))
    offsets = unit * distance.reshape(-1, *[1] * (direction.ndim - 1))
    return EstimatedRelaxation(
        function,
        offsets.to(example),
        rule=rule or RadiusProduct(),
        scale=scale,
        input_norm=norm,
        output_norm=output_norm or Euclidean(),
        contains=contains,
    )
