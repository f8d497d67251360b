"""What a solver is: a pure step on an explicit state.

The loop evaluates `G` once per step, judges every sample, and asks the solver only where to go next. A solver never sees the
operator, so it cannot evaluate more often than is counted, and it never decides when to stop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Self, TypeVar

from torch import Tensor

from eqtheory.solvers._compiled_step import CompiledState

__all__ = ["Pushforward", "Solver"]

S = TypeVar("S")

Pushforward = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`(y, v, needed) -> (dG/dy) v`: products of the Jacobian at `y` with directions `v`, both of shape `(batch, ...)`, one
evaluation each for the samples `needed`, shape `(batch,)`."""


class Solver(ABC, Generic[S]):
    """Chooses the next state from the current one and the operator's value there.

    Laws: frozen and without memory of its own (everything it remembers is in the state it is handed, which `step` uses up: it may
    write into its tensors, never into `y` or `g`); a sample's next state depends on that sample alone; a fixed point is left
    where it is; the state is a nest of tensors that carry the batch as their first axis, so that rows of it can be taken when
    samples leave, and zeros (with `init`'s values where these have the same shape) are the memory of a sample that has none.
    """

    def attached(self, pushforward: Pushforward) -> Self:  # noqa: ARG002  (for the solvers that use it)
        """Return this solver with access to products of the Jacobian, which most do not need.

        Args:
            pushforward: the products; every call is counted by the loop.

        Returns:
            The solver itself unless it needs them.
        """
        return self

    def averaging(self, t: int) -> tuple[float, float, float] | None:  # noqa: ARG002  (of the iterations that average)
        """Weights of step `t` where they are not negative and do not depend on the input: what T4 and T4b need.

        Args:
            t: the step, from 0.

        Returns:
            Weights of `y_t`, `y_0` and `G(y_t, x)` in `y_{t+1}`, with sum 1; `None` where they adapt: slopes can then grow faster (N8).
        """
        return None

    def residuals(self, state: S) -> Tensor | None:  # noqa: ARG002  (of the solvers that know them)
        """Euclidean norms of `g - y` at the states of the last step, if the solver has measured them.

        Where it has, its steps cost no evaluation and its proposals are finite wherever `g` is, and the loop takes the next step
        before it asks who may leave: one reading of the state serves both.

        Args:
            state: what `step` returned.

        Returns:
            Shape `(batch,)`, or `None`.
        """
        return None

    def compiled(self, state: S) -> CompiledState | None:
        """What the last step measured, if it was compiled: norms of `g - y` and of `g`.

        Such a step leaves samples that are not active where they are.

        Args:
            state: what `step` returned.

        Returns:
            The state, or `None`.
        """
        return state if isinstance(state, CompiledState) else None

    @abstractmethod
    def init(self, y: Tensor) -> S:
        """Return the state before the first step.

        Args:
            y: starting states, shape `(batch, ...)`.

        Returns:
            The solver's state.
        """

    @abstractmethod
    def step(self, state: S, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, S]:
        """Propose the next states.

        Args:
            state: what `init` or the previous step returned.
            y: current states, shape `(batch, ...)`.
            g: `G(y, x)`, the same shape; finite wherever `active`.
            active: which samples are still iterated, shape `(batch,)`; proposals for the others are ignored.

        Returns:
            The proposals, the shape of `y`, and the next state. A proposal that is not finite is replaced by `g`.
        """
