"""Instances with their solutions, kept between runs: solving them takes minutes, reading them does not."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from eqtheory.constructions import LinearProgram
from eqtheory.nests import take
from experiments.common.checkpoints import load_tensors, random_generator, save_tensors
from experiments.linear_programming.reference import References, feasible_programs

__all__ = ["first", "held_out_set", "training_set"]


def training_set(config: dict[str, Any], folder: Path) -> References:
    """Draw or read the instances that networks are trained on.

    Args:
        config: the preset's settings.
        folder: where they are kept.

    Returns:
        Instances and solutions, float64.
    """
    about = {"set": "training", "seed": config["seed"], "count": config["learning"]["instances"]}
    return _kept(folder / "training_set.safetensors", about, random_generator(config["seed"], 1))


def held_out_set(config: dict[str, Any], folder: Path) -> References:
    """Draw or read the instances that everything is measured on, by the classical half as well.

    Args:
        config: the preset's settings.
        folder: where they are kept.

    Returns:
        Instances and solutions, float64.
    """
    about = {"set": "held out", "seed": config["seed"], "count": config["instances"]}
    return _kept(folder / "held_out_set.safetensors", about, torch.Generator().manual_seed(config["seed"]))


def first(found: References, count: int) -> References:
    """Keep the first instances.

    Args:
        found: instances.
        count: how many.

    Returns:
        Those, with their ids.
    """
    return take(found, torch.arange(count), found.program.shape[0])


def _kept(path: Path, about: dict[str, Any], generator: torch.Generator) -> References:
    if path.exists():
        tensors, said = load_tensors(path)
        if said != about:
            message = f"{path.name}: got instances of {said}, needed {about}; delete it to draw anew"
            raise ValueError(message)
        return _read(tensors)
    found = feasible_programs(about["count"], generator)
    save_tensors(path, _written(found), about)
    return found


def _written(found: References) -> dict[str, torch.Tensor]:
    program = {f"program.{f.name}": getattr(found.program, f.name) for f in fields(found.program)}
    return program | {f.name: getattr(found, f.name) for f in fields(found) if f.name != "program"}


def _read(tensors: dict[str, torch.Tensor]) -> References:
    program = {name.removeprefix("program."): value for name, value in tensors.items() if name.startswith("program.")}
    rest = {name: value for name, value in tensors.items() if not name.startswith("program.")}
    return References(LinearProgram(**program), **rest)
