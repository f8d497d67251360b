"""What a concrete target supplies: its description and the mathematics, as hooks that see only valid inputs.

Inputs of hooks are float64, of the right shape, finite and (except in `_contains`) inside the domain; `Target` sees to that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Generator, Tensor

from eqtheory.bounds import Side
from eqtheory.norms import Euclidean, Norm

__all__ = ["TargetHooks"]


class TargetHooks(ABC):
    """The part of a target that differs from map to map.

    Attributes:
        name: a short name, unique in the catalogue.
        formula: the map and its domain in one line.
        domain: the domain alone, for error messages.
        remedy: what to do with a point outside.
        input_norm: the metric on `X` is the norm of the difference.
        output_norm: the norm on `Y`.
        input_shape: shape of one sample; `()` for scalars.
        output_shape: shape of one value.
        evaluation_ulps: evaluation error in unit roundoffs of float64, relative to the map's error scale: `|F(x)|` unless the
            class says otherwise. `evaluation_error` gives the absolute bound.
        bound_ulps: relative amount in unit roundoffs by which computed bounds are raised to outweigh their own rounding.
        modulus_side: whether `local_modulus` is the exact value (the rule) or an upper bound (some combinations).
        is_globally_lipschitz: false for every target; this is what makes T8's constant step fail and T3 worth having.
    """

    name: str
    formula: str
    domain: str
    remedy: str
    input_norm: Norm = Euclidean()
    output_norm: Norm = Euclidean()
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    evaluation_ulps: float
    bound_ulps: float = 64.0
    modulus_side: Side = Side.EXACT
    is_globally_lipschitz: bool = False

    @abstractmethod
    def _contains(self, x: Tensor) -> Tensor:
        """Which points lie in the domain, `(batch,)`; NaN and infinity count as outside."""

    @abstractmethod
    def _value(self, x: Tensor) -> Tensor:
        """`F(x)`, differentiable."""

    @abstractmethod
    def _modulus(self, x: Tensor) -> Tensor:
        """`lip F(x)`, `(batch,)`."""

    @abstractmethod
    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds on `sup |F|` and `lip F` over `B(x,r)`, before they are raised by `bound_ulps`; NaN is read as infinity."""

    @abstractmethod
    def _draw(self, n: int, generator: Generator) -> Tensor:
        """`n` hostile points; those outside are drawn again."""

    @abstractmethod
    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        """Pairs `(x, F(x))` in closed form."""

    @abstractmethod
    def _reference(self, mp: Any, x: Any) -> Any:
        """The value from `mpmath` numbers, by a way of its own."""

    @abstractmethod
    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """One pair per depth in `(0, 1]`, of unbounded slope as the depth goes to zero; pairs outside are skipped."""

    def _error_scale(self, x: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002  (conditioning depends on x elsewhere)
        """What `evaluation_ulps` is relative to, `(batch,)`."""
        return self.output_norm(value)

    def _tangent(self, v: Tensor) -> Tensor:
        """The nearest vectors along which the domain extends: all of them, unless the domain lies in a subspace."""
        return v
