r"""A matrix as a forward map.

**Regularised normal equations.** With a full singular value decomposition `A = U S V^T`, `V` orthogonal and `s` padded with zeros to
the `n` columns, `(A^T A + beta I)^{-1} = V diag(1 / (s^2 + beta)) V^T`: two products, without squaring the condition number of `A`.

**A lower bound on the smallest singular value.** For *any* matrix `R` with `e = |I - R A| < 1` and any vector `v`,

    (1 - e) |v| <= |R A v| <= |R| |A v|,    so    sigma_min(A) >= (1 - e) / |R|.

With a computed pseudo-inverse in the place of `R` this is sharp up to rounding times the condition number, and nothing about how
`R` was computed enters the proof. The product `R A` itself is rounded: entry by entry by at most `gamma_m |R| |A|`, which in norm is at
most `gamma_m |R|_F |A|_F`.
"""

from __future__ import annotations

from functools import cached_property
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.constructions.imaging._linear_map import LinearMap, Scalar, axis_free, same_trailing
from eqtheory.errors import GradientUnavailableError, InputError, ShapeError
from eqtheory.lipschitz import operator_norm
from eqtheory.norms import Euclidean
from eqtheory.roundoff import gamma, unit_roundoff
from eqtheory.validate import require_finite

__all__ = ["DenseMap"]


@final
class DenseMap(LinearMap):
    """`A y` for a matrix that is held fixed; states have shape `(batch, n)`, observations `(batch, m)`.

    Args:
        matrix: shape `(m, n)`, finite, without a gradient.

    Raises:
        InputError: not a matrix of float32 or float64.
        ShapeError: not two axes, or none of a length above zero.
        NonFiniteError: a NaN or an infinity.
        GradientUnavailableError: the matrix requires a gradient.

    Theorem: T10.

    Example:
        >>> A = DenseMap(torch.tensor([[3.0, 0.0], [4.0, 0.0]]))
        >>> round(A.norm.value, 9), A.smallest.value
        (5.0, 0.0)
        >>> A.solve(torch.tensor([[26.0, 1.0]]), 1.0)
        tensor([[1., 1.]])
    """

    def __init__(self, matrix: Tensor) -> None:
        if not isinstance(matrix, Tensor) or matrix.dtype not in (torch.float32, torch.float64):
            came = f"dtype {matrix.dtype}" if isinstance(matrix, Tensor) else type(matrix).__name__
            raise InputError("matrix", came, "a tensor of float32 or float64", "convert with .double()")
        if matrix.ndim != 2 or matrix.numel() == 0:
            raise ShapeError("matrix", f"shape {tuple(matrix.shape)}", "(m, n)", "pass one matrix that is not empty")
        require_finite("matrix", matrix, "repair it")
        if matrix.requires_grad:
            message = "matrix requires a gradient, but it is decomposed once and carries none; pass matrix.detach()"
            raise GradientUnavailableError(message)
        self.matrix = matrix.clone()
        self._kept: dict[tuple[str, torch.dtype], tuple[Tensor, Tensor, Tensor]] = {}

    @cached_property
    def norm(self) -> Bound:
        """Upper bound on the largest singular value, rounding included."""
        return Bound(
            float(operator_norm(self.matrix).upper.value), Side.UPPER, "matrix norm", Evidence.PROVED, Euclidean().name
        )

    @cached_property
    def smallest(self) -> Bound:
        """Lower bound on the smallest of the `n` singular values; 0 where there are fewer rows than columns."""
        value = _smallest(self.matrix.detach().to("cpu", torch.float64))
        return Bound(value, Side.LOWER, "approximate left inverse", Evidence.PROVED, Euclidean().name)

    def __call__(self, y: Tensor) -> Tensor:
        same_trailing("y", y, (self.matrix.shape[1],), "states have one entry per column")
        return y @ self._on(y)[0].mT

    def adjoint(self, x: Tensor) -> Tensor:
        """Apply the transpose.

        Args:
            x: observations, shape `(batch, m)`.

        Returns:
            `A^T x`, shape `(batch, n)`.
        """
        same_trailing("x", x, (self.matrix.shape[0],), "observations have one entry per row")
        return x @ self._on(x)[0]

    def solve(self, v: Tensor, beta: Scalar) -> Tensor:
        """Solve `(A^T A + beta I) u = v`.

        Args:
            v: right sides, shape `(batch, n)`.
            beta: regularisation, positive; a number or a tensor without axes.

        Returns:
            `u`, shape `(batch, n)`. Cost: `2 n^2` a sample, after one decomposition.
        """
        same_trailing("v", v, (self.matrix.shape[1],), "states have one entry per column")
        _, V, squares = self._on(v)
        return ((v @ V) / (squares + axis_free("beta", beta))) @ V.mT

    def _on(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Matrix, right singular vectors and squared singular values in the type and place of a tensor."""
        key = (str(like.device), like.dtype)
        if key not in self._kept:
            A = self.matrix.to(torch.float64)
            _, s, Vh = torch.linalg.svd(A, full_matrices=True)
            squares = A.new_zeros(A.shape[1])
            squares[: len(s)] = s * s
            A, V, squares = (t.to(like.device, like.dtype) for t in (A, Vh.mT.contiguous(), squares))
            self._kept[key] = (A, V, squares)
        return self._kept[key]


def _smallest(A: Tensor) -> float:
    m, n = A.shape
    # Scaled by a power of two, which rounds nothing, so that products stay in range.
    scale = float(torch.exp2(torch.floor(torch.log2(A.abs().amax())))) if bool(A.any()) else 0.0
    if m < n or scale == 0:
        return 0.0
    A = A / scale
    R = torch.linalg.pinv(A, rtol=0.0)
    if not bool(torch.isfinite(R).all()):
        return 0.0
    off = torch.eye(n, dtype=A.dtype) - R @ A
    u = unit_roundoff(A.dtype)
    lost = (
        gamma(m + 2, A.dtype) * float(R.square().sum().sqrt() * A.square().sum().sqrt() + n**0.5) * (1 + 64 * m * n * u)
    )
    e = float(operator_norm(off).upper.value) + lost
    if not e < 1:
        return 0.0
    return max(0.0, (1 - e) / float(operator_norm(R).upper.value) * (1 - 8 * u) * scale)
