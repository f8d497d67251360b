"""Who is still iterated, and how everyone else ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers._certificate import Certificate
from eqtheory.solvers._compiled_step import CompiledState
from eqtheory.solvers._measure import Gauge, host_sees, rows
from eqtheory.solvers._status import Status
from eqtheory.solvers._stop import Quantity, Stop
from eqtheory.solvers._watch import Watch

if TYPE_CHECKING:
    from eqtheory.solvers._solution import Solution

__all__ = ["FULL_READING", "Anchor", "Ledger", "Reading"]


FULL_READING = 8
"""Steps between two readings of everything; those between are quiet as long as nobody is near the tolerance."""


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


@final
class Ledger:
    """The account of every sample, kept on the states' device.

    Samples leave one by one: their status, residual and step are written once and never again.

    Args:
        stop: the stop test.
        gauge: measures states.
        certificate: T1's bound, where a `mu` is known.
        y: states of the shape, dtype and device to come.
        prompt: whether the host may look at every step.
    """

    def __init__(self, stop: Stop, gauge: Gauge, certificate: Certificate | None, y: Tensor, *, prompt: bool) -> None:
        batch, device = y.shape[0], y.device
        self.stop, self.gauge, self.certificate, self.prompt = stop, gauge, certificate, prompt
        self.active = torch.ones(batch, dtype=torch.bool, device=device)
        self.status = torch.full((batch,), Status.MAX_STEPS.value, dtype=torch.int8, device=device)
        self.steps = torch.zeros(batch, dtype=torch.int64, device=device)
        self.residual = torch.full((batch,), torch.inf, dtype=gauge.dtype, device=device)
        self.products = torch.zeros(batch, dtype=torch.int64, device=device)
        self.untouched = True
        self._remaining: int | None = batch
        self._near: Tensor | None = None
        self._full: tuple[Tensor, Tensor] | None = None
        self._watched = prompt and Watch.possible(stop, gauge, y)
        self._watch: Watch | None = None
        self._room, self._nearest, self._least_limit = 0.0, torch.inf, 0.0
        self._limit: Tensor | None = None
        self._growth = stop.divergence if stop.divergence is not None else 1 / unit_roundoff(y.dtype)
        self._unit = unit_roundoff(y.dtype)

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

    @property
    def watched(self) -> bool:
        """Whether `glance` can be asked."""
        return self._watched and self._limit is not None

    def glance(
        self, t: int, y: Tensor, g: Tensor, measured: CompiledState | None, anchor: Tensor | None
    ) -> Tensor | None:
        """Ask compiled code who could leave, which is safe and changes no bit of what follows (see `_watch`).

        Args:
            t: the step.
            y: states.
            g: `G(y, x)`.
            measured: norms, where a compiled step at these states has taken them.
            anchor: states to which a sample may have come back.

        Returns:
            The samples that `judge_some` has to read, shape `(k,)`; `None` where one may be back and all have to be read.
        """
        if self._watch is None and self._limit is not None:
            self._watch = Watch(self.stop, self.gauge, self._limit, self.active)
        found = None if self._watch is None else self._watch.look(y, g, measured, anchor)
        if found is not None and t % FULL_READING == 0:
            self._near, self._full = None, (y, g)
        return found

    def may_be_quiet(self, t: int) -> bool:
        """Whether `quiet` can be asked at this step.

        Args:
            t: the step.

        Returns:
            False at every eighth step, where accelerators compute, and where the certified error is tested.
        """
        return self.prompt and t % FULL_READING != 0

    def quiet(self, residual: Tensor) -> Tensor | None:
        """Say, from residuals alone, whether everyone stays.

        A sample is looked at closely when its residual has come within a factor 1000 of the tolerance that belonged to its size
        at the last full reading, and at every eighth step and the last. So a sample could pass the test unnoticed for seven
        steps only if its image grew by a factor 1000 meanwhile.

        Args:
            residual: at the current states, shape `(batch,)`, right where it lies between the gauge's floor and infinity.

        Returns:
            The residuals, if every sample stays; `None` where a full reading has to tell.
        """
        if self._near is None:
            return None
        # First against one number for all, which is enough where the samples are alike. Comparisons with NaN are false.
        if self.untouched:
            low, high = torch.aminmax(residual) if residual.numel() > 1 else (residual, residual)
            if low.item() > self._nearest and high.item() < self._least_limit:
                return residual
            if residual.numel() == 1:
                return None
        times = residual / self._near
        if not self.untouched:
            times = torch.where(self.active, times, 1.5)
        low, high = torch.aminmax(times)
        return residual if low.item() > 1 and high.item() < self._room else None

    def _tolerance(self, size: Tensor) -> Tensor:
        scaled = size.clamp_max(torch.finfo(size.dtype).max) * self.stop.rtol
        return scaled + self.stop.atol if self.stop.atol else scaled

    def judge(self, t: int, reading: Reading, *, last: bool = False) -> None:
        """Let go of the samples that have converged, diverged or become non-finite.

        Args:
            t: the step.
            reading: what was measured at the states of step `t`.
            last: whether no step follows.
        """
        if self._limit is None:
            # The largest number as a limit keeps infinite residuals outside even where the start is already huge.
            top = torch.finfo(reading.residual.dtype).max
            self._limit = (self._growth * (reading.image + reading.residual)).clamp_max(top)
        # Every comparison with NaN is false, so a NaN residual is not `sane`, whatever it is compared with.
        if t % FULL_READING == 0 and self.stop.of is Quantity.RESIDUAL:
            self._near, self._full = self._nearness(reading), None
            if self.prompt:
                self._room = (self._limit / self._near).amin().item()
                self._nearest, self._least_limit = self._near.amax().item(), self._limit.amin().item()
        sane = reading.residual <= self._limit
        close = reading.tested <= reading.tolerance
        staying = sane & ~(close if self._near is None or last else close & (reading.residual <= self._near))
        if self.prompt and self.untouched and bool(staying.all()):
            return
        staying &= self.active
        if self.prompt and torch.equal(staying, self.active):
            return
        finite = torch.isfinite(reading.residual)
        lost = torch.where(finite, Status.DIVERGED.value, Status.NON_FINITE.value)
        self._dismiss(t, self.active & ~staying, torch.where(sane, Status.CONVERGED.value, lost), reading.residual)

    def judge_some(self, t: int, y: Tensor, g: Tensor, some: Tensor) -> None:
        """Do what `judge` does, where it is known that the others stay.

        Args:
            t: the step.
            y: states.
            g: `G(y, x)`.
            some: indices of the samples in question, shape `(k,)`, at least one.
        """
        reading = self.read(*_rows_of((y, g), some))
        limit = self._limit.index_select(0, some) if self._limit is not None else reading.residual
        residual, tested, tolerance = (part[: len(some)] for part in (reading.residual, reading.tested, reading.tolerance))
        sane, close = residual <= limit, tested <= tolerance
        if t % FULL_READING and bool(close.any()):
            near = self._near_of(some)
            close = close if near is None else close & (residual <= near)
        leaving = ~sane | close
        gone, finite = some[leaving], torch.isfinite(residual)
        if not len(gone):
            return
        lost = torch.where(finite, Status.DIVERGED.value, Status.NON_FINITE.value)
        code = torch.where(sane, Status.CONVERGED.value, lost).to(torch.int8)
        self.status = self.status.index_copy(0, gone, code[leaving])
        self.residual = self.residual.index_copy(0, gone, torch.where(finite, residual, torch.inf)[leaving])
        self.steps = self.steps.index_fill(0, gone, t)
        remaining = self.remaining() - len(gone)
        self._leave(self.active.index_fill(0, gone, False))  # noqa: FBT003
        self._remaining = remaining

    def _nearness(self, reading: Reading) -> Tensor:
        return (1000 * self._tolerance(reading.image + reading.residual)).clamp_min(self.gauge.floor)

    def _near_of(self, some: Tensor) -> Tensor | None:
        """What `_near` would be for some samples, from the states of the last eighth step where it was not needed there."""
        if self._full is None:
            return None if self._near is None else self._near.index_select(0, some)
        return self._nearness(self.read(*_rows_of(self._full, some)))[: len(some)]

    def judge_return(self, t: int, reading: Reading, y: Tensor, back: Tensor, still: Tensor) -> None:
        """Let go of the samples that came back to where they were.

        Those that no longer move, or whose residual is no larger than rounding explains, stagnate; the others cycle. With
        evaluation errors `e` a contraction's residuals obey `r' <= mu r + 2 e`, hence `r <= 2 e / (1 - mu)` on every cycle
        that rounding alone can cause. Where the operator declares no rounding, `e` is taken as `4 (sqrt(n) + 1)` unit
        roundoffs `u` of the state. Where no `mu` is known, `2 / (1 - mu)` is taken as 16, and a cycle of less than `sqrt(u)`,
        half of the dtype's digits, is put down to rounding as well.

        Args:
            t: the step.
            reading: what was measured at the states of step `t`.
            y: the states.
            back: samples that are back at an earlier state.
            still: samples whose last step did not move them.
        """
        leaving = self.active & back
        if self.prompt and not bool(leaving.any()):
            return
        floor = self._rounding_floor(reading, y)
        stagnates = still | (reading.residual <= floor)
        code = torch.where(stagnates, Status.STAGNATED.value, Status.CYCLING.value)
        self._dismiss(t, leaving, code, reading.residual)

    def _rounding_floor(self, reading: Reading, y: Tensor) -> Tensor:
        size = (reading.image + reading.residual).double()
        usual = 4 * (self.gauge.entries**0.5 + 1) * self._unit
        if self.certificate is None:
            return max(16 * usual, self._unit**0.5) * size
        declared = self.certificate.evaluation_error(self.gauge(y))
        error = usual * size if declared is None else declared
        gap = (1 - self.certificate.mu).clamp_min(torch.finfo(torch.float64).tiny)
        return 2 * error / gap + self.gauge.underflow

    def close(self, t: int, residual: Tensor) -> None:
        """Write down where the samples stand that are still iterated.

        Args:
            t: the last step.
            residual: at its states.
        """
        self._dismiss(t, self.active, torch.full_like(self.status, Status.MAX_STEPS.value), residual)

    def current(self, residual: Tensor) -> Tensor:
        """Residuals at the states as they stand, also of the samples that have left.

        Args:
            residual: at the last step.

        Returns:
            Shape `(batch,)`.
        """
        return torch.where(self.active, residual, self.residual)

    def remaining(self) -> int:
        """Count the samples that are still iterated.

        Returns:
            Their number, after waiting for the device where samples may have left.
        """
        if self._remaining is None:
            self._remaining = int(self.active.sum())
        return self._remaining

    def exclude(self, first: Solution, again: Tensor) -> None:
        """Let samples stand where an earlier solve left them.

        Args:
            first: the earlier solve.
            again: the samples that are solved again, shape `(batch,)`.
        """
        self.active = again.clone()
        self.status = torch.where(again, self.status, first.status)
        self.residual = torch.where(again, self.residual, first.residual.to(self.residual.dtype))
        self.untouched, self._remaining = False, None

    def take(self, keep: Tensor, x: Any) -> None:
        """Keep the account of some samples only.

        Args:
            keep: indices of samples that are all still iterated.
            x: their inputs.
        """
        self._near, self._full, self._watch = self._near_of(keep), None, None
        for name in ("active", "status", "steps", "residual", "products", "_limit"):
            held = getattr(self, name)
            setattr(self, name, None if held is None else held.index_select(0, keep))
        if self.certificate is not None:
            self.certificate = self.certificate.take(keep, x)
        self.untouched, self._remaining = True, len(keep)

    def _dismiss(self, t: int, leaving: Tensor, code: Tensor, residual: Tensor) -> None:
        known = torch.where(torch.isfinite(residual), residual, torch.inf)
        self.status = torch.where(leaving, code.to(torch.int8), self.status)
        self.residual = torch.where(leaving, known, self.residual)
        self.steps = torch.where(leaving, t, self.steps)
        self._leave(self.active & ~leaving)

    def _leave(self, active: Tensor) -> None:
        self.active = active
        self.untouched, self._remaining = False, None
        if self._watch is not None:
            self._watch.follow(active)


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


def _rows_of(parts: tuple[Tensor, Tensor], some: Tensor) -> tuple[Tensor, Tensor]:
    """Some rows, a lone one twice: torch splits a lone long sum over its threads, which changes the last bits."""
    if len(some) == len(parts[0]):
        return parts
    index = some if len(some) > 1 else some.expand(2)
    return parts[0].index_select(0, index), parts[1].index_select(0, index)


def _within_two_ulps(a: Tensor, b: Tensor) -> Tensor:
    """Entry by entry, so that a small entry that still moves is seen beside a large one that does not."""
    return rows((a - b).abs() <= 4 * unit_roundoff(a.dtype) * b.abs()).all(dim=1)
