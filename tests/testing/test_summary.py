"""The verdicts follow from the results alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from eqtheory.testing.evidence import PARTS, Kind, Recorder, Refuted
from eqtheory.testing.report.as_table import total_line
from eqtheory.testing.report.result import Outcome, Result, Witness, message_of, payload, witness_of
from eqtheory.testing.report.summary import Status, Summary, summarise
from eqtheory.theorems import THEOREMS

Passing = Callable[[str], list[Result]]
Recorded = Callable[[str, str], Recorder]


def with_outcome(result: Result, outcome: Outcome, message: str = "", witness: Witness | None = None) -> Result:
    return Result(result.nodeid, result.theorem, result.part, outcome, 0.1, result.evidence, message, witness)


def only(results: list[Result], planned: dict[str, tuple[str, str]] | None = None) -> Any:
    summary = summarise(results, planned or {}, 1.0)
    assert len(summary.rows) == 1
    return summary.rows[0]


def test_five_parts_that_pass_do_not_prove_a_universal_statement(passing: Passing) -> None:
    row = only(passing("T3"))
    assert row.status is Status.NOT_REFUTED
    assert row.verdict == "not refuted"
    assert row.missing == ()


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_missed(passing: Passing, part: str) -> None:
    row = only([result for result in passing("T3") if result.part != part])
    controls = ", control N4, control N3, control N5" if part == "hypothesis_needed" else ""
    assert row.verdict == f"incomplete: missing {part}{controls}"


@pytest.mark.parametrize("part", PARTS)
def test_a_skipped_part_is_missing(passing: Passing, part: str) -> None:
    results = [with_outcome(r, Outcome.SKIPPED) if r.part == part else r for r in passing("T3")]
    assert only(results).missing[0] == part


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_fail_and_refute(passing: Passing, part: str) -> None:
    results = passing("T3")
    failed = [with_outcome(r, Outcome.FAILED, "boom") if r.part == part else r for r in results]
    assert only(failed).verdict == f"check failed: {part}"
    witness = Witness("joint_budget", -0.5, "X")
    refuted = [with_outcome(r, Outcome.REFUTED, "boom", witness) if r.part == part else r for r in results]
    assert only(refuted).verdict == "refuted: joint_budget"


def test_a_refutation_weighs_more_than_a_failure_and_both_more_than_a_gap(passing: Passing) -> None:
    first, second, *_ = passing("T3")
    failed, refuted = (
        with_outcome(first, Outcome.FAILED),
        with_outcome(second, Outcome.REFUTED, witness=Witness("q", -1, "X")),
    )
    assert only([failed, refuted]).status is Status.REFUTED
    both = [failed, with_outcome(first, Outcome.REFUTED, witness=Witness("q", -1, "X"))]
    assert [part.status for part in only(both).parts if part.name == first.part] == ["refuted"]
    assert only([failed]).status is Status.FAILED


def test_a_test_that_was_planned_and_did_not_run_is_missed(passing: Passing) -> None:
    planned = {"t.py::T3_holds": ("T3", "holds"), "t.py::other": ("T3", "holds"), "t.py::T1": ("T1", "holds")}
    assert only(passing("T3"), planned).verdict == "incomplete: missing holds (1 of 2 tests)"


def test_parts_that_record_nothing_of_their_kind_are_missed(passing: Passing, recorded: Recorded) -> None:
    results = passing("T3")
    regimes_only = Recorder("T3", "holds")
    regimes_only.regimes({"tiny": 1})
    regimes_only.require_regimes("tiny")
    results[0] = Result("t.py::a", "T3", "holds", Outcome.PASSED, 0.1, regimes_only)
    results[3] = Result("t.py::b", "T3", "rejects", Outcome.PASSED, 0.1, recorded("T3", "holds"))
    assert only(results).missing == ("holds (no instance recorded)", "rejects (nothing caught)")


def test_a_control_counts_only_if_its_test_passed(passing: Passing) -> None:
    results = passing("T3")
    results[2] = with_outcome(results[2], Outcome.FAILED, "boom")
    assert all(not seen for seen in only(results).observed.values())


def test_a_control_may_be_observed_by_a_test_of_its_own(passing: Passing) -> None:
    own = Recorder("N4", "hypothesis_needed")
    own.control("N4", "rho = 2^-10")
    other = [r for r in passing("T2") if r.part != "hypothesis_needed"]
    summary = summarise([*other, Result("t.py::n4", "N4", "hypothesis_needed", Outcome.PASSED, 0.1, own)], {}, 1.0)
    assert [(row.subject.id, row.status) for row in summary.rows] == [
        ("T2", Status.INCOMPLETE),
        ("N4", Status.AS_PREDICTED),
    ]
    assert summary.rows[0].missing == ("hypothesis_needed", "control N1")


def test_of_a_shared_control_a_theorem_shows_what_its_own_tests_saw(passing: Passing) -> None:
    first, second = Recorder("T3", "hypothesis_needed"), Recorder("T2", "hypothesis_needed")
    first.control("N4", "seen with T3")
    second.control("N4", "seen with T2")
    results = [
        Result("t.py::a", "T3", "hypothesis_needed", Outcome.PASSED, 0.1, first),
        Result("t.py::b", "T2", "hypothesis_needed", Outcome.PASSED, 0.1, second),
        passing("T3b")[0],
    ]
    observed = {row.subject.id: row.observed["N4"] for row in summarise(results, {}, 1.0).rows}
    assert observed == {
        "T2": ("seen with T2",),
        "T3": ("seen with T3",),
        "T3b": ("seen with T3", "seen with T2"),
    }


def test_a_control_that_observed_nothing_is_incomplete(recorded: Recorded) -> None:
    row = only([Result("t.py::n4", "N4", "exact", Outcome.PASSED, 0.1, recorded("N4", "exact"))])
    assert row.verdict == "incomplete: missing control N4"


def test_instances_shared_by_two_inequalities_are_counted_once(passing: Passing) -> None:
    row = only(passing("T3"))
    # Three parts within the hypotheses, each with 1000 instances compared twice in floats and 10 in rationals.
    assert [(line.kind, line.instances) for line in row.lines] == [(Kind.EXACT, 30), (Kind.SAMPLED, 3000)]
    assert row.instances == 3030
    assert row.worst_margin == 0.125


def test_margins_outside_the_hypotheses_do_not_count_against_the_theorem(passing: Passing, recorded: Recorded) -> None:
    results = passing("T3")
    outside = recorded("T3", "hypothesis_needed")
    outside.record(Kind.SAMPLED, instances=5, worst_margin=-3.0, quantity="joint_budget")
    results[2] = Result("t.py::o", "T3", "hypothesis_needed", Outcome.PASSED, 0.1, outside)
    assert only(results).worst_margin == 0.125
    assert only(results).instances == 3030


def test_what_a_failing_test_claims_to_have_proved_is_not_listed() -> None:
    good, bad = Recorder("T3", "exact"), Recorder("T3", "exact")
    good.record(Kind.EXACT, instances=1, worst_margin=0, quantity="q", proved="for all r")
    bad.record(Kind.EXACT, instances=1, worst_margin=0, quantity="q", proved="for all s")
    results = [
        Result("t.py::a", "T3", "exact", Outcome.PASSED, 0.1, good),
        Result("t.py::b", "T3", "exact", Outcome.FAILED, 0.1, bad),
    ]
    assert [p.statement for p in only(results).proved] == ["for all r"]


def test_rows_follow_the_registry_and_the_rest_is_named(passing: Passing) -> None:
    summary = summarise([*passing("T3"), *passing("T1")], {}, 2.0)
    assert [row.subject.id for row in summary.rows] == ["T1", "T3"]
    assert summary.absent == tuple(t.id for t in THEOREMS if t.id not in ("T1", "T3"))
    assert total_line(summary) == "6,060 instances in 10 tests, 2.0 s"
    assert total_line(Summary((), (), 0.0)) == "0 instances in 0 tests, 0.0 s"


def test_a_later_phase_neither_heals_a_test_nor_loses_its_record(passing: Passing) -> None:
    call = with_outcome(passing("T3")[0], Outcome.REFUTED, "boom", Witness("q", -1, "X"))
    teardown = Result(call.nodeid, "T3", "holds", Outcome.FAILED, 0.25, None, "teardown")
    joined = call.joined(teardown)
    assert (joined.outcome, joined.witness, joined.message) == (Outcome.REFUTED, call.witness, "boom")
    assert joined.evidence is call.evidence
    assert joined.seconds == pytest.approx(0.35)
    assert passing("T3")[0].joined(teardown).outcome is Outcome.FAILED


def test_a_witness_is_found_in_a_group_but_not_in_a_flaky_one() -> None:
    refuted = Refuted("q", -0.5, "X")

    class Flaky(Exception):  # noqa: N818  (the name Hypothesis gives the ancestor of its flaky failures)
        pass

    class FlakyFailure(ExceptionGroup, Flaky):
        pass

    assert witness_of(refuted) is refuted
    assert witness_of(ExceptionGroup("two", [ValueError(), ExceptionGroup("one", [refuted])])) is refuted
    assert witness_of(ValueError()) is None
    assert witness_of(FlakyFailure("once", [refuted])) is None


def test_the_name_by_which_flaky_failures_are_known_is_hypothesis_own() -> None:
    errors = pytest.importorskip("hypothesis.errors")
    assert "Flaky" in [ancestor.__name__ for ancestor in errors.FlakyFailure.__mro__]


def test_an_infinite_margin_travels() -> None:
    data = json.loads(payload("T3", "holds", None, Refuted("q", -math.inf, "X")))
    assert data["witness"]["margin"] == pytest.approx(-1.7976931348623157e308)
    assert data["evidence"] is None


@pytest.mark.parametrize(
    ("longrepr", "message"),
    [
        (("a.py", 3, "Skipped: no flint"), "Skipped: no flint"),
        ("\n  first line \nsecond", "first line"),
        ("Failed: short", "short"),
        (None, "None"),
        ("", ""),
        ("x" * 1000, "x" * 300),
    ],
)
def test_messages_are_one_line(longrepr: Any, message: str) -> None:
    assert message_of(longrepr) == message
