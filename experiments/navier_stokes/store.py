"""Data sets on disk: numbered chunks, each complete or absent, and a manifest that says what they were made from."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from eqtheory.errors import InputError

__all__ = ["Chunk", "DataSet", "chunk_path", "claim_folder", "load", "read_chunk", "write_chunk"]

_FIELDS = (
    "index",
    "g",
    "c",
    "viscosity",
    "grashof",
    "residual",
    "tail",
    "kind",
    "smallness",
    "margin",
    "leading",
    "error",
    "lipschitz",
)


@dataclass(frozen=True)
class Chunk:
    """Samples of consecutive numbers that were certified, and what became of the others.

    Args:
        columns: one array per field, the accepted samples along the first axis.
        rejected: one entry per rejected sample: its number, Grashof number, viscosity, reason and last residuals.
    """

    columns: dict[str, np.ndarray[Any, Any]]
    rejected: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.columns["index"])


def chunk_path(folder: Path, number: int) -> Path:
    """Where a chunk is kept.

    Args:
        folder: of the data set.
        number: of the chunk.

    Returns:
        The path.
    """
    return folder / f"chunk-{number:05d}.npz"


def claim_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Make the folder, or make sure that it holds data of the same settings.

    Args:
        folder: of the data set.
        settings: everything the samples depend on.

    Raises:
        InputError: it holds data of other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.json"
    text = json.dumps(settings, indent=1, sort_keys=True) + "\n"
    if not manifest.exists():
        _atomically(manifest, text.encode())
    elif json.loads(manifest.read_text()) != json.loads(text):
        raise InputError("folder", folder.name, "an empty folder or data of the same settings", "choose another folder")


def _atomically(path: Path, content: bytes) -> None:
    """Write next to the file and rename: whoever is killed in between leaves no half file of that name."""
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_chunk(path: Path, chunk: Chunk) -> None:
    """Write a chunk, all of it or nothing.

    Args:
        path: the file.
        chunk: its content.
    """
    buffer = io.BytesIO()
    columns: dict[str, Any] = {"rejected": np.array(json.dumps(chunk.rejected)), **chunk.columns}
    np.savez_compressed(buffer, **columns)
    _atomically(path, buffer.getvalue())


def read_chunk(path: Path) -> Chunk:
    """Read a chunk.

    Args:
        path: the file.

    Returns:
        Its content.
    """
    with np.load(path, allow_pickle=False) as file:
        return Chunk({name: file[name] for name in _FIELDS}, json.loads(str(file["rejected"])))


@dataclass(frozen=True)
class DataSet:
    """Certified pairs of forces and flows.

    Args:
        torus: the truncated space.
        columns: one tensor per field, samples along the first axis.
        rejected: what became of the other samples that were drawn.
    """

    torus: GalerkinTorus
    columns: dict[str, Tensor]
    rejected: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.columns["index"])

    @property
    def curl(self) -> Tensor:
        """Curls of the forces on the grid, shape `(samples, x, y)`."""
        return self.torus.field(self.columns["g"])

    @property
    def vorticity(self) -> Tensor:
        """Vorticities on the grid, shape `(samples, x, y)`."""
        return self.torus.field(self.columns["c"])


def load(folder: Path) -> DataSet:
    """Read a data set: the first samples in the order of their numbers, as many as the manifest wants.

    Args:
        folder: of the data set.

    Returns:
        The data.

    Raises:
        InputError: there is no data set, or it is not complete.
    """
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise InputError("folder", str(folder.name), "a folder with a manifest.json", "run generate first")
    settings = json.loads(manifest.read_text())
    wanted, number, chunks, have = int(settings["samples"]), 0, [], 0
    while have < wanted and chunk_path(folder, number).exists():
        chunks.append(read_chunk(chunk_path(folder, number)))
        have += len(chunks[-1])
        number += 1
    if have < wanted:
        needed = f"{wanted} samples without a gap"
        raise InputError("folder", f"{have} samples in {number} chunks", needed, "run generate again: it resumes")
    columns = {k: torch.from_numpy(np.concatenate([chunk.columns[k] for chunk in chunks])[:wanted]) for k in _FIELDS}
    last = int(columns["index"][-1])
    rejected = [entry for chunk in chunks for entry in chunk.rejected if entry["index"] < last]
    points = settings["points"]
    return DataSet(GalerkinTorus((points, points), settings["aspect"]), columns, rejected)
