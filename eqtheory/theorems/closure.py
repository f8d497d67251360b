"""T15: what can be built from regular operators stays regular, with constants."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality
from eqtheory.theorems.sufficiency import joint_budget

__all__ = ["THEOREM", "cascade_contraction", "encoded_budget", "max_of"]


@inequality("|G(y,E(x)) - G(y,E(x'))| <= e (L0 + L1 |y|) d(x,x')  (E e-Lipschitz)")
def encoded_budget(*, gap: Any, state_norm: Any, delta: Any, L0: Any, L1: Any, lipschitz: Any) -> tuple[Any, Any]:
    """An `e`-Lipschitz encoder multiplies the budget by `e`."""
    return gap, lipschitz * (L0 + L1 * state_norm) * delta


def max_of(a: Any, b: Any) -> Any:
    """Return the larger of two numbers of one type, also for types without a usable `max`.

    Args:
        a: first number.
        b: second number.

    Returns:
        `(a + b + |a - b|) / 2`, which is exact for rationals.
    """
    return (a + b + abs(a - b)) / 2


@inequality("|dG1| + theta |dG2| <= max((1 + m1)/2, m2) (|dy1| + theta |dy2|),  theta = (1 - m1)/(2 l)")
def cascade_contraction(
    *, after1: Any, after2: Any, before1: Any, before2: Any, m1: Any, m2: Any, coupling: Any
) -> tuple[Any, Any]:
    """A cascade contracts in a weighted sum of the two norms."""
    theta = (1 - m1) / (2 * coupling)
    return after1 + theta * after2, max_of((1 + m1) / 2, m2) * (before1 + theta * before2)


THEOREM = Theorem(
    id="T15",
    slug="closure",
    title="Closure of regular operators",
    hypotheses=(
        Hypothesis("the parts are regular; encoders and decoders are locally Lipschitz", control="N4"),
        Hypothesis("in a cascade both factors are below 1 and G2 is l-Lipschitz in y1", control="N2"),
    ),
    conclusion=(
        "Fixed-point maps of regular operators are exactly the locally Lipschitz maps, all with budget (c,c) for any c > 0, so "
        "they are closed under composition, sums, locally Lipschitz encoders and decoders and gluing. Structurally: an "
        "e-Lipschitz encoder gives budget e (L0, L1); a cascade (G1(y1,x), G2(y2,y1)) contracts in "
        "|y1| + theta |y2| with factor max((1+m1)/2, m2)."
    ),
    source=Source.HERE,
    credit="This project, from T2, T3 and T3a.",
    proof=(
        "T2 makes the parts' fixed-point maps locally Lipschitz, such maps are closed under the listed operations, and T3a "
        "represents the result with any budget. Encoder: |E(x) - E(x')| <= e d in (R2). Cascade: the change is at most "
        "m1 |dy1| + theta (m2 |dy2| + l |dy1|) = (m1 + theta l) |dy1| + m2 theta |dy2| and m1 + theta l = (1 + m1)/2."
    ),
    inequalities=(encoded_budget, cascade_contraction, joint_budget),
    sharp="E(x) = e x on G = y/2 + x; G1 = m1 y1, G2 = m2 y2 + l y1: both factors are attained, one on each coordinate axis.",
    constructions=(
        "eqtheory.operators.Encoded",
        "eqtheory.operators.Cascade",
        "eqtheory.operators.Relaxed",
        "eqtheory.operators.Clipped",
        "eqtheory.targets.Composition",
        "eqtheory.targets.TargetSum",
    ),
    references=("liu2026implicit",),
)
