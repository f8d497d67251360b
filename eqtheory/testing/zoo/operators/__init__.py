"""The zoo of operators: what an audit must pass, what it must refute, and what it must never prove.

Each case says in one sentence what is wrong with it, and which verdicts are allowed for each check.

Example:
    >>> case = audit_case("slightly expansive")
    >>> case.broken, case.mu
    (('R1',), 1.0005)
"""

from __future__ import annotations

from eqtheory.errors import InputError
from eqtheory.testing.zoo.operators._case import (
    ANY,
    CHECKS,
    HIDDEN,
    HOLDS,
    LARGEST_BUDGET,
    REFUTED,
    RESOLUTION,
    AuditCase,
    expected,
)
from eqtheory.testing.zoo.operators._claims import FALSE_CLAIMS
from eqtheory.testing.zoo.operators._good import GOOD
from eqtheory.testing.zoo.operators._inputs import NOT_FINITE, NOT_SIMPLE
from eqtheory.testing.zoo.operators._lawless import LAWLESS
from eqtheory.testing.zoo.operators._states import NOT_CONTRACTIVE

__all__ = [
    "ANY",
    "AUDIT_CASES",
    "CHECKS",
    "FALSE_CLAIMS",
    "GOOD",
    "HIDDEN",
    "HOLDS",
    "LARGEST_BUDGET",
    "LAWLESS",
    "NOT_CONTRACTIVE",
    "NOT_FINITE",
    "NOT_SIMPLE",
    "REFUTED",
    "RESOLUTION",
    "AuditCase",
    "audit_case",
    "expected",
]

AUDIT_CASES: tuple[AuditCase, ...] = (*GOOD, *NOT_CONTRACTIVE, *NOT_SIMPLE, *NOT_FINITE, *LAWLESS, *FALSE_CLAIMS)
"""All cases, the good ones first."""


def audit_case(name: str) -> AuditCase:
    """Look a case up.

    Args:
        name: its name.

    Returns:
        The case.

    Raises:
        InputError: no case has that name.
    """
    for case in AUDIT_CASES:
        if case.name == name:
            return case
    raise InputError("name", repr(name), "the name of a case", f"pass for example {AUDIT_CASES[0].name!r}")
