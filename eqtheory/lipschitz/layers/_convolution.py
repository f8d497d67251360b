"""The geometry of a convolution: which input every tap of every output reads, as one small table per axis.

A padding copies inputs (circular, reflect, replicate) or reads nothing (zeros), axis by axis. With the table `reads[o, t]` of
an axis, the input that tap `t` of output `o` reads there (-1 for none), the matrix of the convolution has the entries
`sum of K_t over the taps t with reads(o, t) = i`, and sums of absolute values factor into small products, one per axis.

A transposed convolution is the transpose of the matrix of a zero-padded one, with inputs and outputs exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.validate import require_finite

__all__ = ["MODES", "Convolution", "convolution"]

MODES = ("zeros", "circular", "reflect", "replicate")
Ints = int | Sequence[int]


@dataclass(frozen=True)
class Convolution:
    """A convolution in exact geometry, on the CPU and in float64.

    Args:
        weight: shape `(groups, c_out, c_in, *kernel)`, channels counted per group.
        size: spatial size of the input.
        padding: cells added before and after, per axis.
        stride: step of the outputs per axis.
        dilation: step of the taps per axis.
        mode: one of `MODES`.
        outputs: spatial size of the output.
    """

    weight: Tensor
    size: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    mode: str
    outputs: tuple[int, ...]

    @property
    def kernel(self) -> tuple[int, ...]:
        """Taps per axis."""
        return tuple(self.weight.shape[3:])

    @property
    def axes(self) -> range:
        """The spatial axes."""
        return range(len(self.size))

    def padded(self, axis: int) -> Tensor:
        """Which input every cell of the padded axis holds, -1 for none.

        Returns:
            Integers, shape `(padded length,)`.
        """
        n, (before, after) = self.size[axis], self.padding[axis]
        cells = torch.arange(-before, n + after)
        if self.mode == "zeros":
            return torch.where((cells >= 0) & (cells < n), cells, -1)
        if self.mode == "circular":
            return cells % n
        if self.mode == "replicate":
            return cells.clamp(0, n - 1)
        return (n - 1) - (cells.abs() - (n - 1)).abs()  # a mirror at each end cell, pads shorter than the axis

    def reads(self, axis: int) -> Tensor:
        """Which input every tap of every output reads on one axis, -1 for none.

        Returns:
            Integers, shape `(outputs, taps)`.
        """
        o = self.stride[axis] * torch.arange(self.outputs[axis])
        return self.padded(axis)[o[:, None] + self.dilation[axis] * torch.arange(self.kernel[axis])]

    def hits(self, axis: int) -> Tensor:
        """How many outputs read an input through a tap.

        Returns:
            Float64 integers, shape `(inputs, taps)`.
        """
        n = self.size[axis]
        taps = self.reads(axis).unbind(1)
        return torch.stack([torch.bincount(t[t >= 0], minlength=n) for t in taps], dim=1).to(torch.float64)

    def multiplicity(self) -> float:
        """How often the padding shows its most repeated input: the square of the padding's Euclidean norm."""
        counts = (self.padded(axis) for axis in self.axes)
        return float(prod(int(torch.bincount(c[c >= 0]).amax()) for c in counts))

    def taps_on_one_input(self) -> int:
        """The most taps with which one output reads one input; 1 where the matrix holds taps and not sums of taps."""
        worst = 1
        for axis in self.axes:
            ordered = self.reads(axis)
            same = (ordered[:, :, None] == ordered[:, None, :]) & (ordered[:, :, None] >= 0)
            worst *= max(int(same.sum(2).amax()), 1)
        return worst

    def matrix(self, group: int) -> Tensor:
        """The dense matrix of one group.

        Returns:
            Shape `(c_out * outputs, c_in * inputs)`; entries are rounded where several taps share an input.
        """
        _, c_out, c_in = self.weight.shape[:3]
        M, N = prod(self.outputs), prod(self.size)
        A = torch.zeros(M, N, c_out, c_in, dtype=torch.float64)
        tables = [self.reads(axis) for axis in self.axes]
        rows, taps = torch.arange(M), self.weight[group]
        for tap in product(*(range(k) for k in self.kernel)):
            cell, inside = torch.zeros(1, dtype=torch.long), torch.ones(1, dtype=torch.bool)
            for table, t, n in zip(tables, tap, self.size, strict=True):
                cell = (cell[:, None] * n + table[:, t]).flatten()
                inside = (inside[:, None] & (table[:, t] >= 0)).flatten()
            at: tuple[slice | int, ...] = (slice(None), slice(None), *tap)
            A[rows[inside], cell[inside]] += taps[at]
        return A.permute(2, 0, 3, 1).reshape(c_out * M, c_in * N)

    def row_sums(self) -> Tensor:
        """Sums of the absolute taps that every output reads: the absolute row sums where no output reads an input twice.

        Returns:
            Shape `(groups, c_out, *outputs)`.
        """
        sizes = self.weight.abs().sum(2)
        for axis in self.axes:
            read = (self.reads(axis) >= 0).to(torch.float64)
            sizes = torch.tensordot(sizes, read, ([2], [1]))  # consumes the first spatial axis and appends its outputs
        return sizes

    def column_sums(self) -> Tensor:
        """Sums of the absolute taps through which every input is read, as `row_sums`.

        Returns:
            Shape `(groups, c_in, *inputs)`.
        """
        sizes = self.weight.abs().sum(1)
        for axis in self.axes:
            sizes = torch.tensordot(sizes, self.hits(axis), ([2], [1]))
        return sizes

    def apply(self, x: Tensor, *, absolute: bool = False) -> Tensor:
        """Apply the convolution, or the one whose taps are the absolute values.

        Args:
            x: one input, shape `(groups * c_in, *size)`, float64.
            absolute: which of the two.

        Returns:
            Shape `(groups * c_out, *outputs)`; every value is a sum of `c_in` times the number of taps products.
        """
        for axis in self.axes:
            cells = self.padded(axis)
            read = x.index_select(axis + 1, cells.clamp_min(0))
            keep = (cells >= 0).to(x.dtype).reshape(-1, *[1] * (len(self.size) - 1 - axis))
            x = read * keep
        weight = (self.weight.abs() if absolute else self.weight).flatten(0, 1)
        F = torch.nn.functional
        function = (F.conv1d, F.conv2d, F.conv3d)[len(self.size) - 1]
        y = function(x[None], weight, None, self.stride, 0, self.dilation, self.weight.shape[0])[0]
        return y[(slice(None), *(slice(m) for m in self.outputs))]


def _per_axis(name: str, value: Ints, axes: int, least: int) -> tuple[int, ...]:
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(values) != axes or any(not isinstance(v, int) or v < least for v in values):
        raise InputError(
            name, repr(value), f"an integer >= {least}, or {axes} of them", f"pass for example {name}={least}"
        )
    return values


def convolution(
    weight: Tensor,
    size: Ints,
    *,
    padding: Ints | str,
    padding_mode: str,
    stride: Ints,
    dilation: Ints,
    groups: int,
    transposed: bool,
    output_padding: Ints,
) -> Convolution:
    """Check the arguments, which are those of torch, and turn a transposed convolution around.

    Args:
        weight: as torch stores it.
        size: spatial size of the input.
        padding: cells per axis, "same" or "valid".
        padding_mode: one of `MODES`.
        stride: per axis.
        dilation: per axis.
        groups: number of groups.
        transposed: whether it is a transposed convolution.
        output_padding: of a transposed convolution.

    Returns:
        The convolution; of a transposed one, the convolution it is the transpose of.

    Raises:
        InputError: an argument that torch would not take, or complex weights.
        ShapeError: a weight or a size that does not fit.
    """
    if not isinstance(weight, Tensor) or weight.ndim not in {3, 4, 5} or weight.numel() == 0:
        came = f"shape {tuple(weight.shape)}" if isinstance(weight, Tensor) else type(weight).__name__
        raise ShapeError("weight", came, "(c_out, c_in / groups, *kernel) with 1 to 3 axes", "pass module.weight")
    if not weight.dtype.is_floating_point:
        raise InputError("weight", f"dtype {weight.dtype}", "real floating-point numbers", "split complex weights")
    require_finite("weight", weight, "repair it")
    axes = weight.ndim - 2
    if padding_mode not in MODES or (transposed and padding_mode != "zeros"):
        needed = "'zeros' for a transposed convolution" if transposed else f"one of {', '.join(MODES)}"
        raise InputError("padding_mode", repr(padding_mode), needed, "pass module.padding_mode")
    strides, dilations = _per_axis("stride", stride, axes, 1), _per_axis("dilation", dilation, axes, 1)
    given = _per_axis("size", size, axes, 1)
    kernel = tuple(weight.shape[2:])
    reach = tuple(d * (k - 1) for d, k in zip(dilations, kernel, strict=True))
    if not isinstance(groups, int) or groups < 1 or weight.shape[0] % groups:
        raise InputError(
            "groups", repr(groups), f"a divisor of weight.shape[0] = {weight.shape[0]}", "pass module.groups"
        )
    K = weight.detach().to("cpu", torch.float64).reshape(groups, -1, *weight.shape[1:])
    pads = _pads(padding, reach, strides, transposed=transposed)
    if transposed:
        more = _per_axis("output_padding", output_padding, axes, 0)
        steps = zip(given, strides, pads, reach, more, strict=True)
        inputs, outputs = tuple((n - 1) * s - p[0] - p[1] + r + e + 1 for n, s, p, r, e in steps), given
        if any(e >= max(s, d) for e, s, d in zip(more, strides, dilations, strict=True)):
            raise InputError("output_padding", str(more), "less than stride or dilation", "pass module.output_padding")
    else:
        inputs = given
        steps_ = zip(given, strides, pads, reach, strict=True)
        outputs = tuple((n + p[0] + p[1] - r - 1) // s + 1 for n, s, p, r in steps_)
    longest = {"circular": 0, "reflect": -1}.get(padding_mode)
    if min(inputs) < 1 or min(outputs) < 1:
        raise ShapeError("size", str(given), f"room for a kernel that reaches over {reach}", "enlarge size or padding")
    if longest is not None and any(max(p) > n + longest for p, n in zip(pads, inputs, strict=True)):
        raise ShapeError("padding", str(pads), f"pads that {padding_mode} can fill from {inputs}", "pad less")
    return Convolution(K, inputs, pads, strides, dilations, padding_mode, outputs)


def _pads(
    padding: Ints | str, reach: tuple[int, ...], strides: tuple[int, ...], *, transposed: bool
) -> tuple[tuple[int, int], ...]:
    if isinstance(padding, str):
        if padding not in {"same", "valid"} or transposed or (padding == "same" and max(strides) > 1):
            raise InputError("padding", repr(padding), "'valid', 'same' with stride 1, or integers", "pass integers")
        return tuple((r // 2, r - r // 2) if padding == "same" else (0, 0) for r in reach)
    return tuple((p, p) for p in _per_axis("padding", padding, len(reach), 0))
