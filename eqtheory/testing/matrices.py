"""Matrices of operator norm one, of shapes that have broken things before, and exact formulas for operator norms.

For a norm `|.|` on vectors the operator norm of `A` is `sup |A v| / |v|`. It is the largest singular value for the Euclidean norm,
the largest row sum of sizes for the sup norm, the largest column sum for the l1 norm, and for `|v| = sum_i w_i |v_i|` the largest
`sum_i w_i |A_ij| / w_j` over columns `j`: the unit ball is the hull of the vectors `e_j / w_j`, and a convex function is largest at
one of them. None of these is iterated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.norms import BlockSum, Euclidean, Norm, Spectral, Sum, Sup

__all__ = ["SHAPES", "operator_norm", "orthogonal", "unit_norm", "weighted_sum"]

SHAPES = ("symmetric", "rotation", "shift", "random", "tanh", "scalar multiple")
"""Linear parts: symmetric, orthogonal, nilpotent (non-normal, spectral radius 0), random singular vectors, behind tanh, and
`mu I`."""


def orthogonal(n: int, batch: int, generator: torch.Generator) -> Tensor:
    """Random orthogonal matrices.

    Args:
        n: rows and columns.
        batch: how many.
        generator: source of randomness.

    Returns:
        Shape `(batch, n, n)`.
    """
    return torch.linalg.qr(torch.randn(batch, n, n, generator=generator, dtype=torch.float64)).Q


def unit_norm(shape: str, n: int, batch: int, generator: torch.Generator) -> Tensor:
    """Matrices of spectral norm 1 of one shape.

    Args:
        shape: one of `SHAPES`.
        n: rows and columns.
        batch: how many.
        generator: source of randomness.

    Returns:
        Shape `(batch, n, n)`.
    """
    if shape == "scalar multiple":
        return torch.eye(n, dtype=torch.float64).expand(batch, n, n)
    if shape == "shift":
        if n == 1:
            return torch.ones(batch, 1, 1, dtype=torch.float64)
        return torch.diag(torch.ones(n - 1, dtype=torch.float64), 1).expand(batch, n, n)
    left = orthogonal(n, batch, generator)
    if shape == "rotation":
        return left
    values = torch.rand(batch, n, generator=generator, dtype=torch.float64)
    values[:, 0] = 1.0
    if shape == "symmetric":
        signs = torch.randint(0, 2, (batch, n), generator=generator) * 2 - 1
        return (left * (values * signs).unsqueeze(1)) @ left.mT
    return (left * values.unsqueeze(1)) @ orthogonal(n, batch, generator).mT


def weighted_sum(n: int) -> BlockSum:
    """The norm `sum_i 2^i |v_i|`; powers of two scale without rounding.

    Args:
        n: length of the vectors.

    Returns:
        The norm.
    """
    return BlockSum((1,) * n, tuple(2.0**i for i in range(n)), Sup())


def operator_norm(A: Tensor, norm: Norm) -> Tensor:
    """Operator norms of matrices, by their formulas: exact up to rounding.

    Args:
        A: shape `(batch, m, n)`; square where the norm has weights.
        norm: Euclidean, sup, l1, or a weighted sum of single entries; the same on both sides.

    Returns:
        Shape `(batch,)`.

    Raises:
        InputError: a norm without such a formula.

    Example:
        >>> operator_norm(torch.tensor([[[0.0, 3.0], [1.0, 1.0]]]), Sup())
        tensor([3.])
    """
    if isinstance(norm, Euclidean):
        return Spectral()(A)
    if isinstance(norm, BlockSum) and set(norm.sizes) == {1}:
        weights = torch.tensor(norm.weights, dtype=A.dtype)
        return operator_norm(weights.unsqueeze(1) * A / weights, Sum())
    if not isinstance(norm, (Sup, Sum)):
        raise InputError("norm", norm.name, "l2, sup, l1 or a weighted sum of entries", "pass one of these")
    lines = A if isinstance(norm, Sup) else A.mT
    return Sum()(lines.flatten(0, 1)).reshape(lines.shape[:2]).amax(dim=1)
