"""T14: what evaluation errors do to a fixed point; every numerical tolerance of the project rests on it."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["THEOREM", "inexact_fixed_point", "inexact_limit"]


@inequality("limsup |y_t - y*| <= (theta + kappa |y*|) / (1 - mu - kappa)")
def inexact_limit(*, error: Any, mu: Any, theta: Any, kappa: Any, solution_norm: Any) -> tuple[Any, Any]:
    """Where an iteration with evaluation error `theta + kappa |y|` ends up at worst."""
    return error, (theta + kappa * solution_norm) / (1 - mu - kappa)


@inequality("|y~ - y*| <= (theta + kappa |y~|) / (1 - mu)  (y~ a fixed point of the inexact operator)")
def inexact_fixed_point(*, error: Any, mu: Any, theta: Any, kappa: Any, computed_norm: Any) -> tuple[Any, Any]:
    """How far a fixed point of the inexact operator is from the true one."""
    return error, (theta + kappa * computed_norm) / (1 - mu)


THEOREM = Theorem(
    id="T14",
    slug="inexactness",
    title="Inexact operators and finite precision",
    hypotheses=(
        Hypothesis("|G~_t(y) - G(y)| <= theta + kappa |y| at every step, the error may differ from step to step"),
        Hypothesis("(R1) with mu + kappa < 1", control="N2"),
    ),
    conclusion=(
        "limsup |y_t - y*| <= (theta + kappa |y*|)/(1 - mu - kappa), and a fixed point y~ of the inexact operator has "
        "|y~ - y*| <= (theta + kappa |y~|)/(1 - mu): the condition number of a fixed point is 1/(1 - mu)."
    ),
    source=Source.HERE,
    credit="This project; in the manner of Higham's backward error analysis of stationary iterations.",
    proof=(
        "e_{t+1} = |G~(y_t) - G(y*)| <= mu e_t + theta + kappa |y_t| <= (mu + kappa) e_t + theta + kappa |y*|; take limsup. For a fixed "
        "point, |y~ - y*| <= |G~(y~) - G(y~)| + |G(y~) - G(y*)| <= theta + kappa |y~| + mu |y~ - y*|."
    ),
    inequalities=(inexact_limit, inexact_fixed_point),
    sharp="G(y) = mu y + b with b >= 0 and the error theta + kappa y at every step: both bounds are equalities.",
    constructions=("eqtheory.roundoff.tolerance", "eqtheory.roundoff.Rounding"),
    references=("higham2002",),
)
