"""How did one test end, and what did it leave behind?

What the plugin hands to the summary: one `Result` per test. `payload` and `from_report` are the two ends of the wire:
a record travels as one JSON string among a report's user properties, so it survives the border between worker
processes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from eqtheory.testing._measurement import margin_value
from eqtheory.testing.evidence import Recorder, Refuted
from eqtheory.testing.report.reporter import PROPERTY

__all__ = ["Outcome", "Result", "Witness", "from_report", "message_of", "payload", "witness_of"]


class Outcome(Enum):
    """How one test ended."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"
    REFUTED = "refuted"


@dataclass(frozen=True)
class Witness:
    """An instance that violates an inequality.

    Args:
        quantity: the inequality.
        margin: its relative margin there.
        text: the instance.
    """

    quantity: str
    margin: float
    text: str


@dataclass(frozen=True)
class Result:
    """One test.

    Args:
        nodeid: pytest's name of it.
        theorem: identifier of the theorem or control it is about.
        part: one of the five parts.
        outcome: how it ended.
        seconds: wall time.
        evidence: what it recorded; `None` where it never reached the recording.
        message: one line about a failure or the reason of a skip.
        witness: the refuting instance.
    """

    nodeid: str
    theorem: str
    part: str
    outcome: Outcome
    seconds: float = 0.0
    evidence: Recorder | None = None
    message: str = ""
    witness: Witness | None = None

    def joined(self, later: Result) -> Result:
        """Add a later phase of the same test; the worse outcome wins and nothing recorded is lost.

        Args:
            later: the result of the later phase.

        Returns:
            Both together.
        """
        order = list(Outcome)
        worse = later if order.index(later.outcome) > order.index(self.outcome) else self
        evidence = self.evidence if later.evidence is None else later.evidence
        return replace(worse, evidence=evidence, seconds=self.seconds + later.seconds)


def from_report(report: Any) -> Result:
    """Read a result off a report that carries one.

    Args:
        report: a `pytest.TestReport` of any phase, with the property `PROPERTY`.

    Returns:
        The result.
    """
    data = json.loads([value for name, value in report.user_properties if name == PROPERTY][-1])
    evidence = None if data["evidence"] is None else Recorder.from_dict(data["evidence"])
    witness = None if data["witness"] is None else Witness(**data["witness"])
    if witness is not None:
        outcome = Outcome.REFUTED  # a counterexample is one, whatever the test was expected to do
    elif report.failed:
        outcome = Outcome.FAILED
    else:
        # An expected failure establishes nothing, whether it failed (reported as skipped) or passed.
        unreliable = report.skipped or hasattr(report, "wasxfail")
        outcome = Outcome.SKIPPED if unreliable else Outcome.PASSED
    message = "" if outcome is Outcome.PASSED else message_of(report.longrepr)
    return Result(report.nodeid, data["theorem"], data["part"], outcome, report.duration, evidence, message, witness)


def payload(theorem: str, part: str, evidence: Recorder | None, failure: BaseException | None) -> str:
    """Write what a test leaves behind.

    Args:
        theorem: identifier of the theorem or control.
        part: one of the five parts.
        evidence: what it recorded, `None` where it never asked for a recorder.
        failure: what ended it, `None` where nothing did.

    Returns:
        One JSON string.
    """
    found = None if failure is None else witness_of(failure)
    witness = None
    if found is not None:
        # No JSON number is infinite; a margin of -inf is written as the lowest finite one.
        margin = max(margin_value(found.margin), -sys.float_info.max)
        witness = {"quantity": found.quantity, "margin": margin, "text": found.witness}
    record = None if evidence is None else evidence.to_dict()
    return json.dumps({"theorem": theorem, "part": part, "evidence": record, "witness": witness})


def witness_of(failure: BaseException) -> Refuted | None:
    """Find the refutation in what ended a test.

    Hypothesis raises several distinct failures as one group, so groups are searched. It also raises a group where an
    example failed once and not again; such an example is no witness.

    Args:
        failure: the exception.

    Returns:
        The first refutation, `None` where there is none.
    """
    flaky = any(ancestor.__name__ == "Flaky" for ancestor in type(failure).__mro__)
    return None if flaky else next(_refutations(failure), None)


def _refutations(failure: BaseException) -> Iterator[Refuted]:
    if isinstance(failure, Refuted):
        yield failure
    elif isinstance(failure, BaseExceptionGroup):
        for member in failure.exceptions:
            yield from _refutations(member)


def message_of(longrepr: Any) -> str:
    """Say in one line why a test failed or was skipped.

    Args:
        longrepr: pytest's representation: a (path, line, reason) triple, an object with a crash entry, or text.

    Returns:
        The first line of the reason, at most 300 characters.
    """
    if isinstance(longrepr, tuple):
        text = str(longrepr[-1])
    else:
        crash = getattr(longrepr, "reprcrash", None)
        text = str(longrepr if crash is None else crash.message)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].removeprefix("Failed: ")[:300] if lines else ""
