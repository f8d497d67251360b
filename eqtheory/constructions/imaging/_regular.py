r"""How contractive and how simple a proximal operator is (T10).

With `p` a Lipschitz constant of the prior step and all singular values of `A` in `[s, N]`:

    PGD    y -> prior(y - gamma A^T (A y - x)):    I - gamma A^T A has the eigenvalues 1 - gamma sigma^2, so
           mu = p max(|1 - gamma s^2|, |1 - gamma N^2|),    L0 = p gamma N,    L1 = 0;
    HQS    z -> prior((A^T A + beta I)^{-1} (A^T x + beta z)):
           mu = p beta / (s^2 + beta),    L0 = p max over [s, N] of sigma / (sigma^2 + beta) <= p / (2 sqrt(beta)),    L1 = 0.

The maximum is at `sqrt(beta)`, or at the end of the interval that is nearest to it. The formulas are evaluated in float64 and
raised by their roundings, eight of quantities of size at most `1 + gamma N^2`.
"""

from __future__ import annotations

from math import sqrt

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.constructions.imaging._linear_map import LinearMap
from eqtheory.errors import InputError
from eqtheory.norms import Euclidean
from eqtheory.operators import Regularity

__all__ = ["half_quadratic_regularity", "proximal_gradient_regularity", "usable_lipschitz"]

_U = 2.0**-53


def usable_lipschitz(lipschitz: Bound | None) -> Bound | None:
    """Require a Lipschitz constant of the prior step to bound it from above, or to be labelled an estimate.

    Args:
        lipschitz: what came.

    Returns:
        `lipschitz`.

    Raises:
        InputError: a lower bound, or nothing that says what it proves.
    """
    if lipschitz is None:
        return None
    if not isinstance(lipschitz, Bound):
        needed = "a Bound that says what it proves"
        raise InputError("lipschitz", repr(lipschitz), needed, "pass Bound(1.0, Side.UPPER, 'why', Evidence.DECLARED)")
    if lipschitz.side is Side.LOWER:
        needed = "an upper bound or an estimate"
        raise InputError("lipschitz", lipschitz.side.value, needed, "a lower bound cannot certify an error")
    return lipschitz


def proximal_gradient_regularity(linear_map: LinearMap, prior: Bound, gamma: float) -> Regularity | None:
    """Constants of a proximal gradient step.

    Args:
        linear_map: the forward map.
        prior: Lipschitz constant of the prior step.
        gamma: step size.

    Returns:
        The constants, `None` where the step does not contract.
    """
    s, N, p = float(linear_map.smallest.value), float(linear_map.norm.value), float(prior.value)
    raised = 8 * _U * (1 + gamma * N * N)
    mu = p * (max(abs(1 - gamma * s * s), abs(1 - gamma * N * N)) + raised) * (1 + 4 * _U)
    return _regularity(linear_map, prior, mu, p * gamma * N * (1 + 8 * _U))


def half_quadratic_regularity(linear_map: LinearMap, prior: Bound, beta: float) -> Regularity | None:
    """Constants of a half-quadratic splitting step.

    Args:
        linear_map: the forward map.
        prior: Lipschitz constant of the prior step.
        beta: coupling.

    Returns:
        The constants, `None` where the step does not contract.
    """
    s, N, p = float(linear_map.smallest.value), float(linear_map.norm.value), float(prior.value)
    steepest = min(max(sqrt(beta), s), N)
    slope = 1 / (steepest + beta / steepest) if steepest > 0 else 0.0  # r/(r^2 + beta), without a square that overflows
    return _regularity(linear_map, prior, p * (beta / (s * s + beta)) * (1 + 8 * _U), p * slope * (1 + 8 * _U))


def _regularity(linear_map: LinearMap, prior: Bound, mu: float, L0: float) -> Regularity | None:
    if not mu < 1:
        return None
    order = [Evidence.PROVED, Evidence.DECLARED, Evidence.ESTIMATED]
    evidence = max((b.evidence for b in (linear_map.norm, linear_map.smallest, prior)), key=order.index)
    side = Side.ESTIMATE if evidence is Evidence.ESTIMATED else Side.UPPER
    norm = Euclidean()
    return Regularity(
        Bound(mu, side, "T10", evidence, norm.name),
        Bound(L0, side, "T10", evidence, norm.name),
        Bound(0.0, Side.EXACT, "T10", Evidence.PROVED, norm.name),
        norm,
        norm,
    )
