"""What can be proved of an operator without trusting it: bounds by a walk over its traced program, and constructions of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from eqtheory.auditing._subject import Subject
from eqtheory.bounds import Bound

__all__ = ["Proof", "prove"]


@final
@dataclass(frozen=True)
class Proof:
    """Upper bounds that this package has proved itself.

    Args:
        mu: on the factor, uniformly in the input; `None` where nothing is proved.
        L0: on the slope in the input, uniformly in the state.
        how: by what means.
        why: why nothing is proved, where nothing is.
    """

    mu: Bound | None = None
    L0: Bound | None = None
    how: str = ""
    why: str = ""


def prove(subject: Subject) -> Proof:  # noqa: ARG001
    return Proof(why="nothing tried")
