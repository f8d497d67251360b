"""What is selected, what is left out, and where the reports go; silence where there is nothing to say."""

from __future__ import annotations

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


@PROCESSES
def test_what_was_deselected_is_missing(suite: Suite, workers: list[str]) -> None:
    result = suite.run(suite.FIVE, *workers, "-k", "not sharp and not 1")
    result.assert_outcomes(passed=4, deselected=0 if workers else 2)  # workers do not tell how many they deselect
    result.stdout.fnmatch_lines(["T3 incomplete: missing sharp, rejects (1 of 2 tests)"])
    assert suite.entry()["missing"] == ["sharp", "rejects (1 of 2 tests)"]


def test_what_was_skipped_or_expected_to_fail_is_missing(suite: Suite) -> None:
    source = suite.FIVE.replace("def test_sharp", "@pytest.mark.skip(reason='no flint')\ndef test_sharp").replace(
        "def test_exact(evidence):", "@pytest.mark.xfail(strict=True)\ndef test_exact(evidence):\n    assert 1 == 2"
    )
    suite.run(source).assert_outcomes(passed=4, skipped=1, xfailed=1)
    assert suite.entry()["missing"] == ["sharp", "exact"]
    assert suite.entry()["parts"]["sharp"]["tests"][0]["message"] == "Skipped: no flint"


def test_a_dead_worker_fails_the_check(suite: Suite) -> None:
    source = suite.FIVE + "\n@pytest.mark.theorem('T3', part='holds')\ndef test_dies(evidence):\n    os._exit(3)\n"
    result = suite.run(source, "-n", "2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["T3 check failed: holds: worker 'gw*' crashed while running*"])


def test_grouped_tests_are_counted_once(suite: Suite) -> None:
    source = suite.FIVE.replace("def test_holds", "@pytest.mark.xdist_group('one')\ndef test_holds")
    suite.run(source, "-n", "2", "--dist=loadgroup").assert_outcomes(passed=6)
    assert suite.entry()["verdict"] == "not refuted"


OTHER = """
@pytest.mark.theorem("N5", part="hypothesis_needed")
def test_control(evidence):
    evidence.control("N5", "slope 1e6")

def test_unmarked():
    pass
"""


@PROCESSES
def test_theorems_are_selected_by_the_option(suite: Suite, workers: list[str]) -> None:
    suite.run(suite.FIVE + OTHER, *workers, "--eqtheory-theorem", "n5").assert_outcomes(
        passed=1, deselected=0 if workers else 7
    )
    assert suite.report()["theorems"] == []
    assert suite.entry("N5")["verdict"] == "failed as predicted"


def test_several_theorems_can_be_selected(suite: Suite) -> None:
    result = suite.run(suite.FIVE + OTHER, "--eqtheory-theorem=sufficiency", "--eqtheory-theorem=N5")
    result.assert_outcomes(passed=7, deselected=1)
    result.stdout.fnmatch_lines(["T3*not refuted", "N5*failed as"])


def test_an_unknown_selection_stops_the_run(suite: Suite) -> None:
    result = suite.run(suite.FIVE, "--eqtheory-theorem=T99")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: theorem: got 'T99', needed one of T1, *"])


@PROCESSES
def test_silent_where_nothing_carries_the_mark(suite: Suite, workers: list[str]) -> None:
    result = suite.run("def test_a():\n    assert os\n\ndef test_b():\n    assert 1 == 2\n", *workers)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*theorem*")
    assert not (suite.path / "build").exists()


def test_silent_where_the_marked_tests_were_deselected_or_only_collected(suite: Suite) -> None:
    suite.run(suite.FIVE + OTHER, "-k", "unmarked").stdout.no_fnmatch_line("*= theorems =*")
    suite.run(suite.FIVE + OTHER, "--collect-only").stdout.no_fnmatch_line("*= theorems =*")
    assert not (suite.path / "build").exists()


def test_the_reports_go_where_they_are_asked_to(suite: Suite) -> None:
    suite.pytester.makeini("[pytest]\neqtheory_report_dir = from_ini\n")
    suite.run(suite.FIVE)
    assert suite.report("from_ini")
    result = suite.run(suite.FIVE, "--eqtheory-report-dir=a/b")
    assert suite.report("a/b")
    result.stdout.fnmatch_lines(["* s; a/b/evidence.json, a/b/evidence.html"])


def test_a_folder_that_cannot_be_written_does_not_hide_the_table(suite: Suite) -> None:
    suite.pytester.makefile(".txt", occupied="a file where the folder should be")
    result = suite.run(suite.FIVE, "--eqtheory-report-dir=occupied.txt/deeper")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["T3*not refuted", "*reports not written: *occupied.txt*"])


def test_a_narrow_terminal(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    result = suite.run(suite.FIVE)
    table = result.outlines[result.outlines.index(next(x for x in result.outlines if "= theorems =" in x)) : -3]
    assert max(len(line) for line in table) <= 60
    result.stdout.fnmatch_lines(["T3 exact*not refuted"])
