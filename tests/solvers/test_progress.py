"""Who watches a solve is told the truth, and only when it lasts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from eqtheory.errors import InputError, SolverError
from eqtheory.solvers import ProgressBar, Stop, Watcher, _progress, fixed_point
from tests.problems import problem


class Notes(Watcher):
    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.closed = 0

    def look(self, step: int, batch: int, remaining: Callable[[], int]) -> None:
        self.seen.append((step, batch, remaining()))

    def close(self) -> None:
        self.closed += 1


def test_a_watcher_sees_samples_leave() -> None:
    p = problem("reciprocal", torch.float64)
    notes = Notes()
    s = fixed_point(p.operator, p.x, p.y0, stop=Stop(rtol=1e-6, max_steps=5000), progress=notes)
    assert notes.closed == 1
    assert [step for step, _, _ in notes.seen] == list(range(int(s.steps.max())))
    assert {batch for _, batch, _ in notes.seen} == {4}
    for step, _, remaining in notes.seen:
        assert remaining == int((s.steps > step).sum())


def test_a_watcher_is_told_of_the_end_of_a_failed_solve() -> None:
    notes = Notes()
    x = torch.ones(1, 2)
    with pytest.raises(SolverError):
        fixed_point(lambda y, x: 3 * y + x, x, x, progress=notes)
    assert notes.closed == 1

    def breaks(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if bool((y > 2).any()):
            raise RuntimeError("out of range")
        return y + x

    with pytest.raises(RuntimeError, match="out of range"):
        fixed_point(breaks, x, x, progress=notes)
    assert notes.closed == 2


def test_a_bar_shows_solves_that_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr(_progress, "monotonic", lambda: now[0])
    asked = []

    def remaining() -> int:
        asked.append(1)
        return 3

    bar = ProgressBar(after=1.0, every=0.2)
    for _ in range(40):
        bar.look(1, 10, remaining)
        now[0] += 0.05
    assert bar._bar is not None
    assert bar._bar.tasks[0].completed == 7
    assert len(asked) == 5  # from one second on, every 0.2 seconds
    bar.close()
    assert bar._bar is None
    bar.look(1, 10, remaining)  # and it can be used again, from the start
    assert bar._bar is None
    bar.close()


def test_objects_that_cannot_watch_are_refused() -> None:
    x = torch.ones(1, 2)
    with pytest.raises(InputError, match="progress: got True, needed a Watcher; pass for example progress=ProgressBar"):
        fixed_point(lambda y, x: 0.5 * y + x, x, x, progress=True)
