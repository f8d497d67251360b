"""Trained models of an experiment: from the checkpoint of a training run that came to its end, or from a small file that ships."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from torch import nn

from experiments.common.checkpoints import load_module, load_tensors, save_module

__all__ = ["finished", "is_there", "keep", "read"]

M = TypeVar("M", bound=nn.Module)
Paths = Callable[[str], Path]


def read(name: str, seed: int, module: M, *, checkpoint: Path, shipped: Path) -> M:
    """Read a trained model.

    Args:
        name: of the model, for messages.
        seed: it was trained with.
        module: of its architecture, filled in place.
        checkpoint: of its training run.
        shipped: the file that is taken where there is no checkpoint, if it is of that seed.

    Returns:
        The module, without gradients.

    Raises:
        FileNotFoundError: neither is there.
        ValueError: the training run has not come to its end.
    """
    if checkpoint.exists():
        tensors, about = load_tensors(checkpoint)
        done, wanted = len(about["losses"]), about["config"]["schedule"]["steps"]
        if done < wanted:
            raise ValueError(
                f"model {name}, seed {seed}: got {done} of {wanted} steps; run the command train to finish it"
            )
        module.load_state_dict(
            {key.removeprefix("module."): value for key, value in tensors.items() if key.startswith("module.")}
        )
    elif _ships(seed, shipped):
        load_module(shipped, module)
    else:
        raise FileNotFoundError(f"model {name}: got no checkpoint of seed {seed}; needed one; run the command train")
    return module.requires_grad_(requires_grad=False).eval()


def finished(checkpoint: Path) -> bool:
    """Say whether a training run has come to its end.

    Args:
        checkpoint: of the run.

    Returns:
        Whether it took all of its steps; false where there is none.
    """
    if not checkpoint.exists():
        return False
    about = load_tensors(checkpoint)[1]
    return len(about["losses"]) >= int(about["config"]["schedule"]["steps"])


def is_there(seed: int, *, checkpoint: Path, shipped: Path) -> bool:
    """Say whether a model was trained, to the end or not, or ships.

    Args:
        seed: it was trained with.
        checkpoint: of its training run.
        shipped: the file that ships.

    Returns:
        Whether `read` finds something.
    """
    return checkpoint.exists() or _ships(seed, shipped)


def keep(
    models: Iterable[str], load: Callable[[str], nn.Module], *, checkpoint: Paths, shipped: Paths, largest: int
) -> list[str]:
    """Write trained models without the state of their optimisers, as many as fit into what a folder may hold.

    Args:
        models: names, most important first; those without a checkpoint are left out.
        load: reads a model by name.
        checkpoint: where a model's training run is kept.
        shipped: where it ships; all in one folder.
        largest: bytes of all `.safetensors` files of that folder together.

    Returns:
        The names that were kept.
    """
    kept: list[str] = []
    for name in models:
        if not checkpoint(name).exists():
            continue
        about, path = load_tensors(checkpoint(name))[1], shipped(name)
        save_module(path, load(name), {"config": about["config"], "steps": len(about["losses"])})
        if sum(each.stat().st_size for each in path.parent.glob("*.safetensors")) > largest:
            path.unlink()
            break
        kept.append(name)
    return kept


def _ships(seed: int, shipped: Path) -> bool:
    return shipped.exists() and load_tensors(shipped)[1]["config"]["seed"] == seed
