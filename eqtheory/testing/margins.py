"""From two sides of an inequality to a margin, a witness and a record, in one place.

A check compares `lhs <= rhs` on many instances at once. In floating point it grants a derived slack and no more: the relative
margin is `(rhs + slack - lhs) / (rhs + slack)`. It is negative exactly where rounding cannot explain the violation.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.testing.evidence import Kind, Recorder, Refuted

__all__ = ["exact_margin", "relative_margin", "settle"]


def relative_margin(sides: tuple[Tensor, Tensor], slack: Tensor | float = 0.0) -> Tensor:
    """Relative margins of `lhs <= rhs`.

    Args:
        sides: left and right side, of one shape.
        slack: what rounding may have added to the left or taken from the right, derived with `eqtheory.roundoff`.

    Returns:
        `(rhs + slack - lhs) / (rhs + slack)`; 0 where both sides vanish, minus infinity where only the right one does.

    Raises:
        InputError: a side is NaN, which no comparison can settle.
    """
    lhs, rhs = torch.as_tensor(sides[0]), torch.as_tensor(sides[1])
    room = rhs + slack
    if bool((lhs.isnan() | room.isnan()).any()):
        raise InputError("sides", "NaN", "numbers", "find where the construction produced it")
    free = torch.where(room.isinf(), 1.0, (room - lhs) / torch.where(room > 0, room, 1.0))
    stuck = torch.where(lhs <= room, 0.0, -torch.inf)
    return torch.where(room > 0, free, stuck)


def exact_margin(sides: tuple[Fraction, Fraction]) -> Fraction:
    """Relative margin of `lhs <= rhs` in rationals.

    Args:
        sides: left and right side, not negative.

    Returns:
        `1 - lhs / rhs`; 0 where both sides vanish, -1 where only the right one does.
    """
    lhs, rhs = sides
    if rhs:
        return 1 - Fraction(lhs) / rhs
    return Fraction(0) if lhs == 0 else Fraction(-1)


def settle(
    evidence: Recorder, kind: Kind, quantity: str, margins: Tensor, *, instances: int, witness: Callable[[int], str]
) -> float:
    """Record the worst margin, and refuse to go on if it is negative.

    Args:
        evidence: the record of the running check.
        kind: the arithmetic the margins were computed in.
        quantity: which inequality.
        margins: relative margins, any shape; several may belong to one instance.
        instances: number of independently drawn instances.
        witness: describes the instance at a flat index of `margins`.

    Returns:
        The worst margin.

    Raises:
        Refuted: it is negative; carries the witness.
    """
    flat = margins.reshape(-1)
    index = int(flat.argmin())
    worst = float(flat[index])
    evidence.record(kind, instances=instances, worst_margin=worst, quantity=quantity)
    if worst < 0:
        raise Refuted(quantity, worst, witness(index))
    return worst
