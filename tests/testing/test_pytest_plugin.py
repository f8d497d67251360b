"""The plugin, on small suites written on the spot, in one process and in several."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Loaded before the inner runs, which restore the modules they find: every run then uses the same classes, and none pays for
# their import again.
from eqtheory.testing import _report_files, _report_terminal, _reporter, pytest_plugin  # noqa: F401
from eqtheory.theorems import theorem

pytest.importorskip("xdist")
pytest.importorskip("hypothesis")

# One worker sends as two do and starts in half the time; where the sums matter there are two.
PROCESSES = pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["one process", "worker"])

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


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    # Inner runs know nothing of the options of the outer one, and report into the folder of the test.
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
    return pytester


def run(suite: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    suite.makepyfile(test_inner=HEAD + source)
    return suite.runpytest_inprocess("-p", "no:benchmark", *arguments)


def report(suite: pytest.Pytester, folder: str = "build/proofs_check") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((suite.path / folder / "evidence.json").read_text(encoding="utf-8"))
    return found


def entry(suite: pytest.Pytester, identifier: str = "T3") -> dict[str, Any]:
    found = report(suite)
    return next(row for row in (*found["theorems"], *found["controls"]) if row["id"] == identifier)


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_five_parts_that_pass(suite: pytest.Pytester, workers: list[str]) -> None:
    result = run(suite, FIVE, *workers)
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(
        [
            "*= theorems =*",
            "T3 Sufficiency*exact*2,000*0*2/2 N4 N5*not refuted",
            "*sampled*1,000*0.25",
            "proved parts",
            "T3 for all r [[]joint_budget, exact arithmetic[]]",
            "not run: T1, *",
            "3,000 instances in 6 tests, * s; build/proofs_check/evidence.json, build/proofs_check/evidence.html",
        ]
    )
    row = entry(suite)
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


def test_the_report_says_where_it_comes_from_but_not_on_which_machine(suite: pytest.Pytester) -> None:
    run(
        suite,
        FIVE + "\n@pytest.mark.theorem('T1', part='holds')\ndef test_path(evidence):\n    raise OSError(__file__)\n",
    )
    found = report(suite)
    assert (found["schema"], found["schema_version"]) == ("eqtheory/evidence", 1)
    assert set(found["versions"]) == {"python", "eqtheory", "torch", "numpy", "hypothesis", "pytest"}
    assert found["versions"]["eqtheory"]
    assert found["git"] is None
    assert entry(suite, "T1")["parts"]["holds"]["tests"][0]["message"] == "OSError: ./test_inner.py"
    for name in ("evidence.json", "evidence.html"):
        text = (suite.path / "build/proofs_check" / name).read_text(encoding="utf-8")
        for folder in (suite.path, Path.home(), Path(sys.prefix)):
            assert str(folder) not in text


def test_commit_profile_and_seed_are_recorded(suite: pytest.Pytester) -> None:
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"]
    for words in (["init", "-q"], commit):
        if subprocess.run(["git", *words], cwd=suite.path, check=False).returncode:
            pytest.skip("git cannot make a repository here")
    suite.makeconftest("import hypothesis\nhypothesis.settings.register_profile('mine', max_examples=3)\n")
    suite.makepyfile(test_inner=HEAD + FIVE)
    # In a process of its own: profile and seed are global in Hypothesis, and would stay with the outer run.
    suite.runpytest_subprocess("-p", "no:benchmark", "--hypothesis-profile=mine", "--hypothesis-seed=11")
    found = report(suite)
    assert len(found["git"]["commit"]) == 40
    assert found["git"]["changed"] is False
    assert found["hypothesis"] == {"profile": "mine", "seed": "11"}


@PROCESSES
def test_a_check_that_records_nothing_fails(suite: pytest.Pytester, workers: list[str]) -> None:
    source = """
@pytest.mark.theorem("T3", part="holds")
def test_silent(evidence):
    evidence.regimes({"tiny": 3})

@pytest.mark.theorem("T3", part="sharp")
def test_without_the_fixture():
    pass
"""
    result = run(suite, source, *workers)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*passed without recording any evidence: it checks nothing*"])
    result.stdout.fnmatch_lines(["T3 check failed: holds: passed without recording any evidence: it checks nothing"])
    assert entry(suite)["verdict_text"] == "check failed: holds, sharp"
    messages = [test["message"] for part in entry(suite)["parts"].values() for test in part["tests"]]
    assert messages == ["passed without recording any evidence: it checks nothing"] * 2


@PROCESSES
def test_a_refutation_is_told_from_a_failure(suite: pytest.Pytester, workers: list[str]) -> None:
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
    result = run(suite, source, *workers)
    result.assert_outcomes(failed=2, errors=1)
    result.stdout.fnmatch_lines(["T3*-0.25*refuted"])
    result.stdout.fnmatch_lines(["T3 refuted: joint_budget with margin -0.25 by X = {0, <1>}"])
    refutation = entry(suite)["parts"]["holds"]["tests"][0]["refutation"]
    assert refutation == {"quantity": "joint_budget", "margin": -0.25, "witness": "X = {0, <1>}"}
    assert entry(suite, "T1")["verdict"] == "check failed"
    assert entry(suite, "T1")["parts"]["holds"]["tests"][0]["refutation"] is None
    assert entry(suite, "T2")["verdict"] == "check failed"


def test_an_unnoticed_exact_counterexample_refutes(suite: pytest.Pytester) -> None:
    source = """
@pytest.mark.theorem("T3", part="holds")
def test_went_on(evidence):
    record(evidence, Fraction(-1, 10**40), Kind.EXACT)
"""
    run(suite, source).assert_outcomes(failed=1)
    assert entry(suite)["verdict"] == "refuted"


def test_a_failing_teardown_fails_the_check_and_keeps_the_record(suite: pytest.Pytester) -> None:
    source = """
@pytest.fixture
def fragile():
    yield
    raise ValueError("teardown")

@pytest.mark.theorem("T3", part="holds")
def test_holds(evidence, fragile):
    record(evidence)
"""
    run(suite, source).assert_outcomes(passed=1, errors=1)
    assert entry(suite)["verdict"] == "check failed"
    assert entry(suite)["instances"] == 1000


def test_hypothesis_examples_add_up_and_its_failures_are_understood(suite: pytest.Pytester) -> None:
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
    run(suite, source).assert_outcomes(passed=1, failed=1)
    assert entry(suite)["parts"]["holds"]["measurements"][0]["instances"] % 1000 == 0
    assert entry(suite)["parts"]["holds"]["measurements"][0]["instances"] >= 2000
    test = entry(suite)["parts"]["exact"]["tests"][0]
    assert test["outcome"] == "refuted"
    assert test["refutation"]["witness"] in ("n = 51", "n = 21")


@PROCESSES
@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (
            '"T99", part="holds"',
            "theorem: got 'T99', needed one of T1, *N1*; pass the id of a registered theorem or control",
        ),
        ('"T3", part="hold"', "part: got 'hold', needed one of holds, sharp, hypothesis_needed, rejects, exact; *"),
    ],
    ids=["theorem", "part"],
)
def test_an_unknown_name_stops_the_run(suite: pytest.Pytester, workers: list[str], mark: str, message: str) -> None:
    result = run(suite, f"@pytest.mark.theorem({mark})\ndef test_a(evidence):\n    record(evidence)\n", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    stream = result.stdout if workers else result.stderr
    stream.fnmatch_lines([f"ERROR: test_inner.py::test_a: {message}"])
    assert "INTERNALERROR" not in result.stdout.str()
    assert not (suite.path / "build").exists()


@pytest.mark.parametrize("mark", ['"T3"', "3, part='holds'", '"T3", "holds"', '"T3", part="holds", why="x"', ""])
def test_a_malformed_mark_stops_the_run(suite: pytest.Pytester, mark: str) -> None:
    result = run(suite, f"@pytest.mark.theorem({mark})\ndef test_a(evidence):\n    record(evidence)\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['ERROR: *needed @pytest.mark.theorem("T3", part="holds"); give one id and one part'])


def test_two_marks_stop_the_run(suite: pytest.Pytester) -> None:
    source = "pytestmark = pytest.mark.theorem('T1', part='holds')\n" + FIVE
    result = run(suite, source)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *got 2 theorem marks, needed one; split the test"])


def test_the_fixture_needs_the_mark(suite: pytest.Pytester) -> None:
    result = run(suite, "def test_a(evidence):\n    record(evidence)\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["evidence: got a test without a mark, needed @pytest.mark.theorem*; mark the test"])


@PROCESSES
def test_what_was_deselected_is_missing(suite: pytest.Pytester, workers: list[str]) -> None:
    result = run(suite, FIVE, *workers, "-k", "not sharp and not 1")
    result.assert_outcomes(passed=4, deselected=0 if workers else 2)  # workers do not tell how many they deselect
    result.stdout.fnmatch_lines(["T3 incomplete: missing sharp, rejects (1 of 2 tests)"])
    assert entry(suite)["missing"] == ["sharp", "rejects (1 of 2 tests)"]


def test_what_was_skipped_or_expected_to_fail_is_missing(suite: pytest.Pytester) -> None:
    source = FIVE.replace("def test_sharp", "@pytest.mark.skip(reason='no flint')\ndef test_sharp").replace(
        "def test_exact(evidence):", "@pytest.mark.xfail(strict=True)\ndef test_exact(evidence):\n    assert 1 == 2"
    )
    run(suite, source).assert_outcomes(passed=4, skipped=1, xfailed=1)
    assert entry(suite)["missing"] == ["sharp", "exact"]
    assert entry(suite)["parts"]["sharp"]["tests"][0]["message"] == "Skipped: no flint"


def test_a_dead_worker_fails_the_check(suite: pytest.Pytester) -> None:
    source = FIVE + "\n@pytest.mark.theorem('T3', part='holds')\ndef test_dies(evidence):\n    os._exit(3)\n"
    result = run(suite, source, "-n", "2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["T3 check failed: holds: worker 'gw*' crashed while running*"])


def test_grouped_tests_are_counted_once(suite: pytest.Pytester) -> None:
    source = FIVE.replace("def test_holds", "@pytest.mark.xdist_group('one')\ndef test_holds")
    run(suite, source, "-n", "2", "--dist=loadgroup").assert_outcomes(passed=6)
    assert entry(suite)["verdict"] == "not refuted"


OTHER = """
@pytest.mark.theorem("N5", part="hypothesis_needed")
def test_control(evidence):
    evidence.control("N5", "slope 1e6")

def test_unmarked():
    pass
"""


@PROCESSES
def test_theorems_are_selected_by_the_option(suite: pytest.Pytester, workers: list[str]) -> None:
    run(suite, FIVE + OTHER, *workers, "--eqtheory-theorem", "n5").assert_outcomes(
        passed=1, deselected=0 if workers else 7
    )
    assert report(suite)["theorems"] == []
    assert entry(suite, "N5")["verdict"] == "failed as predicted"


def test_several_theorems_can_be_selected(suite: pytest.Pytester) -> None:
    result = run(suite, FIVE + OTHER, "--eqtheory-theorem=sufficiency", "--eqtheory-theorem=N5")
    result.assert_outcomes(passed=7, deselected=1)
    result.stdout.fnmatch_lines(["T3*not refuted", "N5*failed as"])


def test_an_unknown_selection_stops_the_run(suite: pytest.Pytester) -> None:
    result = run(suite, FIVE, "--eqtheory-theorem=T99")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: theorem: got 'T99', needed one of T1, *"])


@PROCESSES
def test_silent_where_nothing_carries_the_mark(suite: pytest.Pytester, workers: list[str]) -> None:
    result = run(suite, "def test_a():\n    assert os\n\ndef test_b():\n    assert 1 == 2\n", *workers)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*theorem*")
    assert not (suite.path / "build").exists()


def test_silent_where_the_marked_tests_were_deselected_or_only_collected(suite: pytest.Pytester) -> None:
    run(suite, FIVE + OTHER, "-k", "unmarked").stdout.no_fnmatch_line("*= theorems =*")
    run(suite, FIVE + OTHER, "--collect-only").stdout.no_fnmatch_line("*= theorems =*")
    assert not (suite.path / "build").exists()


def test_the_reports_go_where_they_are_asked_to(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\neqtheory_report_dir = from_ini\n")
    run(suite, FIVE)
    assert report(suite, "from_ini")
    result = run(suite, FIVE, "--eqtheory-report-dir=a/b")
    assert report(suite, "a/b")
    result.stdout.fnmatch_lines(["* s; a/b/evidence.json, a/b/evidence.html"])


def test_a_folder_that_cannot_be_written_does_not_hide_the_table(suite: pytest.Pytester) -> None:
    suite.makefile(".txt", occupied="a file where the folder should be")
    result = run(suite, FIVE, "--eqtheory-report-dir=occupied.txt/deeper")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["T3*not refuted", "*reports not written: *occupied.txt*"])


def test_a_narrow_terminal(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    result = run(suite, FIVE)
    table = result.outlines[result.outlines.index(next(x for x in result.outlines if "= theorems =" in x)) : -3]
    assert max(len(line) for line in table) <= 60
    result.stdout.fnmatch_lines(["T3 exact*not refuted"])
