"""What do the tests of one part of one theorem's check say together, and what do they leave open?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from eqtheory.testing.evidence import WITHIN_HYPOTHESES, Kind, Recorder
from eqtheory.testing.report.result import Outcome, Result

__all__ = ["Part"]


@dataclass(frozen=True)
class Part:
    """One of the five parts of one theorem's check.

    Args:
        theorem: identifier of the theorem.
        name: one of the five.
        results: the tests that ran or were skipped.
        expected: how many tests of this part were collected, whether or not they ran.
    """

    theorem: str
    name: str
    results: tuple[Result, ...]
    expected: int

    @cached_property
    def executed(self) -> tuple[Result, ...]:
        """The tests that ran to an end, good or bad."""
        return tuple(result for result in self.results if result.outcome is not Outcome.SKIPPED)

    @cached_property
    def evidence(self) -> Recorder:
        """Everything the tests of this part recorded."""
        return self._merged(Outcome)

    @cached_property
    def established(self) -> Recorder:
        """What the tests of this part recorded that passed."""
        return self._merged([Outcome.PASSED])

    def _merged(self, outcomes: Iterable[Outcome]) -> Recorder:
        merged = Recorder(self.theorem, self.name)
        for result in self.executed:
            if result.evidence is not None and result.outcome in outcomes:
                merged.merge(result.evidence)
        return merged

    @property
    def status(self) -> str:
        """One word or two: refuted, failed, not run, partly run, passed."""
        outcomes = {result.outcome for result in self.executed}
        for bad in (Outcome.REFUTED, Outcome.FAILED):
            if bad in outcomes:
                return bad.value
        if not self.executed:
            return "not run"
        return "passed" if len(self.executed) >= self.expected else "partly run"

    @property
    def unrun(self) -> str:
        """What of this part did not run, empty where all of it did."""
        if not self.executed:
            return self.name
        left = self.expected - len(self.executed)
        return f"{self.name} ({left} of {self.expected} tests)" if left else ""

    @property
    def gap(self) -> str:
        """What this part lacks for a theorem, empty where it lacks nothing."""
        if self.unrun:
            return self.unrun
        if self.name in WITHIN_HYPOTHESES and not self.evidence.measurements:
            return f"{self.name} (no instance recorded)"
        if self.name == "exact" and all(m.kind is Kind.SAMPLED for m in self.evidence.measurements):
            return f"{self.name} (samples only)"
        if self.name == "rejects" and not self.evidence.catches:
            return f"{self.name} (nothing caught)"
        return ""
