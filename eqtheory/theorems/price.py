"""T6: how many Picard steps a steep map costs, and how many are enough."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["THEOREM", "constant_step_error", "price_of_slope"]


@inequality("(|F(x) - F(x')| - 2 eta - lambda_0 d(x,x')) / (d(x,x') (L0 + L1 R)) <= t  (|y_t - F| <= eta at x, x')")
def price_of_slope(
    *, target_gap: Any, error: Any, start_slope: Any, delta: Any, L0: Any, L1: Any, size: Any, steps: Any
) -> tuple[Any, Any]:
    """Steps that any regular operator of this budget needs, for one pair; `size` bounds the iterates there."""
    return (target_gap - 2 * error - start_slope * delta) / (delta * (L0 + L1 * size)), steps


@inequality("|y_t - F| <= (1 - L0/l)^t sup |F - y_0|  (F l-Lipschitz, constant step L0/l <= 1)")
def constant_step_error(*, error: Any, L0: Any, slope: Any, steps: Any, start_error: Any) -> tuple[Any, Any]:
    """What a constant step within the budget reaches; it is at most `eta` from `t = (l / L0) log(M / eta)` on."""
    return error, (1 - L0 / slope) ** steps * start_error


THEOREM = Theorem(
    id="T6",
    slug="price",
    title="The price of expressivity for Picard's iteration",
    hypotheses=(
        Hypothesis("y_{t+1}(x) = G(y_t(x), x): Picard's iteration", control="N8"),
        Hypothesis("G is regular with L0 + L1 R > 0, where R bounds the iterates at the two points"),
        Hypothesis("|y_t - F| <= eta at both points"),
        Hypothesis("upper half: F is l-Lipschitz and |F - y_0| <= M, with 0 < L0 <= l"),
    ),
    conclusion=(
        "t >= (|F(x) - F(x')| - 2 eta - lambda_0 d) / (d (L0 + L1 R)). Conversely the constant step L0/l has budget (L0, 0) and "
        "reaches eta after (l/L0) log(M/eta) steps: tight up to the logarithm where a pair of slope about l has |F - F'| >= 4 eta."
    ),
    source=Source.HERE,
    credit="This project.",
    proof=(
        "|F - F'| - 2 eta <= |y_t - y_t'| <= (lambda_0 + t (L0 + L1 R)) d by T4 (a) on {x, x'}. Constant step: G = y + (L0/l)(F - y) "
        "has |G(y,x) - G(y,x')| = (L0/l) |F - F'| <= L0 d, and y_t - F = (1 - L0/l)^t (y_0 - F) <= exp(-t L0/l) M. With |F - F'| >= 4 eta "
        "and lambda_0 = 0 the lower bound is at least |F - F'| / (2 d L0), about l / (2 L0)."
    ),
    inequalities=(price_of_slope, constant_step_error),
    sharp=(
        "y_{t+1} = y_t + L0 x (the limit mu -> 1) towards F = T L0 x + eta sign(x) on {-1, 1}: exactly T steps; the constant step on "
        "y_0 = 0 and F(x) = M attains its error for every t."
    ),
    constructions=("eqtheory.solvers.Picard", "eqtheory.constructions.ConstantRelaxation"),
)
