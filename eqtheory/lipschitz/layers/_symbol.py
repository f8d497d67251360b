r"""The norm of a convolution on a torus, frequency by frequency, also where the torus is twisted and the outputs are strided.

**Blocks.** On the torus `Z_N` let `x_{j+N} = (-1)^h x_j` (`h = 0` periodic, `h = 1` antiperiodic). The convolution
`y_o = sum_t K_t x_{s o + d t}` with `s | N` maps waves of phase `2 pi (k + h/2) / N` to waves; with the symbol
`S(k) = sum_t K_t exp(2 pi i (k + h/2) d t / N)` and unitary transforms, the `s` inputs `k = q + j N/s` alias to the output `q`:

    y^(q) = s^(-1/2) sum_{j<s} S(q + j N/s) x^(q + j N/s),   |C|_2 = max_q |s^(-1/2) [S(q), S(q + N/s), ...]|_2,

one small matrix per output frequency, axis by axis in several dimensions. Real kernels have conjugate blocks at opposite
frequencies, so half of the last axis is enough.

**Rounding.** Roots of unity are rounded from 80 bits, so each is off by less than `2 u`; sums over `k` taps err by
`gamma_{3k}` of the sums of absolute values. Entry by entry the block errs by `eps sum_t |K_t| s^(-1/2)` and the block row by
`eps |sum_t |K_t||_2` in norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from mpmath import mp, mpf, workprec
from torch import Tensor

from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound
from eqtheory.lipschitz.layers._certified import largest_block
from eqtheory.norms import Euclidean
from eqtheory.roundoff import gamma

__all__ = ["Torus", "roots_of_unity", "torus_norm"]

_BITS = 80
_ROOM = 1 << 22
"""Blocks of so many entries are held at a time, 64 MiB of complex double numbers."""


@dataclass(frozen=True)
class Torus:
    """The torus on which a convolution acts.

    Args:
        sizes: cells per axis, multiples of the stride.
        twists: per axis 0 for periodic and 1 for antiperiodic.
    """

    sizes: tuple[int, ...]
    twists: tuple[int, ...]


def roots_of_unity(n: int) -> Tensor:
    """The powers of `exp(2 pi i / n)`, each part rounded once from 80 bits.

    Args:
        n: how many.

    Returns:
        Complex double numbers, shape `(n,)`.
    """
    with workprec(_BITS):
        angles = [2 * mpf(j) / n for j in range(n // 2 + 1)]
        values = torch.tensor([complex(float(mp.cospi(a)), float(mp.sinpi(a))) for a in angles], dtype=torch.complex128)
    return torch.cat([values, values[1 : (n + 1) // 2].flip(0).conj()])  # the other half is conjugate, exactly


def _slabs(torus: Torus, stride: Sequence[int], each: int) -> Iterator[list[Tensor]]:
    """Output frequencies axis by axis, few enough at a time for their blocks to have at most `_ROOM` entries.

    Args:
        torus: the torus.
        stride: per axis.
        each: entries of the block of one frequency.

    Yields:
        Whole numbers per axis; of the last axis the half that counts.
    """
    counts = _counts(torus, stride)
    parts: list[Sequence[Tensor]] = []
    for count in reversed(counts):
        room = max(1, _ROOM // each)
        parts.append(torch.split(torch.arange(count), room))
        each *= min(room, count)
    yield from (list(reversed(chosen)) for chosen in product(*parts))


def _counts(torus: Torus, stride: Sequence[int]) -> list[int]:
    lengths = [n // s for n, s in zip(torus.sizes, stride, strict=True)]
    return [*lengths[:-1], (lengths[-1] + 1) // 2 if torus.twists[-1] else lengths[-1] // 2 + 1]


def _symbol(
    weight: Tensor, torus: Torus, stride: Sequence[int], dilation: Sequence[int], slab: Sequence[Tensor]
) -> tuple[Tensor, float]:
    """The symbol at output frequencies and their aliases, and its error relative to the sums of absolute taps.

    Returns:
        Shape `(groups, c_out, c_in, s_1 * q_1, ...)`, the aliases of one number `j` beside each other, and the relative error.
    """
    S, roundings = weight.to(torch.complex128), 8
    for n, h, s, d, q in zip(torus.sizes, torus.twists, stride, dilation, slab, strict=True):
        k = S.shape[3]
        frequencies = (torch.arange(s)[:, None] * (n // s) + q).flatten()
        phases = (2 * frequencies + h)[:, None] * (d * torch.arange(k))[None]
        S = torch.tensordot(S, roots_of_unity(2 * n)[phases % (2 * n)], ([3], [1]))
        roundings += 3 * k + 4
    return S, gamma(roundings, torch.float64)


def _blocks(S: Tensor, stride: Sequence[int]) -> Tensor:
    """Gather the aliases of each output frequency beside each other.

    Returns:
        Shape `(groups, frequencies, c_out, c_in * aliases)`.
    """
    axes = len(stride)
    for axis in reversed(range(axes)):
        S = S.reshape(*S.shape[: 3 + axis], stride[axis], -1, *S.shape[4 + axis :])
    aliases, frequencies = [3 + 2 * a for a in range(axes)], [4 + 2 * a for a in range(axes)]
    S = S.permute(0, *frequencies, 1, 2, *aliases)
    return S.flatten(axes + 2).flatten(1, axes) / prod(stride) ** 0.5


def torus_norm(
    weight: Tensor, torus: Torus, *, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[float, float, tuple[int, tuple[int, ...]]]:
    """Enclose the Euclidean norm of a convolution on a torus.

    Args:
        weight: shape `(groups, c_out, c_in, *kernel)`, float64.
        torus: sizes, multiples of the strides, and twists.
        stride: per axis.
        dilation: per axis.

    Returns:
        Lower side, upper side, and where it is largest: the group and the output frequency per axis. Cost: one product per
        frequency, and one decomposition for each of those that are near the largest; memory for `2^22` entries at a time.
    """
    groups, c_out, c_in = weight.shape[:3]
    lower, upper, place, relative = 0.0, 0.0, (0, (0,) * len(stride)), 0.0
    for slab in _slabs(torus, stride, groups * c_out * c_in * prod(stride)):
        S, relative = _symbol(weight, torus, stride, dilation, slab)
        below, above, index = largest_block(_blocks(S, stride).flatten(0, 1), floor=upper)
        if above > upper:
            group, *where = (int(i) for i in torch.unravel_index(torch.tensor(index), (groups, *map(len, slab))))
            upper, place = above, (group, tuple(int(q[i]) for q, i in zip(slab, where, strict=True)))
        lower = max(lower, below)
    totals = weight.abs().flatten(3).sum(3)
    error = relative * float(matrix_norm_upper_bound(totals, Euclidean()).amax())
    rounding = gamma(8, torch.float64)
    return (lower - error) * (1 - rounding), (upper + error) * (1 + rounding), place
