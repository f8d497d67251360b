"""T3b: one power of the slope is enough; the step `rho sigma` keeps the budget of T3 and is never slower."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality
from eqtheory.theorems.sufficiency import joint_budget, relaxation_offset, relaxation_step, step_radius

__all__ = ["THEOREM", "lipschitz_rate", "never_slower"]


@inequality("rho(x)^2 <= rho(x) sigma(x)")
def never_slower(*, squared: Any, product: Any) -> tuple[Any, Any]:
    """The step of T3 is at most the step of T3b."""
    return squared, product


@inequality("1 / ((1 + K)(1 + K + l)) <= eps(x)  (|F| <= K, F l-Lipschitz)")
def lipschitz_rate(*, eps: Any, size: Any, slope: Any) -> tuple[Any, Any]:
    """On a bounded Lipschitz map the step shrinks like one power of the slope."""
    return 1 / ((1 + size) * (1 + size + slope)), eps


THEOREM = Theorem(
    id="T3b",
    slug="order-optimal-step",
    title="One power of the slope is enough",
    hypotheses=(
        Hypothesis("F : X -> Y is locally Lipschitz on a metric space X", control="N4"),
        Hypothesis("the relaxation carries one factor rho, which sees the slopes", control="N5"),
    ),
    conclusion=(
        "With sigma(x) = sup{r in (0,1] : r (1 + sup_{B(x,r)} |F|) <= 1} >= rho(x) and eps = rho sigma: the same fixed point, the "
        "same budget (2, 2), jointly 2 max(1,|y|), and mu = 1 - rho sigma, never slower than T3. For |F| <= K and F l-Lipschitz, "
        "eps >= 1/((1+K)(1+K+l)), while by T2 no operator of that budget has 1 - mu(x) > (2+2K)/l where "
        "l is the local slope at x: optimal order."
    ),
    source=Source.HERE,
    credit="This project.",
    proof=(
        "sigma is 1-Lipschitz as rho is. Let rho >= rho', a = rho + sigma'. |eps - eps'| <= rho |sigma - sigma'| + sigma' |rho - rho'| "
        "<= a delta. If delta < rho, with s the slope of the pair: s + |F'| <= 1/rho - 1 and |F'| <= 1/sigma' - 1, so "
        "|eps F - eps' F'| / delta <= rho sigma s + a |F'| <= rho (s + |F'|) + sigma' |F'| <= 2 - a. "
        "If delta >= rho >= rho': rho sigma |F| <= rho (1 - sigma) <= delta (1 - rho) and rho' sigma' |F'| <= delta (1 - sigma'): "
        "again (2 - a) delta. Then a |y| + 2 - a <= 2 max(1,|y|)."
    ),
    inequalities=(step_radius, relaxation_step, relaxation_offset, joint_budget, never_slower, lipschitz_rate),
    sharp="The instances of T3, where rho = sigma.",
    constructions=("eqtheory.constructions.adaptive_relaxation", "eqtheory.constructions.RadiusProduct"),
    references=("liu2026implicit",),
)
