"""Curves of iterations whose weights do not adapt: the derivative obeys the iteration itself.

Steps are taken in stretches. What is measured is measured for a whole stretch at once, so that a small operator is not drowned in
bookkeeping; a stretch in which something stops being finite is taken again step by step, with the samples concerned left behind.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from eqtheory.lipschitz._matrix_norm import is_attained
from eqtheory.lipschitz.curves._iteration import Averaging, combined, finite_rows
from eqtheory.lipschitz.curves._record import Record, Task
from eqtheory.lipschitz.curves._result import Curve
from eqtheory.lipschitz.curves._steepest_block import steepest_block
from eqtheory.lipschitz.curves._tangents import Propagator
from eqtheory.lipschitz.curves._upper import UpperSide
from eqtheory.nests import spread
from eqtheory.validate import all_finite

__all__ = ["curve_by_tangents"]

_STRETCH = 128
_ROOM = 1 << 21
"""A stretch holds at most so many steps, and so many numbers."""
_SMALL = 1 << 12
_RESTS = (
    "differentiable at the samples and along the iterates (at a kink autograd picks one number, which need not be a slope)",
    "derivatives rounded to the type they were computed in",
)


def curve_by_tangents(task: Task, weights: Averaging, rounds: int, *, given: bool) -> Curve:
    """Propagate states and a block of tangents, once.

    Args:
        task: what is asked.
        weights: of every step.
        rounds: of subspace iteration before.
        given: whether the start was handed in, rather than made from the input by the operator.

    Returns:
        The curve.
    """
    for _ in range(rounds):
        task = replace(task, block=steepest_block(task.G, task.x, task.start, task.wanted[-1], weights, task.block))
    start, block, G, last = task.start, task.block, task.G, task.wanted[-1]
    width = block.directions.shape[0]
    V0 = start.new_zeros(width, *start.shape)
    if not given:
        own = Propagator(lambda _, at: G.initial_state(at), task.x, start, block.directions, weights)
        V0 = own.images(start, V0, V0, [0])[1][0].to(start.dtype)
    push = Propagator(G, task.x, start, block.directions, weights)
    record, upper = Record(task), UpperSide.of(G.regularity, task.x, block, V0, given=given)
    y, V, alive = start, V0, torch.ones(start.shape[0], dtype=torch.bool, device=start.device)
    stretch, t = max(1, min(_STRETCH, _ROOM // max(1, (2 * width + 2) * start.numel()))), 0
    while t <= last:
        steps = range(t, min(t + stretch, last + 1))
        values, moved = push.images(y, V, V0, steps)
        if not (_finite(values) and _finite(moved)):
            steps, stretch = range(t, t + 1), 1
            values, moved = values[:1], moved[:1]
        states, tangents, goes = [], [], []
        for k, g, dg in zip(steps, values, moved, strict=True):
            states.append(y)
            tangents.append(V)
            if stretch == 1:
                alive = alive & finite_rows(g) & finite_rows(dg.transpose(0, 1))
                going = spread(alive, y)
                g, dg = torch.where(going, g, y), torch.where(going, dg, V)  # noqa: PLW2901
                y = torch.where(going, combined(weights(k), y, start, g), y)
                V = torch.where(going, combined(weights(k), V, V0, dg), V)
            else:
                y, V = combined(weights(k), y, start, g), combined(weights(k), V, V0, dg)
            goes.append(g)
        record.add(steps, states, goes, tangents, alive, upper.along(states, [weights(k) for k in steps], G.norm))
        t += len(steps)
    how = "derivatives along the whole input space" if block.spans else f"derivatives along {width} directions"
    # Each round runs the iteration with its tangents, and goes back with as many products with the transpose at states taken anew.
    evaluations = (record.steps + 1 + 2 * rounds * last) * (width + 1)
    return record.finish(
        how=how,
        exact=block.spans and (width == 1 or is_attained(block.norm, G.norm)),
        rests_on=_RESTS,
        evaluations=evaluations,
        assumptions=upper.assumptions,
    )


def _finite(tensors: list[Tensor]) -> bool:
    """Whether all entries are finite: by sums where copies would cost more (a sum that overflows only costs care)."""
    few = tensors[0].numel() < _SMALL
    return all_finite(torch.stack(tensors) if few else torch.stack([t.sum() for t in tensors]))
