"""Who is evaluated together: samples that have left are no longer computed.

A batch of which some have converged is cut down to those that have not, rows of inputs, states and the solver's memory alike.
That is right only for an operator that treats its samples alone. So before the first cut `G` is evaluated on the remaining
samples in reverse order and compared with what it gave in the whole batch; an operator that fails, returns another shape or
differs beyond rounding (normalisation over the batch, noise, per-sample tensors captured in a closure) keeps its whole batch.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, final

from torch import Tensor

from eqtheory.nests import take
from eqtheory.operators import ImplicitOperator
from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers._measure import Gauge

__all__ = ["Company"]

_SHARE = 0.75
"""The batch is cut when this share of it is left: at most a third of the rows are computed in vain, and cuts stay few."""
_WORTH = 1024
"""Entries of a batch below which a cut costs more than it can save."""
_FIRST, _LATER = 1.0, 0.5
"""Evaluations of the whole batch that must have been made in vain before a cut: about what it costs, the first one with its look at
the operator. Nobody knows how long the others will take; whoever waits until waiting has cost as much as acting pays at most twice
what he would have paid with foresight (the rule of renting skis)."""


@final
class Company:
    """The samples that are still evaluated.

    Args:
        operator: acts on them.
        gauge: measures states.
        x: all inputs.
        batch: how many samples there are.
        fixed: whether the whole batch has to stay together.
    """

    def __init__(self, operator: ImplicitOperator, gauge: Gauge, x: Any, batch: int, *, fixed: bool) -> None:
        self.operator, self.gauge, self.x, self.size = operator, gauge, x, batch
        self._whole, self._batch = x, batch
        self.index: Tensor | None = None
        self.probes = 0
        self._fixed = fixed or not operator.compacts
        self._known = False
        self._vain = 0.0

    def crowded(self, remaining: int) -> bool:
        """Whether a cut would pay; asked once a step while samples are missing.

        Args:
            remaining: number of samples still iterated.

        Returns:
            True where enough have left, long enough ago.
        """
        self._vain += 1 - remaining / self.size
        return (
            not self._fixed
            and 0 < remaining <= _SHARE * self.size
            and (self.size - remaining) * self.gauge.entries >= _WORTH
            and self._vain >= (_LATER if self._known else _FIRST)
        )

    def cut(self, active: Tensor, y: Tensor, g: Tensor) -> Tensor | None:
        """Let the others go, if the operator allows it.

        Args:
            active: who is still iterated, shape `(size,)`.
            y: their states.
            g: `G(y, x)`.

        Returns:
            Which rows stay, shape `(k,)`, or `None` where the batch has to stay together.
        """
        keep = active.nonzero().squeeze(1)
        if not self._known:
            self.probes += 1
            if not self._independent(keep.flip(0), y, g):
                self._fixed = True
                return None
            self._known = True
        self.index = keep if self.index is None else self.index.index_select(0, keep)
        # Always from the whole: a shared tensor may have the length of what is left of the batch, never that of the batch
        # without the look at the operator having told.
        self.x = take(self._whole, self.index, self._batch)
        self.size, self._vain = len(keep), 0.0
        return keep

    def _independent(self, rows: Tensor, y: Tensor, g: Tensor) -> bool:
        here, expected = y.index_select(0, rows), g.index_select(0, rows)
        try:
            found = self.operator(here, take(self.x, rows, self.size))
        except Exception:  # noqa: BLE001  (whatever an operator says to a part of its batch, it was fine with the whole)
            return False
        if not isinstance(found, Tensor) or found.shape != expected.shape:
            return False
        slack = sqrt(unit_roundoff(g.dtype)) * (self.gauge(expected) + self.gauge(here))
        return bool((self.gauge.distance(found, expected) <= slack).all())
