"""T2: what a regular operator can represent at most, namely locally Lipschitz maps, with constants."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["THEOREM", "local_rate", "pairwise_slope"]


@inequality("|y*(x) - y*(x')| <= (L0 + L1 |y*(x)|) / (1 - mu(x')) d(x,x')")
def pairwise_slope(*, gap: Any, state_norm: Any, mu_other: Any, delta: Any, L0: Any, L1: Any) -> tuple[Any, Any]:
    """Change of the fixed point between any two inputs; `state_norm` at one of them, `mu_other` at the other."""
    return gap, (L0 + L1 * state_norm) / (1 - mu_other) * delta


@inequality("(1 - mu(x0)) lip y*(x0) <= L0 + L1 |y*(x0)|  (mu continuous at x0)")
def local_rate(*, mu: Any, local_modulus: Any, state_norm: Any, L0: Any, L1: Any) -> tuple[Any, Any]:
    """Steep outputs need slow contraction."""
    return (1 - mu) * local_modulus, L0 + L1 * state_norm


THEOREM = Theorem(
    id="T2",
    slug="necessity",
    title="Necessity: fixed-point maps of regular operators are locally Lipschitz",
    hypotheses=(
        Hypothesis("(R1) with mu locally bounded away from 1", control="N1"),
        Hypothesis("(R2): |G(y,x) - G(y,x')| <= (L0 + L1 |y|) d(x,x')", control="N4"),
    ),
    conclusion=(
        "For all pairs |y*(x) - y*(x')| <= (L0 + L1 |y*(x)|) / (1 - mu(x')) d(x,x'); hence y* is locally Lipschitz, and "
        "where it is steep the contraction is slow."
    ),
    source=Source.PAPER,
    credit="Local Lipschitz continuity: Liu, Ding, Osher, Yin (arXiv 2510.03638). The pairwise form for all pairs: this project.",
    proof=(
        "y*(x) - y*(x') = [G(y*(x),x) - G(y*(x),x')] + [G(y*(x),x') - G(y*(x'),x')]. The first bracket is at most "
        "(L0 + L1 |y*(x)|) d by (R2), the second at most mu(x') |y*(x) - y*(x')| by (R1). Solve for |y*(x) - y*(x')|."
    ),
    inequalities=(pairwise_slope, local_rate),
    sharp="G = y - eta (x y - 1) on (0,1], fixed point 1/x: equality for every pair.",
    constructions=("eqtheory.constructions.Reciprocal",),
    references=("liu2026implicit",),
)
