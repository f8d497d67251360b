"""Arguments all strategies share: sizes, scales, seeds. What is drawn is small; arrays are made from a seed."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from eqtheory.errors import InputError
from eqtheory.validate import count

__all__ = ["SCALES", "between", "choice", "scales", "seeds", "sizes_in"]

SCALES = (1.0, 1e-3, 1e3)
"""Sizes of states and inputs, the tame one first: that is where examples shrink to."""


def seeds() -> st.SearchStrategy[int]:
    """Seeds of generators.

    Returns:
        A strategy for integers; it shrinks to 0.
    """
    return st.integers(0, 2**32 - 1)


def scales() -> st.SearchStrategy[float]:
    """Sizes of states and inputs.

    Returns:
        A strategy over `SCALES`.
    """
    return st.sampled_from(SCALES)


def sizes_in(sizes: tuple[int, int], *, least: int = 1) -> st.SearchStrategy[int]:
    """Lengths of states.

    Args:
        sizes: smallest and largest, both included.
        least: what the family needs.

    Returns:
        A strategy that shrinks to the smallest.

    Raises:
        InputError: the range is empty, or reaches below `least`.
    """
    low, high = sizes
    count("sizes", low, f"pass for example sizes=({least}, 8)")
    if not least <= low <= high:
        raise InputError(
            "sizes", str(sizes), f"a pair (low, high) with {least} <= low <= high", f"pass sizes=({least}, 8)"
        )
    return st.integers(low, high)


def choice(name: str, among: Sequence[str], known: Sequence[str]) -> st.SearchStrategy[str]:
    """One of the regimes that were asked for.

    Args:
        name: of the argument.
        among: the regimes asked for.
        known: the regimes there are.

    Returns:
        A strategy that shrinks to the first.

    Raises:
        InputError: nothing was asked for, or something unknown.
    """
    unknown = [regime for regime in among if regime not in known]
    if not among or unknown:
        raise InputError(
            name, repr(unknown or list(among)), f"some of {', '.join(known)}", "leave it out to draw all of them"
        )
    return st.sampled_from(list(among))


def between(
    name: str, value: float | st.SearchStrategy[float] | None, usual: Sequence[float], low: float, high: float
) -> st.SearchStrategy[float]:
    """A number that was fixed, a strategy for it, or the usual values.

    Args:
        name: of the argument.
        value: what came.
        usual: drawn from where nothing came; the first is what examples shrink to.
        low: smallest allowed number.
        high: largest allowed number.

    Returns:
        A strategy for numbers; those that another strategy draws are checked when they are drawn.

    Raises:
        InputError: a number outside the range.
    """

    def checked(number: float) -> float:
        if not low <= number <= high:
            raise InputError(name, str(number), f"{low} <= {name} <= {high}", f"pass for example {name}={usual[0]}")
        return number

    if value is None:
        return st.sampled_from(list(usual))
    if isinstance(value, st.SearchStrategy):
        return value.map(checked)
    return st.just(checked(value))
