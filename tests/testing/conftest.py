"""What the tests of the evidence share: results made by hand, and small suites run by pytest itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from eqtheory.testing.evidence import PARTS, Kind, Recorder
from eqtheory.testing.report.result import Outcome, Result
from eqtheory.theorems import theorem

HEAD = """
import os
from fractions import Fraction
import pytest
from eqtheory.testing.evidence import Kind, Refuted

def record(evidence, margin=0.25, kind=Kind.SAMPLED, **more):
    evidence.record(kind, instances=1000, worst_margin=margin, quantity="joint_budget", **more)
"""

FIVE = """
@pytest.mark.theorem("T3", part="holds")
def test_holds(evidence):
    record(evidence)

@pytest.mark.theorem("T3", part="sharp")
def test_sharp(evidence):
    record(evidence, Fraction(0), Kind.EXACT)

@pytest.mark.theorem("T3", part="hypothesis_needed")
def test_needed(evidence):
    for control in {controls!r}:
        evidence.control(control, "slope 1e6")

@pytest.mark.theorem("T3", part="rejects")
@pytest.mark.parametrize("wrong", ["eps = rho", "eps = 1"])
def test_rejects(evidence, wrong):
    evidence.caught(wrong, -1.5)

@pytest.mark.theorem("T3", part="exact")
def test_exact(evidence):
    record(evidence, Fraction(1, 7), Kind.EXACT, proved="for all r")
""".format(controls=[h.control for h in theorem("T3").hypotheses if h.control])


class Suite:
    """A small suite in a folder of its own."""

    FIVE = FIVE

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        # The inner runs know nothing of the options of the outer one.
        pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")

    def write(self, source: str) -> None:
        self.pytester.makepyfile(test_inner=HEAD + source)

    def run(self, source: str, *arguments: str) -> pytest.RunResult:
        self.write(source)
        # Without the plugins a small suite has no use for: most of a worker's start would be theirs.
        unused = [
            word
            for name in ("benchmark", "hypothesispytest", "typeguard", "jaxtyping")
            for word in ("-p", f"no:{name}")
        ]
        return self.pytester.runpytest_inprocess(*unused, *arguments)

    def report(self, folder: str = "build/proofs_check") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / folder / "evidence.json").read_text(encoding="utf-8"))
        return found

    def entry(self, identifier: str = "T3") -> dict[str, Any]:
        found = self.report()
        return next(row for row in (*found["theorems"], *found["controls"]) if row["id"] == identifier)


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Suite:
    return Suite(pytester)


def recorded(identifier: str, part: str) -> Recorder:
    record = Recorder(identifier, part)
    if part in ("holds", "sharp", "exact"):
        record.record(Kind.SAMPLED, instances=1000, worst_margin=0.25, quantity="joint_budget")
        record.record(Kind.SAMPLED, instances=900, worst_margin=0.125, quantity="step_radius")
        record.record(Kind.EXACT, instances=10, worst_margin=Fraction(1, 7), quantity="joint_budget")
    if part == "hypothesis_needed":
        for hypothesis in theorem(identifier).hypotheses:
            if hypothesis.control:
                record.control(hypothesis.control, "slope 3.1e6 <i>as predicted</i>")
    if part == "rejects":
        record.caught("eps = rho", -12.5)
        record.caught("budget & co", -math.inf, kind="tightened")
    return record


def passing(identifier: str) -> list[Result]:
    return [
        Result(f"t.py::{identifier}_{part}", identifier, part, Outcome.PASSED, 0.1, recorded(identifier, part))
        for part in PARTS
    ]


@pytest.fixture(scope="session", name="passing")
def passing_fixture() -> Callable[[str], list[Result]]:
    return passing


@pytest.fixture(scope="session", name="recorded")
def recorded_fixture() -> Callable[[str, str], Recorder]:
    return recorded
