"""T9a: when the gradient that drops the inverse altogether still descends, exactly.

With `J = d_yG`, `M = d_ThetaG` and the loss gradient `v`, the exact gradient in the parameters is `g = M^T w`, `w = (I - J^T)^-1 v`;
the Jacobian-free direction is `d = M^T v`. All norms are Euclidean, `P = M M^T`, `kappa` its condition number.

The threshold is `gamma = 2 sqrt(kappa) / (1 + kappa)`. With `t = tan(phi / 2) = gamma / (1 + sqrt(1 - gamma^2))`, where
`sin(phi) = gamma` is the largest angle between `w` and `v`, it reads `kappa t^2 = 1`; for rational `t`, `gamma` is rational too.
"""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality

__all__ = ["THEOREM", "alignment", "below_threshold", "deviation", "half_tangent", "threshold"]


def threshold(kappa: Any) -> Any:
    """Largest `|d_yG|` below which the Jacobian-free direction descends, whatever the loss.

    Args:
        kappa: condition number of `M M^T`, at least 1: a float or a tensor.

    Returns:
        `2 sqrt(kappa) / (1 + kappa)`, in `(0, 1]`.

    Theorem: T9a.

    Example:
        >>> threshold(4.0)
        0.8
    """
    return 2 * kappa**0.5 / (1 + kappa)


def half_tangent(gamma: Any) -> Any:
    """Tangent of half the largest angle between `w` and `v = (I - J^T) w` for `|J| <= gamma`.

    Args:
        gamma: bound on `|d_yG|`, in `[0, 1)`: a float or a tensor.

    Returns:
        `gamma / (1 + sqrt(1 - gamma^2))`, in `[0, 1)`.

    Theorem: T9a.
    """
    return gamma / (1 + (1 - gamma * gamma) ** 0.5)


@inequality("(1 + kappa)^2 gamma^2 < 4 kappa")
def below_threshold(*, gamma: Any, kappa: Any) -> tuple[Any, Any]:
    """The condition itself, without roots: strict exactly where every loss and every such Jacobian gives descent."""
    return (1 + kappa) ** 2 * gamma**2, 4 * kappa


@inequality("4 kappa (1 - <g,d>/|g|^2)^2 <= (1 + kappa)^2 gamma^2")
def deviation(*, shortfall: Any, gamma: Any, kappa: Any) -> tuple[Any, Any]:
    """Along the gradient: `<g,d> >= (1 - gamma (1 + kappa) / (2 sqrt(kappa))) |g|^2`, squared; `shortfall` is `1 - <g,d>/|g|^2`."""
    return 4 * kappa * shortfall**2, (1 + kappa) ** 2 * gamma**2


@inequality("1 - cos(g,d) <= 2 kappa t^2 / (1 + kappa t^2)  (t = tan(arcsin(gamma) / 2))")
def alignment(*, gap: Any, kappa: Any, half_tangent: Any) -> tuple[Any, Any]:
    """Angle between the two directions; `gap` is one minus its cosine. The same as `cos >= (1 - kappa t^2)/(1 + kappa t^2)`."""
    return gap, 2 * kappa * half_tangent**2 / (1 + kappa * half_tangent**2)


THEOREM = Theorem(
    id="T9a",
    slug="jacobian-free",
    title="Jacobian-free gradients descend below an exact threshold",
    hypotheses=(
        Hypothesis("the setting of T9 with |d_yG| <= gamma < 1 in the Euclidean norm, and a loss gradient v != 0"),
        Hypothesis(
            "M = d_ThetaG has full row rank (full column rank is not enough); kappa = cond(M M^T)", control="N7"
        ),
    ),
    conclusion=(
        "<g,d> > 0 for every loss gradient and every d_yG of norm at most gamma if and only if gamma < 2 sqrt(kappa)/(1 + kappa). "
        "Quantitatively <g,d> >= (1 - gamma (1 + kappa)/(2 sqrt(kappa))) |g|^2, and the cosine between g and d is at least "
        "(1 - kappa t^2)/(1 + kappa t^2) with t = tan(arcsin(gamma)/2); both are attained for every gamma and kappa, the second "
        "where the state has more than one dimension."
    ),
    source=Source.HERE,
    credit=(
        "Jacobian-free backpropagation and a sufficient condition, cond <= 1/gamma: Wu Fung et al. 2022. The exact threshold and the two "
        "bounds: this project, from the inequalities of Kantorovich 1948 and of Wielandt in the form of Bauer and Householder 1960."
    ),
    proof=(
        "v = w - J^T w, so <g,d> = <w,Pv> = <w,Pw> - <Pw,J^T w>, and the last term is at most gamma |w| |Pw|, with equality "
        "for J^T = gamma Pw w^T/(|w| |Pw|). Kantorovich: (l_max - P)(P - l_min) is positive semidefinite, l being the extreme "
        "eigenvalues of P, so (l_max + l_min) <w,Pw> >= |Pw|^2 + l_max l_min |w|^2 >= 2 sqrt(l_max l_min) |w| |Pw|, with equality for "
        "w = sqrt(l_min) u_max + sqrt(l_max) u_min, u the unit eigenvectors; and |g|^2 = <w,Pw> > 0. "
        "Cosine: |w - v| <= gamma |w|, so the angle phi of w and v has sin(phi) <= gamma. In the plane of w and v, P has eigenvalues "
        "a >= b with k = a/b <= kappa; for unit w and v at angles r and s to the first "
        "eigenvector, <w,Pv> = (a + b)/2 cos(phi) + (a - b)/2 cos(r + s) and "
        "|M^T w| |M^T v| sin(Phi) = sqrt(ab) sin(phi), Phi being the angle of g and d. At cos(r + s) = -1 this gives "
        "cot(Phi) >= (1 - k t^2)/(2 sqrt(k) t) = cot(2 arctan(sqrt(k) t)), t = tan(phi/2): tan(Phi/2) <= sqrt(kappa) t, attained by "
        "w = u_min - t u_max, v = cos(phi) (u_min + t u_max)."
    ),
    inequalities=(below_threshold, deviation, alignment),
    sharp=(
        "M = diag(p, q), kappa = (p/q)^2: w = (q, p), J^T = gamma (p, q)(q, p)^T/(p^2 + q^2) attains the first bound, and <g,d> changes "
        "its sign exactly at gamma = 2pq/(p^2 + q^2); w = (-t, 1), v = (1 - t^2)/(1 + t^2) (t, 1), J^T = (w - v) w^T/|w|^2 attains "
        "the second."
    ),
    constructions=(
        "eqtheory.gradients.OneStep",
        "eqtheory.constructions.least_descent",
        "eqtheory.constructions.least_cosine",
    ),
    references=("wufung2022jfb", "kantorovich1948", "bauer1960"),
)
