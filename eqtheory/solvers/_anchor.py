"""Has an iteration come back to where it was?"""

from __future__ import annotations

from typing import final

from torch import Tensor

from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers._measure import host_sees, rows

__all__ = ["FULL_READING", "Anchor"]

FULL_READING = 8
"""Steps between two readings of everything; those between are quiet as long as nobody is near the tolerance."""


@final
class Anchor:
    """Notice when an iteration comes back to where it was, at the price of one remembered state.

    Looks fall on steps with a full reading. The anchor is set at looks 1, 2, 4, 8, ...; a cycle of period `p` is noticed once
    the anchor is on it and a later look falls a multiple of `p` steps behind (Brent 1980). One look in eight steps keeps the
    price below one pass over the state a step; it finds period `p` after a multiple of `lcm(p, 8)` steps.

    References:
        R. P. Brent, An improved Monte Carlo factorization algorithm, BIT 20 (1980), section 2.
    """

    EVERY = FULL_READING

    def __init__(self) -> None:
        self._state: Tensor | None = None
        self._previous: Tensor | None = None

    def take(self, keep: Tensor) -> None:
        """Remember some samples only.

        Args:
            keep: their indices.
        """
        self._state = None if self._state is None else self._state.index_select(0, keep)
        self._previous = None if self._previous is None else self._previous.index_select(0, keep)

    def due(self, t: int) -> Tensor | None:
        """The anchor, where a look would compare states with it.

        Args:
            t: the step.

        Returns:
            States, or `None`.
        """
        looks = t > 0 and t % self.EVERY == 0 and self._previous is not None
        return self._state if looks else None

    def pass_by(self, t: int, y: Tensor) -> None:
        """Move the anchor when it is time, where it is known that nobody is back at it.

        Args:
            t: the step.
            y: states, never changed in place.
        """
        if t % self.EVERY == self.EVERY - 1:
            self._previous = y
        elif t and t % self.EVERY == 0:
            looks, self._previous = t // self.EVERY, None
            if looks & (looks - 1) == 0:
                self._state = y

    def look(self, t: int, y: Tensor) -> tuple[Tensor, Tensor] | None:
        """Compare a state with the anchor, and move the anchor when it is time.

        Args:
            t: the step.
            y: states, never changed in place.

        Returns:
            Which samples are back at the anchor and which did not move in the last step, each of shape `(batch,)`; `None` at
            steps without a look.
        """
        found, then = None, self.due(t)
        if then is not None and self._previous is not None and self._possible(y):
            found = _within_two_ulps(y, then), _within_two_ulps(y, self._previous)
        self.pass_by(t, y)
        return found

    def _possible(self, y: Tensor) -> bool:
        """Whether the first eight entries of anyone are back, which a host can ask at next to no price."""
        if not host_sees(y) or self._state is None:
            return True
        return bool(_within_two_ulps(rows(y)[:, :8], rows(self._state)[:, :8]).any())


def _within_two_ulps(a: Tensor, b: Tensor) -> Tensor:
    """Entry by entry, so that a small entry that still moves is seen beside a large one that does not."""
    return rows((a - b).abs() <= 4 * unit_roundoff(a.dtype) * b.abs()).all(dim=1)
