"""The paper's random linear programs: drawn from a generator, feasible ones only, with ids that count all draws."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from eqtheory.constructions import LinearProgram
from eqtheory.nests import take

__all__ = ["Distribution", "draw"]


@dataclass(frozen=True)
class Distribution:
    """`min c . y, A y (<= or =) b, l <= y <= u` with random data.

    Args:
        constraints: rows of `A`.
        variables: columns.
        nonzeros: entries of `A`, N(0, 1) at places drawn without repetition.
        equations: probability that a row is an equation.
        cost: `c` is uniform on `[-cost, cost]`.
        right: `b` is uniform on `[-right, right]`.
        spread: the bounds are two sorted draws of N(0, spread^2).
    """

    constraints: int = 10
    variables: int = 50
    nonzeros: int = 100
    equations: float = 0.3
    cost: float = 0.01
    right: float = 1.0
    spread: float = 10.0


def draw(
    count: int, generator: Generator, *, distribution: Distribution | None = None, first_id: int = 0
) -> LinearProgram:
    """Draw programs, feasible or not.

    Args:
        count: how many.
        generator: source of randomness.
        distribution: sizes and scales; the paper's by default.
        first_id: id of the first one.

    Returns:
        A batch in float64.
    """
    d = distribution or Distribution()
    m, n = d.constraints, d.variables

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    places = uniform(count, m * n).argsort(dim=1)[:, : d.nonzeros].sort(dim=1).values
    entries = torch.randn(count, d.nonzeros, generator=generator, dtype=torch.float64)
    ends = d.spread * torch.randn(count, n, 2, generator=generator, dtype=torch.float64)
    ends = ends.sort(dim=2).values
    return LinearProgram(
        entries=entries,
        rows=places // n,
        columns=places % n,
        b=d.right * (2 * uniform(count, m) - 1),
        equality=uniform(count, m) < d.equations,
        c=d.cost * (2 * uniform(count, n) - 1),
        l=ends[:, :, 0].contiguous(),
        u=ends[:, :, 1].contiguous(),
        ids=torch.arange(first_id, first_id + count),
    )


def rows_of(program: LinearProgram, keep: torch.Tensor) -> LinearProgram:
    """Keep some instances of a batch.

    Args:
        program: the batch.
        keep: their positions.

    Returns:
        Those, with their ids.
    """
    return take(program, keep, program.shape[0])
