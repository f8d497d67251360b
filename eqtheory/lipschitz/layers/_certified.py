r"""Largest eigenvalues and singular values of dense matrices, from above by a Cholesky test and from below by one vector.

**Eigenvalues.** For symmetric `H` and a guess `s` let Cholesky's factorisation of `M = fl(s I - H)` run to completion. Then
`R^T R = M + E` with `|E|_2 <= gamma_{n+1} / (1 - gamma_{n+1}) tr M` (Demmel 1989; Higham 2002, theorem 10.5), only the
diagonal of `M` was rounded, and so

    lambda_max(H) <= s + gamma_{n+1} / (1 - gamma_{n+1}) tr M + u max diag M.

The guess may come from anywhere; here a full decomposition of small matrices and Lanczos' iteration for large ones, and a
guess that is too small is raised until the factorisation exists. The largest sum of a row of `|H|` needs no guess and caps the
result.

**Singular values.** `|A|_2^2 = lambda_max(A^T A)`, and the rounded product is off by at most `gamma_m |A|_F^2`.

References:
    Higham 2002, Accuracy and Stability of Numerical Algorithms, chapter 10; Rump 2006, Verification of positive definiteness,
    BIT 46.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.errors import InputError
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound, operator_norm
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.roundoff import gamma, unit_roundoff

__all__ = ["bracket", "dense_norm", "dual", "known_norm", "largest_block", "largest_eigenvalue", "leading"]

_WHOLE = 512  # up to this many rows a full decomposition is as fast as an iteration
_LANCZOS = 120
_RAISES = 60
_CHUNK = 64
U = unit_roundoff(torch.float64)


def bracket(
    sides: tuple[float, float], norm: Norm, method: str, evidence: Evidence = Evidence.PROVED, *assumptions: str
) -> Bracket:
    """Label two sides; they may cross by a rounding of the last place.

    Args:
        sides: from below and from above.
        norm: the norm they refer to.
        method: how the upper side was obtained.
        evidence: of both sides.
        assumptions: what they rest on.

    Returns:
        The bracket.
    """
    lower, upper = sides
    return Bracket(
        Bound(max(min(lower, upper), 0.0), Side.LOWER, "image of one vector", evidence, norm.name, assumptions),
        Bound(upper, Side.UPPER, method, evidence, norm.name, assumptions),
    )


def known_norm(norm: Norm | None) -> Norm:
    """Require one of the three norms in which structured maps are measured.

    Args:
        norm: what came; `None` for Euclidean.

    Returns:
        The norm.

    Raises:
        InputError: any other norm.
    """
    chosen = Euclidean() if norm is None else norm
    if not isinstance(chosen, (Euclidean, Sum, Sup)):
        came = getattr(chosen, "name", type(chosen).__name__)
        raise InputError(
            "norm", came, "Euclidean(), Sum() or Sup()", "use operator_norm on the dense matrix for others"
        )
    return chosen


def dual(norm: Norm) -> Norm:
    """The norm in which a transposed matrix has the same operator norm.

    Returns:
        Sum for Sup, Sup for Sum, Euclidean for itself.
    """
    return Sup() if isinstance(norm, Sum) else Sum() if isinstance(norm, Sup) else norm


def leading(apply: Callable[[Tensor], Tensor], n: int) -> tuple[float, Tensor]:
    """Estimate the largest eigenvalue of a symmetric map and a vector for it, by Lanczos' iteration with full orthogonalisation.

    Args:
        apply: multiplies a vector of shape `(n,)`.
        n: the dimension.

    Returns:
        An estimate, which proves nothing, and a unit vector.
    """
    start = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    basis, alphas, betas = [start / torch.linalg.vector_norm(start)], [], []
    for _ in range(min(n, _LANCZOS)):
        w = apply(basis[-1])
        alphas.append(float(w @ basis[-1]))
        Q = torch.stack(basis)
        for _twice in range(2):
            w = w - Q.mT @ (Q @ w)
        beta = float(torch.linalg.vector_norm(w))
        if beta <= 1e-14 * max(map(abs, alphas)) or len(basis) == min(n, _LANCZOS):
            break
        betas.append(beta)
        basis.append(w / beta)
    T = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    if betas:
        off = torch.tensor(betas[: len(alphas) - 1], dtype=torch.float64)
        T = T + torch.diag(off, 1) + torch.diag(off, -1)
    values, vectors = torch.linalg.eigh(T)
    v = torch.stack(basis[: len(alphas)]).mT @ vectors[:, -1]
    return float(values[-1]), v / torch.linalg.vector_norm(v).clamp_min(1e-300)


def largest_eigenvalue(H: Tensor) -> tuple[float, Tensor]:
    """Bound the largest eigenvalue of a symmetric matrix from above.

    Args:
        H: shape `(n, n)`, float64, exactly symmetric, entries of size about one.

    Returns:
        The certified bound, and a unit vector that is close to an eigenvector.
    """
    n = H.shape[0]
    if n <= _WHOLE:
        values, vectors = torch.linalg.eigh(H)
        guess, v = float(values[-1]), vectors[:, -1]
    else:
        guess, v = leading(lambda x: H @ x, n)
    roof = float(H.abs().sum(1).amax()) * (1 + gamma(n + 1, torch.float64))
    ratio = gamma(n + 1, torch.float64)
    extra = 4 * n * U * roof
    for _ in range(_RAISES):
        s = guess + extra
        if s >= roof:
            break
        M = torch.diag(torch.full((n,), s, dtype=torch.float64)) - H
        if int(torch.linalg.cholesky_ex(M).info) == 0:
            diagonal = M.diagonal().abs()
            trace = float(diagonal.sum()) * (1 + gamma(n, torch.float64))
            lost = ratio / (1 - ratio) * trace + U * float(diagonal.amax()) + n * n * 2.0**-1000
            return min(roof, s + lost + 4 * U * (abs(s) + lost)), v
        extra = 2 * extra
    return roof, v


def _unit_scale(A: Tensor) -> float:
    peak = float(A.abs().amax())
    return float(torch.exp2(torch.floor(torch.log2(torch.tensor(peak, dtype=torch.float64))))) if peak > 0 else 1.0


def dense_norm(matrix: Tensor, norm: Norm) -> tuple[float, float]:
    """Enclose the norm of one dense matrix of up to a few thousand rows.

    Args:
        matrix: shape `(m, n)`, real float64.
        norm: Euclidean, Sum or Sup.

    Returns:
        Lower and upper side. Cost: `O(m n min(m, n))`, without a singular value decomposition.
    """
    if not bool(matrix.any()):
        return 0.0, 0.0
    if not isinstance(norm, Euclidean):
        upper = float(matrix_norm_upper_bound(matrix, norm))
        return upper * (1 - gamma(4 * max(matrix.shape) + 12, torch.float64)), upper
    scale = _unit_scale(matrix)
    A = matrix / scale
    A = A if A.shape[0] >= A.shape[1] else A.mT
    m, n = A.shape
    B = A.mT @ A
    B = torch.tril(B) + torch.tril(B, -1).mT
    top, v = largest_eigenvalue(B)
    frobenius = float((A * A).sum()) * (1 + gamma(m * n + 1, torch.float64))
    square = max(top, 0.0) + gamma(m + 1, torch.float64) * frobenius + m * n * 2.0**-1000
    upper = square**0.5 * (1 + 8 * U)
    image = torch.linalg.vector_norm(A @ v)
    error = gamma(n + 1, torch.float64) * torch.linalg.vector_norm(A.abs() @ v.abs())
    length = torch.linalg.vector_norm(v) * (1 + gamma(n + 4, torch.float64))
    lower = float((image * (1 - gamma(m + 4, torch.float64)) - error * (1 + gamma(m + 4, torch.float64))) / length)
    return lower * (1 - 4 * U) * scale, upper * scale


def largest_block(blocks: Tensor, floor: float = 0.0) -> tuple[float, float, int]:
    """Enclose the largest Euclidean norm among many matrices, looking closely only at those that can attain it.

    `|A|_2^2 <= |A A^H|_F` costs one product; matrices for which this is below what another one attains are not decomposed.

    Args:
        blocks: shape `(many, m, n)`, real or complex, double precision.
        floor: norms up to here do not matter.

    Returns:
        Lower side, upper side and the index of the largest block; zeros where all norms are at most `floor`.
    """
    A = blocks if blocks.shape[-1] >= blocks.shape[-2] else blocks.mH
    m, n = A.shape[-2:]
    if not bool(A.any()):
        return 0.0, 0.0, 0
    scale = _unit_scale(A)
    A = A / scale
    squares = (A.real**2 + A.imag**2 if A.is_complex() else A * A).sum((-2, -1))
    product = torch.linalg.vector_norm((A @ A.mH).flatten(1), dim=1)
    rounding = 1 + gamma(4 * m * n + 16, torch.float64)
    cheap = torch.sqrt(product * rounding + gamma(4 * n + 8, torch.float64) * squares * rounding) * (1 + 8 * U)
    if float(cheap.amax()) * scale <= floor:
        return 0.0, 0.0, 0
    order = torch.argsort(cheap, descending=True)
    upper, index = -1.0, 0
    for chunk in torch.split(order, _CHUNK):
        if float(cheap[chunk[0]]) <= upper:
            break
        found = matrix_norm_upper_bound(A[chunk], Euclidean())
        if float(found.amax()) > upper:
            upper, index = float(found.amax()), int(chunk[found.argmax()])
    lower = float(operator_norm(A[index]).lower.value)
    return lower * scale, upper * scale, index
