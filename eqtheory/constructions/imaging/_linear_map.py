"""A linear forward map `A`, its adjoint, its regularised normal equations, and what is known of its singular values."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from eqtheory.bounds import Bound
from eqtheory.errors import InputError, ShapeError
from eqtheory.validate import positive

__all__ = ["LinearMap", "Scalar", "axis_free", "same_trailing", "scalar_value"]

Scalar = float | Tensor
"""A number, or a tensor without axes that may carry a gradient."""


class LinearMap(ABC):
    """A real linear map that acts on a batch, one sample at a time, between Euclidean spaces.

    Laws: `<A y, x> = <y, A^T x>`; `(A^T A + beta I) solve(v, beta) = v`; `|A y| <= norm |y|`; `|A y| >= smallest |y|`. All methods
    are differentiable in every tensor they are handed.
    """

    @property
    @abstractmethod
    def norm(self) -> Bound:
        """Upper bound on the largest singular value."""

    @property
    @abstractmethod
    def smallest(self) -> Bound:
        """Lower bound on the smallest singular value over the whole state space; 0 where `A` has a null space."""

    @abstractmethod
    def __call__(self, y: Tensor) -> Tensor:
        """Apply the map.

        Args:
            y: states, batch axis first.

        Returns:
            `A y`, batch axis first.
        """

    @abstractmethod
    def adjoint(self, x: Tensor) -> Tensor:
        """Apply the adjoint.

        Args:
            x: observations, batch axis first.

        Returns:
            `A^T x`, in the state space.
        """

    def normal(self, y: Tensor) -> Tensor:
        """Apply `A^T A`.

        Args:
            y: states, batch axis first.

        Returns:
            `A^T A y`, the shape of `y`.
        """
        return self.adjoint(self(y))

    @abstractmethod
    def solve(self, v: Tensor, beta: Scalar) -> Tensor:
        """Solve `(A^T A + beta I) u = v`.

        Args:
            v: right sides in the state space, batch axis first.
            beta: regularisation, positive; a number or a tensor without axes.

        Returns:
            `u`, the shape of `v`.
        """


def scalar_value(name: str, value: Scalar) -> float:
    """Require a positive number, or a tensor without axes that holds one.

    Args:
        name: name of the argument.
        value: what came.

    Returns:
        Its value without a gradient; on an accelerator this waits for it.

    Raises:
        ShapeError: a tensor with axes.
        InputError: not a finite number above zero.
    """
    if isinstance(value, Tensor):
        if value.ndim != 0:
            raise ShapeError(
                name, f"shape {tuple(value.shape)}", "a number or a tensor without axes", "pass for example value[0]"
            )
        return positive(name, float(value.detach()))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(name, repr(value), "a number or a tensor without axes", f"pass for example {name}=0.5")
    return positive(name, float(value))


def axis_free(name: str, value: Scalar) -> Scalar:
    """Require a number above zero, or a tensor without axes whose value is not looked at, so that nothing waits for an accelerator.

    Args:
        name: name of the argument.
        value: what came.

    Returns:
        `value`.
    """
    if isinstance(value, Tensor) and value.ndim == 0:
        return value
    scalar_value(name, value)
    return value


def same_trailing(name: str, value: Tensor, trailing: tuple[int | None, ...], remedy: str) -> None:
    """Require a shape after the batch axis and a type the arithmetic is done in; the entries are not looked at.

    Args:
        name: name of the argument.
        value: what came.
        trailing: the shape after the batch axis, `None` where any length will do.
        remedy: what to do.

    Raises:
        InputError: not a tensor of float32 or float64.
        ShapeError: another shape.
    """
    if not isinstance(value, Tensor):
        raise InputError(name, type(value).__name__, "a torch.Tensor", "wrap it in torch.as_tensor(...)")
    if value.dtype not in (torch.float32, torch.float64):
        raise InputError(name, f"dtype {value.dtype}", "float32 or float64", "convert with .float() or .double()")
    fits = value.ndim == 1 + len(trailing) and all(
        t is None or t == n for t, n in zip(trailing, value.shape[1:], strict=True)
    )
    if not fits:
        wanted = "(batch" + "".join(f", {'*' if t is None else t}" for t in trailing) + ")"
        raise ShapeError(name, f"shape {tuple(value.shape)}", wanted, remedy)
