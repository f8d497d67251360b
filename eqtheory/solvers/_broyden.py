r"""Broyden's (good) method with limited memory, in the form that stores steps alone.

For `F(y) = y - G(y)` let `H_k` approximate the inverse Jacobian, `H_0 = I`, `s_k = -H_k F(y_k)` and
`y_{k+1} = y_k + s_k`, so that the first step is Picard's. Broyden's update of `B_k = H_k^{-1}` is the smallest change in the
Frobenius norm that explains the last step, `B_{k+1} s_k = F(y_{k+1}) - F(y_k)`. As `B_k s_k = -F(y_k)`, it is

    B_{k+1} = B_k + F(y_{k+1}) s_k^T / |s_k|^2 = B_k (I - z s_k^T / |s_k|^2)        with  z = -H_k F(y_{k+1}).

By Sherman and Morrison `(I - z s^T / |s|^2)^{-1} = I + z s^T / (s^T d)` with `d = s - z`. Applied to `z` this gives the next
step, and its rank-one part is the next step once more, so nothing but the steps is stored (Kelley 1995, section 7.3):

    s_{k+1} = z |s_k|^2 / (s_k^T d),        H_{k+1} = (I + s_{k+1} s_k^T / |s_k|^2) H_k,
    z       = (I + s_k s_{k-1}^T / |s_{k-1}|^2) ... (I + s_1 s_0^T / |s_0|^2) (G(y_{k+1}) - y_{k+1}).

With `k` steps in memory that costs `k` products, `k` additions and `k` vectors; a full memory is emptied. Pairs
`H = I + sum u v^T` could drop the oldest one instead, at twice the vectors and twice the work. That does not pay: on linear
operators with random symmetric spectra in `[-mu, mu]`, 256 dimensions and 20 steps, to a relative residual of 1e-8,

    mu                              0.9      0.99     0.999
    evaluations, steps / pairs    47 / 92  167 / 268  759 / 1031
    passes, steps / pairs         0.8 / 5.7  3.1 / 17  14 / 67       (thousands of products and additions of states).

**Denominator.** `s^T d / (|s| |d|)` is the cosine between the last step and what the model makes of the change of `F` along
it. Where it is not above `1e-3` in size, the model stays as it is and the next step is `z`. So an update never takes a step
longer than `1e3 |z| |s| / |d|`, and its denominator has at least the digits of `1e3` rounding errors. Nor is the model changed
where `d` is below `8 u |G(y)|`: the step as rounded is then not the one that was meant, and nothing can be learnt from it.

**Equivariance.** Steps do not see a shift of the origin. They are stored as units `s / |s|` with the ratios of their lengths,
so nothing has a scale, and a change of scale by a power of two changes no bit of a unit or of a ratio.

**Safeguard.** See `_safeguard`. A model that is right in most directions may be wrong by `1 / (1 - mu)` in the others, so that
on linear operators residuals pass through peaks far above the best on their way down. A `growth` of 10, ample for a
least-squares extrapolation, restarts this method again and again in the middle of what it learns where `mu = 0.999`.

References:
    Broyden 1965, Math. Comp. 19; Gay 1979, SIAM J. Numer. Anal. 16 (linear problems end after at most `2 n` steps); Kelley
    1995, Iterative Methods for Linear and Nonlinear Equations, chapter 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers._measure import dot, host_sees, rows, working
from eqtheory.solvers._safeguard import Guard
from eqtheory.solvers._solver import Solver
from eqtheory.validate import above_one, count

__all__ = ["Broyden", "BroydenState"]

_LOOK = 8
"""Steps an accelerator works between two looks of the host."""

_SMALLEST_COSINE = 1e-3
"""Between the last step and the change it made, as the model sees it; see the module."""
_ROUNDINGS = 8
"""Unit roundoffs of the image below which a change is put down to rounding."""


@dataclass(frozen=True)
class BroydenState:
    """The last steps; the batch is the first axis of every tensor.

    The steps are a tuple, oldest first: successive states share them, so a step copies none.

    Args:
        units: the steps divided by their lengths, each of shape `(batch, n)`.
        ratios: length of every step but the first over that of the one before it, zero where the pair does not count, shape
            `(batch, k - 1)`.
        length: of the last step, zero where there is none, shape `(batch,)`.
        age: how many of the steps belong to the sample's memory, shape `(batch,)`.
        guard: the safeguard's memory.
    """

    units: tuple[Tensor, ...]
    ratios: Tensor
    length: Tensor
    age: Tensor
    guard: Guard


@final
@dataclass(frozen=True)
class Broyden(Solver[BroydenState]):
    """Step by a model of the inverse Jacobian that is corrected by what every step did: a quasi-Newton method.

    Costs up to `memory` states of storage, at most `2 memory` passes over the state a step and half of that on average, and
    one evaluation. Converges superlinearly near a solution at which `I - dG/dy` is regular, as long as the memory lasts.
    Every sample has its own model. Half precision is extrapolated in float32.

    Args:
        memory: how many steps are kept before the model starts again, at least 1.
        growth: residual over the best one that makes it start again, above 1.

    Raises:
        InputError: an argument out of range.

    Example:
        >>> from eqtheory.solvers import fixed_point
        >>> x, y0 = torch.ones(1).double(), torch.zeros(1).double()
        >>> fixed_point(lambda y, x: 0.999 * y + x, x, y0, solver=Broyden()).evaluations
        tensor([3])
    """

    memory: int = 20
    growth: float = 1000.0

    def __post_init__(self) -> None:
        count("memory", self.memory, "pass memory=20, or use Picard()")
        above_one("growth", self.growth, 1000.0)

    def init(self, y: Tensor) -> BroydenState:
        """Return an empty memory.

        Args:
            y: starting states, shape `(batch, ...)`.

        Returns:
            The state before the first step.
        """
        flat = rows(y.to(working(y.dtype)))
        batch = flat.shape[0]
        return BroydenState(
            units=(),
            ratios=flat.new_zeros(batch, 0),
            length=flat.new_zeros(batch),
            age=torch.zeros(batch, dtype=torch.int64, device=y.device),
            guard=Guard.fresh(flat),
        )

    def residuals(self, state: BroydenState) -> Tensor:
        """Euclidean norms of the residuals that the last step saw.

        Args:
            state: what `step` returned.

        Returns:
            Shape `(batch,)`.
        """
        return state.guard.size

    def step(self, state: BroydenState, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, BroydenState]:  # noqa: ARG002
        """Propose the quasi-Newton states.

        Args:
            state: what `init` or the previous step returned.
            y: current states, shape `(batch, ...)`.
            g: `G(y, x)`.
            active: which samples are still iterated.

        Returns:
            The next states and the next memory.
        """
        here, image = rows(y.to(state.length.dtype)), rows(g.to(state.length.dtype))
        f = image - here
        size = torch.linalg.vector_norm(f, dim=1)
        noise = _ROUNDINGS * unit_roundoff(y.dtype) * torch.linalg.vector_norm(image, dim=1)
        step, usable = _quasi_newton(state, f, noise)
        patience = 2 * min(self.memory, 2 * f.shape[1])
        again, proposal, guard = state.guard.follow(size, image, here + step, growth=self.growth, patience=patience)
        full = state.age >= self.memory
        following = self._remember(state, step, usable, empty=full if again is None else full | again, guard=guard)
        return proposal.reshape(y.shape).to(y.dtype), following

    def _remember(
        self, state: BroydenState, step: Tensor, usable: Tensor, *, empty: Tensor, guard: Guard
    ) -> BroydenState:
        """The memory with a new step in it, or an empty one."""
        length = torch.linalg.vector_norm(step, dim=1)
        length = torch.where(empty | ~torch.isfinite(length), 0.0, length)
        taken = length > torch.finfo(length.dtype).tiny  # one too short to be divided by has no reliable direction
        unit = torch.where(taken.unsqueeze(1), step / torch.where(taken, length, 1.0).unsqueeze(1), 0.0)
        units, ratios = (*state.units, unit), state.ratios
        if state.units:
            ratio = torch.where(usable, length / torch.where(usable, state.length, 1.0), 0.0)
            ratios = torch.where(empty.unsqueeze(1), 0.0, torch.cat([ratios, ratio.unsqueeze(1)], dim=1))
        age = torch.where(empty, 0, state.age + 1)
        # Steps that no sample remembers are dropped; that takes a look, for which an accelerator is made to wait now and then only.
        if len(units) >= self.memory + (0 if host_sees(age) else _LOOK):
            unused = len(units) - int(age.max())
            units, ratios = units[unused:], ratios[:, unused:]
        return BroydenState(units, ratios, torch.where(taken, length, 0.0), age, guard)


def _quasi_newton(state: BroydenState, f: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The next step, shape `(batch, n)`, and for which samples the model could be corrected, shape `(batch,)`."""
    z = f
    for j, unit in enumerate(state.units[:-1]):
        z = torch.addcmul(z, (state.ratios[:, j] * dot(unit, z)).unsqueeze(1), state.units[j + 1])
    if not state.units:
        return z, torch.zeros_like(state.length, dtype=torch.bool)
    last = state.units[-1]
    d = torch.addcmul(-z, state.length.unsqueeze(1), last)
    along = dot(last, d)
    size = torch.linalg.vector_norm(d, dim=1)
    usable = (state.length > 0) & (size > noise) & (along.abs() > _SMALLEST_COSINE * size)
    stretch = torch.where(usable, state.length / torch.where(usable, along, 1.0), 1.0)
    return z * stretch.unsqueeze(1), usable
