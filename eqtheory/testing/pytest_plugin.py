"""How does a test say which theorem it is about, and how does a run end with a table of what was established?

A test carries `@pytest.mark.theorem("T3", part="holds")` and asks for the fixture `evidence`, a `Recorder`. A marked
test that passes without having recorded anything fails: it has checked nothing. Where no test of a run carries the
mark, the plugin is silent and writes nothing.

Records travel as user properties of the test reports. With pytest-xdist the workers make them, and the controller,
which alone has a `Reporter`, adds them up. This module is imported in every pytest run of an environment that has the
package, so it imports pytest and nothing else; the rest is loaded when the first mark is seen.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from eqtheory.testing.report.reporter import PROPERTY, Reporter, Sender

if TYPE_CHECKING:
    from eqtheory.testing.evidence import Recorder

__all__ = ["evidence"]

_PLACE = pytest.StashKey[tuple[str, str]]()
_RECORDER = pytest.StashKey["Recorder"]()
_LISTENER = pytest.StashKey[Reporter | Sender]()
_WANTED = pytest.StashKey[frozenset[str]]()

_DEFAULT_DIRECTORY = "build/proofs_check"
_USAGE = '@pytest.mark.theorem("T3", part="holds")'


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare where the reports go and how theorems are selected.

    Args:
        parser: pytest's parser of options.
    """
    group = parser.getgroup("eqtheory", "checks of theorems")
    group.addoption(
        "--eqtheory-theorem",
        action="append",
        default=[],
        metavar="ID",
        help="run only the checks of this theorem or control (repeatable), for example T3 or N1",
    )
    group.addoption(
        "--eqtheory-report-dir",
        metavar="DIR",
        help="write evidence.json and evidence.html here, relative to the working directory",
    )
    parser.addini(
        "eqtheory_report_dir",
        "where evidence.json and evidence.html go, relative to the root directory",
        default=_DEFAULT_DIRECTORY,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark, look the selected theorems up, and put a reporter where the reports arrive.

    Args:
        config: the run's configuration.
    """
    config.addinivalue_line(
        "markers", "theorem(identifier, *, part): the test is this part of the check of this theorem or control"
    )
    config.stash[_WANTED] = frozenset(_identifier(name) for name in config.getoption("--eqtheory-theorem"))
    # A worker of pytest-xdist only sends; reports arrive at the controller, or at the one process there is.
    listener = Sender(config) if hasattr(config, "workerinput") else Reporter(config)
    config.stash[_LISTENER] = listener
    config.pluginmanager.register(listener, "eqtheory-listener")


def _identifier(name: str) -> str:
    from eqtheory.errors import UnknownTheoremError
    from eqtheory.theorems import CONTROLS, THEOREMS
    from eqtheory.theorems import control as control_of
    from eqtheory.theorems import theorem as theorem_of

    for lookup in (theorem_of, control_of):
        try:
            return lookup(name).id
        except UnknownTheoremError:
            continue
    known = ", ".join([*(theorem.id for theorem in THEOREMS), *(control.id for control in CONTROLS)])
    message = f"theorem: got {name!r}, needed one of {known}; pass the id of a registered theorem or control"
    raise pytest.UsageError(message)


def _place_of(item: pytest.Item) -> tuple[str, str] | None:
    """Read the mark of a test.

    Args:
        item: the test.

    Returns:
        Theorem and part, `None` for a test without the mark.

    Raises:
        pytest.UsageError: the mark is malformed or names something unknown.
    """
    marks = list(item.iter_markers("theorem"))
    if not marks:
        return None
    from eqtheory.testing.evidence import PARTS

    mark = marks[0]
    if len(marks) > 1:
        message = f"{item.nodeid}: got {len(marks)} theorem marks, needed one; split the test"
    elif len(mark.args) != 1 or not isinstance(mark.args[0], str) or set(mark.kwargs) != {"part"}:
        message = f"{item.nodeid}: got a mark of another form, needed {_USAGE}; give one id and one part"
    elif mark.kwargs["part"] not in PARTS:
        came = mark.kwargs["part"]
        message = f"{item.nodeid}: part: got {came!r}, needed one of {', '.join(PARTS)}; name the part it belongs to"
    else:
        try:
            return _identifier(mark.args[0]), str(mark.kwargs["part"])
        except pytest.UsageError as error:
            message = f"{item.nodeid}: {error}"
    raise pytest.UsageError(message)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Read every mark before anything is deselected, so that what was left out is known; then select.

    Args:
        config: the run's configuration.
        items: the collected tests, changed in place.
    """
    for item in items:
        try:
            place = _place_of(item)
        except pytest.UsageError as error:
            config.stash[_LISTENER].refuse(error)
            items.clear()
            return
        if place is not None:
            item.stash[_PLACE] = place
            config.stash[_LISTENER].plan(item, place)
    wanted = config.stash[_WANTED]
    if wanted:
        left_out = [item for item in items if item.stash.get(_PLACE, ("", ""))[0] not in wanted]
        items[:] = [item for item in items if item.stash.get(_PLACE, ("", ""))[0] in wanted]
        if left_out:
            config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Recorder:
    """Record what a test marked with a theorem establishes.

    Args:
        request: the test that asks.

    Returns:
        An empty record for the theorem and part of the mark.
    """
    place = request.node.stash.get(_PLACE, None)
    if place is None:
        pytest.fail(f"evidence: got a test without a mark, needed {_USAGE}; mark the test", pytrace=False)
    from eqtheory.testing.evidence import Recorder

    recorder = Recorder(*place)
    request.node.stash[_RECORDER] = recorder
    return recorder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a marked test that passed but recorded nothing, or recorded a counterexample and went on.

    Args:
        item: the test.

    Yields:
        Once, while the test runs.

    Raises:
        Refuted: an exact margin below zero was recorded where the hypotheses hold.
    """
    yield
    if _PLACE not in item.stash:
        return
    recorder = item.stash.get(_RECORDER, None)
    if recorder is None or recorder.empty:
        pytest.fail("passed without recording any evidence: it checks nothing", pytrace=False)
    found = recorder.counterexample
    if found is not None:
        from eqtheory.testing.evidence import Refuted

        raise Refuted(found.quantity, found.worst_margin, "an exact instance of this test, recorded without a witness")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach what a marked test left behind to its report.

    Args:
        item: the test.
        call: one phase of it.

    Yields:
        Once, while pytest makes the report.

    Returns:
        The report with the record among its user properties.
    """
    report = yield
    if _PLACE in item.stash and (call.when == "call" or not report.passed):
        from eqtheory.testing.report.result import payload

        failure = call.excinfo.value if report.failed and call.excinfo is not None else None
        text = payload(*item.stash[_PLACE], item.stash.get(_RECORDER, None), failure)
        report.user_properties.append((PROPERTY, text))
    return report
