"""The two linear equations of a fixed point as operators, so that every solver of the engine can solve them.

    w = v + J^T w    and    u = dz + J u

Their inputs are the right-hand side, the states and the operands of the operator itself, so a batch can be cut down to the samples
that are still iterated: then the derivative is formed anew for those.
"""

from __future__ import annotations

from math import inf
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.gradients._expansion import Witnesses
from eqtheory.norms import Euclidean
from eqtheory.operators import ImplicitOperator, Regularity
from eqtheory.operators._linearization import Linearization

__all__ = ["LinearEquation", "dense"]


@final
class LinearEquation(ImplicitOperator):
    """`w -> b + A w` with `A = J^T` or `A = J`.

    Its inputs are the nest `(b, y, x)` of `inputs`.

    Args:
        jacobian: the derivative of an operator at the states of the whole batch.
        b: the right-hand side.
        transposed: whether `A` is `J^T`.
        compacts: whether the derivative of some samples costs less than that of all.
        mu: a bound on the Euclidean norm of `J`, as a function of the operator's inputs, where one is known.
        cleared: whether the last solve of nearly the same equation has shown no expansion.
    """

    def __init__(
        self,
        jacobian: Linearization,
        b: Tensor,
        *,
        transposed: bool,
        compacts: bool,
        mu: Bound | LocalBound | None,
        cleared: bool = False,
    ) -> None:
        self.compacts = compacts
        self.inputs = (b, jacobian.y, jacobian.x)
        self.regularity = None if mu is None else _contraction(mu, jacobian)
        self.witnesses = Witnesses(len(b), cleared=cleared)
        self._whole = self._part = jacobian
        self.transposed = transposed

    def product(self, w: Tensor, y: Tensor, x: Any) -> Tensor:
        """Apply `A`.

        Args:
            w: shape of the states.
            y: states, those of the whole batch or some rows of them.
            x: the operator's inputs for the same rows.

        Returns:
            `A w`.
        """
        if y is self._whole.y:
            here = self._whole
        elif y is self._part.y:
            here = self._part
        else:
            here = self._part = Linearization(self._whole.function, y, x, depth=self._whole.depth)
        return here.pull(w) if self.transposed else here.push(w)

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        b, states, inputs = x
        image = self.product(y, states, inputs)
        if states is self._whole.y:
            self.witnesses.at(y, image)
        return b + image

    def initial_state(self, x: Any) -> Tensor:
        """Start at the right-hand side, the first term of the Neumann series.

        Args:
            x: the nest `(b, y, x)`.

        Returns:
            `b`.
        """
        return x[0]

    def pushforward(self, y: Tensor, x: Any, v: Tensor) -> Tensor:  # noqa: ARG002  (the equation is linear)
        """Apply the derivative, which is `A` wherever it is taken.

        Args:
            y: states of this equation; not looked at.
            x: the nest `(b, y, x)`.
            v: directions.

        Returns:
            `A v`.
        """
        image = self.product(v, x[1], x[2])
        if x[1] is self._whole.y:
            self.witnesses.along(v, image)
        return image


def _contraction(mu: Bound | LocalBound, jacobian: Linearization) -> Regularity:
    """What is known of the equation: `|J^T| = |J| <= mu` in the Euclidean norm. No budget is."""
    inner = lambda nest: mu.at(jacobian.operands(nest[2]))  # noqa: E731
    at = LocalBound(inner, mu.side, mu.method, mu.evidence, Euclidean.name)
    unknown = Bound(inf, Side.UPPER, "nothing is known", Evidence.DECLARED)
    return Regularity(at, unknown, unknown, Euclidean(), Euclidean())


def dense(product: Any, like: Tensor) -> Tensor:
    """The matrices of a linear map, column by column.

    Args:
        product: maps shape `(batch, ...)` to the same.
        like: states.

    Returns:
        Shape `(batch, n, n)`.
    """
    batch, n = len(like), like[0].numel()
    columns = []
    for i in range(n):
        unit = like.new_zeros(batch, n)
        unit[:, i] = 1
        columns.append(product(unit.reshape(like.shape)).reshape(batch, n))
    return torch.stack(columns, dim=2)
