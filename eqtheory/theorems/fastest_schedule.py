"""T6a: which relaxations of a finite table fit a budget, and which of them is the fastest."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["THEOREM", "pair_cap", "schedule_offset", "schedule_optimality", "schedule_step"]


@inequality("|eps_i - eps_j| <= L1 d_ij")
def schedule_step(*, gap: Any, delta: Any, L1: Any) -> tuple[Any, Any]:
    """The `L1` half: what (R2) says of large states."""
    return gap, L1 * delta


@inequality("|eps_i F_i - eps_j F_j| <= L0 d_ij")
def schedule_offset(*, gap: Any, delta: Any, L0: Any) -> tuple[Any, Any]:
    """The `L0` half: what (R2) says of the zero state."""
    return gap, L0 * delta


@inequality("eps_j |F_i - F_j| <= (L0 + L1 |F_i|) d_ij")
def pair_cap(*, eps_other: Any, value_gap: Any, value_norm: Any, delta: Any, L0: Any, L1: Any) -> tuple[Any, Any]:
    """No admissible step is larger, whatever the others are: T2 for relaxations; `value_norm` is that of the other point."""
    return eps_other * value_gap, (L0 + L1 * value_norm) * delta


@inequality("min_i eps_i <= sum_p (|a_p| L1 + |w_p|_* L0) d_p + sum_i max(0, nu_i - sum_{p at i} +-(a_p + w_p F_i))")
def schedule_optimality(*, slowest: Any, price: Any, leftover: Any) -> tuple[Any, Any]:
    """No admissible schedule has a larger minimum: `price` and `leftover` are the two sums, for any multipliers at all."""
    return slowest, price + leftover


THEOREM = Theorem(
    id="T6a",
    slug="fastest-schedule",
    title="The fastest admissible schedule",
    hypotheses=(
        Hypothesis(
            "F is a map on a finite metric space S (on infinite S: locally Lipschitz, or no schedule is positive)", "N4"
        ),
        Hypothesis(
            "L0 > 0 for a positive schedule of an arbitrary F; for the greatest schedule F is scalar and of one sign"
        ),
    ),
    conclusion=(
        "Relaxations (1 - eps) y + eps F of budget (L0, L1) are exactly those with 0 < eps <= 1, |eps_i - eps_j| <= L1 d_ij and "
        "|eps_i F_i - eps_j F_j| <= L0 d_ij: a convex set, a polytope for sup and l1 norms and scalars, second-order cones for "
        "l2. Its largest minimum is positive and certified by multipliers. For scalar F of one sign it has a greatest element, "
        "the limit of eps_i <- min(1, eps_j + L1 d_ij, (eps_j F_j + L0 d_ij)/F_i); on the line two sweeps after the caps of "
        "neighbours find it."
    ),
    source=Source.HERE,
    credit="This project.",
    proof=(
        "G(y,i) - G(y,j) = -(eps_i - eps_j) y + (eps_i F_i - eps_j F_j): y = 0 and |y| -> infinity give both halves, the "
        "triangle inequality the converse. The constant min(1, L0 / lip F) is admissible. Optimality: for nu >= 0 of sum 1, min "
        "eps <= sum nu_i eps_i; the sum of a_p (eps_i - eps_j) + w_p (eps_i F_i - eps_j F_j) over pairs is at most the price, "
        "and what nu keeps beyond it meets eps_i <= 1. Cap: (eps_i F_i - eps_j F_j) - (eps_i - eps_j) F_i = eps_j (F_i - F_j). "
        "One sign: each bound is monotone in eps_j, so the largest of two admissible schedules is admissible, and iterating "
        "from 1 decreases to the greatest. Line: neighbours imply all pairs. Write R for the bound a point puts on its right "
        "neighbour, L for the reverse; below the cap of the two, L(R(e)) >= e, since the admissible partners of e form an "
        "interval. So after a sweep to the right and one to the left, a value lowered by L still satisfies R."
    ),
    inequalities=(schedule_step, schedule_offset, pair_cap, schedule_optimality),
    sharp=(
        "1/x on (0,1] with budget (0, eta): the cap is eta x at every point and for every pair, and T7's relaxation eps = eta x "
        "attains it. Two values of opposite sign, F = (M, -M) at distance d: min eps = L0 d / (2 M), with one multiplier w. Do "
        "not maximise the sum of eps: for F = (100, -200), L0 = L1 = 1 and d = 1 it sets the second step to 0."
    ),
    constructions=(
        "eqtheory.constructions.fastest_schedule",
        "eqtheory.constructions.greatest_schedule",
        "eqtheory.constructions.ScheduledRelaxation",
        "eqtheory.constructions.certify_simplicity",
    ),
    references=("liu2026implicit",),
)
