"""T4: how steep Picard iterates can be after t steps; one step buys one budget of slope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = [
    "THEOREM",
    "accumulated_budget",
    "geometric_growth",
    "linear_growth",
    "one_step",
    "quadratic_growth",
    "size_growth",
]


@inequality("|y_{t+1}(x) - y_{t+1}(x')| <= mu(x') |y_t(x) - y_t(x')| + (L0 + L1 |y_t(x)|) d(x,x')")
def one_step(
    *, gap_after: Any, gap_before: Any, mu_other: Any, state_norm: Any, delta: Any, L0: Any, L1: Any
) -> tuple[Any, Any]:
    """One Picard step at any two inputs; `state_norm` at one of them, `mu_other` at the other."""
    return gap_after, mu_other * gap_before + (L0 + L1 * state_norm) * delta


def accumulated_budget(sizes: Sequence[Any], *, mu: Any, L0: Any, L1: Any) -> Any:
    """Add the budgets of the steps taken, each shrunk by the steps after it: `sum_k mu^(t-1-k) (L0 + L1 R_k)`.

    Args:
        sizes: `R_0, ..., R_{t-1}`, the largest norms of the iterates that were stepped from.
        mu: contraction factor.
        L0: budget at the zero state.
        L1: growth of the budget with the norm of the state.

    Returns:
        The sum, in the number type that came in; 0 before the first step.
    """
    total: Any = 0
    for size in sizes:
        total = mu * total + L0 + L1 * size
    return total


@inequality("lambda_t <= m^t lambda_0 + sum_{k<t} m^(t-1-k) (L0 + L1 R_k)")
def geometric_growth(*, slope: Any, start_slope: Any, mu: Any, steps: Any, accumulated: Any) -> tuple[Any, Any]:
    """Lipschitz constant after `steps` Picard steps; `accumulated` is `accumulated_budget` of the iterates' sizes."""
    return slope, mu**steps * start_slope + accumulated


@inequality("lambda_t <= lambda_0 + t (L0 + L1 R)  (L1 = 0, or |y_k| <= R for k < t)")
def linear_growth(*, slope: Any, start_slope: Any, steps: Any, size: Any, L0: Any, L1: Any) -> tuple[Any, Any]:
    """(a) One step buys one budget of slope, for factors up to 1."""
    return slope, start_slope + steps * (L0 + L1 * size)


@inequality("R_t <= R_0 + t g  (|G(0,.)| <= g)")
def size_growth(*, size: Any, start_size: Any, steps: Any, image_of_zero: Any) -> tuple[Any, Any]:
    """Iterates grow at most by the image of zero a step."""
    return size, start_size + steps * image_of_zero


@inequality("lambda_t <= lambda_0 + t (L0 + L1 R_0) + L1 g t (t-1)/2  (|G(0,.)| <= g)")
def quadratic_growth(
    *, slope: Any, start_slope: Any, steps: Any, start_size: Any, image_of_zero: Any, L0: Any, L1: Any
) -> tuple[Any, Any]:
    """(b) Where iterates are not bounded uniformly, the budget itself grows by at most `L1 g` a step."""
    return slope, start_slope + steps * (L0 + L1 * start_size) + L1 * image_of_zero * steps * (steps - 1) / 2


THEOREM = Theorem(
    id="T4",
    slug="growth",
    title="Growth of expressivity for Picard's iteration",
    hypotheses=(
        Hypothesis("y_{t+1}(x) = G(y_t(x), x): Picard's iteration, whose weights do not adapt to x", control="N8"),
        Hypothesis("(R1) with m = sup mu over S; m <= 1 for (a) and (b), any m for the geometric form", control="N2"),
        Hypothesis("(R2): |G(y,x) - G(y,x')| <= (L0 + L1 |y|) d(x,x')"),
    ),
    conclusion=(
        "With lambda_t = lip(y_t; S) and R_k = sup |y_k| over S: lambda_t <= m^t lambda_0 + sum_{k<t} m^(t-1-k) (L0 + L1 R_k). "
        "(a) If L1 = 0 or R = sup R_k is finite, lambda_t <= lambda_0 + t (L0 + L1 R): one step buys one budget of slope. "
        "(b) If only g = sup |G(0,.)| over S is finite, R_k <= R_0 + k g and "
        "lambda_t <= lambda_0 + t (L0 + L1 R_0) + L1 g t (t-1)/2. "
        "(c) At a point x next to which the iterates' slopes are bounded, the same recursion holds for local moduli, with R_k = |y_k(x)| "
        "and m = max(mu(x), limsup mu(x') for x' -> x), which is mu(x) where mu is upper semicontinuous."
    ),
    source=Source.HERE,
    credit="This project.",
    proof=(
        "y_{t+1}(x) - y_{t+1}(x') = [G(y_t(x),x) - G(y_t(x),x')] + [G(y_t(x),x') - G(y_t(x'),x')], the split of T2 at iterates: at "
        "most (L0 + L1 |y_t(x)|) d + mu(x') |y_t(x) - y_t(x')|. Divide by d and take suprema: lambda_{t+1} <= m lambda_t + L0 + L1 R_t; "
        "unroll. (a) m <= 1. (b) |y_{k+1}| <= |G(y_k,x) - G(0,x)| + |G(0,x)| <= m R_k + g, so R_k <= R_0 + k g; sum over k < t. "
        "(c) Apply it to balls around x and let the radius go to zero; the iterates are continuous at x. Under N1, mu(0) = 1/2 bounds "
        "no slope of pairs near 0."
    ),
    inequalities=(one_step, geometric_growth, linear_growth, size_growth, quadratic_growth),
    sharp=(
        "G = mu y + L0 x attains the geometric form for every t and every linear start; T7 on (0,1] attains (b) for every t, with "
        "lambda_t = eta^2 t (t-1)/2 approached at 0; F = sin log(1/x) with the relaxation eps = x grows linearly for all t: "
        "sqrt(2) <= lambda_t / t <= sqrt(2) + 1."
    ),
    constructions=("eqtheory.solvers.Picard", "eqtheory.lipschitz.growth_on_table"),
    references=("liu2026implicit",),
)
