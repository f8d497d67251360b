"""From computed sides to a verdict: claims for each row, margins of pairs, and the refusal to go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound, LocalBound, Verdict, VerdictKind
from eqtheory.errors import InputError, ShapeError
from eqtheory.roundoff import gamma
from eqtheory.testing.evidence import EvidenceError, Refuted
from eqtheory.testing.margins import relative_margin

__all__ = ["Comparison", "claimed", "compared", "settled"]

Comparison = tuple[Tensor, Tensor, Callable[[int], str]]
"""Margins, which of them decide something, and the witness at an index; one entry for each pair."""


def claimed(name: str, value: Any, x: Any, batch: int, *, below: float = torch.inf) -> Tensor:
    """A claimed constant, for each row.

    Args:
        name: of the claim.
        value: a number, a tensor of shape `(batch,)`, a bound, or a callable of the inputs.
        x: the inputs.
        batch: number of rows.
        below: what it has to stay below.

    Returns:
        Shape `(batch,)`, float64.

    Raises:
        InputError: negative, NaN, or not below that.
        ShapeError: neither one number nor one for each row.
    """
    if isinstance(value, (Bound, LocalBound)):
        value = value.at(x)
    elif callable(value):
        value = value(x)
    found = value.detach().double() if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)
    if found.ndim and tuple(found.shape) != (batch,):
        raise ShapeError(name, f"shape {tuple(found.shape)}", f"one number, or ({batch},)", "pass one a sample")
    if not bool(((found >= 0) & (found < below)).all() if below < torch.inf else (found >= 0).all()):
        worst = float(found.flatten()[int((~((found >= 0) & (found < below))).flatten().nonzero()[0])])
        limit = f" < {below:g}" if below < torch.inf else ""
        raise InputError(
            name, str(worst), f"0 <= {name}{limit}", "other claims have assertions of their own: assert_lipschitz"
        )
    return found.expand(batch)


def compared(
    sides: tuple[Tensor, Tensor],
    distance: Tensor,
    errors: Tensor,
    room: Tensor,
    entries: int,
    witness: Callable[[int], str],
) -> Comparison:
    """Margins of `lhs <= rhs` on pairs, and which of them can be decided.

    Differences and norms round relative to themselves; a pair *decides* if rounding does not fill its room, the violation that
    would be noticed for certain. A left side that overflowed is at least the largest number, up to rounding, and stands for it; a
    right side that did allows everything, and decides nothing.

    Args:
        sides: left and right side, shape `(batch,)`.
        distance: of the points; pairs without any are left out.
        errors: sum of the evaluation errors, in the units of the sides.
        room: what a violation of interest exceeds the right side by.
        entries: of one state, for the rounding of a norm.
        witness: describes a row.

    Returns:
        The comparison.
    """
    lhs, rhs = sides[0].double().clamp_max(torch.finfo(torch.float64).max), sides[1].double()
    own = gamma(entries + 8, sides[0].dtype)
    slack = errors.double() + own * (lhs.abs() + torch.where(rhs.isfinite(), rhs.abs(), 0.0))
    apart = distance > 0
    margins = torch.where(
        apart, relative_margin((torch.where(apart, lhs, 0.0), torch.where(apart, rhs, 1.0)), slack), 1.0
    )
    return margins, apart & (slack < room) & rhs.isfinite(), witness


def settled(quantity: str, comparisons: list[Comparison], method: str) -> Verdict:
    """Refuse to go on at a negative margin or where nothing was decided.

    Args:
        quantity: the inequality.
        comparisons: what was compared.
        method: for the verdict.

    Returns:
        `not refuted`, with the number of pairs that decide and the worst margin of all.

    Raises:
        Refuted: a negative margin, with its witness.
        EvidenceError: no pair decides anything.
    """
    worst, decided = torch.inf, 0
    for margins, decisive, witness in comparisons:
        index = int(margins.argmin())
        if float(margins[index]) < 0:
            raise Refuted(quantity, float(margins[index]), witness(index))
        worst, decided = min(worst, float(margins.min())), decided + int(decisive.sum())
    if not decided:
        message = f"{quantity}: no pair decides: points coincide, or are so close that rounding explains any slope; spread them"
        raise EvidenceError(message)
    return Verdict(VerdictKind.NOT_REFUTED, decided, worst, method)
