"""Operator norms of dense matrices from below: the image of one good vector, rounding included."""

from __future__ import annotations

import torch
from torch import Tensor

from eqtheory.norms import Euclidean, Norm
from eqtheory.roundoff import gamma

__all__ = ["image_lower_bound"]


def image_lower_bound(A: Tensor, norm: Norm, out: Norm) -> Tensor:
    """Image of a good vector; the best of the leading singular vector and two rounds of ascent from every column's.

    Args:
        A: real float64, shape `(..., m, n)`, not empty.
        norm: norm on its arguments.
        out: norm on its values.

    Returns:
        Lower bounds, shape `(...)`.
    """
    flat = A.reshape(-1, *A.shape[-2:])
    best = torch.zeros(flat.shape[0], dtype=torch.float64, device=A.device)
    m, n = flat.shape[-2:]
    for v in _candidates(flat, norm, out):
        image = (flat @ v.unsqueeze(-1)).squeeze(-1)
        # The product errs by gamma_n |A| |v| entry by entry, each norm by a few roundings of its own.
        error = gamma(n, torch.float64) * out((flat.abs() @ v.abs().unsqueeze(-1)).squeeze(-1))
        length = norm(v) * (1 + gamma(2 * n + 8, torch.float64))
        found = (out(image) * (1 - gamma(2 * m + 8, torch.float64)) - error) / torch.where(length > 0, length, 1.0)
        # Between block sums with extreme weights a product can still leave the range, and then says nothing.
        best = torch.maximum(best, torch.where((length > 0) & torch.isfinite(found), found, 0.0))
    return best.reshape(A.shape[:-2])


def _candidates(flat: Tensor, norm: Norm, out: Norm) -> list[Tensor]:
    """Vectors on which the map is likely largest: singular vectors for l2, ascent from the largest row or column elsewhere.

    Returns:
        A few batches of shape `(batch, n)`.
    """
    right = torch.linalg.svd(flat, full_matrices=False)[2][:, 0]
    if isinstance(norm, Euclidean) and isinstance(out, Euclidean):
        return [right]
    rows = flat.gather(1, flat.abs().sum(2).argmax(1)[:, None, None].expand(-1, 1, flat.shape[2])).squeeze(1)
    column = flat.abs().sum(1).argmax(1)
    found = []
    for v in (right, norm.aligned(rows), torch.nn.functional.one_hot(column, flat.shape[2]).to(flat.dtype)):
        found.append(v)
        for _ in range(4):
            image = (flat @ found[-1].unsqueeze(-1)).squeeze(-1)
            found.append(norm.aligned((flat.mT @ out.subgradient(image).unsqueeze(-1)).squeeze(-1)))
    return found
