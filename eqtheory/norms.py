"""The one place where norms and distances are computed.

A batch of states has shape `(batch, ...)`; everything after the first axis is one vector (or matrix) of the state space.
Each norm works on tensors, and the polyhedral ones also on rationals, where no rounding happens at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, final

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError

__all__ = ["BlockSum", "Euclidean", "Metric", "Norm", "Spectral", "Sum", "Sup", "host_sees", "same_shape", "slopes_of"]


def same_shape(name: str, a: Tensor, b: Tensor) -> None:
    """Refuse to broadcast silently.

    Args:
        name: what the two tensors are, for the message.
        a: first tensor.
        b: second tensor.

    Raises:
        ShapeError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ShapeError(
            name, f"{tuple(a.shape)} and {tuple(b.shape)}", "equal shapes", "expand one of them explicitly"
        )


class Metric(ABC):
    """A distance between inputs, sample by sample.

    Laws: zero on equal inputs, symmetric, triangle inequality.
    """

    name: str

    @abstractmethod
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance between corresponding samples.

        Args:
            a: inputs, shape `(batch, ...)`.
            b: inputs of the same shape.

        Returns:
            Tensor of shape `(batch,)`.
        """


class Norm(Metric):
    """A norm on everything after the batch axis.

    Laws: definite, absolutely homogeneous, subadditive; a sample's norm does not depend on its batch mates.
    """

    @abstractmethod
    def __call__(self, v: Tensor) -> Tensor:
        """Norm of each sample.

        Args:
            v: shape `(batch, ...)`; shape `(batch,)` means scalars.

        Returns:
            Tensor of shape `(batch,)`.
        """

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Norm of the difference of corresponding samples.

        Args:
            a: shape `(batch, ...)`.
            b: the same shape; broadcasting is refused.

        Returns:
            Tensor of shape `(batch,)`.
        """
        same_shape("a, b", a, b)
        return self(a - b)

    def exact(self, v: Sequence[Fraction]) -> Fraction:
        """Norm of one rational vector without rounding.

        Args:
            v: the entries.

        Returns:
            The norm as a rational.

        Raises:
            InputError: this norm leaves the rationals.
        """
        if len(v) == 1:
            return abs(v[0])
        raise InputError("norm", self.name, "a norm that is rational on rational vectors", "use Sup() or Sum()")

    def plain(self, v: Tensor) -> Tensor:
        """The norm without care for entries whose squares leave the range of the type.

        Args:
            v: shape `(batch, ...)`.

        Returns:
            Shape `(batch,)`: to the last bit what the norm returns, wherever that lies between `safe(v.dtype)` and infinity.
        """
        return self(v)

    def safe(self, dtype: torch.dtype) -> float:  # noqa: ARG002  (depends on it where squares are taken)
        """From where on `plain` can be trusted.

        Args:
            dtype: of the entries.

        Returns:
            A number; 0 where `plain` is the norm itself.
        """
        return 0.0

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """All distances between two sets of vectors.

        Args:
            a: shape `(n, ...)`.
            b: shape `(m, ...)`, the same trailing shape.

        Returns:
            Tensor of shape `(n, m)`. Memory is `n * m` times the length of one vector.
        """
        same_shape("a[0], b[0]", a[:1].squeeze(0), b[:1].squeeze(0))
        gap = a.unsqueeze(1) - b.unsqueeze(0)
        return self(gap.flatten(0, 1)).reshape(a.shape[0], b.shape[0])


def host_sees(t: Tensor) -> bool:
    """Whether the host may branch on a tensor's value without waiting for an accelerator.

    Args:
        t: any tensor.

    Returns:
        True on a CPU.
    """
    return t.device.type == "cpu"


def _rows(v: Tensor) -> Tensor:
    if v.ndim == 0:
        raise ShapeError("v", "a tensor without axes", "a batch axis first", "use v.unsqueeze(0)")
    return v.reshape(v.shape[0], -1) if v.numel() else v.new_zeros(v.shape[0], 1)


def _squares_stay_in_range(rows: Tensor) -> bool:
    """Whether no difference of two such entries can be so small or large that its square leaves the range of the type.

    Two different floating-point numbers of size at least `s` are at least `s eps / 2` apart.

    Returns:
        The answer for all pairs of entries at once.
    """
    size, limits = rows.abs(), torch.finfo(rows.dtype)
    smallest = torch.where(size > 0, size, torch.inf).amin()
    return bool((smallest >= limits.tiny**0.5 / limits.eps**2) & (size.amax() <= limits.max**0.5 / (4 * rows.shape[1])))


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
        rows, columns = _rows(a), _rows(b)
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
        rows = _rows(v)
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

    def plain(self, v: Tensor) -> Tensor:
        """The root of the sum of squares as they are.

        Args:
            v: shape `(batch, ...)`.

        Returns:
            Shape `(batch,)`.
        """
        rows = _rows(v)
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
        return _rows(v).abs().amax(dim=1)

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
        return _rows(v).abs().sum(dim=1)

    def exact(self, v: Sequence[Fraction]) -> Fraction:
        """Sum of absolute entries of a rational vector.

        Args:
            v: the entries.

        Returns:
            The norm as a rational.
        """
        return sum((abs(entry) for entry in v), Fraction(0))


@final
@dataclass(frozen=True)
class Spectral(Norm):
    """Largest singular value of the trailing two axes: shape `(batch, m, n)`.

    Computed by a singular value decomposition, never by power iteration, which only bounds it from below.
    """

    name: str = "spectral"

    def __call__(self, v: Tensor) -> Tensor:
        """Largest singular value of each sample: shape `(batch, m, n)` to `(batch,)`."""
        if v.ndim != 3:
            raise ShapeError("v", f"shape {tuple(v.shape)}", "(batch, m, n)", "use Euclidean() for vectors")
        return torch.linalg.matrix_norm(v, ord=2)


@final
@dataclass(frozen=True)
class BlockSum(Norm):
    """`sum_k weights[k] * norm(block_k)` over consecutive blocks of a flat state `(batch, sum(sizes))`.

    The norm in which a cascade of contractions is a contraction (T15).

    Args:
        sizes: lengths of the blocks.
        weights: one positive weight per block.
        norm: the norm inside every block.
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    norm: Norm
    name: str = "weighted block sum"

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.weights) or not all(w > 0 for w in self.weights):
            raise InputError(
                "weights", str(self.weights), "one positive weight per block", f"pass {len(self.sizes)} weights"
            )

    def __call__(self, v: Tensor) -> Tensor:
        """Weighted block sum of each sample: shape `(batch, sum(sizes))` to `(batch,)`."""
        if v.ndim != 2 or v.shape[1] != sum(self.sizes):
            raise ShapeError(
                "v", f"shape {tuple(v.shape)}", f"(batch, {sum(self.sizes)})", "flatten and concatenate the blocks"
            )
        blocks = torch.split(v, list(self.sizes), dim=1)
        return torch.stack([w * self.norm(block) for w, block in zip(self.weights, blocks, strict=True)]).sum(dim=0)

    def exact(self, v: Sequence[Fraction]) -> Fraction:
        """Weighted block sum of a rational vector.

        Args:
            v: the entries of all blocks, one after the other.

        Returns:
            The norm as a rational; each weight is taken as the rational it is.

        Raises:
            ShapeError: not as many entries as the blocks have together.
        """
        if len(v) != sum(self.sizes):
            raise ShapeError(
                "v", f"{len(v)} entries", f"{sum(self.sizes)}, those of all blocks", "concatenate the blocks"
            )
        total, start = Fraction(0), 0
        for size, weight in zip(self.sizes, self.weights, strict=True):
            total += Fraction(weight) * self.norm.exact(v[start : start + size])
            start += size
        return total


def slopes_of(gaps: Tensor, distances: Tensor) -> Tensor:
    """Slopes of pairs; zero where two points coincide, which then carry one value.

    Args:
        gaps: distances of values, any shape.
        distances: distances of points, the same shape.

    Returns:
        `gaps / distances`, the same shape.
    """
    return torch.where(distances > 0, gaps / torch.where(distances > 0, distances, 1.0), 0.0)
