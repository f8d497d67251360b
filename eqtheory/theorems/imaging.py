"""T10: restoring images. A linear observation and a set of plausible images, as the fixed point of two regular operators.

`A` is linear between Euclidean spaces with all singular values, over the whole state space, in `[s, N]`; `M` is a closed set with
projection `P`, and `prox_c(z) = (z + c P z) / (1 + c)`. What is to be computed is

    F_alpha(x) = argmin over y of |x - A y|^2 / 2 + alpha dist^2(y, M) / 2.
"""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality
from eqtheory.theorems.closure import max_of

__all__ = [
    "THEOREM",
    "data_stability",
    "half_quadratic_budget",
    "half_quadratic_contraction",
    "half_quadratic_simplicity",
    "proximal_gradient_contraction",
    "proximal_gradient_simplicity",
    "proximal_step",
    "stability",
    "stationarity",
]


@inequality("c/(1+c) dist^2(z, M) <= |y - z|^2 + c dist^2(y, M)  (equality at y = prox_c(z))")
def proximal_step(*, c: Any, distance_squared: Any, moved_squared: Any, left_squared: Any) -> tuple[Any, Any]:
    """The proximal step is a minimiser, for every closed set."""
    return c / (1 + c) * distance_squared, moved_squared + c * left_squared


@inequality("|G(y,x) - G(y',x)| <= max(|1 - gamma s^2|, |1 - gamma N^2|) |y - y'|  (proximal gradient)")
def proximal_gradient_contraction(
    *, gap_after: Any, gap_before: Any, gamma: Any, smallest: Any, norm: Any
) -> tuple[Any, Any]:
    """(R1) of `prox(y - gamma A^T (A y - x))`."""
    return gap_after, max_of(abs(1 - gamma * smallest**2), abs(1 - gamma * norm**2)) * gap_before


@inequality("|G(y,x) - G(y,x')| <= gamma N |x - x'|  (proximal gradient)")
def proximal_gradient_simplicity(*, gap: Any, delta: Any, gamma: Any, norm: Any) -> tuple[Any, Any]:
    """(R2) of `prox(y - gamma A^T (A y - x))`, with `L1 = 0`."""
    return gap, gamma * norm * delta


@inequality("|G(z,x) - G(z',x)| <= beta/(s^2 + beta) |z - z'|  (half-quadratic splitting)")
def half_quadratic_contraction(*, gap_after: Any, gap_before: Any, beta: Any, smallest: Any) -> tuple[Any, Any]:
    """(R1) of `prox((A^T A + beta I)^-1 (A^T x + beta z))`."""
    return gap_after, beta / (smallest**2 + beta) * gap_before


@inequality(
    "|G(z,x) - G(z,x')| <= r/(r^2 + beta) |x - x'|  (half-quadratic splitting, r in [s, N] nearest to sqrt(beta))"
)
def half_quadratic_simplicity(*, gap: Any, delta: Any, beta: Any, steepest: Any) -> tuple[Any, Any]:
    """(R2) of `prox((A^T A + beta I)^-1 (A^T x + beta z))`, with `L1 = 0`."""
    return gap, steepest / (steepest**2 + beta) * delta


@inequality("4 beta |G(z,x) - G(z,x')|^2 <= |x - x'|^2  (half-quadratic splitting, whatever A is)")
def half_quadratic_budget(*, gap: Any, delta: Any, beta: Any) -> tuple[Any, Any]:
    """(R2) with `L0 = 1 / (2 sqrt(beta))`, squared so that it stays rational."""
    return 4 * beta * gap**2, delta**2


@inequality("|A^T (A y - x) + alpha (y - P y)| <= 0  (y the fixed point, or the image it is decoded to)")
def stationarity(*, residual: Any) -> tuple[Any, Any]:
    """Fixed points are stationary points of `|x - A y|^2 / 2 + alpha dist^2(y, M) / 2`."""
    return residual, 0


@inequality("|A F(x) - A F(x')| <= |x - x'|")
def data_stability(*, image_gap: Any, delta: Any) -> tuple[Any, Any]:
    """What the restored images look like through `A` moves no more than the observations; also where `A` has a null space."""
    return image_gap, delta


@inequality("s |F(x) - F(x')| <= |x - x'|")
def stability(*, gap: Any, delta: Any, smallest: Any) -> tuple[Any, Any]:
    """The restored image is Lipschitz with the constant `1/s`, whatever `alpha` and `M` are."""
    return smallest * gap, delta


THEOREM = Theorem(
    id="T10",
    slug="imaging",
    title="Restoring images",
    hypotheses=(
        Hypothesis("A is linear with singular values in [s, N] over the whole state space, s > 0", control="N10"),
        Hypothesis("M is closed and convex, alpha > 0", control="N11"),
        Hypothesis(
            "proximal gradient: 0 < gamma < 2/N^2, and the prior step is prox_c with c = gamma alpha", control="N2"
        ),
        Hypothesis(
            "half-quadratic splitting: beta > alpha, and c = alpha/(beta - alpha), that is alpha~ = alpha beta/(beta - alpha)"
        ),
    ),
    conclusion=(
        "For any closed M, prox_c(z) = (z + c P z)/(1 + c) minimises |y - z|^2/2 + c dist^2(y, M)/2. For convex M: proximal gradient "
        "descent G(y,x) = prox_{gamma alpha}(y - gamma A^T (A y - x)) is regular with mu = max(|1 - gamma s^2|, |1 - gamma N^2|), "
        "L0 = gamma N, L1 = 0 and the fixed point F_alpha(x). Half-quadratic splitting on z, "
        "G(z,x) = prox_{alpha~/beta}(y(z,x)) with the decoder y(z,x) = (A^T A + beta I)^-1 (A^T x + beta z), is regular with "
        "mu = beta/(s^2 + beta), L0 = max over [s, N] of r/(r^2 + beta) <= 1/(2 sqrt(beta)), L1 = 0, and its fixed point decodes to "
        "F_alpha(x) exactly. |A F(x) - A F(x')| <= |x - x'| and so F_alpha is Lipschitz with the constant 1/s. Any other prior step with "
        "Lipschitz constant p multiplies both mu and both L0 by p."
    ),
    source=Source.PAPER,
    credit=(
        "Liu, Ding, Osher, Yin (arXiv 2510.03638): F_alpha is locally Lipschitz under mild assumptions, and both operators. "
        "Forward-backward splitting: Combettes, Wajs 2005; half-quadratic splitting: Geman, Yang 1995. Constants, the exact coupling "
        "and the Lipschitz constant of F_alpha: this project."
    ),
    proof=(
        "|y-z|^2 + c|y-p|^2 = (1+c)|y - (z+cp)/(1+c)|^2 + c/(1+c)|z-p|^2 for every p in M; minimise over y and p. For convex M, P and "
        "hence prox_c are nonexpansive, so G contracts as the affine map under it: I - gamma A^T A has the eigenvalues 1 - gamma "
        "sigma^2, beta (A^T A + beta I)^-1 has beta/(sigma^2 + beta); in x the maps gamma A^T and (A^T A + beta I)^-1 A^T have the "
        "singular values gamma sigma and sigma/(sigma^2 + beta) <= 1/(2 sqrt(beta)). Let q(y) = y - Py, the gradient of dist^2(y, M)/2. "
        "u = prox_c(v) means (1+c) u = v + c P v; Pu = Pv, as u lies between v and Pv, so v - u = c q(u) and u - v = -c/(1+c) q(v). "
        "Proximal gradient: -gamma A^T (A y - x) = gamma alpha q(y). Splitting: A^T (A y - x) = beta (z - y) = -beta c/(1+c) q(y), and "
        "beta c/(1+c) = alpha. The objective is strongly convex, so its stationary point is F_alpha(x). Stationarity at x, x' "
        "subtracted and multiplied by d = F(x) - F(x'): |A d|^2 + alpha <q(F) - q(F'), d> = <x - x', A d>, where q is monotone; hence "
        "|A d| <= |x - x'|."
    ),
    inequalities=(
        proximal_step,
        proximal_gradient_contraction,
        proximal_gradient_simplicity,
        half_quadratic_contraction,
        half_quadratic_simplicity,
        half_quadratic_budget,
        stationarity,
        data_stability,
        stability,
    ),
    sharp=(
        "M a subspace that contains the singular vector in question: on M the proximal step is the identity, so pairs along it attain "
        "mu, and observations along its image attain L0 = gamma N, r/(r^2 + beta), at r = sqrt(beta) also 1/(2 sqrt(beta)), and 1/s."
    ),
    constructions=(
        "eqtheory.constructions.ProximalGradient",
        "eqtheory.constructions.HalfQuadraticSplitting",
        "eqtheory.constructions.pgd",
        "eqtheory.constructions.hqs",
        "eqtheory.constructions.CircularBlur",
    ),
    references=("liu2026implicit", "combettes2005", "geman1995"),
)
