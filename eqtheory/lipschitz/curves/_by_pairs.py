"""Curves of iterations that adapt: pairs of runs, from inputs close to each other.

Slopes of pairs are lower bounds on the Lipschitz constant over any set that holds the pair, whatever the iteration does, also where it
restarts or falls back in one run and not in the other. They say nothing of the local modulus at one of its ends.

**What rounding does to them.** A run rounds at every step, and what it has lost by then is multiplied by the condition of what it solves,
`1 / (1 - mu)` and more (T14), and by that of the small systems that an adaptive solver solves inside. Neither is known here. Every
slope is lowered by what *one* evaluation at the end would err by, which is less; so these slopes are **estimates**, and are labelled so.

**How long a pair should be.** With `s` the slope, `r` the size of states and inputs and `h r` the length, rounding accounts for up to
`4 c u r` of the gap `s h r`, where evaluations err by at most `c u` times the sizes of state and input (`c = 64` is assumed). For slopes
and sizes of order one the part lost to rounding is `4 c u / h`, and slopes change over the pair by a part of order `h`: the sum is least
at `h = (4 c u)^(1/2)`. Where `4 c u >= 1`, nothing is left at any length.
"""

from __future__ import annotations

import torch

from eqtheory.bounds import Evidence
from eqtheory.errors import InputError
from eqtheory.lipschitz._precision import coarsest_unit, watched
from eqtheory.lipschitz._witness import ASSUMED_ROUNDINGS, certified_slopes
from eqtheory.lipschitz.curves._iteration import attached, finite_rows
from eqtheory.lipschitz.curves._record import Record, Task
from eqtheory.lipschitz.curves._result import Curve
from eqtheory.nests import Raveled, spread

__all__ = ["curve_by_pairs"]


def curve_by_pairs(task: Task, perturbation: float | None, *, given: bool) -> Curve:
    """Run every sample and its perturbed copies.

    Args:
        task: what is asked.
        perturbation: length of the perturbations, relative to `1 + |x|`; by the header's rule where `None`.
        given: whether the start was handed in, rather than made from the input by the operator.

    Returns:
        The curve, without an upper side.

    Raises:
        InputError: there is only one iteration to look at and it is the start, or a type in which rounding accounts for everything.
    """
    start, block, G, last, iteration = task.start, task.block, task.G, task.wanted[-1], task.iteration
    if last == 0 or iteration is None:
        raise InputError("steps", "[0]", "at least one step", "pass for example steps=100")
    batch, width = start.shape[0], block.directions.shape[0]
    raveled = Raveled(task.x, batch)
    flat = raveled.flat(task.x)
    with torch.no_grad():
        coarse = max(watched(lambda at: G(at, task.x), start)[1], coarsest_unit(flat))
    if 4 * ASSUMED_ROUNDINGS * coarse >= 1:
        came = f"{flat.dtype} and {start.dtype}, with a unit roundoff of {coarse:.2g} inside"
        raise InputError(
            "x, y0", came, "a type in which slopes of pairs are more than rounding", "convert to float32 or wider"
        )
    length = (4 * ASSUMED_ROUNDINGS * coarse) ** 0.5 if perturbation is None else perturbation
    size = length * (1 + block.norm(flat)).unsqueeze(1)
    points = torch.cat([flat, (flat + size * block.directions).flatten(0, 1)])
    inputs = raveled.nest(points, torch.arange(batch, device=start.device).repeat(width + 1))
    y = start.repeat(width + 1, *[1] * (start.ndim - 1)) if given else G.initial_state(inputs).detach()
    products, spent = [0], []
    record, solver, state = Record(task), attached(iteration, G, inputs, products), iteration.init(y)
    alive = torch.ones(y.shape[0], dtype=torch.bool, device=y.device)
    broken = torch.zeros(y.shape[0] - batch, dtype=torch.bool, device=y.device)
    wanted = set(task.wanted)
    for t in range(last + 1):
        with torch.no_grad():
            g = G(y, inputs)
        alive = alive & finite_rows(g)
        leaving = ~alive[batch:] & alive[:batch].repeat(width)
        alive = alive & alive[:batch].repeat(width + 1)  # nobody goes on without its sample
        safe = torch.where(spread(alive, g), g, y)
        if t in wanted:
            base = y[:batch].repeat(width, *[1] * (y.ndim - 1))
            near, far = points[:batch].repeat(width, 1), points[batch:]
            slopes = certified_slopes(base, y[batch:], near, far, block.norm, G.norm, None, unit=coarse)
            steepest = torch.where(broken, 0.0, slopes).reshape(width, batch).amax(dim=0, keepdim=True)
            record.measured([t], y[:batch], safe[:batch], steepest, alive[:batch], None)
            spent.append((t + 1 + products[0]) * (width + 1))
        broken = broken | leaving
        record.left(t, leaving.reshape(width, batch).any(dim=0))
        record.tail.add(y[:batch])
        if t == last:
            break
        proposal, state = solver.step(state, y, safe, alive)
        y = torch.where(spread(alive & finite_rows(proposal), y), proposal, safe)
    return record.finish(
        how=f"pairs of x and x + {length:.2g} (1 + |x|) w along {width} directions w",
        exact=False,
        rests_on=(
            f"y_t is taken to be known to {ASSUMED_ROUNDINGS:g} unit roundoffs (of the coarsest type inside) of its size and that of x; "
            "rounding that accumulates over the steps or grows with the condition 1 / (1 - mu) is not accounted for",
        ),
        evidence=Evidence.ESTIMATED,
        evaluations=torch.tensor(spent),
        assumptions=("the iteration adapts to the input: no upper side (N8)",),
    )
