"""Checkpoints that survive being killed: tensors as safetensors, replaced in one move, read without running any code."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eqtheory.errors import MissingDependencyError

__all__ = ["accelerator", "digest", "load_module", "load_tensors", "random_generator", "save_module", "save_tensors"]


def _safetensors() -> Any:
    try:
        import safetensors.torch as found
    except ImportError:
        raise MissingDependencyError("safetensors", "imaging") from None
    return found


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write tensors so that at any moment either the old file or the new one is there, whole.

    Args:
        path: the file; its folder is made if needed.
        tensors: by name.
        about: what JSON can hold: configuration, step, history.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    data = _safetensors().save(content, metadata={"about": json.dumps(about, sort_keys=True)})
    partial = path.with_suffix(path.suffix + ".partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Args:
        path: the file.

    Returns:
        The tensors by name, and what was said about them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or was written by something else.
    """
    if not path.exists():
        raise FileNotFoundError(f"checkpoint: got {path.name}, which does not exist; train first")
    _safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get("about")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except SafetensorError as error:
        raise ValueError(f"checkpoint: {path.name} is damaged ({error}); delete it and train again") from error
    if about is None:
        raise ValueError(f"checkpoint: {path.name} says nothing about itself; needed a file written by this project")
    return tensors, dict(json.loads(about))


def save_module(path: Path, module: nn.Module, about: dict[str, Any]) -> None:
    """Write a module's parameters and buffers.

    Args:
        path: the file.
        module: whose state is written.
        about: configuration and whatever else belongs to it.
    """
    save_tensors(path, dict(module.state_dict()), about)


def load_module(path: Path, module: nn.Module) -> dict[str, Any]:
    """Read a module's parameters and buffers into it.

    Args:
        path: the file.
        module: of the architecture that was saved.

    Returns:
        What was said about it.

    Raises:
        ValueError: the file holds another architecture.
    """
    tensors, about = load_tensors(path)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"checkpoint: {path.name} holds another architecture: {error}") from error
    return about


def accelerator() -> torch.device:
    """Say where networks run: on the GPU if there is one.

    Returns:
        The device.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def digest(*tensors: Tensor) -> str:
    """Name numbers by their bytes.

    Args:
        *tensors: in a fixed order.

    Returns:
        Sixteen hexadecimal digits, the same for equal values, shapes and types.
    """
    found = sha256()
    for t in tensors:
        value = t.detach().cpu().contiguous()
        found.update(f"{value.dtype}{tuple(value.shape)}".encode())
        found.update(value.numpy().tobytes())
    return found.hexdigest()[:16]


def random_generator(*numbers: int) -> torch.Generator:
    """Make a generator from a few integers, independent for different tuples.

    Args:
        *numbers: for example seed and step.

    Returns:
        A fresh generator on the CPU.
    """
    from numpy.random import SeedSequence

    return torch.Generator().manual_seed(int(SeedSequence(numbers).generate_state(1, "uint64")[0] >> 1))
