"""Run the theorem suite, read a theorem, cite it: `eqtheory check | theorem | cite`.

Reading and citing load the registry alone; torch is loaded by nothing here but the suite itself. A request that
cannot be met is answered by one line on the error stream and exit code 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from eqtheory import __version__
from eqtheory.errors import EqTheoryError, InputError, MissingDependencyError, UnknownTheoremError
from eqtheory.theorems import CONTROLS, THEOREMS, Control, Theorem, bibtex, control, theorem

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Check", "Cite", "Show", "main"]

_USAGE_ERROR = 2
_SUITE = "proofs_check"
_LABEL_WIDTH = 14  # the longest label and two blanks
_NARROWEST = 30  # text is not wrapped to less, whatever the terminal


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
        wanted = [_find(name).id for name in self.theorem]
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


@dataclass(frozen=True)
class Show:
    """Print a theorem or a control in full, or list all of them.

    Args:
        identifier: an id such as T3 or N1, or a slug; all are listed where none is given.
    """

    identifier: Annotated[str | None, tyro.conf.Positional] = None

    def run(self) -> int:
        """Print it.

        Returns:
            0.
        """
        from rich.console import Console

        console = Console()
        if self.identifier is None:
            _print_list(console)
            return 0
        found = _find(self.identifier)
        _print_entry(
            console, found.id, found.title, _control_rows(found) if isinstance(found, Control) else _rows(found)
        )
        return 0


@dataclass(frozen=True)
class Cite:
    """Print BibTeX for a theorem: this package at that theorem, then the works it is due to.

    Args:
        identifier: an id such as T3, or a slug.
    """

    identifier: tyro.conf.Positional[str]

    def run(self) -> int:
        """Print it.

        Returns:
            0.
        """
        print(bibtex(self.identifier))
        return 0


_Command = (
    Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Show, tyro.conf.subcommand("theorem")]
    | Annotated[Cite, tyro.conf.subcommand("cite")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after the program's name; those of the process where `None`.

    Returns:
        0 where all is well, 2 where the request cannot be met, otherwise the exit code of pytest.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        print(f"eqtheory {__version__}")
        return 0
    command: Check | Show | Cite = tyro.cli(
        _Command,
        prog="eqtheory",
        description="Implicit models as executable theory. `eqtheory --version` prints the version.",
        args=words,
    )
    try:
        code = command.run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. What Python still holds goes nowhere, so that its own shutdown does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except EqTheoryError as error:
        print(f"eqtheory: {error}", file=sys.stderr)
        return _USAGE_ERROR
    return code


def _find(identifier: str) -> Theorem | Control:
    try:
        return theorem(identifier)
    except UnknownTheoremError:
        pass
    try:
        return control(identifier)
    except UnknownTheoremError:
        known = ", ".join([*(t.id for t in THEOREMS), *(c.id for c in CONTROLS)])
        message = f"theorem: got {identifier!r}, needed one of {known}; run 'eqtheory theorem' to see their titles"
        raise UnknownTheoremError(message) from None


def _rows(found: Theorem) -> list[tuple[str, str]]:
    titles = {c.id: c.title for c in CONTROLS}
    hypotheses = []
    for number, hypothesis in enumerate(found.hypotheses, start=1):
        needed = f" (needed: {hypothesis.control}, {titles[hypothesis.control]})" if hypothesis.control else ""
        hypotheses.append(f"{number}. {hypothesis.statement}{needed}")
    return [
        ("Hypotheses", "\n".join(hypotheses)),
        ("Conclusion", found.conclusion),
        ("Inequalities", "\n".join(f"{i.name}: {i.statement}" for i in found.inequalities)),
        ("Sharp", found.sharp),
        ("Proof", found.proof),
        ("Source", f"{found.source.value}. {found.credit}"),
        ("Licenses", "\n".join(found.constructions)),
        ("Checked in", found.check),
    ]


def _control_rows(found: Control) -> list[tuple[str, str]]:
    return [
        ("Drops", found.drops),
        ("Guards", ", ".join(found.theorems)),
        ("Instance", found.instance),
        ("Prediction", found.prediction),
        ("Source", found.source.value),
        ("Checked in", "\n".join(theorem(identifier).check for identifier in found.theorems)),
    ]


def _print_entry(console: Console, identifier: str, title: str, rows: list[tuple[str, str]]) -> None:
    # Wrapped here and not by a table of rich, which pads every line with blanks to the width of the terminal.
    from rich.text import Text

    console.print(Text(f"{identifier}  {title}", style="bold"), soft_wrap=True)
    room = max(console.width - _LABEL_WIDTH, _NARROWEST)
    for label, text in rows:
        lines = [part for line in text.splitlines() for part in wrap(line, room, break_long_words=False)]
        for index, line in enumerate(lines):
            head = label if index == 0 else ""
            entry = Text.assemble("\n" if head else "", (head.ljust(_LABEL_WIDTH), "dim"), line)
            console.print(entry, soft_wrap=True)


def _print_list(console: Console) -> None:
    from rich.text import Text

    subjects: tuple[Theorem | Control, ...] = (*THEOREMS, *CONTROLS)
    widest = max(len(found.id) for found in subjects)
    for found in subjects:
        line = Text.assemble((found.id.ljust(widest + 2), "bold"), found.title, (f" ({found.source.value})", "dim"))
        console.print(line, soft_wrap=True)
    console.print(Text("'eqtheory theorem T3' prints one in full. T: theorems, N: negative controls."), soft_wrap=True)
