r"""Newton's method with dense matrices, continued in the force from rest, for all samples of a batch at once.

The curve of flows `F(w(t); t g) = 0` starts at `w(0) = 0`, where `F'` is the Stokes operator, and follows `dw/dt = F'(w)^{-1} g`. From
an accepted point a step goes along the tangent, and Newton's method comes back to the curve. Every round makes one matrix a sample,
whatever phase the sample is in, and solves with it for the correction and for the tangent.

**When a point is accepted.** Within the domain of Newton's method its corrections shrink at least by half from one to the next (the
natural monotonicity test of Deuflhard, which does not change under `F -> M F`); a correction that does not, or a predicted point that
Newton has not brought to a relative residual of 1e-9 within eight corrections, halves the step. So the path stays near the branch
that starts at rest, and one that turns back (a fold) ends as `STALLED`.

References:
    Deuflhard, Newton Methods for Nonlinear Problems, Springer 2004, sections 2.1 and 5.1; Allgower and Georg, Introduction to
    Numerical Continuation Methods, SIAM 2003, chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from experiments.navier_stokes.solver._linearized import dense_jacobian, residual

__all__ = ["Path", "continue_from_rest", "newton"]

_CONTRACTION = 0.5
_CORRECTIONS = 8
_ON_THE_CURVE = 1e-9
_SHORTEST = 2.0**-10


@dataclass(frozen=True)
class Path:
    """Where the continuation ended.

    Args:
        c: coordinates of the last accepted flows, shape `(batch, n)`.
        share: the share of the force they belong to; 1 where the path arrived.
        rounds: matrices made, shape `(batch,)`.
        history: relative residuals of every round, shape `(rounds, batch)`; NaN where a sample had left.
    """

    c: Tensor
    share: Tensor
    rounds: Tensor
    history: Tensor

    @property
    def arrived(self) -> Tensor:
        """Samples whose whole force was reached, shape `(batch,)`."""
        return self.share == 1


def _norm(v: Tensor) -> Tensor:
    return torch.linalg.vector_norm(v, dim=1)


def continue_from_rest(torus: GalerkinTorus, g: Tensor, viscosity: Tensor, *, max_rounds: int = 200) -> Path:
    """Follow flows from rest to the whole force.

    Args:
        torus: the truncated space, small enough for dense matrices.
        g: coordinates of curls of forces, shape `(batch, n)`.
        viscosity: shape `(batch,)`.
        max_rounds: most matrices a sample may take.

    Returns:
        The path's end.
    """
    count = len(g)
    base, share = torch.zeros_like(g), g.new_zeros(count)
    tangent = g / (viscosity.unsqueeze(1) * torus.squared)
    step = torch.ones_like(share)
    trial, last = base + tangent, torch.full_like(share, torch.inf)
    corrections, rounds = torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.long)
    size = _norm(g)
    active = size > 0
    share = torch.where(active, share, 1.0)
    history: list[Tensor] = []
    while bool(active.any()) and len(history) < max_rounds:
        at = active.nonzero().squeeze(1)
        target = share[at] + step[at]
        f = residual(torus, trial[at], target.unsqueeze(1) * g[at], viscosity[at])
        relative = _norm(f) / (target * size[at])
        history.append(torch.full_like(share, torch.nan).index_copy(0, at, relative))
        rounds[at] += 1
        matrix = dense_jacobian(torus, trial[at], viscosity[at], torus)
        factors, pivots, broken = torch.linalg.lu_factor_ex(matrix)
        solved = torch.linalg.lu_solve(factors, pivots, torch.stack([-f, g[at]], dim=2))
        correction, slope = solved.unbind(dim=2)
        length = _norm(correction)
        accepted = relative <= _ON_THE_CURVE
        sound = (broken == 0) & torch.isfinite(length) & torch.isfinite(relative)
        lost = ~accepted & (~sound | (length > _CONTRACTION * last[at]) | (corrections[at] >= _CORRECTIONS))
        # One more correction with the matrix at hand, from 1e-9 to rounding.
        better = trial[at] + torch.where(sound, 1.0, 0.0).unsqueeze(1) * torch.where(
            torch.isfinite(correction), correction, 0.0
        )
        base[at] = torch.where(accepted.unsqueeze(1), better, base[at])
        tangent[at] = torch.where(accepted.unsqueeze(1), slope, tangent[at])
        share[at] = torch.where(accepted, target.clamp(max=1.0), share[at])
        grown = torch.where(corrections[at] <= 3, 2.0, 1.0) * step[at]
        length_of_step = torch.where(accepted, grown, torch.where(lost, step[at] / 2, step[at]))
        step[at] = torch.minimum(length_of_step, 1 - share[at])
        restart = accepted | lost
        predicted = base[at] + step[at].unsqueeze(1) * tangent[at]
        trial[at] = torch.where(restart.unsqueeze(1), predicted, better)
        last[at] = torch.where(restart, torch.inf, length)
        corrections[at] = torch.where(restart, 0, corrections[at] + 1)
        active[at] = (share[at] < 1) & ~(lost & (step[at] < _SHORTEST))
    return Path(base, share, rounds, torch.stack(history) if history else g.new_zeros(0, count))


def newton(
    torus: GalerkinTorus, c: Tensor, g: Tensor, viscosity: Tensor, *, tolerance: float, max_rounds: int = 12
) -> tuple[Tensor, Tensor]:
    """Newton's method with dense matrices from a good start, frozen where a sample has converged.

    Args:
        torus: the truncated space.
        c: starting coordinates, shape `(batch, n)`.
        g: coordinates of curls of forces.
        viscosity: shape `(batch,)`.
        tolerance: relative residual at which a sample is done.
        max_rounds: most corrections.

    Returns:
        Coordinates, and relative residuals of every round, shape `(rounds, batch)`.
    """
    c, size = c.clone(), _norm(g)
    history = [_norm(residual(torus, c, g, viscosity)) / size]
    for _ in range(max_rounds):
        active = history[-1] > tolerance
        if not bool(active.any()):
            break
        at = active.nonzero().squeeze(1)
        f = residual(torus, c[at], g[at], viscosity[at])
        factors, pivots, broken = torch.linalg.lu_factor_ex(dense_jacobian(torus, c[at], viscosity[at], torus))
        correction = torch.linalg.lu_solve(factors, pivots, -f.unsqueeze(2)).squeeze(2)
        sound = (broken == 0) & torch.isfinite(_norm(correction))
        c[at] = torch.where(sound.unsqueeze(1), c[at] + correction, c[at])
        history.append(history[-1].index_copy(0, at, _norm(residual(torus, c[at], g[at], viscosity[at])) / size[at]))
        if not bool(sound.any()):
            break
    return c, torch.stack(history)
