r"""Generalised minimal residuals, one Krylov space for every sample of a batch.

After `k` products the basis `V` of `span{b, A b, ..., A^{k-1} b}`, made orthonormal by modified Gram-Schmidt, satisfies
`A V_k = V_{k+1} H` with a Hessenberg matrix `H`, and the solution minimises

    |b - A V_k c| = | |b| e_1 - H c |.

Rotations turn `H` into a triangle one column at a time. Their product `Q` is kept as a matrix, so a column costs a handful of
operations however long the basis is; the entry of `Q e_1` below the triangle is the relative residual. `H` and `Q` are float64.

**Every sample by itself.** Samples end after different numbers of products. One that has ended is handed the direction zero, is
marked as not needed, and none of its numbers change. Inner products are sums over rows and all else is elementwise, so no bit
of a result depends on who else is in the batch.

**Breakdown.** `A v = v - J v` is a difference of numbers of size about `1 + |A v|`, so what Gram-Schmidt leaves of it is noise
once it is no longer than `8 u` of that, with `u` the unit roundoff of the products. The space is then invariant: the solution is
found, or `A` is singular on it, which shows as a column whose diagonal entry is noise too and that is left out.

Modified Gram-Schmidt loses orthogonality only as fast as the residual falls, so no second pass is made.

References:
    Saad and Schultz, GMRES, SIAM J. Sci. Stat. Comput. 7 (1986), Algorithm 3 and Proposition 2 (breakdown); Paige, Rozloznik and
    Strakos, SIAM J. Matrix Anal. Appl. 28 (2006), Theorem 8.2 (backward stability with modified Gram-Schmidt).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.solvers._measure import dot, host_sees

__all__ = ["KrylovSolution", "gmres"]

_LOOK = 8
"""Products between two looks of the host at an accelerator."""
_NOISE = 8
"""Unit roundoffs below which what Gram-Schmidt leaves is noise."""


@dataclass(frozen=True)
class KrylovSolution:
    """What was found in the Krylov spaces.

    Args:
        value: the solutions, shape `(batch, n)`; zero where none was wanted.
        residual: `|b - A value| / |b|` as the recurrence has it, float64, shape `(batch,)`; 1 where nothing was found.
        finite: samples all of whose products were finite, shape `(batch,)`.
    """

    value: Tensor
    residual: Tensor
    finite: Tensor


def gmres(
    product: Callable[[Tensor, Tensor], Tensor],
    b: Tensor,
    tolerance: Tensor,
    wanted: Tensor,
    *,
    limit: int,
    unit: float,
) -> KrylovSolution:
    """Solve `A z = b` for every sample, starting from zero.

    Args:
        product: `(v, needed) -> A v` for directions of shape `(batch, n)`, of which the rows `needed` are used.
        b: right-hand sides, shape `(batch, n)`.
        tolerance: relative residuals that are small enough, float64, shape `(batch,)`.
        wanted: samples to solve for, shape `(batch,)`; those with `b = 0` have the solution 0.
        limit: most products a sample may take; the dimension is enough.
        unit: unit roundoff of the products.

    Returns:
        The solutions.
    """
    size = torch.linalg.vector_norm(b, dim=1)
    needed = wanted & (size > torch.finfo(size.dtype).tiny) & torch.isfinite(size)
    finite = torch.isfinite(size)
    v = _unit(b, size, needed)
    residual = torch.ones(len(b), dtype=torch.float64, device=b.device)
    Q = residual.reshape(-1, 1, 1)
    basis: list[Tensor] = []
    columns: list[
        Tensor
    ] = []  # of the triangle, the last entry on its diagonal; zero there where a column does not count
    target: list[Tensor] = []  # the right-hand side of the triangle
    for k in range(min(limit, b.shape[1])):
        if (host_sees(b) or k % _LOOK == 0) and not bool(needed.any()):
            break
        basis.append(v)
        w = product(v, needed)
        image = torch.linalg.vector_norm(w, dim=1)
        sane = torch.isfinite(image)
        finite, needed = finite & (sane | ~needed), needed & sane
        w = torch.where(needed.unsqueeze(1), w, 0.0)
        h = []
        for direction in basis:
            along = dot(direction, w)
            h.append(along)
            w = torch.addcmul(w, along.unsqueeze(1), direction, value=-1)
        length = torch.linalg.vector_norm(w, dim=1)
        noise = _NOISE * unit * (1 + image)
        invariant = length <= noise
        column = (Q * torch.stack(h, dim=1).double().unsqueeze(1)).sum(dim=2)
        Q, diagonal = _rotate(Q, column[:, -1], torch.where(invariant, 0.0, length).double())
        used = needed & (diagonal.abs() > noise)
        columns.append(torch.cat([column[:, :-1], torch.where(used, diagonal, 0.0).unsqueeze(1)], dim=1))
        target.append(Q[:, k, 0])
        residual = torch.where(used, Q[:, k + 1, 0].abs(), residual)
        needed = used & ~invariant & (residual > tolerance)
        v = _unit(w, length, needed)
    value, scale = torch.zeros_like(b), torch.where(torch.isfinite(size), size, 0.0)
    for direction, c in zip(basis, _back_substituted(columns, target), strict=True):
        value = torch.addcmul(value, (c.to(size.dtype) * scale).unsqueeze(1), direction)
    return KrylovSolution(value, residual, finite)


def _unit(w: Tensor, length: Tensor, where: Tensor) -> Tensor:
    """Unit vectors, zero elsewhere."""
    return torch.where(where.unsqueeze(1), w, 0.0) / torch.where(where, length, 1.0).unsqueeze(1)


def _rotate(Q: Tensor, above: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """Append the rotation that turns the last two entries `(above, below)` of a column into `(diagonal, 0)`."""
    diagonal = torch.hypot(above, below)
    still = diagonal == 0
    scale = torch.where(still, 1.0, diagonal)
    c, s = torch.where(still, 1.0, above / scale), below / scale
    k = Q.shape[1]
    longer = torch.nn.functional.pad(Q, (0, 1, 0, 1))
    last = longer[:, k - 1].clone()
    longer[:, k - 1] = c.unsqueeze(1) * last
    longer[:, k - 1, k] = s
    longer[:, k] = -s.unsqueeze(1) * last
    longer[:, k, k] = c
    return longer, diagonal


def _back_substituted(columns: list[Tensor], target: list[Tensor]) -> list[Tensor]:
    """Coefficients of the basis, zero for columns that do not count."""
    if not columns:
        return []
    right = torch.stack(target, dim=1)
    found: list[Tensor] = []
    for column in reversed(columns):
        j = column.shape[1] - 1
        diagonal = column[:, j]
        c = torch.where(diagonal == 0, 0.0, right[:, j] / torch.where(diagonal == 0, 1.0, diagonal))
        right = right[:, :j] - column[:, :j] * c.unsqueeze(1)
        found.append(c)
    return found[::-1]
