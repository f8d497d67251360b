"""Maps of a vector that lose their Lipschitz constant at the origin: inversion in the sphere and normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from eqtheory.errors import InputError
from eqtheory.targets._arithmetic import reach
from eqtheory.targets._base import Target
from eqtheory.targets._domains import log_uniform, mixture, unit_vectors

__all__ = ["InversionMap", "NormalisationMap"]


class _PuncturedSpaceTarget(Target):
    """Maps of `R^d` without the origin, in Euclidean norms.

    Args:
        dimension: of the space, at least 2.
    """

    domain = "x != 0"
    remedy = "drop the sample at the origin"

    def __init__(self, dimension: int, title: str, formula: str) -> None:
        if dimension < 2:
            raise InputError("dimension", str(dimension), "dimension >= 2", "on the line use TwoSidedReciprocalMap")
        self.dimension = dimension
        self.name = f"{title} in R^{dimension}"
        self.formula = f"{formula} on R^{dimension} without 0"
        self.input_shape = self.output_shape = (dimension,)
        # Squares, sum, root and division of the norm, then of the quotients.
        self.evaluation_ulps = 8.0 + 2.0 * dimension
        self.bound_ulps = 64.0 + 8.0 * dimension

    def _length(self, x: Tensor) -> Tensor:
        # Scaled by the largest entry, so that squares neither overflow nor underflow.
        largest = x.abs().amax(dim=1)
        scale = torch.where(largest > 0, largest, torch.ones_like(largest))
        return scale * torch.linalg.vector_norm(x / scale.unsqueeze(1), dim=1)

    def _contains(self, x: Tensor) -> Tensor:
        return (x != 0).any(dim=1)

    def _draw(self, n: int, generator: Generator) -> Tensor:
        direction = unit_vectors(n, self.dimension, generator)
        axis = torch.round(direction / direction.abs().amax(dim=1, keepdim=True))
        size = mixture(generator, log_uniform(n, 1e-8, 1, generator), log_uniform(n, 1e-2, 1e4, generator))
        return size.unsqueeze(1) * mixture(generator, direction, direction, axis)

    def _axis(self, size: Tensor, which: int) -> Tensor:
        point = size.new_zeros(size.shape[0], self.dimension)
        point[:, which] = size
        return point

    def _padded(self, sympy: Any, *entries: Any) -> tuple[Any, ...]:
        return (*entries, *[sympy.Integer(0)] * (self.dimension - len(entries)))


class InversionMap(_PuncturedSpaceTarget):
    """Inversion in the unit sphere, `x / |x|^2` on `R^d` without 0.

    For all pairs `|F(a) - F(b)| = |a - b| / (|a| |b|)` (square both sides), so on a ball that does not reach 0 both
    `sup |F| = 1/(|x|-r)` and `lip = 1/(|x|-r)^2` are exact; no convexity is used.

    Args:
        dimension: `d`, at least 2.
    """

    def __init__(self, dimension: int = 3) -> None:
        super().__init__(dimension, "inversion", "x/|x|^2")

    def _value(self, x: Tensor) -> Tensor:
        length = self._length(x).unsqueeze(1)
        return x / length / length

    def _modulus(self, x: Tensor) -> Tensor:
        return self._length(x) ** -2

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        left = reach(self._length(x), r)
        return 1 / left, left**-2

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        q = sympy.Rational
        return (
            (self._padded(sympy, q(1, 2), q(0)), self._padded(sympy, q(2), q(0))),
            (self._padded(sympy, q(3), q(-4)), self._padded(sympy, q(3, 25), q(-4, 25))),
            (self._padded(sympy, q(1, 1024), q(1, 1024)), self._padded(sympy, q(512), q(512))),
        )

    def _reference(self, mp: Any, x: Any) -> Any:
        squared = mp.fsum(entry**2 for entry in x)
        return [entry / squared for entry in x]

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return self._axis(depth, 0), self._axis(depth / 2, 0)


class NormalisationMap(_PuncturedSpaceTarget):
    """The direction `x / |x|` of a vector of `R^d` without 0: bounded by 1, steep near 0.

    `| a/|a| - b/|b| | <= 2 |a - b| / (|a| + |b|)` for all pairs (Dunkl and Williams 1964, in inner product spaces), so
    `lip <= 1/(|x|-r)` on a ball that does not reach 0; the derivative `(I - n n^T)/|x|` gives the local modulus `1/|x|`.

    Args:
        dimension: `d`, at least 2 (on the line it is the sign, of modulus 0).
    """

    def __init__(self, dimension: int = 3) -> None:
        super().__init__(dimension, "normalisation", "x/|x|")

    def _value(self, x: Tensor) -> Tensor:
        return x / self._length(x).unsqueeze(1)

    def _modulus(self, x: Tensor) -> Tensor:
        return 1 / self._length(x)

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(r), 1 / reach(self._length(x), r)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        q = sympy.Rational
        root = 1 / sympy.sqrt(2)
        return (
            (self._padded(sympy, q(1, 2), q(0)), self._padded(sympy, q(1), q(0))),
            (self._padded(sympy, q(3), q(-4)), self._padded(sympy, q(3, 5), q(-4, 5))),
            (self._padded(sympy, q(1, 1024), q(-1, 1024)), self._padded(sympy, root, -root)),
        )

    def _reference(self, mp: Any, x: Any) -> Any:
        length = mp.sqrt(mp.fsum(entry**2 for entry in x))
        return [entry / length for entry in x]

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return self._axis(depth, 0), self._axis(depth, 1)
