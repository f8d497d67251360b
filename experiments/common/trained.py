"""Trained models of an experiment: from the checkpoint of a training run that came to its end, or from a small file that ships."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from torch import nn

from experiments.common.checkpoints import load_module, load_tensors, save_module

__all__ = ["is_there", "keep", "read"]

M = TypeVar("M", bound=nn.Module)


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


def keep(module: nn.Module, *, checkpoint: Path, shipped: Path) -> int:
    """Write a trained model without the state of its optimiser.

    Args:
        module: as `read` returned it.
        checkpoint: of its training run.
        shipped: the file.

    Returns:
        Its bytes.
    """
    about = load_tensors(checkpoint)[1]
    save_module(shipped, module, {"config": about["config"], "steps": len(about["losses"])})
    return shipped.stat().st_size


def _ships(seed: int, shipped: Path) -> bool:
    return shipped.exists() and load_tensors(shipped)[1]["config"]["seed"] == seed
