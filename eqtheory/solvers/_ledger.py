"""Who is still iterated, and how everyone else ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers._anchor import FULL_READING
from eqtheory.solvers._certificate import Certificate
from eqtheory.solvers._compiled_step import CompiledState
from eqtheory.solvers._measure import Gauge, rows
from eqtheory.solvers._past import picked
from eqtheory.solvers._reading import Bounds, Reader, Reading
from eqtheory.solvers._status import Status
from eqtheory.solvers._stop import Quantity, Stop
from eqtheory.solvers._watch import Watch

if TYPE_CHECKING:
    from eqtheory.solvers._solution import Solution

__all__ = ["Ledger"]


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
        self.watched = prompt and Watch.possible(stop, gauge, y)
        self._watch: Watch | None = None
        self._room, self._nearest, self._least_limit = 0.0, torch.inf, 0.0
        self._growth = stop.divergence if stop.divergence is not None else 1 / unit_roundoff(y.dtype)
        self._unit = unit_roundoff(y.dtype)
        self._reader = Reader(stop, gauge, certificate)
        self._bounds = Bounds(self._reader, self._growth)

    def read(self, y: Tensor, g: Tensor) -> Reading:
        """Measure one state.

        Args:
            y: states.
            g: `G(y, x)`.

        Returns:
            The measurements.
        """
        return self._reader.read(y, g)

    def glance(
        self,
        t: int,
        y: Tensor,
        g: Tensor,
        *,
        last: bool,
        measured: CompiledState | None,
        anchor: Tensor | None,
        proposal: Tensor | None,
    ) -> bool:
        """Do what `read` and `judge` do, with the help of compiled code, which changes no bit of the outcome (see `_watch`).

        Args:
            t: the step.
            y: states.
            g: `G(y, x)`.
            last: whether no step follows.
            measured: norms, where a compiled step at these states has taken them.
            anchor: states to which a sample may have come back.
            proposal: the next states where a compiled step has made them; those who leave stay where they are in it.

        Returns:
            False where somebody may be back at the anchor and everything has to be read.
        """
        watch, eighth = self._watching(y), t % FULL_READING == 0
        before = watch.left
        found = watch.look(t, y, g, eighth=eighth, last=last, measured=measured, anchor=anchor, proposal=proposal)
        if (left := watch.left - before) > 0:
            self.untouched, self._remaining = False, self.remaining() - left
        if eighth:
            self._bounds.passed(y, g, first=t == 0)
        if found > 0:
            gone = self._judge_some(t, y, g, watch.doubtful, last=last)
            if proposal is not None and len(gone):
                proposal.index_copy_(0, gone, y.index_select(0, gone))
        return found >= 0

    def settle(self, y: Tensor) -> None:
        """Compute the residuals of those whom compiled code has let go.

        Args:
            y: states, in which they still are where they left.
        """
        watch = self._watch
        if watch is None or watch.left == 0:
            return
        if watch.left == len(self.residual):
            self.residual.copy_(self.gauge.distance(watch.images, rows(y)))
            return
        gone = watch.gone.sort().values
        image, there = picked((watch.images, rows(y)), gone)
        self.residual.index_copy_(0, gone, self.gauge.distance(image, there)[: len(gone)])

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
        near = self._bounds.near
        if near is None:
            return None
        # First against one number for all, which is enough where the samples are alike. Comparisons with NaN are false.
        if self.untouched:
            low, high = torch.aminmax(residual) if residual.numel() > 1 else (residual, residual)
            if low.item() > self._nearest and high.item() < self._least_limit:
                return residual
            if residual.numel() == 1:
                return None
        times = residual / near
        if not self.untouched:
            times = torch.where(self.active, times, 1.5)
        low, high = torch.aminmax(times)
        return residual if low.item() > 1 and high.item() < self._room else None

    def judge(self, t: int, reading: Reading, *, last: bool = False) -> None:
        """Let go of the samples that have converged, diverged or become non-finite.

        Args:
            t: the step.
            reading: what was measured at the states of step `t`.
            last: whether no step follows.
        """
        limit = self._bounds.limit(reading)
        # Every comparison with NaN is false, so a NaN residual is not `sane`, whatever it is compared with.
        if t % FULL_READING == 0 and self.stop.of is Quantity.RESIDUAL:
            near = self._bounds.reckon(reading)
            if self.prompt:
                self._room = (limit / near).amin().item()
                self._nearest, self._least_limit = near.amax().item(), limit.amin().item()
        nearby = self._bounds.near
        sane = reading.residual <= limit
        close = reading.tested <= reading.tolerance
        staying = sane & ~(close if nearby is None or last else close & (reading.residual <= nearby))
        if self.prompt and self.untouched and bool(staying.all()):
            return
        staying &= self.active
        if self.prompt and torch.equal(staying, self.active):
            return
        finite = torch.isfinite(reading.residual)
        lost = torch.where(finite, Status.DIVERGED.value, Status.NON_FINITE.value)
        self._dismiss(t, self.active & ~staying, torch.where(sane, Status.CONVERGED.value, lost), reading.residual)

    def _judge_some(self, t: int, y: Tensor, g: Tensor, some: Tensor, *, last: bool) -> Tensor:
        """Do what `judge` does, where it is known that the others stay or have left; return who leaves."""
        reading = self.read(*picked((y, g), some))
        residual, tested, tolerance = (
            part[: len(some)] for part in (reading.residual, reading.tested, reading.tolerance)
        )
        sane, close = residual <= self._bounds.limit_of(some), tested <= tolerance
        if t % FULL_READING and not last and bool(close.any()):
            near = self._bounds.near_of(some)
            close = close if near is None else close & (residual <= near)
        leaving = ~sane | close
        gone, finite = some[leaving], torch.isfinite(residual)
        if len(gone):
            lost = torch.where(finite, Status.DIVERGED.value, Status.NON_FINITE.value)
            code = torch.where(sane, Status.CONVERGED.value, lost).to(torch.int8)
            known = _finite_or_infinite(residual)
            self.status.index_copy_(0, gone, code[leaving])
            self.residual.index_copy_(0, gone, known[leaving])
            self.steps.index_fill_(0, gone, t)
            self.active.index_fill_(0, gone, False)  # noqa: FBT003
            self.untouched, self._remaining = False, self.remaining() - len(gone)
        return gone

    def _watching(self, y: Tensor) -> Watch:
        """The compiled reading, which writes into this account's tensors."""
        if self._watch is None:
            self._watch = self._watch_with(torch.zeros(2, len(y), dtype=torch.float64))
        return self._watch

    def _watch_with(self, bounds: Tensor) -> Watch:
        return Watch(self.stop, self.gauge, self._growth, self.active, self.status, self.steps, bounds)

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

    def close(self, t: int, y: Tensor, g: Tensor, residual: Tensor | None) -> None:
        """Write down where the samples stand that are still iterated; they stay `active`, and out of steps.

        Args:
            t: the last step.
            y: its states.
            g: `G(y, x)`.
            residual: norms of `g - y` where they are known.
        """
        if self.prompt and self.remaining() == 0:
            return
        known = _finite_or_infinite(self.gauge.distance(g, y) if residual is None else residual)
        if self.untouched:
            self.residual.copy_(known)
            self.steps.fill_(t)
        else:
            self.residual.copy_(torch.where(self.active, known, self.residual))
            self.steps.masked_fill_(self.active, t)

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
        for name in ("active", "status", "steps", "residual", "products"):
            setattr(self, name, getattr(self, name).index_select(0, keep))
        if self._watch is not None:
            self._watch = self._watch_with(self._watch.bounds.index_select(1, keep))
        if self.certificate is not None:
            self.certificate = self.certificate.take(keep, x)
        self._reader = Reader(self.stop, self.gauge, self.certificate)
        self._bounds.take(self._reader, keep)
        self.untouched, self._remaining = True, len(keep)

    def _dismiss(self, t: int, leaving: Tensor, code: Tensor, residual: Tensor) -> None:
        known = _finite_or_infinite(residual)
        self.status.copy_(torch.where(leaving, code.to(torch.int8), self.status))
        self.residual.copy_(torch.where(leaving, known, self.residual))
        self.steps.masked_fill_(leaving, t)
        self.active.logical_and_(~leaving)
        self.untouched, self._remaining = False, None


def _finite_or_infinite(residual: Tensor) -> Tensor:
    return torch.nan_to_num(residual, nan=torch.inf, posinf=torch.inf)
