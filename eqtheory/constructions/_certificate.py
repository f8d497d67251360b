r"""Is a relaxation within its budget? Decided for every pair of a table in exact arithmetic.

On a finite set the relaxation `G(y, i) = y + eps_i (F_i - y)` has budget `(B, B)`, jointly `B max(1, |y|)`, iff for all pairs

    |eps_i - eps_j| + |eps_i F_i - eps_j F_j| <= B d(i, j).

Stored floating-point numbers are dyadic rationals. Scaled by a power of two they are integers, and the comparison is one of
integers: for sup and l1 distances directly, for Euclidean ones after squaring both sides. On large tables a floating-point
filter settles the pairs whose margin exceeds its own rounding error, and only the others go to integers; either way every
pair is decided rigorously. For Euclidean vector values the two halves of the budget are decided separately, since their
joint form would need two square roots. A budget with different constants, `|eps_i - eps_j| <= L1 d` and
`|eps_i F_i - eps_j F_j| <= L0 d` (T6a), is decided in two halves as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eqtheory.bounds import Verdict, VerdictKind
from eqtheory.constructions._integer_pairs import ExactPairs, worst_of
from eqtheory.constructions._measured_pairs import line_order, measured_pairs
from eqtheory.errors import InputError, ShapeError
from eqtheory.targets import SampleTable
from eqtheory.validate import batch_of

__all__ = ["BudgetCertificate", "SimplicityCertificate", "certify_budget", "certify_simplicity", "require_pairs"]

_ALL_EXACT = "exact integer comparison of the stored numbers"
_ON_LINE = "exact integer comparison of the stored numbers; neighbours on the line imply all pairs"
_FILTERED = "stored numbers, by floating point with a rigorous rounding bound and integers where that leaves it open"

_ALL_EXACT_PAIRS = 500_000
"""Up to here every pair goes through integers; beyond, the filter runs first. A second or two either way."""


@dataclass(frozen=True)
class BudgetCertificate:
    """What was decided about a relaxation of a table.

    Args:
        budget: the common value of `L0` and `L1` that was checked.
        pairs: pairs of points decided; all of them.
        exact_pairs: how many of these needed integers.
        joint: whether the joint form was decided, or the two halves.
        verdict: `proved`, or `refuted` with the violating pair.
    """

    budget: float
    pairs: int
    exact_pairs: int
    joint: bool
    verdict: Verdict

    def __str__(self) -> str:
        form = f"|G(y,x) - G(y,x')| <= {self.budget:g} max(1,|y|) d" if self.joint else f"L0 = L1 = {self.budget:g}"
        return f"{form} on all {self.pairs:,} pairs: {self.verdict}"


@dataclass(frozen=True)
class SimplicityCertificate:
    """What was decided about a relaxation of a table whose two constants differ.

    Args:
        L0: the constant that was checked at the zero state.
        L1: the constant that was checked for large states.
        pairs: pairs of points decided; all of them.
        exact_pairs: how many of these needed integers.
        verdict: `proved`, or `refuted` with the violating pair.
    """

    L0: float
    L1: float
    pairs: int
    exact_pairs: int
    verdict: Verdict

    def __str__(self) -> str:
        form = f"|G(y,x) - G(y,x')| <= ({self.L0:g} + {self.L1:g} |y|) d"
        return f"{form} on all {self.pairs:,} pairs: {self.verdict}"


def _undecided(
    table: SampleTable, eps: Tensor, L0: float, L1: float, rows: slice, *, joint: bool
) -> tuple[Tensor, Tensor, float]:
    """Pairs (i, j), j < i, that floating point cannot settle, for i in a block of rows.

    Returns:
        Indices of the undecided pairs, and a lower bound on the relative margins of the settled ones.
    """
    found = measured_pairs(table, eps, rows)
    shrunk = found.distance * (1 - 2 * found.distance_error)  # the product with a constant rounds once more
    step, offset = found.step + found.step_error, found.offset + found.offset_error
    # The joint form implies both halves of one budget, so it settles them as well.
    parts = [(step + offset, L0)] if joint or L0 == L1 else [(step, L1), (offset, L0)]
    index = torch.arange(rows.start, rows.stop, device=eps.device)
    below = torch.arange(len(table), device=eps.device)[None, :] < index[:, None]
    settled, margin = below.clone(), torch.full_like(found.step, torch.inf)
    for needed, constant in parts:
        room = constant * shrunk
        settled &= needed * (1 + 4 * found.distance_error) <= room
        margin = torch.minimum(margin, 1 - needed / torch.where(room > 0, room, 1.0))
    i, j = (below & ~settled).nonzero(as_tuple=True)
    return i + rows.start, j, float(torch.where(settled, margin, torch.inf).amin())


def _decide(
    table: SampleTable, eps: Tensor, L0: float, L1: float, *, joint: bool, order: Tensor | None = None
) -> tuple[int, int, bool, Verdict]:
    """Decide all pairs: how many there are, how many needed integers, whether jointly, and the verdict.

    With the order of points on the line only neighbours are compared, which imply the rest.

    Returns:
        Pairs, pairs that went through integers, whether the joint form was decided, the verdict.

    Raises:
        InputError: a step outside `(0, 1]` or the wrong number of steps.
    """
    batch_of("eps", eps, trailing=())
    if eps.shape[0] != len(table):
        raise InputError("eps", f"{eps.shape[0]} steps", f"{len(table)}, one per point", "pass one relaxation per row")
    if not bool(((eps > 0) & (eps <= 1)).all()):
        raise InputError("eps", f"{eps.min().item()} .. {eps.max().item()}", "0 < eps <= 1", "clip the steps")
    n = len(table)
    exact = ExactPairs(table, eps, L0, L1, joint=joint)
    pairs, used = n * (n - 1) // 2, 0
    worst: tuple[float, Any] = (float("inf"), None)
    for rows in table.blocks() if order is None else [slice(0, n)]:
        if order is not None:
            i, j = order[1:].cpu().numpy(), order[:-1].cpu().numpy()
        elif pairs > _ALL_EXACT_PAIRS:
            open_i, open_j, settled = _undecided(table, eps, L0, L1, rows, joint=joint)
            i, j = open_i.cpu().numpy(), open_j.cpu().numpy()
            worst = min(worst, (settled, None), key=lambda w: w[0])
        else:
            i, j = (
                t[rows.start * (rows.start - 1) // 2 : rows.stop * (rows.stop - 1) // 2] for t in np.tril_indices(n, -1)
            )
        used += len(i)
        for lhs, rhs, power in exact.sides(i, j) if len(i) else ():
            worst = min(worst, worst_of(lhs, rhs, power, i, j), key=lambda w: w[0])
    refuted = worst[0] < 0
    verdict = Verdict(
        VerdictKind.REFUTED if refuted else VerdictKind.PROVED,
        pairs,
        worst[0],
        _ON_LINE if order is not None else _ALL_EXACT if used == pairs else _FILTERED,
        worst[1] if refuted else None,
    )
    return pairs, used, exact.joint, verdict


def require_pairs(table: SampleTable) -> None:
    """Require something to decide.

    Args:
        table: the map.

    Raises:
        ShapeError: fewer than two points.
    """
    if len(table) < 2:
        remedy = "a single point has no pairs; any budget holds"
        raise ShapeError("table", "one point", "at least two points", remedy)


def certify_budget(table: SampleTable, eps: Tensor, budget: float) -> BudgetCertificate:
    """Decide whether a relaxation of a table has the budget `L0 = L1 = budget`.

    Args:
        table: the map, in l2, sup or l1 norms.
        eps: one relaxation per point, shape `(n,)`, each in `(0, 1]`.
        budget: the claimed constant, finite and not negative.

    Returns:
        The certificate, with a verdict that is `proved` or `refuted`.

    Raises:
        InputError: a step outside `(0, 1]`, the wrong number of steps, a budget that is no constant, or a norm without exact arithmetic.

    Example:
        >>> from eqtheory.targets import from_samples
        >>> table = from_samples([0.0, 1.0], [5.0, -5.0])
        >>> certify_budget(table, torch.tensor([1.0, 1.0]).double(), 2.0).verdict.kind.value
        'refuted'
    """
    _check_constant("budget", budget)
    pairs, used, joint, verdict = _decide(table, eps, budget, budget, joint=True)
    return BudgetCertificate(float(budget), pairs, used, joint, verdict)


def certify_simplicity(table: SampleTable, eps: Tensor, L0: float, L1: float) -> SimplicityCertificate:
    """Decide whether a relaxation of a table has the budget `(L0, L1)`.

    Args:
        table: the map, in l2, sup or l1 norms.
        eps: one relaxation per point, shape `(n,)`, each in `(0, 1]`.
        L0: the claimed constant at the zero state, finite and not negative.
        L1: the claimed constant for large states, finite and not negative.

    Returns:
        The certificate, with a verdict that is `proved` or `refuted`.

    Theorem: T6a.

    Example:
        >>> from eqtheory.targets import from_samples
        >>> table = from_samples([0.0, 1.0], [5.0, -5.0])
        >>> certify_simplicity(table, torch.tensor([0.1, 0.1]).double(), 1.0, 0.0).verdict.kind.value
        'refuted'
        >>> certify_simplicity(table, torch.tensor([0.125, 0.0625]).double(), 1.0, 0.0625).verdict.kind.value
        'proved'
    """
    _check_constant("L0", L0)
    _check_constant("L1", L1)
    pairs, used, _, verdict = _decide(table, eps, L0, L1, joint=False, order=line_order(table))
    return SimplicityCertificate(float(L0), float(L1), pairs, used, verdict)


def _check_constant(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise InputError(name, str(value), "a finite number >= 0", "pass the constant you want decided")
