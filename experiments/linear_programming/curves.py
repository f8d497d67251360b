"""What networks compute after `t` iterations: how far from the solution, and how steep in each part of the data.

Slopes are those of `y_t`, the point, between an instance and its perturbed copy; both runs are made once and looked at in every wanted
step, a whole chunk of instances at a time. A slope of a pair bounds no local modulus, but is what the paper plots; slopes of the whole
state along tangents, which do, come from `eqtheory.lipschitz.curve`. Everything is in float64: the difference of two points
that are 1e-4 apart would keep three digits in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from eqtheory.constructions import LinearProgram, ProgramPart, part_distances, perturbed
from eqtheory.errors import InputError
from eqtheory.learned import MessagePassing, ProgramOperator, ScaledProgram, scaled
from eqtheory.nests import take
from experiments.linear_programming.reference import References
from experiments.linear_programming.training import relative_errors

__all__ = ["Moved", "error_curve", "explicit_errors", "iterates", "moved_copies", "slope_curves"]


@dataclass(frozen=True)
class Moved:
    """Perturbed copies of a batch.

    Args:
        program: the batch.
        copies: by part, the copy in which that part is moved; ids are those of the batch.
        distances: how far each copy is from the batch in that part, shape `(batch,)`.
        mistake: by how much the norm of a change that arrives differs from the one asked for, and how far other parts moved; the worst.
    """

    program: LinearProgram
    copies: dict[ProgramPart, LinearProgram]
    distances: dict[ProgramPart, Tensor]
    mistake: float


def moved_copies(program: LinearProgram, size: float, generator: Generator) -> Moved:
    """Perturb every part of every instance, each in a copy of its own.

    Args:
        program: the batch, float64.
        size: Euclidean norm of every change.
        generator: of the directions.

    Returns:
        The copies, paired by their ids.

    Raises:
        InputError: data in another type, in which a small change is rounded away.
    """
    if program.c.dtype is not torch.float64:
        raise InputError("program", str(program.c.dtype), "torch.float64", "convert before perturbing, not after")
    copies, distances, mistake = {}, {}, 0.0
    for place, part in enumerate(ProgramPart):
        copies[part] = perturbed(program, part, size, generator)
        found = part_distances(program, copies[part])
        distances[part] = found[:, place]
        others = found.clone()
        others[:, place] -= size
        mistake = max(mistake, float(others.abs().max()))
    return Moved(program, copies, distances, mistake)


@torch.no_grad()
def iterates(G: ProgramOperator, x: ScaledProgram, steps: list[int]) -> Tensor:
    """Iterate from zero once, and keep the points of the wanted steps.

    Args:
        G: the operator.
        x: scaled programs.
        steps: increasing, from 0.

    Returns:
        Shape `(steps, batch, n)`.
    """
    state, kept, wanted = G.initial_state(x), [], set(steps)
    n = x.costs.shape[1]
    for t in range(steps[-1] + 1):
        if t in wanted:
            kept.append(state[:, :n])
        if t < steps[-1]:
            state = G(state, x)
    return torch.stack(kept)


def slope_curves(G: ProgramOperator, moved: Moved, steps: list[int], chunk: int) -> dict[ProgramPart, Tensor]:
    """Follow slopes over iterations, all parts and all steps in one pass.

    Args:
        G: the operator, float64.
        moved: instances and their perturbed copies.
        steps: increasing, from 0.
        chunk: instances at a time.

    Returns:
        By part, shape `(steps, batch)`.
    """
    batch = moved.program.shape[0]
    found: dict[ProgramPart, list[Tensor]] = {part: [] for part in ProgramPart}
    for rows in torch.split(torch.arange(batch), chunk):
        base = iterates(G, scaled(take(moved.program, rows, batch)), steps)
        for part, copy in moved.copies.items():
            away = iterates(G, scaled(take(copy, rows, batch)), steps) - base
            found[part].append(torch.linalg.vector_norm(away, dim=2) / moved.distances[part][rows])
    return {part: torch.cat(slopes, dim=1) for part, slopes in found.items()}


def error_curve(G: ProgramOperator, found: References, steps: int, chunk: int) -> Tensor:
    """Follow `|y_t - y| / (|y| + 1)`.

    Args:
        G: the operator, float64.
        found: instances and solutions.
        steps: the last iteration.
        chunk: instances at a time.

    Returns:
        Every step from 0 on, shape `(steps + 1, batch)`.
    """
    batch, errors = found.program.shape[0], []
    for rows in torch.split(torch.arange(batch), chunk):
        points = iterates(G, scaled(take(found.program, rows, batch)), list(range(steps + 1)))
        errors.append(torch.stack([relative_errors(point, found.y[rows]) for point in points]))
    return torch.cat(errors, dim=1)


@torch.no_grad()
def explicit_errors(block: MessagePassing, found: References) -> Tensor:
    """Measure one application from zero.

    Args:
        block: the network, float64.
        found: instances and solutions.

    Returns:
        Relative errors, shape `(batch,)`.
    """
    x = scaled(found.program)
    return relative_errors(block(block.zero_state(x), x), found.y)
