"""Which files does a run write, and what do they say about where they come from?

`evidence.json` and `evidence.html`, with the versions of what computed them, the commit of the tree they were run
from and the Hypothesis profile and seed. Nothing in them names a folder of the machine: paths of the tree, of the
interpreter and of the home folder are replaced, also inside messages.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqtheory.testing.report.as_html import page
from eqtheory.testing.report.as_json import document
from eqtheory.testing.report.summary import Summary

if TYPE_CHECKING:
    import pytest

__all__ = ["portable", "provenance", "write_reports"]

_PACKAGES = ("eqtheory", "torch", "numpy", "hypothesis", "pytest")
_GIT_SECONDS = 10
# A status of a large tree on a cold disk takes seconds; a hanging one must not hold the run up.


def write_reports(summary: Summary, directory: Path, config: pytest.Config) -> tuple[Path, ...]:
    """Write both files.

    Args:
        summary: the run.
        directory: where; made if absent.
        config: the run's configuration.

    Returns:
        The paths written.
    """
    run = provenance(config)
    directory.mkdir(parents=True, exist_ok=True)
    texts = {
        "evidence.json": json.dumps(document(summary, run), indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        "evidence.html": page(summary, run),
    }
    for name, text in texts.items():
        (directory / name).write_text(portable(text, config.rootpath), encoding="utf-8")
    return tuple(directory / name for name in texts)


def provenance(config: pytest.Config) -> dict[str, Any]:
    """Say with what a run was made.

    Args:
        config: the run's configuration.

    Returns:
        Time, versions, commit and the state of Hypothesis, as JSON values.
    """
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "git": _git(config.rootpath),
        "hypothesis": _hypothesis(config),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(root: Path) -> dict[str, Any] | None:
    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_SECONDS).stdout.strip()

    try:
        return {
            "commit": ask("rev-parse", "HEAD"),
            "changed": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or no repository


def _hypothesis(config: pytest.Config) -> dict[str, Any] | None:
    # Read off the module only where something else has imported it: a suite without properties has no profile.
    module = sys.modules.get("hypothesis")
    if module is None:
        return None
    seed = config.getoption("--hypothesis-seed", default=None)
    return {"profile": module.settings.get_current_profile_name(), "seed": None if seed is None else str(seed)}


def portable(text: str, root: Path) -> str:
    """Take the folders of this machine out of a text.

    Args:
        text: any text.
        root: the root of the tree.

    Returns:
        The text with the tree as '.', the interpreter as '<python>' and the home folder as '~'.
    """
    for folder, short in (
        (root, "."),
        (Path(sys.prefix), "{python}"),
        (Path(sys.base_prefix), "{python}"),
        (Path.home(), "~"),
    ):
        if len(folder.parts) > 1:  # never the root of the file system
            text = re.sub(rf"(?<![\w.~-]){re.escape(str(folder))}(?![\w.-])", short, text)
    return text
