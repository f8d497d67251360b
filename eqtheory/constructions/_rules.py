"""From radii to relaxations: the two steps the theory licenses.

`rho` is the largest radius up to 1 on which the map is tame, `r (1 + sup|F| + lip F) <= 1` on the ball; `sigma >= rho` is the
same without the slope. Both work on tensors and on rationals.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

__all__ = ["RadiusProduct", "RelaxationRule", "SquaredRadius"]


class RelaxationRule(ABC):
    """How a relaxation is made from the two radii.

    Law: `eps` and `eps F` are 2-Lipschitz for every locally Lipschitz `F`.
    """

    theorem: str

    @abstractmethod
    def __call__(self, rho: Any, sigma: Any) -> Any:
        """Return the relaxation.

        Args:
            rho: radius that sees size and slope, in `(0, 1]`.
            sigma: radius that sees size only, `rho <= sigma <= 1`.

        Returns:
            `eps` in `(0, 1]`, in the number type that came in.
        """


@final
@dataclass(frozen=True)
class SquaredRadius(RelaxationRule):
    """`eps = rho^2` (T3).

    Example:
        >>> from fractions import Fraction
        >>> SquaredRadius()(Fraction(1, 2), Fraction(1))
        Fraction(1, 4)
    """

    theorem: str = "T3"

    def __call__(self, rho: Any, sigma: Any) -> Any:  # noqa: ARG002  (same signature for every rule)
        return rho * rho


@final
@dataclass(frozen=True)
class RadiusProduct(RelaxationRule):
    """`eps = rho sigma` (T3b): the same budget, never slower, and of optimal order in the slope.

    Example:
        >>> from fractions import Fraction
        >>> RadiusProduct()(Fraction(1, 2), Fraction(1))
        Fraction(1, 2)
    """

    theorem: str = "T3b"

    def __call__(self, rho: Any, sigma: Any) -> Any:
        return rho * sigma
