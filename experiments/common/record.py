"""Presets from TOML, and results as JSON with config, versions and commit."""

from __future__ import annotations

import json
import platform
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["load_preset", "provenance", "write_result"]


def load_preset(folder: Path, preset: str) -> dict[str, Any]:
    """Read one preset of an experiment.

    Args:
        folder: the experiment's folder, which holds `config.toml`.
        preset: `smoke`, `cpu` or `paper`.

    Returns:
        The settings.

    Raises:
        ValueError: no such preset.
    """
    found = tomllib.loads((folder / "config.toml").read_text())
    if preset not in found:
        message = f"preset: got {preset!r}, needed one of {', '.join(found)}; see {folder.name}/config.toml"
        raise ValueError(message)
    return dict(found[preset])


def provenance() -> dict[str, str]:
    """Say what produced a result.

    Returns:
        Versions, and the commit (with `+changes` if the tree was not clean) where git is at hand.
    """
    packages = {name: version(name) for name in ("eqtheory", "torch", "numpy", "scikit-learn")}
    return {"python": platform.python_version(), **packages, "commit": _commit()}


def _commit() -> str:
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write_result(path: Path, *, config: dict[str, Any], measured: dict[str, Any]) -> None:
    """Write a result, whole or not at all; numbers that are not finite are refused.

    Args:
        path: the JSON file; its folder is made if needed.
        config: the settings that produced it.
        measured: the numbers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"config": config, "provenance": provenance(), "measured": measured}
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")
    partial.replace(path)
