"""For which Jacobian and which loss does the Jacobian-free direction do worst (T9a)?

The direction is `d = M^T v`, the exact gradient `g = M^T w` with `v = w - J^T w`. Let `u1`, `un` be the unit left singular vectors of
`M` for its largest and smallest singular values `s1`, `sn`, so that `P = M M^T` has the eigenvalues `s1^2`, `sn^2` there.

Least component along the gradient: `<g,d> = <w,Pw> - <Pw, J^T w>` is smallest when `J^T w` points along `Pw` with length `gamma |w|`, and
`<w,Pw> / (|w| |Pw|)` is smallest (Kantorovich) at `w = sn u1 + s1 un`, where `Pw` is a multiple of `s1 u1 + sn un`, of the same length:

    J^T = gamma (s1 u1 + sn un)(sn u1 + s1 un)^T / (s1^2 + sn^2).

Least cosine: `w` and `v` differ by the angle `phi = arcsin(gamma)` at most, and the angle of `g` and `d` is largest when they lie
symmetrically about `un`: with `t = tan(phi/2)`, `w = un - t u1`, `v = cos(phi) (un + t u1)` and `J^T = (w - v) w^T / |w|^2`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.errors import ShapeError
from eqtheory.theorems.jacobian_free import half_tangent
from eqtheory.validate import batch_of, inside, open_unit

__all__ = ["WorstInstance", "least_cosine", "least_descent"]


@dataclass(frozen=True)
class WorstInstance:
    """A Jacobian and a loss gradient.

    Args:
        jacobian: `J`, of rank one and spectral norm `gamma`, shape `(batch, n, n)`.
        cotangent: the loss gradient `v`, shape `(batch, n)`.
        adjoint: the solution `w` of `w = v + J^T w`, shape `(batch, n)`.
    """

    jacobian: Tensor
    cotangent: Tensor
    adjoint: Tensor


def _extremes(M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`u1`, `un`, both shape `(batch, n)`, and `sn / s1`, shape `(batch, 1)`."""
    batch_of("M", M)
    if M.ndim != 3 or M.shape[1] > M.shape[2]:
        raise ShapeError(
            "M", f"shape {tuple(M.shape)}", "(batch, n, p) with n <= p", "full row rank needs a parameter for every row"
        )
    U, s, _ = torch.linalg.svd(M, full_matrices=False)
    # Backward error of the singular values; the smaller one is not zero only beyond it.
    slack = 4 * M.shape[2] * torch.finfo(M.dtype).eps * s[:, 0]
    inside("singular values of M", s, s[:, -1] > slack, "full row rank", "the smallest is zero to rounding")
    return U[:, :, 0], U[:, :, -1], (s[:, -1] / s[:, 0]).unsqueeze(1)


def _rank_one(to: Tensor, of: Tensor) -> Tensor:
    """The Jacobian whose transpose maps `of` to `to` and everything orthogonal to `of` to zero."""
    return of.unsqueeze(2) * (to / of.square().sum(dim=1, keepdim=True)).unsqueeze(1)


def least_descent(M: Tensor, gamma: float) -> WorstInstance:
    """The instance at which the Jacobian-free direction has the smallest component along the gradient.

    `<g,d> = (1 - gamma (1 + kappa) / (2 sqrt(kappa))) |g|^2`: beyond the threshold of T9a it ascends.

    Args:
        M: derivatives in the parameters, shape `(batch, n, p)`, of full row rank.
        gamma: spectral norm of the Jacobian, in `(0, 1)`.

    Returns:
        The instance. Cost: one singular value decomposition.

    Raises:
        ShapeError: not a batch of matrices with at least as many columns as rows.
        DomainError: a matrix of deficient row rank.
        InputError: `gamma` outside.

    Theorem: T9a.

    Example:
        >>> M = torch.diag(torch.tensor([2.0, 1.0])).unsqueeze(0)  # kappa = 4, threshold 0.8
        >>> worst = least_descent(M, 0.9)
        >>> g, d = (torch.einsum("bnp,bn->bp", M, q) for q in (worst.adjoint, worst.cotangent))
        >>> bool((g * d).sum() < 0)
        True
    """
    u1, un, ratio = _extremes(M)
    open_unit("gamma", gamma)
    w, image = ratio * u1 + un, u1 + ratio * un
    return WorstInstance(_rank_one(gamma * image, w), w - gamma * image, w)


def least_cosine(M: Tensor, gamma: float) -> WorstInstance:
    """The instance at which the angle between the Jacobian-free direction and the gradient is largest.

    Its cosine is `(1 - kappa t^2) / (1 + kappa t^2)` with `t = tan(arcsin(gamma) / 2)`; for a state of dimension one the two are parallel.

    Args:
        M: derivatives in the parameters, shape `(batch, n, p)`, of full row rank.
        gamma: spectral norm of the Jacobian, in `(0, 1)`.

    Returns:
        The instance. Cost: one singular value decomposition.

    Raises:
        ShapeError: not a batch of matrices with at least as many columns as rows.
        DomainError: a matrix of deficient row rank.
        InputError: `gamma` outside.

    Theorem: T9a.
    """
    u1, un, _ = _extremes(M)
    t = half_tangent(open_unit("gamma", gamma))
    w, v = un - t * u1, (1 - t * t) / (1 + t * t) * (un + t * u1)
    return WorstInstance(_rank_one(w - v, w), v, w)
