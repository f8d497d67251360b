"""T3: every locally Lipschitz map is the fixed-point map of a regular operator, with constants that do not depend on it."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["BUDGET", "THEOREM", "joint_budget", "relaxation_offset", "relaxation_step", "step_radius"]

BUDGET = 2
"""Both constants of the simplicity budget, whatever the represented map is."""


@inequality("|rho(x) - rho(x')| <= d(x,x')")
def step_radius(*, gap: Any, delta: Any) -> tuple[Any, Any]:
    """The radius on which the map is tame is 1-Lipschitz."""
    return gap, delta


@inequality("|eps(x) - eps(x')| <= 2 c d(x,x')")
def relaxation_step(*, gap: Any, delta: Any, scale: Any = 1) -> tuple[Any, Any]:
    """The relaxation is 2c-Lipschitz: the `L1` half of the budget."""
    return gap, BUDGET * scale * delta


@inequality("|eps(x) F(x) - eps(x') F(x')| <= 2 c d(x,x')")
def relaxation_offset(*, gap: Any, delta: Any, scale: Any = 1) -> tuple[Any, Any]:
    """The relaxed map is 2c-Lipschitz: the `L0` half of the budget."""
    return gap, BUDGET * scale * delta


@inequality("|eps(x) - eps(x')| + |eps(x) F(x) - eps(x') F(x')| <= 2 c d(x,x')")
def joint_budget(*, step_gap: Any, offset_gap: Any, delta: Any, scale: Any = 1) -> tuple[Any, Any]:
    """Both halves at once, equivalent to `|G(y,x) - G(y,x')| <= 2 c max(1,|y|) d(x,x')` for all y.

    The two terms are `G`'s change at the worst state of norm 1: `G(y,x) - G(y,x') = -(eps-eps')y + (eps F - eps' F')`
    is largest in norm at `y = -+(eps F - eps' F') / |eps F - eps' F'|`, where the triangle inequality is an equality.

    Returns:
        Left and right side.
    """
    return step_gap + offset_gap, BUDGET * scale * delta


THEOREM = Theorem(
    id="T3",
    slug="sufficiency",
    title="Sufficiency with universal constants",
    hypotheses=(
        Hypothesis(
            "F : X -> Y is locally Lipschitz on a metric space X (no completeness, convexity or boundedness)", "N4"
        ),
        Hypothesis("the relaxation adapts to the input (a constant one has no budget)", "N3"),
        Hypothesis("the relaxation is the square of the radius, eps = rho^2 (a smaller power is not enough)", "N5"),
    ),
    conclusion=(
        "With h(x,r) = 1 + sup_{B(x,r)} |F| + lip(F; B(x,r)), rho(x) = sup{r in (0,1] : r h(x,r) <= 1} and eps = rho^2, the "
        "operator G(y,x) = (1 - eps(x)) y + eps(x) F(x) has fixed point F(x), mu = 1 - rho^2 and budget L0 = L1 = 2, jointly "
        "|G(y,x) - G(y,x')| <= 2 max(1,|y|) d(x,x')."
    ),
    source=Source.PAPER,
    credit=(
        "Existence with an adaptive step: Liu, Ding, Osher, Yin (arXiv 2510.03638). Explicit step, universal constants, joint "
        "bound and metric generality: this project."
    ),
    proof=(
        "h grows with the ball and balls are open, so h(x, rho(x)) <= 1/rho(x). If delta = d(x,x') < rho(x), then "
        "B(x', rho(x) - delta) lies in B(x, rho(x)), so rho(x') >= rho(x) - delta: rho is 1-Lipschitz. Let rho >= rho' and "
        "a = rho + rho'. Always |eps - eps'| <= a delta. If delta < rho, both points lie in B(x,rho), where |F| + lip <= 1/rho - 1, "
        "so |eps F - eps' F'| <= rho^2 lip delta + a delta |F'| <= 2 rho (1/rho - 1) delta <= (2 - a) delta. If delta >= rho, each "
        "|eps F| <= rho (1 - rho) and the two sum to at most (2 - a) delta. Then a |y| + 2 - a <= 2 max(1,|y|)."
    ),
    inequalities=(step_radius, relaxation_step, relaxation_offset, joint_budget),
    sharp=(
        "lip rho = 1 and lip eps = 2 - delta on X = {0, delta, 1}, F = (0, 0, 10); lip(eps F) = 2M/(1+M) on X = {0, 1/(1+M)}, "
        "F = (M, -M). The value 2 is a supremum that no single pair attains."
    ),
    constructions=("eqtheory.constructions.adaptive_relaxation", "eqtheory.constructions.SquaredRadius"),
    references=("liu2026implicit",),
)
