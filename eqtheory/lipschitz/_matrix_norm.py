r"""Operator norms of dense matrices, from above with proof and from below with a vector.

**Sums** (anything from l1, anything to sup). `|A|_{1 -> q}` is the largest q-norm of a column and `|A|_{p -> inf}` the largest
dual norm of a row: sums of `n` terms, each rounded up by `1 + gamma_n`.

**Euclidean.** With `B = fl(A^T A)` and a guess `s` of the norm, let Cholesky's factorisation of `M = fl(s^2 I - B)` run to
completion. Then `R^T R = M + E` with `|E|_2 <= gamma_{n+1} / (1 - gamma_{n+1}) tr M` (Demmel 1989; Higham 2002, theorem 10.5),
and `R^T R` is positive semidefinite, so that

    |A|_2^2 <= s^2 + gamma_{n+1} / (1 - gamma_{n+1}) tr M + gamma_m |A|_F^2 + u max diag,

the last two terms being what `B` and `M` were rounded by. No eigenvalue enters the proof; the guess may come from anywhere. A
guess that was too small is raised until the factorisation exists. Entries are scaled by a power of two first, so that the
squares that underflow move the bound by less than the terms above.

**Range.** All this holds among normal numbers, so tiny and huge matrices are brought there, and their norms back (`_scaling`). A norm
beyond the range is infinite from above, and the largest finite number from below.

**Weights.** `|A|` in weighted norms is that of `B = diag(w_out) A diag(1 / w_in)`, whose entries are rounded twice. From below a vector
`v` that is good for `B` gives `u = v / w_in` for `A`: the unit balls correspond, so that nothing is lost by looking for it there.

References:
    Rump 2006, Verification of positive definiteness, BIT 46; Higham 2002, Accuracy and Stability of Numerical Algorithms, chapter 10.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz._image_of_a_vector import image_lower_bound
from eqtheory.lipschitz._scaling import in_range, rounded_outward
from eqtheory.norms import BlockSum, Euclidean, Norm, Sum, Sup, Weighted
from eqtheory.roundoff import gamma, unit_roundoff
from eqtheory.validate import require_finite

__all__ = ["is_attained", "matrix_norm_upper_bound", "operator_norm"]

_RAISES = 60  # each doubles what is added to the guess, so the last one is far beyond the Frobenius norm


def operator_norm(matrix: Tensor, *, norm: Norm | None = None, output_norm: Norm | None = None) -> Bracket:
    """Bracket the operator norm of a dense matrix.

    Args:
        matrix: shape `(..., m, n)`, real or complex.
        norm: norm on its arguments; Euclidean by default.
        output_norm: norm on its values; `norm` by default.

    Returns:
        Both sides proved, float64, of shape `(...)`; about 1e-12 apart relatively, except between block sums, whose upper side adds
        up norms of blocks. Cost: `O(m n min(m, n))`.

    Raises:
        ShapeError: fewer than two axes.
        InputError: no bound is known for this pair of norms, or the matrix is stored sparsely.

    Example:
        >>> import torch
        >>> found = operator_norm(torch.tensor([[3.0, 0.0], [4.0, 0.0]]))
        >>> round(float(found.lower.value), 9), round(float(found.upper.value), 9)
        (5.0, 5.0)
    """
    chosen = norm or Euclidean()
    out = output_norm or chosen
    A, unit = _checked(matrix, chosen, out)
    above = _upper_side(A, chosen, out)
    below = torch.zeros_like(above) if A.numel() == 0 else _lower_side(A, chosen, out, above)
    upper, lower = rounded_outward(above, unit, upwards=True), rounded_outward(below, unit, upwards=False)
    name = chosen.name if out.name == chosen.name else f"{chosen.name} to {out.name}"
    return Bracket(
        Bound(lower, Side.LOWER, "image of one vector", Evidence.PROVED, name),
        Bound(upper, Side.UPPER, "Cholesky test or sums of entries", Evidence.PROVED, name),
    )


def matrix_norm_upper_bound(matrix: Tensor, norm: Norm, *, output_norm: Norm | None = None) -> Tensor:
    """Bound the operator norm of dense matrices from above, rounding included.

    Args:
        matrix: shape `(..., m, n)`, real or complex; numbers of any floating-point type, which float64 holds exactly.
        norm: norm on their arguments.
        output_norm: norm on their values; `norm` by default.

    Returns:
        Float64, shape `(...)`; never below the true norm, above it by about `(m + n) n u` relatively.

    Raises:
        ShapeError: fewer than two axes.
        InputError: no bound is known for this pair of norms, the matrix is stored sparsely, or complex entries in a weighted norm.
    """
    out = output_norm or norm
    A, unit = _checked(matrix, norm, out)
    return rounded_outward(_upper_side(A, norm, out), unit, upwards=True)


def _checked(matrix: Tensor, norm: Norm, out: Norm) -> tuple[Tensor, Tensor]:
    """Matrices in double precision and in the middle of its range.

    Returns:
        The matrices, and the powers of two they were divided by, shape `(...)`.

    Raises:
        ShapeError: fewer than two axes.
        InputError: a matrix that is not stored densely, or not finite.
    """
    if not isinstance(matrix, Tensor) or matrix.ndim < 2:
        came = f"shape {tuple(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ShapeError("matrix", came, "(..., m, n)", "pass the matrix of the map")
    if matrix.layout != torch.strided:
        raise InputError("matrix", f"layout {matrix.layout}", "a dense matrix", "pass matrix.to_dense()")
    require_finite("matrix", matrix, "repair it")
    A = matrix.detach().to(torch.complex128 if matrix.is_complex() else torch.float64)
    if A.numel() == 0:
        return A, torch.ones(A.shape[:-2], dtype=torch.float64, device=A.device)
    return in_range(A, down=all(isinstance(side, (Euclidean, Sum, Sup)) for side in (norm, out)))


def is_attained(norm: Norm, out: Norm) -> bool:
    """Whether the two sides of `operator_norm` agree up to rounding.

    Args:
        norm: norm on the arguments.
        out: norm on the values.

    Returns:
        False where a block sum is involved.
    """
    inner, outer = _unweighted(norm), _unweighted(out)
    return not (isinstance(inner, BlockSum) or isinstance(outer, BlockSum))


def _unweighted(norm: Norm) -> Norm:
    while isinstance(norm, Weighted):
        norm = norm.norm
    return norm


def _upper_side(A: Tensor, norm: Norm, out: Norm) -> Tensor:
    return torch.zeros(A.shape[:-2], dtype=torch.float64, device=A.device) if A.numel() == 0 else _upper(A, norm, out)


def _lower_side(matrix: Tensor, norm: Norm, out: Norm, upper: Tensor) -> Tensor:
    if isinstance(norm, Weighted) or isinstance(out, Weighted):
        scaled, inner, outer, slack = _scaled(matrix, norm, out)
        # The upper side holds the slack already, so it is taken off once more than the entries are off by.
        found = _lower_side(scaled, inner, outer, upper) - 2 * slack * upper
        # Weights can take sums out of range, from where nothing comes back.
        return torch.where(torch.isfinite(found), found, 0.0).clamp_min(0)
    if _is_sum(norm, out):  # attained, so what was granted to rounding is taken off twice
        return upper * (1 - 2 * gamma(4 * max(matrix.shape[-2:]) + 16, torch.float64))
    return torch.minimum(image_lower_bound(_real(matrix), norm, out), upper)


def _is_sum(norm: Norm, out: Norm) -> bool:
    """Whether the norm is a largest row or column, which is attained.

    Returns:
        True for pairs of l1, l2 and sup that start at l1 or end in sup.
    """
    plain = (Sum, Euclidean, Sup)
    return isinstance(norm, plain) and isinstance(out, plain) and (isinstance(norm, Sum) or isinstance(out, Sup))


def _upper(matrix: Tensor, norm: Norm, out: Norm) -> Tensor:
    if isinstance(norm, Weighted) or isinstance(out, Weighted):
        return _weighted(matrix, norm, out)
    if isinstance(norm, BlockSum) and isinstance(out, BlockSum):
        return _blocks(matrix, norm, out)
    m, n = matrix.shape[-2:]
    moduli = 1 + gamma(4, torch.float64) if matrix.is_complex() else 1.0  # what a modulus may be rounded by
    sizes = matrix.abs() * moduli
    if isinstance(out, Sup) and isinstance(norm, (Sup, Sum, Euclidean)):  # the largest dual norm of a row
        rows = {Sup: sizes.sum(-1), Sum: sizes.amax(-1), Euclidean: _root_of_squares(sizes, -1)}[type(norm)]
        return rows.amax(-1) * (1 + gamma(2 * n + 2, torch.float64))
    if isinstance(norm, Sum) and isinstance(out, (Sum, Euclidean)):  # the largest norm of a column
        columns = sizes.sum(-2) if isinstance(out, Sum) else _root_of_squares(sizes, -2)
        return columns.amax(-1) * (1 + gamma(2 * m + 2, torch.float64))
    if isinstance(norm, Euclidean) and isinstance(out, Euclidean):
        return _euclidean(_real(matrix))
    raise InputError(
        "norm", f"{norm.name} to {out.name}", "a pair whose operator norm can be computed", "use l2, l1 or sup on both"
    )


def _real(matrix: Tensor) -> Tensor:
    """A complex matrix as the real one of twice the size, which has the same singular values.

    Returns:
        A real matrix.
    """
    if not matrix.is_complex():
        return matrix
    re, im = matrix.real, matrix.imag
    return torch.cat([torch.cat([re, -im], dim=-1), torch.cat([im, re], dim=-1)], dim=-2)


def _root_of_squares(sizes: Tensor, axis: int) -> Tensor:
    peak = sizes.amax(dim=axis, keepdim=True)
    scale = torch.where(peak > 0, peak, 1.0)
    return torch.linalg.vector_norm(sizes / scale, dim=axis) * scale.squeeze(axis)


def _euclidean(A: Tensor) -> Tensor:
    if A.shape[-1] > A.shape[-2]:
        A = A.mT
    m, n = A.shape[-2:]
    if n == 1:
        return _root_of_squares(A.abs().squeeze(-1), -1) * (1 + gamma(2 * m + 2, torch.float64))
    peak = A.abs().amax(dim=(-2, -1), keepdim=True)
    scale = torch.exp2(torch.floor(torch.log2(torch.where(peak > 0, peak, 1.0))))  # a power of two divides exactly
    A = A / scale
    u = unit_roundoff(torch.float64)
    frobenius = (A * A).sum(dim=(-2, -1)) * (1 + gamma(m * n + 1, torch.float64))
    B = A.mT @ A
    top = torch.linalg.eigvalsh(B)[..., -1].clamp_min(0)
    eye = torch.eye(n, dtype=A.dtype, device=A.device)
    bound, extra = frobenius.clone(), 4 * (m + n) * u * top + 2.0**-900
    open_ = torch.ones_like(top, dtype=torch.bool)
    ratio = gamma(n + 1, torch.float64)
    for _ in range(_RAISES):
        square = top + extra
        M = square[..., None, None] * eye - B
        exists = (torch.linalg.cholesky_ex(M).info == 0) & open_
        trace = M.diagonal(dim1=-2, dim2=-1).abs().sum(-1) * (1 + gamma(n, torch.float64))
        lost = ratio / (1 - ratio) * trace + gamma(m + 1, torch.float64) * frobenius + 4 * u * square
        # Squares below the range of the type are lost: at most m n of them, each below the smallest subnormal number.
        certified = (square + lost) * (1 + 4 * u) + m * n * 2.0**-1000
        bound = torch.where(exists, torch.minimum(bound, certified), bound)
        open_ &= ~exists
        if not bool(open_.any()):
            break
        extra = 2 * extra
    return bound.sqrt() * (1 + 4 * u) * scale.squeeze(-1).squeeze(-1)


def _weighted(matrix: Tensor, norm: Norm, out: Norm) -> Tensor:
    scaled, inner, outer, slack = _scaled(matrix, norm, out)
    return _upper(scaled, inner, outer) * (1 + slack)


def _scaled(matrix: Tensor, norm: Norm, out: Norm) -> tuple[Tensor, Norm, Norm, float]:
    """The matrix in the units of the weights.

    Returns:
        The matrix, the norms that are left on both sides, and how far its rounding moves the norm, relatively to the upper side.

    Raises:
        InputError: complex entries, or weights that take entries out of range.
    """
    if matrix.is_complex():
        raise InputError("matrix", "complex entries", "real ones in weighted norms", "use Euclidean(), Sum() or Sup()")
    ones = torch.ones(1, dtype=torch.float64, device=matrix.device)
    columns = _weights(norm, matrix.shape[-1]).to(ones) if isinstance(norm, Weighted) else ones
    rows = _weights(out, matrix.shape[-2]).to(ones) if isinstance(out, Weighted) else ones
    # Digits are lost where a number on the way leaves the normal range: of the two ways one is taken that keeps within it.
    ratio, product = rows.unsqueeze(-1) / columns, matrix * rows.unsqueeze(-1)
    by_ratio = _has_all_digits(ratio)
    A = torch.where(by_ratio, matrix * ratio, product / columns)
    _refuse_lost((matrix != 0) & ~(_has_all_digits(A) & (by_ratio | _has_all_digits(product))))
    inner = norm.norm if isinstance(norm, Weighted) else norm
    outer = out.norm if isinstance(out, Weighted) else out
    # Each entry is off by gamma_2 of its size, and the norm of |A| is at most sqrt(min(m, n)) times that of A in each pair here.
    slack = gamma(2, torch.float64) * 2 * min(A.shape[-2:]) ** 0.5
    return A, inner, outer, slack


def _refuse_lost(lost: Tensor) -> None:
    if bool(lost.any()):
        raise InputError(
            "weights", "weights that take entries out of the range of float64", "milder ones", "rescale them"
        )


def _has_all_digits(t: Tensor) -> Tensor:
    return (t.abs() >= 1e-290) & torch.isfinite(t)


def _weights(norm: Weighted, length: int) -> Tensor:
    weights = norm.weights.to(torch.float64).reshape(-1)
    if weights.numel() != length:
        raise ShapeError(
            "matrix", f"an axis of length {length}", f"{weights.numel()}, one per weight", "flatten the state"
        )
    return weights


def _blocks(matrix: Tensor, norm: BlockSum, out: BlockSum) -> Tensor:
    """The unit ball is the convex hull of those of its blocks: the largest weighted sum of norms in one column of blocks.

    Returns:
        The bounds.

    Raises:
        ShapeError: the blocks do not make up the matrix.
    """
    if matrix.shape[-2:] != (sum(out.sizes), sum(norm.sizes)):
        raise ShapeError(
            "matrix", f"shape {tuple(matrix.shape)}", f"(..., {sum(out.sizes)}, {sum(norm.sizes)})", "match the blocks"
        )
    columns = []
    for column, unit in zip(torch.split(matrix, list(norm.sizes), dim=-1), norm.weights, strict=True):
        blocks = torch.split(column, list(out.sizes), dim=-2)
        ratios = torch.tensor(out.weights, dtype=torch.float64) / unit
        _refuse_lost(~_has_all_digits(ratios))
        # A block can be tiny beside the others and count most: each is brought into range on its own.
        sizes = torch.stack([matrix_norm_upper_bound(block, norm.norm, output_norm=out.norm) for block in blocks])
        total = torch.tensordot(ratios.to(sizes.device), sizes, dims=1) * (
            1 + gamma(2 * len(blocks) + 2, torch.float64)
        )
        # Below the normal numbers each product rounds by at most half the smallest number.
        columns.append(torch.where((sizes > 0).any(0), total + len(blocks) * 2.0**-1074, total))
    return torch.stack(columns).amax(0)
