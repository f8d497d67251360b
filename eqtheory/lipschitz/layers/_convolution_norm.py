r"""The norm of a convolution as the linear map it is: padding, stride, dilation and groups included.

The singular values of the kernel reshaped to a matrix are not those of the convolution; both can be larger, by up to the
square root of the number of taps.

**Circular padding** with as many outputs as the strided torus has cells: exact, frequency by frequency (`_symbol`).

**Zero padding** is a compression: let `E` place the input on a torus of `N` cells per axis and `R` read the outputs off. For
`N >= n + max(before, after)`, and `N` above the last strided output, no tap reads an input around the torus, so `T = R C E`
with a circular convolution `C`, and `|R|, |E| <= 1` give `|T|_2 <= |C|_2`. The same holds where the torus is antiperiodic,
since nothing that is wrapped is ever read. Both kinds, per axis, and the smallest two sizes are evaluated and the smallest
bound wins; for the kernel (1, 1, 1) the antiperiodic torus of `n + 1` cells attains the norm.

**Reflection and replication** `T = Z P`: the norm of the padding `P` is the root of the largest number of copies of one input,
and `Z` is a convolution without padding.

**Dense.** Maps of up to 4096 inputs per group are written out instead, which is exact in every mode.

**Sums and maxima.** The norm from sup to sup is the largest absolute row sum, from l1 to l1 the largest column sum; they
factor over the axes.

References:
    Sedghi, Gupta, Long 2019, The Singular Values of Convolutional Layers, ICLR (periodic case); Davis 1979, Circulant Matrices.
"""

from __future__ import annotations

from itertools import product
from math import ceil, prod
from typing import cast

import torch
from torch import Tensor, nn

from eqtheory.bounds import Bracket
from eqtheory.errors import InputError
from eqtheory.lipschitz.layers._certified import bracket, dense_norm, dual, known_norm
from eqtheory.lipschitz.layers._convolution import Convolution, Ints, convolution
from eqtheory.lipschitz.layers._convolution_image import image, places, power_image, probe_of, wave
from eqtheory.lipschitz.layers._own_forward import forward_hooks, replaced_method
from eqtheory.lipschitz.layers._symbol import Torus, torus_norm
from eqtheory.norms import Euclidean, Norm, Sup
from eqtheory.roundoff import gamma

__all__ = ["convolution_norm", "convolution_norm_of"]

_DENSE_INPUTS = 4096
_DENSE_ENTRIES = 2**24
_MODULES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_Sides = tuple[float, float, str]


def convolution_norm(
    weight: Tensor,
    size: Ints,
    *,
    padding: Ints | str = 0,
    padding_mode: str = "zeros",
    stride: Ints = 1,
    dilation: Ints = 1,
    groups: int = 1,
    transposed: bool = False,
    output_padding: Ints = 0,
    norm: Norm | None = None,
) -> Bracket:
    """Bracket the operator norm of a convolution of one, two or three axes.

    Args:
        weight: as torch stores it: `(c_out, c_in / groups, *kernel)`, and `(c_in, c_out / groups, *kernel)` when transposed.
        size: spatial size of the input, an integer where all axes are equal.
        padding: cells per axis on both sides, "same" or "valid".
        padding_mode: "zeros", "circular", "reflect" or "replicate", as torch names them.
        stride: per axis.
        dilation: per axis.
        groups: number of groups.
        transposed: whether the map is the transposed convolution.
        output_padding: of a transposed convolution.
        norm: Euclidean by default; Sum and Sup are known too.

    Returns:
        Both sides proved. They agree to 1e-8 where the norm is exact: circular padding that keeps the size, dense maps, and
        sums where no output reads an input twice. Cost: one small matrix per frequency, or `O(inputs^2 outputs)` when dense.

    Raises:
        InputError: an argument torch would not take, or another norm.
        ShapeError: a weight, size or padding that does not fit.

    Example:
        >>> import torch
        >>> blur = torch.full((1, 1, 3), 1 / 3)
        >>> round(convolution_norm(blur, 32, padding=1, padding_mode="circular").upper.value, 6)
        1.0
    """
    chosen = known_norm(norm)
    conv = convolution(
        weight,
        size,
        padding=padding,
        padding_mode=padding_mode,
        stride=stride,
        dilation=dilation,
        groups=groups,
        transposed=transposed,
        output_padding=output_padding,
    )
    inner = dual(chosen) if transposed else chosen
    lower, upper, method = _euclidean(conv) if isinstance(inner, Euclidean) else _sums(conv, inner)
    return bracket((lower, upper), chosen, method)


def convolution_norm_of(module: nn.Module, size: Ints, *, norm: Norm | None = None) -> Bracket:
    """Bracket the operator norm of a convolution module, its bias left aside.

    Args:
        module: `Conv1d`, `Conv2d`, `Conv3d` or one of the transposed three.
        size: spatial size of the input.
        norm: Euclidean by default.

    Returns:
        As `convolution_norm`.

    Raises:
        InputError: another module, or one that is not its class's map: methods replaced, or hooks.

    Example:
        >>> import torch
        >>> layer = torch.nn.Conv2d(1, 1, 1, bias=False)
        >>> found = convolution_norm_of(layer, (5, 5))
        >>> bool(abs(found.upper.value - layer.weight.abs().item()) < 1e-6)
        True
    """
    remedy = "pass its weight to convolution_norm"
    if not isinstance(module, _MODULES):
        raise InputError("module", type(module).__name__, "a convolution of torch.nn", remedy)
    base = next(c for c in type(module).__mro__ if c in _MODULES)
    hooks, own = forward_hooks(module), replaced_method(module, base)
    if hooks is not None or own is not None:
        came = f"{type(module).__name__} {hooks or f'whose {own} was replaced'}"
        raise InputError("module", came, "its class's map", remedy)
    return convolution_norm(
        module.weight,
        size,
        padding=cast("Ints | str", module.padding),
        padding_mode=module.padding_mode,
        stride=module.stride,
        dilation=module.dilation,
        groups=module.groups,
        transposed=module.transposed,
        output_padding=module.output_padding if module.transposed else 0,
        norm=norm,
    )


def _is_dense(conv: Convolution) -> bool:
    _, c_out, c_in = conv.weight.shape[:3]
    inputs, outputs = c_in * prod(conv.size), c_out * prod(conv.outputs)
    return min(inputs, outputs) <= _DENSE_INPUTS and inputs * outputs <= _DENSE_ENTRIES


def _euclidean(conv: Convolution) -> _Sides:
    unpadded = all(k == 1 and p == (0, 0) for k, p in zip(conv.kernel, conv.padding, strict=True))
    other = float("inf")
    if conv.mode == "circular" or unpadded:
        lower, other, exact = _circular(conv)
        if exact:
            return lower, other, "symbol at every frequency"
    if _is_dense(conv):
        return (*_dense(conv, Euclidean()), "Cholesky test of the dense matrix")
    schur = float((conv.row_sums().amax() * conv.column_sums().amax()).sqrt()) * (1 + _sum_rounding(conv))
    if conv.mode == "circular":
        method, start = "torus with repeated outputs", None
    elif conv.mode == "zeros":
        other, start = _embedded(conv)
        method = "embedding into a torus"
    else:
        bare = Convolution(
            conv.weight,
            tuple(n + sum(p) for n, p in zip(conv.size, conv.padding, strict=True)),
            ((0, 0),) * len(conv.size),
            conv.stride,
            conv.dilation,
            "zeros",
            conv.outputs,
        )
        other, _ = _embedded(bare)
        other = other * conv.multiplicity() ** 0.5 * (1 + gamma(4, torch.float64))
        method, start = "norm of the padding times that of the unpadded convolution", None
    upper, method = (other, method) if other <= schur else (schur, "Schur's test with absolute sums")
    return min(power_image(conv, start), upper), upper, method


def _circular(conv: Convolution) -> tuple[float, float, bool]:
    """The strided torus; outputs that are repeated or left out cost at most the root of the number of repetitions.

    Returns:
        Lower side (valid where exact), upper side, and whether the convolution is that of the torus.
    """
    steps = tuple(s if n % s == 0 else 1 for n, s in zip(conv.size, conv.stride, strict=True))
    lower, upper, _ = torus_norm(
        conv.weight, Torus(conv.size, (0,) * len(conv.size)), stride=steps, dilation=conv.dilation
    )
    copies, exact = 1, True
    for n, s, step, m in zip(conv.size, conv.stride, steps, conv.outputs, strict=True):
        rows = torch.bincount((s * torch.arange(m)) % n, minlength=n)[::step]
        copies *= int(rows.amax())
        exact &= bool((rows == 1).all())
    return lower, upper * copies**0.5 * (1 + gamma(4, torch.float64)), exact


def _embedded(conv: Convolution) -> tuple[float, Tensor]:
    """The best of a few tori around a zero-padded convolution.

    Returns:
        Upper side, and the wave at which the symbol is largest, cut to the input.
    """
    smallest = [
        s * ceil(max(n + max(p), s * (m - 1) + 1) / s)
        for n, p, s, m in zip(conv.size, conv.padding, conv.stride, conv.outputs, strict=True)
    ]
    best, start = float("inf"), torch.empty(0)
    for more in (0, 1):
        sizes = tuple(n + more * s for n, s in zip(smallest, conv.stride, strict=True))
        for twists in product((0, 1), repeat=len(sizes)):
            torus = Torus(sizes, twists)
            _, upper, (group, frequency) = torus_norm(conv.weight, torus, stride=conv.stride, dilation=conv.dilation)
            if upper < best:
                best, start = upper, wave(conv, torus, group, frequency)
    return best, start


def _dense(conv: Convolution, norm: Norm) -> tuple[float, float]:
    sides = [dense_norm(conv.matrix(group), norm) for group in range(conv.weight.shape[0])]
    lower, upper = max(s[0] for s in sides), max(s[1] for s in sides)
    shared = conv.taps_on_one_input()
    if (
        shared > 1
    ):  # entries are sums of several taps; their errors are bounded by Schur's test, or by one of its factors
        rows, columns = float(conv.row_sums().amax()), float(conv.column_sums().amax())
        size = max(rows, columns) * (1 + _sum_rounding(conv))
        lower, upper = lower - gamma(shared, torch.float64) * size, upper + gamma(shared + 2, torch.float64) * size
    return lower, upper


def _sum_rounding(conv: Convolution) -> float:
    channels = max(conv.weight.shape[1], conv.weight.shape[2])
    return gamma(channels + sum(max(k, m) for k, m in zip(conv.kernel, conv.outputs, strict=True)) + 16, torch.float64)


def _sums(conv: Convolution, norm: Norm) -> _Sides:
    """Absolute sums of rows or columns.

    Returns:
        Both sides and the method.
    """
    if conv.taps_on_one_input() > 1 and _is_dense(conv):
        return (*_dense(conv, norm), "absolute sums of the dense matrix")
    sums = conv.row_sums() if isinstance(norm, Sup) else conv.column_sums()
    rounding = _sum_rounding(conv)
    upper = float(sums.amax()) * (1 + rounding)
    if conv.taps_on_one_input() == 1:
        return upper * (1 - 3 * rounding), upper, "absolute sums of taps"
    # Some outputs read an input twice; the sums of absolute taps are only above those rows and columns.
    channel, *peak = (int(i) for i in torch.unravel_index(sums.flatten(0, 1).argmax(), sums.flatten(0, 1).shape))
    lower = max(image(conv, probe_of(conv, norm, (channel, *at)), norm) for at in places(sums.shape[2:], conv, peak))
    return min(lower, upper), upper, "absolute sums of taps, boundary included"
