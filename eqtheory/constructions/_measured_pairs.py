"""Gaps and distances of pairs of a table under a relaxation, in floating point with bounds on their rounding.

On the line, that is for inputs of one entry, distances of consecutive points add up and gaps obey the triangle inequality: what holds
for all neighbours holds for all pairs, for either half of a budget and for their sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.roundoff import gamma
from eqtheory.targets import SampleTable

__all__ = ["MeasuredPairs", "line_order", "measured_neighbours", "measured_pairs"]


@dataclass(frozen=True)
class MeasuredPairs:
    """Both gaps and the distance of pairs in floating point, each with a bound on its own rounding error.

    With unit roundoff u: products round once, differences once, a norm of q entries at most q + 2 times, so the gap of the
    offsets errs by at most gamma_{q+8} (|eps_i F_i| + |eps_j F_j|), that of the steps by as much of itself, distances by
    gamma_{p+8} of themselves.

    Args:
        step: `|eps_i - eps_j|`, shape `(block, n)` or `(pairs,)`.
        offset: `|eps_i F_i - eps_j F_j|`, the same shape.
        distance: the same shape.
        step_error: bound on the error of `step`.
        offset_error: bound on the error of `offset`.
        distance_error: bound on the relative error of `distance`.
        sizes: `|eps_i F_i|` at all points, shape `(n,)`.
    """

    step: Tensor
    offset: Tensor
    distance: Tensor
    step_error: Tensor
    offset_error: Tensor
    distance_error: float
    sizes: Tensor


def measured_pairs(table: SampleTable, eps: Tensor, rows: slice) -> MeasuredPairs:
    """Measure the pairs of a block of points with all points.

    Args:
        table: the map.
        eps: one relaxation per point, shape `(n,)`.
        rows: the block.

    Returns:
        Gaps, distances and their errors.
    """
    inputs, flat, eps = table.inputs.double(), table.values.reshape(len(table), -1).double(), eps.double()
    offsets = eps[:, None] * flat
    size = table.output_norm(offsets)
    step = (eps[rows, None] - eps[None, :]).abs()
    unit = gamma(flat.shape[1] + 8, eps.dtype)
    tiny = 8 * torch.finfo(eps.dtype).tiny  # underflow of products
    return MeasuredPairs(
        step,
        table.output_norm.pairwise(offsets[rows], offsets),
        table.input_norm.pairwise(inputs[rows], inputs),
        unit * step,
        unit * (size[rows, None] + size[None, :]) + tiny,
        gamma(table.inputs[0].numel() + 8, eps.dtype),
        size,
    )


def line_order(table: SampleTable) -> Tensor | None:
    """Sort the points of a line.

    Args:
        table: the map.

    Returns:
        Indices in increasing order of the inputs, or `None` where inputs have several entries.
    """
    return table.inputs.reshape(len(table)).argsort() if table.inputs[0].numel() == 1 else None


def measured_neighbours(table: SampleTable, eps: Tensor, order: Tensor) -> MeasuredPairs:
    """Measure consecutive points of the line.

    Args:
        table: the map.
        eps: one relaxation per point, shape `(n,)`.
        order: what `line_order` returned.

    Returns:
        Gaps, distances and their errors, shape `(n - 1,)`.
    """
    inputs, flat, eps = table.inputs.double(), table.values.reshape(len(table), -1).double(), eps.double()
    i, j = order[:-1], order[1:]
    offsets = eps[:, None] * flat
    size = table.output_norm(offsets)
    step = (eps[i] - eps[j]).abs()
    unit = gamma(flat.shape[1] + 8, eps.dtype)
    return MeasuredPairs(
        step,
        table.output_norm.distance(offsets[i], offsets[j]),
        table.input_norm.distance(inputs[i], inputs[j]),
        unit * step,
        unit * (size[i] + size[j]) + 8 * torch.finfo(eps.dtype).tiny,
        gamma(9, eps.dtype),
        size,
    )
