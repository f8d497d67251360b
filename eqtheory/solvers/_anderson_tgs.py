r"""Anderson's acceleration with truncated Gram-Schmidt.

Anderson's iteration of type II minimises `|f_k - dF gamma|` over the differences of the last residuals. Here the differences are
made orthonormal as they come, and only the last `m` of the orthonormal directions are kept. With `f_k = G(y_k) - y_k` and the
image `h_k = y_k + beta f_k`, the newest pair `(f_k - f_{k-1}, h_k - h_{k-1})` is reduced against the kept ones,

    d <- f_k - f_{k-1},  w <- h_k - h_{k-1};     for each kept (v, w_v):  s = <v, d>,  d <- d - s v,  w <- w - s w_v,

and

    y_{k+1} = h_k - sum_v <v, f_k> w_v          (the sum over the kept ones and the newest, v = d / |d|, w_v = w / |d|).

The division is not carried out: directions are stored as they are, with their lengths, and only coefficients are divided.

**Why truncation costs little.** Let `A = I - dG/dy` be constant. The directions span `A K_k(A, f_0)`, and the residual that is left,
`r_k = f_k - sum_v <v, f_k> v`, is orthogonal to every direction there ever was, as long as none with a component along the newest
difference is forgotten. `f_{k+1} = (I - beta A) r_k`, so the newest difference has a component along an old `v_j` only through
`<A r_k, v_j> = <r_k, A^T v_j>`. If `A` is symmetric, `A v_j` lies in the span of the directions up to `j + 1`, to which `r_k` is
orthogonal for `j < k - 1`: **two directions do what all of them would**, and the iteration needs as many evaluations as GMRES at
the memory of conjugate residuals. For Jacobians that are nearly symmetric or normal this is nearly so; for strongly non-normal
ones a longer memory, or `Anderson` with it, needs fewer evaluations.

**Equivariance.** A change of scale changes `d` and `w` alike and leaves `v` and the coefficients of unit vectors unchanged; a shift
of the origin changes no difference. A direction whose part outside the kept ones is below `floor` of it is noise and is not kept.

`<v, f_k>` of a kept direction is `<v, f_{k-1}> + s`: one inner product a direction serves both. Every large intermediate lies in
storage that the state keeps: on a CPU, memory asked for anew costs more than the arithmetic on it. Safeguard: see `_safeguard`;
compiled step: see `_compiled_step`.

References:
    Anderson 1965; Tang, Xu, He, Saad and Xi, Anderson acceleration with truncated Gram-Schmidt, SIAM J. Matrix Anal. Appl. 45
    (2024), Algorithm 3.1 and Theorem 4.2 (the symmetric case).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers._compiled_step import CompiledState, Rules, begin, extrapolate
from eqtheory.solvers._measure import dot, host_sees, rows, working
from eqtheory.solvers._safeguard import Guard
from eqtheory.solvers._solver import Solver
from eqtheory.validate import above_one, count, open_unit

__all__ = ["AndersonTGS", "AndersonTGSState"]


@dataclass(frozen=True)
class AndersonTGSState:
    """What the iteration remembers; the batch is the first axis of every tensor.

    Args:
        f: residuals at the previous states, shape `(batch, n)`; NaN where they may not be differenced with the next.
        h: their images `y + beta f`.
        directions: orthogonal directions `d`, oldest first, each of shape `(batch, n)`; zero where there is none.
        moves: the moves `w` that go with them.
        lengths: `|d|` of each, shape `(batch, 1)`; one where there is none.
        along: `<d, f> / |d|^2` of each, shape `(batch, 1)`.
        spare: storage for the next residual, direction and move, and for products, each of shape `(batch, n)`.
        guard: the safeguard's memory.
    """

    f: Tensor
    h: Tensor
    directions: tuple[Tensor, ...]
    moves: tuple[Tensor, ...]
    lengths: tuple[Tensor, ...]
    along: tuple[Tensor, ...]
    spare: tuple[Tensor, Tensor, Tensor, Tensor]
    guard: Guard


@final
@dataclass(frozen=True)
class AndersonTGS(Solver[AndersonTGSState | CompiledState]):
    """Extrapolate along the last few orthonormal directions: Anderson's iteration with a short memory that forgets little.

    Costs one evaluation, `2 memory` states of storage and about `10 memory + 20` reads and writes of the state. Where the Jacobian of
    `G` is symmetric, memory 2 needs as many evaluations as unlimited memory. Half precision is extrapolated in float32.

    Args:
        memory: how many directions are kept, at least 1; more than the state's dimension are never used.
        mixing: `beta`, how far to go along the residual that is left, `0 < mixing <= 1`.
        floor: share of a difference that has to be new, at least 0; never taken below `4 sqrt(u)`.
        growth: residual over the best one that makes it start again, above 1.
        native: run the step as compiled code, several times faster where evaluations are cheap. Needs a CPU and a C compiler, which
            works for about a second when this is first used on a machine. Last bits differ from those without.

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
    native: bool = False

    def __post_init__(self) -> None:
        count("memory", self.memory, "pass memory=3, or use Picard()")
        open_unit("mixing", self.mixing, include_one=True)
        if not 0 <= self.floor < 1:
            raise InputError("floor", str(self.floor), "0 <= floor < 1", "pass 1e-7")
        above_one("growth", self.growth, 10.0)

    def init(self, y: Tensor) -> AndersonTGSState | CompiledState:
        """Return an empty memory.

        Args:
            y: starting states, shape `(batch, ...)`.

        Returns:
            The state before the first step.
        """
        flat = rows(y.to(working(y.dtype)))
        kept = min(self.memory, flat.shape[1])  # more directions than dimensions would only hold noise
        if self.native:
            return begin("anderson_tgs", flat, kept)
        column = flat.new_zeros(len(flat), 1)
        zeros = [torch.zeros_like(flat) for _ in range(2 * kept + 4)]
        return AndersonTGSState(
            f=torch.full_like(flat, torch.nan),
            h=torch.full_like(flat, torch.nan),
            directions=tuple(zeros[4 : 4 + kept]),
            moves=tuple(zeros[4 + kept :]),
            lengths=(column + 1,) * kept,
            along=(column,) * kept,
            spare=(zeros[0], zeros[1], zeros[2], zeros[3]),
            guard=Guard.fresh(flat),
        )

    def residuals(self, state: AndersonTGSState | CompiledState) -> Tensor:
        """Euclidean norms of the residuals that the last step saw.

        Args:
            state: what `step` returned.

        Returns:
            Shape `(batch,)`.
        """
        return state.size if isinstance(state, CompiledState) else state.guard.size

    def step(
        self,
        state: AndersonTGSState | CompiledState,
        y: Tensor,
        g: Tensor,
        active: Tensor,
    ) -> tuple[Tensor, AndersonTGSState | CompiledState]:
        """Propose the extrapolated states.

        Args:
            state: what `init` or the previous step returned.
            y: current states, shape `(batch, ...)`.
            g: `G(y, x)`.
            active: which samples are still iterated.

        Returns:
            The next states and the next memory.
        """
        dtype = working(y.dtype)
        here, image = (t if t.ndim == 2 and t.dtype is dtype else rows(t.to(dtype)) for t in (y, g))
        if isinstance(state, CompiledState):
            if not state.ready:
                state.prepare(self._rules(here))
            proposal, kept = extrapolate(state, here, image, active)
            return proposal if here is y else proposal.reshape(y.shape).to(y.dtype), kept
        rules, tiny = self._rules(here), torch.finfo(dtype).tiny
        store_f, store_d, store_w, work = state.spare
        f = torch.sub(image, here, out=store_f)
        h = image if self.mixing == 1 else here + self.mixing * f
        d, w = torch.sub(f, state.f, out=store_d), torch.sub(h, state.h, out=store_w)
        whole = torch.linalg.vector_norm(d, dim=1, keepdim=True)
        steps = []
        for v, move, length in zip(state.directions, state.moves, state.lengths, strict=True):
            s = dot(v, d, out=work).unsqueeze(1) / length / length
            d, w = d.addcmul_(s, v, value=-1), w.addcmul_(s, move, value=-1)
            steps.append(s)
        rest = torch.linalg.vector_norm(d, dim=1, keepdim=True)
        if not (
            host_sees(f) and (rest / whole).amin().item() > rules.floor and rest.amin().item() > tiny
        ):  # false for NaN
            # Where there is no previous state, or nothing new in the difference, there is no direction.
            usable = (rest > rules.floor * whole) & (rest > tiny)
            d.masked_fill_(~usable, 0.0), w.masked_fill_(~usable, 0.0)
            rest = torch.where(usable, rest, 1.0)
            steps = [torch.where(s.isfinite(), s, 0.0) for s in steps]
        directions, moves = (*state.directions[1:], d), (*state.moves[1:], w)
        lengths = (*state.lengths[1:], rest)
        along = [before + s for before, s in zip(state.along[1:], steps[1:], strict=True)]
        along.append(dot(d, f, out=work).unsqueeze(1) / rest / rest)
        proposal = torch.addcmul(h, along[-1], w, value=-1)
        for c, move in zip(along[:-1], moves[:-1], strict=True):
            proposal = proposal.addcmul_(c, move, value=-1)
        again, proposal, guard = state.guard.follow(
            torch.linalg.vector_norm(f, dim=1),
            image,
            proposal,
            growth=self.growth,
            patience=rules.patience,
        )
        if again is not None:
            none = again.unsqueeze(1)
            for t in (*directions, *moves):
                t.masked_fill_(none, 0.0)
            f, h = f.masked_fill(none, torch.nan), h.masked_fill(none, torch.nan)
        spare = (state.f, state.directions[0], state.moves[0], work)
        following = AndersonTGSState(f, h, directions, moves, lengths, tuple(along), spare, guard)
        return proposal.reshape(y.shape).to(y.dtype), following

    def _rules(self, flat: Tensor) -> Rules:
        """The settings as the step takes them for states of shape `(batch, n)`."""
        floor = max(self.floor, 4 * sqrt(unit_roundoff(flat.dtype)))
        patience = 2 * max(min(self.memory, flat.shape[1]), 3)
        return Rules("anderson_tgs", self.mixing, self.growth, patience, floor=floor)
