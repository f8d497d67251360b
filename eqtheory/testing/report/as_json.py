"""What does a run leave for other programs to read?

One JSON document: everything that was recorded, by theorem and part, and the verdicts. Numbers are finite; a margin
of minus infinity is the string "-inf", and a rational margin stands beside its decimal as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eqtheory.testing._measurement import Margin, margin_to_data
from eqtheory.testing.report.part import Part
from eqtheory.testing.report.result import Result
from eqtheory.testing.report.summary import Row, Summary

__all__ = ["SCHEMA_VERSION", "document"]

SCHEMA_VERSION = 1
"""Raised whenever a reader of the older form would misread the newer one."""


def document(summary: Summary, run: Mapping[str, Any]) -> dict[str, Any]:
    """Put a run into plain JSON values.

    Args:
        summary: the run.
        run: where and with what it was made: versions, commit, profile, time.

    Returns:
        The document.
    """
    return {
        "schema": "eqtheory/evidence",
        "schema_version": SCHEMA_VERSION,
        **run,
        "totals": {"instances": summary.instances, "tests": summary.tests, "seconds": round(summary.seconds, 3)},
        "not_run": list(summary.absent),
        "theorems": [_row(row) for row in summary.rows if not row.is_control],
        "controls": [_row(row) for row in summary.rows if row.is_control],
    }


def _row(row: Row) -> dict[str, Any]:
    caught, tried = row.caught
    return {
        "id": row.subject.id,
        "slug": row.subject.slug,
        "title": row.subject.title,
        "verdict": row.status.value,
        "verdict_text": row.verdict,
        "missing": list(row.missing),
        "instances": row.instances,
        **_margin(row.worst_margin),
        "evidence": [
            {"kind": line.kind.value, "instances": line.instances, **_margin(line.worst_margin)} for line in row.lines
        ],
        "proved": [
            {"part": p.part, "quantity": p.quantity, "kind": p.kind.value, "statement": p.statement} for p in row.proved
        ],
        "caught": {"caught": caught, "tried": tried},
        "controls": {name: list(seen) for name, seen in row.observed.items()},
        "parts": {part.name: _part(part) for part in row.parts},
    }


def _part(part: Part) -> dict[str, Any]:
    record = part.evidence.to_dict()
    return {
        "status": part.status,
        "expected_tests": part.expected,
        **{key: value for key, value in record.items() if key not in ("theorem", "part")},
        "tests": [_test(result) for result in part.results],
    }


def _test(result: Result) -> dict[str, Any]:
    witness = None
    if result.witness is not None:
        witness = {
            "quantity": result.witness.quantity,
            "margin": result.witness.margin,
            "witness": result.witness.text,
        }
    return {
        "test": result.nodeid,
        "outcome": result.outcome.value,
        "seconds": round(result.seconds, 3),
        "message": result.message,
        "refutation": witness,
    }


def _margin(margin: Margin | None) -> dict[str, Any]:
    if margin is None:
        return {"worst_margin": None, "worst_margin_exact": ""}
    value, exact = margin_to_data(margin)
    return {"worst_margin": value, "worst_margin_exact": exact}
