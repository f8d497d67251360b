"""Finite metric spaces with maps on them, locally Lipschitz maps with hostile inputs, and the control N1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.errors import InputError
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.targets import CATALOGUE, Target
from eqtheory.testing.finite_spaces import METRIC_REGIMES, VALUE_REGIMES, FiniteBatch, draw_finite_spaces
from eqtheory.testing.strategies._drawing import seeds, sizes_in
from eqtheory.testing.strategies._instance import Instance, exact, generator_of
from eqtheory.testing.zoo.pointwise_contraction import PointwiseContraction
from eqtheory.validate import count

__all__ = ["TargetInstance", "finite_metric_spaces", "lipschitz_targets", "pointwise_contractions"]

_COMBINATIONS = len(METRIC_REGIMES) * len(VALUE_REGIMES)


@dataclass(frozen=True, eq=False, repr=False)
class TargetInstance:
    """A locally Lipschitz map with pairs of points, most of them where it is steep.

    Args:
        target: the map, with its proved bounds on balls.
        x: points of its domain, shape `(batch, *input_shape)`.
        other: points of its domain, row by row the partner of `x`; half of them close.
        seed: from which the points were drawn.
    """

    target: Target
    x: Tensor
    other: Tensor
    seed: int = 0

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def regime(self) -> str:
        """The map's name."""
        return self.target.name

    def describe(self, index: int) -> str:
        """Describe one pair in a line, as a witness.

        Args:
            index: which one.

        Returns:
            The map and both points.
        """
        i = index % len(self)
        return f"{self.target.formula} (seed {self.seed}); x = {self.x[i].tolist()}, x' = {self.other[i].tolist()}"

    def __repr__(self) -> str:
        return f"<TargetInstance {self.target.name}: {len(self)} pairs, seed {self.seed}>"


def finite_metric_spaces(
    *,
    points: tuple[int, int] = (1, 7),
    dimensions: tuple[int, int] = (1, 3),
    batch: int = _COMBINATIONS,
    norms: Sequence[Norm] = (Sup(), Sum(), Euclidean()),
) -> st.SearchStrategy[FiniteBatch]:
    """Batches of maps on finite metric spaces that cover all combinations of metric and value regimes.

    Args:
        points: smallest and largest number of points.
        dimensions: smallest and largest length of the values.
        batch: spaces, at least one for each combination (48).
        norms: norms on the values.

    Returns:
        A strategy for batches; it shrinks to few points and scalars.

    Raises:
        InputError: too few spaces, an empty range, or no norm.

    Example:
        >>> from hypothesis import find
        >>> spaces = find(finite_metric_spaces(), lambda found: bool((found.slopes() > 1).any()))
        >>> tuple(spaces.distances.shape)
        (48, 2, 2)
    """
    if batch < _COMBINATIONS:
        raise InputError("batch", str(batch), f"at least {_COMBINATIONS}", "every combination of regimes is drawn")
    if not norms:
        raise InputError("norms", "nothing", "at least one norm", "leave it out to draw all of them")

    def build(seed: int, points: int, dimension: int, norm: Norm) -> FiniteBatch:
        return draw_finite_spaces(
            batch=batch, points=points, dimension=dimension, norm=norm, generator=generator_of(seed)
        )

    return st.builds(
        build,
        seed=seeds(),
        points=sizes_in(points),
        dimension=sizes_in(dimensions),
        norm=st.sampled_from(list(norms)),
    )


def _pairs(target: Target, seed: int, batch: int) -> TargetInstance:
    g = generator_of(seed)
    x, other = target.sample(batch, generator=g), target.sample(batch, generator=g)
    shape = (-1, *[1] * (x.ndim - 1))
    # Every second partner moves towards its point, by a factor from 1 to 1e-10, where the way stays inside the domain.
    share = 10.0 ** (-10 * torch.rand(batch, generator=g, dtype=torch.float64)).reshape(shape)
    between = x + share * (other - x)
    near = target.contains(between) & (torch.arange(batch) % 2 == 0)
    return TargetInstance(target, x, torch.where(near.reshape(shape), between, other), seed)


def lipschitz_targets(*, targets: Sequence[Target] = CATALOGUE, batch: int = 16) -> st.SearchStrategy[TargetInstance]:
    """Locally, not globally, Lipschitz maps with pairs of points that seek their singularities.

    Args:
        targets: the maps; the whole catalogue by default.
        batch: pairs.

    Returns:
        A strategy for maps with pairs of points.

    Raises:
        InputError: no map, or no pair.

    Example:
        >>> from hypothesis import find
        >>> find(lipschitz_targets(), lambda found: True)
        <TargetInstance reciprocal: 16 pairs, seed 0>
    """
    if not targets:
        raise InputError("targets", "nothing", "at least one map", "leave it out to draw from the catalogue")
    count("batch", batch, "pass for example batch=16")
    return st.builds(_pairs, target=st.sampled_from(list(targets)), seed=seeds(), batch=st.just(batch))


_DEEPEST = 7


def _factor(x: Tensor) -> Tensor:
    return torch.where(x > 0, torch.clamp_min(1 - (x * x).clamp_max(0.5), 0.5), 0.5)


def _pointwise(seed: int, depth: int, batch: int) -> Instance:
    g, operator = generator_of(seed), PointwiseContraction()

    def inputs() -> Tensor:
        x = 10.0 ** (-depth * torch.rand(batch, generator=g, dtype=torch.float64))
        return torch.where(torch.arange(batch) % 8 == 7, 0.0, x)

    x = inputs()
    # States inside [-x, x], where the factor is attained, and outside.
    inner = 2 * torch.rand(2, batch, generator=g, dtype=torch.float64) - 1
    reach = torch.where(torch.arange(batch) % 2 == 0, x, 2.0)
    constants: dict[str, Bound] = {
        "L0": Bound(1 + 11**0.5, Side.UPPER, "N1", Evidence.PROVED, Euclidean().name, ("rounded to nearest",)),
        "L1": exact(0.0),
    }
    return Instance(
        operator,
        (x, inputs()),
        (inner[0] * reach, inner[1] * reach),
        f"contractive at every input, down to 1e-{depth}",
        constants,
        operator.fixed_point(x),
        seed=seed,
        local=LocalBound(_factor, Side.EXACT, "N1", Evidence.PROVED, Euclidean().name),
    )


def pointwise_contractions(*, depths: tuple[int, int] = (1, 6), batch: int = 16) -> st.SearchStrategy[Instance]:
    """The control N1: contractive at every input, simple in the input, with a fixed point that is not locally Lipschitz.

    Args:
        depths: smallest and largest `k` for inputs down to `10^-k`, at most 7: the factor `1 - x^2` of smaller ones rounds to 1.
        batch: rows; inputs and states are scalars, shape `(batch,)`.

    Returns:
        A strategy for instances with the constants `L0` and `L1`, and in `local` the factor `mu(x)`, which is below 1 everywhere
        and not locally bounded away from it.

    Raises:
        InputError: an empty range, one too deep, or no row.

    Example:
        >>> from hypothesis import find
        >>> instance = find(pointwise_contractions(), lambda found: True)
        >>> bool((instance.local.at(instance.x) < 1).all())
        True
    """
    if depths[1] > _DEEPEST:
        raise InputError("depths", str(depths), f"depths up to {_DEEPEST}", "factors beyond it round to 1: pass (1, 6)")
    return st.builds(
        _pointwise,
        seed=seeds(),
        depth=sizes_in(depths),
        batch=st.just(count("batch", batch, "pass for example batch=16")),
    )
