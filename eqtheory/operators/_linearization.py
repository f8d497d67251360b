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

from eqtheory.errors import GradientUnavailableError
from eqtheory.nests import map_tensors

__all__ = ["Linearization", "Map"]

Map = Callable[[Tensor, Any], Tensor]
"""States and a nest of inputs to states."""


@final
class Linearization:
    """`J = dF/dy` at the states `y` and inputs `x`.

    Args:
        function: maps states and inputs to states, which may have another shape here.
        y: states, shape `(batch, ...)`.
        x: a nest of inputs; nothing is differentiated with respect to them.
        graph: states that require a gradient and `F` there, where they have been computed already.
        depth: 0 where `F` is the operator itself. Where it is the adjoint equation of another one, whose inputs are then the third part
            of `x`, one more than the depth of that; its derivative in the state is `J` or its transpose at every depth.
    """

    def __init__(
        self, function: Map, y: Tensor, x: Any, *, graph: tuple[Tensor, Tensor] | None = None, depth: int = 0
    ) -> None:
        self.function, self.y, self.x, self.depth = function, y, x, depth
        self._graph = graph
        self._transposed: tuple[Tensor, Tensor] | None = None

    def operands(self, nest: Any) -> Any:
        """The inputs of the operator itself.

        Args:
            nest: `x`, or the same for some samples: the inputs and captured tensors, under the operands of `depth` adjoints.

        Returns:
            The innermost inputs.
        """
        for _ in range(self.depth):
            nest = nest[2]
        return nest[0]

    def pull(self, w: Tensor) -> Tensor:
        """Apply the transpose.

        Args:
            w: shape of the values.

        Returns:
            `J^T w`, shape of the states.
        """
        at, value = self._recorded()
        found = _product(value, at, w)
        if found is None:
            self._require_constant(value)
            return torch.zeros_like(at)
        return found

    def push(self, u: Tensor) -> Tensor:
        """Apply the derivative.

        Args:
            u: shape of the states.

        Returns:
            `J u`, shape of the values.
        """
        if self._transposed is None:
            at, value = self._recorded()
            with torch.enable_grad():
                placeholder = torch.zeros_like(value).requires_grad_()
                product = _product(value, at, placeholder, differentiable=True)
            if product is None:
                self._require_constant(value)
                product = torch.zeros_like(at)
            self._transposed = placeholder, product
        placeholder, product = self._transposed
        found = _product(product, placeholder, u)
        return torch.zeros_like(placeholder) if found is None else found

    def _require_constant(self, value: Tensor) -> None:
        """Make sure that an operator without a derivative in its state does not depend on it either.

        Raises:
            GradientUnavailableError: it does, by ways that autograd does not see.
        """
        with torch.no_grad():
            moved = self.function(self.y.detach() * 1.001 + 1e-3, map_tensors(torch.Tensor.detach, self.x))
        if not torch.equal(moved, value.detach()) and bool(torch.isfinite(moved).all()):
            if torch.is_inference_mode_enabled():
                message = "G was evaluated in inference mode, where nothing is differentiated; leave torch.inference_mode() for this call"
                raise GradientUnavailableError(message)
            message = (
                "G depends on its state in a way that autograd does not see (a detached state, numpy, or an operation without derivative), "
                "so its fixed point has no gradient; build G from differentiable operations, or call fixed_point under torch.no_grad()"
            )
            raise GradientUnavailableError(message)

    def _recorded(self) -> tuple[Tensor, Tensor]:
        if self._graph is None:
            x = map_tensors(torch.Tensor.detach, self.x)
            with torch.enable_grad():
                at = self.y.detach()
                # Autograd may not know of what was made in inference mode, but of copies of it.
                at = (at.clone() if at.is_inference() else at).requires_grad_()
                self._graph = at, self._evaluated(at.clone(), x)  # a copy, since the function may work in place
        return self._graph

    def _evaluated(self, y: Tensor, x: Any) -> Tensor:
        """The value with its graph.

        Returns:
            `F(y, x)`.

        Raises:
            GradientUnavailableError: the function holds tensors that were made in inference mode.
            RuntimeError: what else it raises.
        """
        try:
            return self.function(y, x)
        except RuntimeError as error:
            if "Inference tensors cannot be saved for backward" not in str(error):
                raise
            message = (
                "the function uses tensors that were made in torch.inference_mode(), through which nothing is differentiated; make its "
                "weights outside of that mode, or clone them outside of it"
            )
            raise GradientUnavailableError(message) from error


def _product(value: Tensor, at: Tensor, w: Tensor, *, differentiable: bool = False) -> Tensor | None:
    """The derivative of `<w, value>` in `at`, `None` where autograd knows of no dependence."""
    if not value.requires_grad:
        return None
    return torch.autograd.grad(
        value, at, w.to(value.dtype), retain_graph=True, create_graph=differentiable, allow_unused=True
    )[0]
