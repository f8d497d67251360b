"""Solves that follow one another: a fallback for the samples that failed, and a solve that is resumed."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from eqtheory.bounds import Bound
from eqtheory.nests import spread
from eqtheory.solvers._solution import Solution, Trace
from eqtheory.solvers._status import Status

__all__ = ["counted_on", "followed_by", "restart"]


def restart(first: Solution, y0: Tensor) -> Tensor:
    """Where the next solver starts.

    Args:
        first: what the solvers before it left.
        y0: the starting states of the first one.

    Returns:
        `y0` for samples that diverged or became non-finite, since nothing can be said for where they stand; the value of the
        others.
    """
    lost = (first.status == Status.DIVERGED.value) | (first.status == Status.NON_FINITE.value)
    return torch.where(spread(lost, y0), y0, first.value)


def followed_by(first: Solution, then: Solution, again: Tensor, number: int) -> Solution:
    """Join a solve and the one that took up what it left.

    Args:
        first: the earlier solve.
        then: the later one, over the same batch; samples not in `again` stand in it where `first` left them.
        again: which samples were solved again, shape `(batch,)`.
        number: number of the later solver among the fallbacks, from 1.

    Returns:
        Later values and statuses; steps, evaluations and calls of both.
    """
    before = torch.zeros_like(first.status) if first.attempt is None else first.attempt
    bound = then.error_bound
    if bound is not None and first.error_bound is not None:
        # The bound of a sample that stayed is the one it had, to the last bit.
        bound = _with_value(bound, torch.where(again, bound.value, first.error_bound.value))
    trace = None
    if first.trace is not None and then.trace is not None:
        iterates = None
        if first.trace.iterates is not None and then.trace.iterates is not None:
            iterates = torch.cat([first.trace.iterates, then.trace.iterates])
        trace = Trace(torch.cat([first.trace.residuals, then.trace.residuals]), iterates)
    return replace(
        then,
        error_bound=bound,
        steps=first.steps + then.steps * again,
        evaluations=first.evaluations + then.evaluations * again,
        calls=first.calls + then.calls,
        attempt=torch.where(again, number, before).to(torch.int8),
        trace=trace,
    )


def _with_value(bound: Bound, value: Tensor) -> Bound:
    return replace(bound, value=value)


def counted_on(earlier: Solution, then: Solution) -> Solution:
    """Let a resumed solve count from the first start.

    Args:
        earlier: the solve that was resumed.
        then: the solve that went on.

    Returns:
        `then` with the steps, evaluations and calls of both; the state at which it went on was evaluated twice.
    """
    return replace(
        then,
        steps=earlier.steps + then.steps,
        evaluations=earlier.evaluations + then.evaluations,
        calls=earlier.calls + then.calls,
    )
