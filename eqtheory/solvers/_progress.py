"""Watching a long solve."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["ProgressBar", "Watcher"]


class Watcher(ABC):
    """Told how far a solve is, at every look of the host."""

    @abstractmethod
    def look(self, step: int, batch: int, remaining: Callable[[], int]) -> None:
        """Take notice.

        Args:
            step: steps so far.
            batch: number of samples.
            remaining: counts the samples still iterated; on an accelerator this waits for it.
        """

    @abstractmethod
    def close(self) -> None:
        """Take notice that the solve is over, also when it ended in an error."""


@final
class ProgressBar(Watcher):
    """A bar of samples that are done, on the terminal, for solves that last.

    Args:
        after: seconds before anything is shown.
        every: seconds between two updates.

    Example:
        >>> import torch
        >>> from eqtheory.solvers import fixed_point
        >>> G = lambda y, x: 0.5 * y + x
        >>> fixed_point(G, torch.ones(1), torch.zeros(1), progress=ProgressBar()).value
        tensor([2.0000])
    """

    def __init__(self, after: float = 1.0, every: float = 0.2) -> None:
        self.after, self.every = after, every
        self._bar: Progress | None = None
        self._next: float | None = None

    def look(self, step: int, batch: int, remaining: Callable[[], int]) -> None:
        """Draw the bar when it is time.

        Args:
            step: steps so far.
            batch: number of samples.
            remaining: counts the samples still iterated.
        """
        now = monotonic()
        if self._next is None:
            self._next = now + self.after
        if now < self._next:
            return
        self._next = now + self.every
        if self._bar is None:
            self._bar = _bar(batch, step)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=batch - remaining(), step=step)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._next = None


def _bar(batch: int, step: int) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    parts = TextColumn("step {task.fields[step]}"), BarColumn(), MofNCompleteColumn(), TextColumn("samples")
    bar = Progress(*parts, TimeElapsedColumn(), transient=True)
    bar.add_task("solve", total=batch, step=step)
    return bar
