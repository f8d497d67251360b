"""What pairs of computed values, proofs and declarations say of each other, and where pairs may move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.auditing._proof import Proof
from eqtheory.auditing._subject import Subject
from eqtheory.bounds import Bound, Side
from eqtheory.lipschitz import Region, Search, Witnessed
from eqtheory.norms import rows_of

__all__ = [
    "Flattened",
    "KeepingRows",
    "consistent",
    "declared_bound",
    "declared_budget",
    "declared_factors",
    "fading",
    "pairs_only",
    "shortened",
    "surely_below_one",
    "with_rows",
]


def pairs_only(found: Witnessed) -> Witnessed:
    """Drop what rests on derivatives.

    Args:
        found: rows of a search; where both points coincide a derivative was taken.

    Returns:
        The pairs, the steepest first; one flat pair where there is none.
    """
    if found.b is None:
        return found
    distinct = (found.a != found.b).reshape(found.a.shape[0], -1).any(dim=1)
    rows = distinct.nonzero().reshape(-1)
    if len(rows) == 0:
        return replace(found, bound=replace(found.bound, value=torch.zeros_like(found.values)))
    return replace(
        found,
        bound=replace(
            found.bound,
            value=found.values[rows],
            assumptions=("evaluations err by at most 64 unit roundoffs of value and arguments",),
        ),
        a=found.a[rows],
        b=found.b[rows],
        parameters=found.parameters[rows],
    )


@final
class KeepingRows(Region):
    """Parameters whose last column says which sample they belong to, and stays."""

    def __init__(self, inner: Region) -> None:
        self.inner = inner

    def project(self, x: Tensor) -> Tensor:
        """Project all but the last column.

        Args:
            x: parameters, shape `(batch, k + 1)`.

        Returns:
            The nearest ones.
        """
        return torch.cat([self.inner.project(x[:, :-1]) if x.shape[1] > 1 else x[:, :-1], x[:, -1:]], dim=1)


def with_rows(subject: Subject) -> Tensor:
    return torch.cat([rows_of(subject.y), subject.rows.to(subject.y.dtype)], dim=1)


def shortened(search: Search, proof: Proof) -> Search:
    """Where a proof decides, the search only says how good it is.

    Returns:
        The search, or a shorter one.
    """
    if proof.mu is None or not surely_below_one(proof.mu):
        return search
    return replace(search, rounds=min(2, search.rounds), steps=min(20, search.steps))


def surely_below_one(bound: Bound | None) -> bool:
    return bound is not None and float(bound.value) < 1 - 2.0**-40


@final
class Flattened(Region):
    """A region of states, for states written as vectors."""

    def __init__(self, subject: Subject, shape: torch.Size) -> None:
        self.inner, self.shape = subject.states, shape

    def project(self, x: Tensor) -> Tensor:
        """Project the states.

        Args:
            x: states as vectors.

        Returns:
            The nearest ones.
        """
        return rows_of(self.inner.project(x.reshape(-1, *self.shape[1:])))


def consistent(lower: Bound, upper: Bound | None) -> tuple[Bound | None, str]:
    """Believe a proof unless a pair contradicts it, which happens where a program rounds inside (a proof is about exact arithmetic).

    Returns:
        The upper bound, `None` where it is contradicted, and a note on it.
    """
    if upper is None or float(lower.value) <= float(upper.value) * (1 + 1e-9):
        return upper, ""
    note = (
        f"a pair of computed values has slope {float(lower.value):.6g}, where {float(upper.value):.6g} is proved for exact arithmetic: "
        "the program rounds coarsely inside (a narrower type?), or one of the two is wrong"
    )
    return None, note


def declared_bound(subject: Subject, which: str) -> Bound | None:
    if subject.G.regularity is None:
        return None
    bound: Any = getattr(subject.G.regularity, which)
    usable = isinstance(bound, Bound) and bound.side in (Side.UPPER, Side.EXACT) and not isinstance(bound.value, Tensor)
    return bound if usable else None


def declared_factors(subject: Subject, found: Witnessed) -> Tensor | None:
    """Declared factors at the inputs of the pairs, raised by what rounding may add.

    Returns:
        Shape `(pairs,)`, or `None` where none are declared.
    """
    declared = subject.G.regularity
    if declared is None or declared.mu.side not in (Side.UPPER, Side.EXACT):
        return None
    rows = found.parameters[:, -1].round().long() % subject.y.shape[0]  # samples were doubled
    return declared.factors(subject.raveled.nest(found.parameters[:, :-1], rows), len(rows)) * (1 + 1e-9)


def declared_budget(subject: Subject) -> tuple[float, float] | None:
    """Declared budgets, raised by what rounding may add; both are zero where the input is declared not to matter.

    Returns:
        `L0` and `L1`; `None` where none are declared that could be refuted.
    """
    declared = subject.G.regularity
    if declared is None:
        return None
    bounds = (declared.L0, declared.L1)
    if any(
        b.side not in (Side.UPPER, Side.EXACT) or (isinstance(b.value, Tensor) and b.value.numel() != 1) for b in bounds
    ):
        return None
    values = tuple(float(b.value) for b in bounds)
    if not all(v < float("inf") for v in values):
        return None
    return values[0] * (1 + 1e-9), values[1] * (1 + 1e-9)


def fading(found: Witnessed) -> str:
    """Whether factors below one were seen to approach one, rather than to exceed it.

    Returns:
        A sentence, or nothing.
    """
    if float(found.values[0]) >= 1 or found.parameters.shape[1] == 1:
        return ""
    where = ", ".join(f"{v:.3g}" for v in found.parameters[0][:-1][:4].tolist())
    return (
        f"no pair expands, but the factor comes within {1 - float(found.values[0]):.1e} of 1 at x = [{where}]: "
        "it may not be bounded away from one locally (N1), and no fixed number of iterations then serves all inputs"
    )
