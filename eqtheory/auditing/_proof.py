"""What can be proved of an operator without taking its word: a walk over its traced program.

A label `proved` on a bound that an operator brings along is its own statement; here it counts as declared.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.auditing._subject import Subject
from eqtheory.bounds import Bound
from eqtheory.errors import EqTheoryError, NotBoundedError
from eqtheory.lipschitz import Box, Region, traced_lipschitz
from eqtheory.lipschitz._precision import coarsest_unit, watched
from eqtheory.nests import tensors
from eqtheory.operators import as_operator

__all__ = ["Proof", "prove"]


@final
@dataclass(frozen=True)
class Proof:
    """Upper bounds that this package has proved itself.

    Args:
        mu: on the factor, uniformly in the input; `None` where nothing is proved.
        L0: on the slope in the input, uniformly in the state.
        how: by what means.
        why: why nothing is proved, where nothing is.
    """

    mu: Bound | None = None
    L0: Bound | None = None
    how: str = ""
    why: str = ""


def prove(subject: Subject) -> Proof:
    """Try to prove bounds.

    Args:
        subject: what is audited.

    Returns:
        What was proved, or why nothing was.
    """
    if subject.labelled:
        return Proof(why="nothing is proved: inputs hold labels or masks, which a traced program takes as constants")
    if subject.flat.shape[1] == 0:
        return Proof(why="nothing is proved: the input has no coordinates to trace")
    traced = replace(subject, G=as_operator(_own(subject.function)))  # tracing can leave traces in a module's buffers

    def function(y: Tensor, flat: Tensor) -> Tensor:
        return traced.at(y, flat)

    with torch.no_grad():
        unit = watched(traced.at, subject.y, subject.flat)[1]
    if unit > coarsest_unit(subject.y, *(t for _, t in tensors(subject.x))):
        return Proof(
            why=f"nothing is proved: the program rounds coarsely inside (unit roundoff {unit:.2g}), a proof is for exact arithmetic"
        )
    arguments = (subject.y[:1], subject.flat[:1])
    # Limits that were read off the samples are not those of the domain.
    regions = zip((subject.states, subject.inputs), subject.given, strict=True)
    ranges = tuple(_interval(region) if given else None for region, given in regions)
    try:
        mu_bound, L0_bound = traced_lipschitz(function, arguments, norm=subject.norm, ranges=ranges)
    except NotBoundedError as error:
        return Proof(why=f"no upper bound: {error}")
    except (EqTheoryError, RuntimeError, TypeError, ValueError, KeyError) as error:
        return Proof(why=f"the program could not be traced: {_first_line(error)}")
    same = subject.norm.name == subject.input_norm.name
    return Proof(mu_bound, L0_bound if same else None, how="walk over the traced program", why="")


def _own(function: Any) -> Any:
    try:
        return copy.deepcopy(function) if isinstance(function, torch.nn.Module) else function
    except (RuntimeError, TypeError):
        return function


def _interval(region: Region) -> Any:
    if not isinstance(region, Box):
        return None
    low, high = (
        float(torch.as_tensor(t, dtype=torch.float64).min())
        for t in (region.low, -torch.as_tensor(region.high, dtype=torch.float64))
    )
    return (low, -high) if abs(low) < float("inf") and abs(high) < float("inf") else None


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__
