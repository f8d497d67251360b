"""Solve for steady flows: continuation on a small truncation, Newton-Krylov on the whole, a larger small one where that fails."""

from __future__ import annotations

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from experiments.navier_stokes.solver._continuation import Path, continue_from_rest, newton
from experiments.navier_stokes.solver._flows import FlowStatus, SteadyFlows, tail_of
from experiments.navier_stokes.solver._levels import levels_of
from experiments.navier_stokes.solver._linearized import Linearization, cut, prolong, residual
from experiments.navier_stokes.solver._refinement import Preconditioner, refine, solve_linear

__all__ = ["RESIDUAL", "TAIL", "solve_coordinates", "solve_steady"]

RESIDUAL = 1e-10
"""Relative residual above which nothing counts as a flow."""
TAIL = 1e-5
"""Share of the vorticity in the outermost modes above which the grid does not resolve a flow."""
_CLOSE, _AIM = 1e-8, 1e-12
"""Where Newton-Krylov hands over to plain Newton steps, and where those stop."""


def solve_steady(torus: GalerkinTorus, curl: Tensor, viscosity: Tensor | float, *, most: int = 1000) -> SteadyFlows:
    """Find the steady flows of a batch of forces, on the branch that starts at rest.

    Args:
        torus: the truncated space.
        curl: curls of the forces on the grid, float64, without mean, shape `(batch, x, y)`.
        viscosity: `nu > 0`, one number or one per sample.
        most: largest dimension of dense matrices; more costs time, and follows branches that need fine waves.

    Returns:
        Flows with a status each; what did not converge carries its residual history and is no flow.

    Raises:
        InputError: unusable forces or viscosities.
        ShapeError: another grid than the torus has, or not one viscosity per sample.
        NonFiniteError: a NaN or an infinity.

    Example:
        >>> torus = GalerkinTorus((16, 16))
        >>> y = 2 * torch.pi * torch.arange(16, dtype=torch.float64) / 16
        >>> flows = solve_steady(torus, -torch.cos(y).expand(1, 16, 16), 0.5)
        >>> flows.summary()
        '1 of 1 converged'
    """
    g = torus.coordinates(torus.forces("curl", curl))
    nu = torch.as_tensor(viscosity, dtype=torch.float64)
    nu = nu.expand(len(g)) if nu.ndim == 0 else nu
    if nu.shape != (len(g),):
        raise ShapeError("viscosity", f"shape {tuple(nu.shape)}", f"({len(g)},) or one number", "pass one per sample")
    if not bool(torch.isfinite(nu).all()):
        raise NonFiniteError("viscosity", "a NaN or an infinity", "finite numbers > 0", "remove that sample")
    if not bool((nu > 0).all()):
        raise InputError("viscosity", str(float(nu.min())), "numbers > 0", "pass for example 0.01")
    return solve_coordinates(torus, g, nu.contiguous(), most=most)


def solve_coordinates(torus: GalerkinTorus, g: Tensor, viscosity: Tensor, *, most: int = 1000) -> SteadyFlows:
    """The same, for coordinates that were checked.

    Args:
        torus: the truncated space.
        g: coordinates of curls of forces, shape `(batch, n)`.
        viscosity: shape `(batch,)`.
        most: largest dimension of dense matrices.

    Returns:
        Flows with a status each.
    """
    count = len(g)
    size = torch.linalg.vector_norm(g, dim=1)
    c, share, left = torch.zeros_like(g), torch.zeros_like(size), torch.full_like(size, torch.inf)
    history: list[tuple[float, ...]] = [() for _ in range(count)]
    rest = size == 0
    share[rest], left[rest] = 1.0, 0.0
    pending = (~rest).nonzero().squeeze(1)
    levels = levels_of(torus)
    chosen = [level for level in levels if level.dimension <= most] or [levels[0]]
    for level in chosen:
        if not len(pending):
            break
        path, arrived_c = _on_level(torus, level, g[pending], viscosity[pending], c[pending], share[pending])
        for row, sample in enumerate(pending.tolist()):
            seen = path.history[:, row]
            history[sample] += tuple(seen[~seen.isnan()].tolist())
        share[pending], c[pending] = path.share, arrived_c
        ready = pending[path.arrived]
        if len(ready):
            c[ready], left[ready], seen = _on_grid(torus, level, c[ready], g[ready], viscosity[ready])
            for row, sample in enumerate(ready.tolist()):
                mine = seen[:, row]
                history[sample] += tuple(mine[~mine.isnan()].tolist())
        pending = pending[left[pending] > RESIDUAL]
    tail = tail_of(torus, c)
    status = torch.full((count,), FlowStatus.CONVERGED.value)
    status[tail > TAIL] = FlowStatus.UNRESOLVED.value
    status[~(left <= RESIDUAL)] = FlowStatus.NOT_CONVERGED.value
    status[share < 1] = FlowStatus.STALLED.value
    return SteadyFlows(torus, g, viscosity, c, status, left, share, tail, tuple(history))


def _on_level(
    torus: GalerkinTorus, level: GalerkinTorus, g: Tensor, viscosity: Tensor, c: Tensor, share: Tensor
) -> tuple[Path, Tensor]:
    """Flows of the level: from where a smaller one arrived, else continued from rest."""
    g_low, start = cut(torus, level, g), cut(torus, level, c)
    arrived = share == 1
    found, reached = torch.zeros_like(start), torch.zeros_like(share)
    rows: list[tuple[Tensor, Tensor]] = []
    at = arrived.nonzero().squeeze(1)
    if len(at):
        found[at], seen = newton(level, start[at], g_low[at], viscosity[at], tolerance=1e-9)
        reached[at] = torch.where(seen[-1] <= 1e-9, 1.0, 0.0).to(reached.dtype)
        rows.append((at, seen))
    at = (reached < 1).nonzero().squeeze(1)
    if len(at):
        path = continue_from_rest(level, g_low[at], viscosity[at])
        found[at], reached[at] = path.c, path.share
        rows.append((at, path.history))
    history = g.new_full((sum(len(seen) for _, seen in rows), len(g)), torch.nan)
    begin = 0
    for at, seen in rows:
        history[begin : begin + len(seen), at] = seen
        begin += len(seen)
    return Path(found, reached, torch.zeros_like(share), history), prolong(level, torus, found)


def _on_grid(
    torus: GalerkinTorus, level: GalerkinTorus, c: Tensor, g: Tensor, viscosity: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Flows of the whole space, their residuals, and residuals on the way."""
    size = torch.linalg.vector_norm(g, dim=1)
    found = refine(torus, level, c, g, viscosity, tolerance=_CLOSE)
    c, left, history = found.c, found.residual, found.history
    # The preconditioned residual hides high modes; a few more Newton steps bring down the residual itself.
    for _ in range(3):
        open_ = ((left > _AIM) & (left < 1e-3)).nonzero().squeeze(1)
        if not len(open_):
            break
        at = Linearization.at(torus, c[open_], viscosity[open_])
        M = Preconditioner.at(torus, level, c[open_], viscosity[open_])
        step, _ = solve_linear(at, M, -residual(torus, c[open_], g[open_], viscosity[open_]), tolerance=1e-5)
        moved = c[open_] + step
        after = torch.linalg.vector_norm(residual(torus, moved, g[open_], viscosity[open_]), dim=1) / size[open_]
        better = after < left[open_]
        c = c.index_copy(0, open_, torch.where(better.unsqueeze(1), moved, c[open_]))
        left = left.index_copy(0, open_, torch.where(better, after, left[open_]))
        row = torch.full_like(left, torch.nan).index_copy(0, open_, left[open_])
        history = torch.cat([history, row.unsqueeze(0)])
    return c, left, history
