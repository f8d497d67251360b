r"""Products: by constants they are affine, between two bounded values they are Lipschitz.

**Matrices.** `X -> A X` is `A` on every column, so its norm in l2, l1 and sup is that of `A`.

**Convolutions.** An output entry is a sum over part of a kernel, so `|C|_sup` is at most the largest sum of a kernel over
inputs and places, `|C|_1` the largest over outputs and places, `|C|_2 <= sqrt(|C|_1 |C|_sup)`; padding, stride and dilation
only leave terms out.

**Two values.** `d(ab) = a db + b da`, entry by entry: at most `sup|a| |db| + sup|b| |da|`. For matrices `A` (`m x k`) and `B`
(`k x n`) with entries below `a` and `b`: `|A dB + dA B|_F <= a sqrt(m k) |dB|_F + b sqrt(k n) |dA|_F`; in l1 `a m |dB| + b n
|dA|`; in sup `k (a |dB| + b |dA|)`. Without limits of the entries there is no constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound
from eqtheory.lipschitz.traced._call import UNTRACKED, Call, is_dependent
from eqtheory.lipschitz.traced._slopes import Scope, rounded_up
from eqtheory.lipschitz.traced._sums import spread, times, total
from eqtheory.lipschitz.traced._values import Interval, Value
from eqtheory.norms import Euclidean
from eqtheory.validate import require_finite

__all__ = ["PRODUCTS", "product"]

_BOX = "pass ranges=, or bound one factor with tanh, sigmoid or clamp"


def _interval_product(a: Interval, b: Interval) -> Interval:
    corners = [0.0 if 0.0 in {p, q} else p * q for p in a for q in b]
    slack = rounded_up(max(map(abs, corners)), 2) - max(map(abs, corners)) if all(map(math.isfinite, corners)) else 0.0
    return min(corners) - slack, max(corners) + slack


def product(call: Call, a: Value, b: Value, shape: tuple[int, ...]) -> Value:
    """Product of two values, entry by entry.

    Args:
        call: the call that multiplies.
        a: one.
        b: the other.
        shape: shape of the product.

    Returns:
        The product.

    Raises:
        NotBoundedError: a factor that matters is not bounded.
    """
    scope = call.scope
    if a.is_complex or b.is_complex:
        raise call.refuse("multiplies two complex values that depend on the arguments", "multiply real ones")
    first, second = spread(call, a, shape), spread(call, b, shape)
    assert not isinstance(first, Tensor)  # noqa: S101  (values stay values)
    assert not isinstance(second, Tensor)  # noqa: S101
    slopes = _mixed(call, (scope.largest(a), scope.largest(b)), (scope.slopes(first), scope.slopes(second)), (1.0, 1.0))
    if a is b:
        high = scope.largest(a) ** 2
        return call.leaf(slopes, (0.0, rounded_up(high)), shape=shape)
    return call.leaf(slopes, lambda: _interval_product(scope.limits(a), scope.limits(b)), shape=shape)


def _mixed(
    call: Call,
    sizes: tuple[float, float],
    slopes: tuple[tuple[float, ...], tuple[float, ...]],
    weights: tuple[float, float],
) -> list[float]:
    """`wa |a| |db| + wb |b| |da|` in every argument.

    Returns:
        The slopes.

    Raises:
        NotBoundedError: a factor that matters has no limits.
    """
    found = []
    for da, db in zip(*slopes, strict=True):
        left = weights[0] * sizes[0] * db if db else 0.0
        right = weights[1] * sizes[1] * da if da else 0.0
        if not math.isfinite(left + right):
            raise call.refuse(
                "multiplies two values that depend on the arguments, and one of them is not bounded", _BOX
            )
        found.append(rounded_up(left + right))
    return found


def _multiply(call: Call) -> Any:
    a, b = call.named("self"), call.named("other")
    if is_dependent(a) and is_dependent(b):
        return product(call, a, b, call.shape)
    value, factor = (a, b) if is_dependent(a) else (b, a)
    return times(call, factor, value, call.shape)


def _divide(call: Call) -> Any:
    a, b = call.named("self"), call.named("other")
    if call.named("rounding_mode") is not None:
        raise call.refuse("rounds what depends on the arguments", "divide without rounding")
    if not is_dependent(b):
        require_finite(
            str(call.target), 1 / torch.as_tensor(b, dtype=torch.float64), "divide by numbers other than zero"
        )
        return times(call, 1 / b, a, call.shape)
    low, high = call.scope.limits(b)
    if low <= 0 <= high:
        raise call.refuse(
            "divides by a value that depends on the arguments and may be zero", "add a constant that keeps it away"
        )
    nearest = min(abs(low), abs(high))
    ends = sorted((1 / low, 1 / high))
    limits = (ends[0] - abs(ends[0]) * 1e-15, ends[1] + abs(ends[1]) * 1e-15)  # one division, rounded by at most 2^-53
    inverse = call.leaf([rounded_up(s / nearest**2) for s in call.scope.slopes(b)], limits, shape=b.shape)
    return product(call, a, inverse, call.shape) if is_dependent(a) else times(call, a, inverse, call.shape)


# Matrices.


def _matrix_gain(scope: Scope, W: Tensor, *, tight: bool) -> float:
    """Norm of a matrix, or of the largest of a batch: certified, or in a moment from sums of its entries.

    Returns:
        The norm, from above.
    """
    if W.numel() == 0:
        return 0.0
    if not isinstance(scope.norm, Euclidean) or (tight and min(W.shape[-2:]) <= scope.limit):
        return float(matrix_norm_upper_bound(W, scope.norm).amax())
    sizes = W.abs()
    sums = (sizes.sum(-1).amax(-1) * sizes.sum(-2).amax(-1)).sqrt()
    return rounded_up(float(torch.minimum(sums, sizes.square().sum((-2, -1)).sqrt()).amax()), 2 * W.numel() + 16)


def _matmul(call: Call, a: Any, b: Any, shape: tuple[int, ...]) -> Value:
    if is_dependent(a) and is_dependent(b):
        return _matmul_of_values(call, a, b, shape)
    if is_dependent(a):
        matrix = b.unsqueeze(-1) if b.ndim == 1 else b
        gain, step = matrix.mT, lambda t: torch.matmul(t, b)
    else:
        matrix = a.unsqueeze(0) if a.ndim == 1 else a
        gain, step = matrix, lambda t: torch.matmul(a, t)
    require_finite(str(call.target), matrix, "repair the weights")
    value = a if is_dependent(a) else b
    if value.is_complex != matrix.is_complex():
        wide_value = times(call, 1 + 0j, value, value.shape) if matrix.is_complex() else value
        matrix_, left = matrix.to(torch.complex128), is_dependent(a)

        def mixed(t: Tensor) -> Tensor:
            w = (b if left else a).to(torch.complex128)
            t = t.to(torch.complex128)
            return torch.matmul(t, w) if left else torch.matmul(w, t)

        value, step, gain = wide_value, mixed, matrix_.mT if left else matrix_
    known: dict[bool, float] = {}

    def gains(tight: bool) -> tuple[float, ...]:  # noqa: FBT001  (the type of a gain)
        if tight not in known:
            known[tight] = _matrix_gain(call.scope, gain, tight=tight)
        return (known[tight],)

    return call.affine([value], step, step, gains, shape=shape)


def _matmul_of_values(call: Call, a: Value, b: Value, shape: tuple[int, ...]) -> Value:
    if len(a.shape) < 2 or len(b.shape) < 2 or a.is_complex or b.is_complex:
        raise call.refuse("multiplies two values that depend on the arguments", "use real matrices")
    scope, (m, k), n = call.scope, a.shape[-2:], b.shape[-1]
    weights = (
        scope.of_norm(l2=math.sqrt(m * k), l1=m, sup=k),
        scope.of_norm(l2=math.sqrt(k * n), l1=n, sup=k),
    )
    sizes = (scope.largest(a), scope.largest(b))
    slopes = _mixed(call, sizes, (scope.slopes(a), scope.slopes(b)), weights)
    reach = rounded_up(k * sizes[0] * sizes[1])
    return call.leaf(slopes, (-reach, reach), shape=shape)


def _matrix_product(call: Call) -> Value:
    a, b = call.args[:2]
    return _matmul(call, a, b, call.shape)


def _with_bias(call: Call) -> Value:
    """`beta bias + alpha A B`.

    Returns:
        The sum.
    """
    bias, a, b = call.args[:3]
    found = _matmul(call, a, b, call.shape) if is_dependent(a) or is_dependent(b) else torch.matmul(a, b)
    alpha, beta = call.named("alpha", 1), call.named("beta", 1)
    scaled = bias if beta == 1 and not is_dependent(bias) else times(call, beta, bias, tuple(bias.shape))
    return total(call, [scaled, times(call, alpha, found, call.shape)], call.shape)


def _inner(call: Call) -> Value:
    a, b = call.args[:2]
    if is_dependent(a) and is_dependent(b):
        raise call.refuse("multiplies two values that depend on the arguments", "use a sum of entrywise products")
    return _matmul(call, a, b, call.shape)


# Convolutions and normalisation by fixed statistics.


def _convolution(call: Call) -> Value:
    value, weight, bias, stride, padding, dilation, transposed, output_padding, groups = call.args
    if is_dependent(weight) or not is_dependent(value):
        raise call.refuse("has a kernel that depends on the arguments", "write it as a product of bounded values")
    require_finite(str(call.target), weight, "repair the weights")
    sizes = weight.abs().flatten(2).sum(2)
    first, second = sizes.shape
    blocks = sizes.reshape(groups, first // groups, second)
    by_first, by_second = float(sizes.sum(1).amax()), float(blocks.sum(1).amax())
    sup, l1 = (by_second, by_first) if transposed else (by_first, by_second)
    gain = rounded_up(call.scope.of_norm(l2=math.sqrt(l1 * sup), l1=l1, sup=sup), weight.numel() + 16)

    def step(t: Tensor) -> Tensor:
        return torch.ops.aten.convolution.default(
            t, weight, None, stride, padding, dilation, transposed, output_padding, groups
        )

    found = call.affine([value], step, step, lambda _: (gain,))
    if bias is None:
        return found
    one_per_channel = (1, -1, *[1] * (len(call.shape) - 2))
    placed = _placed(call, bias, one_per_channel)
    return total(call, [found, placed], call.shape)


def _placed(call: Call, t: Any, shape: tuple[int, ...]) -> Any:
    if is_dependent(t):
        raise call.refuse("has weights that depend on the arguments", "add and multiply in steps of their own")
    return t.reshape(shape)


def _batch_norm(call: Call) -> tuple[Any, ...]:
    if call.named("training", default=False):
        raise call.refuse("normalises by statistics of the batch", "call .eval() first")
    value, mean, var = call.named("input"), call.named("running_mean"), call.named("running_var")
    shape = (1, -1, *[1] * (len(call.shape) - 2))
    weight, bias = call.named("weight"), call.named("bias")
    scale = 1 / (_placed(call, var, shape) + call.named("eps")).sqrt()
    scale = scale if weight is None else scale * _placed(call, weight, shape)
    shift = -_placed(call, mean, shape) * scale
    shift = shift if bias is None else shift + _placed(call, bias, shape)
    return (total(call, [times(call, scale, value, call.shape), shift], call.shape), UNTRACKED, UNTRACKED)


PRODUCTS: dict[str, Callable[[Call], Any]] = {
    "mul": _multiply,
    "div": _divide,
    **dict.fromkeys(("mm", "bmm", "mv"), _matrix_product),
    **dict.fromkeys(("dot", "vdot"), _inner),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _with_bias),
    "convolution": _convolution,
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit_no_training"), _batch_norm),
}
