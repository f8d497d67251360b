r"""Anderson's acceleration, type II, in difference form.

With `f_k = G(y_k) - y_k` and the last `m` differences `dF = [f_k - f_{k-1}, ...]`, `dY = [y_k - y_{k-1}, ...]`,

    gamma   = argmin |f_k - dF gamma|^2            (plus a small ridge)
    y_{k+1} = y_k + beta f_k - (dY + beta dF) gamma

**Equivariance.** Differences do not see a shift of the origin. The columns are stored as `u = df / |df|`, `p = (dy + beta df) /
|df|`, and the residual enters as `f / |f|`, so that with `c = |df| gamma / |f|` the problem is

    (U^T U + lambda I) c = U^T f / |f|,            y_{k+1} = y_k + beta f_k - |f| P c.

Nothing in it has a unit: `lambda` is relative, and a change of scale by a power of two changes no bit of `c`. As the diagonal
of `U^T U` is one, `lambda` drops directions whose singular value among unit columns is below `sqrt(lambda)`. The entries of
`U^T U` are themselves wrong by a few unit roundoffs, so `lambda` is not taken below `16 u`.

**Safeguard.** See `_safeguard`: a memory that no longer helps is dropped, and the residuals of a contraction tend to zero whatever
is extrapolated.

References:
    Anderson 1965; Walker and Ni 2011, SIAM J. Numer. Anal. 49, section 2 (the difference form).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers._measure import dot, rows, working
from eqtheory.solvers._safeguard import Guard
from eqtheory.solvers._solver import Solver
from eqtheory.validate import open_unit

__all__ = ["Anderson", "AndersonState"]


@dataclass(frozen=True)
class AndersonState:
    """What Anderson's iteration remembers of the last `k` differences; the batch is the first axis of every tensor.

    The columns are a tuple, oldest first: successive states share them, so a step copies none.

    Args:
        y: previous states, shape `(batch, n)`.
        f: their residuals.
        fresh: samples whose previous state may not be differenced with the next, shape `(batch,)`.
        units: the columns `u`, each of shape `(batch, n)`.
        moves: the columns `p`, likewise.
        gram: `U^T U` in float64, shape `(batch, k, k)`.
        valid: which columns may be used, shape `(batch, k)`.
        guard: the safeguard's memory.
    """

    y: Tensor
    f: Tensor
    fresh: Tensor
    units: tuple[Tensor, ...]
    moves: tuple[Tensor, ...]
    gram: Tensor
    valid: Tensor
    guard: Guard


@final
@dataclass(frozen=True)
class Anderson(Solver[AndersonState]):
    """Extrapolate from the last few steps: the step that would have been best for a linear operator.

    Costs `O(memory)` states of storage, about `3 memory` passes over the state a step, and one evaluation. Every sample has
    its own least-squares problem. Half precision is extrapolated in float32.

    Args:
        memory: how many differences are kept, at least 1; more than the state's dimension are never used.
        mixing: `beta`, how far to go along the combined residual, `0 < mixing <= 1`.
        regularization: relative ridge on unit columns, at least 0; see the module for its floor.
        growth: residual over the best one that makes it start again, above 1.

    Raises:
        InputError: an argument out of range.

    Example:
        >>> from eqtheory.solvers import fixed_point
        >>> x, y0 = torch.ones(1).double(), torch.zeros(1).double()
        >>> fixed_point(lambda y, x: 0.999 * y + x, x, y0, solver=Anderson()).evaluations
        tensor([3])
    """

    memory: int = 5
    mixing: float = 1.0
    regularization: float = 1e-10
    growth: float = 10.0

    def __post_init__(self) -> None:
        if not (isinstance(self.memory, int) and self.memory >= 1):
            raise InputError("memory", str(self.memory), "an integer >= 1", "pass memory=5, or use Picard()")
        open_unit("mixing", self.mixing, include_one=True)
        if not 0 <= self.regularization < 1:
            raise InputError("regularization", str(self.regularization), "0 <= regularization < 1", "pass 1e-10")
        if not self.growth > 1:
            raise InputError("growth", str(self.growth), "a number > 1", "pass growth=10.0")

    def init(self, y: Tensor) -> AndersonState:
        """Return an empty memory.

        Args:
            y: starting states, shape `(batch, ...)`.

        Returns:
            The state before the first step.
        """
        flat = rows(y.to(working(y.dtype)))
        batch = flat.shape[0]
        return AndersonState(
            y=torch.zeros_like(flat),
            f=torch.zeros_like(flat),
            fresh=torch.ones(batch, dtype=torch.bool, device=y.device),
            units=(),
            moves=(),
            gram=torch.zeros(batch, 0, 0, dtype=torch.float64, device=y.device),
            valid=torch.zeros(batch, 0, dtype=torch.bool, device=y.device),
            guard=Guard.fresh(flat),
        )

    def step(self, state: AndersonState, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, AndersonState]:  # noqa: ARG002
        """Propose the extrapolated states.

        Args:
            state: what `init` or the previous step returned.
            y: current states, shape `(batch, ...)`.
            g: `G(y, x)`.
            active: which samples are still iterated.

        Returns:
            The next states and the next memory.
        """
        here, image = rows(y.to(state.y.dtype)), rows(g.to(state.y.dtype))
        f = image - here
        size = torch.linalg.vector_norm(f, dim=1)
        units, moves, gram, valid = self._remember(state, here, f)
        direction = f / size.clamp_min(torch.finfo(size.dtype).tiny).unsqueeze(1)
        c = self._combine(units, gram, valid, direction)
        proposal = here + self.mixing * f
        for j, move in enumerate(moves):
            proposal = torch.addcmul(proposal, (c[:, j] * size).unsqueeze(1), move, value=-1)

        patience = 2 * self._depth(here)
        restart, proposal, guard = state.guard.see(size, image).decide(
            size, proposal, growth=self.growth, patience=patience
        )
        following = AndersonState(
            y=here,
            f=f,
            fresh=restart,
            units=units,
            moves=moves,
            gram=gram,
            valid=valid & ~restart.unsqueeze(1),
            guard=guard,
        )
        return proposal.reshape(y.shape).to(y.dtype), following

    def _depth(self, flat: Tensor) -> int:
        """More differences than dimensions would only repeat what the others say."""
        return min(self.memory, flat.shape[1])

    def _remember(
        self, state: AndersonState, here: Tensor, f: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor, Tensor]:
        """Columns, their inner products and which of them count, with the newest difference added."""
        df = f - state.f
        length = torch.linalg.vector_norm(df, dim=1)
        # Without a step there is no direction, and one too short to be divided by has no reliable one.
        usable = ~state.fresh & (length > torch.finfo(length.dtype).tiny)
        scale = torch.where(usable, length, 1.0).unsqueeze(1)
        unit, move = df / scale, (here - state.y + self.mixing * df) / scale
        m = self._depth(here)
        units, moves = (*state.units, unit)[-m:], (*state.moves, move)[-m:]
        valid = torch.cat([state.valid, usable.unsqueeze(1)], dim=1)[:, -m:]
        products = torch.stack([dot(u, unit) for u in units], dim=1).double()
        gram = products.new_empty(len(f), len(units), len(units))
        kept = len(units) - 1
        gram[:, :kept, :kept] = state.gram[:, state.gram.shape[1] - kept :, state.gram.shape[1] - kept :]
        gram[:, -1, :] = products
        gram[:, :, -1] = products
        return units, moves, gram, valid

    def _combine(self, units: tuple[Tensor, ...], gram: Tensor, valid: Tensor, direction: Tensor) -> Tensor:
        """Coefficients `c` of the columns, zero where a column does not count, in the dtype of the columns."""
        ridge = max(self.regularization, 16 * unit_roundoff(direction.dtype))
        both = valid.unsqueeze(2) & valid.unsqueeze(1)
        identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
        target = torch.stack([dot(u, direction) for u in units], dim=1).double()
        # A column that does not count meets only the ridge: its coefficient is exactly zero.
        solution, _ = torch.linalg.solve_ex(torch.where(both, gram, 0.0) + ridge * identity, target * valid)
        return solution.to(direction.dtype)
