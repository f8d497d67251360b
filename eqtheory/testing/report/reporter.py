"""Where do the results of a run come together?

In one `Reporter`, on the process that prints. With pytest-xdist every worker has a `Sender` instead, which tells at
the end which marked tests it collected, so that the reporter knows what was deselected or lost when a worker died.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from eqtheory.testing.report.result import Result
    from eqtheory.testing.report.summary import Summary

__all__ = ["PROPERTY", "Reporter", "Sender"]

PROPERTY = "eqtheory"
"""Name of the user property in which a result travels among a report's properties."""

_PLANNED = "eqtheory_planned"
_REFUSED = "eqtheory_refused"


class _Listener:
    """Keeps the marked tests that were collected.

    Args:
        config: the run's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._marked: list[tuple[pytest.Item, tuple[str, str]]] = []

    def plan(self, item: pytest.Item, place: tuple[str, str]) -> None:
        """Note a marked test, before anything is deselected.

        Args:
            item: the test.
            place: its theorem and part.
        """
        self._marked.append((item, place))

    def refuse(self, error: pytest.UsageError) -> None:
        """Stop at a mark that cannot be read.

        Args:
            error: one line that says what is wrong.

        Raises:
            UsageError: the error itself.
        """
        raise error

    def _names(self) -> dict[str, tuple[str, str]]:
        # Read at the end, not at collection: pytest-xdist renames grouped tests in between.
        return {item.nodeid: place for item, place in self._marked}


class Sender(_Listener):
    """Tells the controller, from a worker, which marked tests were collected.

    Args:
        config: the run's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self._refused = ""

    def refuse(self, error: pytest.UsageError) -> None:
        """Keep the error for the controller: raised here, pytest-xdist would take it for a crash.

        Args:
            error: one line that says what is wrong.
        """
        self._refused = str(error)

    def pytest_sessionfinish(self) -> None:
        """Leave the names and the error in the worker's output."""
        output: dict[str, str] = self._config.workeroutput  # type: ignore[attr-defined]  # set by pytest-xdist
        output[_PLANNED] = json.dumps(self._names())
        output[_REFUSED] = self._refused


class Reporter(_Listener):
    """Adds the results of a run up, writes the reports and prints the table.

    Args:
        config: the run's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self._started = time.perf_counter()
        self._results: dict[str, Result] = {}
        self._planned: dict[str, tuple[str, str]] = {}
        self._failures: dict[str, str] = {}
        self._summary: Summary | None = None
        self._footer = ""
        self._refused = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a report in.

        Args:
            report: of one phase of one test.
        """
        if any(name == PROPERTY for name, _ in report.user_properties):
            from eqtheory.testing.report.result import from_report

            result = from_report(report)
            earlier = self._results.get(report.nodeid)
            self._results[report.nodeid] = result if earlier is None else earlier.joined(result)
        elif report.failed:
            # A worker that dies leaves a report without properties; whether the test was marked is known at the end.
            self._failures[report.nodeid] = str(report.longrepr)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take in which marked tests a worker of pytest-xdist collected.

        Args:
            node: the worker.
        """
        output = getattr(node, "workeroutput", {})
        names = json.loads(output.get(_PLANNED, "{}"))
        self._planned.update({name: (place[0], place[1]) for name, place in names.items()})
        self._refused = self._refused or output.get(_REFUSED, "")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Add everything up and write the reports, if any test carried the mark.

        Args:
            session: the run.
        """
        if self._refused:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        self._planned.update(self._names())
        self._add_crashed()
        if not self._results:
            return
        from eqtheory.testing.report.files import write_reports
        from eqtheory.testing.report.summary import summarise

        seconds = time.perf_counter() - self._started
        self._summary = summarise(self._results.values(), self._planned, seconds)
        try:
            written = write_reports(self._summary, self.directory, self._config)
        except OSError as error:
            self._footer = f"reports not written: {error}"
        else:
            self._footer = ", ".join(map(self._shown, written))

    def _add_crashed(self) -> None:
        lost = [name for name in self._failures if name in self._planned and name not in self._results]
        if lost:
            from eqtheory.testing.report.result import Outcome, Result, message_of

            for name in lost:
                message = message_of(self._failures[name])
                self._results[name] = Result(name, *self._planned[name], Outcome.FAILED, message=message)

    @property
    def directory(self) -> Path:
        """Where the reports go."""
        chosen = self._config.getoption("--eqtheory-report-dir")
        if chosen:
            return self._config.invocation_params.dir / str(chosen)
        return self._config.rootpath / str(self._config.getini("eqtheory_report_dir"))

    def _shown(self, path: Path) -> str:
        here = self._config.invocation_params.dir
        return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table.

        Args:
            terminalreporter: where to.
        """
        if self._refused:
            terminalreporter.write_line(f"ERROR: {self._refused}", red=True)
        if self._summary is None:
            return
        from eqtheory.testing.report.as_table import render, total_line

        terminalreporter.ensure_newline()
        terminalreporter.section("theorems")
        width = self._config.get_terminal_writer().fullwidth
        terminalreporter.write(render(self._summary, width=width, color=terminalreporter.hasmarkup))
        terminalreporter.write_line(f"{total_line(self._summary)}; {self._footer}")
