r"""Barzilai and Borwein's step: the residual times a length that one inner product tells.

With `f_k = G(y_k) - y_k` the iteration is `y_{k+1} = y_k + a_k f_k`; `a = 1` is Picard. The secant equation asks for the multiple of
the identity that best explains the last step, `f_k - f_{k-1} = -(1/a) (y_k - y_{k-1})` in the direction of that step (their first
choice). As the step was `a_{k-1} f_{k-1}`, this is

    a_k = a_{k-1} / (1 - <f_{k-1}, f_k> / |f_{k-1}|^2),

the reciprocal of a Rayleigh quotient of `A = I - dG/dy`: between `1/(1 + mu)` and `1/(1 - mu)` where `G` contracts by `mu` in the
Euclidean norm. Slow directions get long steps, fast ones short steps, and one number a sample is all that is remembered beside the
last residual. Nothing in it has a unit or an origin.

The residuals do not fall at every step, and where `A` is far from symmetric they need not fall at all. Where the quotient is not
positive the step is Picard's, and `_safeguard` starts again from the best state when the residual exceeds `growth` times the best
one, or when there was no progress for `patience` steps; then `patience` steps of Picard follow. So where the steps do not help,
every other step is Picard's, and a contraction converges at half its rate.

References:
    Barzilai and Borwein 1988, IMA J. Numer. Anal. 8, equation (5); La Cruz, Martinez and Raydan 2006, Math. Comp. 75 (for equations);
    Varadhan and Roland 2008, Scand. J. Statist. 35 (for fixed points).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.solvers._measure import dot, rows, working
from eqtheory.solvers._safeguard import Guard
from eqtheory.solvers._solver import Solver
from eqtheory.validate import above_one, count

__all__ = ["BarzilaiBorwein", "BarzilaiBorweinState"]

_LONGEST = 1e8
"""Steps beyond this multiple of Picard's are noise: no digit of a Rayleigh quotient is left there in float64."""


@dataclass(frozen=True)
class BarzilaiBorweinState:
    """What the iteration remembers; the batch is the first axis of every tensor.

    Args:
        f: residuals at the previous states, shape `(batch, n)`.
        spare: storage for the next residuals and for products, each of shape `(batch, n)`.
        size: their Euclidean norms, shape `(batch,)`; NaN where there is no previous state.
        length: the last step lengths `a`, shape `(batch,)`.
        hold: how many steps of Picard are still to come, shape `(batch,)`.
        guard: the safeguard's memory.
    """

    f: Tensor
    spare: tuple[Tensor, Tensor]
    size: Tensor
    length: Tensor
    hold: Tensor
    guard: Guard


@final
@dataclass(frozen=True)
class BarzilaiBorwein(Solver[BarzilaiBorweinState]):
    """Walk along the residual, as far as the last step says.

    Costs one evaluation and about twelve reads and writes of the state a step, less than any other accelerated solver here, and needs more
    evaluations than `AndersonTGS`: the one to take where evaluations cost little. Half precision is worked in float32.

    Args:
        growth: residual over the best one that makes it start again, above 1.
        patience: steps without clear progress that do, at least 1.

    Raises:
        InputError: an argument out of range.

    Example:
        >>> from eqtheory.solvers import fixed_point
        >>> x, y0 = torch.ones(1).double(), torch.zeros(1).double()
        >>> fixed_point(lambda y, x: 0.999 * y + x, x, y0, solver=BarzilaiBorwein()).evaluations
        tensor([3])
    """

    growth: float = 1000.0
    patience: int = 50

    def __post_init__(self) -> None:
        above_one("growth", self.growth, 1000.0)
        count("patience", self.patience, "pass patience=50")

    def init(self, y: Tensor) -> BarzilaiBorweinState:
        """Return an empty memory.

        Args:
            y: starting states, shape `(batch, ...)`.

        Returns:
            The state before the first step.
        """
        flat = rows(y.to(working(y.dtype)))
        unknown = flat.new_full((len(flat),), torch.nan)
        ones, hold = torch.ones_like(unknown), torch.zeros_like(unknown)
        f, *spare = (torch.zeros_like(flat) for _ in range(3))
        return BarzilaiBorweinState(f, (spare[0], spare[1]), unknown, ones, hold, Guard.fresh(flat))

    def residuals(self, state: BarzilaiBorweinState) -> Tensor:
        """Euclidean norms of the residuals that the last step saw.

        Args:
            state: what `step` returned.

        Returns:
            Shape `(batch,)`.
        """
        return state.guard.size

    def step(
        self,
        state: BarzilaiBorweinState,
        y: Tensor,
        g: Tensor,
        active: Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, BarzilaiBorweinState]:
        """Propose the next states.

        Args:
            state: what `init` or the previous step returned.
            y: current states, shape `(batch, ...)`.
            g: `G(y, x)`.
            active: which samples are still iterated.

        Returns:
            `y + a (g - y)` and the next memory.
        """
        here, image = rows(y.to(state.f.dtype)), rows(g.to(state.f.dtype))
        store, work = state.spare
        f = torch.sub(image, here, out=store)
        size = torch.linalg.vector_norm(f, dim=1)
        quotient = 1 - dot(state.f, f, out=work) / state.size / state.size
        usable = (quotient * _LONGEST > state.length) & (state.hold <= 0)  # false for NaN
        length = (state.length / quotient).masked_fill(~usable, 1.0)
        # Written around the image, so that the length 1 is Picard's step to the last bit.
        proposal = torch.addcmul(image, (length - 1).unsqueeze(1), f)
        again, proposal, guard = state.guard.follow(size, image, proposal, growth=self.growth, patience=self.patience)
        hold = state.hold - 1
        if again is not None:
            size, length = torch.where(again, torch.nan, size), torch.where(again, 1.0, length)
            hold = torch.where(again, float(self.patience), hold)
        following = BarzilaiBorweinState(f, (state.f, work), size, length, hold, guard)
        return proposal.reshape(y.shape).to(y.dtype), following
