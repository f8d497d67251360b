r"""Anderson's acceleration, type II, in difference form.

With `f_k = G(y_k) - y_k` and the last `m` differences `dF = [f_k - f_{k-1}, ...]`, `dY = [y_k - y_{k-1}, ...]`,

    gamma   = argmin |f_k - dF gamma|^2            (plus a small ridge)
    y_{k+1} = y_k + beta f_k - (dY + beta dF) gamma

**Equivariance.** Differences do not see a shift of the origin. The columns are stored as `u = df / |df|`, `p = (dy + beta df) /
|df|`, so that with `c = |df| gamma` the problem is

    (U^T U + lambda I) c = U^T f,            y_{k+1} = y_k + beta f_k - P c.

Nothing in it has a unit: `lambda` is relative, and a change of scale by a power of two changes no bit of `c`. As the diagonal
of `U^T U` is one, `lambda` drops directions whose singular value among unit columns is below `sqrt(lambda)`. The entries of
`U^T U` are themselves wrong by a few unit roundoffs, so `lambda` is not taken below `16 u`.

**Compiled.** See `_compiled_step`.

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
from eqtheory.solvers._compiled_step import CompiledState, Rules, begin, extrapolate
from eqtheory.solvers._measure import dot, host_sees, rows, working
from eqtheory.solvers._safeguard import Guard
from eqtheory.solvers._solver import Solver
from eqtheory.validate import above_one, count, open_unit

__all__ = ["Anderson", "AndersonState"]


@dataclass(frozen=True)
class AndersonState:
    """What Anderson's iteration remembers of the last `m` differences; the batch is the first axis of every tensor.

    Args:
        pair: residual and image `(f, y + beta f)` at the previous state, shape `(batch, 2, n)`; NaN where it may not be
            differenced with the next.
        columns: `(u, p)`, shape `(batch, m, 2, n)`; zero where there is none. Written in place.
        gram: `U^T U` in float64, shape `(batch, m, m)`; zero where there is no column. Written in place.
        place: where the next column goes.
        guard: the safeguard's memory.
    """

    pair: Tensor
    columns: Tensor
    gram: Tensor
    place: int
    guard: Guard


@final
@dataclass(frozen=True)
class Anderson(Solver[AndersonState | CompiledState]):
    """Extrapolate from the last few steps: the step that would have been best for a linear operator.

    Costs `O(memory)` states of storage, about `11 memory + 20` reads and writes of the state a step, and one evaluation. Every sample has
    its own least-squares problem. Half precision is extrapolated in float32.

    Args:
        memory: how many differences are kept, at least 1; more than the state's dimension are never used.
        mixing: `beta`, how far to go along the combined residual, `0 < mixing <= 1`.
        regularization: relative ridge on unit columns, at least 0; see the module for its floor.
        growth: residual over the best one that makes it start again, above 1.
        native: run the step as compiled code; see `AndersonTGS`.

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
    native: bool = False

    def __post_init__(self) -> None:
        count("memory", self.memory, "pass memory=5, or use Picard()")
        open_unit("mixing", self.mixing, include_one=True)
        if not 0 <= self.regularization < 1:
            raise InputError("regularization", str(self.regularization), "0 <= regularization < 1", "pass 1e-10")
        above_one("growth", self.growth, 10.0)

    def init(self, y: Tensor) -> AndersonState | CompiledState:
        """Return an empty memory.

        Args:
            y: starting states, shape `(batch, ...)`.

        Returns:
            The state before the first step.
        """
        flat = rows(y.to(working(y.dtype)))
        batch, n = flat.shape
        kept = min(self.memory, n)  # more differences than dimensions would only repeat what the others say
        if self.native:
            return begin("anderson", flat, kept)
        return AndersonState(
            pair=flat.new_full((batch, 2, n), torch.nan),
            columns=flat.new_zeros((batch, kept, 2, n)),
            gram=torch.zeros(batch, kept, kept, dtype=torch.float64, device=y.device),
            place=0,
            guard=Guard.fresh(flat),
        )

    def residuals(self, state: AndersonState | CompiledState) -> Tensor:
        """Euclidean norms of the residuals that the last step saw.

        Args:
            state: what `step` returned.

        Returns:
            Shape `(batch,)`.
        """
        return state.size if isinstance(state, CompiledState) else state.guard.size

    def step(
        self,
        state: AndersonState | CompiledState,
        y: Tensor,
        g: Tensor,
        active: Tensor,
    ) -> tuple[Tensor, AndersonState | CompiledState]:
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
        here, image = (t if t.ndim == 2 and t.dtype == dtype else rows(t.to(dtype)) for t in (y, g))
        if isinstance(state, CompiledState):
            if not state.ready:
                patience, ridge = 2 * min(self.memory, here.shape[1]), self._ridge(dtype)
                state.prepare(Rules("anderson", self.mixing, self.growth, patience, ridge=ridge))
            proposal, kept = extrapolate(state, here, image, active)
            return proposal if here is y else proposal.reshape(y.shape).to(y.dtype), kept
        f = image - here
        h = image if self.mixing == 1 else here + self.mixing * f
        pair = torch.stack((f, h), dim=1)
        columns, gram, place = state.columns, state.gram, state.place
        columns[:, place] = _unit(pair - state.pair)
        products = dot(columns[:, :, 0], columns[:, place : place + 1, 0])
        gram[:, place] = products
        gram[:, :, place] = products
        weights = self._combine(gram, dot(columns[:, :, 0], f.unsqueeze(1)))
        proposal = h
        for weight, move in zip(weights.unsqueeze(2).unbind(1), columns[:, :, 1].unbind(1), strict=True):
            # One column after the other: a sum over an inner axis is ordered differently for different batch sizes.
            proposal = torch.addcmul(proposal, weight, move, value=-1)
        size = torch.linalg.vector_norm(f, dim=1)
        place = (place + 1) % columns.shape[1]
        again, proposal, guard = state.guard.follow(
            size, image, proposal, growth=self.growth, patience=2 * columns.shape[1]
        )
        if again is not None:
            columns.masked_fill_(again.reshape(-1, 1, 1, 1), 0.0)
            gram.masked_fill_(again.reshape(-1, 1, 1), 0.0)
            pair = pair.masked_fill(again.reshape(-1, 1, 1), torch.nan)
        following = AndersonState(pair, columns, gram, place, guard)
        return proposal.reshape(y.shape).to(y.dtype), following

    def _ridge(self, dtype: torch.dtype) -> float:
        return max(self.regularization, 16 * unit_roundoff(dtype))

    def _combine(self, gram: Tensor, products: Tensor) -> Tensor:
        """Coefficients of the columns, exactly zero where there is none: such a column meets only the ridge."""
        system = gram + self._ridge(products.dtype) * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
        return torch.linalg.solve_ex(system, products.double())[0].to(products.dtype)


def _unit(difference: Tensor) -> Tensor:
    """Residuals' difference and its move, divided by the length of the former; zero where there is no direction."""
    length = torch.linalg.vector_norm(difference[:, 0], dim=1)
    smallest = torch.finfo(length.dtype).tiny  # what is shorter has no reliable direction
    if host_sees(length) and length.amin().item() > smallest:  # false for NaN as well
        return difference / length[:, None, None]
    usable = length > smallest
    scaled = difference / torch.where(usable, length, 1.0)[:, None, None]
    return torch.where(usable[:, None, None], scaled, 0.0)
