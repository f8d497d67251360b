"""What is measured at a state, and what residuals are compared with beside the tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.solvers._certificate import Certificate
from eqtheory.solvers._measure import Gauge
from eqtheory.solvers._past import Past
from eqtheory.solvers._stop import Quantity, Stop

__all__ = ["Bounds", "Reader", "Reading"]


@dataclass(frozen=True)
class Reading:
    """What is measured at one state, per sample.

    Args:
        residual: norm of `G(y, x) - y`.
        image: norm of `G(y, x)`.
        tested: what the stop test compares.
        tolerance: with what.
    """

    residual: Tensor
    image: Tensor
    tested: Tensor
    tolerance: Tensor


@dataclass(frozen=True)
class Reader:
    """Measures states as a stop test needs it.

    Args:
        stop: the stop test.
        gauge: the norm.
        certificate: T1's bound, where a `mu` is known.
    """

    stop: Stop
    gauge: Gauge
    certificate: Certificate | None

    def read(self, y: Tensor, g: Tensor) -> Reading:
        """Measure one state.

        Args:
            y: states.
            g: `G(y, x)`.

        Returns:
            The measurements.
        """
        residual, image = self.gauge.distance(g, y), self.gauge(g)
        if self.stop.of is Quantity.CERTIFIED_ERROR and self.certificate is not None:
            size = self.gauge(y)
            return Reading(residual, image, self.certificate.error(residual, size), self._tolerance(size))
        return Reading(residual, image, residual, self._tolerance(image))

    def nearness(self, reading: Reading) -> Tensor:
        """From where on a sample is near its tolerance: a thousand times the one that belongs to its present size.

        Args:
            reading: at its state.

        Returns:
            Residuals, shape `(batch,)`.
        """
        return (1000 * self._tolerance(reading.image + reading.residual)).clamp_min(self.gauge.floor)

    def _tolerance(self, size: Tensor) -> Tensor:
        scaled = size.clamp_max(torch.finfo(size.dtype).max) * self.stop.rtol
        return scaled + self.stop.atol if self.stop.atol else scaled


@final
class Bounds:
    """Beyond which residual a sample has diverged, and below which it is near its tolerance.

    The former belong to the first state of a solve, the latter to that of the last eighth step. Where only compiled code has read
    these states, they are kept, and read when somebody asks.

    Args:
        reader: measures them.
        growth: residuals beyond this multiple of the first state's size have diverged.
    """

    def __init__(self, reader: Reader, growth: float) -> None:
        self._reader, self._growth = reader, growth
        self._limit: Tensor | None = None
        self.near: Tensor | None = None
        self._first: Past | None = None
        self._eighth: Past | None = None

    def passed(self, y: Tensor, g: Tensor, *, first: bool) -> None:
        """Keep the states of a first or eighth step that only compiled code has read.

        Args:
            y: states.
            g: `G(y, x)`.
            first: whether no step was made yet.
        """
        self.near, self._eighth = None, Past(y, g)
        if first:
            self._first = self._eighth

    def reckon(self, reading: Reading) -> Tensor:
        """Take nearness from here.

        Args:
            reading: at the states of an eighth step.

        Returns:
            `near`, shape `(batch,)`.
        """
        self.near, self._eighth = self._reader.nearness(reading), None
        return self.near

    def limit(self, reading: Reading) -> Tensor:
        """Residuals above these have diverged.

        Args:
            reading: of the first state, if this is the first one.

        Returns:
            Shape `(batch,)`.
        """
        if self._limit is None:
            first = reading if self._first is None else self._reader.read(*self._first.rows())
            self._limit, self._first = self._limits(first), None
        return self._limit

    def limit_of(self, some: Tensor) -> Tensor:
        """The same for some samples.

        Args:
            some: which, ascending, shape `(k,)`.

        Returns:
            Shape `(k,)`.
        """
        if self._first is not None:
            return self._limits(self._reader.read(*self._first.rows(some)))[: len(some)]
        return torch.full((len(some),), torch.inf) if self._limit is None else self._limit.index_select(0, some)

    def near_of(self, some: Tensor) -> Tensor | None:
        """Which residuals are near the tolerance.

        Args:
            some: which samples, ascending, shape `(k,)`.

        Returns:
            Shape `(k,)`, or `None` where nearness was never reckoned.
        """
        if self._eighth is not None:
            return self._reader.nearness(self._reader.read(*self._eighth.rows(some)))[: len(some)]
        return None if self.near is None else self.near.index_select(0, some)

    def take(self, reader: Reader, keep: Tensor) -> None:
        """Keep some samples only.

        Args:
            reader: measures them.
            keep: their indices, ascending.
        """
        self._reader = reader
        self._limit, self.near = (
            None if part is None else part.index_select(0, keep) for part in (self._limit, self.near)
        )
        self._first, self._eighth = (None if past is None else past.take(keep) for past in (self._first, self._eighth))

    def _limits(self, reading: Reading) -> Tensor:
        # The largest number as a limit keeps infinite residuals outside even where the start is already huge.
        top = torch.finfo(reading.residual.dtype).max
        return (self._growth * (reading.image + reading.residual)).clamp_max(top)
