"""Where points may move when steep places are looked for: convex sets one can project onto."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError

__all__ = ["Box", "Everywhere", "Region"]


class Region(ABC):
    """A convex set, on which a bound on Jacobians is a bound on slopes (N9 shows that convexity is needed).

    Laws: a projection lies in the set, and points of the set stay where they are.
    """

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """Move points into the set.

        Args:
            x: shape `(batch, ...)`.

        Returns:
            The nearest points, the shape of `x`; differentiable almost everywhere.
        """

    def contains(self, x: Tensor) -> Tensor:
        """Say which points lie in the set.

        Args:
            x: shape `(batch, ...)`.

        Returns:
            Booleans, shape `(batch,)`.
        """
        return (self.project(x) == x).reshape(x.shape[0], -1).all(dim=1)


@final
@dataclass(frozen=True)
class Everywhere(Region):
    """The whole space."""

    def project(self, x: Tensor) -> Tensor:
        """Leave points where they are.

        Args:
            x: shape `(batch, ...)`.

        Returns:
            `x`.
        """
        return x


@final
@dataclass(frozen=True, eq=False)
class Box(Region):
    """All points between two corners.

    Args:
        low: lower corner, a number or a tensor of the shape of one sample.
        high: upper corner.

    Raises:
        InputError: the corners are in the wrong order, or NaN.

    Example:
        >>> import torch
        >>> Box(-1.0, 1.0).project(torch.tensor([[3.0, 0.5]]))
        tensor([[1.0000, 0.5000]])
    """

    low: Tensor | float
    high: Tensor | float

    def __post_init__(self) -> None:
        low, high = _corner(self.low), _corner(self.high)
        if not bool((low <= high).all()):
            raise InputError("low, high", "corners in the wrong order, or NaN", "low <= high", "swap or repair them")

    @staticmethod
    def around(x: Tensor) -> Box:
        """The smallest box that holds all samples.

        Args:
            x: shape `(batch, ...)`.

        Returns:
            The box.
        """
        return Box(x.amin(dim=0), x.amax(dim=0))

    def project(self, x: Tensor) -> Tensor:
        """Clamp every coordinate.

        Args:
            x: shape `(batch, ...)`.

        Returns:
            The nearest points.
        """
        return torch.minimum(torch.maximum(x, _corner(self.low).to(x)), _corner(self.high).to(x))


def _corner(value: Tensor | float) -> Tensor:
    # A bare number would become float32 and leave the box.
    return value if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)
