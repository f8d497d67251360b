"""What do all tests of a run together say about each theorem?

Pure: test results in, verdicts out. The verdicts are, in order of precedence,

- `refuted`: a test found an instance that satisfies the hypotheses and violates the inequality;
- `check failed`: a test failed in another way, so nothing is known;
- `incomplete`: a part did not run, ran only partly, or recorded nothing of its kind; a named control was not observed;
- `not refuted`: all five parts ran and passed. A universal statement is never called proved because samples passed;
- `failed as predicted`: for a negative control, that its conclusion fails in the way that was predicted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from eqtheory.testing.evidence import PARTS, WITHIN_HYPOTHESES, Kind, Margin
from eqtheory.testing.report.part import Part
from eqtheory.testing.report.result import Outcome, Result
from eqtheory.theorems import CONTROLS, THEOREMS, Control, Theorem

__all__ = ["Line", "Proved", "Row", "Status", "Summary", "summarise"]


class Status(Enum):
    """What the tests of one theorem or control say together."""

    REFUTED = "refuted"
    FAILED = "check failed"
    INCOMPLETE = "incomplete"
    NOT_REFUTED = "not refuted"
    AS_PREDICTED = "failed as predicted"


@dataclass(frozen=True)
class Line:
    """All instances of one theorem in one arithmetic.

    Args:
        kind: the arithmetic.
        instances: how many; within one test the largest count over its inequalities, because they share the instances.
        worst_margin: the smallest margin over all inequalities.
    """

    kind: Kind
    instances: int
    worst_margin: Margin


@dataclass(frozen=True)
class Proved:
    """A statement established for all cases.

    Args:
        part: the part that established it.
        quantity: the inequality it concerns.
        kind: the arithmetic of the argument.
        statement: what was established.
    """

    part: str
    quantity: str
    kind: Kind
    statement: str


@dataclass(frozen=True)
class Row:
    """Everything the run says about one theorem or control.

    Args:
        subject: the registered theorem or control.
        parts: the five parts, in order.
        observed: for each control the subject names, what its own tests observed of it, or where they observed nothing what
            others did; empty if nobody did.
    """

    subject: Theorem | Control
    parts: tuple[Part, ...]
    observed: Mapping[str, tuple[str, ...]]

    @property
    def is_control(self) -> bool:
        """Whether the row is about a negative control."""
        return isinstance(self.subject, Control)

    @cached_property
    def results(self) -> tuple[Result, ...]:
        """All tests of all parts."""
        return tuple(result for part in self.parts for result in part.results)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Instances and worst margin by arithmetic; of a theorem, only where its hypotheses hold."""
        names = PARTS if self.is_control else WITHIN_HYPOTHESES
        records = [
            result.evidence
            for part in self.parts
            for result in part.executed
            if part.name in names and result.evidence is not None
        ]
        found = []
        for kind in Kind:
            tests = [[m for m in record.measurements if m.kind is kind] for record in records]
            tests = [test for test in tests if test]
            if tests:
                count = sum(max(m.instances for m in test) for test in tests)
                found.append(Line(kind, count, min(m.worst_margin for test in tests for m in test)))
        return tuple(found)

    @property
    def instances(self) -> int:
        """Independently drawn instances, over all kinds of arithmetic."""
        return sum(line.instances for line in self.lines)

    @property
    def worst_margin(self) -> Margin | None:
        """The smallest margin, `None` where nothing was compared."""
        return min((line.worst_margin for line in self.lines), default=None)

    @cached_property
    def proved(self) -> tuple[Proved, ...]:
        """Statements established for all cases, by tests that passed."""
        return tuple(
            Proved(part.name, entry.quantity, entry.kind, statement)
            for part in self.parts
            for entry in part.established.measurements
            for statement in entry.proved
        )

    @property
    def caught(self) -> tuple[int, int]:
        """How many wrong constructions and tightened bounds were caught, and how many were tried."""
        catches = [catch for part in self.parts for catch in part.evidence.catches]
        return sum(catch.caught for catch in catches), len(catches)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """What the check lacks: parts that did not run in full, controls that were not observed."""
        # A control may live in any part: of its check, only what was begun must be finished.
        gaps = [part.unrun for part in self.parts if part.expected]
        if not self.is_control:
            gaps = [part.gap for part in self.parts]
        unobserved = [f"control {name}" for name, seen in self.observed.items() if not seen]
        return tuple(gap for gap in gaps + unobserved if gap)

    @property
    def status(self) -> Status:
        """The verdict."""
        states = {part.status for part in self.parts}
        if Outcome.REFUTED.value in states:
            return Status.REFUTED
        if Outcome.FAILED.value in states:
            return Status.FAILED
        if self.missing:
            return Status.INCOMPLETE
        return Status.AS_PREDICTED if self.is_control else Status.NOT_REFUTED

    @property
    def verdict(self) -> str:
        """The verdict with what it rests on, short enough for a table cell."""
        if self.status is Status.FAILED:
            return f"check failed: {', '.join(p.name for p in self.parts if p.status == Outcome.FAILED.value)}"
        if self.status is Status.REFUTED:
            quantities = dict.fromkeys(r.witness.quantity for r in self.results if r.witness is not None)
            return f"refuted: {', '.join(quantities)}"
        if self.status is Status.INCOMPLETE:
            return f"incomplete: missing {', '.join(self.missing)}"
        return self.status.value


@dataclass(frozen=True)
class Summary:
    """A whole run.

    Args:
        rows: theorems in the order of the registry, then controls; only those with a test that ran or was skipped.
        absent: identifiers of registered theorems no test of this run was about.
        seconds: wall time of the run.
    """

    rows: tuple[Row, ...]
    absent: tuple[str, ...]
    seconds: float

    @property
    def instances(self) -> int:
        """Independently drawn instances, over all rows."""
        return sum(row.instances for row in self.rows)

    @property
    def tests(self) -> int:
        """Tests that ran to an end."""
        return sum(len(part.executed) for row in self.rows for part in row.parts)


def _observed(results: Iterable[Result]) -> dict[str, tuple[str, ...]]:
    seen: dict[str, dict[str, None]] = {}
    for result in results:
        if result.outcome is Outcome.PASSED and result.evidence is not None:
            for identifier, texts in result.evidence.controls.items():
                seen.setdefault(identifier, {}).update(dict.fromkeys(texts))
    return {identifier: tuple(texts) for identifier, texts in seen.items()}


def _controls_of(subject: Theorem | Control) -> tuple[str, ...]:
    if isinstance(subject, Control):
        return (subject.id,)
    return tuple(dict.fromkeys(hypothesis.control for hypothesis in subject.hypotheses if hypothesis.control))


def summarise(results: Iterable[Result], planned: Mapping[str, tuple[str, str]], seconds: float) -> Summary:
    """Put the results of a run together.

    Args:
        results: one per test.
        planned: all marked tests that were collected, deselected ones included: name to theorem and part.
        seconds: wall time of the run.

    Returns:
        One row per theorem or control that a test was about.
    """
    results = list(results)
    planned = {**{r.nodeid: (r.theorem, r.part) for r in results}, **planned}
    everywhere = _observed(results)
    rows = []
    subjects: tuple[Theorem | Control, ...] = (*THEOREMS, *CONTROLS)
    for subject in subjects:
        own = [result for result in results if result.theorem == subject.id]
        if own:
            parts = tuple(
                Part(
                    subject.id,
                    name,
                    tuple(result for result in own if result.part == name),
                    sum(place == (subject.id, name) for place in planned.values()),
                )
                for name in PARTS
            )
            here = {} if isinstance(subject, Control) else _observed(own)
            observed = {name: here.get(name, everywhere.get(name, ())) for name in _controls_of(subject)}
            rows.append(Row(subject, parts, observed))
    present = {row.subject.id for row in rows}
    return Summary(tuple(rows), tuple(t.id for t in THEOREMS if t.id not in present), seconds)
