"""T5b: the Jacobian of an iterate tends to that of the fixed point, and slopes level off at the fixed point's."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["THEOREM", "jacobian_step", "levelling_off", "levelling_off_of_slopes"]


@inequality("|Dy_{t+1} - Dy*| <= mu |Dy_t - Dy*| + (alpha |Dy*| + beta) |y_t - y*|")
def jacobian_step(
    *, error_after: Any, error_before: Any, state_error: Any, mu: Any, alpha: Any, beta: Any, jacobian: Any
) -> tuple[Any, Any]:
    """One step, at one input."""
    return error_after, mu * error_before + (alpha * jacobian + beta) * state_error


@inequality("|Dy_t - Dy*| <= mu^t |Dy_0 - Dy*| + t mu^(t-1) (alpha |Dy*| + beta) |y_0 - y*|")
def levelling_off(
    *,
    jacobian_error: Any,
    start_error: Any,
    start_state_error: Any,
    mu: Any,
    alpha: Any,
    beta: Any,
    jacobian: Any,
    steps: Any,
) -> tuple[Any, Any]:
    """After `steps >= 1` steps, at one input."""
    return jacobian_error, mu**steps * start_error + steps * mu ** (steps - 1) * (
        alpha * jacobian + beta
    ) * start_state_error


@inequality("|lip(y_t; S) - lip(y*; S)| <= sup over S of the bound on |Dy_t - Dy*|  (S convex)")
def levelling_off_of_slopes(*, slope: Any, target_slope: Any, jacobian_bound: Any) -> tuple[Any, Any]:
    """On a convex set a Lipschitz constant is at most the supremum of Jacobians, so slopes level off as well."""
    return abs(slope - target_slope), jacobian_bound


THEOREM = Theorem(
    id="T5b",
    slug="levelling-off",
    title="Slopes level off",
    hypotheses=(
        Hypothesis("X is open in R^d and G is C^1 with |d_y G| <= mu < 1 at the input, at all states"),
        Hypothesis("d_y G and d_x G are Lipschitz in y with constants alpha and beta at the input"),
        Hypothesis(
            "for slopes: S is convex; mu, alpha, beta uniform on it; |Dy*|, |Dy_0 - Dy*| and |y_0 - y*| bounded on it",
            "N9",
        ),
    ),
    conclusion=(
        "With e_0 = |y_0 - y*|: |Dy_t - Dy*| <= mu^t |Dy_0 - Dy*| + t mu^(t-1) (alpha |Dy*| + beta) e_0 for Picard's iterates. On a "
        "convex S with constants uniform and errors bounded on it lip(y_t; S) -> lip(y*; S), at that rate."
    ),
    source=Source.HERE,
    credit="This project.",
    proof=(
        "With E_t = Dy_t - Dy*, E_{t+1} = d_yG(y_t) E_t + [d_yG(y_t) - d_yG(y*)] Dy* + [d_xG(y_t) - d_xG(y*)], so "
        "|E_{t+1}| <= mu |E_t| + (alpha |Dy*| + beta) |y_t - y*| and |y_t - y*| <= mu^t e_0; unroll: the t terms "
        "mu^(t-1-k) mu^k are all mu^(t-1). Along a segment of a convex S "
        "the mean value inequality gives lip(y_t - y*; S) <= sup |E_t|, hence |lip(y_t) - lip(y*)| <= sup |E_t|."
    ),
    inequalities=(jacobian_step, levelling_off, levelling_off_of_slopes),
    sharp=(
        "G((a,b),x) = (mu a, mu b + a x) at x = 0 (alpha = 0, beta = 1), from a state with b = 0 and a derivative (0, s) of the sign "
        "of a: equality for every t, in every norm with |(1,0)| = |(0,1)| = 1 for which the matrices are that small."
    ),
    constructions=("eqtheory.solvers.Picard",),
)
