"""Slopes of a network for linear programs over iterations, beside a loop that treats one instance at a time and starts anew for every step.

Bar: 1000 instances, five parts of the data, ten steps and width 32 in at most 10 seconds on two cores, a 25th of the loop's time, and the
same values to 1e-5. The loop is run on a few instances and scaled up, since it does the same work for each.
"""

from __future__ import annotations

from functools import cache
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.constructions import LinearProgram, ProgramPart
from eqtheory.learned import MessagePassing, ProgramOperator, scaled
from eqtheory.nests import take
from experiments.linear_programming.curves import Moved, moved_copies, slope_curves
from experiments.linear_programming.data import draw

pytest.importorskip("pytest_benchmark")

INSTANCES, FEW, WIDTH, STEPS, CHUNK = 1000, 4, 32, list(range(11)), 50


@cache
def network() -> ProgramOperator:
    return ProgramOperator(MessagePassing(WIDTH, memory=2, generator=torch.Generator().manual_seed(0)).double())


@cache
def instances() -> Moved:
    return moved_copies(draw(INSTANCES, torch.Generator().manual_seed(0)), 1e-4, torch.Generator().manual_seed(1))


def point(x: LinearProgram, t: int) -> Tensor:
    G, at = network(), scaled(x)
    state = G.initial_state(at)
    for _ in range(t):
        state = G(state, at)
    return state[0, : x.shape[2]]


@torch.no_grad()
def anew(moved: Moved, count: int) -> dict[ProgramPart, Tensor]:
    """One instance at a time, from the start for every number of steps."""
    batch = moved.program.shape[0]
    found = {part: torch.zeros(len(STEPS), count, dtype=torch.float64) for part in ProgramPart}
    for i in range(count):
        one = take(moved.program, torch.tensor([i]), batch)
        for row, t in enumerate(STEPS):
            base = point(one, t)
            for part, copies in moved.copies.items():
                other = point(take(copies, torch.tensor([i]), batch), t)
                found[part][row, i] = torch.linalg.vector_norm(other - base) / moved.distances[part][i]
    return found


def test_all_curves_in_one_pass_beside_a_loop(benchmark: Any) -> None:
    G, moved = network(), instances()
    anew(moved, 1)
    start = perf_counter()
    slow = anew(moved, FEW)
    loop = (perf_counter() - start) * INSTANCES / FEW
    found = benchmark.pedantic(lambda: slope_curves(G, moved, STEPS, CHUNK), rounds=1)
    apart = max(float((found[part][:, :FEW] - slow[part]).abs().max() / slow[part].max()) for part in ProgramPart)
    assert apart <= 1e-5
    benchmark.extra_info |= {"loop": loop, "largest difference": apart, "bar in seconds": 10, "bar in times faster": 25}
    if not benchmark.disabled:
        benchmark.extra_info["times faster"] = loop / benchmark.stats.stats.min
