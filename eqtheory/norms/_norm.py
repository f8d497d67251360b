"""What a norm and a metric are, and the slopes they measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError

__all__ = ["Metric", "Norm", "host_sees", "rows_of", "same_shape", "slopes_of"]

_KNOW_THEIR_DUAL = "Euclidean(), Sup(), Sum(), Weighted(...), BlockSum(...), Spectral()"


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

    def aligned(self, g: Tensor) -> Tensor:
        """The vector on which a linear functional is largest.

        Args:
            g: functionals `v -> <g, v>`, shape `(batch, ...)`.

        Returns:
            Shape of `g`: `v` with `|v| <= 1` and `<g, v>` the dual norm of `g`.

        Raises:
            InputError: this norm does not know its dual.
        """
        return self._aligned(g)

    def subgradient(self, v: Tensor) -> Tensor:
        """The functional that measures a vector.

        Args:
            v: shape `(batch, ...)`.

        Returns:
            Shape of `v`: `g` of dual norm at most 1 with `<g, v> = |v|`.

        Raises:
            InputError: this norm does not know its dual.
        """
        return self._subgradient(v)

    def _aligned(self, g: Tensor) -> Tensor:  # noqa: ARG002  (norms that know override it)
        raise self._no_dual()

    def _subgradient(self, v: Tensor) -> Tensor:  # noqa: ARG002  (norms that know override it)
        raise self._no_dual()

    def _no_dual(self) -> InputError:
        return InputError("norm", self.name, "a norm that knows its dual", f"use one of {_KNOW_THEIR_DUAL}")

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


def rows_of(v: Tensor) -> Tensor:
    """One row per sample.

    Args:
        v: shape `(batch, ...)`.

    Returns:
        Shape `(batch, n)`; one zero where the state space is empty.

    Raises:
        ShapeError: no batch axis.
    """
    if v.ndim == 0:
        raise ShapeError("v", "a tensor without axes", "a batch axis first", "use v.unsqueeze(0)")
    return v.reshape(v.shape[0], -1) if v.numel() else v.new_zeros(v.shape[0], 1)


def slopes_of(gaps: Tensor, distances: Tensor) -> Tensor:
    """Slopes of pairs; zero where two points coincide, which then carry one value.

    Args:
        gaps: distances of values, any shape.
        distances: distances of points, the same shape.

    Returns:
        `gaps / distances`, the same shape.
    """
    return torch.where(distances > 0, gaps / torch.where(distances > 0, distances, 1.0), 0.0)
