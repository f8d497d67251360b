"""T4b: averages of iterates and images grow no faster than Picard; signed weights gain at most a power of the steps."""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["THEOREM", "averaged_growth", "averaged_step", "signed_growth"]


@inequality("lambda_{t+1} <= sum_j a_tj lambda_j + sum_j b_tj (m lambda_j + L0 + L1 R_j)")
def averaged_step(
    *, slope_after: Any, kept: Any, moved: Any, weight: Any, weighted_size: Any, mu: Any, L0: Any, L1: Any
) -> tuple[Any, Any]:
    """One step: `kept` and `moved` are `sum_j a_tj lambda_j` and `sum_j b_tj lambda_j`, the others `sum_j b_tj` and `sum_j b_tj R_j`."""
    return slope_after, kept + mu * moved + L0 * weight + L1 * weighted_size


@inequality("lambda_t <= lambda_0 + (L0 + L1 R) sum_{k<t} sum_j b_kj")
def averaged_growth(*, slope: Any, start_slope: Any, total_weight: Any, size: Any, L0: Any, L1: Any) -> tuple[Any, Any]:
    """Each step buys at most the weight of its images in budgets of slope."""
    return slope, start_slope + (L0 + L1 * size) * total_weight


@inequality("lambda_t <= M t^2 L0  (G = A y + b(x), A = A^T, |A| <= 1, |r_t| <= M on [-1,1], constant start)")
def signed_growth(*, slope: Any, steps: Any, L0: Any, amplification: Any) -> tuple[Any, Any]:
    """Signed weights: `r_t` is the polynomial with `y_t - y* = r_t(A) (y_0 - y*)`; `amplification` is its maximum `M`."""
    return slope, amplification * steps**2 * L0


THEOREM = Theorem(
    id="T4b",
    slug="averaged-growth",
    title="Growth of expressivity for averaged solvers",
    hypotheses=(
        Hypothesis(
            "y_{t+1} = sum_j a_tj y_j + sum_j b_tj G(y_j, .), with weights that do not depend on x", control="N8"
        ),
        Hypothesis("the weights are not negative and sum to 1 (signed weights: the second conclusion)"),
        Hypothesis("(R1) with sup mu <= 1 over S, (R2), and |y_k| <= R for k < t unless L1 = 0"),
    ),
    conclusion=(
        "lambda_t <= lambda_0 + (L0 + L1 R) sum_{k<t} sum_j b_kj: relaxed and anchored iterations are never steeper than Picard's. "
        "Signed weights on G = A y + b(x), with A symmetric, |A| <= 1 and L1 = 0, from a constant start, gain at most t^2 L0 times "
        "the maximum of |r_t| on [-1,1], where r_t is the polynomial of the error; without a bound on r_t there is none "
        "(y_1 = (1-w) y_0 + w G(y_0) has slope w L0)."
    ),
    source=Source.HERE,
    credit="This project; the signed case rests on the inequality of A. A. Markov (1889).",
    proof=(
        "The split of T4 gives lip G(y_j, .) <= m lambda_j + L0 + L1 R_j; average. With Lambda_t the largest of lambda_0..lambda_t, "
        "weights that sum to 1 and m <= 1 give Lambda_{t+1} <= Lambda_t + (L0 + L1 R) sum_j b_tj. Signed: y_t = q(A) b(x) + c with "
        "q(z) = (1 - r_t(z))/(1 - z), c constant, since r_t(1) = 1; q(z) is the mean of r_t' over [z,1], and by Markov "
        "|r_t'| <= t^2 max |r_t|. So |q(A)| <= t^2 max |r_t| in the Euclidean norm."
    ),
    inequalities=(averaged_step, averaged_growth, signed_growth),
    sharp=(
        "G = y + L0 x (mu = 1) attains the total for Krasnoselskii and Mann's weights, G = mu y + L0 x the step for all non-negative "
        "weights, Halpern's included; y_{t+1} = 2 G(y_t) - y_{t-1} (Chebyshev, r_t = T_t) has slope t^2 L0 at mu = 1."
    ),
    constructions=("eqtheory.solvers.KrasnoselskiiMann", "eqtheory.solvers.Halpern"),
    references=("markov1889",),
)
