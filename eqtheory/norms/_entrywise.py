"""Norms of the entries: Euclidean, largest entry, sum of entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, final

import torch
from torch import Tensor

from eqtheory.norms._norm import Norm, host_sees, rows_of, same_shape

__all__ = ["Euclidean", "Sum", "Sup"]


def _squares_stay_in_range(rows: Tensor) -> bool:
    """Whether no difference of two such entries can be so small or large that its square leaves the range of the type.

    Two different floating-point numbers of size at least `s` are at least `s eps / 2` apart.

    Returns:
        The answer for all pairs of entries at once.
    """
    size, limits = rows.abs(), torch.finfo(rows.dtype)
    smallest = torch.where(size > 0, size, torch.inf).amin()
    return bool((smallest >= limits.tiny**0.5 / limits.eps**2) & (size.amax() <= limits.max**0.5 / (4 * rows.shape[1])))


def _unit(v: Tensor, size: Tensor) -> Tensor:
    """Vectors scaled to norm 1; zero stays zero.

    Returns:
        The shape of `v`.
    """
    return v / torch.where(size > 0, size, 1.0).reshape(-1, *[1] * (v.ndim - 1))


def _signs(v: Tensor) -> Tensor:
    return torch.where(v < 0, -1.0, 1.0).to(v.dtype)


def _peak(v: Tensor) -> Tensor:
    if v.numel() == 0:
        return torch.zeros_like(v)
    flat = rows_of(v)
    where = flat.abs().argmax(dim=1, keepdim=True)
    return torch.zeros_like(flat).scatter(1, where, _signs(flat.gather(1, where))).reshape(v.shape)


class _EntrywiseNorm(Norm):
    """A norm of the entries, `order` being 1, 2 or infinity; such norms have all distances at once."""

    order: ClassVar[float]

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """All distances between two sets of vectors, without forming the differences.

        Args:
            a: shape `(n, ...)`.
            b: shape `(m, ...)`, the same trailing shape.

        Returns:
            Tensor of shape `(n, m)`.
        """
        same_shape("a[0], b[0]", a[:1].squeeze(0), b[:1].squeeze(0))
        rows, columns = rows_of(a), rows_of(b)
        if rows.shape[1] == 1:
            return (rows - columns.T).abs()
        # The matrix-product shortcut cancels catastrophically for close points; distances feed slopes, so it is off.
        found = torch.cdist(rows, columns, p=self.order, compute_mode="donot_use_mm_for_euclid_dist")
        if self.order == 2 and not (_squares_stay_in_range(rows) and _squares_stay_in_range(columns)):
            # Sums of squares leave the range of the type long before the distances do; those pairs are measured by the norm.
            limits = torch.finfo(found.dtype)
            i, j = ((found < limits.tiny**0.5 / limits.eps) | found.isinf()).nonzero(as_tuple=True)
            found[i, j] = self(rows[i] - columns[j])
        return found


@final
@dataclass(frozen=True)
class Euclidean(_EntrywiseNorm):
    """Square root of the sum of squares; the Frobenius norm on matrices.

    Example:
        >>> import torch
        >>> Euclidean()(torch.tensor([[3.0, 4.0]]))
        tensor([5.])
    """

    order: ClassVar[float] = 2.0
    name: str = "l2"

    def __call__(self, v: Tensor) -> Tensor:
        """Euclidean norm of each sample: shape `(batch, ...)` to `(batch,)`."""
        rows = rows_of(v)
        if rows.shape[1] == 1:
            return rows.abs().squeeze(1)
        plain = torch.linalg.vector_norm(rows, dim=1)
        # Squares of entries below the root of the smallest normal number lose digits, those above the root of the largest
        # overflow; such samples are scaled first. On a CPU the question costs little, elsewhere it would drain the queue.
        smallest = self.safe(v.dtype)
        if host_sees(v):
            low, high = torch.aminmax(plain)
            if low.item() >= smallest and high.item() < torch.inf:  # false for NaN as well
                return plain
        extreme = (plain < smallest) | plain.isinf()
        peak = rows.abs().amax(dim=1)
        scale = torch.where(extreme & (peak > 0) & peak.isfinite(), peak, 1.0)
        return torch.linalg.vector_norm(rows / scale.unsqueeze(1), dim=1) * scale

    def _aligned(self, g: Tensor) -> Tensor:
        """The functional itself, at length 1."""
        return _unit(g, self(g))

    def _subgradient(self, v: Tensor) -> Tensor:
        """The vector itself, at length 1."""
        return _unit(v, self(v))

    def plain(self, v: Tensor) -> Tensor:
        """The root of the sum of squares as they are.

        Args:
            v: shape `(batch, ...)`.

        Returns:
            Shape `(batch,)`.
        """
        rows = rows_of(v)
        return rows.abs().squeeze(1) if rows.shape[1] == 1 else torch.linalg.vector_norm(rows, dim=1)

    def safe(self, dtype: torch.dtype) -> float:
        """The root of the smallest normal number, with all its digits.

        Args:
            dtype: of the entries.

        Returns:
            A number.
        """
        limits = torch.finfo(dtype)
        return limits.tiny**0.5 / limits.eps


@final
@dataclass(frozen=True)
class Sup(_EntrywiseNorm):
    """Largest absolute entry."""

    order: ClassVar[float] = float("inf")
    name: str = "sup"

    def __call__(self, v: Tensor) -> Tensor:
        """Largest absolute entry of each sample: shape `(batch, ...)` to `(batch,)`."""
        return rows_of(v).abs().amax(dim=1)

    def _aligned(self, g: Tensor) -> Tensor:
        """The signs of the functional: all entries of size 1."""
        return _signs(g)

    def _subgradient(self, v: Tensor) -> Tensor:
        """The sign of the largest entry, and zero elsewhere."""
        return _peak(v)

    def exact(self, v: Sequence[Fraction]) -> Fraction:
        """Largest absolute entry of a rational vector.

        Args:
            v: the entries.

        Returns:
            The norm as a rational.
        """
        return max((abs(entry) for entry in v), default=Fraction(0))


@final
@dataclass(frozen=True)
class Sum(_EntrywiseNorm):
    """Sum of absolute entries."""

    order: ClassVar[float] = 1.0
    name: str = "l1"

    def __call__(self, v: Tensor) -> Tensor:
        """Sum of absolute entries of each sample: shape `(batch, ...)` to `(batch,)`."""
        return rows_of(v).abs().sum(dim=1)

    def _aligned(self, g: Tensor) -> Tensor:
        """The sign of the functional's largest entry, and zero elsewhere."""
        return _peak(g)

    def _subgradient(self, v: Tensor) -> Tensor:
        """The signs of the entries."""
        return _signs(v)

    def exact(self, v: Sequence[Fraction]) -> Fraction:
        """Sum of absolute entries of a rational vector.

        Args:
            v: the entries.

        Returns:
            The norm as a rational.
        """
        return sum((abs(entry) for entry in v), Fraction(0))
