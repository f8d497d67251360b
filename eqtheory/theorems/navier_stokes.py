"""T11: steady Navier-Stokes flow on a periodic rectangle is the fixed point of regular operators where the force is small.

Setting: the torus `[0, 2 pi / a] x [0, 2 pi]`, velocities without mean and divergence, norms that are averages over the torus,
`|u|_V = |grad u|_2`, forces measured in the dual of `V`. A Fourier-Galerkin truncation with exact products is such a setting too.
"""

from __future__ import annotations

import math
from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, contraction, inequality, simplicity

__all__ = [
    "THEOREM",
    "embedding_constant",
    "energy",
    "operator_budget",
    "oseen_factor",
    "size",
    "stability",
    "stokes_picard_factor",
    "trilinear",
]

_ZETA_3 = 1.2020569031595943
_MARGIN = 2.0**-44
"""At most 120 roundings of positive terms, each by at most 2^-52 including those of the elementary functions."""


def embedding_constant(aspect: float = 1.0) -> float:
    r"""An upper bound, tight to 1e-13, on `c = (sum over k != 0 of |k|^-4)^(1/2)` with wave vectors `k = (a m, n)`.

    The sum over `n` is elementary: with `q = e^(-2 pi b)`

        sum_n (n^2 + b^2)^-2 = pi (1 + q) / (2 b^3 (1 - q)) + 2 pi^2 q / (b^2 (1 - q)^2),

    and with `b = a m`, the part without `q` summed to `zeta(3)`, and `2 zeta(4) = pi^4 / 45` for `m = 0`,

        c^2 = pi^4 / 45 + pi zeta(3) / a^3 + sum_{m >= 1} [2 pi q / (b^3 (1 - q)) + 4 pi^2 q / (b^2 (1 - q)^2)].

    Exchanging the axes gives `c(a) = c(1/a) / a^2`, so `a >= 1` is enough and eight terms leave less than `e^(-18 pi)` of the sum.

    Args:
        aspect: `a > 0`.

    Returns:
        A float that is not below `c`.

    Raises:
        ValueError: the aspect is not positive and finite.

    Theorem: T11.

    Example:
        >>> round(embedding_constant(), 5)
        2.45496
    """
    if not (aspect > 0 and math.isfinite(aspect)):
        message = f"aspect: got {aspect}, needed a finite number > 0; pass for example aspect=1.0"
        raise ValueError(message)
    a = max(aspect, 1 / aspect)
    total = math.pi**4 / 45 + math.pi * _ZETA_3 / a**3
    for m in range(1, 9):
        b = a * m
        q = math.exp(-2 * math.pi * b)
        total += 2 * math.pi * q / (b**3 * (1 - q)) + 4 * math.pi**2 * q / (b * (1 - q)) ** 2
    return math.sqrt(total) * max(1.0, 1 / aspect**2) * (1 + _MARGIN)


def oseen_factor(c: Any, force: Any, viscosity: Any) -> Any:
    """Contraction factor of the Oseen step.

    Args:
        c: the constant of the trilinear form.
        force: `|f|` in the dual of `V`.
        viscosity: `nu`.

    Returns:
        `c |f| / nu^2`.
    """
    return c * force / viscosity**2


def stokes_picard_factor(c: Any, force: Any, viscosity: Any) -> Any:
    """Contraction factor of the Stokes-Picard step on the ball of radius `|f| / nu`.

    Args:
        c: the constant of the trilinear form.
        force: bound on `|f|` in the dual of `V`.
        viscosity: `nu`.

    Returns:
        `2 c |f| / nu^2`.
    """
    return 2 * oseen_factor(c, force, viscosity)


def operator_budget(viscosity: Any) -> Any:
    """Simplicity budget `L0` of both steps; `L1` is zero.

    Args:
        viscosity: `nu`.

    Returns:
        `1 / nu`.
    """
    return 1 / viscosity


@inequality("|<(u.grad) v, w>| <= c |u| |v| |w|")
def trilinear(*, form: Any, u: Any, v: Any, w: Any, c: Any) -> tuple[Any, Any]:
    """The nonlinearity is bounded on `V`."""
    return abs(form), c * u * v * w


@inequality("|<(u.grad) v, v>| <= 0")
def energy(*, form: Any) -> tuple[Any, Any]:
    """Advection by a divergence-free velocity neither makes nor takes energy."""
    return abs(form), 0 * form


@inequality("|u*| <= |f| / nu")
def size(*, solution: Any, force: Any, viscosity: Any) -> tuple[Any, Any]:
    """Steady flows are bounded by their force."""
    return solution, force / viscosity


@inequality("|u1 - u2| <= |f1 - f2| / (nu (1 - c F0 / nu^2)),  |f1|, |f2| <= F0")
def stability(*, gap: Any, force_gap: Any, force: Any, viscosity: Any, c: Any) -> tuple[Any, Any]:
    """Steady flows of small forces depend on them with one Lipschitz constant."""
    return gap, force_gap / (viscosity * (1 - oseen_factor(c, force, viscosity)))


THEOREM = Theorem(
    id="T11",
    slug="navier-stokes",
    title="Steady Navier-Stokes flow",
    hypotheses=(
        Hypothesis("c F0 < nu^2 (Oseen), 2 c F0 < nu^2 (Stokes-Picard), for forces with |f| <= F0", control="N12"),
        Hypothesis("products are exact: no truncation, or one in which <(u.grad) v, v> = 0", control="N13"),
    ),
    conclusion=(
        "|<(u.grad) v, w>| <= c |u| |v| |w| with c^2 = sum over k != 0 of |k|^-4 (2.45496 on the square). "
        "The Oseen step u -> v with -nu Lap v + P (u.grad) v = P f contracts on all of V with mu = c |f| / nu^2; the Stokes-Picard "
        "step u -> (-nu Lap)^-1 P (f - (r.grad) r), r the projection of u on the ball of radius F0/nu, with mu = 2 c F0 / nu^2. Both "
        "have L0 = 1/nu, L1 = 0, and the steady flow as fixed point; |u1 - u2| <= |f1 - f2| / (nu (1 - c F0 / nu^2))."
    ),
    source=Source.PAPER,
    credit=(
        "Local Lipschitz continuity: Liu, Ding, Osher, Yin (arXiv 2510.03638). Uniqueness for small forces is classical (Temam 1977); "
        "the explicit constant, the two operators and their budgets: this project."
    ),
    proof=(
        "By Cauchy-Schwarz the form is at most |v| times the product of the L4 norms of u and w. |u|_4^2 = | |u|^2 |_2 is the l2 norm of a "
        "convolution of coefficients, at most |u^|_{4/3}^2 by Young, and by Hoelder with |u^_k| = |k|^-1 (|k| |u^_k|) this is at most "
        "(sum |k|^-4)^{1/2} |u|^2. Testing an Oseen step with v gives |v| <= |f|/nu, as <(u.grad) v, v> = 0; testing the "
        "difference d of two steps, nu |d|^2 = -<((u1-u2).grad) v2, d> <= c |u1-u2| (|f|/nu) |d|; of two forces, nu |d|^2 = "
        "<f-f', d>. Stokes-Picard: (r.grad) r - (s.grad) s = ((r-s).grad) r + (s.grad)(r-s) with |r|, |s| <= F0/nu, and projections "
        "on balls of a Hilbert space do not expand. The fixed points solve the steady equation: the energy bound keeps the solution in the "
        "ball. The last bound is T2 for the Oseen step."
    ),
    inequalities=(trilinear, energy, size, contraction, simplicity, stability),
    sharp=(
        "Flows on one shell |k|^2 = K: |u*| = |f| / nu, L0 = 1/nu and the bound of T2 for parallel forces are attained. The constant c "
        "is not: the largest ratio seen is about a quarter of it."
    ),
    constructions=(
        "eqtheory.constructions.OseenStep",
        "eqtheory.constructions.StokesPicard",
        "eqtheory.constructions.GalerkinTorus",
    ),
    references=("liu2026implicit", "temam1977", "orszag1971"),
)
