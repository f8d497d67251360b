"""Trained operators: from the checkpoints of a training run, or the small ones that ship with the experiment."""

from __future__ import annotations

from pathlib import Path

from experiments.common.checkpoints import accelerator, load_module, load_tensors, save_module
from experiments.navier_stokes.training import Model, Run, build, names

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
    kept: list[str] = []
    total = 0
    if run.seed != run.config["seeds"][0]:
        return kept
    for name in names(run.config):
        if not run.path(name).exists():
            continue
        model = load_model(name, run, results)
        path = shipped_path(name, results)
        about = load_tensors(run.path(name))[1]
        save_module(path, model, {"config": about["config"], "steps": len(about["losses"])})
        total += path.stat().st_size
        if total > LARGEST:
            path.unlink()
            break
        kept.append(name)
    return kept


def load_model(name: str, run: Run, results: Path) -> Model:
    """Read one trained model, ready to be evaluated.

    Args:
        name: of the model.
        run: where a training run keeps its checkpoints; where it has none, the shipped model is taken.
        results: folder of shipped models.

    Returns:
        The model, without gradients.

    Raises:
        FileNotFoundError: neither was trained with that seed.
        ValueError: the training run has not come to its end.
    """
    model = build(name, run.config, run.seed)
    if run.path(name).exists():
        tensors, about = load_tensors(run.path(name))
        done, wanted = len(about["losses"]), about["config"]["schedule"]["steps"]
        if done < wanted:
            raise ValueError(
                f"model {name}, seed {run.seed}: got {done} of {wanted} steps; run the command train to finish it"
            )
        model.load_state_dict(
            {key.removeprefix("module."): value for key, value in tensors.items() if key.startswith("module.")}
        )
    elif _ships(name, run, results):
        load_module(shipped_path(name, results), model)
    else:
        raise FileNotFoundError(
            f"model {name}: got no checkpoint of seed {run.seed}; needed one; run the command train"
        )
    return model.requires_grad_(requires_grad=False).eval().to(accelerator())


def _ships(name: str, run: Run, results: Path) -> bool:
    path = shipped_path(name, results)
    return path.exists() and load_tensors(path)[1]["config"]["seed"] == run.seed


def available(name: str, run: Run, results: Path) -> bool:
    """Say whether a model of a seed was trained to its end or ships.

    Args:
        name: of the model.
        run: the training run.
        results: folder of shipped models.

    Returns:
        Whether `load_model` finds it.
    """
    if run.path(name).exists():
        about = load_tensors(run.path(name))[1]
        return len(about["losses"]) >= int(about["config"]["schedule"]["steps"])
    return _ships(name, run, results)
