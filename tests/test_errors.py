"""Every error is one line that says what came, what is needed and what to do, and survives being sent."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqtheory import errors
from eqtheory.errors import (
    AdjointError,
    BoundOrderError,
    DomainError,
    EqTheoryError,
    GradientUnavailableError,
    InputError,
    MissingDependencyError,
    NonFiniteError,
    NotBoundedError,
    ShapeError,
    SolverError,
    UnknownTheoremError,
)

INPUT_ERRORS = (InputError, DomainError, ShapeError, NonFiniteError)
PARTS = ("eta", "1.5", "0 < eta < 1", "pass for example eta=0.5")
INSTANCES: tuple[EqTheoryError, ...] = (
    *(kind(*PARTS) for kind in INPUT_ERRORS),
    BoundOrderError("the lower bound 2 exceeds the upper bound 1"),
    UnknownTheoremError("theorem: got 'T99', needed one of T1; pass an id or a slug"),
    MissingDependencyError("flint", "check"),
    NotBoundedError("aten.sqrt", "steep without bound at 0", "add a constant below the root"),
    GradientUnavailableError("no gradient is carried here"),
    SolverError("2 of 3 samples did not converge; raise max_steps", {"steps": [1, 2]}),
    AdjointError("adjoint of 3 samples: 1 not solved", {"status": [0, 1, 0]}),
)


def test_every_public_error_class_is_covered_here() -> None:
    classes = {c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, EqTheoryError)}
    assert {c.__name__ for c in classes} == set(errors.__all__)
    assert classes - {EqTheoryError} == {type(e) for e in INSTANCES}


@pytest.mark.parametrize("kind", INPUT_ERRORS)
def test_the_message_has_the_four_parts_in_order(kind: type[InputError]) -> None:
    error = kind(*PARTS)
    assert str(error) == "eta: got 1.5, needed 0 < eta < 1; pass for example eta=0.5"
    assert (error.argument, error.came, error.needed, error.remedy) == PARTS


# Characters at which `str.splitlines` breaks a line, and blanks of all kinds.
_BREAKS = st.text(alphabet="ab \n\r\t\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", max_size=12)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(argument=_BREAKS, came=_BREAKS, needed=_BREAKS, remedy=_BREAKS)
def test_an_input_error_is_one_line_whatever_it_is_made_of(argument: str, came: str, needed: str, remedy: str) -> None:
    text = str(InputError(argument, came, needed, remedy))
    assert len(text.splitlines()) == 1
    assert "  " not in text


@pytest.mark.parametrize("error", INSTANCES, ids=lambda e: type(e).__name__)
def test_every_error_prints_one_line(error: EqTheoryError) -> None:
    assert str(error)
    assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("error", INSTANCES, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("send", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_error_survives_being_sent_to_another_process(error: EqTheoryError, send: Any) -> None:
    received = send(error)
    assert type(received) is type(error)
    assert str(received) == str(error)
    assert vars(received) == vars(error)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (InputError, ValueError),
        (DomainError, ValueError),
        (ShapeError, ValueError),
        (NonFiniteError, ValueError),
        (BoundOrderError, ValueError),
        (NotBoundedError, ValueError),
        (UnknownTheoremError, KeyError),
        (MissingDependencyError, ImportError),
        (GradientUnavailableError, RuntimeError),
        (SolverError, RuntimeError),
    ],
)
def test_code_that_catches_the_built_in_class_keeps_working(kind: type, builtin: type) -> None:
    assert issubclass(kind, EqTheoryError)
    assert issubclass(kind, builtin)


def test_an_unknown_theorem_prints_its_message_without_the_quotes_of_key_errors() -> None:
    message = "theorem: got 'T99', needed one of T1, T2; pass an id or a slug"
    assert str(UnknownTheoremError(message)) == message
    assert str(KeyError(message)) != message  # the built-in class would have quoted it
    assert str(UnknownTheoremError()) == ""


def test_a_missing_dependency_names_the_command_that_installs_it() -> None:
    assert str(MissingDependencyError("flint", "check")) == (
        "flint is not installed; it is needed here: pip install 'eqtheory[check]'"
    )


def test_a_solver_error_carries_everything_that_was_computed() -> None:
    solution = object()
    assert SolverError("1 of 1 samples did not converge", solution).solution is solution
