"""The derivative of the iteration itself, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from eqtheory.errors import InputError
from eqtheory.gradients._gradient import Equilibrium, Gradient
from eqtheory.nests import spread
from eqtheory.solvers import Halpern, KrasnoselskiiMann, Picard

__all__ = ["Unrolled"]

_DIFFERENTIABLE = (Picard, KrasnoselskiiMann, Halpern)


@final
@dataclass(frozen=True)
class Unrolled(Gradient):
    """Differentiate the iterate that was computed: exact for `y_t(x)`, which is not yet `y*(x)`.

    The solve runs without autograd and tells how many steps every sample takes; the same steps are then run again with it, so the
    value is that of the solve up to the last bits of batched matrix products, and the start carries a gradient too. `Picard`,
    `KrasnoselskiiMann` and `Halpern` can be unrolled: their steps are elementwise arithmetic on new tensors.

    Memory: the graphs of all steps; with checkpoints, the states at the checkpoints and the graphs between two of them, for one more
    evaluation of every step. A choice near the square root of the number of steps needs least.

    Args:
        checkpoint_every: steps between two checkpoints, at least 1; by default everything is kept.

    Raises:
        InputError: an argument out of range; or, from a solve, a solver that can not be unrolled.

    Theorem: T4.

    References:
        Griewank and Walther, Evaluating Derivatives, SIAM 2008, chapter 12 (checkpoints).
    """

    checkpoint_every: int | None = None

    uses_start = True

    def __post_init__(self) -> None:
        every = self.checkpoint_every
        if every is not None and not (isinstance(every, int) and every >= 1):
            raise InputError("checkpoint_every", str(every), "an integer >= 1 or None", "leave it at None")

    def attach(self, equilibrium: Equilibrium) -> Tensor:
        """Run the steps again with autograd.

        Args:
            equilibrium: what was found.

        Returns:
            The iterate with its place in the graph.

        Raises:
            InputError: the solver can not be unrolled.
        """
        solver = equilibrium.solver
        if not isinstance(solver, _DIFFERENTIABLE):
            names = ", ".join(kind.__name__ for kind in _DIFFERENTIABLE)
            raise InputError(
                "solver", type(solver).__name__, f"one of {names}, whose steps are differentiated", "or use Implicit()"
            )
        last = equilibrium.longest
        every = self.checkpoint_every or max(last, 1)
        y, state = equilibrium.start, solver.init(equilibrium.start)
        for begin in range(0, last, every):
            steps = range(begin, min(begin + every, last))
            if self.checkpoint_every is None or not torch.is_grad_enabled():
                y, state = _segment(equilibrium, y, state, steps)
            else:
                y, state = checkpoint(
                    _segment, equilibrium, y, state, steps, use_reentrant=False, preserve_rng_state=False
                )
        return y


def _segment(equilibrium: Equilibrium, y: Tensor, state: Any, steps: range) -> tuple[Tensor, Any]:
    """Some steps of the solver; a sample that has left stands still."""
    for t in steps:
        active = equilibrium.steps > t
        proposal, state = equilibrium.solver.step(state, y, equilibrium.operator(y, equilibrium.x), active)
        y = torch.where(spread(active, y), proposal, y)
    return y, state
