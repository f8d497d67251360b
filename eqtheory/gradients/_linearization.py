r"""The derivative of an operator in its state, at fixed states: products with `J = dF/dy` and with its transpose.

One evaluation of `F` with autograd on leaves a graph; every product `J^T w` runs it backwards. That product is linear in `w`, so
its own derivative in the direction `u` is `J u`: a graph of it, built once with a placeholder in the place of `w`, gives products
with `J` by plain reverse differentiation, for every operation that can be differentiated twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.nests import map_tensors

__all__ = ["Linearization", "Map"]

Map = Callable[[Tensor, Any], Tensor]
"""States and a nest of inputs to states."""


@final
class Linearization:
    """`J = dF/dy` at the states `y` and inputs `x`.

    Args:
        function: maps states and inputs to states of the same shape.
        y: states, shape `(batch, ...)`.
        x: a nest of inputs; nothing is differentiated with respect to them.
        graph: states that require a gradient and `F` there, where they have been computed already.
    """

    def __init__(self, function: Map, y: Tensor, x: Any, *, graph: tuple[Tensor, Tensor] | None = None) -> None:
        self.function, self.y, self.x = function, y, x
        self._graph = graph
        self._transposed: tuple[Tensor, Tensor] | None = None

    def pull(self, w: Tensor) -> Tensor:
        """Apply the transpose.

        Args:
            w: shape of the states.

        Returns:
            `J^T w`.
        """
        at, value = self._recorded()
        return _product(value, at, w)

    def push(self, u: Tensor) -> Tensor:
        """Apply the derivative.

        Args:
            u: shape of the states.

        Returns:
            `J u`.
        """
        if self._transposed is None:
            at, value = self._recorded()
            with torch.enable_grad():
                placeholder = torch.zeros_like(value).requires_grad_()
                self._transposed = placeholder, _product(value, at, placeholder, differentiable=True)
        placeholder, product = self._transposed
        return _product(product, placeholder, u)

    def _recorded(self) -> tuple[Tensor, Tensor]:
        if self._graph is None:
            x = map_tensors(torch.Tensor.detach, self.x)
            with torch.enable_grad():
                at = self.y.detach().requires_grad_()
                self._graph = at, self.function(at, x)
        return self._graph


def _product(value: Tensor, at: Tensor, w: Tensor, *, differentiable: bool = False) -> Tensor:
    """The derivative of `<w, value>` in `at`, zero where there is no dependence."""
    if not value.requires_grad:
        return torch.zeros_like(at)
    found = torch.autograd.grad(
        value, at, w.to(value.dtype), retain_graph=True, create_graph=differentiable, allow_unused=True
    )[0]
    return torch.zeros_like(at) if found is None else found
