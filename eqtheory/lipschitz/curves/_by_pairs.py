"""Curves of iterations that adapt: pairs of runs, from inputs close to each other.

Slopes of pairs are lower bounds whatever the iteration does, also where it restarts or falls back in one run and not in the
other.
"""

from __future__ import annotations

import torch

from eqtheory.errors import InputError
from eqtheory.lipschitz._precision import coarsest_unit, watched
from eqtheory.lipschitz._witness import certified_slopes
from eqtheory.lipschitz.curves._iteration import Iteration, attached, finite_rows
from eqtheory.lipschitz.curves._record import Record, Task
from eqtheory.lipschitz.curves._result import Curve
from eqtheory.lipschitz.search._pairs import rounding_assumption
from eqtheory.nests import Raveled, spread

__all__ = ["curve_by_pairs"]


def curve_by_pairs(task: Task, iteration: Iteration, perturbation: float, *, given: bool) -> Curve:
    """Run every sample and its perturbed copies.

    Args:
        task: what is asked.
        iteration: the iteration.
        perturbation: length of the perturbations, relative to `1 + |x|`.
        given: whether the start was handed in, rather than made from the input by the operator.

    Returns:
        The curve, without an upper side.

    Raises:
        InputError: there is only one iteration to look at and it is the start.
    """
    start, block, G, last = task.start, task.block, task.G, task.wanted[-1]
    if last == 0:
        raise InputError("steps", "[0]", "at least one step", "pass for example steps=100")
    batch, width = start.shape[0], block.directions.shape[0]
    raveled = Raveled(task.x, batch)
    flat = raveled.flat(task.x)
    size = perturbation * (1 + block.norm(flat)).unsqueeze(1)
    points = torch.cat([flat, (flat + size * block.directions).flatten(0, 1)])
    inputs = raveled.nest(points, torch.arange(batch, device=start.device).repeat(width + 1))
    y = start.repeat(width + 1, *[1] * (start.ndim - 1)) if given else G.initial_state(inputs).detach()
    record, solver, state = Record(task), attached(iteration, G, inputs), iteration.init(y)
    alive = torch.ones(y.shape[0], dtype=torch.bool, device=y.device)
    wanted, unit = set(task.wanted), 0.0
    for t in range(last + 1):
        with torch.no_grad():
            g, seen = watched(lambda at: G(at, inputs), y) if t == 0 else (G(y, inputs), unit)
        unit = max(seen, coarsest_unit(points))
        alive = alive & finite_rows(g)
        safe = torch.where(spread(alive, g), g, y)
        if t in wanted:
            base = y[:batch].repeat(width, *[1] * (y.ndim - 1))
            slopes = certified_slopes(
                base, y[batch:], points[:batch].repeat(width, 1), points[batch:], block.norm, G.norm, None, unit=unit
            )
            steepest = slopes.reshape(width, batch).amax(dim=0, keepdim=True)
            record.measured([t], y[:batch], safe[:batch], steepest, alive[:batch], None)
        record.tail.add(y[:batch])
        if t == last:
            break
        proposal, state = solver.step(state, y, safe, alive)
        y = torch.where(spread(alive & finite_rows(proposal), y), proposal, safe)
    how = f"pairs at relative distance {perturbation:g} along {width} directions"
    rests = (rounding_assumption(None),)
    return record.finish(
        how=how, exact=False, assumptions=("the iteration adapts to the input: no upper side (N8)",), rests=rests
    )
