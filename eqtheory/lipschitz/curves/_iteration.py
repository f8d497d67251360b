"""What a curve asks of the iteration it follows, and the plain run of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from eqtheory.nests import spread
from eqtheory.operators import ImplicitOperator

__all__ = ["Averaging", "Iteration", "attached", "averaging_of", "combined", "finite_rows", "last_iterate", "name_of"]

Averaging = Callable[[int], tuple[float, float, float]]
"""Step `t` to the weights of `y_t`, `y_0` and `G(y_t, x)` in `y_{t+1}`."""


class Iteration(Protocol):
    """What a curve asks of a solver: `init`, `step` and `averaging`, as `eqtheory.solvers.Solver` has them."""

    def init(self, y: Tensor) -> Any:
        """Return the memory before the first step.

        Args:
            y: starting states, shape `(batch, ...)`.

        Returns:
            Anything.
        """

    def step(self, state: Any, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, Any]:
        """Propose the next states.

        Args:
            state: the memory.
            y: current states.
            g: `G(y, x)`.
            active: samples that go on, shape `(batch,)`.

        Returns:
            The next states and the next memory.
        """

    def averaging(self, t: int) -> tuple[float, float, float] | None:
        """Say how step `t` averages.

        Args:
            t: the step, from 0.

        Returns:
            Weights of `y_t`, `y_0` and `G(y_t, x)`; `None` where they adapt.
        """


def averaging_of(iteration: Iteration | None) -> Averaging:
    """The weights of an iteration that does not adapt.

    Args:
        iteration: the iteration; Picard's where `None`.

    Returns:
        Weights by step.
    """

    def at(t: int) -> tuple[float, float, float]:
        found = None if iteration is None else iteration.averaging(t)
        return (0.0, 0.0, 1.0) if found is None else found

    return at


def combined(weights: tuple[float, float, float], last: Tensor, first: Tensor, image: Tensor) -> Tensor:
    """One step of an average.

    Args:
        weights: of the three that follow.
        last: `y_t`, or tangents of it.
        first: `y_0`, or tangents of it.
        image: `G(y_t, x)`, or its tangents.

    Returns:
        The weighted sum.
    """
    a, b, c = weights
    if (a, b, c) == (0.0, 0.0, 1.0):
        return image
    mixed = torch.lerp(last, image, c) if b == 0.0 else a * last + c * image
    return mixed if b == 0.0 else mixed + b * first


def finite_rows(t: Tensor) -> Tensor:
    """Which samples are finite.

    Args:
        t: shape `(batch, ...)`.

    Returns:
        Booleans, shape `(batch,)`.
    """
    return torch.isfinite(t).reshape(t.shape[0], -1).all(dim=1)


def attached(iteration: Iteration, G: ImplicitOperator, x: Any) -> Iteration:
    """Give an iteration access to products with the Jacobian, if it uses them.

    Args:
        iteration: the iteration.
        G: the operator.
        x: its inputs.

    Returns:
        The iteration to step with.
    """
    attach = getattr(iteration, "attached", None)

    def products(y: Tensor, v: Tensor, needed: Tensor) -> Tensor:  # noqa: ARG001  (all samples are moved at once)
        return G.pushforward(y, x, v)

    return iteration if attach is None else attach(products)


def last_iterate(G: ImplicitOperator, x: Any, start: Tensor, steps: int, iteration: Iteration | None) -> Tensor:
    """Run an iteration.

    Args:
        G: the operator.
        x: its inputs.
        start: starting states.
        steps: how many.
        iteration: the iteration; Picard's where `None`.

    Returns:
        `y_steps`; samples that leave the range of the type stay where they were.
    """
    y, alive = start.detach(), torch.ones(start.shape[0], dtype=torch.bool, device=start.device)
    solver = None if iteration is None else attached(iteration, G, x)
    state = None if solver is None else solver.init(y)
    for _ in range(steps):
        with torch.no_grad():
            g = G(y, x)
        alive = alive & finite_rows(g)
        g = torch.where(spread(alive, g), g, y)
        if solver is None:
            y = g
        else:
            proposal, state = solver.step(state, y, g, alive)
            y = torch.where(spread(alive & finite_rows(proposal), y), proposal, g)
    return y


def name_of(iteration: Iteration | None) -> str:
    """How a curve calls its iteration.

    Args:
        iteration: the iteration; Picard's where `None`.

    Returns:
        Its representation.
    """
    return "Picard()" if iteration is None else repr(iteration)
