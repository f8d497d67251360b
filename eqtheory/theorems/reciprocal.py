"""T7: the motivating examples, simple operators whose fixed points are 1/x and the matrix inverse."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, contraction, inequality, simplicity

__all__ = ["THEOREM", "closed_form"]


@inequality("|y_t - (1 - (1 - eta x)^t) / x| <= 0  (y_0 = 0)")
def closed_form(*, iterate: Any, eta: Any, x: Any, steps: Any) -> tuple[Any, Any]:
    """Picard iterates of the one-sided reciprocal, in closed form."""
    return abs(iterate - (1 - (1 - eta * x) ** steps) / x), 0


THEOREM = Theorem(
    id="T7",
    slug="reciprocal",
    title="The reciprocal and the matrix inverse",
    hypotheses=(
        Hypothesis("0 < eta < 1 (0 < eta <= 1 for matrices)", control="N2"),
        Hypothesis("x in (0,1], x in [-1,1] without 0, or |A| <= 1 with A invertible", control="N2"),
    ),
    conclusion=(
        "G = y - eta (x y - 1) on (0,1]: mu = 1 - eta x, L0 = 0, L1 = eta, y_t = (1 - (1 - eta x)^t)/x from 0. "
        "G = y - eta x (x y - 1) on [-1,1] without 0: mu = 1 - eta x^2, L0 = eta, L1 = 2 eta, also across 0. "
        "G = Y - eta A^T (A Y - I) for |A| <= 1: mu = 1 - eta sigma_min(A)^2, L0 = eta, L1 = 2 eta (spectral or Frobenius norm)."
    ),
    source=Source.PAPER,
    credit="Liu, Ding, Osher, Yin (arXiv 2510.03638); constants across 0 and for matrices: this project.",
    proof=(
        "d/dy is 1 - eta x, 1 - eta x^2 and I - eta A^T A. In the input the three operators change by -eta (x - x') y, by "
        "eta (x - x') - eta (x^2 - x'^2) y with |x + x'| <= 2, and by eta (A - A')^T - eta (A^T A - A'^T A') Y, where "
        "|A^T A - A'^T A'| <= (|A| + |A'|) |A - A'| <= 2 |A - A'|. The closed form is a geometric sum."
    ),
    inequalities=(contraction, simplicity, closed_form),
    sharp="One-sided: (R1), (R2) are equalities for all arguments. Two-sided: L0 + L1 |y| is approached at x, x' -> 1 with y < 0.",
    constructions=(
        "eqtheory.constructions.Reciprocal",
        "eqtheory.constructions.TwoSidedReciprocal",
        "eqtheory.constructions.MatrixInverse",
    ),
    references=("liu2026implicit",),
)
