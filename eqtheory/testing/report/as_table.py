"""What does a run say on the terminal?

One table, a row per theorem and per control, with a line for each arithmetic it was attacked in; below it the
verdicts that need more than a word, the statements established for all cases, and what was not run. Plain text where
there is no terminal, and readable at 80 columns.
"""

from __future__ import annotations

import io

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from eqtheory.testing._measurement import format_margin
from eqtheory.testing.report.summary import Row, Status, Summary

__all__ = ["render", "total_line"]

_TITLES_FROM = 76
# Below this width the titles would wrap at every word; the identifier alone is then easier to read.

_COUNTS_FROM = 60
# Below this width the counts of wrong constructions and controls go, so that the verdict stays; both reports have them.

_PLAIN = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)

_STYLES = {
    Status.NOT_REFUTED: "green",
    Status.AS_PREDICTED: "green",
    Status.INCOMPLETE: "yellow",
    Status.FAILED: "bold red",
    Status.REFUTED: "bold red",
}


def render(summary: Summary, *, width: int, color: bool) -> str:
    """Write the table and the notes below it.

    Args:
        summary: the run.
        width: columns of the terminal.
        color: whether escape sequences are understood.

    Returns:
        Text that ends with a newline.
    """
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    line_box = box.SIMPLE_HEAD if color else _PLAIN
    console.print(_table(summary, titles=width >= _TITLES_FROM, counts=width >= _COUNTS_FROM, line_box=line_box))
    indent = max(len(row.subject.id) for row in summary.rows)
    notes = [(row.subject.id, text, _STYLES[row.status]) for row in summary.rows for text in _notes(row)]
    if notes:
        console.print(_block("not settled", notes, indent))
    proved = [
        (row.subject.id, f"{p.statement} [{p.quantity}, {p.kind.value} arithmetic]", "")
        for row in summary.rows
        for p in row.proved
    ]
    if proved:
        console.print(_block("proved parts", proved, indent))
    if summary.absent:
        console.print(Text(f"not run: {', '.join(summary.absent)}"))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def total_line(summary: Summary) -> str:
    """Count the run.

    Args:
        summary: the run.

    Returns:
        Instances, tests and wall time.
    """
    instances, tests = summary.instances, summary.tests
    return (
        f"{instances:,} instance{'' if instances == 1 else 's'} in {tests} test{'' if tests == 1 else 's'}, "
        f"{summary.seconds:.1f} s"
    )


def _table(summary: Summary, *, titles: bool, counts: bool, line_box: box.Box) -> Table:
    table = Table(box=line_box, pad_edge=False, padding=0, show_edge=False)
    table.add_column("", no_wrap=True)
    if titles:
        table.add_column("theorem", ratio=1, min_width=10)
    table.add_column("evidence", no_wrap=True)
    table.add_column("instances", no_wrap=True, justify="right")
    table.add_column("worst\nmargin", no_wrap=True, justify="right")
    if counts:
        table.add_column("zoo\ncaught", no_wrap=True, justify="right")
        table.add_column("controls", no_wrap=True)
    table.add_column("verdict", min_width=11, max_width=12)
    for row in summary.rows:
        caught, tried = row.caught
        cells = [
            "\n".join(line.kind.value for line in row.lines) or "-",
            "\n".join(f"{line.instances:,}" for line in row.lines) or "-",
            "\n".join(format_margin(line.worst_margin) for line in row.lines) or "-",
        ]
        if titles:
            cells.insert(0, row.subject.title)
        if counts:
            cells.append(f"{caught}/{tried}" if tried else "-")
            cells.append(" ".join(name for name, seen in row.observed.items() if seen) or "-")
        texts = [Text(cell) for cell in (row.subject.id, *cells, row.status.value)]
        texts[-1].stylize(_STYLES[row.status])
        table.add_row(*texts)
    return table


def _notes(row: Row) -> list[str]:
    if row.status is Status.INCOMPLETE:
        return [row.verdict]
    if row.status not in (Status.FAILED, Status.REFUTED):
        return []
    notes = []
    for result in row.results:
        if result.witness is not None:
            w = result.witness
            notes.append(f"{row.verdict} with margin {w.margin:.3g} by {w.text}")
        elif result.message and result.outcome.value == "failed":
            notes.append(f"check failed: {result.part}: {result.message}")
    return notes or [row.verdict]


def _block(title: str, entries: list[tuple[str, str, str]], indent: int) -> Padding:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, width=indent)
    grid.add_column(overflow="fold")
    for identifier, text, style in entries:
        grid.add_row(Text(identifier), Text(text, style=style))
    return Padding(Group(Text(title, style="bold"), grid), (1, 0, 0, 0))
