"""Operators that are nonexpansive rather than contractive: averages, cycles.

`T = (1 - alpha) I + alpha R` with `R` nonexpansive is *alpha-averaged*:

    |T v - T w|^2 + (1 - alpha)/alpha |(I - T) v - (I - T) w|^2 <= |v - w|^2   (Euclidean norm).

Here `R` is a rotation, a reflection, or `2 P - I` for a firmly nonexpansive `P` (projections, soft thresholding). None of these
`T` is averaged with a smaller `alpha`: for `beta < alpha`, `T = (1 - beta) I + beta R'` gives `R' = I + (alpha/beta)(R - I)`, and
a vector `v` with `R v = e^(i t) v`, `t != 0` (in the complexification), is stretched by `R'`:
`|1 + q (e^(i t) - 1)|^2 = 1 + 2 q (q - 1)(1 - cos t) > 1` for `q = alpha/beta > 1`. Each `R` below has such a vector, locally
where it is only piecewise linear.

References:
    H. H. Bauschke, P. L. Combettes, Convex Analysis and Monotone Operator Theory in Hilbert Spaces, 2nd ed., Springer 2017, chapter 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, lcm, pi, sin

import torch
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import InputError
from eqtheory.norms import Euclidean
from eqtheory.testing.matrices import orthogonal
from eqtheory.testing.strategies._drawing import between, choice, scales, seeds, sizes_in
from eqtheory.testing.strategies._instance import Instance, Step, assembled, exact, generator_of, product
from eqtheory.validate import count

__all__ = ["CYCLES", "NONEXPANSIVE", "averaged_operators", "cyclic_operators"]


def _rotation(n: int, g: torch.Generator) -> Step:
    Q = orthogonal(n, 1, g)[0] if n > 1 else -torch.ones(1, 1, dtype=torch.float64)
    return lambda v: product(Q.to(v.dtype), v)


def _reflection(n: int, g: torch.Generator) -> Step:
    normal = torch.randn(n, generator=g, dtype=torch.float64)
    normal = normal / torch.linalg.vector_norm(normal)
    return lambda v: v - 2 * (v * normal.to(v.dtype)).sum(dim=1, keepdim=True) * normal.to(v.dtype)


def _box(n: int, g: torch.Generator) -> Step:  # noqa: ARG001  (one signature for all)
    return lambda v: 2 * v.clamp(-1, 1) - v


def _ball(n: int, g: torch.Generator) -> Step:  # noqa: ARG001
    # On a ray the projection is constant outside the ball, so the derivative of R has the eigenvalue -1.
    return lambda v: 2 * v / torch.linalg.vector_norm(v, dim=1, keepdim=True).clamp_min(1) - v


def _soft(n: int, g: torch.Generator) -> Step:  # noqa: ARG001
    return lambda v: 2 * torch.nn.functional.softshrink(v, 1.0) - v


NONEXPANSIVE: dict[str, Callable[[int, torch.Generator], Step]] = {
    "reflection": _reflection,
    "rotation": _rotation,
    "projection onto a box": _box,
    "projection onto a ball": _ball,
    "soft threshold": _soft,
}
"""Nonexpansive maps that keep zero, by name; `2 P - I` for the last three."""

_ROUNDED = ("stored orthogonal matrices are orthogonal up to rounding",)


def _averaged(seed: int, size: int, regime: str, alpha: float, scale: float, batch: int) -> Instance:
    R = NONEXPANSIVE[regime](size, generator_of(seed))

    def step(v: Tensor) -> Tensor:
        return (1 - alpha) * v + alpha * R(v)

    norm = Euclidean()
    constants = {
        "averagedness": exact(alpha, norm=norm, assumptions=_ROUNDED),
        # Attained or not: the average of a rotation can contract.
        "lipschitz": Bound(1.0, Side.UPPER, "construction", Evidence.PROVED, norm.name, _ROUNDED),
    }
    return assembled(
        step,
        size=size,
        batch=batch,
        scale=scale,
        seed=seed,
        regime=regime,
        constants=constants,
        norm=norm,
        underlying=R,
    )


def averaged_operators(
    *,
    averagedness: float | st.SearchStrategy[float] | None = None,
    sizes: tuple[int, int] = (1, 8),
    batch: int = 16,
    kinds: Sequence[str] = tuple(NONEXPANSIVE),
) -> st.SearchStrategy[Instance]:
    """Averaged operators with known averagedness: nonexpansive, in general not contractive, with a known fixed point.

    Args:
        averagedness: `alpha` in `[2^-20, 1]`, or a strategy; 1 leaves the nonexpansive map itself, on which Picard may cycle.
        sizes: smallest and largest length of a state.
        batch: rows.
        kinds: names of `NONEXPANSIVE`.

    Returns:
        A strategy for instances with the constants `averagedness`, exact, and `lipschitz`, at most 1; `underlying` is the
        nonexpansive map.

    Raises:
        InputError: an averagedness, size or kind that is not usable.

    Example:
        >>> from hypothesis import find
        >>> instance = find(averaged_operators(averagedness=0.5), lambda found: True)
        >>> bool((instance.operator(instance.solution, instance.x) == instance.solution).all())
        True
    """
    return st.builds(
        _averaged,
        seed=seeds(),
        size=sizes_in(sizes),
        regime=choice("kinds", kinds, tuple(NONEXPANSIVE)),
        alpha=between("averagedness", averagedness, (0.5, 0.25, 0.75, 1.0, 2.0**-10), 2.0**-20, 1.0),
        scale=scales(),
        batch=st.just(count("batch", batch, "pass for example batch=16")),
    )


def _permutation(n: int, period: int, g: torch.Generator) -> tuple[Tensor, int]:
    # One cycle of the given length, and one of the rest; applied lcm times both are back.
    order = torch.arange(n)
    order[:period] = torch.roll(torch.arange(period), 1)
    order[period:] = period + torch.roll(torch.arange(n - period), 1)
    places = torch.randperm(n, generator=g)
    P = torch.eye(n, dtype=torch.float64)[order]
    return P[places][:, places], lcm(period, max(n - period, 1))


def _planes(n: int, period: int, g: torch.Generator) -> tuple[Tensor, int]:  # noqa: ARG001
    # Rotations by 2 pi / period in consecutive planes; a last axis without a partner stays.
    A = torch.eye(n, dtype=torch.float64)
    c, s = cos(2 * pi / period), sin(2 * pi / period)
    for i in range(0, n - 1, 2):
        A[i : i + 2, i : i + 2] = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    return A, period


def _sign(n: int, period: int, g: torch.Generator) -> tuple[Tensor, int]:  # noqa: ARG001
    return -torch.eye(n, dtype=torch.float64), 2


CYCLES: dict[str, Callable[[int, int, torch.Generator], tuple[Tensor, int]]] = {
    "sign change": _sign,
    "permutation": _permutation,
    "rotation of planes": _planes,
}
"""Isometries of finite order, by name: length of the state and a wanted period to the matrix and its period."""


def _cyclic(seed: int, size: int, regime: str, position: int, scale: float, batch: int) -> Instance:
    period = 2 + position % (size - 1)
    A, found = CYCLES[regime](size, period, generator_of(seed))

    def step(v: Tensor) -> Tensor:
        return product(A.to(v.dtype), v)

    rounded = ("the stored rotation is one up to rounding",) if regime == "rotation of planes" else ()
    constants = {
        "period": exact(found, assumptions=rounded),
        "lipschitz": exact(1.0, norm=Euclidean(), assumptions=rounded),
    }
    return assembled(
        step,
        size=size,
        batch=batch,
        scale=scale,
        seed=seed,
        regime=regime,
        constants=constants,
        norm=Euclidean(),
        underlying=step,
    )


def cyclic_operators(
    *, sizes: tuple[int, int] = (2, 8), batch: int = 16, kinds: Sequence[str] = tuple(CYCLES)
) -> st.SearchStrategy[Instance]:
    """Isometries of known period, on which Picard goes round for ever and averaging arrives.

    Args:
        sizes: smallest and largest length of a state, at least 2.
        batch: rows.
        kinds: names of `CYCLES`.

    Returns:
        A strategy for instances with the constants `period` (the least one) and `lipschitz = 1`.

    Raises:
        InputError: a size or kind that is not usable.

    Example:
        >>> from hypothesis import find
        >>> instance = find(cyclic_operators(kinds=["permutation"]), lambda found: found.value("period") == 3)
        >>> v = instance.y - instance.solution
        >>> bool((instance.underlying(instance.underlying(instance.underlying(v))) == v).all())
        True
    """
    if sizes[0] < 2:
        raise InputError("sizes", str(sizes), "sizes of at least 2", "a cycle needs two entries: pass (2, 8)")
    return st.builds(
        _cyclic,
        seed=seeds(),
        size=sizes_in(sizes, least=2),
        regime=choice("kinds", kinds, tuple(CYCLES)),
        position=st.integers(0, 63),
        scale=scales(),
        batch=st.just(count("batch", batch, "pass for example batch=16")),
    )
