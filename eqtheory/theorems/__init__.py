"""The registry: every theorem and control, as data that can be read without any numerical library.

Example:
    >>> from eqtheory.theorems import theorem
    >>> theorem("T3").title
    'Sufficiency with universal constants'
"""

from __future__ import annotations

from eqtheory.errors import UnknownTheoremError
from eqtheory.theorems import (
    arbitrary_simplicity,
    arrival,
    averaged_growth,
    banach,
    closure,
    fastest_schedule,
    growth,
    imaging,
    implicit_gradient,
    inexactness,
    jacobian_free,
    levelling_off,
    linear_programming,
    naive_averaging,
    navier_stokes,
    necessity,
    order_optimal_step,
    price,
    reciprocal,
    sufficiency,
)
from eqtheory.theorems._bibliography import BIBLIOGRAPHY
from eqtheory.theorems._types import Control, Hypothesis, Inequality, Source, Theorem, contraction, simplicity
from eqtheory.theorems.controls import CONTROLS

__all__ = [
    "BIBLIOGRAPHY",
    "CONTROLS",
    "THEOREMS",
    "Control",
    "Hypothesis",
    "Inequality",
    "Source",
    "Theorem",
    "bibtex",
    "contraction",
    "control",
    "simplicity",
    "theorem",
]

THEOREMS: tuple[Theorem, ...] = tuple(
    module.THEOREM
    for module in (
        banach,
        necessity,
        sufficiency,
        arbitrary_simplicity,
        order_optimal_step,
        growth,
        averaged_growth,
        arrival,
        levelling_off,
        price,
        fastest_schedule,
        reciprocal,
        naive_averaging,
        implicit_gradient,
        jacobian_free,
        imaging,
        navier_stokes,
        linear_programming,
        inexactness,
        closure,
    )
)
"""All registered theorems, in the order of their numbers."""


def theorem(identifier: str) -> Theorem:
    """Look a theorem up.

    Args:
        identifier: its id (`T3`, any case) or its slug (`sufficiency`).

    Returns:
        The theorem.

    Raises:
        UnknownTheoremError: nothing of that name is registered.
    """
    for candidate in THEOREMS:
        if identifier.casefold() in (candidate.id.casefold(), candidate.slug):
            return candidate
    known = ", ".join(t.id for t in THEOREMS)
    raise UnknownTheoremError(f"theorem: got {identifier!r}, needed one of {known}; pass an id or a slug")


def control(identifier: str) -> Control:
    """Look a negative control up.

    Args:
        identifier: its id (`N1`, any case) or its slug.

    Returns:
        The control.

    Raises:
        UnknownTheoremError: nothing of that name is registered.
    """
    for candidate in CONTROLS:
        if identifier.casefold() in (candidate.id.casefold(), candidate.slug):
            return candidate
    known = ", ".join(c.id for c in CONTROLS)
    raise UnknownTheoremError(f"control: got {identifier!r}, needed one of {known}; pass an id or a slug")


def bibtex(identifier: str) -> str:
    """Return what to cite for a theorem: this package at that theorem, then the works the result is due to.

    Args:
        identifier: id or slug of a theorem.

    Returns:
        BibTeX entries, separated by blank lines.

    Raises:
        UnknownTheoremError: nothing of that name is registered.
    """
    found = theorem(identifier)
    own = BIBLIOGRAPHY["eqtheory"] % f"Theorem {found.id}: {found.title}"
    return "\n\n".join([own, *(BIBLIOGRAPHY[key] for key in found.references)])
