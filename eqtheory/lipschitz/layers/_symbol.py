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

from collections.abc import Sequence
from dataclasses import dataclass
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


def _symbol(weight: Tensor, torus: Torus, dilation: Sequence[int]) -> tuple[Tensor, float]:
    """The symbol at every frequency, and its error relative to the sums of absolute taps.

    Returns:
        Shape `(groups, c_out, c_in, *sizes)`, and the relative error.
    """
    S, roundings = weight.to(torch.complex128), 8
    for n, h, d in zip(torus.sizes, torus.twists, dilation, strict=True):
        k = S.shape[3]
        phases = (2 * torch.arange(n) + h)[:, None] * (d * torch.arange(k))[None]
        S = torch.tensordot(S, roots_of_unity(2 * n)[phases % (2 * n)], ([3], [1]))
        roundings += 3 * k + 4
    return S, gamma(roundings, torch.float64)


def _blocks(S: Tensor, torus: Torus, stride: Sequence[int]) -> Tensor:
    """Gather the aliases of each output frequency beside each other.

    Returns:
        Shape `(groups, frequencies, c_out, c_in * aliases)`.
    """
    axes = len(stride)
    for axis in reversed(range(axes)):
        S = S.reshape(*S.shape[: 3 + axis], stride[axis], -1, *S.shape[4 + axis :])
    aliases, frequencies = [3 + 2 * a for a in range(axes)], [4 + 2 * a for a in range(axes)]
    S = S.permute(0, *frequencies, 1, 2, *aliases)
    last = S.shape[axes]
    S = S.narrow(axes, 0, (last + 1) // 2 if torus.twists[-1] else last // 2 + 1)
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
        frequency, and one decomposition for each of those that are near the largest.
    """
    S, relative = _symbol(weight, torus, dilation)
    blocks = _blocks(S, torus, stride)
    lower, upper, index = largest_block(blocks.flatten(0, 1))
    totals = weight.abs().flatten(3).sum(3)
    error = relative * float(matrix_norm_upper_bound(totals, Euclidean()).amax())
    per_group = blocks.shape[1]
    lengths = [n // s for n, s in zip(torus.sizes, stride, strict=True)]
    lengths[-1] = (lengths[-1] + 1) // 2 if torus.twists[-1] else lengths[-1] // 2 + 1
    where, rest = [], index % per_group
    for length in reversed(lengths):
        where.append(rest % length)
        rest //= length
    rounding = gamma(8, torch.float64)
    return (lower - error) * (1 - rounding), (upper + error) * (1 + rounding), (index // per_group, tuple(where[::-1]))
