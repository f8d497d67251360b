"""`eqtheory check`: run the checks of the theorems."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import tyro

from eqtheory.cli._registry import find
from eqtheory.errors import InputError, MissingDependencyError

__all__ = ["Check"]

_SUITE = "proofs_check"


@dataclass(frozen=True)
class Check:
    """Run the checks of the theorems and say what they establish.

    Args:
        theorem: only this theorem or control, for example T3 or N1; may be given several times, all where it is not.
        workers: processes that share the work.
        report_dir: where evidence.json and evidence.html go.
        profile: how long to search for counterexamples.
    """

    # Appended: with several values at once, the second of `--theorem T3 --theorem N1` would replace the first.
    theorem: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    workers: int = 1
    report_dir: Path = Path("build/proofs_check")
    profile: Literal["default", "quick", "thorough"] = "default"

    def run(self) -> int:
        """Run the suite.

        Returns:
            The exit code of pytest.

        Raises:
            InputError: the number of workers is not positive, or the suite is not installed.
            MissingDependencyError: something the suite runs on is not installed.
        """
        if self.workers < 1:
            raise InputError("workers", str(self.workers), "at least 1", "pass --workers 2 for two processes")
        wanted = [find(name).id for name in self.theorem]
        for package in ("pytest", "hypothesis", *(["xdist"] if self.workers > 1 else [])):
            if find_spec(package) is None:
                raise MissingDependencyError(package, "check")
        suite = find_spec(_SUITE)
        folders = list(suite.submodule_search_locations or []) if suite is not None else []
        if not folders:
            raise InputError(
                _SUITE, "no such package", "the suite beside the library", "install the whole distribution"
            )
        import pytest

        arguments = [
            folders[0],
            f"--eqtheory-report-dir={self.report_dir}",
            f"--hypothesis-profile=eqtheory-{self.profile}",
            "--import-mode=importlib",
            # This program is already running when pytest starts; that its own modules are not rewritten is no news.
            "-Wignore::pytest.PytestAssertRewriteWarning",
            "-p",
            "no:cacheprovider",  # an installed suite lies in a folder that is not ours to write to
            *(f"--eqtheory-theorem={name}" for name in wanted),
            *(["-n", str(self.workers)] if self.workers > 1 else []),
        ]
        return int(pytest.main(arguments))
