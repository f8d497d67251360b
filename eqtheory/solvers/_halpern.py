r"""Halpern's anchored iteration `y_{t+1} = lambda_k a + (1 - lambda_k) G(y_t)`, `lambda_k = 1 / (k + 2)`, with restarts.

Here `a` is the anchor and `k` counts the steps since it was set; `y_0` is the first anchor.

**Nonexpansive operators.** In a Hilbert space, for nonexpansive `G` with a fixed point `y*` and without restarts,

    |G(y_t) - y_t| <= 2 |y_0 - y*| / (t + 1)        for every t                           (Lieder 2021, theorem 2.1)

and no smaller constant is right for any `t`. With `delta = 2 / (t + 1)` let `G(y)` be `y - delta` above `delta / 2`, `-y`
between `-delta / 2` and `delta / 2`, and `y + delta` below: from `y_0 = 1` it runs through `y_k = 1 - k delta / 2` down to
`y_t = delta / 2`, and all residuals up to this one are `delta`. Picard's iteration need not converge for such operators, and
the guarantee for residuals of averaged iterations is `1 / sqrt(t)`.

**Restarts.** When the residual is at most `rho` times what it was when the anchor was set, the current image becomes the
anchor and `k` starts anew; so anchors are set at residuals `r_{i+1} <= rho r_i`, whatever the operator.

- Let `G` contract by `mu < 1`. The anchor `a = G(y)` that is set at `r_i = |G(y) - y|` has
  `|a - y*| <= mu |y - y*| <= mu r_i / (1 - mu)`. By Lieder's bound from `a` on, the residual is at most `rho r_i` once
  `k + 1 >= 2 mu / ((1 - mu) rho)`, so every `T = max(1, ceil(2 mu / ((1 - mu) rho)))` evaluations it shrinks by `rho`. This is a
  linear rate, `exp(-(1 - mu) rho log(1 / rho) / 2)` an evaluation where `mu` is near 1; the guarantee is best at `rho = 1/e`.
- Let `G` be nonexpansive. Neither its images nor averages with the anchor are farther from `y*` than the anchor. Down to a
  residual `epsilon`, period `i` takes at most `2 |y_0 - y*| / (rho r_i) + 1` evaluations; their sum is geometric, at most
  `2 |y_0 - y*| / (rho (1 - rho) epsilon)` and one for every period: the order of the classical rate is kept.
- Let `G` contract by `mu` in another norm. There the errors obey `e_{t+1} <= lambda_k e_a + (1 - lambda_k) mu e_t`: none is
  larger than the anchor's, and while the anchor stays they tend to zero. So every anchor is followed by another one, whose
  error is at most `mu` times its own, and the errors tend to zero.

**Fixed points.** The iteration as such takes a sample that has reached a fixed point back towards its anchor. Here a state with
`G(y) = y`, bit for bit, is left where it is.

References:
    Halpern 1967, Bull. AMS 73; Lieder 2021, Optim. Lett. 15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.solvers._measure import rows, working
from eqtheory.solvers._solver import Solver
from eqtheory.validate import open_unit

__all__ = ["Halpern", "HalpernState"]


@dataclass(frozen=True)
class HalpernState:
    """The anchors; the batch is the first axis of every tensor.

    Args:
        anchor: where the iteration is pulled to, shape `(batch, n)`.
        reference: residual when the anchor was set, infinite before the first step, shape `(batch,)`.
        k: steps since then, shape `(batch,)`.
    """

    anchor: Tensor
    reference: Tensor
    k: Tensor


@final
@dataclass(frozen=True)
class Halpern(Solver[HalpernState]):
    """Average the operator's value with an anchor, ever less: for operators that do not expand but need not contract.

    Without restarts its residuals have the best rate that is possible for nonexpansive operators, `2 |y0 - y*| / (t + 1)`. With
    restarts it is linear on contractions as well. Costs two states of storage and one evaluation a step. Half precision is
    averaged in float32.

    Args:
        restart: the current image becomes the anchor when the residual is at most this multiple of what it was when the anchor
            was set, `0 < restart < 1`; `None` keeps the start as the anchor, the classical iteration.

    Raises:
        InputError: `restart` outside `(0, 1)`.

    References:
        Halpern 1967; Lieder 2021.

    Example:
        >>> from eqtheory.solvers import fixed_point
        >>> fixed_point(lambda y, x: -y + x, torch.ones(1), torch.zeros(1), solver=Halpern()).value
        tensor([0.5000])
    """

    restart: float | None = 0.4

    def __post_init__(self) -> None:
        if self.restart is not None:
            open_unit("restart", self.restart)

    def averaging(self, t: int) -> tuple[float, float, float] | None:
        """Weights of step `t`.

        Args:
            t: the step, from 0.

        Returns:
            `(0, 1 / (t + 2), (t + 1) / (t + 2))` without restarts; `None` with them, since they come when the residual says so.
        """
        return None if self.restart is not None else (0.0, 1 / (t + 2), (t + 1) / (t + 2))

    def init(self, y: Tensor) -> HalpernState:
        """Make the starting states the anchors.

        Args:
            y: starting states, shape `(batch, ...)`.

        Returns:
            The state before the first step.
        """
        anchor = rows(y.to(working(y.dtype)))
        return HalpernState(
            anchor=anchor,
            reference=anchor.new_full((anchor.shape[0],), torch.inf),
            k=torch.zeros(anchor.shape[0], dtype=torch.int64, device=y.device),
        )

    def step(self, state: HalpernState, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, HalpernState]:  # noqa: ARG002
        """Average the operator's value with the anchor.

        Args:
            state: what `init` or the previous step returned.
            y: current states, shape `(batch, ...)`.
            g: `G(y, x)`.
            active: which samples are still iterated.

        Returns:
            The next states and the next memory.
        """
        here, image = rows(y.to(state.anchor.dtype)), rows(g.to(state.anchor.dtype))
        f = image - here
        moving = (f != 0).any(dim=1)
        weight = (1 / (state.k + 2).to(f.dtype)).unsqueeze(1)
        proposal = torch.addcmul(image, weight, state.anchor - image)
        if self.restart is None:
            following = HalpernState(state.anchor, state.reference, state.k + 1)
        else:
            size = torch.linalg.vector_norm(f, dim=1)
            again = (size <= self.restart * state.reference) & torch.isfinite(state.reference) & moving
            proposal = torch.where(again.unsqueeze(1), image, proposal)
            following = HalpernState(
                torch.where(again.unsqueeze(1), image, state.anchor),
                torch.where(again | torch.isinf(state.reference), size, state.reference),
                torch.where(again, 0, state.k + 1),
            )
        return torch.where(moving.unsqueeze(1), proposal, here).reshape(y.shape).to(y.dtype), following
