r"""Anderson's acceleration with truncated Gram-Schmidt.

Anderson's iteration of type II minimises `|f_k - dF gamma|` over the differences of the last residuals. Here the differences are
made orthonormal as they come, and only the last `m` of the orthonormal directions are kept. With `f_k = G(y_k) - y_k` and the
image `h_k = y_k + beta f_k`, the newest pair `(f_k - f_{k-1}, h_k - h_{k-1})` is reduced against the kept ones,

    d <- f_k - f_{k-1},  w <- h_k - h_{k-1};     for each kept (v, w_v):  s = <v, d>,  d <- d - s v,  w <- w - s w_v,

then both are divided by `|d|`, and

    y_{k+1} = h_k - sum_v <v, f_k> w_v.

**Why truncation costs little.** Let `A = I - dG/dy` be constant. The directions span `A K_k(A, f_0)`, and the residual that is left,
`r_k = f_k - sum_v <v, f_k> v`, is orthogonal to every direction there ever was, as long as none with a component along the newest
difference is forgotten. `f_{k+1} = (I - beta A) r_k`, so the newest difference has a component along an old `v_j` only through
`<A r_k, v_j> = <r_k, A^T v_j>`. If `A` is symmetric, `A v_j` lies in the span of the directions up to `j + 1`, to which `r_k` is
orthogonal for `j < k - 1`: **two directions do what all of them would**, and the iteration needs as many evaluations as GMRES at
the memory of conjugate residuals. For Jacobians that are nearly symmetric or normal this is nearly so; for strongly non-normal
ones a longer memory, or `Anderson` with it, needs fewer evaluations.

**Equivariance.** A change of scale changes `d` and `w` alike and leaves `v` and the coefficients of unit vectors unchanged; a shift
of the origin changes no difference. A direction whose part outside the kept ones is below `floor` of it is noise and is not kept.

`<v, f_k>` of a kept direction is `<v, f_{k-1}> + s`: one inner product a direction serves both. Safeguard: see `_safeguard`.

References:
    Anderson 1965; Tang, Xu, He, Saad and Xi, Anderson acceleration with truncated Gram-Schmidt, SIAM J. Matrix Anal. Appl. 45
    (2024), Algorithm 3.1 and Theorem 4.2 (the symmetric case).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers._measure import dot, host_sees, largest_entry, rows, working
from eqtheory.solvers._safeguard import Guard
from eqtheory.solvers._solver import Solver
from eqtheory.validate import open_unit

__all__ = ["AndersonTGS", "AndersonTGSState"]


@dataclass(frozen=True)
class AndersonTGSState:
    """What the iteration remembers; the batch is the first axis of every tensor.

    Args:
        f: residuals at the previous states, shape `(batch, n)`; NaN where they may not be differenced with the next.
        h: their images `y + beta f`.
        directions: orthonormal directions `v`, oldest first, each of shape `(batch, n)`; zero where there is none.
        moves: the moves `w` that go with them.
        along: `<v, f>` of each, shape `(batch, 1)`.
        guard: the safeguard's memory.
    """

    f: Tensor
    h: Tensor
    directions: tuple[Tensor, ...]
    moves: tuple[Tensor, ...]
    along: tuple[Tensor, ...]
    guard: Guard


@final
@dataclass(frozen=True)
class AndersonTGS(Solver[AndersonTGSState]):
    """Extrapolate along the last few orthonormal directions: Anderson's iteration with a short memory that forgets little.

    Costs one evaluation, `2 memory` states of storage and about `4 memory` passes over the state a step. Where the Jacobian of
    `G` is symmetric, memory 2 needs as many evaluations as unlimited memory. Half precision is extrapolated in float32.

    Args:
        memory: how many directions are kept, at least 1; more than the state's dimension are never used.
        mixing: `beta`, how far to go along the residual that is left, `0 < mixing <= 1`.
        floor: share of a difference that has to be new, at least 0; never taken below `4 sqrt(u)`.
        growth: residual over the best one that makes it start again, above 1.

    Raises:
        InputError: an argument out of range.

    Example:
        >>> from eqtheory.solvers import fixed_point
        >>> x, y0 = torch.ones(1).double(), torch.zeros(1).double()
        >>> fixed_point(lambda y, x: 0.999 * y + x, x, y0, solver=AndersonTGS()).evaluations
        tensor([3])
    """

    memory: int = 3
    mixing: float = 1.0
    floor: float = 1e-7
    growth: float = 10.0

    def __post_init__(self) -> None:
        if not (isinstance(self.memory, int) and self.memory >= 1):
            raise InputError("memory", str(self.memory), "an integer >= 1", "pass memory=3, or use Picard()")
        open_unit("mixing", self.mixing, include_one=True)
        if not 0 <= self.floor < 1:
            raise InputError("floor", str(self.floor), "0 <= floor < 1", "pass 1e-7")
        if not self.growth > 1:
            raise InputError("growth", str(self.growth), "a number > 1", "pass growth=10.0")

    def init(self, y: Tensor) -> AndersonTGSState:
        """Return an empty memory.

        Args:
            y: starting states, shape `(batch, ...)`.

        Returns:
            The state before the first step.
        """
        flat = rows(y.to(working(y.dtype)))
        kept = min(self.memory, flat.shape[1])  # more directions than dimensions would only hold noise
        f, h = (torch.full_like(flat, torch.nan) for _ in range(2))
        directions, moves = (tuple(torch.zeros_like(flat) for _ in range(kept)) for _ in range(2))
        along = tuple(flat.new_zeros(len(flat), 1) for _ in range(kept))
        return AndersonTGSState(f, h, directions, moves, along, Guard.fresh(flat))

    def step(self, state: AndersonTGSState, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, AndersonTGSState]:  # noqa: ARG002
        """Propose the extrapolated states.

        Args:
            state: what `init` or the previous step returned.
            y: current states, shape `(batch, ...)`.
            g: `G(y, x)`.
            active: which samples are still iterated.

        Returns:
            The next states and the next memory.
        """
        here, image = rows(y.to(state.f.dtype)), rows(g.to(state.f.dtype))
        floor = max(self.floor, 4 * sqrt(unit_roundoff(here.dtype)))
        memory = state.f, state.h, state.directions, state.moves, state.along
        found, checks = _extrapolate(
            here, image, memory, state.guard.target, self.mixing, floor, careful=not host_sees(here)
        )
        progress = torch.inf
        if host_sees(here):
            share, rest, progress, largest = checks.tolist()
            # Nearly always everyone has a new direction and somewhere finite to go. All are false for NaN.
            if not (share > floor and rest > torch.finfo(here.dtype).tiny and largest < torch.inf):
                found, _ = _extrapolate(here, image, memory, state.guard.target, self.mixing, floor, careful=True)
                progress = torch.inf
        proposal, size, f, h, directions, moves, along = found
        if progress < 1:
            following = AndersonTGSState(f, h, directions, moves, along, state.guard.passed(size, image))
            return proposal.reshape(y.shape).to(y.dtype), following
        again, proposal, guard = state.guard.see(size, image).decide(
            proposal, growth=self.growth, patience=2 * max(len(directions), 3)
        )
        if not host_sees(again) or bool(again.any()):
            none = again.unsqueeze(1)
            directions, moves = (tuple(t.masked_fill(none, 0.0) for t in kept) for kept in (directions, moves))
            f, h = f.masked_fill(none, torch.nan), h.masked_fill(none, torch.nan)
        return proposal.reshape(y.shape).to(y.dtype), AndersonTGSState(f, h, directions, moves, along, guard)


def _extrapolate(
    y: Tensor,
    g: Tensor,
    memory: tuple[Any, ...],
    target: Tensor,
    mixing: float,
    floor: float,
    *,
    careful: bool,
) -> tuple[tuple[Any, ...], Tensor]:
    """The arithmetic of one step, without a branch on values.

    Args:
        y: states, shape `(batch, n)`.
        g: `G(y, x)`.
        memory: residuals and images of the previous state, directions, moves and components.
        target: residuals that count as progress, shape `(batch,)`.
        mixing: `beta`.
        floor: share of a difference that has to be new.
        careful: whether samples may lack a previous state or a new direction; to the others it makes no difference.

    Returns:
        Proposals, residuals and the next memory; and what the host has to know: the smallest share, the smallest new part, the
        largest residual over its target, the largest entry proposed.
    """
    f_before, h_before, directions, moves, along = memory
    f = g - y
    h = g if mixing == 1 else y + mixing * f
    d, w = f - f_before, h - h_before
    length = torch.linalg.vector_norm(d, dim=1, keepdim=True)
    components = []
    for v, move, before in zip(directions, moves, along, strict=True):
        s = dot(v, d).unsqueeze(1)
        d, w = torch.addcmul(d, s, v, value=-1), torch.addcmul(w, s, move, value=-1)
        components.append(torch.where(s.isfinite(), before + s, 0.0) if careful else before + s)
    rest = torch.linalg.vector_norm(d, dim=1, keepdim=True)
    if careful:
        usable = (rest > floor * length) & (rest > torch.finfo(rest.dtype).tiny)
        d, w = (torch.where(usable, t / torch.where(usable, rest, 1.0), 0.0) for t in (d, w))
    else:
        d, w = d / rest, w / rest
    directions, moves = (*directions[1:], d), (*moves[1:], w)
    components = [*components[1:], dot(d, f).unsqueeze(1)]
    proposal = h
    for c, move in zip(components, moves, strict=True):
        proposal = torch.addcmul(proposal, c, move, value=-1)
    size = torch.linalg.vector_norm(f, dim=1)
    checks = torch.stack([(rest / length).amin(), rest.amin(), (size / target).amax(), largest_entry(proposal)])
    return (proposal, size, f, h, directions, moves, tuple(components)), checks
