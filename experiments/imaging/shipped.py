"""Trained models: from the checkpoints of a training run, or the small ones that ship with the experiment."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from experiments.common.checkpoints import accelerator, load_module, load_tensors, save_module
from experiments.imaging.training import Run, blank, names

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
    kept: list[str] = []
    total = 0
    if run.seed != run.config["seeds"][0]:
        return kept
    for name in SHIPPED:
        if not run.path(name).exists():
            continue
        model = load(name, run, results)
        path = results / f"{name}.safetensors"
        about = load_tensors(run.path(name))[1]
        save_module(path, model, {"config": about["config"], "steps": len(about["losses"])})
        total += path.stat().st_size
        if total > LARGEST:
            path.unlink()
            break
        kept.append(name)
    return kept


def load(name: str, run: Run, results: Path) -> nn.Module:
    """Read one trained model, ready to be evaluated.

    Args:
        name: of the model, or `denoiser`.
        run: where a training run keeps its checkpoints; where it has none, the shipped model is taken.
        results: folder of shipped models.

    Returns:
        The model, without gradients.

    Raises:
        FileNotFoundError: neither was trained with that seed.
        ValueError: the training run has not come to its end.
    """
    model = blank(name, run.config)
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
        load_module(results / f"{name}.safetensors", model)
    else:
        raise FileNotFoundError(
            f"model {name}: got no checkpoint of seed {run.seed}; needed one; run the command train"
        )
    return model.requires_grad_(requires_grad=False).eval().to(accelerator())


def _ships(name: str, run: Run, results: Path) -> bool:
    path = results / f"{name}.safetensors"
    return path.exists() and load_tensors(path)[1]["config"]["seed"] == run.seed


def available(name: str, run: Run, results: Path) -> bool:
    """Say whether a model of a seed was trained or ships.

    Args:
        name: of the model, or `denoiser`.
        run: the training run.
        results: folder of shipped models.

    Returns:
        Whether `load` finds it.
    """
    return run.path(name).exists() or _ships(name, run, results)


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
