"""T1: what contraction in the state buys, namely one fixed point and three computable error bounds."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["THEOREM", "a_posteriori", "a_priori", "residual_bound"]


@inequality("|y_t - y*| <= mu^t / (1 - mu) |y_1 - y_0|")
def a_priori(*, error: Any, mu: Any, first_step: Any, steps: Any) -> tuple[Any, Any]:
    """Error after `steps` Picard steps, known after the first one."""
    return error, mu**steps / (1 - mu) * first_step


@inequality("|y_t - y*| <= mu / (1 - mu) |y_t - y_{t-1}|")
def a_posteriori(*, error: Any, mu: Any, last_step: Any) -> tuple[Any, Any]:
    """Error of a Picard iterate, from its last step."""
    return error, mu / (1 - mu) * last_step


@inequality("|y - y*| <= (|G(y,x) - y| + evaluation error) / (1 - mu)")
def residual_bound(*, error: Any, mu: Any, residual: Any, evaluation_error: Any = 0) -> tuple[Any, Any]:
    """Error of any state whatever, from one evaluation of the operator there."""
    return error, (residual + evaluation_error) / (1 - mu)


THEOREM = Theorem(
    id="T1",
    slug="banach",
    title="Banach's fixed-point theorem with certified errors",
    hypotheses=(
        Hypothesis("(R1): |G(y1,x) - G(y2,x)| <= mu(x) |y1 - y2| for all y1, y2, with mu(x) < 1", control="N2"),
        Hypothesis("the state space is complete (here R^n with any norm)"),
    ),
    conclusion=(
        "G(., x) has exactly one fixed point y*(x); Picard iterates obey the a-priori and the a-posteriori bound, and the "
        "residual bound holds at every state, whichever method produced it."
    ),
    source=Source.CLASSICAL,
    credit="Banach 1922; the floating-point form adds the evaluation error of G to the residual.",
    proof=(
        "|y - y*| <= |y - G(y)| + |G(y) - G(y*)| <= |y - G(y)| + mu |y - y*| gives the residual bound. At y = y_{t-1} it "
        "gives |y_{t-1} - y*| <= |y_t - y_{t-1}| / (1 - mu), and one more step multiplies the left side by at most mu: the "
        "a-posteriori bound. Steps shrink by mu each, so the last one is at most mu^{t-1} times the first: the a-priori bound."
    ),
    inequalities=(a_priori, a_posteriori, residual_bound),
    sharp="G(y) = mu y + b started anywhere: all three hold with equality at every step.",
    constructions=("eqtheory.solvers.fixed_point",),
    references=("banach1922",),
)
