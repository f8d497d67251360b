"""One call from a map to a regular operator that computes it: tables, known maps, and callables (T3, T3a, T3b)."""

from __future__ import annotations

from collections.abc import Callable
from typing import final, overload

import torch
from torch import Tensor

from eqtheory.bounds import Evidence
from eqtheory.constructions._finite_radii import exact_ball_radii
from eqtheory.constructions._relaxation import AdaptiveRelaxation
from eqtheory.constructions._rules import RadiusProduct, RelaxationRule
from eqtheory.constructions._tables import ExactBalls, SlopeMajorant, TableRadii, TableRelaxation
from eqtheory.errors import DomainError, InputError, NonFiniteError
from eqtheory.norms import Euclidean, Norm, slopes_of
from eqtheory.operators import OncePerInput
from eqtheory.targets import SampleTable, Target
from eqtheory.validate import batch_of

__all__ = ["EstimatedRelaxation", "TargetRelaxation", "adaptive_relaxation", "estimated_relaxation", "largest_radius"]

_EXACT_UP_TO = 1500
"""Rows up to which the default finds every ball exactly (a few seconds); beyond, the majorant."""

_INT64_OF_ONE = 0x3FF0000000000000
"""Bit pattern of 1.0 in float64: positive doubles are ordered as their patterns are."""


def largest_radius(admissible: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Bisect for the largest admissible radius in `(0, 1]`, to the last bit.

    Positive floating-point numbers are ordered like the integers that encode them, so bisecting the encodings takes 62
    halvings whatever the scale of the answer, where bisecting the interval would lose small radii altogether.

    Args:
        admissible: maps radii, shape `(batch,)`, to booleans of that shape; true up to some radius and false beyond.
        like: a tensor of shape `(batch,)` that gives batch size and device.

    Returns:
        The largest float64 radius found admissible, shape `(batch,)`; zero where none is.
    """
    low = torch.zeros(like.shape, dtype=torch.int64, device=like.device)
    high = torch.full_like(low, _INT64_OF_ONE + 1)
    for _ in range(62):
        middle = (low + high) // 2
        # The pattern just above 1.0 is a search fence, never a radius.
        good = (
            admissible(middle.clamp_max(_INT64_OF_ONE).view(torch.float64)) & (middle <= _INT64_OF_ONE) & (middle > 0)
        )
        low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    return low.view(torch.float64)


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


@overload
def adaptive_relaxation(
    represented: SampleTable,
    *,
    rule: RelaxationRule | None = None,
    scale: float = 1.0,
    table_radii: TableRadii | None = None,
) -> TableRelaxation: ...


@overload
def adaptive_relaxation(
    represented: Target, *, rule: RelaxationRule | None = None, scale: float = 1.0, table_radii: None = None
) -> TargetRelaxation: ...


def adaptive_relaxation(
    represented: SampleTable | Target,
    *,
    rule: RelaxationRule | None = None,
    scale: float = 1.0,
    table_radii: TableRadii | None = None,
) -> TableRelaxation | TargetRelaxation:
    """Build a regular operator whose fixed-point map is the given map, with budget `L0 = L1 = 2 scale`.

    Args:
        represented: a table of data (`targets.from_samples`) or a map of the catalogue. For a plain callable, whose slopes
            nobody knows, use `estimated_relaxation`.
        rule: how the step follows from the radii; `RadiusProduct()` (T3b) by default, `SquaredRadius()` for T3.
        scale: the factor `c` of T3a, `0 < c <= 1`: budget times `c`, iterations times `1/c`.
        table_radii: for tables only: `ExactBalls()` or `SlopeMajorant()`; by default exact up to 1500 rows.

    Returns:
        The operator; its `regularity` holds `mu(x) = 1 - eps(x)` and the budget.

    Raises:
        InputError: neither a table nor a target, or `scale` outside `(0, 1]`.

    Theorem: T3, T3a, T3b.

    Example:
        >>> from eqtheory.targets import from_samples
        >>> G = adaptive_relaxation(from_samples([0.0, 1.0], [5.0, -5.0]))
        >>> bool((G(G.table.values, G.table.points) == G.table.values).all())
        True
    """
    chosen = rule or RadiusProduct()
    if isinstance(represented, SampleTable):
        radii = table_radii or (ExactBalls() if len(represented) <= _EXACT_UP_TO else SlopeMajorant())
        return TableRelaxation(represented, rule=chosen, scale=scale, radii=radii)
    if not isinstance(represented, Target):
        raise InputError(
            "represented",
            type(represented).__name__,
            "a SampleTable or a Target",
            "use estimated_relaxation for a callable",
        )
    if table_radii is not None:
        raise InputError(
            "table_radii", type(table_radii).__name__, "None for a map that is not a table", "leave it out"
        )
    return TargetRelaxation(represented, rule=chosen, scale=scale)
