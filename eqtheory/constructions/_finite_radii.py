r"""The radii `rho` and `sigma` on finite sets of points, in closed form.

On a finite set the ball `B(x, r)` changes only where `r` passes a distance, so the supremum defining `rho` is a maximum.

*Exact balls.* Order the points by distance from `x`, `d_1 = 0 <= d_2 <= ...`, and let `h_k` be `1 + max|F| + max slope` over
the first `k`. For `r` in `(d_k, d_{k+1}]` the ball holds exactly the first `k` points, and `r h_k <= 1` there iff
`r <= 1/h_k`. Since `r h(x, r)` grows with `r`,

    rho(x) = max_k min(1, d_{k+1}, 1/h_k)          (d_{n+1} = infinity).

A term whose `1/h_k` falls below `d_k` is dominated by the one before it, and so are terms that split ties.

*Majorant.* With `H(x, r) = 1 + max_{z in B(x,r)} m(z)` and `m(z) = |F(z)| + max{slope(z, w) : d(z, w) < 1}`, a radius `r` is
admissible iff for every `z` either `d(x, z) >= r` or `r <= 1/(1 + m(z))`, hence without any sorting

    rho(x) = min(1, min_z max(d(x, z), 1/(1 + m(z)))),

and the same with `|F(z)|` in place of `m(z)` gives `sigma` exactly. Both cost O(n^2) time and O(n) memory in blocks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from eqtheory.norms import slopes_of

__all__ = ["exact_ball_radii", "majorant_radii"]


def exact_ball_radii(from_centre: Tensor, sizes: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Radii at one centre per row, from the balls of its own finite set.

    Args:
        from_centre: distances of the centre to the points, shape `(batch, m)`; the centre itself is one of the points.
        sizes: norms of the values at the points, shape `(batch, m)`.
        slopes: slopes of all pairs of these points, shape `(batch, m, m)`.

    Returns:
        `rho` and `sigma`, each of shape `(batch,)`. Cost: O(batch m^2) after a sort.
    """
    ordered, order = from_centre.sort(dim=-1)
    size = sizes.gather(-1, order).cummax(dim=-1).values
    m = order.shape[-1]
    rows = slopes.gather(-2, order.unsqueeze(-1).expand(-1, m, m))
    among = rows.gather(-1, order.unsqueeze(-2).expand(-1, m, m)).tril()
    slope = among.amax(dim=-1).cummax(dim=-1).values
    outer = torch.cat([ordered[..., 1:], torch.full_like(ordered[..., :1], torch.inf)], dim=-1).clamp_max(1.0)
    rho = torch.minimum(outer, 1 / (1 + size + slope)).amax(dim=-1)
    sigma = torch.minimum(outer, 1 / (1 + size)).amax(dim=-1)
    return rho, sigma


def majorant_radii(
    blocks: list[slice], distances: Callable[[slice], Tensor], gaps: Callable[[slice], Tensor], sizes: Tensor
) -> tuple[Tensor, Tensor]:
    """Radii on a large finite set from the slope majorant, block by block.

    Args:
        blocks: consecutive slices that cover the points.
        distances: maps a slice to the distances of its points to all points, shape `(block, n)`.
        gaps: maps a slice to the distances of the values there to all values, shape `(block, n)`.
        sizes: norms of all values, shape `(n,)`.

    Returns:
        `rho` and `sigma`, each of shape `(n,)`.
    """
    steepest = torch.empty_like(sizes)
    for block in blocks:
        d = distances(block)
        steepest[block] = torch.where(d < 1, slopes_of(gaps(block), d), 0.0).amax(dim=-1)
    tame, small = 1 / (1 + sizes + steepest), 1 / (1 + sizes)
    rho, sigma = torch.empty_like(sizes), torch.empty_like(sizes)
    for block in blocks:
        d = distances(block)
        rho[block] = torch.maximum(d, tame).amin(dim=-1).clamp_max(1.0)
        sigma[block] = torch.maximum(d, small).amin(dim=-1).clamp_max(1.0)
    return rho, sigma
