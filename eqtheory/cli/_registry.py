"""`eqtheory theorem` and `eqtheory cite`: read the registry and cite from it; torch is not loaded."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import tyro

from eqtheory.errors import UnknownTheoremError
from eqtheory.theorems import CONTROLS, THEOREMS, Control, Theorem, bibtex, control, theorem

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Cite", "Show", "find"]

_LABEL_WIDTH = 14  # the longest label and two blanks
_NARROWEST = 30  # text is not wrapped to less, whatever the terminal


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
        found = find(self.identifier)
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


def find(identifier: str) -> Theorem | Control:
    """Look up a theorem or a control.

    Args:
        identifier: an id or a slug.

    Returns:
        The entry.

    Raises:
        UnknownTheoremError: there is none; the message lists all.
    """
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
