r"""What is proved about the norm and the spectrum of an adjacency matrix, dense or sparse.

**Schur's test.** For any positive `p` and `q`

    |A|_2 <= sqrt(max_i (|A| q)_i / p_i  *  max_j (|A|^T p)_j / q_j):

by Cauchy-Schwarz `(sum_j a_ij x_j)^2 <= (sum_j |a_ij| q_j) (sum_j |a_ij| x_j^2 / q_j)`, and summing over `i`. Where `A` has no
negative entry and its graph is connected, the leading singular vectors give equality; they are approached by a power
iteration, every step of which proves its own bound, so that nothing about its convergence is trusted. It starts from the roots
of the numbers of neighbours, which are already the leading vectors of a symmetrically normalised adjacency matrix. All terms
are positive: a sum over `d` neighbours errs by at most `gamma_{d+1}` relatively.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz.layers._certified import dense_norm, known_norm, largest_eigenvalue
from eqtheory.norms import Euclidean, Norm, Sup
from eqtheory.roundoff import gamma
from eqtheory.validate import require_finite

__all__ = ["Adjacency", "schur_bound"]

_DENSE_NODES = 2048
_STEPS = 100
_PATIENCE = 3
_LEAST = 1e-9


@dataclass(frozen=True)
class Adjacency:
    """A real matrix as a list of entries, all distinct, in float64 on the CPU.

    Args:
        rows: row of every entry.
        columns: column of every entry.
        values: the entries.
        shape: rows and columns of the matrix.
    """

    rows: Tensor
    columns: Tensor
    values: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, matrix: Tensor) -> Adjacency:
        """Read a strided, COO or CSR matrix.

        Args:
            matrix: shape `(m, n)`, real.

        Returns:
            Its entries.

        Raises:
            ShapeError: not a matrix, or an empty one.
            InputError: complex entries, another layout, or COO entries that may repeat.
        """
        if not isinstance(matrix, Tensor) or matrix.ndim != 2 or 0 in matrix.shape:
            came = f"shape {tuple(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
            raise ShapeError("adjacency", came, "a matrix with at least one node", "pass one matrix, not a batch")
        if matrix.is_complex():
            raise InputError("adjacency", f"dtype {matrix.dtype}", "real entries", "take the real part")
        if matrix.layout in {torch.sparse_csr, torch.strided}:
            matrix = matrix.to_sparse(layout=torch.sparse_coo).coalesce()
        elif matrix.layout is not torch.sparse_coo:
            raise InputError("adjacency", f"layout {matrix.layout}", "strided, COO or CSR", "use .to_sparse_coo()")
        if not matrix.is_coalesced():
            raise InputError("adjacency", "COO entries that may repeat", "distinct entries", "call .coalesce() first")
        values = matrix.values().detach().to("cpu", torch.float64)
        require_finite("adjacency", values, "repair it")
        rows, columns = matrix.indices().cpu()
        return cls(rows, columns, values, (int(matrix.shape[0]), int(matrix.shape[1])))

    @property
    def is_small(self) -> bool:
        """Whether the dense matrix may be decomposed."""
        return max(self.shape) <= _DENSE_NODES

    @cached_property
    def dense(self) -> Tensor:
        """The matrix."""
        out = torch.zeros(self.shape, dtype=torch.float64)
        out[self.rows, self.columns] = self.values
        return out

    @cached_property
    def is_symmetric(self) -> bool:
        """Whether it equals its transpose, entry by entry and without tolerance."""
        if self.shape[0] != self.shape[1]:
            return False
        order = torch.argsort(self.columns * self.shape[0] + self.rows)
        return bool(
            torch.equal(self.columns[order], self.rows)
            and torch.equal(self.rows[order], self.columns)
            and torch.equal(self.values[order], self.values)
        )

    def times(self, x: Tensor, *, transposed: bool = False, absolute: bool = False) -> Tensor:
        """Multiply a vector or a block of columns.

        Args:
            x: shape `(n,)` or `(n, features)`.
            transposed: multiply by the transpose.
            absolute: take the entries' absolute values.

        Returns:
            The product, each entry a sum over one row (or column) of products.
        """
        source, target = (self.rows, self.columns) if transposed else (self.columns, self.rows)
        values = self.values.abs() if absolute else self.values
        out = torch.zeros(self.shape[1] if transposed else self.shape[0], *x.shape[1:], dtype=torch.float64)
        return out.index_add_(0, target, values.reshape(-1, *[1] * (x.ndim - 1)) * x[source])

    def symmetric_part(self) -> tuple[Adjacency, float]:
        """The matrix `H = (A + A^T) / 2`, exactly symmetric, and a bound on `|A - H|_2`, which is a rounding for normalised weights.

        Returns:
            Both, for a square matrix.
        """
        own, other = torch.stack([self.rows, self.columns]), torch.stack([self.columns, self.rows])
        both = torch.cat([self.values, self.values]) / 2
        H = torch.sparse_coo_tensor(torch.cat([own, other], 1), both, self.shape, check_invariants=False).coalesce()
        rest = torch.cat([self.values, -H.values()])
        E = torch.sparse_coo_tensor(
            torch.cat([own, H.indices()], 1), rest, self.shape, check_invariants=False
        ).coalesce()
        gap = float(torch.linalg.vector_norm(E.values())) * (1 + gamma(E.values().numel() + 8, torch.float64))
        return Adjacency(H.indices()[0], H.indices()[1], H.values(), self.shape), gap

    @property
    def most_terms(self) -> int:
        """Entries of the fullest row or column."""
        if not self.values.numel():
            return 1
        return max(int(torch.bincount(self.rows).amax()), int(torch.bincount(self.columns).amax()))

    def upper(self, norm: Norm) -> float:
        """Bound the norm of the matrix from above.

        Args:
            norm: Euclidean, Sum or Sup.

        Returns:
            The bound; in Sum and Sup the sums of the matrix rounded up.
        """
        if not isinstance(known_norm(norm), Euclidean):
            ones = torch.ones(self.shape[1] if isinstance(norm, Sup) else self.shape[0], dtype=torch.float64)
            sums = self.times(ones, transposed=not isinstance(norm, Sup), absolute=True)
            return float(sums.amax()) * (1 + gamma(self.most_terms + 4, torch.float64))
        return self._euclidean

    @cached_property
    def _euclidean(self) -> float:
        found = schur_bound(self)
        return min(found, dense_norm(self.dense, Euclidean())[1]) if self.is_small else found

    @cached_property
    def interval(self) -> tuple[float, float]:
        """An interval that holds every eigenvalue of a symmetric matrix: Cholesky tests of `s I - A` and `s I + A`, or Schur's test."""
        radius = schur_bound(self)
        if not self.is_small:
            return -radius, radius
        peak = float(self.values.abs().amax()) if self.values.numel() else 0.0
        scale = float(torch.exp2(torch.floor(torch.log2(torch.tensor(peak, dtype=torch.float64))))) if peak > 0 else 1.0
        A = self.dense / scale
        top, bottom = largest_eigenvalue(A)[0] * scale, -largest_eigenvalue(-A)[0] * scale
        return max(bottom, -radius), min(top, radius)


def schur_bound(matrix: Adjacency) -> float:
    """Bound the Euclidean norm by Schur's test with weights from a power iteration.

    Args:
        matrix: any real matrix.

    Returns:
        The smallest bound that an iterate proved. Cost: `O(entries)` per step, at most 100 steps.
    """
    if not matrix.values.numel():
        return 0.0
    q = torch.bincount(matrix.columns, minlength=matrix.shape[1]).to(torch.float64).sqrt()
    p = torch.bincount(matrix.rows, minlength=matrix.shape[0]).to(torch.float64).sqrt()
    rounding = 1 + gamma(2 * matrix.most_terms + 16, torch.float64)
    best, idle = float("inf"), 0
    for step in range(_STEPS):
        q = _positive(q)
        p = _positive(matrix.times(q, absolute=True) if step else p)
        ahead, back = matrix.times(q, absolute=True), matrix.times(p, transposed=True, absolute=True)
        found = (float((ahead / p).amax()) * float((back / q).amax())) ** 0.5 * rounding
        idle = 0 if found < best * (1 - 1e-13) else idle + 1
        best = min(best, found)
        if idle > _PATIENCE:
            break
        q = back
    return best


def _positive(weights: Tensor) -> Tensor:
    """Scale to a largest entry of one and lift what is too small to divide by: any positive weights are allowed.

    Returns:
        Positive weights.
    """
    return (weights / weights.amax()).clamp_min(_LEAST)
