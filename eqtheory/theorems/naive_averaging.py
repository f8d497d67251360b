"""T8: averaging with a constant step is not regular; among averagings the adaptive step is essential."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["THEOREM", "constant_step_budget", "violation"]


@inequality("eps |F(x) - F(x')| <= eps l d(x,x')  (F l-Lipschitz)")
def constant_step_budget(*, offset_gap: Any, eps: Any, slope: Any, delta: Any) -> tuple[Any, Any]:
    """Where `F` is globally `l`-Lipschitz a constant step is regular with `L0 = eps l` and `L1 = 0`."""
    return offset_gap, eps * slope * delta


@inequality("(L0 + L1 |y|) d(x,x') < |G(y,x) - G(y,x')| at some pair and y = 0")
def violation(*, gap: Any, delta: Any, L0: Any) -> tuple[Any, Any]:
    """A witness against a claimed budget: at the zero state the input moves `G` by more than `L0 d`."""
    return L0 * delta, gap


THEOREM = Theorem(
    id="T8",
    slug="naive-averaging",
    title="Naive averaging is not regular",
    hypotheses=(
        Hypothesis("G(y,x) = (1 - eps) y + eps F(x) with one constant eps in (0,1]"),
        Hypothesis("F is not globally Lipschitz", control="N3"),
    ),
    conclusion="(R2) fails for every budget: for each L0 there is a pair with |G(0,x) - G(0,x')| > L0 d(x,x').",
    source=Source.PAPER,
    credit="Liu, Ding, Osher, Yin (arXiv 2510.03638); explicit witnesses and the converse for Lipschitz F: this project.",
    proof=(
        "G(0,x) - G(0,x') = eps (F(x) - F(x')), and the slopes of F are unbounded, so some pair has slope above L0/eps. "
        "Conversely, if F is l-Lipschitz the change is eps |F(x) - F(x')| <= eps l d for every y: regular with L0 = eps l, L1 = 0."
    ),
    inequalities=(violation, constant_step_budget),
    sharp="F(x) = l x: the budget L0 = eps l is attained by every pair.",
    constructions=("eqtheory.constructions.ConstantRelaxation",),
    references=("liu2026implicit",),
)
