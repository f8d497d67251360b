"""What a curve asks of the iteration it follows, and the plain run of one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.nests import spread
from eqtheory.operators import ImplicitOperator
from eqtheory.roundoff import gamma

__all__ = ["Averaging", "Iteration", "attached", "averaging_of", "combined", "finite_rows", "last_iterate", "name_of"]

Averaging = Callable[[int], tuple[float, float, float]]
"""Step `t` to the weights of `y_t`, `y_0` and `G(y_t, x)` in `y_{t+1}`."""

_PICARD = (0.0, 0.0, 1.0)
_WEIGHT_ROUNDINGS = 8
"""Roundings that a weight may have passed through: quotients and products of a few numbers that are rounded themselves."""


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
            Weights of `y_t`, `y_0` and `G(y_t, x)`, not negative and with sum 1, at every step; or `None` at every step where they adapt.
        """


def averaging_of(iteration: Iteration | None, last: int) -> Averaging | None:
    """The weights of an iteration that does not adapt, checked: T4b needs them to be not negative and to have sum 1.

    Args:
        iteration: the iteration; Picard's where `None`.
        last: how many steps are taken; the first one is looked at in any case.

    Returns:
        Weights by step, up to `last`; `None` where they adapt.

    Raises:
        InputError: weights that do not average, or that are known for some steps only.
    """
    if iteration is None:
        return lambda _: _PICARD
    given = [iteration.averaging(t) for t in range(max(1, last))]
    unknown = [t for t, weights in enumerate(given) if weights is None]
    if len(unknown) == len(given):
        return None
    if unknown:
        known = next(t for t, weights in enumerate(given) if weights is not None)
        raise InputError(
            "iteration.averaging",
            f"weights at step {known} and None at step {unknown[0]}",
            "weights at every step, or at none where they adapt to the input",
            "return None at every step if only some are known",
        )
    checked = [_averages(t, weights) for t, weights in enumerate(given)]
    return [*checked, _PICARD].__getitem__  # what comes after the last iterate is not kept


def _averages(t: int, weights: Any) -> tuple[float, float, float]:
    try:
        a, b, c = (float(weight) for weight in weights)
    except (TypeError, ValueError):
        a = b = c = math.nan
    # Each weight being off by that many roundings, so is their sum, relatively; `fsum` rounds once, and so does the difference from 1.
    off = abs(math.fsum((a, b, c)) - 1) if all(map(math.isfinite, (a, b, c))) else math.inf
    if not (min(a, b, c) >= 0 and off <= gamma(_WEIGHT_ROUNDINGS + 2, torch.float64)):
        raise InputError(
            "iteration.averaging",
            f"{weights} at step {t}",
            "three numbers >= 0 with sum 1, the weights of y_t, y_0 and G(y_t, x)",
            "return None at every step for other iterations (T4b)",
        )
    return a, b, c


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
    if (a, b, c) == _PICARD:
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


def attached(iteration: Iteration, G: ImplicitOperator, x: Any, counted: list[int] | None = None) -> Iteration:
    """Give an iteration access to products with the Jacobian, if it uses them.

    Args:
        iteration: the iteration.
        G: the operator.
        x: its inputs.
        counted: a list with one number, which grows by 1 with every product.

    Returns:
        The iteration to step with.
    """
    attach = getattr(iteration, "attached", None)

    def products(y: Tensor, v: Tensor, needed: Tensor) -> Tensor:  # noqa: ARG001  (all samples are moved at once)
        if counted is not None:
            counted[0] += 1
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
