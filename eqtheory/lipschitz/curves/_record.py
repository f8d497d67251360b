"""What is asked of a curve, and the rows it collects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.bounds import Evidence
from eqtheory.lipschitz.curves._block import Block, norm_of_block
from eqtheory.lipschitz.curves._findings import Finding, Shape, Tail, depends_on_start, levels_off, turns
from eqtheory.lipschitz.curves._iteration import Iteration, last_iterate, name_of
from eqtheory.lipschitz.curves._result import Curve
from eqtheory.operators import ImplicitOperator

__all__ = ["Record", "Task"]


@final
@dataclass(frozen=True, eq=False)
class Task:
    """What is asked of a curve.

    Args:
        G: the operator.
        x: inputs.
        start: `y_0`.
        wanted: the iterations to look at, increasing.
        iteration: the iteration; Picard's where `None`.
        block: tangents of the input.
        target: what the iterates should be.
        other_starts: further starts.
    """

    G: ImplicitOperator
    x: Any
    start: Tensor
    wanted: list[int]
    iteration: Iteration | None
    block: Block
    target: Tensor | None
    other_starts: Sequence[Tensor]


@final
class Record:
    """Collects rows; samples that have left the range of the type repeat their last one.

    Args:
        task: what is asked.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.norm, self.tail = task, task.G.norm, Tail()
        self._wanted = set(task.wanted)
        self._steps: list[int] = []
        self._lower: list[Tensor] = []
        self._upper: list[Tensor] = []
        self._residual: list[Tensor] = []
        self._error: list[Tensor] = []
        self._size: list[Tensor] = []
        self._left = torch.full((task.start.shape[0],), -1, dtype=torch.int64, device=task.start.device)

    def add(
        self,
        steps: Sequence[int],
        states: list[Tensor],
        images: list[Tensor],
        tangents: list[Tensor],
        alive: Tensor,
        upper: Tensor | None,
    ) -> None:
        """Keep a stretch whose slopes are those of tangents.

        Args:
            steps: numbers of the steps.
            states: `y_t` at each.
            images: `G(y_t, x)`.
            tangents: of the states, shape `(K, batch, ...)` each.
            alive: samples that are finite at the end of the stretch, shape `(batch,)`.
            upper: upper bounds, shape `(steps, batch)`.
        """
        rows = [row for row, t in enumerate(steps) if t in self._wanted]
        if rows:
            block = self.task.block
            repeated = block.directions.repeat(1, len(rows), 1) if block.spans else block.directions
            blocks = replace(block, directions=repeated)
            slopes = norm_of_block(torch.cat([tangents[r] for r in rows], dim=1), blocks, self.norm)
            self.measured(
                [steps[r] for r in rows],
                torch.cat([states[r] for r in rows]),
                torch.cat([images[r] for r in rows]),
                slopes.reshape(len(rows), -1),
                alive,
                None if upper is None else upper[rows],
            )
        for y in states:
            self.tail.add(y)
        self.left(steps[-1], ~alive)

    def measured(
        self, steps: list[int], states: Tensor, images: Tensor, slopes: Tensor, alive: Tensor, upper: Tensor | None
    ) -> None:
        """Keep rows whose slopes are known.

        Args:
            steps: numbers of the steps.
            states: `y_t`, one step after the other, shape `(steps * batch, ...)`.
            images: `G(y_t, x)`, alike.
            slopes: lower bounds, shape `(steps, batch)`.
            alive: samples that are finite, shape `(batch,)`.
            upper: upper bounds, if there are any.
        """
        shape = (len(steps), -1)
        self._steps += steps
        self._lower.append(slopes)
        self._residual.append(torch.where(alive, self.norm(images - states).reshape(shape), torch.inf))
        self._size.append(self.norm(states).reshape(shape))
        if self.task.target is not None:
            target = self.task.target.repeat(len(steps), *[1] * (states.ndim - 1))
            self._error.append(self.norm(states - target).reshape(shape))
        if upper is not None:
            self._upper.append(upper)
        self.left(steps[-1], ~alive)

    def left(self, t: int, samples: Tensor) -> None:
        """Say that samples, or runs they are compared with, have left the range of the type.

        Args:
            t: the step.
            samples: which ones, booleans, shape `(batch,)`.
        """
        self._left = torch.where((self._left < 0) & samples, t, self._left)

    @property
    def steps(self) -> Tensor:
        """The steps that were kept, shape `(k,)`."""
        return torch.tensor(self._steps)

    def finish(
        self,
        *,
        how: str,
        exact: bool,
        rests_on: tuple[str, ...],
        evaluations: Tensor,
        assumptions: tuple[str, ...],
        evidence: Evidence = Evidence.PROVED,
    ) -> Curve:
        """Make the curve.

        Args:
            how: how the lower side was found.
            exact: whether it is the norm of the whole derivative.
            rests_on: what it rests on.
            evaluations: of the operator up to every step, per sample.
            assumptions: what the upper side rests on, or why there is none.
            evidence: whether the lower side is proved or estimated.

        Returns:
            The curve.
        """
        slopes = torch.cat(self._lower)
        error = torch.cat(self._error) if self._error else None
        return Curve(
            iteration=name_of(self.task.iteration),
            how=how,
            exact=exact,
            rests_on=rests_on,
            evidence=evidence,
            norms=(self.task.block.norm.name, self.norm.name),
            steps=self.steps,
            lower=slopes,
            upper=torch.cat(self._upper) if self._upper else None,
            residual=torch.cat(self._residual),
            error=error,
            size=torch.cat(self._size),
            evaluations=evaluations,
            findings=self._findings(slopes, error),
            assumptions=assumptions,
        )

    def _findings(self, slopes: Tensor, error: Tensor | None) -> tuple[Finding, ...]:
        task = self.task
        found: list[Finding | None] = [levels_off(slopes, among=self._left < 0), self.tail.cycles(self.norm)]
        if error is not None and task.target is not None:
            found.append(turns(error, floor=64 * torch.finfo(error.dtype).eps * self.norm(task.target)))
        if bool((self._left >= 0).any()):
            found.append(Finding(Shape.DIVERGENCE, self._left >= 0, self._left, "at step"))
        if task.other_starts:
            ends = [self.tail.last]
            ends += [
                last_iterate(task.G, task.x, other, task.wanted[-1], task.iteration) for other in task.other_starts
            ]
            with torch.no_grad():
                residuals = torch.stack([self.norm(task.G(end, task.x) - end) for end in ends])
            found.append(depends_on_start(torch.stack(ends), residuals, self.norm))
        return tuple(finding for finding in found if finding is not None)
