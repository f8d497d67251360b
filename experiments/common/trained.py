"""Trained models of an experiment: from the checkpoint of a training run that came to its end, or from a small file that ships.

Both say what they were trained with, and are refused where the settings have changed since.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from experiments.common.checkpoints import load_module, load_tensors, save_module

__all__ = ["finished", "is_there", "keep", "read"]

M = TypeVar("M", bound=nn.Module)
Paths = Callable[[str], Path]


def read(name: str, module: M, *, wanted: dict[str, Any], checkpoint: Path, shipped: Path) -> M:
    """Read a trained model.

    Args:
        name: of the model, for messages.
        module: of its architecture, filled in place.
        wanted: the configuration it has to be trained with, see `configuration`; what is None is not at hand and not compared.
        checkpoint: of its training run.
        shipped: the file that is taken where there is no checkpoint, if it is of that seed.

    Returns:
        The module, without gradients.

    Raises:
        FileNotFoundError: neither is there.
        ValueError: the training run has not come to its end, or was one of another configuration.
    """
    if checkpoint.exists():
        tensors, about = load_tensors(checkpoint)
        _same(checkpoint, about["config"], wanted)
        done, steps = len(about["losses"]), wanted["schedule"]["steps"]
        if done < steps:
            message = (
                f"model {name}, seed {wanted['seed']}: got {done} of {steps} steps; run the command train to finish it"
            )
            raise ValueError(message)
        module.load_state_dict(
            {key.removeprefix("module."): value for key, value in tensors.items() if key.startswith("module.")}
        )
    elif _ships(wanted, shipped):
        load_module(shipped, module)
    else:
        message = f"model {name}: got no checkpoint of seed {wanted['seed']}; needed one; run the command train"
        raise FileNotFoundError(message)
    return module.requires_grad_(requires_grad=False).eval()


def finished(wanted: dict[str, Any], checkpoint: Path) -> bool:
    """Say whether a training run has come to its end.

    Args:
        wanted: the configuration of the run.
        checkpoint: of the run.

    Returns:
        Whether it took all of its steps; false where there is none.

    Raises:
        ValueError: it was one of another configuration.
    """
    if not checkpoint.exists():
        return False
    about = load_tensors(checkpoint)[1]
    _same(checkpoint, about["config"], wanted)
    return len(about["losses"]) >= int(wanted["schedule"]["steps"])


def is_there(wanted: dict[str, Any], *, checkpoint: Path, shipped: Path) -> bool:
    """Say whether a model was trained, to the end or not, or ships.

    Args:
        wanted: the configuration it has to be trained with.
        checkpoint: of its training run.
        shipped: the file that ships.

    Returns:
        Whether there is something for `read`.

    Raises:
        ValueError: what ships was trained with another configuration of this seed.
    """
    return checkpoint.exists() or _ships(wanted, shipped)


def keep(
    models: Iterable[str], load: Callable[[str], nn.Module], *, checkpoint: Paths, shipped: Paths, largest: int
) -> list[str]:
    """Write trained models without the state of their optimisers, as many as fit into what a folder may hold.

    Args:
        models: names, most important first; those without a checkpoint, or with one that has not come to its end, are left out.
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
        if len(about["losses"]) < about["config"]["schedule"]["steps"]:
            continue
        save_module(path, load(name), {"config": about["config"], "steps": len(about["losses"])})
        if sum(each.stat().st_size for each in path.parent.glob("*.safetensors")) > largest:
            path.unlink()
            break
        kept.append(name)
    return kept


def _ships(wanted: dict[str, Any], shipped: Path) -> bool:
    if not shipped.exists():
        return False
    config = load_tensors(shipped)[1]["config"]
    if config["seed"] != wanted["seed"]:
        return False
    _same(shipped, config, wanted)
    return True


def _same(path: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse what was trained with other settings than those that are read now."""
    one, other = _flat(stored), _flat(json.loads(json.dumps(wanted)))
    unknown = {key for key, value in other.items() if value is None} | {"schedule.every"}  # how often it was written
    different = sorted(key for key in {*one, *other} - unknown if one.get(key) != other.get(key))
    if different:
        raise ValueError(
            f"model: {path.name} was trained with another {', '.join(different)}; needed the same configuration; "
            "go back to its settings, or delete it and run the command train"
        )


def _flat(config: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return found
