"""Norms of states inside a solve: in which precision, and what rounding can have taken from them."""

from __future__ import annotations

from math import sqrt
from typing import final

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # public and documented, but not in torch's own `__all__`

from eqtheory.nests import spread
from eqtheory.norms import Euclidean, Norm, host_sees
from eqtheory.roundoff import gamma, unit_roundoff

__all__ = ["Gauge", "dot", "finite_rows", "host_sees", "largest_entry", "roundings", "rows", "working"]


def rows(v: Tensor) -> Tensor:
    """View a batch of states as a matrix.

    Args:
        v: shape `(batch, ...)`; shape `(batch,)` means scalars.

    Returns:
        Shape `(batch, n)`.
    """
    return v.reshape(v.shape[0], -1)


def dot(a: Tensor, b: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Inner products over the last axis, each independent of how many others are taken.

    A product of matrices would be faster and rounds differently for different batch sizes. A single product is given a twin, since
    torch splits a lone long sum over its threads, which also changes the last bits.

    Args:
        a: shape `(..., n)`.
        b: a shape that broadcasts with it.
        out: storage for the products.

    Returns:
        Shape `(...)`.
    """
    product = torch.mul(a, b, out=out)
    if product.numel() == product.shape[-1] and torch.get_num_threads() > 1:
        return product.reshape(1, -1).expand(2, -1).sum(dim=1)[:1].reshape(product.shape[:-1])
    return product.sum(dim=-1)


def largest_entry(v: Tensor) -> Tensor:
    """Largest absolute entry of everything, NaN where there is one.

    Args:
        v: any tensor.

    Returns:
        A tensor without axes.
    """
    low, high = torch.aminmax(v)
    return torch.maximum(-low, high)


def finite_rows(v: Tensor) -> Tensor:
    """Which samples have no entry that is NaN or infinite.

    Args:
        v: shape `(batch, ...)`.

    Returns:
        Shape `(batch,)`.
    """
    low, high = torch.aminmax(rows(v), dim=1)
    return (low > -torch.inf) & (high < torch.inf)


def working(dtype: torch.dtype) -> torch.dtype:
    """The type in which a solver computes: half precision is extrapolated in float32.

    Args:
        dtype: of the states.

    Returns:
        float32 or float64.
    """
    return dtype if dtype in {torch.float32, torch.float64} else torch.float32


def roundings(n: int) -> int:
    """Roundings in the norm of a difference of two states with n entries.

    The difference rounds once. A norm of n entries takes at most n products, n additions, one root and, with weights, a
    product per block. The 16 covers the modest constant of a singular value decomposition.

    Args:
        n: entries of a state.

    Returns:
        Their number.
    """
    return 2 * n + 16


@final
class Gauge:
    """The norm of a state space, in a precision that can carry it.

    Half precision is measured in float32: in bfloat16 a sum of 256 squares would lose every digit. float32 is measured in
    float64 where a state has so many entries that the worst case of its rounding, `gamma_{2n+16}`, exceeds 1/8 and the result
    feeds a certificate.

    Args:
        norm: the norm on states.
        y: states of the shape and dtype to come.
        certified: whether bounds rest on the measurements.
    """

    def __init__(self, norm: Norm, y: Tensor, *, certified: bool) -> None:
        self.norm = norm
        self.entries = y.shape[1:].numel()
        self.dtype = y.dtype if y.dtype in {torch.float32, torch.float64} else torch.float32
        if certified and roundings(self.entries) * unit_roundoff(self.dtype) > 1 / 8:
            self.dtype = torch.float64
        self._converts = self.dtype != y.dtype
        self._store: Tensor | None = None
        self._store_rows = torch.empty(0, 0)
        # Whether a solver's own Euclidean norms are what this gauge would measure, to the last bit.
        self.euclidean = isinstance(norm, Euclidean) and not self._converts and self.entries > 1

    def __call__(self, v: Tensor) -> Tensor:
        """Norm of each sample.

        Args:
            v: shape `(batch, ...)`.

        Returns:
            Shape `(batch,)` in `dtype`; NaN or infinite where `v` is, or where its norm overflows.

        Raises:
            LinAlgError: the norm failed on finite numbers.
        """
        # The layout decides the order of a reduction, and with it the last bits; rows in one piece make it the same for all.
        v = (v.to(self.dtype) if self._converts else v).contiguous()
        try:
            return self.norm(v)
        except LinAlgError:  # a singular value decomposition refuses the whole batch for one NaN
            bad = ~torch.isfinite(rows(v)).all(dim=1)
            if not bool(bad.any()):
                raise
            return torch.where(bad, torch.nan, self.norm(torch.where(spread(bad, v), 0.0, v)))

    def distance(self, g: Tensor, y: Tensor) -> Tensor:
        """Norm of the difference of each sample.

        Args:
            g: shape `(batch, ...)`.
            y: the same shape.

        Returns:
            Shape `(batch,)`.
        """
        return self(g.to(self.dtype) - y.to(self.dtype) if self._converts else g - y)

    def quick_distance(self, g: Tensor, y: Tensor) -> Tensor:
        """The distance, right to the last bit where it lies between `floor` and infinity.

        Args:
            g: shape `(batch, ...)`, contiguous.
            y: the same shape.

        Returns:
            Shape `(batch,)`.
        """
        if self._converts or self.norm.safe(self.dtype) == 0:
            return self.distance(g, y)
        if self._store is None or self._store.shape != g.shape:
            self._store = torch.empty_like(g)
            self._store_rows = rows(self._store)
        torch.sub(g, y, out=self._store)
        if self.euclidean:
            return torch.linalg.vector_norm(self._store_rows, dim=1)  # what `Euclidean.plain` computes, less its checks
        return self.norm.plain(self._store)

    @property
    def floor(self) -> float:
        """Below it, `quick_distance` is not to be trusted; positive."""
        return max(self.norm.safe(self.dtype), torch.finfo(self.dtype).tiny)

    @property
    def inflation(self) -> float:
        """Factor by which a true norm can exceed the computed one: `1 / (1 - gamma_{2n+16})`."""
        return 1 / (1 - gamma(roundings(self.entries), self.dtype))

    @property
    def underflow(self) -> float:
        """What squares that underflow can hide.

        An entry below `sqrt(tiny)` may square to zero, so n of them hide at most `sqrt(n tiny)`; twice that also covers a
        difference flushed to zero.
        """
        return 2 * sqrt(self.entries * torch.finfo(self.dtype).tiny)
