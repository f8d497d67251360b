r"""Whether what autograd calls a derivative is a slope of the map: pairs next to the point.

At a kink autograd picks a number for every operation, and their combination need not be a slope of anything: `10 relu(x) - 10 (x +
relu(-x))` is zero everywhere and has the derivative 10 at 0. Where `f` is differentiable at `x`, both one-sided slopes
`|f(x +- h v) - f(x)| / h` tend to `|J v|`; and if it is twice so, with `w = J v` and `c = f''(v, v)`,

    |f(x +- h v) - f(x)|^2 / h^2 = |w|^2 +- h <w, c> + O(h^2),

so that in l2 the larger of the two is at least `|w| - O(h^2)`. Every pair proves its own slope, whatever `f` does. Hence

- a size is *confirmed* by a pair that has at least `1 - t` times this slope and whose rounding is at most `t` times it, `t = 1/64`;
- it is *contradicted* where no pair confirms it although some pair is long enough to be judged by; then it is lowered to the largest slope
  that pairs prove. A place that is steep on less than such a pair is lowered with it, which loses and does not lie;
- it stays where rounding lets no pair judge; what the derivative was rounded by is taken off there too.

One pair of each sign at `h = u^(1/3)`, where rounding and `h^2` balance, settles smooth maps; others are tried only if it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.lipschitz._witness import ASSUMED_ROUNDINGS, Map, slope_parts
from eqtheory.nests import spread
from eqtheory.norms import Norm, rows_of
from eqtheory.roundoff import Rounding, unit_roundoff

__all__ = ["Nearby", "lowered_at_kinks"]

_SHARE = 1 / 64
_LENGTHS = tuple(10.0**-k for k in range(1, 18, 2))


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


def lowered_at_kinks(
    function: Map, x: Tensor, values: Tensor, v: Tensor, along: Tensor, size: Tensor, near: Nearby, unit: float
) -> tuple[Tensor, int]:
    """Lower norms of derivatives where pairs contradict them.

    Args:
        function: the map.
        x: points, shape `(batch, ...)`.
        values: `f(x)`.
        v: directions, the shape of `x`; zero where nothing is known.
        along: `|J v| / |v|`, shape `(batch,)`.
        size: norms of the derivatives, at least `along`.
        near: norms, rounding, and where points may be.
        unit: unit roundoff of the coarsest type inside.

    Returns:
        The norms, NaN where they were, and the evaluations this took.
    """
    size, along = size.to(torch.promote_types(x.dtype, size.dtype)), along.to(torch.promote_types(x.dtype, along.dtype))
    if unit > unit_roundoff(x.dtype):  # the derivative was computed in that type
        size = size * max(1 - ASSUMED_ROUNDINGS * unit, 0.0)
    scale = near.norm(x).clamp_min(1.0) / near.norm(v).clamp_min(torch.finfo(x.dtype).tiny)
    size_v = along.nan_to_num(nan=0.0)
    proved, judged = torch.zeros_like(size_v), torch.zeros_like(size_v, dtype=torch.bool)
    confirmed = size_v == 0
    taken = 0
    for length in (max(unit, unit_roundoff(x.dtype)) ** (1 / 3), *_LENGTHS):
        for sign in (length, -length):
            rough, error = _slopes(function, x, values, spread(sign * scale, x) * v, near, unit)
            judges = error <= _SHARE * size_v
            confirmed = confirmed | (judges & (rough >= (1 - _SHARE) * size_v))
            proved, judged = torch.maximum(proved, (rough - error).to(proved)), judged | judges
        taken += 2
        if bool(confirmed.all()):
            break
    lowered = torch.minimum(size, proved.to(size))
    return torch.where(judged & ~confirmed & ~torch.isnan(size), lowered, size), taken


def _slopes(function: Map, x: Tensor, values: Tensor, step: Tensor, near: Nearby, unit: float) -> tuple[Tensor, Tensor]:
    """Slopes of pairs as computed, and what rounding may have added to them; zero and infinity where there is no pair.

    Returns:
        Two tensors of shape `(batch,)`.
    """
    b = (x + step).detach()
    b = b if near.project is None else near.project(b)
    with torch.no_grad():
        image = function(b)
    usable = torch.isfinite(rows_of(image)).all(dim=1) & torch.isfinite(rows_of(b)).all(dim=1)
    image, b = torch.where(spread(usable, image), image, values), torch.where(spread(usable, b), b, x)
    gap, error, distance = slope_parts(
        values, image, x, b, near.norm, near.output_norm, near.rounding, near.magnitude, unit=unit
    )
    apart = (distance > 0) & torch.isfinite(gap) & torch.isfinite(error)
    length = torch.where(apart, distance, 1.0)
    return torch.where(apart, gap / length, 0.0), torch.where(apart, error / length, torch.inf)
