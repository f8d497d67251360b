r"""Halpern's iteration on the reflected primal-dual step, with restarts and an adaptive primal weight.

With `T` the primal-dual step, an average of the identity and a map that does not expand, `2 T - I` does not expand, and Halpern's
iteration

    z_{k+1} = (k+1)/(k+2) (2 T(z_k) - z_k) + 1/(k+2) z_0

has the best possible rate `|T(z_k) - z_k|_P = O(1/k)` (see `eqtheory.solvers.Halpern`, whose formula this is). Linear programs are
sharp, so restarts from `T(z_k)` make it linear. They come, looked for every few steps, when the residual `r_k = |T(z_k) - z_k|_P`

- is at most 1/5 of what it was at the restart before, or
- is at most 4/5 of it and has begun to rise again, or
- when more than a fifth of all steps have gone into this period.

At a restart the primal weight moves half way, on a logarithmic scale, to the ratio of the ways that `p` and `y` have gone in the period.

References:
    Lu, Yang 2024, arXiv 2407.16144 (restarted Halpern with reflection); Applegate et al. 2021, NeurIPS 34 (restarts, primal weight).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.constructions.linear_programming._program import LinearProgram
from eqtheory.lipschitz import matrix_norm_upper_bound
from eqtheory.nests import take
from eqtheory.norms import Euclidean

__all__ = ["Iteration", "Products", "start"]

_SUFFICIENT, _NECESSARY, _ARTIFICIAL = 0.2, 0.8, 0.2
_SMOOTHING = 0.5
_FRACTION = 0.998
_DENSE_ENTRIES = 2**22
"""Matrices up to this size, over the batch, are written out to bound their norms; the others are known to have norm at most 1."""


class Products:
    """Products with all matrices of a batch at once, as one block-diagonal matrix of compressed rows.

    Args:
        program: the programs.
    """

    def __init__(self, program: LinearProgram) -> None:
        batch, m, n = program.shape
        step = torch.arange(batch, device=program.rows.device).unsqueeze(1)
        rows, columns = (program.rows + step * m).reshape(-1), (program.columns + step * n).reshape(-1)
        self.shape = (batch, m, n)
        entries = program.entries.reshape(-1)
        self._matrix = _compressed(rows, columns, entries, (batch * m, batch * n))
        self._transpose = _compressed(columns, rows, entries, (batch * n, batch * m))

    def times(self, y: Tensor, plus: Tensor) -> Tensor:
        """Apply the matrices and add.

        Args:
            y: shape `(batch, n)`.
            plus: shape `(batch, m)`.

        Returns:
            `A y + plus`, shape `(batch, m)`.
        """
        return torch.mv(self._matrix, y.reshape(-1)).view(plus.shape) + plus

    def transposed(self, p: Tensor, plus: Tensor) -> Tensor:
        """Apply the transposes and add.

        Args:
            p: shape `(batch, m)`.
            plus: shape `(batch, n)`.

        Returns:
            `A^T p + plus`, shape `(batch, n)`.
        """
        return torch.mv(self._transpose, p.reshape(-1)).view(plus.shape) + plus


def _compressed(rows: Tensor, columns: Tensor, entries: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls its compressed rows beta
        pattern = torch.sparse_coo_tensor(torch.stack([rows, columns]), entries, shape, check_invariants=False)
        long = pattern.coalesce().to_sparse_csr()
        if max(entries.numel(), *shape) >= 2**31:
            return long
        # The kernels take 32-bit indices and would convert longer ones at every product.
        starts, places = long.crow_indices().int(), long.col_indices().int()
        return torch.sparse_csr_tensor(starts, places, long.values(), shape, check_invariants=False)


@dataclass(frozen=True)
class Iteration:
    """Where the iteration stands; every tensor has the batch first.

    Args:
        y: points.
        p: multipliers.
        anchor_y: points at the last restart.
        anchor_p: multipliers then.
        image_y: points after one more step from `(y, p)` of the last look.
        image_p: multipliers after it.
        moved_y: that step's change.
        moved_p: that step's change.
        k: steps since the last restart, shape `(batch, 1)`.
        first: residual at the first step after it, shape `(batch, 1)`.
        last: residual at the last look.
        weight: the primal weight `omega`.
        eta: product of both steps, a root of it.
    """

    y: Tensor
    p: Tensor
    anchor_y: Tensor
    anchor_p: Tensor
    image_y: Tensor
    image_p: Tensor
    moved_y: Tensor
    moved_p: Tensor
    k: Tensor
    first: Tensor
    last: Tensor
    weight: Tensor
    eta: Tensor

    def taken(self, keep: Tensor) -> Iteration:
        """Keep some samples.

        Args:
            keep: their indices.

        Returns:
            The iteration of those.
        """
        return take(self, keep, self.y.shape[0])

    def advanced(self, program: LinearProgram, products: Products, steps: int, done: int) -> Iteration:
        """Take some steps, then look whether to restart.

        Args:
            program: the scaled programs.
            products: products with their matrices.
            steps: how many, at least 2.
            done: how many were taken before.

        Returns:
            The iteration after them.
        """
        y, p, k, first, last = self.y, self.p, self.k, self.first, self.last
        tau, sigma = self.eta / self.weight, self.eta * self.weight
        floor = torch.where(program.equality, -torch.inf, 0.0).to(p.dtype)
        c, l, u, minus_b = program.c, program.l, program.u, -program.b  # noqa: E741
        ahead = k + torch.arange(steps, dtype=k.dtype, device=k.device)
        shares = torch.split((ahead + 1) / (ahead + 2), 1, dim=1)
        here, there, size = y, p, last
        for j in range(steps):
            # `primal_dual_step`, with the reflection it forms kept; lerp with weight 2 reflects.
            here = torch.clamp(torch.addcmul(y, tau, products.transposed(p, c), value=-1), l, u)
            reflected = torch.lerp(y, here, 2.0)
            there = torch.maximum(torch.addcmul(p, sigma, products.times(reflected, minus_b)), floor)
            if j in (0, steps - 1):
                size = _residual(here - y, there - p, products, self.weight, self.eta)
            if j == 0:
                fresh = k == 0
                first, last = torch.where(fresh, size, first), torch.where(fresh, size, last)
            if j < steps - 1:
                y = torch.lerp(self.anchor_y, reflected, shares[j])
                p = torch.lerp(self.anchor_p, torch.lerp(p, there, 2.0), shares[j])
        k, share = k + (steps - 1), shares[-1]
        again = (size <= _SUFFICIENT * first) | ((size <= _NECESSARY * first) & (size > last))
        again = again | (k >= _ARTIFICIAL * (done + steps))
        return Iteration(
            y=torch.where(again, here, torch.lerp(self.anchor_y, torch.lerp(y, here, 2.0), share)),
            p=torch.where(again, there, torch.lerp(self.anchor_p, torch.lerp(p, there, 2.0), share)),
            anchor_y=torch.where(again, here, self.anchor_y),
            anchor_p=torch.where(again, there, self.anchor_p),
            image_y=here,
            image_p=there,
            moved_y=here - y,
            moved_p=there - p,
            k=torch.where(again, 0.0, k + 1),
            first=first,
            last=size,
            weight=torch.where(again, self._balanced(here, there), self.weight),
            eta=self.eta,
        )

    def _balanced(self, y: Tensor, p: Tensor) -> Tensor:
        primal = torch.linalg.vector_norm(y - self.anchor_y, dim=1, keepdim=True)
        dual = torch.linalg.vector_norm(p - self.anchor_p, dim=1, keepdim=True)
        moving = (primal > 1e-14) & (dual > 1e-14)
        ratio = torch.where(moving, dual / primal.clamp_min(1e-300), self.weight)
        return ratio**_SMOOTHING * self.weight ** (1 - _SMOOTHING)


def _residual(y: Tensor, p: Tensor, products: Products, weight: Tensor, eta: Tensor) -> Tensor:
    """Norm of a change of the state in the metric of the step, shape `(batch, 1)`."""
    square = y.square().sum(dim=1, keepdim=True) * weight + p.square().sum(dim=1, keepdim=True) / weight
    cross = (p * products.times(y, torch.zeros_like(p))).sum(dim=1, keepdim=True)
    return (square / eta - 2 * cross).clamp_min(0.0).sqrt()


def start(program: LinearProgram) -> Iteration:
    """Start from zero, taken into the box.

    Args:
        program: the scaled programs, with matrices of norm at most 1.

    Returns:
        The iteration before its first step.
    """
    batch, m, n = program.shape
    norm = program.c.new_full((batch, 1), 1.0 + 1e-6)  # scaled by sums; rounding of the scales is far below this
    if batch * m * n <= _DENSE_ENTRIES and m:
        norm = matrix_norm_upper_bound(program.dense(), Euclidean()).to(program.c).clamp(1e-6, 1.0 + 1e-6).unsqueeze(1)
    y = torch.clamp(torch.zeros_like(program.c), program.l, program.u)
    p = torch.zeros_like(program.b)
    unknown = torch.full_like(norm, torch.inf)
    return Iteration(
        y,
        p,
        y,
        p,
        y,
        p,
        torch.zeros_like(y),
        p,
        torch.zeros_like(norm),
        unknown,
        unknown,
        torch.ones_like(norm),
        _FRACTION / norm,
    )
