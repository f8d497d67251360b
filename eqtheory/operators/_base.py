"""The operator `G(y, x)` whose fixed point `y*(x) = G(y*(x), x)` an implicit model computes.

The first axis of a state is the batch; everything after it is one vector of the state space. Inputs are tensors with the
same batch axis, or nests of tensors (tuple, list, dict, dataclass).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import Euclidean, Norm
from eqtheory.operators._regularity import Regularity

__all__ = ["FunctionOperator", "ImplicitOperator", "as_operator"]


class ImplicitOperator(ABC):
    """An operator that acts on a batch of states, one sample at a time.

    Laws: the result has the shape, dtype and device of the state; a sample's result does not depend on its batch mates;
    equal arguments give equal results.
    """

    regularity: Regularity | None = None
    compacts: bool = True
    """Whether fewer samples cost less; not where most of the cost is work that is remembered per input."""

    @property
    def norm(self) -> Norm:
        """The norm in which states are measured: the declared one, else Euclidean."""
        return self.regularity.state_norm if self.regularity is not None else Euclidean()

    @abstractmethod
    def __call__(self, y: Tensor, x: Any) -> Tensor:
        """Apply the operator once.

        Args:
            y: states, shape `(batch, ...)`.
            x: inputs with the same batch axis.

        Returns:
            New states, the shape of `y`.
        """

    @abstractmethod
    def initial_state(self, x: Any) -> Tensor:
        """Return the state from which iterations start.

        Args:
            x: inputs with a batch axis.

        Returns:
            States, shape `(batch, ...)`.
        """

    def pushforward(self, y: Tensor, x: Any, v: Tensor) -> Tensor:
        """Apply the derivative in the state, `(dG/dy)(y, x) v`; by forward differentiation, unless the operator knows better.

        Args:
            y: states, shape `(batch, ...)`.
            x: inputs.
            v: directions, the shape of `y`.

        Returns:
            The products, the shape of `y`.
        """
        return torch.func.jvp(lambda at: self(at, x), (y,), (v,))[1]


@final
class FunctionOperator(ImplicitOperator):
    """A plain function or `torch.nn.Module` of signature `(y, x) -> y` as an operator.

    Args:
        function: the callable.
        initial_state: callable of `x`; without it, `y0` has to be passed to the solver.
        regularity: constants, if any are known.
    """

    def __init__(
        self,
        function: Callable[[Tensor, Any], Tensor],
        *,
        initial_state: Callable[[Any], Tensor] | None = None,
        regularity: Regularity | None = None,
    ) -> None:
        if not callable(function):
            raise InputError(
                "function", type(function).__name__, "a callable (y, x) -> y", "pass a function or a Module"
            )
        self.function = function
        self.regularity = regularity
        self._initial_state = initial_state

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        out = self.function(y, x)
        if isinstance(y, tuple):  # checked part by part where tuples are packed
            return out
        if not isinstance(out, Tensor) or out.shape != y.shape:
            came = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise ShapeError(
                "G(y, x)", came, f"the state's shape {tuple(y.shape)}", "an operator maps states to states"
            )
        return out

    def initial_state(self, x: Any) -> Tensor:
        """Return the state from which iterations start.

        Args:
            x: inputs with a batch axis.

        Returns:
            States, shape `(batch, ...)`.

        Raises:
            InputError: no rule for the initial state was given.
        """
        if self._initial_state is None:
            raise InputError("y0", "None", "an initial state, since the operator has none", "pass y0=torch.zeros(...)")
        return self._initial_state(x)


def as_operator(G: ImplicitOperator | Callable[[Tensor, Any], Tensor]) -> ImplicitOperator:
    """Accept an operator, a function or a module.

    Args:
        G: anything callable as `G(y, x)`.

    Returns:
        `G` itself if it is an `ImplicitOperator`, else a `FunctionOperator` around it.

    Example:
        >>> import torch
        >>> G = as_operator(lambda y, x: 0.5 * y + x)
        >>> G(torch.zeros(1), torch.ones(1))
        tensor([1.])
    """
    return G if isinstance(G, ImplicitOperator) else FunctionOperator(G)
