"""The Lipschitz constant of a map on a finite set: a maximum over all pairs, hence exact and not an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.norms import Norm, slopes_of
from eqtheory.operators import ImplicitOperator
from eqtheory.targets import SampleTable
from eqtheory.validate import batch_of

__all__ = ["growth_on_table", "largest_slope"]


def largest_slope(table: SampleTable, values: Tensor, *, norm: Norm | None = None) -> Bound:
    """Lipschitz constant, over the points of a table, of any map given by its values there.

    Args:
        table: the finite metric space.
        values: one value per point, shape `(n, ...)`.
        norm: norm that measures the values; the table's output norm by default.

    Returns:
        The exact constant, with side `EXACT`; 0 for a single point. Cost: O(n^2) time in blocks of bounded memory.

    Raises:
        ShapeError: not one value per point.
        NonFiniteError: a slope overflows.

    Example:
        >>> from eqtheory.targets import from_samples
        >>> table = from_samples([0.0, 2.0], [0.0, 6.0])
        >>> largest_slope(table, table.values).value
        3.0
    """
    batch_of("values", values)
    if values.shape[0] != len(table):
        raise ShapeError(
            "values", f"{values.shape[0]} rows", f"{len(table)}, one per point", "evaluate the map at table.points"
        )
    chosen = norm or table.output_norm
    best = torch.zeros((), dtype=values.dtype, device=values.device)
    for block in table.blocks():
        gaps = chosen.pairwise(values[block], values)
        distances = table.input_norm.pairwise(table.inputs[block], table.inputs)
        best = torch.maximum(best, slopes_of(gaps, distances).amax())
    if not bool(torch.isfinite(best)):
        raise NonFiniteError(
            "values", "a slope too large for its type", "slopes that can be stored", "use a wider type or rescale"
        )
    rounded = f"slopes rounded to {str(values.dtype).removeprefix('torch.')}"
    return Bound(float(best), Side.EXACT, "maximum over all pairs", Evidence.PROVED, chosen.name, (rounded,))


def growth_on_table(operator: ImplicitOperator, table: SampleTable, steps: Sequence[int]) -> list[Bound]:
    """How the Lipschitz constant of `x -> y_t(x)` over a table grows with Picard iterations.

    Args:
        operator: an operator whose inputs are indices of the table.
        table: the finite metric space.
        steps: the iterations `t` to look at, increasing, not negative.

    Returns:
        One exact constant per entry. Cost: `max(steps)` evaluations of the operator on the whole table and one sweep over
        all pairs per entry.

    Raises:
        InputError: no steps, or steps that are negative or not increasing.

    Example:
        >>> from eqtheory.constructions import adaptive_relaxation
        >>> from eqtheory.targets import from_samples
        >>> table = from_samples([0.0, 1.0], [1.0, -1.0])
        >>> [c.value for c in growth_on_table(adaptive_relaxation(table), table, [0, 1, 2])]
        [0.0, 0.5, 0.875]
    """
    wanted = list(steps)
    if not wanted or wanted[0] < 0 or any(b <= a for a, b in pairwise(wanted)):
        raise InputError("steps", str(wanted[:8]), "increasing integers >= 0", "pass for example [0, 1, 2, 4, 8]")
    x = table.points
    y = operator.initial_state(x)
    curve, done = [], 0
    for t in wanted:
        for _ in range(t - done):
            y = operator(y, x)
        done = t
        found = largest_slope(table, y)
        curve.append(replace(found, assumptions=(*found.assumptions, "iterates as computed")))
    return curve
