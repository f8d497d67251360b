r"""Steps that are affine in what depends on the arguments.

Most of them have matrices without negative entries: copies, selections, repetitions, sums, means, interpolation. Of such a `T
>= 0` the norms are read off images of ones: `|T|_sup = max T 1`, `|T|_1 = max T^T 1`, and `|T|_2 <= sqrt(|T|_1 |T|_sup)`; where
`-T >= 0`, as for an average with a negative divisor, they are the sizes of these. A sum over `r` entries so has `r`, `1` and
`sqrt(r)`, a broadcast `1`, `r` and `sqrt(r)`, a permutation one throughout.

Fourier transforms of `N` points are `sqrt(N)` times unitary in l2, and have `N` entries of modulus one in every row and
column. Half a spectrum of a real signal stands for two: `sqrt(2)` more in l2 and twice as much in l1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqtheory.lipschitz.traced._call import Call, is_dependent
from eqtheory.lipschitz.traced._slopes import rounded_up
from eqtheory.lipschitz.traced._sums import spread, times, total
from eqtheory.lipschitz.traced._values import Affine, Value
from eqtheory.validate import require_finite

__all__ = ["AFFINE"]

_DISJOINT = {"cat", "stack", "where", "slice_scatter", "select_scatter", "diagonal_scatter", "index_put", "scatter"}
_WRITES = {"slice_scatter", "select_scatter", "diagonal_scatter", "index_put"}
_COPIES = {"detach", "alias", "clone", "lift_fresh", "lift_fresh_copy", "_to_copy", "contiguous", "positive"}
_NON_NEGATIVE = """
    view _unsafe_view reshape permute transpose t numpy_T slice select unsqueeze squeeze flatten unflatten expand
    repeat roll flip rot90 index index_select gather take_along_dim diagonal diag_embed tril triu unfold im2col
    col2im pixel_shuffle pixel_unshuffle channel_shuffle reflection_pad1d reflection_pad2d reflection_pad3d
    replication_pad1d replication_pad2d replication_pad3d constant_pad_nd sum mean cumsum trace avg_pool1d
    avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d
    upsample_trilinear3d cat stack where masked_fill slice_scatter select_scatter diagonal_scatter index_put scatter
    movedim swapaxes repeat_interleave expand_copy narrow
"""


def _one_sums(linear: Callable[..., Tensor], shapes: list[tuple[int, ...]], place: int) -> tuple[float, float]:
    """Largest absolute sum of a row and of a column of a matrix whose entries have one sign (a divisor may be negative).

    Returns:
        The two numbers, from above.
    """
    ones = [torch.full(s, float(k == place), dtype=torch.float64) for k, s in enumerate(shapes)]

    def one(t: Tensor) -> Tensor:
        image = linear(*(t if k == place else o for k, o in enumerate(ones)))
        return image.real if image.is_complex() else image

    rows = one(ones[place])

    columns = torch.func.vjp(one, ones[place])[1](torch.ones_like(rows))[0]
    length = ones[place].numel() + rows.numel()
    return tuple(rounded_up(float(s.abs().amax()) if s.numel() else 0.0, length + 8) for s in (rows, columns))  # type: ignore[return-value]


def _non_negative(call: Call) -> Affine:
    operands = call.dependents()
    if call.name == "view" and "dtype" in str(call.target):
        raise call.refuse("reads the bits of a number that depends on the arguments", "use .to(dtype)")
    if call.named("accumulate") or call.named("reduce") is not None:
        raise call.refuse("combines entries it writes with those it finds", "use plain assignment")
    reset = tuple(name for name in ("value", "other", "self") if isinstance(call.named(name), (int, float)))
    _require_finite_constants(call, reset)
    linear, full = call.closed(linear=True, reset=reset), call.closed(linear=False)
    shapes = [v.shape for v in operands]
    found: list[tuple[float, ...]] = []

    def gains(_: bool) -> tuple[float, ...]:  # noqa: FBT001  (the type of a gain)
        if not found:
            sums = [_one_sums(linear, shapes, k) for k in range(len(operands))]
            found.append(tuple(call.scope.of_norm(l2=rounded_up(math.sqrt(r * c)), l1=c, sup=r) for r, c in sums))
        return found[0]

    return call.affine(operands, full, linear, gains, disjoint=call.name in _DISJOINT)


def _require_finite_constants(call: Call, numbers: tuple[str, ...]) -> None:
    """Refuse a NaN or an infinity, except in memory that is about to be written, as paddings make it.

    Raises:
        NonFiniteError: there is one.
    """
    target = call.named("self") if call.name in _WRITES else None
    constants = [t for t in call.tensors() if isinstance(t, Tensor) and t is not target]
    constants += [torch.as_tensor(float(call.named(name)), dtype=torch.float64) for name in numbers]
    for constant in constants:
        require_finite(str(call.target), constant, "use a finite number")


def _copy(call: Call) -> Value:
    """Copies, also those that cut gradients off: the value is the same, and so is its slope.

    Returns:
        The operand.
    """
    (operand,) = call.dependents()
    if call.is_complex and not operand.is_complex:
        return call.affine([operand], _to_complex, _to_complex, lambda _: (1.0,))
    if operand.is_complex and not call.is_complex:
        raise call.refuse("drops an imaginary part", "use .real")
    return operand


def _overwrite(call: Call) -> Any:
    """All of the first operand is replaced by the second.

    Returns:
        The second.

    Raises:
        NotBoundedError: complex numbers are written into real ones.
    """
    source = call.named("src")
    if is_dependent(source) and source.is_complex != call.is_complex:
        raise call.refuse("changes between real and complex numbers", "use .real, or complex numbers on both sides")
    return spread(call, source, call.shape)


def _to_complex(t: Tensor) -> Tensor:
    return t.to(torch.complex128)


def _several(call: Call) -> tuple[Affine, ...]:
    """Operations that return a list of slices.

    Returns:
        One value per slice.
    """
    (operand,) = call.dependents()
    pieces = call.closed(linear=False)
    shapes = [tuple(p.shape) for p in pieces(torch.zeros(operand.shape, dtype=torch.float64))]

    def slice_(k: int, shape: tuple[int, ...]) -> Affine:
        def step(t: Tensor) -> Tensor:
            return pieces(t)[k]

        return call.affine([operand], step, step, lambda _: (1.0,), shape=shape, is_complex=operand.is_complex)

    return tuple(slice_(k, shape) for k, shape in enumerate(shapes))


def _sum(call: Call) -> Value:
    """Sums and differences `a + alpha b`.

    Returns:
        The sum.

    Raises:
        NotBoundedError: a scale that depends on the arguments.
    """
    a, b, alpha = call.named("self"), call.named("other"), call.named("alpha", 1)
    if is_dependent(alpha):
        raise call.refuse("a scale depends on the arguments", "multiply before the sum")
    first, second = {"add": (1, alpha), "sub": (1, -alpha), "rsub": (-alpha, 1)}[call.name]
    return total(call, [_scaled(call, first, a), _scaled(call, second, b)], call.shape)


def _scaled(call: Call, factor: Any, term: Any) -> Any:
    if is_dependent(term):
        return times(call, factor, term, term.shape)
    return term if factor == 1 else factor * term


def _negative(call: Call) -> Any:
    return times(call, -1.0, call.dependents()[0], call.shape)


def _lerp(call: Call) -> Value:
    """`start + weight (end - start)`.

    Returns:
        The sum.

    Raises:
        NotBoundedError: a weight that depends on the arguments.
    """
    start, end, weight = call.args[:3]
    if is_dependent(weight):
        raise call.refuse("a weight depends on the arguments", "write it as a product of bounded values")
    parts = [times(call, f, t, call.shape) for f, t in ((1 - weight, start), (weight, end))]
    return total(call, parts, call.shape)


def _fourier(call: Call) -> Affine:
    operand = call.dependents()[0]
    dims, normalization = call.named("dim"), call.named("normalization")
    lengths = call.shape if call.name == "_fft_c2r" else operand.shape
    N = float(math.prod(lengths[d] for d in dims))
    scale = {0: 1.0, 1: N**-0.5, 2: 1.0 / N}[normalization]
    half = 2.0 if call.name == "_fft_c2r" else 1.0
    gain = rounded_up(scale * call.scope.of_norm(l2=math.sqrt(half * N), l1=half * N, sup=N))
    step = call.closed(linear=False)
    return call.affine([operand], step, step, lambda _: (gain,))


def _parts_of_complex(call: Call) -> Affine:
    """Between complex numbers and pairs: Euclidean lengths agree, sums and largest entries up to `sqrt(2)`.

    Returns:
        The value.
    """
    root = rounded_up(math.sqrt(2.0))
    gain = {
        "view_as_real": call.scope.of_norm(l2=1.0, l1=root, sup=1.0),
        "view_as_complex": call.scope.of_norm(l2=1.0, l1=1.0, sup=root),
    }.get(call.name, 1.0)
    operands = call.dependents()
    step, linear = call.closed(linear=False), call.closed(linear=True)
    return call.affine(operands, step, linear, lambda _: (gain,) * len(operands))


def _expand_as(call: Call) -> Any:
    return spread(call, call.dependents()[0], call.shape)


AFFINE: dict[str, Callable[[Call], Any]] = {
    **dict.fromkeys(_NON_NEGATIVE.split(), _non_negative),
    **dict.fromkeys(_COPIES, _copy),
    **dict.fromkeys(("split", "split_with_sizes", "unbind", "chunk"), _several),
    **dict.fromkeys(("add", "sub", "rsub"), _sum),
    **dict.fromkeys(("_fft_r2c", "_fft_c2r", "_fft_c2c"), _fourier),
    **dict.fromkeys(
        (
            "view_as_real",
            "view_as_complex",
            "complex",
            "real",
            "imag",
            "conj",
            "_conj",
            "_conj_physical",
            "resolve_conj",
            "resolve_neg",
        ),
        _parts_of_complex,
    ),
    "copy": _overwrite,
    "expand_as": _expand_as,
    "lerp": _lerp,
    "neg": _negative,
}
