"""What a solve returns: flows, and for every sample how its solve ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus

__all__ = ["FlowStatus", "SteadyFlows"]


class FlowStatus(Enum):
    """How the solve of one sample ended; the value is the code stored in `SteadyFlows.status`."""

    CONVERGED = 0
    STALLED = 1
    NOT_CONVERGED = 2
    UNRESOLVED = 3

    @property
    def advice(self) -> str:
        """What this status means and what the caller can do, in one line."""
        return _ADVICE[self]


_ADVICE = {
    FlowStatus.CONVERGED: "the residual is below the tolerance and the grid resolves the flow",
    FlowStatus.STALLED: "the branch that starts at rest could not be followed to the whole force: it may turn back; lower the force",
    FlowStatus.NOT_CONVERGED: "the residual stayed above the tolerance on the whole grid; refine the grid or lower the force",
    FlowStatus.UNRESOLVED: "the outermost waves are not small, so another grid would give another flow; refine the grid",
}


@dataclass(frozen=True, eq=False)
class SteadyFlows:
    """Steady flows of a batch of forces.

    Args:
        torus: the truncated space.
        g: coordinates of curls of forces, shape `(batch, n)`.
        viscosity: shape `(batch,)`.
        c: coordinates of vorticities; where a solve did not converge, where it ended.
        status: codes of `FlowStatus`, shape `(batch,)`.
        residual: `|F(w)| / |g|` in the root mean square, shape `(batch,)`.
        share: share of the force that the continuation reached.
        tail: share of the root mean square of the vorticity in the outermost sixth of the modes.
        history: relative residuals on the way, one tuple a sample: of the continuation, then of the whole grid, preconditioned first.
    """

    torus: GalerkinTorus
    g: Tensor
    viscosity: Tensor
    c: Tensor
    status: Tensor
    residual: Tensor
    share: Tensor
    tail: Tensor
    history: tuple[tuple[float, ...], ...]

    @property
    def converged(self) -> Tensor:
        """Samples with status `CONVERGED`, shape `(batch,)`."""
        return self.status == FlowStatus.CONVERGED.value

    @property
    def vorticity(self) -> Tensor:
        """Vorticities on the grid, shape `(batch, x, y)`."""
        return self.torus.field(self.c)

    @property
    def curl(self) -> Tensor:
        """Curls of the forces on the grid, shape `(batch, x, y)`."""
        return self.torus.field(self.g)

    def rows(self, at: Tensor) -> SteadyFlows:
        """Some samples.

        Args:
            at: their indices.

        Returns:
            Those rows.
        """
        kept = {k: getattr(self, k)[at] for k in ("g", "viscosity", "c", "status", "residual", "share", "tail")}
        return SteadyFlows(torus=self.torus, history=tuple(self.history[int(i)] for i in at), **kept)

    def summary(self) -> str:
        """Count the samples by status, with advice for those that failed.

        Returns:
            One line.
        """
        counts = Counter(FlowStatus(int(code)) for code in self.status)
        parts = [f"{counts[FlowStatus.CONVERGED]} of {len(self.status)} converged"]
        for status, count in counts.items():
            if status is not FlowStatus.CONVERGED:
                at = int((self.status == status.value).nonzero()[0])
                shown = ", ".join(f"{r:.2g}" for r in self.history[at][-6:])
                parts.append(f"{count} {status.name.lower()} ({status.advice}; last residuals of sample {at}: {shown})")
        return "; ".join(parts)


def tail_of(torus: GalerkinTorus, c: Tensor) -> Tensor:
    """Share of the root mean square in the outermost sixth of the modes of either direction.

    Args:
        torus: the truncated space.
        c: shape `(batch, n)`.

    Returns:
        Shape `(batch,)`; 0 for a flow at rest.
    """
    reach = torus.modes.abs().double() / torch.tensor(torus.cutoff, dtype=torch.float64)
    outer = (reach.amax(dim=1) > 5 / 6).repeat(2)
    size = torch.linalg.vector_norm(c, dim=1)
    return torch.linalg.vector_norm(c[:, outer], dim=1) / torch.where(size > 0, size, 1.0)
