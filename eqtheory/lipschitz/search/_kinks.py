r"""Whether what autograd calls a derivative is a slope of the map: pairs next to the point.

At a kink autograd picks a number for every operation, and their combination need not be a slope of anything: `10 relu(x) - 10 (x +
relu(-x))` is zero everywhere and has the derivative 10 at 0. A pair `a, b` proves the slope `|f(a) - f(b)| / |a - b|`, less rounding,
whatever `f` does. Where `f` is differentiable at `x`, slopes from `x` along `v` tend to `|J v|`; and if it is twice so, with `w = J v`
and `c = f''(v, v)`,

    |f(x +- h v) - f(x)|^2 / h^2 = |w|^2 +- h <w, c> + O(h^2),

so that in l2 the larger of the two is at least `|w| - O(h^2)`. Hence **no norm of a derivative is kept above the slope that a pair
proves**: what is returned is the smaller of the two. With `t = 1/128`,

- a pair *judges* a size if what rounding may have done to its slope is at most `t` times the size;
- at `h = u^(1/3)`, where rounding and `h^2` balance, one pair of each sign settles smooth maps: if a slope of at least `1 - t` times the
  size is proved, no other pair is tried;
- otherwise the shortest pairs that judge have the word, one of each sign, since longer ones speak of places farther away. That a map
  is as steep at `x` as over the shortest pair is an assumption about `x`; over sets that hold the pair nothing is assumed;
- where rounding lets no pair judge, the size stays and is said to be unjudged. What the derivative may be rounded by is taken off always,
  as for values: `64 u` times its size, `u` that of the coarsest type inside.

Where points may only be somewhere, `b = P(x + h v)` and `a = P(b - h v)` with `P` the projection. In a box that is wide enough
`b - a = h v` also at its corners: a coordinate that is clipped to a face on the way out is moved inwards by as much on the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.lipschitz._precision import watched
from eqtheory.lipschitz._witness import ASSUMED_ROUNDINGS, Map, slope_parts
from eqtheory.nests import spread
from eqtheory.norms import Norm, rows_of
from eqtheory.roundoff import Rounding, unit_roundoff

__all__ = ["Lowered", "Nearby", "lowered_at_kinks"]

_SHARE = 1 / 128
_LENGTHS = tuple(10.0**-k for k in range(17, 0, -2))


@final
@dataclass(frozen=True, eq=False)
class Nearby:
    """What is known of the points next to where a derivative is taken.

    Args:
        norm: norm on the arguments.
        output_norm: norm on the values.
        rounding: evaluation errors; 64 unit roundoffs where `None`.
        magnitude: size of the terms inside an evaluation, shape `(batch,)`; that of the points where `None`.
        project: brings points back to where they may be; everywhere where `None`.
    """

    norm: Norm
    output_norm: Norm
    rounding: Rounding | None = None
    magnitude: Tensor | None = None
    project: Callable[[Tensor], Tensor] | None = None


@final
@dataclass(frozen=True, eq=False)
class Lowered:
    """Norms of derivatives that pairs have looked at.

    Args:
        size: the norms, NaN where they were, shape `(batch,)`.
        unjudged: samples that no pair could judge, booleans, shape `(batch,)`.
        evaluations: what this took.
    """

    size: Tensor
    unjudged: Tensor
    evaluations: int

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What is assumed of samples that no pair could judge; nothing where there are none."""
        count = int(self.unjudged.sum())
        if count == 0:
            return ()
        return (
            f"differentiable at {count} of {len(self.unjudged)} points where rounding lets no pair judge: that the derivative is "
            "a slope is assumed there, not proved",
        )


def lowered_at_kinks(function: Map, x: Tensor, v: Tensor, size: Tensor, near: Nearby, unit: float) -> Lowered:
    """Lower norms of derivatives to what pairs prove.

    Args:
        function: the map.
        x: points, shape `(batch, ...)`.
        v: directions on which the derivatives are large, the shape of `x`; zero where nothing is known.
        size: norms of the derivatives, shape `(batch,)`.
        near: norms, rounding, and where points may be.
        unit: unit roundoff of the coarsest type inside.

    Returns:
        The norms, and which of them no pair could judge.
    """
    coarse = max(unit, unit_roundoff(x.dtype))
    size = size.to(torch.promote_types(x.dtype, size.dtype))
    size = size * max(1 - ASSUMED_ROUNDINGS * coarse, 0.0)
    scale = near.norm(x).clamp_min(1.0) / near.norm(v).clamp_min(torch.finfo(x.dtype).tiny)
    open_ = (size > 0) & torch.isfinite(size)
    pairs = _Pairs(function, x, v, scale, near, coarse)
    first, _ = pairs.proved(coarse ** (1 / 3), size)
    settled = open_ & (first >= (1 - _SHARE) * size)
    found, left = torch.where(settled, first, size), open_ & ~settled
    for length in sorted((*_LENGTHS, coarse ** (1 / 3))):
        if not bool(left.any()):
            break
        slope, judged = pairs.proved(length, size)
        found = torch.where(left & judged, torch.minimum(size, slope), found)
        left = left & ~judged
    return Lowered(torch.minimum(size, found), left, pairs.evaluations)


@final
class _Pairs:
    """Pairs of both signs along given directions.

    Args:
        function: the map.
        x: points, shape `(batch, ...)`.
        v: directions, the shape of `x`.
        scale: what lengths are relative to, over the length of `v`, shape `(batch,)`.
        near: norms, rounding, and where points may be.
        unit: unit roundoff of the coarsest type seen so far.
    """

    def __init__(self, function: Map, x: Tensor, v: Tensor, scale: Tensor, near: Nearby, unit: float) -> None:
        self.function, self.x, self.v, self.scale, self.near, self.unit = function, x, v, scale, near, unit
        self.evaluations = 0

    def proved(self, length: float, size: Tensor) -> tuple[Tensor, Tensor]:
        """The larger of the slopes that the pairs of both signs prove, and whether one of them judges.

        Returns:
            Slopes in the type of `size`, rounded down, and booleans; both of shape `(batch,)`.
        """
        best, judged = torch.zeros_like(size), torch.zeros_like(size, dtype=torch.bool)
        for sign in (length, -length):
            rough, error = self._slopes(spread(sign * self.scale, self.x) * self.v)
            slope = (rough - error).clamp_min(0)
            slope = slope if slope.dtype == size.dtype else slope * (1 - 2 * unit_roundoff(size.dtype))
            best, judged = torch.maximum(best, slope.to(size)), judged | (error <= _SHARE * size)
        return best, judged

    def _slopes(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes of pairs as computed, and what rounding may have added to them; zero and infinity where there is no pair.

        Steps of which rounding of the points leaves too little are none: they would have another direction.

        Returns:
            Two tensors of shape `(batch,)`.
        """
        x, near = self.x, self.near
        a, b = x, (x + step).detach()
        kept = near.norm((b - x) - step) <= _SHARE / 2 * near.norm(step)
        if near.project is not None:
            b = near.project(b)
            a = near.project((b - step).detach())
        values, image = self._values(a), self._values(b)
        usable = kept & _finite(a, b, values, image)
        distinct = spread(usable, b)
        b, image = torch.where(distinct, b, a), torch.where(spread(usable, image), image, values)
        gap, error, distance = slope_parts(
            values, image, a, b, near.norm, near.output_norm, near.rounding, near.magnitude, unit=self.unit
        )
        apart = (distance > 0) & torch.isfinite(gap) & torch.isfinite(error)
        length = torch.where(apart, distance, 1.0)
        return torch.where(apart, gap / length, 0.0), torch.where(apart, error / length, torch.inf)

    def _values(self, t: Tensor) -> Tensor:
        with torch.no_grad():
            value, unit = watched(self.function, t)
        self.unit, self.evaluations = max(self.unit, unit), self.evaluations + 1
        return value


def _finite(*tensors: Tensor) -> Tensor:
    return torch.stack([torch.isfinite(rows_of(t)).all(dim=1) for t in tensors]).all(dim=0)
