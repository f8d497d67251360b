"""Norms made of others: spectral, weighted, sums over blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.norms._entrywise import Euclidean
from eqtheory.norms._norm import Norm

__all__ = ["BlockSum", "Spectral", "Weighted"]


def _digest(inner: str, shape: tuple[int, ...], weights: list[float]) -> str:
    """Eight characters that tell weights apart: bounds keep the name of their norm only.

    Returns:
        The first 32 bits of a hash of what distinguishes the norm.
    """
    told = repr((inner, shape, [w.hex() for w in weights])).encode()
    return "#" + hashlib.blake2b(told, digest_size=4).hexdigest()


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

    def _aligned(self, g: Tensor) -> Tensor:
        """The orthogonal factor: all singular values 1."""
        left, _, right = torch.linalg.svd(g, full_matrices=False)
        return left @ right

    def _subgradient(self, v: Tensor) -> Tensor:
        """The product of the leading singular vectors."""
        left, _, right = torch.linalg.svd(v, full_matrices=False)
        return left[..., :1] @ right[..., :1, :]


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
    name: str = ""

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.weights) or not all(w > 0 for w in self.weights):
            raise InputError(
                "weights", str(self.weights), "one positive weight per block", f"pass {len(self.sizes)} weights"
            )
        if not self.name:
            told = _digest(self.norm.name, self.sizes, [float(w) for w in self.weights])
            object.__setattr__(self, "name", f"weighted block sum {told}")

    def __call__(self, v: Tensor) -> Tensor:
        """Weighted block sum of each sample: shape `(batch, sum(sizes))` to `(batch,)`."""
        if v.ndim != 2 or v.shape[1] != sum(self.sizes):
            raise ShapeError(
                "v", f"shape {tuple(v.shape)}", f"(batch, {sum(self.sizes)})", "flatten and concatenate the blocks"
            )
        blocks = torch.split(v, list(self.sizes), dim=1)
        return torch.stack([w * self.norm(block) for w, block in zip(self.weights, blocks, strict=True)]).sum(dim=0)

    def _aligned(self, g: Tensor) -> Tensor:
        """The block on which the functional buys most for its weight, and zero elsewhere."""
        blocks = torch.split(g, list(self.sizes), dim=1)
        best = [self.norm.aligned(block) / w for w, block in zip(self.weights, blocks, strict=True)]
        gains = torch.stack([(block * v).sum(dim=1) for block, v in zip(blocks, best, strict=True)], dim=1)
        first = gains.argmax(dim=1, keepdim=True)
        return torch.cat([torch.where(first == k, v, 0.0) for k, v in enumerate(best)], dim=1)

    def _subgradient(self, v: Tensor) -> Tensor:
        """Each block's own, at the block's weight."""
        blocks = torch.split(v, list(self.sizes), dim=1)
        return torch.cat(
            [w * self.norm.subgradient(block) for w, block in zip(self.weights, blocks, strict=True)], dim=1
        )

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


@final
@dataclass(frozen=True, eq=False)
class Weighted(Norm):
    """`norm(weights * v)`: entries measured in units of their own.

    The norm in which many non-normal operators are contractions, with `1 / weights` a positive vector that `|J|` shrinks. Norms with the
    same weights are equal; names of different ones differ.

    Args:
        weights: positive and finite, the shape of one state.
        norm: the norm of the weighted entries; Euclidean by default.
        name: what bounds call it; made from the weights where empty.

    Example:
        >>> import torch
        >>> Weighted(torch.tensor([1.0, 10.0]))(torch.tensor([[3.0, 0.4]]))
        tensor([5.])
    """

    weights: Tensor
    norm: Norm = field(default_factory=Euclidean)
    name: str = ""
    _ends: tuple[float, float] = field(init=False, repr=False, default=(1.0, 1.0))

    def __post_init__(self) -> None:
        if not isinstance(self.weights, Tensor) or not bool((torch.isfinite(self.weights) & (self.weights > 0)).all()):
            shown = " ".join(str(self.weights).split())
            raise InputError("weights", shown[:60], "a tensor of finite numbers > 0", "pass one weight per entry")
        kept = self.weights.detach().to(torch.float64)
        ends = (float(kept.amin()), float(kept.amax())) if kept.numel() else (1.0, 1.0)
        object.__setattr__(self, "_ends", ends)
        if not self.name:
            told = _digest(self.norm.name, tuple(self.weights.shape), self.weights.detach().double().flatten().tolist())
            object.__setattr__(self, "name", f"weighted {self.norm.name} {told}")

    def __eq__(self, other: object) -> bool:
        """Compare weights by value, whatever type and device they are kept in."""
        if not isinstance(other, Weighted):
            return NotImplemented
        if self is other:
            return True
        if (self.norm, self.name, self.weights.shape) != (other.norm, other.name, other.weights.shape):
            return False
        return torch.equal(self.weights.detach().double().cpu(), other.weights.detach().double().cpu())

    def __hash__(self) -> int:
        return hash((self.norm, self.name))

    def __call__(self, v: Tensor) -> Tensor:
        """Norm of the weighted entries: shape `(batch, ...)` to `(batch,)`."""
        return self.norm(self._weights(v) * v)

    def _aligned(self, g: Tensor) -> Tensor:
        """The inner norm's, in the units of the entries."""
        return self.norm.aligned(self._in_range(g, -1)) / self._weights(g)

    def _subgradient(self, v: Tensor) -> Tensor:
        """The inner norm's, times the weights."""
        return self._weights(v) * self.norm.subgradient(self._in_range(v, 1))

    def _in_range(self, v: Tensor, power: int) -> Tensor:
        """`weights^power * v`, each sample divided by a power of two, so that no entry overflows and the largest does not underflow.

        Which vector a norm aligns with, and which functional measures one, does not depend on the length.

        Returns:
            Entries of size at most 2.
        """
        if v.numel() == 0:
            return v
        (digits, order), (unit, step) = torch.frexp(v), torch.frexp(self._weights(v))
        order = (order + power * step).reshape(v.shape[0], -1)
        present = (digits != 0).reshape(order.shape)
        top = torch.where(present, order, torch.iinfo(order.dtype).min).amax(dim=1, keepdim=True)
        shift = torch.where(present, order - top, 0).reshape(v.shape).to(v.dtype)
        return (digits * unit if power > 0 else digits / unit) * torch.exp2(shift)

    def exact(self, v: Sequence[Fraction]) -> Fraction:
        """Norm of a rational vector; each weight is taken as the rational it is.

        Args:
            v: the entries.

        Returns:
            The norm as a rational.

        Raises:
            ShapeError: not as many entries as weights.
        """
        weights = self.weights.reshape(-1).tolist()
        if len(v) != len(weights):
            raise ShapeError("v", f"{len(v)} entries", f"{len(weights)}, one per weight", "pass one state")
        return self.norm.exact([Fraction(w) * entry for w, entry in zip(weights, v, strict=True)])

    def _weights(self, v: Tensor) -> Tensor:
        if v.shape[1:] != self.weights.shape:
            raise ShapeError(
                "v",
                f"shape {tuple(v.shape)}",
                f"(batch, {', '.join(map(str, self.weights.shape))})",
                "one weight per entry",
            )
        if self.weights.dtype != v.dtype:
            limits, (low, high) = torch.finfo(v.dtype), self._ends
            if low < limits.tiny or high > limits.max:
                came = f"weights from {low:.3g} to {high:.3g} for entries of {v.dtype}"
                raise InputError(
                    "weights", came, "weights in the range of the type", "convert the state with .double()"
                )
        return self.weights.to(v)
