"""The three reports say the same and nothing more than was recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from eqtheory.testing.evidence import PARTS, Kind, Recorder
from eqtheory.testing.report.as_html import page
from eqtheory.testing.report.as_json import SCHEMA_VERSION, document
from eqtheory.testing.report.as_table import render
from eqtheory.testing.report.files import portable
from eqtheory.testing.report.result import Outcome, Result, Witness
from eqtheory.testing.report.summary import Status, Summary, summarise
from eqtheory.theorems import CONTROLS, theorem

RUN: dict[str, Any] = {
    "made": "2026-01-01T00:00:00+00:00",
    "versions": {"python": "3.11", "eqtheory": "0.1.0", "torch": None},
    "git": {"commit": "0123456789abcdef", "changed": True},
    "hypothesis": {"profile": "eqtheory-quick", "seed": "7"},
}


@pytest.fixture(scope="module")
def sample(passing: Callable[[str], list[Result]]) -> Summary:
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


def test_the_sample_shows_every_verdict(sample: Summary) -> None:
    assert {row.status for row in sample.rows} == set(Status)


@pytest.mark.parametrize("width", [40, 59, 60, 75, 76, 80, 100, 160])
def test_the_table_fits_the_terminal(sample: Summary, width: int) -> None:
    text = render(sample, width=width, color=False)
    assert "\x1b" not in text
    assert text.isascii()
    assert max(cell_len(line) for line in text.splitlines()) <= width
    for identifier in ("T1", "T2", "T3", "T7", "T8", "T14", "N2"):
        assert any(line.startswith(identifier + " ") for line in text.splitlines())
    if width >= 60:
        for word in ("not refuted", "check failed", "incomplete", "3,000", "1e-30", "2/2", "0/1", "N4 N3 N5"):
            assert word in text
    if width >= 100:
        assert "Sufficiency with universal constants" in text


def test_the_notes_below_the_table_say_what_is_wrong(sample: Summary) -> None:
    lines = render(sample, width=400, color=False).splitlines()
    assert "T2  refuted: pairwise_slope with margin -0.3 by F<x>" in lines
    assert "T7  check failed: rejects: eta = 1.5: <not> caught" in lines
    assert "T8  incomplete: missing hypothesis_needed, rejects, exact" in lines
    assert "T1  for all mu < 1 & <all> t [a_priori, ball arithmetic]" in lines
    assert f"not run: {', '.join(sample.absent)}" in lines


def test_a_terminal_gets_colour(sample: Summary) -> None:
    assert "\x1b[32mnot refuted" in render(sample, width=80, color=True)


def test_the_document_is_strict_json_and_complete(sample: Summary) -> None:
    text = json.dumps(document(sample, RUN), allow_nan=False)
    found = json.loads(text)
    assert (found["schema"], found["schema_version"]) == ("eqtheory/evidence", SCHEMA_VERSION)
    assert found["git"] == RUN["git"]
    assert found["totals"] == {"instances": sample.instances, "tests": sample.tests, "seconds": 12.34}
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
    assert by_id["T8"]["missing"] == ["hypothesis_needed", "rejects", "exact"]
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
def html(sample: Summary) -> tuple[str, Reader]:
    text = page(sample, RUN)
    reader = Reader()
    reader.feed(text)
    reader.close()
    return text, reader


def test_the_page_is_well_formed_and_has_every_theorem(sample: Summary, html: tuple[str, Reader]) -> None:
    _, reader = html
    assert reader.open == []
    for row in sample.rows:
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


def test_a_page_without_git_and_hypothesis(sample: Summary) -> None:
    text = page(sample, RUN | {"git": None, "hypothesis": None})
    assert "commit" not in text
    assert "profile" not in text


def test_folders_of_the_machine_are_taken_out(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    text = f"{root}/a.py: no such file {Path.home()}/x, but {root}house and a{root} stay"
    assert portable(text, root) == f"./a.py: no such file ~/x, but {root}house and a{root} stay"
