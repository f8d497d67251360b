"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eqtheory import __version__, cli
from eqtheory.cli import _check
from eqtheory.theorems import CONTROLS, THEOREMS, bibtex, control, theorem

ALL = [subject.id for subject in THEOREMS] + [subject.id for subject in CONTROLS]


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("identifier", [t.id for t in THEOREMS])
def test_a_theorem_is_printed_in_full(identifier: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["theorem", identifier.lower()]) == 0
    out = flat(capsys.readouterr().out)
    found = theorem(identifier)
    for part in (
        found.title,
        found.conclusion,
        found.proof,
        found.sharp,
        found.credit,
        found.check,
        found.source.value,
    ):
        assert flat(part) in out
    for hypothesis in found.hypotheses:
        assert hypothesis.statement in out
        if hypothesis.control:
            assert f"(needed: {hypothesis.control}, {control(hypothesis.control).title})" in out
    for inequality in found.inequalities:
        assert f"{inequality.name}: {flat(inequality.statement)}" in out


@pytest.mark.parametrize("identifier", [c.id for c in CONTROLS])
def test_a_control_is_printed_in_full(identifier: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["theorem", identifier]) == 0
    out = flat(capsys.readouterr().out)
    found = control(identifier)
    for part in (
        found.title,
        found.drops,
        found.instance,
        found.prediction,
        *(theorem(t).check for t in found.theorems),
    ):
        assert flat(part) in out


def test_without_an_identifier_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["theorem"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ALL
    assert theorem("T3").title in "\n".join(lines)


def test_text_is_wrapped_to_the_terminal_and_not_padded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    cli.main(["theorem", "T3"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in "".join(lines)


def test_names_to_copy_are_never_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    cli.main(["theorem", "T3"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    names = (*theorem("T3").constructions, theorem("T3").check)
    assert all(any(line.endswith(name) for line in lines) for name in names)


@pytest.mark.parametrize("identifier", [t.id for t in THEOREMS])
def test_a_citation_is_plain_bibtex(identifier: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cite", identifier]) == 0
    captured = capsys.readouterr()
    assert captured.out == bibtex(identifier) + "\n"
    assert captured.err == ""
    assert captured.out.startswith("@software{eqtheory,")
    assert captured.out.count("{") == captured.out.count("}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["theorem", "T99"], f"eqtheory: theorem: got 'T99', needed one of {', '.join(ALL)}; run 'eqtheory theorem'"),
        (["cite", "T99"], "eqtheory: theorem: got 'T99', needed one of T1, "),
        (["cite", "N1"], "eqtheory: theorem: got 'N1', needed one of T1, "),
        (["check", "--theorem", "T99", "--theorem", "T3"], "eqtheory: theorem: got 'T99', needed one of T1, "),
        (
            ["check", "--workers", "0"],
            "eqtheory: workers: got 0, needed at least 1; pass --workers 2 for two processes",
        ),
    ],
)
def test_a_request_that_cannot_be_met_is_one_line_and_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "absent", "message"),
    [
        (["check"], "pytest", "eqtheory: pytest is not installed; it is needed here: pip install 'eqtheory[check]'\n"),
        (
            ["check"],
            "hypothesis",
            "eqtheory: hypothesis is not installed; it is needed here: pip install 'eqtheory[check]'\n",
        ),
        (["check", "--workers", "2"], "xdist", "eqtheory: xdist is not installed; it is needed here: pip install "),
        (
            ["check"],
            "proofs_check",
            "eqtheory: proofs_check: got no such package, needed the suite beside the library; ",
        ),
    ],
)
def test_what_is_not_installed_is_named(
    words: list[str],
    absent: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = _check.find_spec
    monkeypatch.setattr(_check, "find_spec", lambda name: None if name == absent else found(name))
    assert cli.main(words) == 2
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize("words", [["bogus"], [], ["check", "--profile", "lazy"], ["cite"]])
def test_malformed_requests_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"eqtheory {__version__}\n"


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, where nothing has been imported yet."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("words", [["theorem", "T3"], ["theorem"], ["cite", "T3"], ["--version"]])
def test_reading_does_not_wait_for_torch(words: list[str], tmp_path: Path) -> None:
    code = (
        f"import sys; from eqtheory.cli import main; main({words!r}); "
        "sys.exit(' '.join(name for name in ('torch', 'numpy', 'scipy', 'sympy', 'pytest') if name in sys.modules))"
    )
    done = python(code, tmp_path)
    assert done.stderr.strip() == ""
    assert done.stdout


SUITE = """
import hypothesis, pytest
from eqtheory.testing.evidence import Kind

@pytest.mark.theorem("T3", part="holds")
def test_t3(evidence):
    profile = hypothesis.settings.get_current_profile_name()
    evidence.record(Kind.SAMPLED, instances=5, worst_margin=0.5, quantity=profile)

@pytest.mark.theorem("T1", part="holds")
def test_t1(evidence):
    assert 1 == 2
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with a small suite of that name, found before the real one."""
    package = tmp_path / "installed" / "proofs_check"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    profiles = "".join(
        f"hypothesis.settings.register_profile('eqtheory-{name}', max_examples=3)\n"
        for name in ("default", "quick", "thorough")
    )
    (package / "conftest.py").write_text("import hypothesis\n" + profiles)
    (package / "test_small.py").write_text(SUITE)
    (tmp_path / "work").mkdir()
    return tmp_path


def check(elsewhere: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from eqtheory.cli import main; sys.exit(main({['check', *words]!r}))"
    path = os.pathsep.join(filter(None, [str(elsewhere / "installed"), os.environ.get("PYTHONPATH")]))
    return python(code, elsewhere / "work", PYTHONPATH=path, COLUMNS="80")


def test_check_runs_the_suite_and_writes_where_it_was_called(elsewhere: Path) -> None:
    done = check(elsewhere, "--theorem", "t3", "--profile", "quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^T3 .*sampled +5 +0\.5 .*incomplete$", done.stdout, re.MULTILINE)
    assert "T1 " not in done.stdout.split("not run")[0]
    assert "warning" not in done.stdout
    found = json.loads((elsewhere / "work/build/proofs_check/evidence.json").read_text())
    assert found["theorems"][0]["parts"]["holds"]["measurements"][0]["quantity"] == "eqtheory-quick"
    # An installed suite is read only: nothing but compiled modules may appear beside it, nor a cache above it.
    package = elsewhere / "installed" / "proofs_check"
    assert {path.name for path in package.iterdir()} - {"__pycache__"} == {
        "__init__.py",
        "conftest.py",
        "test_small.py",
    }
    assert not list(elsewhere.rglob(".pytest_cache"))


def test_check_returns_the_exit_code_of_pytest(elsewhere: Path) -> None:
    done = check(elsewhere, "--workers", "2", "--report-dir", "here")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^T1 .*check failed$", done.stdout, re.MULTILINE)
    assert (elsewhere / "work/here/evidence.html").exists()
