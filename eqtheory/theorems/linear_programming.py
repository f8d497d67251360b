"""T12: linear programming. Solutions are smooth where they are not degenerate, and fixed points of regular and of averaged operators.

The program is `min c . y, A y (<= or =) b, l <= y <= u`; its data `(A, b, c, l, u)` are the input, and distances of data are the
largest of the five Euclidean distances. Multipliers `p` are not negative on inequalities, `Pi` is the projection on these, and

    y(p) = clip(-(c + A^T p)/lam, l, u),        G(p, x) = Pi[(1 - tau delta) p + tau (A y(p) - b)].
"""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality
from eqtheory.theorems.closure import max_of

__all__ = [
    "THEOREM",
    "averaged_step",
    "basis_change",
    "basis_stability",
    "dual_contraction",
    "dual_simplicity",
    "exact_regularisation",
    "regularisation_error",
]


@inequality("|A'_B (y' - y)_B - (b' - b - (A' - A) y)| <= 0  (two programs with one optimal basis, bounds unchanged)")
def basis_change(*, residual: Any) -> tuple[Any, Any]:
    """While the basis stays optimal the solution moves exactly as one linear system says."""
    return residual, 0


@inequality("|y' - y| <= |(A'_B)^-1| (|b' - b| + |A' - A| |y|)")
def basis_stability(*, gap: Any, inverse_norm: Any, right_moved: Any, matrix_moved: Any, size: Any) -> tuple[Any, Any]:
    """The solution is Lipschitz while the basis stays optimal, whatever the costs do."""
    return gap, inverse_norm * (right_moved + matrix_moved * size)


@inequality("|G(p,x) - G(p',x)| <= max(|1 - tau delta|, |1 - tau (|A|^2/lam + delta)|) |p - p'|")
def dual_contraction(*, gap_after: Any, gap_before: Any, tau: Any, lam: Any, delta: Any, norm: Any) -> tuple[Any, Any]:
    """(R1) of the doubly regularised dual step."""
    return gap_after, max_of(abs(1 - tau * delta), abs(1 - tau * (norm**2 / lam + delta))) * gap_before


@inequality("|G(p,x) - G(p,x')| <= tau (1 + D + a s + (a/lam) |p|) d(x,x'),  s = sqrt(2 + 1/lam^2) <= 2 + 1/lam")
def dual_simplicity(
    *, gap: Any, moved: Any, multiplier_norm: Any, tau: Any, lam: Any, size: Any, radius: Any, spread: Any
) -> tuple[Any, Any]:
    """(R2) of the doubly regularised dual step on data with `|A| <= a` and `|max(|l|, |u|)| <= D`."""
    return gap, tau * (1 + radius + size * spread + size / lam * multiplier_norm) * moved


@inequality("4 lam |y_delta - y_0|^2 <= delta |p_0|^2")
def regularisation_error(*, gap_squared: Any, lam: Any, delta: Any, multiplier_squared: Any) -> tuple[Any, Any]:
    """What the second regularisation moves, squared so that it stays rational."""
    return 4 * lam * gap_squared, delta * multiplier_squared


@inequality("lam <y, y - v> <= <c, v - y>  (y the solution of least norm, v any feasible point, lam <= lam_bar)")
def exact_regularisation(*, lam: Any, norm_gain: Any, cost_gain: Any) -> tuple[Any, Any]:
    """The weight `lam` leaves the least-norm solution where it is iff this holds at every feasible `v`."""
    return lam * norm_gain, cost_gain


@inequality("|T z - T z'|_P^2 + |(z - T z) - (z' - T z')|_P^2 <= |z - z'|_P^2  (T the primal-dual step)")
def averaged_step(*, image_squared: Any, residual_squared: Any, gap_squared: Any) -> tuple[Any, Any]:
    """The primal-dual hybrid gradient step averages in the norm of `P`, squared so that it stays rational; it need not contract."""
    return image_squared + residual_squared, gap_squared


THEOREM = Theorem(
    id="T12",
    slug="linear-programming",
    title="Linear programming",
    hypotheses=(
        Hypothesis("a primal and dual non-degenerate optimal basis: all its strict inequalities hold", control="N6"),
        Hypothesis("|A| <= a and |max(|l|, |u|)| <= D on the data, lam > 0, 0 < tau < 2/(a^2/lam + delta)"),
        Hypothesis("delta > 0", control="N2"),
        Hypothesis("primal-dual step: tau sigma |A|^2 < 1"),
    ),
    conclusion=(
        "At a primal and dual non-degenerate basis B the solution is unique and, nearby, the explicit smooth function of the data that "
        "solves A_B y_B = b - A_N y_N with y_N at its bounds; costs do not move it. The doubly regularised dual step G is regular with "
        "mu = max(|1 - tau delta|, |1 - tau (|A|^2/lam + delta)|), L0 = tau (1 + D + a sqrt(2 + 1/lam^2)) <= tau (1 + D + a/lam + 2 a) "
        "and L1 = tau a/lam. For delta = 0 and lam <= lam_bar(data) the decoded state is the solution of least norm of the program "
        "itself; lam_bar is not uniform (min eps y1, y1 + y2 = 1, y >= 0 has lam_bar = eps). For delta > 0 it is within sqrt(delta/lam) "
        "|p_0|/2 of that. The primal-dual hybrid gradient step is averaged in the norm of P = [[I/tau, -A^T], [-A, I/sigma]] and has "
        "the pairs of primal and dual solutions as its fixed points."
    ),
    source=Source.PAPER,
    credit=(
        "Liu, Ding, Osher, Yin (arXiv 2510.03638): the solution map, of least norm where there are several solutions, is locally "
        "Lipschitz on a dense subset. Exact regularisation: Mangasarian, Meyer 1979; Friedlander, Tseng 2007. The primal-dual step: "
        "Chambolle, Pock 2011. Constants of the regular operator and the bound of the second regularisation: this project."
    ),
    proof=(
        "Basis: the strict inequalities are continuous in the data, so B stays optimal, and positive prices leave one solution. A'_B "
        "y'_B = b' and A_B y_B = b (bounds moved into b) subtract to A'_B (y' - y) = b' - b - (A' - A) y. (R1): y(p) has the Jacobian "
        "-D A^T/lam, 0 <= D <= I, so the map under Pi has eigenvalues between 1 - tau (|A|^2/lam + delta) and 1 - tau delta. (R2): A y "
        "- A' y' = (A - A') y + A' (y - y'), |y| <= D; clip moves coordinate by coordinate at most as the largest of its arguments, so "
        "|y - y'|^2 <= (d (1 + |p|)/lam)^2 + 2 d^2, and sqrt(2 + (s + t)^2) <= sqrt(2 + s^2) + t. Second regularisation: <A (y_0 - "
        "y_delta), p_0 - p_delta> <= -lam |y_0 - y_delta|^2, as clip is firmly nonexpansive; the two variational inequalities of p_0 "
        "and p_delta add up to <A (y_0 - y_delta), p_delta - p_0> <= delta <p_delta, p_0 - p_delta> <= delta |p_0|^2/4. Exact "
        "regularisation: y minimises c . y + lam |y|^2/2 iff <c + lam y, v - y> >= 0 for all feasible v; on a polytope it is enough to "
        "ask the vertices, of which those with <y, y - v> > 0 have <c, v - y> > 0, as y is the nearest point to 0 of the optimal face. "
        "Averaging: P (z - z+) lies in M z+ for the monotone operator M of the saddle point, so <P ((z - z') - (z+ - z'+)), z+ - z'+> "
        ">= 0."
    ),
    inequalities=(
        basis_change,
        basis_stability,
        dual_contraction,
        dual_simplicity,
        regularisation_error,
        exact_regularisation,
        averaged_step,
    ),
    sharp=(
        "A row A = a w: clipped, G contracts by 1 - tau delta, free, along it by |1 - tau (a^2/lam + delta)|. L0: w = (1/lam, 1, 1)/s, "
        "one variable free, one at each bound, y = -D w, all five parts moved against each other; L1 for large p. lam delta = 1 with A "
        "= 1 and no bounds: the error is half of |p_0| sqrt(delta/lam). Equations without bounds: the primal-dual step is linear, M "
        "skew, and averaging an equality. min eps y1: lam_bar = eps."
    ),
    constructions=(
        "eqtheory.constructions.LinearProgram",
        "eqtheory.constructions.RegularisedDual",
        "eqtheory.constructions.PrimalDual",
        "eqtheory.constructions.optimal_basis",
        "eqtheory.constructions.solve_linear_program",
    ),
    references=("liu2026implicit", "mangasarian1979", "friedlander2007", "chambolle2011"),
)
