"""How many iterations accuracies need, and which solver gets there with the fewest evaluations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.auditing._subject import Subject
from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import EqTheoryError
from eqtheory.operators import FunctionOperator
from eqtheory.solvers import (
    Anderson,
    AndersonTGS,
    Broyden,
    Halpern,
    KrasnoselskiiMann,
    NewtonKrylov,
    OnFailure,
    Picard,
    Solver,
    Stop,
)
from eqtheory.solvers import fixed_point as solve
from eqtheory.theorems.banach import a_priori

__all__ = ["ACCURACIES", "Iterations", "Race", "iterations_needed", "race"]

ACCURACIES = (1e-2, 1e-4, 1e-6)


@final
@dataclass(frozen=True)
class Iterations:
    """Picard iterations for one accuracy.

    Args:
        accuracy: largest distance to the fixed point, in the norm of the states.
        certified: enough for every sample, by T1's a-priori bound; `None` where no factor is known.
        evidence: where the factor is known from.
        seen: the first step from which all residuals are below the accuracy, in a run; `None` where there is none. An estimate.
    """

    accuracy: float
    certified: int | None
    evidence: Evidence | None
    seen: int | None


def iterations_needed(subject: Subject, mu: Bound | None, residuals: Tensor) -> tuple[Iterations, ...]:
    """Count iterations for `ACCURACIES`.

    Args:
        subject: what is audited; iterations start at the sampled states.
        mu: an upper bound on the factor, where there is one.
        residuals: of a run from the samples, shape `(steps + 1, batch)`.

    Returns:
        One entry per accuracy.
    """
    factor = None if mu is None else float(torch.as_tensor(mu.value, dtype=torch.float64).max())
    known = factor is not None and factor < 1 and mu is not None and mu.side in (Side.UPPER, Side.EXACT)
    with torch.no_grad():
        first = float(subject.norm(subject.G(subject.y, subject.x) - subject.y).max())
    worst = residuals.amax(dim=1)
    found = []
    for accuracy in ACCURACIES:
        below = (worst <= accuracy).nonzero()
        certified = _least(factor, first, accuracy) if known and factor is not None and math.isfinite(first) else None
        evidence = mu.evidence if certified is not None and mu is not None else None
        found.append(Iterations(accuracy, certified, evidence, int(below[0]) if len(below) else None))
    return tuple(found)


def _least(mu: float, first: float, accuracy: float) -> int:
    """The least `t` with `mu^t / (1 - mu) first <= accuracy`; the inequality itself decides, the logarithm only guesses.

    Returns:
        A number of steps.
    """

    def enough(t: int) -> bool:
        return bool(a_priori.margin(error=accuracy, mu=mu, first_step=first, steps=t) <= 0)

    if enough(0):
        return 0
    if mu == 0:
        return 1
    t = max(1, math.ceil(math.log(accuracy * (1 - mu) / first) / math.log(mu)) - 2)
    while not enough(t):
        t += 1
    return t


@final
@dataclass(frozen=True)
class Race:
    """One solver on the samples.

    Args:
        solver: its representation.
        solved: samples that reached the tolerance.
        samples: all samples.
        evaluations: per sample on average, of those that were solved; infinite where none was.
    """

    solver: str
    solved: int
    samples: int
    evaluations: float


def race(subject: Subject, *, samples: int = 16, rtol: float = 1e-6, max_steps: int = 500) -> tuple[Race, ...]:
    """Let the solvers find the fixed points of some samples.

    Args:
        subject: what is audited.
        samples: how many.
        rtol: relative residual to reach.
        max_steps: of every solver.

    Returns:
        The solvers that solve most samples first, among equals the one with the fewest evaluations.
    """
    some = subject.keep(torch.arange(subject.y.shape[0], device=subject.y.device) < samples)
    G = FunctionOperator(some.G)  # without its declarations, so that no certificate stops a solver early
    stop, found = Stop(rtol=max(rtol, 50 * torch.finfo(some.y.dtype).eps), max_steps=max_steps), []
    entrants: tuple[Solver[Any], ...] = (
        Picard(),
        KrasnoselskiiMann(0.5),
        Halpern(),
        Anderson(5),
        AndersonTGS(3),
        Broyden(10),
        NewtonKrylov(),
    )
    for solver in entrants:
        try:
            with torch.no_grad():
                solution = solve(G, some.x, some.y, solver=solver, stop=stop, on_failure=OnFailure.RETURN)
        except (EqTheoryError, RuntimeError):
            continue
        done = solution.converged
        cost = solution.evaluations.to(torch.float64)[done]
        found.append(Race(repr(solver), int(done.sum()), len(done), float(cost.mean()) if len(cost) else math.inf))
    return tuple(sorted(found, key=lambda r: (-r.solved, r.evaluations)))
