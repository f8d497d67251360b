"""What does a run leave for people to read? One page that needs nothing but itself.

Per theorem: what it says and who is to be credited, what each part established, which wrong constructions were
caught, which controls failed as predicted, and the verdict. Everything that comes from outside is escaped; the page
has no script and its content policy forbids it to load anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from eqtheory.testing._measurement import Margin, format_margin
from eqtheory.testing.report.as_table import total_line
from eqtheory.testing.report.style import STYLE
from eqtheory.testing.report.summary import Row, Status, Summary
from eqtheory.theorems import CONTROLS, Control, Theorem

__all__ = ["page"]

_TONES = {
    Status.NOT_REFUTED: "good",
    Status.AS_PREDICTED: "good",
    Status.INCOMPLETE: "warn",
    Status.FAILED: "bad",
    Status.REFUTED: "bad",
}
_PART_NAMES = {
    "holds": "holds",
    "sharp": "bound attained",
    "hypothesis_needed": "hypotheses needed",
    "rejects": "rejects wrong ones",
    "exact": "exact",
}
_CATCH_NAMES = {"zoo": "wrong construction", "tightened": "tightened bound"}
_CONTROLS = {control.id: control for control in CONTROLS}


def page(summary: Summary, run: Mapping[str, Any]) -> str:
    """Write the page.

    Args:
        summary: the run.
        run: where and with what it was made, as `provenance` gives it.

    Returns:
        A whole HTML document.
    """
    theorems = [_article(row, summary) for row in summary.rows if not row.is_control]
    controls = [_article(row, summary) for row in summary.rows if row.is_control]
    absent = f"<p class=soft>Not run: {escape(', '.join(summary.absent))}.</p>" if summary.absent else ""
    body = [
        "<header><h1>What the checks established</h1>",
        f"<p>{escape(total_line(summary))}.</p>",
        "<p class=soft>A universal statement is never called proved because samples passed: the verdict is then "
        "<em>not refuted</em>. The margin of an inequality is (right side - left side) / right side: 0 where the bound "
        "is attained, negative where it is violated.</p></header>",
        f"<main><section aria-label=Overview>{_overview(summary)}{absent}</section>",
        *theorems,
        *controls,
        "</main>",
        f"<footer>{_footer(run)}</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>What the checks established</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Write a table whose cells are already HTML.

    Args:
        caption: what the table shows.
        headers: one text per column, not yet escaped.
        rows: cells; the first of each row is its header.
        numbers: columns that hold numbers.

    Returns:
        HTML.
    """
    style = ["number" if index in numbers else "text" for index in range(len(headers))]
    head = "".join(
        f'<th scope="col" role="columnheader" class="{style[index]}">{escape(text)}</th>'
        for index, text in enumerate(headers)
    )
    lines = []
    for row in rows:
        cells = [f'<th scope="row" role="rowheader">{row[0]}</th>']
        cells += [
            f'<td role="cell" class="{style[index]}" data-label="{escape(headers[index])}">{cell}</td>'
            for index, cell in enumerate(row[1:], start=1)
        ]
        lines.append(f'<tr role="row">{"".join(cells)}</tr>')
    return (
        f'<table role="table"><caption>{escape(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(lines)}</tbody></table>'
    )


def _stack(cells: Iterable[str]) -> str:
    """Put several cells that are already HTML above each other (beside each other on a phone)."""
    inner = "".join(f"<span>{cell}</span>" for cell in cells)
    return f"<span class=stack>{inner}</span>" if inner else ""


def _pill(text: str, tone: str) -> str:
    return f'<span><span class="pill {tone}">{escape(text)}</span></span>'


def _margin(margin: Margin) -> str:
    text = escape(format_margin(margin))
    return f'<span class="bad">{text}</span>' if margin < 0 else text


def _overview(summary: Summary) -> str:
    rows = []
    for row in summary.rows:
        caught, tried = row.caught
        subject = row.subject
        rows.append(
            (
                f'<a href="#{escape(subject.id)}">{escape(subject.id)}</a> {escape(subject.title)}',
                _stack(line.kind.value for line in row.lines),
                _stack(f"{line.instances:,}" for line in row.lines),
                _stack(_margin(line.worst_margin) for line in row.lines),
                f"<span>{caught}/{tried}</span>" if tried else "",
                escape(" ".join(name for name, seen in row.observed.items() if seen)),
                _pill(row.status.value, _TONES[row.status]),
            )
        )
    headers = ("theorem", "evidence", "instances", "worst margin", "caught", "controls", "verdict")
    return _table("All theorems and controls of this run", headers, rows, numbers=(2, 3, 4))


def _article(row: Row, summary: Summary) -> str:
    subject = row.subject
    statement = _control(subject) if isinstance(subject, Control) else _theorem(subject, row, summary)
    return (
        f'<article id="{escape(subject.id)}" aria-labelledby="{escape(subject.id)}-title"><div class=head>'
        f'<h2 id="{escape(subject.id)}-title"><span class=identifier>{escape(subject.id)}</span>'
        f"{escape(subject.title)}</h2>"
        f"{_pill(row.status.value, _TONES[row.status])}</div>{_verdict(row)}{statement}{_evidence(row)}</article>"
    )


def _verdict(row: Row) -> str:
    tone = _TONES[row.status]
    if row.status is Status.NOT_REFUTED and row.worst_margin is not None:
        return f"<p class=soft>not refuted ({row.instances:,} trials, worst margin {_margin(row.worst_margin)})</p>"
    notes = [row.verdict] if row.status in (Status.INCOMPLETE, Status.FAILED) else []
    for result in row.results:
        if result.witness is not None:
            w = result.witness
            notes.append(f"refuted in {result.part}: {w.quantity} has margin {w.margin:.3g} at {w.text}")
        elif result.message:
            notes.append(f"{result.part}: {result.outcome.value}: {result.message}")
    return "".join(f'<p class="notice {tone}">{escape(note)}</p>' for note in notes)


def _define(*pairs: tuple[str, str]) -> str:
    return (
        "<dl>" + "".join(f"<dt>{escape(term)}</dt><dd>{content}</dd>" for term, content in pairs if content) + "</dl>"
    )


def _theorem(theorem: Theorem, row: Row, summary: Summary) -> str:
    present = {other.subject.id for other in summary.rows}
    hypotheses = []
    for hypothesis in theorem.hypotheses:
        text = escape(hypothesis.statement)
        if hypothesis.control:
            link = escape(hypothesis.control)
            name = f'<a href="#{link}">{link}</a>' if hypothesis.control in present else link
            state = "" if row.observed.get(hypothesis.control) else ", not observed in this run"
            text += f" <span class=soft>(needed: control {name}{state})</span>"
        hypotheses.append(f"<li>{text}</li>")
    inequalities = "".join(
        f"<li><code>{escape(i.name)}</code> {escape(i.statement)}</li>" for i in theorem.inequalities
    )
    return (
        _define(
            ("Hypotheses", f"<ol>{''.join(hypotheses)}</ol>"),
            ("Conclusion", escape(theorem.conclusion)),
            ("Inequalities", f"<ul>{inequalities}</ul>"),
            ("Sharp instance", escape(theorem.sharp)),
            ("Source", escape(f"{theorem.source.value}. {theorem.credit}")),
            ("Checked in", f"<code>{escape(theorem.check)}</code>"),
        )
        + f"<details><summary>Proof</summary><p>{escape(theorem.proof)}</p></details>"
    )


def _control(control: Control) -> str:
    return _define(
        ("Drops", escape(control.drops)),
        ("Guards", escape(", ".join(control.theorems))),
        ("Instance", escape(control.instance)),
        ("Prediction", escape(control.prediction)),
        ("Source", escape(control.source.value)),
    )


def _evidence(row: Row) -> str:
    pieces = ["<h3>What was compared</h3>", _parts_table(row), _regimes(row)]
    proved = [
        f"<li>{escape(p.statement)} "
        f"<span class=soft>({escape(p.part)}, {p.kind.value}: {escape(p.quantity)})</span></li>"
        for p in row.proved
    ]
    if proved:
        pieces.append(f"<h3>Proved parts</h3><ul>{''.join(proved)}</ul>")
    if row.caught[1]:
        pieces.append(f"<h3>Wrong constructions</h3>{_catches_table(row)}")
    controls = [
        f"<li>{escape(name)} <span class=soft>{escape(_CONTROLS[name].title)}</span>: {escape('; '.join(seen))}</li>"
        for name, seen in row.observed.items()
        if seen
    ]
    if controls:
        pieces.append(f"<h3>Controls, as observed</h3><ul>{''.join(controls)}</ul>")
    return "".join(pieces)


def _catches_table(row: Row) -> str:
    rows = [
        (
            escape(catch.name),
            _CATCH_NAMES[catch.kind],
            escape(format_margin(catch.margin)),
            _pill("caught", "good") if catch.caught else _pill("not caught", "bad"),
        )
        for part in row.parts
        for catch in part.evidence.catches
    ]
    return _table("Each must violate the bound", ("what was wrong", "kind", "margin", "verdict"), rows, numbers=(2,))


def _parts_table(row: Row) -> str:
    rows: list[tuple[str, ...]] = []
    for part in row.parts:
        if row.is_control and not part.expected:
            continue
        tone = {"passed": "good", "refuted": "bad", "failed": "bad"}.get(part.status, "warn")
        name, state = escape(_PART_NAMES[part.name]), _pill(part.status, tone)
        measurements = part.evidence.measurements
        if not measurements:
            rows.append((name, state, "", "", "", ""))
        for m in measurements:
            rows.append((name, state, escape(m.quantity), m.kind.value, f"{m.instances:,}", _margin(m.worst_margin)))
            name, state = f"<span class=soft>{escape(_PART_NAMES[part.name])}</span>", ""
    headers = ("part", "state", "inequality", "arithmetic", "instances", "worst margin")
    return _table("By part of the check", headers, rows, numbers=(4, 5))


def _regimes(row: Row) -> str:
    lines = [
        f"<li>{escape(_PART_NAMES[part.name])}: {escape(', '.join(f'{k} {n:,}' for k, n in counts.items()))}</li>"
        for part in row.parts
        if (counts := part.evidence.regime_counts)
    ]
    return f"<details><summary>Regimes drawn</summary><ul>{''.join(lines)}</ul></details>" if lines else ""


def _footer(run: Mapping[str, Any]) -> str:
    parts = [f"Made {run['made']}", *(f"{name} {text}" for name, text in run["versions"].items() if text)]
    if run["git"]:
        parts.append(f"commit {run['git']['commit'][:12]}{' with changes' if run['git']['changed'] else ''}")
    if run["hypothesis"]:
        parts.append(f"Hypothesis profile {run['hypothesis']['profile']}")
        if run["hypothesis"]["seed"]:
            parts.append(f"seed {run['hypothesis']['seed']}")
    return escape("; ".join(parts))
