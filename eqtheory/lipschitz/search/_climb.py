"""Gradient ascent of many points at once, each with a step of its own.

Steps are unit vectors of the gradient times a length that doubles when it helped and is divided by four when it did not: the
size of the gradient does not matter, only where it points, so a summit that is felt as one part in 1e12 is found from afar.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["climb"]

_SHORTEST = 1e-13
"""Steps shorter than this part of the first one lead nowhere."""

Objective = Callable[[Tensor], Tensor]
"""Points `(batch, n)` to heights `(batch,)`, differentiable."""


def climb(
    objective: Objective,
    start: Tensor,
    *,
    project: Callable[[Tensor], Tensor],
    first_step: Tensor,
    steps: int,
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Move points uphill.

    Args:
        objective: heights; a point whose height is not finite is not moved to.
        start: points, shape `(batch, n)`.
        project: brings points back to where they may be.
        first_step: length of the first step, shape `(batch,)`.
        steps: evaluations of the objective and its gradient, at most.
        scale: units of the coordinates, broadcastable with `start`; 1 where `None`.

    Returns:
        The highest points seen, and their heights (minus infinity where none was finite).
    """
    unit = torch.ones_like(start[:1]) if scale is None else scale
    place = start.detach()
    height, uphill = _measured(objective, place, unit)
    step = first_step.clone()
    for _ in range(steps):
        trial = project(place + (step.unsqueeze(1) * unit) * uphill).detach()
        reached, gradient = _measured(objective, trial, unit)
        better = reached > height
        row = better.unsqueeze(1)
        place, uphill = torch.where(row, trial, place), torch.where(row, gradient, uphill)
        height = torch.where(better, reached, height)
        step = torch.where(better, 2 * step, step / 4)
        if not bool(((step > _SHORTEST * first_step) & (uphill != 0).any(dim=1)).any()):
            break  # every point is on a summit, or on a plain
    return place, height


def _measured(objective: Objective, z: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Heights, and unit vectors uphill in the units of the coordinates; zero where there is no slope.

    Returns:
        Shapes `(batch,)` and `(batch, n)`.
    """
    with torch.enable_grad():
        at = z.detach().requires_grad_()
        height = objective(at)
        gradient = None
        if height.requires_grad:
            # Heights that are not finite would poison nothing but their own row, as long as samples do not mix.
            (gradient,) = torch.autograd.grad(height.sum(), at, allow_unused=True)
    found = torch.zeros_like(z) if gradient is None else gradient * unit
    size = torch.linalg.vector_norm(found, dim=1, keepdim=True)
    usable = torch.isfinite(size) & (size > 0)
    uphill = torch.where(usable, found / torch.where(usable, size, 1.0), 0.0)
    height = height.detach()
    return torch.where(torch.isfinite(height), height, -torch.inf), uphill
