"""The part that all theorems with a zoo of wrong bounds share: honest on the same instances on which the wrong one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from eqtheory.testing.evidence import Recorder
from eqtheory.testing.margins import relative_margin
from eqtheory.testing.zoo import BrokenBound

__all__ = ["Comparison", "rejects"]

Comparison = tuple[str, dict[str, Any], Tensor]
"""The inequality's name, its quantities, and the slack that rounding is granted."""


def rejects(
    evidence: Recorder,
    wrong: BrokenBound,
    honest: Mapping[str, Callable[..., tuple[Any, Any]]],
    comparisons: Iterable[Comparison],
) -> None:
    """Record that a wrong bound fails where the honest one holds.

    Args:
        evidence: receives the worst margin; positive infinity where no comparison is about the bound, which is no catch.
        wrong: the wrong bound.
        honest: both sides of every inequality, by name.
        comparisons: instances.
    """
    worst = float("inf")
    for name, quantities, slack in comparisons:
        if name == wrong.about:
            assert float(relative_margin(honest[name](**quantities), slack).min()) >= 0
            worst = min(worst, float(relative_margin(wrong.sides(**quantities), slack).min()))
    evidence.caught(wrong.name, worst)
