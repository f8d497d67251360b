"""Norms of pooling, padding and nearest upsampling, from the windows on one axis.

**Average pooling** is the Kronecker product of one small matrix per axis (divisors factor over the axes with and without the
padding), so its norm is the product of theirs, in l1, l2 and sup.

**Maximum pooling**: `|max x - max y|` over a window is at most the largest `|x_i - y_i|` in it. So 1 in sup; the sum over the
windows counts an input as often as windows hold it, at most `m` times: `m` in l1 and `sqrt m` in l2, attained where one input
is the largest of all its windows.

**Copies** (nearest upsampling, padding by reflection, replication, zeros and around): one input appears `m` times at most:
`m`, `sqrt m` and 1.
"""

from __future__ import annotations

from math import isqrt, prod
from typing import Any, cast

import torch
from torch import Tensor, nn

from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz.layers._certified import U, dense_norm
from eqtheory.norms import Euclidean, Norm, Sup

__all__ = ["COPYING", "POOLS", "copies_constant", "pool_constant"]

_AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_ADAPTIVE_AVERAGES = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_ADAPTIVE_MAXIMA = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
POOLS: tuple[type[nn.Module], ...] = (*_AVERAGES, *_ADAPTIVE_AVERAGES, *_MAXIMA, *_ADAPTIVE_MAXIMA)
COPYING: tuple[type[nn.Module], ...] = (
    nn.Upsample,
    nn.UpsamplingNearest2d,
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d, nn.ReplicationPad1d, nn.ReplicationPad2d),
    *(nn.ReplicationPad3d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
)


def pool_constant(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:
    """Bound the constant of a pooling layer.

    Args:
        layer: one of `POOLS`.
        size: channels and spatial size.
        norm: Euclidean, Sum or Sup.

    Returns:
        The constant rounded up, and how it was found.

    Raises:
        InputError: a maximum that returns indices as well.
        ShapeError: a size that the layer does not take.
    """
    if getattr(layer, "return_indices", False):
        raise InputError("layer", f"{type(layer).__name__} with indices", "one tensor", "pass return_indices=False")
    cells = size[1:]
    with torch.no_grad():
        outputs = tuple(_run(layer, torch.zeros(1, 1, *cells, dtype=torch.float64), size)[0].shape[1:]) if cells else ()
    windows = [_windows(layer, axis, n, m) for axis, (n, m) in enumerate(zip(cells, outputs, strict=True))]
    if isinstance(layer, (*_MAXIMA, *_ADAPTIVE_MAXIMA)):
        return _copies(prod(int((w > 0).sum(0).amax()) for w, _ in windows), norm), "windows that hold one input"
    value, whole = 1.0, getattr(layer, "divisor_override", None)
    for held, divisors in windows:
        matrix = held.to(torch.float64) if whole else held / divisors[:, None]
        value *= dense_norm(matrix, norm)[1] * (1 + 2 * U)
    upper = value / (abs(whole) if whole else 1) * (1 + 4 * U)
    return upper, "product of the averages along the axes"


def _run(layer: nn.Module, x: Tensor, size: tuple[int, ...]) -> Tensor:
    if len(size) < 2:
        raise ShapeError(
            "size", str(size), "channels and at least one length", "give the size of one sample with its channels"
        )
    try:
        return cast("Tensor", layer(x))
    except (RuntimeError, ValueError) as error:  # NotImplementedError is one of them
        said = f"torch says: {error}"
        raise ShapeError("size", str(size), f"a size that {type(layer).__name__} takes", said) from error


def _windows(layer: Any, axis: int, n: int, m: int) -> tuple[Tensor, Tensor]:
    """Which inputs every output holds on one axis, and by how much an average divides there.

    Returns:
        Shape `(m, n)` of zeros and ones, and shape `(m,)`.
    """
    o, cells = torch.arange(m)[:, None], torch.arange(n)[None]
    if isinstance(layer, (*_ADAPTIVE_AVERAGES, *_ADAPTIVE_MAXIMA)):
        first, last = o * n // m, ((o + 1) * n + m - 1) // m
        held = (cells >= first) & (cells < last)
        return held.to(torch.float64), held.sum(1).to(torch.float64)
    k, p = _at(layer.kernel_size, axis), _at(layer.padding, axis)
    first = o * _at(layer.stride if layer.stride is not None else layer.kernel_size, axis) - p
    if isinstance(layer, _MAXIMA):
        d = _at(layer.dilation, axis)
        held = (cells >= first) & ((cells - first) % d == 0) & ((cells - first) // d < k)
        return held.to(torch.float64), torch.ones(m, dtype=torch.float64)
    last = torch.minimum(first + k, torch.tensor(n + p))
    held = (cells >= first) & (cells < last)
    divisors = (last - first).flatten() if layer.count_include_pad else held.sum(1)
    return held.to(torch.float64), divisors.to(torch.float64)


def _at(value: int | tuple[int, ...], axis: int) -> int:
    return value if isinstance(value, int) else value[axis]


def _copies(most: int, norm: Norm) -> float:
    if isinstance(norm, Sup):
        return 1.0
    if not isinstance(norm, Euclidean):
        return float(most)
    root = isqrt(most)
    return float(root) if root * root == most else most**0.5 * (1 + 2 * U)


def copies_constant(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:
    """Bound the norm of a layer each of whose outputs is one input or a constant.

    Args:
        layer: one of `COPYING`.
        size: channels and spatial size.
        norm: Euclidean, Sum or Sup.

    Returns:
        The norm rounded up, and how it was found.

    Raises:
        InputError: an upsampling that interpolates.
        ShapeError: a size that the layer does not take.
    """
    mode = getattr(layer, "mode", "nearest")
    if isinstance(layer, nn.Upsample) and mode not in {"nearest", "nearest-exact"}:
        raise InputError("layer", f"Upsample in mode {mode!r}", "mode 'nearest'", "bound the interpolation by hand")
    with torch.enable_grad():
        x = torch.zeros(1, 1, *size[1:], dtype=torch.float64, requires_grad=True)
        (counts,) = torch.autograd.grad(_run(layer, x, size).sum(), x)
    return _copies(int(counts.amax()), norm), "copies of one input"
