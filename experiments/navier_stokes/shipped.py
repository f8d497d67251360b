"""Trained operators: from the checkpoints of a training run, or the small ones that ship with the experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.common.checkpoints import accelerator
from experiments.common.trained import finished, is_there, keep, read
from experiments.common.training import configuration
from experiments.navier_stokes.training import Model, Run, about, build, names, schedule_of

__all__ = ["LARGEST", "available", "load_model", "ship", "shipped_path"]

LARGEST = 3_000_000
"""Bytes that the shipped models may take together."""


def shipped_path(name: str, results: Path) -> Path:
    """Say where a model ships.

    Args:
        name: of the model.
        results: folder of results.

    Returns:
        The file.
    """
    return results / f"{name}.safetensors"


def ship(run: Run, results: Path) -> list[str]:
    """Keep the models of one seed beside the results, without optimiser states, as many as fit.

    Args:
        run: the training run; of the preset's first seed, so that what ships does not change with what was trained last.
        results: folder of results.

    Returns:
        The names that were kept; none where another seed was trained.
    """
    if run.seed != run.config["seeds"][0]:
        return []
    return keep(
        names(run.config, run.seed),
        lambda name: load_model(name, run, results),
        checkpoint=run.path,
        shipped=lambda name: shipped_path(name, results),
        largest=LARGEST,
    )


def load_model(name: str, run: Run, results: Path, data: str | None = None) -> Model:
    """Read one trained model, ready to be evaluated.

    Args:
        name: of the model.
        run: where a training run keeps its checkpoints; where it has none, the shipped model is taken.
        results: folder of shipped models.
        data: digest of what it has to be trained on, where that is at hand.

    Returns:
        The model, without gradients.

    Raises:
        FileNotFoundError: it was not trained and does not ship.
        ValueError: its training has not come to its end, or was one with other settings.
    """
    wanted, model = _wanted(name, run, data), build(name, run.config, run.seed)
    read(name, model, wanted=wanted, checkpoint=run.path(name), shipped=shipped_path(name, results))
    return model.to(accelerator())


def available(name: str, run: Run, results: Path, data: str | None = None) -> bool:
    """Say whether a model of a seed was trained to its end or ships.

    Args:
        name: of the model.
        run: the training run.
        results: folder of shipped models.
        data: digest of what it has to be trained on, where that is at hand.

    Returns:
        Whether `load_model` finds it.

    Raises:
        ValueError: it was trained with other settings.
    """
    checkpoint, wanted = run.path(name), _wanted(name, run, data)
    if checkpoint.exists():
        return finished(wanted, checkpoint)
    return is_there(wanted, checkpoint=checkpoint, shipped=shipped_path(name, results))


def _wanted(name: str, run: Run, data: str | None) -> dict[str, Any]:
    return configuration(about(name, run, data), schedule_of(name, run.config))
