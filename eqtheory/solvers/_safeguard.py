r"""What keeps an extrapolating solver from wasting more than a constant share of its evaluations.

Since the last restart, let `best` be the smallest Euclidean residual, at `y_b`, and `mark` the last residual that was a permille
below the mark before it. If the residual exceeds `growth * best`, or no new mark was set for `patience` steps, or the proposal is
not finite, the solver's memory is dropped and the next state is `G(y_b)`, the Picard step from the best state; there `best` and
`mark` start anew, so an operator whose residuals grow for a while is still followed, at worst by Picard steps. Where `G` contracts
in the Euclidean norm, `G(y_b)` has residual at most `mu best <= mu mark`. So within every `patience + 2` evaluations the mark
shrinks by a permille or by `mu`: the residuals tend to zero at a linear rate whatever is proposed. An extrapolation can waste
evaluations, but never convergence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.solvers._measure import finite_rows, host_sees, largest_entry

__all__ = ["CLEAR_PROGRESS", "Guard"]

CLEAR_PROGRESS = 1 - 1e-3
"""A residual this much below the mark sets a new one: a permille, as in the module's argument."""


@dataclass(frozen=True)
class Guard:
    """The memory of the safeguard; the batch is the first axis of every tensor.

    Args:
        size: residual at the last state seen, shape `(batch,)`.
        best: smallest residual since the last restart, shape `(batch,)`.
        best_image: `G` at the state of that residual, shape `(batch, n)`.
        mark: residual at the last clear progress, shape `(batch,)`.
        stale: steps since then, or since the last restart, shape `(batch,)`.
    """

    size: Tensor
    best: Tensor
    best_image: Tensor
    mark: Tensor
    stale: Tensor

    @staticmethod
    def fresh(flat: Tensor) -> Guard:
        """Return the guard before the first step.

        Args:
            flat: states, shape `(batch, n)`.

        Returns:
            A guard that has seen nothing.
        """
        none = flat.new_full((flat.shape[0],), torch.inf)
        return Guard(none, none, torch.zeros_like(flat), none, torch.zeros_like(none, dtype=torch.int64))

    @property
    def target(self) -> Tensor:
        """Below it, a residual is both the best and clear progress; shape `(batch,)`."""
        return CLEAR_PROGRESS * torch.minimum(self.mark, self.best)

    def follow(
        self, size: Tensor, image: Tensor, proposal: Tensor, *, growth: float, patience: int
    ) -> tuple[Tensor | None, Tensor, Guard]:
        """Take notice of one evaluation and decide on the proposal made of it.

        Args:
            size: residuals, shape `(batch,)`.
            image: `G` at the states that have them, shape `(batch, n)`.
            proposal: where the extrapolation would go, shape `(batch, n)`.
            growth: residual over the best one that makes it start again.
            patience: steps without clear progress that do.

        Returns:
            Which samples start again, shape `(batch,)`, or `None` where the host knows that none does; where to go; and the
            guard for the next step.
        """
        finite = host_sees(size) and largest_entry(proposal).item() < torch.inf  # false for NaN
        if finite and (size / self.target).amax().item() < 1:
            return None, proposal, Guard(size, size, image, size, torch.zeros_like(self.stale))
        seen = self.see(size, image)
        if finite and not bool(seen.lost(growth, patience).any()):
            return None, proposal, seen
        return seen.decide(proposal, growth=growth, patience=patience)

    def see(self, size: Tensor, image: Tensor) -> Guard:
        """Take notice of one evaluation.

        Args:
            size: residuals, shape `(batch,)`.
            image: `G` at the states that have them, shape `(batch, n)`.

        Returns:
            The guard with its best and its mark updated.
        """
        improved, progress = size <= self.best, size < CLEAR_PROGRESS * self.mark
        return Guard(
            size,
            torch.fmin(size, self.best),
            torch.where(improved.unsqueeze(1), image, self.best_image),
            torch.where(progress, size, self.mark),
            (self.stale + 1).masked_fill(progress, 0),
        )

    def lost(self, growth: float, patience: int) -> Tensor:
        """Which samples have gone too far or stood still for too long.

        Args:
            growth: residual over the best one that counts as too far.
            patience: steps without clear progress that count as too long.

        Returns:
            Shape `(batch,)`.
        """
        return (self.size > growth * self.best) | (self.stale > patience)

    def decide(self, proposal: Tensor, *, growth: float, patience: int) -> tuple[Tensor, Tensor, Guard]:
        """Accept the proposal of an extrapolation, or start again from the best state.

        Args:
            proposal: where the extrapolation would go, shape `(batch, n)`.
            growth: residual over the best one that makes it start again.
            patience: steps without clear progress that do.

        Returns:
            Which samples start again, shape `(batch,)`; where to go; and the guard for the next step.
        """
        again = self.lost(growth, patience) | ~finite_rows(proposal)
        following = Guard(
            self.size,
            torch.where(again, torch.inf, self.best),
            self.best_image,
            torch.where(again, torch.inf, self.mark),
            torch.where(again, 0, self.stale),
        )
        return again, torch.where(again.unsqueeze(1), self.best_image, proposal), following
