"""What a curve over iterations looks like: it levels off, it turns, it cycles, it depends on where it started.

All of these are read off finitely many numbers, so they say what was seen and prove nothing about what comes later.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import final

import torch
from torch import Tensor

from eqtheory.norms import Norm

__all__ = ["Finding", "Shape", "Tail", "depends_on_start", "levels_off", "turns"]


class Shape(Enum):
    """What was seen, and what it may mean."""

    PLATEAU = "slopes level off: nothing steeper is computed any more (T5b)"
    U_SHAPE = "the error falls and rises again: more iterations are worse than fewer"
    CYCLE = "iterates repeat themselves instead of converging: average them"
    PATH_DEPENDENCE = "different starts end in different places: there is more than one fixed point, or none is reached"
    DIVERGENCE = "iterates have left the range of the type"


@final
@dataclass(frozen=True, eq=False)
class Finding:
    """Something seen in a curve.

    Args:
        shape: what.
        samples: at which samples, booleans, shape `(batch,)`.
        measure: how pronounced it is, per sample; what that means is said in `reads`.
        reads: what `measure` is.
    """

    shape: Shape
    samples: Tensor
    measure: Tensor
    reads: str

    def __str__(self) -> str:
        where = self.samples.nonzero().reshape(-1)
        values = self.measure[self.samples].to(torch.float64)
        return (
            f"{self.shape.value} ({len(where)} of {len(self.samples)} samples; {self.reads} "
            f"{float(values.min()):.4g} to {float(values.max()):.4g})"
        )


def levels_off(slopes: Tensor, *, among: Tensor, change: float = 0.02) -> Finding | None:
    """Look for a plateau: over the last quarter of the steps slopes change by little, having grown before.

    Args:
        slopes: shape `(steps, batch)`, at least 8 steps.
        among: the samples to look at, booleans, shape `(batch,)`.
        change: largest relative change that counts as level.

    Returns:
        The finding, measured by the first index from which slopes stay level; `None` where there is none.
    """
    count = slopes.shape[0]
    if count < 8:
        return None
    last = slopes[-1]
    band = change * last.abs()
    level = (slopes - last).abs() <= band
    # The first index from which all later ones are level.
    stays = level.flip(0).cumprod(dim=0).flip(0).bool()
    first = count - stays.sum(dim=0)
    found = (first <= count - 1 - count // 4) & (last > 0) & torch.isfinite(last) & among
    return Finding(Shape.PLATEAU, found, first, "level from index") if bool(found.any()) else None


def turns(errors: Tensor, *, rise: float = 0.05, floor: Tensor | float = 0.0) -> Finding | None:
    """Look for a U: the smallest error lies inside and the last one is clearly larger.

    Args:
        errors: shape `(steps, batch)`.
        rise: least relative rise that counts.
        floor: errors below this are rounding, shape `(batch,)` or a number.

    Returns:
        The finding, measured by the index of the smallest error; `None` where there is none.
    """
    if errors.shape[0] < 3:
        return None
    least, where = errors.min(dim=0)
    last = errors[-1]
    inside = (where > 0) & (where < errors.shape[0] - 1)
    found = inside & (last > (1 + rise) * least) & (last > floor)
    return Finding(Shape.U_SHAPE, found, where, "smallest error at index") if bool(found.any()) else None


@final
class Tail:
    """Remembers the last iterates, to see whether they repeat.

    Args:
        longest: the longest period looked for.
    """

    def __init__(self, longest: int = 8) -> None:
        self.longest = longest
        self._kept: list[Tensor] = []

    def add(self, y: Tensor) -> None:
        """Remember an iterate.

        Args:
            y: states, shape `(batch, ...)`.
        """
        self._kept = [*self._kept[-2 * self.longest :], y]

    @property
    def last(self) -> Tensor:
        """The last iterate."""
        return self._kept[-1]

    def cycles(self, norm: Norm, *, still: float = 1e-6, closeness: float = 1e-3) -> Finding | None:
        """Look for a cycle: the last iterate moves, and so did the same one a period ago, to the same place.

        Args:
            norm: norm on the states.
            still: moves below this multiple of the state's norm count as convergence.
            closeness: largest distance, as a part of the move, that counts as the same place.

        Returns:
            The finding, measured by the period; `None` where there is none.
        """
        kept = self._kept
        if len(kept) < 5:
            return None
        last, batch = kept[-1], kept[-1].shape[0]
        pairs = [(p, back) for p in range(2, min(self.longest, (len(kept) - 1) // 2) + 1) for back in range(p)]
        gaps = torch.cat([last - kept[-2], last, *(kept[-1 - back] - kept[-1 - back - p] for p, back in pairs)])
        move, size, *apart = norm(gaps).reshape(-1, batch)
        moving = move > still * size
        period = torch.zeros(batch, dtype=torch.int64, device=last.device)
        for p in sorted({p for p, _ in pairs}):
            same = torch.stack(
                [gap <= closeness * move for (q, _), gap in zip(pairs, apart, strict=True) if q == p]
            ).all(dim=0)
            period = torch.where((period == 0) & same & moving, p, period)
        found = period > 0
        return Finding(Shape.CYCLE, found, period, "period") if bool(found.any()) else None


def depends_on_start(ends: Tensor, residuals: Tensor, norm: Norm, *, apart: float = 1e-3) -> Finding | None:
    """Look for path dependence: starts that lead to different ends, by more than their residuals can explain.

    Args:
        ends: last states from every start, shape `(starts, batch, ...)`.
        residuals: their residuals, shape `(starts, batch)`.
        norm: norm on the states.
        apart: least distance, as a part of the state's norm.

    Returns:
        The finding, measured by the largest relative distance; `None` where there is none.
    """
    if ends.shape[0] < 2:
        return None
    first = ends[0]
    size = norm(first).clamp_min(torch.finfo(first.dtype).tiny)
    gaps = torch.stack([norm(end - first) for end in ends[1:]])
    # Still on the way is not the same as elsewhere: a contraction of factor .99 is at most 100 residuals from its fixed point.
    explained = 100 * (residuals[1:] + residuals[:1])
    found = ((gaps > apart * size) & (gaps > explained)).any(dim=0)
    finding = Finding(Shape.PATH_DEPENDENCE, found, gaps.amax(dim=0) / size, "relative distance of ends")
    return finding if bool(found.any()) else None
