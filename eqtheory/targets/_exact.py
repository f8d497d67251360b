"""Numbers beyond float64: exact expressions and 50-digit references, and the ways between them and tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

__all__ = ["DIGITS", "bisect", "precise", "to_precise", "to_tensor"]

DIGITS = 120
"""Working digits of a reference: 50 are promised, the rest outweighs the conditioning of points 1e-30 from a singularity."""


@contextmanager
def precise() -> Iterator[Any]:
    """Compute with `DIGITS` digits inside a block.

    Yields:
        The `mpmath` module; its precision is put back at the end.
    """
    import mpmath

    with mpmath.workdps(DIGITS):
        yield mpmath


def to_precise(x: Any) -> Any:
    """Convert to `mpmath`, exactly where the input is a binary or rational number.

    Args:
        x: a tensor, a `sympy` or `mpmath` expression, a Python number, or nested tuples or lists of them.

    Returns:
        `mpf`, or nested lists of them.
    """
    import mpmath
    import sympy

    if isinstance(x, Tensor):
        return to_precise(x.double().tolist())
    if isinstance(x, (tuple, list)):
        return [to_precise(part) for part in x]
    if isinstance(x, sympy.Basic):
        return mpmath.mpf(sympy.N(x, DIGITS))
    return mpmath.mpf(x)


def to_tensor(x: Any) -> Tensor:
    """Round to float64.

    Args:
        x: what `to_precise` accepts; a tensor comes back as it is.

    Returns:
        Tensor with one axis per level of nesting.
    """
    if isinstance(x, Tensor):
        return x

    def rounded(part: Any) -> Any:
        return [rounded(p) for p in part] if isinstance(part, (tuple, list)) else float(part)

    return torch.tensor(rounded(x), dtype=torch.float64)


def bisect(function: Callable[[Any], Any], low: Any, high: Any) -> Any:
    """Solve `function(t) = 0` for a rising function, with no assumption that could fail.

    Args:
        function: rising on the interval.
        low: a point where it is not positive.
        high: a point where it is not negative.

    Returns:
        The root, to the working precision relative to the length of the interval.
    """
    for _ in range(4 * DIGITS):  # a digit takes 3.3 halvings
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return (low + high) / 2
