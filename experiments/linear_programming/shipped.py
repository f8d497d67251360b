"""Trained networks: from the checkpoints of a training run, or the small ones that ship with the experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eqtheory.learned import MessagePassing
from experiments.common.trained import finished, is_there, keep, read
from experiments.common.training import configuration
from experiments.linear_programming.training import Run, about, build, names, schedule_of

__all__ = ["LARGEST", "available", "load", "ship"]

LARGEST = 1_000_000
"""Bytes that the shipped models may take together."""


def _file(name: str, run: Run, results: Path) -> Path:
    return results / "models" / f"{name}-{run.seed}.safetensors"


def _wanted(name: str, run: Run) -> dict[str, Any]:
    return configuration(about(name, run), schedule_of(name, run.config))


def available(run: Run, results: Path) -> list[str]:
    """List the models of a seed that were trained to their end or ship.

    Args:
        run: the training run.
        results: folder of results.

    Returns:
        Their names. A run that has not come to its end hides what ships: it is of other settings, or will be finished.
    """

    def ready(name: str) -> bool:
        wanted, checkpoint = _wanted(name, run), run.path(name)
        return finished(wanted, checkpoint) or (
            not checkpoint.exists() and is_there(wanted, checkpoint=checkpoint, shipped=_file(name, run, results))
        )

    return [name for name in names(run.config, run.seed) if ready(name)]


def load(name: str, run: Run, results: Path) -> MessagePassing:
    """Read one trained block.

    Args:
        name: of the model.
        run: where a training run keeps its checkpoints; where it has none, the shipped model is taken.
        results: folder of results.

    Returns:
        The block in float64, without gradients.
    """
    block = build(name, run.config, run.seed)
    wanted, shipped = _wanted(name, run), _file(name, run, results)
    return read(name, block, wanted=wanted, checkpoint=run.path(name), shipped=shipped).double()


def ship(run: Run, results: Path) -> list[str]:
    """Keep the models of one seed beside the results, without optimiser states, as long as all seeds' fit.

    Args:
        run: the training run.
        results: folder of results.

    Returns:
        The names that were kept.
    """
    return keep(
        available(run, results),
        lambda name: load(name, run, results).float(),
        checkpoint=run.path,
        shipped=lambda name: _file(name, run, results),
        largest=LARGEST,
    )
