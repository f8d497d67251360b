"""Nested truncations: small ones in which dense matrices are cheap, up to the one that is asked for."""

from __future__ import annotations

from functools import lru_cache

from eqtheory.constructions import GalerkinTorus

__all__ = ["inner_torus", "levels_of"]

_CUTOFFS = (8, 10, 14, 19, 26)
"""Largest wave numbers of the dense levels: 288, 440, 840, 1520 and 2808 coordinates on a square."""


@lru_cache(maxsize=64)
def inner_torus(fine: GalerkinTorus, wavenumber: float) -> GalerkinTorus:
    """The space of the modes below a wave number in each direction, as far as the fine space has them.

    Args:
        fine: the space around it.
        wavenumber: bound on `a |m|` and `|n|`.

    Returns:
        A space inside of `fine`; `fine` itself where it has no modes beyond.
    """
    x, y = (min(int(wavenumber / s), cut) for s, cut in zip((fine.aspect, 1.0), fine.cutoff, strict=True))
    if (x, y) == fine.cutoff:
        return fine
    # The smallest even grid on which a third of the points is more than the cut-off.
    return GalerkinTorus((_points(max(x, 1)), _points(max(y, 1))), fine.aspect)


def _points(cutoff: int) -> int:
    least = 3 * cutoff + 1
    return max(4, least + least % 2)


def levels_of(fine: GalerkinTorus) -> tuple[GalerkinTorus, ...]:
    """Dense levels inside a space, the space itself last.

    Args:
        fine: the space.

    Returns:
        At least one level, each inside the next.
    """
    found = [inner_torus(fine, k) for k in _CUTOFFS]
    inside = [torus for torus in found if torus.dimension < fine.dimension]
    return (*inside, fine)
