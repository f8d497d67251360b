"""Trained models: from the checkpoints of a training run, or the small ones that ship with the experiment."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from experiments.common.checkpoints import accelerator, load_module, load_tensors, save_module
from experiments.reasoning.training import Run, blank

__all__ = ["LARGEST", "SHIPPED", "available", "load", "ship"]

LARGEST = 8_000_000
"""Bytes that the shipped models may take together."""
SHIPPED = ("recurrent", "same_parameters")
"""Models that ship."""


def ship(run: Run, results: Path) -> list[str]:
    """Keep the models of one task beside the results, without optimiser states.

    Args:
        run: the training run; of the preset's first seed, so that what ships does not change with what was trained last.
        results: folder of results.

    Returns:
        The names that were kept; none where another seed was trained, or where the files together would become too large.
    """
    kept: list[str] = []
    if run.seed != run.config["seeds"][0]:
        return kept
    for name in SHIPPED:
        if not run.path(name).exists():
            continue
        model = load(name, run, results)
        path = _file(name, run, results)
        about = load_tensors(run.path(name))[1]
        save_module(path, model, {"config": about["config"], "steps": len(about["losses"])})
        if sum(file.stat().st_size for file in results.glob("*.safetensors")) > LARGEST:
            path.unlink()
            break
        kept.append(name)
    return kept


def load(name: str, run: Run, results: Path) -> nn.Module:
    """Read one trained model, ready to be evaluated.

    Args:
        name: of the model.
        run: where a training run keeps its checkpoints; where it has none, the shipped model is taken.
        results: folder of shipped models.

    Returns:
        The model, without gradients.

    Raises:
        FileNotFoundError: it was not trained with that seed, and does not ship.
        ValueError: the training run has not come to its end.
    """
    model = blank(name, run)
    if run.path(name).exists():
        tensors, about = load_tensors(run.path(name))
        done, wanted = len(about["losses"]), about["config"]["schedule"]["steps"]
        if done < wanted:
            raise ValueError(
                f"model {name} of {run.task}, seed {run.seed}: got {done} of {wanted} steps; run the command train to finish it"
            )
        model.load_state_dict(
            {key.removeprefix("module."): value for key, value in tensors.items() if key.startswith("module.")}
        )
    elif _ships(name, run, results):
        load_module(_file(name, run, results), model)
    else:
        raise FileNotFoundError(
            f"model {name} of {run.task}: got no checkpoint of seed {run.seed}; needed one; run the command train"
        )
    return model.requires_grad_(requires_grad=False).eval().to(accelerator())


def available(name: str, run: Run, results: Path) -> bool:
    """Say whether a model of a seed was trained or ships.

    Args:
        name: of the model.
        run: the training run.
        results: folder of shipped models.

    Returns:
        Whether `load` finds it.
    """
    return run.path(name).exists() or _ships(name, run, results)


def _file(name: str, run: Run, results: Path) -> Path:
    return results / f"{run.task}-{name}.safetensors"


def _ships(name: str, run: Run, results: Path) -> bool:
    path = _file(name, run, results)
    return path.exists() and load_tensors(path)[1]["config"]["seed"] == run.seed
