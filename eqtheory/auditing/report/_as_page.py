"""An audit as one page that needs nothing but itself: no script, and nothing that is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from eqtheory.auditing.report._as_text import constants, iteration_rows, shown
from eqtheory.bounds import VerdictKind
from eqtheory.errors import MissingDependencyError
from eqtheory.testing.report.style import STYLE

if TYPE_CHECKING:
    from eqtheory.auditing._audit import Audit

__all__ = ["as_page"]

_TONES = {VerdictKind.PROVED: "good", VerdictKind.NOT_REFUTED: "warn", VerdictKind.REFUTED: "bad"}
_SHEET = (
    "figure { margin: .6rem 0; } figure svg { height: auto; max-width: 100%; background: #fff; border-radius: 6px; }"
)


def as_page(audit: Audit) -> str:
    """Write the page.

    Args:
        audit: the audit.

    Returns:
        A whole HTML document.
    """
    from eqtheory.auditing._audit import CHECKS

    verdicts = [
        (
            f"<span class='pill {_TONES[v.kind]}'>{escape(v.kind.value)}</span>",
            escape(says),
            _detail(v.witness, v.method, v.trials),
        )
        for check, says in CHECKS.items()
        for v in (audit.verdicts[check],)
    ]
    title = "Audit of " + "".join(c for c in audit.name if c.isprintable())
    body = [
        f"<header><h1>{escape(title)}</h1><p>{escape(audit.conclusion)}</p>",
        "<p class=soft>A verdict is <em>proved</em> where this package has proved it, <em>refuted</em> where a witness was found, and "
        "<em>not refuted</em> where none was: that proves nothing.</p></header><main>",
        _article("Verdicts", _table(("verdict", "statement", "evidence"), verdicts)),
        _article("Constants", _table(("constant", "lower side", "upper side"), _escaped(constants(audit))))
        if audit.R1
        else "",
        _growth(audit),
        _article(
            "Picard iterations by accuracy", _table(("accuracy", "certified", "seen"), _escaped(iteration_rows(audit)))
        )
        if audit.iterations
        else "",
        _solvers(audit),
        _article("Notes", "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in audit.notes) + "</ul>")
        if audit.notes
        else "",
        f"</main><footer>{_footer(audit)}</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}{_SHEET}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _article(title: str, content: str) -> str:
    return f"<article><h2>{escape(title)}</h2>{content}</article>"


def _escaped(rows: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    return [tuple(escape(cell) for cell in row) for row in rows]


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th role=columnheader scope=col>{escape(h)}</th>" for h in headers)
    lines = [
        "<tr role=row>"
        + "".join(f"<td role=cell data-label='{escape(h)}'>{cell}</td>" for h, cell in zip(headers, row, strict=True))
        + "</tr>"
        for row in rows
    ]
    return f"<table role=table><thead role=rowgroup><tr role=row>{head}</tr></thead><tbody role=rowgroup>{''.join(lines)}</tbody></table>"


def _detail(witness: object, method: str, trials: int) -> str:
    counted = f"{trials} trials; " if trials else ""
    found = f"witness: {escape(str(witness))}<br>" if witness is not None else ""
    return f"{found}<span class=soft>{counted}{escape(method)}</span>"


def _growth(audit: Audit) -> str:
    if audit.growth is None:
        return ""
    try:
        figure = audit.growth.plot()
    except MissingDependencyError:
        drawing = "<p class=soft>Plots need matplotlib.</p>"
    else:
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        svg = text.getvalue()
        drawing = f"<figure role=img aria-label='slopes, residuals over iterations'>{svg[svg.index('<svg') :]}</figure>"
    upper = "; ".join(audit.growth.assumptions)
    return _article(
        "Growth over iterations",
        f"<p>Slopes of x to y_t(x) under {escape(audit.growth.iteration)}: {escape(audit.growth.how)}. {escape(upper)}.</p>{drawing}",
    )


def _solvers(audit: Audit) -> str:
    if not audit.solvers:
        return ""
    rows = [(escape(r.solver), f"{r.solved} of {r.samples}", shown(r.evaluations)) for r in audit.solvers]
    return _article(
        "Solvers, to a relative residual of 1e-6", _table(("solver", "samples solved", "evaluations per sample"), rows)
    )


def _footer(audit: Audit) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in audit.made["settings"].items())
    versions = ", ".join(f"{key} {value}" for key, value in audit.made["versions"].items())
    return escape(f"Made {audit.made['made']} with {versions}; {settings}.")
