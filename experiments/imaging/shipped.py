"""Trained models: from the checkpoints of a training run, or the small ones that ship with the experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from experiments.common.checkpoints import accelerator
from experiments.common.trained import is_there, keep, read
from experiments.common.training import configuration
from experiments.imaging.training import Run, about, blank, names, schedule_of

__all__ = ["LARGEST", "available", "load", "load_all", "ship"]

LARGEST = 3_000_000
"""Bytes that the shipped models may take together."""
SHIPPED = ("denoiser", "explicit", "hqs", "pgd", "unrolled4", "hqs_implicit_gradient", "hqs_jacobian_free", "unrolled2")
"""Models that ship, most important first."""


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
        SHIPPED,
        lambda name: load(name, run, results),
        checkpoint=run.path,
        shipped=lambda name: results / f"{name}.safetensors",
        largest=LARGEST,
    )


def load(name: str, run: Run, results: Path) -> nn.Module:
    """Read one trained model, ready to be evaluated.

    Args:
        name: of the model, or `denoiser`.
        run: where a training run keeps its checkpoints; where it has none, the shipped model is taken.
        results: folder of shipped models.

    Returns:
        The model, without gradients.
    """
    wanted, shipped = _wanted(name, run), results / f"{name}.safetensors"
    model = read(name, blank(name, run.config), wanted=wanted, checkpoint=run.path(name), shipped=shipped)
    return model.to(accelerator())


def available(name: str, run: Run, results: Path) -> bool:
    """Say whether a model of a seed was trained or ships.

    Args:
        name: of the model, or `denoiser`.
        run: the training run.
        results: folder of shipped models.

    Returns:
        Whether `load` finds it.
    """
    return is_there(_wanted(name, run), checkpoint=run.path(name), shipped=results / f"{name}.safetensors")


def _wanted(name: str, run: Run) -> dict[str, Any]:
    return configuration(about(name, run), schedule_of(name, run.config))


def load_all(run: Run, results: Path) -> dict[str, nn.Module]:
    """Read every model of a seed that was trained or ships.

    Args:
        run: the training run.
        results: folder of shipped models.

    Returns:
        Models by name, `denoiser` among them.
    """
    found = {}
    for name in ("denoiser", *names(run.config)):
        if available(name, run, results):
            found[name] = load(name, run, results)
    if "denoiser" not in found:
        load("denoiser", run, results)  # raises, and says what to do
    return found
