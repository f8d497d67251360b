"""What a solve returns, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.bounds import Bound
from eqtheory.solvers._solver import Solver
from eqtheory.solvers._status import Status

__all__ = ["Memory", "Recorder", "Solution", "Trace"]


@dataclass(frozen=True, eq=False)
class Trace:
    """What happened on the way; a sample's rows stay constant after it has left.

    Args:
        residuals: norms of `G(y_t, x) - y_t`, shape `(steps + 1, batch)`.
        iterates: the states `y_t`, shape `(steps + 1, batch, ...)`, or a tuple of such tensors where states are tuples; `None`
            where they were not asked for.
    """

    residuals: Tensor
    iterates: Any = None


@final
class Recorder:
    """Collects a trace, or nothing.

    Args:
        residuals: whether to keep residuals.
        iterates: whether to keep states.
    """

    def __init__(self, *, residuals: bool, iterates: bool) -> None:
        self._residuals: list[Tensor] | None = [] if residuals else None
        self._iterates: list[Tensor] | None = [] if iterates else None

    @property
    def wanted(self) -> bool:
        """Whether anything is kept."""
        return self._residuals is not None

    def add(self, residual: Tensor, y: Tensor) -> None:
        """Keep one step.

        Args:
            residual: shape `(batch,)`.
            y: states, never changed in place.
        """
        if self._residuals is not None:
            self._residuals.append(residual)
        if self._iterates is not None:
            self._iterates.append(y)

    def trace(self) -> Trace | None:
        """Return what was kept.

        Returns:
            The trace, or `None` if nothing was asked for.
        """
        if self._residuals is None:
            return None
        return Trace(torch.stack(self._residuals), None if self._iterates is None else torch.stack(self._iterates))


@dataclass(frozen=True, eq=False)
class Memory:
    """What a solver remembered of the samples that ran out of steps, so that a later solve can go on where it stopped.

    Args:
        solver: whose memory it is.
        index: the samples, shape `(k,)`; `None` for all.
        state: the solver's state for them.
    """

    solver: Solver[Any]
    index: Tensor | None
    state: Any


@dataclass(frozen=True, eq=False)
class Solution:
    """The states a solve arrived at, and what is known of each. Everything is per sample.

    Args:
        value: the states, shape `(batch, ...)`, or a tuple of such tensors where the operator's states are tuples; always
            finite. A state at which `G` was evaluated, and the operator's value there is what the other fields speak of.
        status: codes of `Status`, int8, shape `(batch,)`.
        steps: steps from `y0` to `value`; for a sample that failed, the step at which it did.
        residual: norm of `G(value, x) - value`, infinite where that is not finite.
        error_bound: T1's bound on the distance from `value` to the fixed point, a float64 tensor of shape `(batch,)` inside
            a `Bound`, or `None` where the operator declares no `mu`.
        evaluations: evaluations of `G` the sample took part in before it left; a product with the Jacobian counts as one.
        calls: batched calls of `G` and products. More than the largest of `evaluations` by one where a cut of the batch was
            tried, and on an accelerator by up to `check_every - 1`.
        trace: residuals, and iterates if asked for; `None` otherwise.
        attempt: which solver the answer comes from, int8, shape `(batch,)`: 0 for `solver`, `k` for the `k`-th fallback.
        memory: what the solver remembered of samples that ran out of steps; used when a solve is resumed.
        adjoint: where the value carries a gradient, the log into which every backward pass writes how its adjoint went.
    """

    value: Any
    status: Tensor
    steps: Tensor
    residual: Tensor
    error_bound: Bound | None
    evaluations: Tensor
    calls: int
    trace: Trace | None = None
    attempt: Tensor | None = None
    memory: Memory | None = None
    adjoint: Any = None

    @property
    def converged(self) -> Tensor:
        """Which samples met the stop test, shape `(batch,)`."""
        return self.status == Status.CONVERGED.value

    @property
    def statuses(self) -> tuple[Status, ...]:
        """The status of every sample."""
        return tuple(Status(code) for code in self.status.tolist())

    def count(self) -> dict[Status, int]:
        """Count the samples by status.

        Returns:
            The statuses that occur, in the order of their codes, with how many samples have each.
        """
        numbers = torch.bincount(self.status.long(), minlength=len(Status)).tolist()
        return {status: numbers[status.value] for status in Status if numbers[status.value]}

    def failures(self) -> str:
        """Say in one line what failed and what to do.

        Returns:
            Empty where every sample converged.
        """
        if bool(self.converged.all()):
            return ""
        counts = self.count()
        total, good = sum(counts.values()), counts.pop(Status.CONVERGED, 0)
        reasons = "; ".join(f"{number} {status}" for status, number in counts.items())
        return f"{total - good} of {total} samples did not converge: {reasons}"

    def __str__(self) -> str:
        """Sum the solve up in one line."""
        counts = ", ".join(f"{number} {status.name.lower()}" for status, number in self.count().items())
        certified = ""
        if self.error_bound is not None:
            sign = "~" if self.error_bound.side.value == "estimate" else "<="
            certified = f", error {sign} {float(self.error_bound.value.max()):.3g}"
        return (
            f"{self.status.numel()} samples: {counts}; residual <= {float(self.residual.max()):.3g}{certified}, "
            f"evaluations {int(self.evaluations.min())}..{int(self.evaluations.max())}"
        )
