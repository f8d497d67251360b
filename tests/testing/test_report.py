"""The verdicts follow from the results alone, and the three reports say the same and nothing more."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from eqtheory.testing._report_files import portable
from eqtheory.testing._report_html import page
from eqtheory.testing._report_json import SCHEMA_VERSION, document
from eqtheory.testing._report_terminal import render, total_line
from eqtheory.testing._result import Outcome, Result, Witness, message_of, payload, witness_of
from eqtheory.testing._summary import Status, Summary, summarise
from eqtheory.testing.evidence import PARTS, Kind, Recorder, Refuted
from eqtheory.theorems import CONTROLS, THEOREMS, theorem

RUN: dict[str, Any] = {
    "made": "2026-01-01T00:00:00+00:00",
    "versions": {"python": "3.11", "eqtheory": "0.1.0", "torch": None},
    "git": {"commit": "0123456789abcdef", "changed": True},
    "hypothesis": {"profile": "eqtheory-quick", "seed": "7"},
}


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


def with_outcome(result: Result, outcome: Outcome, message: str = "", witness: Witness | None = None) -> Result:
    return Result(result.nodeid, result.theorem, result.part, outcome, 0.1, result.evidence, message, witness)


def only(results: list[Result], planned: dict[str, tuple[str, str]] | None = None) -> Any:
    summary = summarise(results, planned or {}, 1.0)
    assert len(summary.rows) == 1
    return summary.rows[0]


def test_five_parts_that_pass_do_not_prove_a_universal_statement() -> None:
    row = only(passing("T3"))
    assert row.status is Status.NOT_REFUTED
    assert row.verdict == "not refuted"
    assert row.missing == ()


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_missed(part: str) -> None:
    row = only([result for result in passing("T3") if result.part != part])
    controls = ", control N4, control N5" if part == "hypothesis_needed" else ""
    assert row.verdict == f"incomplete: missing {part}{controls}"


@pytest.mark.parametrize("part", PARTS)
def test_a_skipped_part_is_missing(part: str) -> None:
    results = [with_outcome(r, Outcome.SKIPPED) if r.part == part else r for r in passing("T3")]
    assert only(results).missing[0] == part


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_fail_and_refute(part: str) -> None:
    results = passing("T3")
    failed = [with_outcome(r, Outcome.FAILED, "boom") if r.part == part else r for r in results]
    assert only(failed).verdict == f"check failed: {part}"
    witness = Witness("joint_budget", -0.5, "X")
    refuted = [with_outcome(r, Outcome.REFUTED, "boom", witness) if r.part == part else r for r in results]
    assert only(refuted).verdict == "refuted: joint_budget"


def test_a_refutation_weighs_more_than_a_failure_and_both_more_than_a_gap() -> None:
    first, second, *_ = passing("T3")
    failed, refuted = (
        with_outcome(first, Outcome.FAILED),
        with_outcome(second, Outcome.REFUTED, witness=Witness("q", -1, "X")),
    )
    assert only([failed, refuted]).status is Status.REFUTED
    both = [failed, with_outcome(first, Outcome.REFUTED, witness=Witness("q", -1, "X"))]
    assert [part.status for part in only(both).parts if part.name == first.part] == ["refuted"]
    assert only([failed]).status is Status.FAILED


def test_a_test_that_was_planned_and_did_not_run_is_missed() -> None:
    planned = {"t.py::T3_holds": ("T3", "holds"), "t.py::other": ("T3", "holds"), "t.py::T1": ("T1", "holds")}
    assert only(passing("T3"), planned).verdict == "incomplete: missing holds (1 of 2 tests)"


def test_parts_that_record_nothing_of_their_kind_are_missed() -> None:
    results = passing("T3")
    regimes_only = Recorder("T3", "holds")
    regimes_only.regimes({"tiny": 1})
    regimes_only.require_regimes("tiny")
    results[0] = Result("t.py::a", "T3", "holds", Outcome.PASSED, 0.1, regimes_only)
    results[3] = Result("t.py::b", "T3", "rejects", Outcome.PASSED, 0.1, recorded("T3", "holds"))
    assert only(results).missing == ("holds (no instance recorded)", "rejects (nothing caught)")


def test_a_control_counts_only_if_its_test_passed() -> None:
    results = passing("T3")
    results[2] = with_outcome(results[2], Outcome.FAILED, "boom")
    assert all(not seen for seen in only(results).observed.values())


def test_a_control_may_be_observed_by_a_test_of_its_own() -> None:
    own = Recorder("N4", "hypothesis_needed")
    own.control("N4", "rho = 2^-10")
    other = [r for r in passing("T2") if r.part != "hypothesis_needed"]
    summary = summarise([*other, Result("t.py::n4", "N4", "hypothesis_needed", Outcome.PASSED, 0.1, own)], {}, 1.0)
    assert [(row.subject.id, row.status) for row in summary.rows] == [
        ("T2", Status.INCOMPLETE),
        ("N4", Status.AS_PREDICTED),
    ]
    assert summary.rows[0].missing == ("hypothesis_needed", "control N1")


def test_a_control_that_observed_nothing_is_incomplete() -> None:
    row = only([Result("t.py::n4", "N4", "exact", Outcome.PASSED, 0.1, recorded("N4", "exact"))])
    assert row.verdict == "incomplete: missing control N4"


def test_instances_shared_by_two_inequalities_are_counted_once() -> None:
    row = only(passing("T3"))
    # Three parts within the hypotheses, each with 1000 instances compared twice in floats and 10 in rationals.
    assert [(line.kind, line.instances) for line in row.lines] == [(Kind.EXACT, 30), (Kind.SAMPLED, 3000)]
    assert row.instances == 3030
    assert row.worst_margin == 0.125


def test_margins_outside_the_hypotheses_do_not_count_against_the_theorem() -> None:
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


def test_rows_follow_the_registry_and_the_rest_is_named() -> None:
    summary = summarise([*passing("T3"), *passing("T1")], {}, 2.0)
    assert [row.subject.id for row in summary.rows] == ["T1", "T3"]
    assert summary.absent == tuple(t.id for t in THEOREMS if t.id not in ("T1", "T3"))
    assert total_line(summary) == "6,060 instances in 10 tests, 2.0 s"
    assert total_line(Summary((), (), 0.0)) == "0 instances in 0 tests, 0.0 s"


def test_a_later_phase_neither_heals_a_test_nor_loses_its_record() -> None:
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


def sample() -> Summary:
    """One row of every verdict, with everything a report can show."""
    refuted = Recorder("T2", "holds")
    refuted.record(Kind.SAMPLED, instances=10, worst_margin=-0.3, quantity="pairwise_slope")
    proved = Recorder("T1", "exact")
    proved.record(Kind.BALL, instances=1, worst_margin=1e-30, quantity="a_priori", proved="for all mu < 1 & <all> t")
    proved.regimes({"near one": 12})
    control = Recorder("N2", "hypothesis_needed")
    control.control("N2", "period 2")
    missed = Recorder("T7", "rejects")
    with pytest.raises(AssertionError):
        missed.caught("eta = 1.5", 0.5)
    return summarise(
        [
            *passing("T3"),
            *passing("T1"),
            Result("t.py::p", "T1", "exact", Outcome.PASSED, 0.1, proved),
            Result(
                "t.py::r", "T2", "holds", Outcome.REFUTED, 0.1, refuted, "m", Witness("pairwise_slope", -0.3, "F<x>")
            ),
            Result("t.py::m", "T7", "rejects", Outcome.FAILED, 0.1, missed, "eta = 1.5: <not> caught"),
            *passing("T8")[:2],
            Result("t.py::s", "T14", "exact", Outcome.SKIPPED, 0.1, None, "no <flint>"),
            Result("t.py::n", "N2", "hypothesis_needed", Outcome.PASSED, 0.1, control),
        ],
        {},
        12.34,
    )


def test_the_sample_shows_every_verdict() -> None:
    assert {row.status for row in sample().rows} == set(Status)


@pytest.mark.parametrize("width", [40, 59, 60, 75, 76, 80, 100, 160])
def test_the_table_fits_the_terminal(width: int) -> None:
    text = render(sample(), width=width, color=False)
    assert "\x1b" not in text
    assert text.isascii()
    assert max(cell_len(line) for line in text.splitlines()) <= width
    for identifier in ("T1", "T2", "T3", "T7", "T8", "T14", "N2"):
        assert any(line.startswith(identifier + " ") for line in text.splitlines())
    if width >= 60:
        for word in ("not refuted", "check failed", "incomplete", "3,000", "1e-30", "2/2", "0/1", "N4 N5"):
            assert word in text
    if width >= 100:
        assert "Sufficiency with universal constants" in text


def test_the_notes_below_the_table_say_what_is_wrong() -> None:
    lines = render(sample(), width=400, color=False).splitlines()
    assert "T2  refuted: pairwise_slope with margin -0.3 by F<x>" in lines
    assert "T7  check failed: rejects: eta = 1.5: <not> caught" in lines
    assert "T8  incomplete: missing hypothesis_needed, rejects, exact, control N3" in lines
    assert "T1  for all mu < 1 & <all> t [a_priori, ball arithmetic]" in lines
    assert f"not run: {', '.join(sample().absent)}" in lines


def test_a_terminal_gets_colour() -> None:
    assert "\x1b[32mnot refuted" in render(sample(), width=80, color=True)


def test_the_document_is_strict_json_and_complete() -> None:
    text = json.dumps(document(sample(), RUN), allow_nan=False)
    found = json.loads(text)
    assert (found["schema"], found["schema_version"]) == ("eqtheory/evidence", SCHEMA_VERSION)
    assert found["git"] == RUN["git"]
    assert found["totals"] == {"instances": sample().instances, "tests": sample().tests, "seconds": 12.34}
    by_id = {entry["id"]: entry for entry in found["theorems"]}
    assert list(by_id) == ["T1", "T2", "T3", "T7", "T8", "T14"]
    assert [entry["id"] for entry in found["controls"]] == ["N2"]
    assert by_id["T3"]["verdict"] == "not refuted"
    assert by_id["T3"]["parts"]["rejects"]["caught"] == [
        {"name": "eps = rho", "kind": "zoo", "margin": -12.5, "margin_exact": "", "caught": True},
        {"name": "budget & co", "kind": "tightened", "margin": "-inf", "margin_exact": "", "caught": True},
    ]
    assert by_id["T3"]["evidence"][0] == {
        "kind": "exact",
        "instances": 30,
        "worst_margin": pytest.approx(1 / 7),
        "worst_margin_exact": "1/7",
    }
    assert by_id["T2"]["parts"]["holds"]["tests"][0]["refutation"] == {
        "quantity": "pairwise_slope",
        "margin": -0.3,
        "witness": "F<x>",
    }
    assert by_id["T1"]["proved"][0]["statement"] == "for all mu < 1 & <all> t"
    assert by_id["T1"]["parts"]["exact"]["regimes"] == {"near one": 12}
    assert by_id["T8"]["missing"] == ["hypothesis_needed", "rejects", "exact", "control N3"]
    assert set(by_id["T8"]["parts"]) == set(PARTS)


class Reader(HTMLParser):
    """Checks that tags nest, and collects what a reader and a browser would see."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.identifiers: list[str] = []
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.text: list[str] = []
        self.scopes: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if "id" in found:
            self.identifiers.append(found["id"] or "")
        if tag == "a":
            self.targets.append(found["href"] or "")
        if tag == "th":
            self.scopes.append(found.get("scope"))
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset", "data", "poster")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


@pytest.fixture(scope="module")
def html() -> tuple[str, Reader]:
    text = page(sample(), RUN)
    reader = Reader()
    reader.feed(text)
    reader.close()
    return text, reader


def test_the_page_is_well_formed_and_has_every_theorem(html: tuple[str, Reader]) -> None:
    _, reader = html
    assert reader.open == []
    for row in sample().rows:
        assert row.subject.id in reader.identifiers
        assert f"#{row.subject.id}" in reader.targets
    assert len(set(reader.identifiers)) == len(reader.identifiers)


def test_every_link_stays_on_the_page(html: tuple[str, Reader]) -> None:
    _, reader = html
    assert {target.removeprefix("#") for target in reader.targets} <= set(reader.identifiers)


def test_the_page_loads_nothing(html: tuple[str, Reader]) -> None:
    text, reader = html
    assert reader.loads == []
    assert not reader.tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_the_page_can_be_read_everywhere(html: tuple[str, Reader]) -> None:
    text, reader = html
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert '<html lang="en">' in text
    assert set(reader.scopes) == {"col", "row"}


def test_the_page_shows_the_registry_and_the_record_as_text(html: tuple[str, Reader]) -> None:
    seen = " ".join("".join(html[1].text).split())
    found = theorem("T3")
    for part in (found.title, found.conclusion, found.proof, found.sharp, found.credit, found.check):
        assert " ".join(part.split()) in seen
    for hypothesis in found.hypotheses:
        assert hypothesis.statement in seen
    for inequality in found.inequalities:
        assert inequality.statement in seen
    control = next(c for c in CONTROLS if c.id == "N2")
    for part in (control.title, control.instance, control.prediction, control.drops):
        assert part in seen
    for recorded_text in (
        "slope 3.1e6 <i>as predicted</i>",
        "budget & co",
        "for all mu < 1 & <all> t",
        "eta = 1.5: <not> caught",
        "no <flint>",
        "pairwise_slope has margin -0.3 at F<x>",
        "not refuted (3,030 trials, worst margin 0.125)",
        "near one 12",
        "commit 0123456789ab with changes",
        "Hypothesis profile eqtheory-quick; seed 7",
    ):
        assert recorded_text in seen
    assert not html[1].tags & {"i", "all", "not", "flint", "x"}


def test_a_page_without_git_and_hypothesis() -> None:
    text = page(sample(), RUN | {"git": None, "hypothesis": None})
    assert "commit" not in text
    assert "profile" not in text


def test_folders_of_the_machine_are_taken_out(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    text = f"{root}/a.py: no such file {Path.home()}/x, but {root}house and a{root} stay"
    assert portable(text, root) == f"./a.py: no such file ~/x, but {root}house and a{root} stay"
