r"""Moving one part of the data of linear programs by a given amount.

A change of norm `s` is asked for; what reaches a model is the difference of two rounded numbers. In float64 and without a detour through
decimals, each coordinate `v` is off by at most `u (|v| + s)`, with `u = 2^-53`: for data below 100, 50 coordinates and any `s <= 1`
that is less than 1e-12 in norm. The direction is uniform on the sphere of the part's coordinates; for `A` these are its non-zeros.
Where a step would push one bound across the other, that coordinate is turned round: the norm stays, and the bounds keep their order.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import final

import torch
from torch import Generator, Tensor

from eqtheory.constructions.linear_programming._program import LinearProgram
from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import Metric
from eqtheory.validate import positive

__all__ = ["LargestPart", "ProgramPart", "part_distances", "perturbed", "shifted"]


class ProgramPart(Enum):
    """The five parts of the data."""

    MATRIX = "entries"
    RIGHT_SIDE = "b"
    COSTS = "c"
    LOWER = "l"
    UPPER = "u"


def shifted(program: LinearProgram, part: ProgramPart, by: Tensor) -> LinearProgram:
    """Add to one part.

    Args:
        program: the programs.
        part: which part.
        by: what to add, the shape of the part; for the matrix one number per non-zero.

    Returns:
        The moved programs, with the same ids. Differentiable in `by`.

    Raises:
        ShapeError: another shape.
        InputError: the bounds would cross.
    """
    value = getattr(program, part.value)
    if by.shape != value.shape:
        raise ShapeError("by", f"shape {tuple(by.shape)}", str(tuple(value.shape)), "one number per coordinate")
    return replace(program, **{part.value: value + by})


def perturbed(program: LinearProgram, part: ProgramPart, size: float, generator: Generator) -> LinearProgram:
    """Move one part of every instance in a random direction.

    Args:
        program: the programs.
        part: which part.
        size: Euclidean norm of the change.
        generator: source of the directions.

    Returns:
        The moved programs, with the same ids; instances may have become infeasible.

    Raises:
        InputError: a size that is not positive, a part without a finite coordinate, or bounds closer than the step on both sides.
    """
    positive("size", size)
    value = getattr(program, part.value)
    direction = torch.randn(value.shape, generator=generator, dtype=torch.float64, device=generator.device)
    direction = direction.to(value.device)
    if part in (ProgramPart.LOWER, ProgramPart.UPPER):  # what is infinite stays
        direction = direction * (value.abs() < torch.finfo(value.dtype).max)
    length = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
    if not bool((length > 0).all()):
        raise InputError("part", part.name, "a part with a finite coordinate", "choose another part")
    by = (size * direction / length).to(value.dtype)
    if part is ProgramPart.LOWER:
        by = torch.where(value + by > program.u, -by.abs(), by)
    if part is ProgramPart.UPPER:
        by = torch.where(value + by < program.l, by.abs(), by)
    return shifted(program, part, by)


def part_distances(first: LinearProgram, second: LinearProgram) -> Tensor:
    """Measure how far two batches are apart, part by part.

    Args:
        first: programs.
        second: programs with the same ids, in the same order, and the same pattern.

    Returns:
        Shape `(batch, 5)`: Euclidean distances of `A` (Frobenius), `b`, `c`, `l`, `u`.

    Raises:
        InputError: instances that are not paired, or other patterns.
    """
    for name in ("ids", "rows", "columns", "equality"):
        if not torch.equal(getattr(first, name), getattr(second, name)):
            raise InputError(
                "second", f"other {name}", f"the {name} of the first", "pair them with program.select(ids)"
            )
    gaps = [getattr(first, part.value) - getattr(second, part.value) for part in ProgramPart]
    return torch.stack([torch.linalg.vector_norm(gap, dim=1) for gap in gaps], dim=1)


@final
class LargestPart(Metric):
    """The largest of the Euclidean distances of `A`, `b`, `c`, `l` and `u`."""

    name = "largest part"

    def distance(self, a: LinearProgram, b: LinearProgram) -> Tensor:  # type: ignore[override]  # inputs are nests here
        """Distance between paired instances.

        Args:
            a: programs.
            b: programs with the same ids and pattern.

        Returns:
            Tensor of shape `(batch,)`.
        """
        return part_distances(a, b).amax(dim=1)
