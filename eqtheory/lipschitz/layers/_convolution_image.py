"""Lower bounds on the norm of a convolution: certified images of waves, of what power iteration finds, and of single rows and columns.

A value of the convolution is a sum of products, which in any order errs by at most `gamma` of the sum of their absolute
values; that sum is the convolution with absolute taps of the absolute input. No search has to succeed for its image to be a
lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from eqtheory.lipschitz.layers._convolution import Convolution
from eqtheory.lipschitz.layers._symbol import Torus
from eqtheory.norms import Euclidean, Norm, Sup
from eqtheory.roundoff import gamma

__all__ = ["image", "places", "power_image", "probe_of", "wave"]

_STEPS = 24


def wave(conv: Convolution, torus: Torus, group: int, frequency: tuple[int, ...]) -> Tensor:
    groups, _, c_in = conv.weight.shape[:3]
    phase = torch.zeros(conv.size, dtype=torch.float64)
    for axis, (n, N, h, f) in enumerate(zip(conv.size, torus.sizes, torus.twists, frequency, strict=True)):
        shape = [1] * len(conv.size)
        shape[axis] = n
        phase = phase + (2 * torch.pi * (f + h / 2) / N * torch.arange(n, dtype=torch.float64)).reshape(shape)
    x = torch.zeros(groups, c_in, *conv.size, dtype=torch.float64)
    for c in range(c_in):  # channels out of phase, so that power iteration is not kept in a subspace
        x[group, c] = torch.cos(phase + 0.7 * c)
    return x.flatten(0, 1)


def power_image(conv: Convolution, start: Tensor | None) -> float:
    """Image of a vector that power iteration found; sums of products in any order err by `gamma` of those of absolute values.

    Returns:
        The lower side.
    """
    groups, _, c_in = conv.weight.shape[:3]
    if start is None:
        shape = (groups * c_in, *conv.size)
        start = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = start
    pullback = torch.func.vjp(conv.apply, x)[1]
    for _ in range(_STEPS):
        (x,) = pullback(conv.apply(x))
        length = torch.linalg.vector_norm(x)
        if not float(length) > 0:
            return 0.0
        x = x / length
    return image(conv, x, Euclidean())


def image(conv: Convolution, x: Tensor, norm: Norm) -> float:
    terms = conv.weight.shape[2] * prod(conv.kernel)
    y, error = conv.apply(x).flatten(), conv.apply(x.abs(), absolute=True).flatten()
    slack = gamma(max(y.numel(), x.numel()) + 8, torch.float64)
    size = float(norm(y[None])) * (1 - slack) - gamma(terms + 2, torch.float64) * float(norm(error[None])) * (1 + slack)
    return size / (float(norm(x.flatten()[None])) * (1 + slack)) * (1 - gamma(4, torch.float64))


def places(shape: Sequence[int], conv: Convolution, peak: Sequence[int]) -> list[tuple[int, ...]]:
    steps = range(max(conv.stride))  # inner inputs are read through different taps
    return [tuple(peak), *(tuple(min(n // 2 + step, n - 1) for n in shape) for step in steps)]


def probe_of(conv: Convolution, norm: Norm, at: tuple[int, ...]) -> Tensor:
    """A vector on which a row (sup) or a column (l1) is attained.

    Returns:
        One input.
    """
    x = torch.zeros(conv.weight.shape[0] * conv.weight.shape[2], *conv.size, dtype=torch.float64)
    if not isinstance(norm, Sup):
        x[at] = 1.0
        return x
    y, pullback = torch.func.vjp(conv.apply, x)[:2]
    probe = torch.zeros_like(y)
    probe[at] = 1.0
    (row,) = pullback(probe)
    return torch.where(row >= 0, 1.0, -1.0).to(torch.float64)
