r"""Best-first branch and bound: an enclosure of a supremum over a box that is never wrong and narrows with every split.

The remaining boxes cover all points where the objective may exceed the best value found, so `max(best, bounds of remaining boxes)`
is an upper bound at every moment, and the best value is a lower bound. The box of the largest bound is split next. Where bounds err
by `O(width^2)` and the objective has isolated quadratic maxima, a bounded number of boxes remains at every width.

References:
    R. E. Moore, Interval Analysis, Prentice-Hall 1966; K. Du and R. B. Kearfott, J. Global Optim. 5 (1994) (the cluster problem).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from eqtheory.lipschitz.formulas._formulas import Box
from eqtheory.lipschitz.formulas._intervals import Interval

__all__ = ["Found", "Objective", "Seen", "maximize"]

_HOPELESS = 2.0**-40
"""Relative width below which an infinite bound is taken to stay: then the supremum is not bounded by this method."""


class Seen(NamedTuple):
    """What an objective says about a box.

    Args:
        upper: upper bound over the box; minus infinity where it is defined at no point.
        box: a part of the box on which the supremum over the box is approached.
        weights: how much each coordinate contributes to the width of the bound; empty where that is not known.
        points: points of the box that are worth an evaluation, each with a guess of the value, infinite where there is none.
    """

    upper: float
    box: Box
    weights: tuple[float, ...] = ()
    points: tuple[tuple[float, tuple[float, ...]], ...] = ()


class Objective(Protocol):
    """A function on a box that can be bounded on parts of it."""

    def above(self, box: Box) -> Seen:
        """Bound from above over a box.

        Args:
            box: a part of the root box.

        Returns:
            See `Seen`.
        """

    def below(self, point: tuple[float, ...]) -> float:
        """Bound the supremum over the root box from below by the value at a point.

        Args:
            point: coordinates in the root box.

        Returns:
            A lower bound; minus infinity where the point shows nothing.
        """


@dataclass(frozen=True)
class Found:
    """An enclosure of a supremum.

    Args:
        lower: lower bound.
        upper: upper bound.
        boxes: number of boxes that were bounded.
        settled: whether the wanted gap was reached.
    """

    lower: float
    upper: float
    boxes: int
    settled: bool


@dataclass
class _Search:
    objective: Objective
    root: Box
    best: float = -math.inf
    floor: float = -math.inf
    boxes: int = 0
    heap: list[tuple[float, float, int, Seen]] = field(default_factory=list)

    def look(self, box: Box) -> None:
        """Bound a box, evaluate at its points, and keep it if it may hold more than the best value."""
        seen = self.objective.above(box)
        self.boxes += 1
        if seen.upper <= self.best:
            return
        for guess, point in seen.points:
            if guess > self.best:
                self.best = max(self.best, self.objective.below(point))
        if seen.upper > self.best:
            # Among infinite bounds the smallest box comes first: either its bound becomes finite, or it shows that none will.
            heapq.heappush(self.heap, (-seen.upper, self.size(seen.box), self.boxes, seen))

    def size(self, box: Box) -> float:
        """Largest width of a box in units of the root.

        Returns:
            A number between 0 and 1.
        """
        return max((_width(b) / _width(r) for b, r in zip(box, self.root, strict=True) if _width(r) > 0), default=0.0)

    @property
    def upper(self) -> float:
        """Upper bound of the supremum as it stands."""
        return max(self.best, self.floor, -self.heap[0][0] if self.heap else -math.inf)

    def split(self) -> None:
        """Replace the box of the largest bound by two halves; one that can not be halved keeps its bound for good."""
        _, size, _, seen = heapq.heappop(self.heap)
        cut = None if seen.upper == math.inf and size < _HOPELESS else self.coordinate(seen)
        if cut is None:
            self.floor = max(self.floor, seen.upper)
            return
        low, high = seen.box[cut].low, seen.box[cut].high
        middle = _middle(seen.box[cut])
        for half in (Interval(low, middle), Interval(middle, high)):
            self.look((*seen.box[:cut], half, *seen.box[cut + 1 :]))

    def coordinate(self, seen: Seen) -> int | None:
        """The coordinate to halve: the one that contributes most to the width of the bound, else the widest.

        Returns:
            Its index; `None` where no coordinate has a number between its ends.
        """
        free = [k for k, b in enumerate(seen.box) if b.low < _middle(b) < b.high]
        if not free:
            return None
        relative = [_width(b) / _width(r) if _width(r) > 0 else 0.0 for b, r in zip(seen.box, self.root, strict=True)]
        known = len(seen.weights) > 0 and max(seen.weights[k] for k in free) > 0
        return max(free, key=lambda k: (seen.weights[k] if known else 0.0, relative[k]))


def _width(x: Interval) -> float:
    return x.high - x.low


def _middle(x: Interval) -> float:
    return x.low + 0.5 * (x.high - x.low)


def maximize(objective: Objective, root: Box, *, rtol: float, max_boxes: int) -> Found:
    """Enclose the supremum of an objective over a box.

    Args:
        objective: the function.
        root: the box, with finite ends.
        rtol: gap at which the search ends, relative to the larger of the two bounds in absolute value.
        max_boxes: boxes after which it ends in any case.

    Returns:
        Bounds on both sides. The lower one is minus infinity where no evaluation showed anything.
    """
    search = _Search(objective, root)
    search.look(root)
    while True:
        upper = search.upper
        settled = upper - search.best <= rtol * max(abs(upper), abs(search.best))
        if upper == -math.inf or (
            settled and upper - search.best < math.inf
        ):  # nothing is defined, or both sides are finite
            return Found(search.best, upper, search.boxes, settled=True)
        if not search.heap or search.boxes >= max_boxes or upper <= search.floor:
            return Found(search.best, upper, search.boxes, settled=False)
        search.split()
