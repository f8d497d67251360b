"""Operators that work in place, in curves: noticed while they run, and then run again on copies.

A copy of state and input at every step would cost small operators a good part of their time, and nearly none of them needs it. Torch
counts changes in place for every tensor, so a look at the counters before and after an evaluation says whether its arguments were
changed, and one after the next evaluation whether that wrote into the value given before. Not counted: changes through `.data` or numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.lipschitz._copies import copied
from eqtheory.nests import tensors
from eqtheory.norms import Norm
from eqtheory.operators import ImplicitOperator, Regularity

__all__ = ["OnCopies", "Watching", "WorksInPlaceError"]


class WorksInPlaceError(Exception):
    """An evaluation has changed its arguments or an earlier value: what has been computed is worth nothing."""


class _Standing(ImplicitOperator):
    """An operator in the place of another one.

    Args:
        G: the other one.
    """

    def __init__(self, G: ImplicitOperator) -> None:
        self.G, self.compacts = G, G.compacts

    @property
    def regularity(self) -> Regularity | None:  # type: ignore[override]  # may follow parameters, so it is not kept
        """What the operator declares."""
        return self.G.regularity

    @property
    def norm(self) -> Norm:
        """The norm in which states are measured."""
        return self.G.norm


@final
class Watching(_Standing):
    """Gives up as soon as an evaluation works in place.

    Args:
        G: the operator.
    """

    def __init__(self, G: ImplicitOperator) -> None:
        super().__init__(G)
        self._last, self._then = torch.empty(0), 0

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        try:  # counters alone where they are all there is to read, since evaluations can be as short as this
            given = y._version + x._version  # noqa: SLF001
        except (AttributeError, RuntimeError):  # a nest, or tensors made in inference mode
            value = self._watched(self.G, y, x)
        else:
            value = self.G(y, x)
            if y._version + x._version != given:  # noqa: SLF001
                raise WorksInPlaceError
        if self._last._version != self._then:  # noqa: SLF001
            raise WorksInPlaceError
        try:
            self._last, self._then = value, value._version  # noqa: SLF001
        except (AttributeError, RuntimeError):
            self._last, self._then = torch.empty(0), 0
        return value

    def initial_state(self, x: Any) -> Tensor:
        """The state from which iterations start.

        Args:
            x: inputs.

        Returns:
            States.
        """
        return self._watched(self.G.initial_state, x)

    def pushforward(self, y: Tensor, x: Any, v: Tensor) -> Tensor:
        """The derivative in the state.

        Args:
            y: states.
            x: inputs.
            v: directions.

        Returns:
            The products.
        """
        return self._watched(self.G.pushforward, y, x, v)

    @staticmethod
    def _watched(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """Evaluate, and compare the counters of the arguments.

        Returns:
            The value.

        Raises:
            WorksInPlaceError: they differ.
        """
        before = [_counted(nest) for nest in arguments]
        value = function(*arguments)
        if before != [_counted(nest) for nest in arguments]:
            raise WorksInPlaceError
        return value


@final
class OnCopies(_Standing):
    """Evaluates on copies, and returns them.

    Args:
        G: the operator.
    """

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        return copied(self.G(copied(y), copied(x)))

    def initial_state(self, x: Any) -> Tensor:
        """The state from which iterations start.

        Args:
            x: inputs.

        Returns:
            States.
        """
        return copied(self.G.initial_state(copied(x)))

    def pushforward(self, y: Tensor, x: Any, v: Tensor) -> Tensor:
        """The derivative in the state.

        Args:
            y: states.
            x: inputs.
            v: directions.

        Returns:
            The products.
        """
        if type(self.G).pushforward is ImplicitOperator.pushforward:
            return super().pushforward(y, x, v)  # copies have to be made inside of what is differentiated
        return copied(self.G.pushforward(copied(y), copied(x), copied(v)))


def _counted(nest: Any) -> Any:
    """What differs once a nest, or a tensor in it, has been changed in place.

    Returns:
        A number for a tensor; pairs of which tensor it is and a number for a nest.
    """
    return _changes(nest) if isinstance(nest, Tensor) else [(id(t), _changes(t)) for _, t in tensors(nest)]


def _changes(t: Tensor) -> int:
    """How often a tensor has been changed in place.

    Returns:
        A whole number.
    """
    return 0 if t.is_inference() else t._version  # noqa: SLF001  (torch's counter of in-place changes)
