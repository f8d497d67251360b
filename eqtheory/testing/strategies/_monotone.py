"""Fixed-point forms of monotone equations `0 in M(v)`: resolvents, and relaxed (forward) steps.

`M` is *m-strongly monotone* if `<M v - M w, v - w> >= m |v - w|^2`. Its resolvent `(I + s M)^-1` has the same zeros as `M` and
contracts with `1/(1 + s m)`; for `m = 0` it is firmly nonexpansive. The relaxed step `v - s M v` contracts only if `M` is strongly
monotone and `s` is small.

- symmetric: `M = Q diag(l) Q^T` with smallest entry `m`: resolvent `Q diag(1/(1 + s l)) Q^T`, factor `1/(1 + s m)` exactly;
- skew: `M = m I + w J` with `J` a quarter turn in each of the planes of an orthonormal basis. On a plane `I + s M` multiplies
  lengths by `|1 + s m + i s w|`, on a last axis without a partner by `1 + s m`: the factor is the reciprocal of the smaller one.
  At `m = 0` the relaxed step expands for every `s > 0`, by `|1 - i s w| > 1`;
- soft threshold: `M = m v + subdifferential of |v|_1`: resolvent `soft(v, s) / (1 + s m)`, factor `1/(1 + s m)` where entries stay
  above `s`;
- relaxed: the symmetric `M` with largest entry `L` and `s = 2/(m + L)`: factor `(L - m)/(L + m)`, attained at both ends of the
  spectrum.

References:
    H. H. Bauschke, P. L. Combettes, Convex Analysis and Monotone Operator Theory in Hilbert Spaces, 2nd ed., Springer 2017,
    chapters 22 and 23.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import hypot

import torch
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.norms import Euclidean
from eqtheory.testing.matrices import operator_norm, orthogonal
from eqtheory.testing.strategies._contractions import LARGEST_FACTOR
from eqtheory.testing.strategies._drawing import between, choice, scales, seeds, sizes_in
from eqtheory.testing.strategies._instance import Instance, Step, assembled, exact, generator_of, product, raised
from eqtheory.validate import count

__all__ = ["MONOTONE", "monotone_operators"]

_STORED = ("stored matrices have these constants up to rounding",)

Form = tuple[Tensor | None, Tensor | None, Step, float, float]
"""Matrix of `M`, matrix of `T` (where linear), `T`, its factor, and the step `s`."""


def _spectrum(n: int, m: float, L: float, g: torch.Generator) -> Tensor:
    values = m + (L - m) * torch.rand(n, generator=g, dtype=torch.float64)
    values[0] = m
    if n > 1:
        values[-1] = L
    return values


def _applied(A: Tensor) -> Step:
    return lambda v: product(A.to(v.dtype), v)


def _symmetric(n: int, m: float, s: float, g: torch.Generator) -> Form:
    Q, spectrum = orthogonal(n, 1, g)[0], _spectrum(n, m, m + 4, g)
    M, T = (Q * spectrum) @ Q.T, (Q / (1 + s * spectrum)) @ Q.T
    return M, T, _applied(T), 1 / (1 + s * m), s


def _skew(n: int, m: float, s: float, g: torch.Generator) -> Form:
    Q, w = orthogonal(n, 1, g)[0], 2.0
    turn = torch.zeros(n, n, dtype=torch.float64)
    for i in range(0, n - 1, 2):
        turn[i, i + 1], turn[i + 1, i] = -w, w
    eye = torch.eye(n, dtype=torch.float64)
    M = Q @ (m * eye + turn) @ Q.T
    T = Q @ torch.linalg.inv(eye + s * (m * eye + turn)) @ Q.T
    return M, T, _applied(T), 1 / (1 + s * m) if n % 2 else 1 / hypot(1 + s * m, s * w), s


def _threshold(n: int, m: float, s: float, g: torch.Generator) -> Form:  # noqa: ARG001  (one signature for all)
    return None, None, lambda v: torch.nn.functional.softshrink(v, s) / (1 + s * m), 1 / (1 + s * m), s


def _relaxed(n: int, m: float, s: float, g: torch.Generator) -> Form:  # noqa: ARG001
    Q, L = orthogonal(n, 1, g)[0], m + 4
    spectrum, best = _spectrum(n, m, L, g), 2 / (m + L)
    if n == 1:
        best = 1 / L  # one number is the whole spectrum, and the best step would be done at once
    M, T = (Q * spectrum) @ Q.T, (Q * (1 - best * spectrum)) @ Q.T
    factor = 1 - m / L if n == 1 else (L - m) / (L + m)
    return M, T, _applied(T), factor, best


MONOTONE: dict[str, Callable[[int, float, float, torch.Generator], Form]] = {
    "symmetric resolvent": _symmetric,
    "skew resolvent": _skew,
    "soft threshold": _threshold,
    "relaxed": _relaxed,
}
"""Forms by name: length of the state, strong monotonicity and step size to what is needed of them."""


def _monotone(seed: int, size: int, regime: str, m: float, s: float, scale: float, batch: int) -> Instance:
    M, T, step, factor, used = MONOTONE[regime](size, m, s, generator_of(seed))
    norm = Euclidean()
    # A factor that the rounding of the stored matrices may raise to one is none.
    contractive = factor <= LARGEST_FACTOR and factor * raised(size) < 1
    constants = {
        "strong_monotonicity": exact(m, norm=norm, assumptions=_STORED),
        "step": exact(used),
        "contraction_factor" if contractive else "lipschitz": exact(factor, norm=norm, assumptions=_STORED),
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
        factor=factor if contractive else None,
        weight=1.0 if T is None else float(operator_norm(T.abs().unsqueeze(0), norm)),
        linear=T,
        underlying=None if M is None else _applied(M),
    )


def monotone_operators(
    *,
    strong_monotonicity: float | st.SearchStrategy[float] | None = None,
    sizes: tuple[int, int] = (1, 8),
    batch: int = 16,
    kinds: Sequence[str] = tuple(MONOTONE),
) -> st.SearchStrategy[Instance]:
    """Resolvents and relaxed steps of monotone maps whose constants are known.

    Args:
        strong_monotonicity: `m` in `[0, 4]`, or a strategy; 0 is monotone without contraction on symmetric maps.
        sizes: smallest and largest length of a state.
        batch: rows.
        kinds: names of `MONOTONE`.

    Returns:
        A strategy for instances with the constants `strong_monotonicity`, `step`, and `contraction_factor`, or `lipschitz` where
        that is one up to rounding; `underlying` is the monotone map, where it is single-valued.

    Raises:
        InputError: a modulus, size or kind that is not usable.

    Example:
        >>> from hypothesis import find
        >>> instance = find(monotone_operators(kinds=["symmetric resolvent"], strong_monotonicity=1.0), lambda found: True)
        >>> instance.value("contraction_factor") == 1 / (1 + instance.value("step"))
        True
    """
    return st.builds(
        _monotone,
        seed=seeds(),
        size=sizes_in(sizes),
        regime=choice("kinds", kinds, tuple(MONOTONE)),
        m=between("strong_monotonicity", strong_monotonicity, (1.0, 0.0, 0.125, 2.0**-12), 0.0, 4.0),
        s=st.sampled_from([1.0, 0.25, 4.0]),
        scale=scales(),
        batch=st.just(count("batch", batch, "pass for example batch=16")),
    )
