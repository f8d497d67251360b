"""The plugin, on small suites written on the spot, in one process and in several."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Loaded before the inner runs, which restore the modules they find: every run then uses the same classes, and none
# pays for their import again.
from eqtheory.testing import pytest_plugin  # noqa: F401
from eqtheory.testing.report import as_table, files, reporter  # noqa: F401

if TYPE_CHECKING:
    from tests.testing.conftest import Suite

pytest.importorskip("xdist")
pytest.importorskip("hypothesis")

PROCESSES = pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["one process", "worker"])


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_five_parts_that_pass(suite: Suite, workers: list[str]) -> None:
    result = suite.run(suite.FIVE, *workers)
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(
        [
            "*= theorems =*",
            "T3 Sufficiency*exact*2,000*0*2/2 N4 N3 N5*not refuted",
            "*sampled*1,000*0.25",
            "proved parts",
            "T3 for all r [[]joint_budget, exact arithmetic[]]",
            "not run: T1, *",
            "3,000 instances in 6 tests, * s; build/proofs_check/evidence.json, build/proofs_check/evidence.html",
        ]
    )
    row = suite.entry()
    assert row["verdict"] == "not refuted"
    assert row["instances"] == 3000
    assert row["worst_margin_exact"] == "0"
    assert row["caught"] == {"caught": 2, "tried": 2}
    assert {name: part["expected_tests"] for name, part in row["parts"].items()} == {
        "holds": 1,
        "sharp": 1,
        "hypothesis_needed": 1,
        "rejects": 2,
        "exact": 1,
    }
    assert 'id="T3"' in (suite.path / "build/proofs_check/evidence.html").read_text(encoding="utf-8")


def test_the_report_says_where_it_comes_from_but_not_on_which_machine(suite: Suite) -> None:
    source = "\n@pytest.mark.theorem('T1', part='holds')\ndef test_path(evidence):\n    raise OSError(__file__)\n"
    suite.run(suite.FIVE + source)
    found = suite.report()
    assert (found["schema"], found["schema_version"]) == ("eqtheory/evidence", 1)
    assert set(found["versions"]) == {"python", "eqtheory", "torch", "numpy", "hypothesis", "pytest"}
    assert found["versions"]["eqtheory"]
    assert found["git"] is None
    assert suite.entry("T1")["parts"]["holds"]["tests"][0]["message"] == "OSError: ./test_inner.py"
    for name in ("evidence.json", "evidence.html"):
        text = (suite.path / "build/proofs_check" / name).read_text(encoding="utf-8")
        for folder in (suite.path, Path.home(), Path(sys.prefix)):
            assert str(folder) not in text


def test_commit_profile_and_seed_are_recorded(suite: Suite) -> None:
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"]
    for words in (["init", "-q"], commit):
        if subprocess.run(["git", *words], cwd=suite.path, check=False).returncode:
            pytest.skip("git cannot make a repository here")
    suite.pytester.makeconftest("import hypothesis\nhypothesis.settings.register_profile('mine', max_examples=3)\n")
    suite.write(suite.FIVE)
    # In a process of its own: profile and seed are global in Hypothesis, and would stay with the outer run.
    suite.pytester.runpytest_subprocess("-p", "no:benchmark", "--hypothesis-profile=mine", "--hypothesis-seed=11")
    found = suite.report()
    assert len(found["git"]["commit"]) == 40
    assert found["git"]["changed"] is False
    assert found["hypothesis"] == {"profile": "mine", "seed": "11"}


@PROCESSES
def test_a_check_that_records_nothing_fails(suite: Suite, workers: list[str]) -> None:
    source = """
@pytest.mark.theorem("T3", part="holds")
def test_silent(evidence):
    evidence.regimes({"tiny": 3})

@pytest.mark.theorem("T3", part="sharp")
def test_without_the_fixture():
    pass
"""
    result = suite.run(source, *workers)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*passed without recording any evidence: it checks nothing*"])
    result.stdout.fnmatch_lines(["T3 check failed: holds: passed without recording any evidence: it checks nothing"])
    assert suite.entry()["verdict_text"] == "check failed: holds, sharp"
    messages = [test["message"] for part in suite.entry()["parts"].values() for test in part["tests"]]
    assert messages == ["passed without recording any evidence: it checks nothing"] * 2


@PROCESSES
def test_a_refutation_is_told_from_a_failure(suite: Suite, workers: list[str]) -> None:
    source = """
@pytest.mark.theorem("T3", part="holds")
def test_refuted(evidence):
    record(evidence, -0.25)
    raise Refuted("joint_budget", -0.25, "X = {0, <1>}")

@pytest.mark.theorem("T1", part="holds")
def test_failed(evidence):
    record(evidence)
    assert 1 == 2

@pytest.mark.theorem("T2", part="holds")
def test_error(evidence, absent_fixture):
    record(evidence)
"""
    result = suite.run(source, *workers)
    result.assert_outcomes(failed=2, errors=1)
    result.stdout.fnmatch_lines(["T3*-0.25*refuted"])
    result.stdout.fnmatch_lines(["T3 refuted: joint_budget with margin -0.25 by X = {0, <1>}"])
    refutation = suite.entry()["parts"]["holds"]["tests"][0]["refutation"]
    assert refutation == {"quantity": "joint_budget", "margin": -0.25, "witness": "X = {0, <1>}"}
    assert suite.entry("T1")["verdict"] == "check failed"
    assert suite.entry("T1")["parts"]["holds"]["tests"][0]["refutation"] is None
    assert suite.entry("T2")["verdict"] == "check failed"


def test_an_unnoticed_exact_counterexample_refutes(suite: Suite) -> None:
    source = """
@pytest.mark.theorem("T3", part="holds")
def test_went_on(evidence):
    record(evidence, Fraction(-1, 10**40), Kind.EXACT)
"""
    suite.run(source).assert_outcomes(failed=1)
    assert suite.entry()["verdict"] == "refuted"


def test_a_failing_teardown_fails_the_check_and_keeps_the_record(suite: Suite) -> None:
    source = """
@pytest.fixture
def fragile():
    yield
    raise ValueError("teardown")

@pytest.mark.theorem("T3", part="holds")
def test_holds(evidence, fragile):
    record(evidence)
"""
    suite.run(source).assert_outcomes(passed=1, errors=1)
    assert suite.entry()["verdict"] == "check failed"
    assert suite.entry()["instances"] == 1000


def test_hypothesis_examples_add_up_and_its_failures_are_understood(suite: Suite) -> None:
    source = """
from hypothesis import given, settings, strategies as st

@pytest.mark.theorem("T3", part="holds")
def test_holds(evidence):
    @settings(max_examples=7, database=None, derandomize=True)
    @given(st.floats(0, 1))
    def attack(margin):
        record(evidence, margin)
    attack()

@pytest.mark.theorem("T3", part="exact")
def test_two_refutations(evidence):
    @settings(max_examples=50, database=None, derandomize=True)
    @given(st.integers(0, 100))
    def attack(n):
        if n > 50:
            raise Refuted("joint_budget", -0.5, f"n = {n}")
        if n > 20:
            raise Refuted("step_radius", -0.5, f"n = {n}") from ValueError()
    attack()
"""
    suite.run(source).assert_outcomes(passed=1, failed=1)
    assert suite.entry()["parts"]["holds"]["measurements"][0]["instances"] % 1000 == 0
    assert suite.entry()["parts"]["holds"]["measurements"][0]["instances"] >= 2000
    test = suite.entry()["parts"]["exact"]["tests"][0]
    assert test["outcome"] == "refuted"
    assert test["refutation"]["witness"] in ("n = 51", "n = 21")


@pytest.mark.parametrize(
    ("mark", "workers", "message"),
    [
        ('"T99", part="holds"', [], "theorem: got 'T99', needed one of T1, *N1*; pass the id of a registered *"),
        (
            '"T99", part="holds"',
            ["-n", "1"],
            "theorem: got 'T99', needed one of T1, *N1*; pass the id of a registered *",
        ),
        ('"T3", part="hold"', [], "part: got 'hold', needed one of holds, sharp, hypothesis_needed, rejects, exact; *"),
    ],
    ids=["theorem", "theorem on a worker", "part"],
)
def test_an_unknown_name_stops_the_run(suite: Suite, workers: list[str], mark: str, message: str) -> None:
    result = suite.run(f"@pytest.mark.theorem({mark})\ndef test_a(evidence):\n    record(evidence)\n", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    stream = result.stdout if workers else result.stderr
    stream.fnmatch_lines([f"ERROR: test_inner.py::test_a: {message}"])
    assert "INTERNALERROR" not in result.stdout.str()
    assert not (suite.path / "build").exists()


@pytest.mark.parametrize("mark", ['"T3"', "3, part='holds'", '"T3", "holds"', '"T3", part="holds", why="x"', ""])
def test_a_malformed_mark_stops_the_run(suite: Suite, mark: str) -> None:
    result = suite.run(f"@pytest.mark.theorem({mark})\ndef test_a(evidence):\n    record(evidence)\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['ERROR: *needed @pytest.mark.theorem("T3", part="holds"); give one id and one part'])


def test_two_marks_stop_the_run(suite: Suite) -> None:
    source = "pytestmark = pytest.mark.theorem('T1', part='holds')\n" + suite.FIVE
    result = suite.run(source)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *got 2 theorem marks, needed one; split the test"])


def test_the_fixture_needs_the_mark(suite: Suite) -> None:
    result = suite.run("def test_a(evidence):\n    record(evidence)\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["evidence: got a test without a mark, needed @pytest.mark.theorem*; mark the test"])
