"""T5: whatever computes a steep map has to become steep itself."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["THEOREM", "arrival", "arrival_in_the_limit"]


@inequality("|F(x) - F(x')| <= lambda_t d(x,x') + |y_t(x) - F(x)| + |y_t(x') - F(x')|")
def arrival(*, target_gap: Any, slope: Any, delta: Any, error: Any, error_other: Any) -> tuple[Any, Any]:
    """At any finite step, for any pair: what the iterate lacks in slope it has in error."""
    return target_gap, slope * delta + error + error_other


@inequality("lip(F; S) <= liminf lambda_t")
def arrival_in_the_limit(*, target_slope: Any, limit_slope: Any) -> tuple[Any, Any]:
    """The slope of the limit is at most the lower limit of the slopes."""
    return target_slope, limit_slope


THEOREM = Theorem(
    id="T5",
    slug="arrival",
    title="Complexity must arrive",
    hypotheses=(Hypothesis("y_t(x) -> F(x) for every x of S, in whatever way the y_t were computed", control="N2"),),
    conclusion=(
        "lip(F; S) <= liminf lip(y_t; S): a lower bound on what iterates must become. At a finite step, for every pair, "
        "|F(x) - F(x')| <= lambda_t d + the two errors. Nothing is said from above: lambda_t may diverge while y_t converges."
    ),
    source=Source.CLASSICAL,
    credit="Classical: a Lipschitz constant is lower semicontinuous under pointwise convergence.",
    proof=(
        "|F(x) - F(x')| <= |F(x) - y_t(x)| + |y_t(x) - y_t(x')| + |y_t(x') - F(x')| and the middle term is at most lambda_t d. Let "
        "t -> infinity along a subsequence that attains the lower limit, divide by d, take the supremum over pairs."
    ),
    inequalities=(arrival, arrival_in_the_limit),
    sharp=(
        "y_t = (1 - c_t) F, c_t -> 0, on two points with F(x') = -F(x): the finite form is an equality for every t, and lambda_t tends to "
        "lip F from below. y_t = F + sin(t^2 x)/t: converges uniformly with lambda_t of order t, so there is no upper form."
    ),
    constructions=("eqtheory.lipschitz.growth_on_table", "eqtheory.lipschitz.largest_slope"),
)
