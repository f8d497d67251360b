r"""Operations on groups of entries that are not affine: softmax, normalisation, norms, maxima.

A map that acts on separate groups has the constant of its worst group, in l2, l1 and sup alike.

**Softmax** `p`: `J = diag p - p p^T` is symmetric and its rows have absolute sum `2 p_i (1 - p_i) <= 1/2`, which bounds all
three norms. **Log-softmax**: `J = I - 1 p^T`; rows `<= 2`, columns `<= max(1, n - 1)`, and an oblique projection has the norm
of its complement `1 p^T`: `sqrt(n) |p| <= sqrt(n)`. **Log-sum-exp**: gradient `p` with `|p|_1 = 1`, so 1 in all three.

**Normalisation** `P v / s`, `s^2 = |P v|^2 / n + eps`, `P` the projection on mean zero: `J = (I - w w^T / (n s^2)) P / s`
with `w = P v`, whose eigenvalues lie between 0 and `1 / s <= 1 / sqrt(eps)`; `sqrt(n)` times that in l1 and sup. Entries are
at most `sqrt(n - 1)`.

**Maxima** over groups change by at most the largest change of an entry: 1. Where windows overlap an entry is in up to `r` of
them: `sqrt(r)` in l2, `r` in l1. **Euclidean lengths**: 1 in l2 and l1, `sqrt(n)` in sup. **Sorting** brings no two vectors
further apart in any of the norms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from eqtheory.lipschitz.traced._call import UNTRACKED, Call, is_dependent
from eqtheory.lipschitz.traced._slopes import EVERYWHERE, rounded_up
from eqtheory.lipschitz.traced._sums import spread, times, total
from eqtheory.lipschitz.traced._values import Interval, Leaf, Value

__all__ = ["NONLINEAR"]


def _single(call: Call) -> Value:
    operands = call.dependents()
    if len(operands) != 1 or not is_dependent(call.args[0]) or operands[0].is_complex:
        raise call.refuse(
            "has parameters that depend on the arguments, or complex entries", "use constants and real numbers"
        )
    return operands[0]


def _grouped(call: Call, factor: float, limits: Interval | Callable[[], Interval] = EVERYWHERE) -> Leaf:
    return call.leaf([rounded_up(factor * s) for s in call.scope.slopes(_single(call))], limits)


def _group_size(call: Call) -> int:
    """Entries per result of a reduction.

    Returns:
        The number.
    """
    return math.prod(_single(call).shape) // max(math.prod(call.shape), 1)


def _softmax(call: Call) -> Leaf:
    return _grouped(call, 0.5, (0.0, 1.0))


def _log_softmax(call: Call) -> Leaf:
    n = call.shape[call.named("dim")] if call.shape else 1
    return _grouped(call, call.scope.of_norm(l2=math.sqrt(n), l1=max(1.0, n - 1.0), sup=2.0), (-math.inf, 0.0))


def _log_sum_exp(call: Call) -> Leaf:
    return _grouped(call, 1.0)


def _extreme(call: Call) -> Any:
    value = _single(call)
    found = _grouped(call, 1.0, lambda: call.scope.limits(value))
    return (found, UNTRACKED) if call.count > 1 else found


def _sorted(call: Call) -> Any:
    value = _single(call)
    return _grouped(call, 1.0, lambda: call.scope.limits(value)), UNTRACKED


def _length(call: Call) -> Leaf:
    order = call.named("ord", call.named("p", 2))
    n = _group_size(call)
    value = _single(call)
    factor = {
        1.0: call.scope.of_norm(l2=math.sqrt(n), l1=1.0, sup=float(n)),
        2.0: call.scope.of_norm(l2=1.0, l1=1.0, sup=math.sqrt(n)),
        math.inf: 1.0,
    }.get(float(order))
    if factor is None:
        raise call.refuse(f"is a norm of order {order}", "use order 1, 2 or infinity")
    return _grouped(call, factor, lambda: (0.0, rounded_up(n * call.scope.largest(value), n + 4)))


def _max_pool(call: Call) -> tuple[Leaf, Any]:
    value = _single(call)
    kernel, stride = (call.named(name) or call.named("kernel_size") for name in ("kernel_size", "stride"))
    dilation = call.named("dilation", 1)
    r = 1
    for k in range(2):
        size, step, gap = (t[k % len(t)] if isinstance(t, (list, tuple)) else t for t in (kernel, stride, dilation))
        r *= size if gap != 1 else math.ceil(size / step)
    factor = call.scope.of_norm(l2=math.sqrt(r), l1=float(r), sup=1.0)
    return _grouped(call, factor, lambda: call.scope.limits(value)), UNTRACKED


def _pairwise(call: Call) -> Leaf:
    """`maximum` and `minimum`: an entry changes by no more than the larger of two changes.

    Returns:
        The value.
    """
    scope = call.scope
    operands = [call.named("self"), call.named("other")]
    values = [spread(call, v, call.shape) for v in operands if is_dependent(v)]
    slopes = [scope.slopes(v) for v in values if not isinstance(v, Tensor)]
    gather = scope.of_norm(l2=2.0, l1=1.0, sup=math.inf)

    def joint(parts: tuple[float, ...]) -> float:
        return (
            max(parts) if gather == math.inf else rounded_up(math.hypot(*parts) if gather == 2.0 else math.fsum(parts))
        )

    def limits() -> Interval:
        ends = [scope.limits(v) if is_dependent(v) else (float(v.amin()), float(v.amax())) for v in operands]
        pick = max if call.name == "maximum" else min
        return pick(e[0] for e in ends), pick(e[1] for e in ends)

    return call.leaf([joint(s) for s in zip(*slopes, strict=True)], limits)


def _normalised(call: Call, group: int, eps: float) -> Leaf:
    if not eps > 0:
        raise call.refuse("divides by a standard deviation that may be zero", "use eps > 0")
    root = math.sqrt(group)
    factor = rounded_up(call.scope.of_norm(l2=1.0, l1=root, sup=root) / math.sqrt(eps))
    value = call.named("input")
    reach = rounded_up(math.sqrt(max(group - 1, 0)))
    return call.leaf([rounded_up(factor * s) for s in call.scope.slopes(value)], (-reach, reach), shape=value.shape)


def _with_weights(call: Call, found: Leaf, shape: tuple[int, ...]) -> tuple[Any, ...]:
    weight, bias = call.named("weight"), call.named("bias")
    if is_dependent(weight) or is_dependent(bias) or not is_dependent(call.named("input")):
        raise call.refuse("has weights that depend on the arguments", "add and multiply in steps of their own")
    result: Any = found if weight is None else times(call, weight.reshape(shape), found, found.shape)
    result = result if bias is None else total(call, [result, bias.reshape(shape)], found.shape)
    return result, UNTRACKED, UNTRACKED


def _layer_norm(call: Call) -> tuple[Any, ...]:
    shape = tuple(call.named("normalized_shape"))
    return _with_weights(call, _normalised(call, math.prod(shape), call.named("eps")), shape)


def _group_norm(call: Call) -> tuple[Any, ...]:
    channels, area, groups = call.named("C"), call.named("HxW"), call.named("group")
    found = _normalised(call, channels * area // groups, call.named("eps"))
    return _with_weights(call, found, (1, channels, *[1] * (len(found.shape) - 2)))


NONLINEAR: dict[str, Callable[[Call], Any]] = {
    "_softmax": _softmax,
    "_log_softmax": _log_softmax,
    "logsumexp": _log_sum_exp,
    **dict.fromkeys(("amax", "amin", "max", "min"), _extreme),
    "sort": _sorted,
    "linalg_vector_norm": _length,
    "max_pool2d_with_indices": _max_pool,
    **dict.fromkeys(("maximum", "minimum"), _pairwise),
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
}
