"""T3a: there is no floor on simplicity; it is paid in iterations."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality
from eqtheory.theorems.sufficiency import joint_budget, relaxation_offset, relaxation_step

__all__ = ["THEOREM", "price"]


@inequality("c eps(x) <= 1 - mu(x)")
def price(*, contraction_gap: Any, eps: Any, scale: Any) -> tuple[Any, Any]:
    """The gap `1 - mu` is exactly `c eps`, so the iterations grow by the factor `1/c` and no more."""
    return scale * eps, contraction_gap


THEOREM = Theorem(
    id="T3a",
    slug="arbitrary-simplicity",
    title="No floor on simplicity",
    hypotheses=(
        Hypothesis("F : X -> Y is locally Lipschitz on a metric space X", control="N4"),
        Hypothesis("0 < c <= 1 scales the step of T3 or T3b"),
    ),
    conclusion="With the step c eps the budget is (2c, 2c), the fixed point is still F, and 1 - mu = c eps: 1/c times the iterations.",
    source=Source.HERE,
    credit="This project, on top of T3.",
    proof="eps and eps F are 2-Lipschitz by T3, so c eps and c eps F are 2c-Lipschitz; 0 < c eps <= 1 keeps (R1) with mu = 1 - c eps.",
    inequalities=(relaxation_step, relaxation_offset, joint_budget, price),
    sharp="The instances of T3 with every step multiplied by c.",
    constructions=("eqtheory.constructions.adaptive_relaxation",),
    references=("liu2026implicit",),
)
