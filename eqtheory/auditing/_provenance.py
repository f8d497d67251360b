"""With what an audit was made."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import eqtheory

__all__ = ["provenance"]


def provenance(**settings: Any) -> dict[str, Any]:
    """Collect what is needed to make it again.

    Args:
        settings: seed, samples and the like.

    Returns:
        Settings, time and versions, as JSON values.
    """
    versions = {"python": platform.python_version(), "eqtheory": eqtheory.__version__}
    for package in ("torch", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # installed in a way that leaves no metadata
            continue
    return {"made": datetime.now(UTC).isoformat(timespec="seconds"), "settings": settings, "versions": versions}
