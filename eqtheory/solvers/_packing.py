"""States of several tensors: one matrix for the solver, a tuple for the operator."""

from __future__ import annotations

from math import prod
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import Norm
from eqtheory.operators import ImplicitOperator
from eqtheory.validate import batch_of

__all__ = ["Packed"]


@final
class Packed(ImplicitOperator):
    """An operator on tuples as an operator on matrices whose rows hold the tuple's tensors one after the other.

    Norms are those of the row, so the tuple counts as one vector: the Euclidean norm is the root of the sum of all squares, and
    a `BlockSum` weighs the parts.

    Args:
        operator: maps tuples of tensors to tuples of the same shapes.
        parts: states, each of shape `(batch, ...)`, of one dtype on one device.

    Raises:
        InputError: no tensor, or different dtypes or devices.
        ShapeError: different batches.
    """

    def __init__(self, operator: ImplicitOperator, parts: tuple[Tensor, ...]) -> None:
        if not parts:
            raise InputError("y0", "an empty tuple", "at least one tensor", "pass the starting states")
        for i, part in enumerate(parts):
            batch_of(f"y0[{i}]", part)
            if part.shape[0] != parts[0].shape[0]:
                came = f"{part.shape[0]} samples beside {parts[0].shape[0]} in y0[0]"
                raise ShapeError(f"y0[{i}]", came, "one batch for all parts", "expand the shorter one")
            if (part.dtype, part.device) != (parts[0].dtype, parts[0].device):
                came = f"{part.dtype} on {part.device} beside {parts[0].dtype} on {parts[0].device}"
                raise InputError(f"y0[{i}]", came, "one dtype and device for all parts", "convert the parts")
        self.operator = operator
        self.regularity = operator.regularity
        self.shapes = [part.shape[1:] for part in parts]
        self._sizes = [prod(shape) for shape in self.shapes]

    @property
    def norm(self) -> Norm:
        """The norm of the operator on tuples, taken of rows."""
        return self.operator.norm

    def pack(self, parts: tuple[Tensor, ...]) -> Tensor:
        """Lay the parts side by side.

        Args:
            parts: tensors of shape `(batch, ...)`.

        Returns:
            Shape `(batch, n)`.
        """
        return torch.cat([part.reshape(part.shape[0], -1) for part in parts], dim=1)

    def unpack(self, v: Tensor) -> tuple[Tensor, ...]:
        """Cut rows into the parts.

        Args:
            v: shape `(..., n)`.

        Returns:
            Views, each of shape `(..., *shape)`.
        """
        cut = torch.split(v, self._sizes, dim=-1)
        return tuple(part.reshape(*v.shape[:-1], *shape) for part, shape in zip(cut, self.shapes, strict=True))

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        parts = self.operator(self.unpack(y), x)  # type: ignore[arg-type]  # the operator under it takes tuples
        came = [tuple(p.shape[1:]) if isinstance(p, Tensor) else type(p).__name__ for p in parts]
        if not isinstance(parts, tuple) or came != [tuple(shape) for shape in self.shapes]:
            needed = f"a tuple of the state's shapes {[tuple(shape) for shape in self.shapes]} after the batch"
            raise ShapeError(
                "G(y, x)", f"{type(parts).__name__} of {came}", needed, "an operator maps states to states"
            )
        return self.pack(parts)

    def initial_state(self, x: Any) -> Tensor:
        """Start where the operator on tuples does.

        Args:
            x: inputs.

        Returns:
            Shape `(batch, n)`.
        """
        return self.pack(self.operator.initial_state(x))  # type: ignore[arg-type]
