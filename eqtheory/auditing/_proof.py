"""What can be proved of an operator without taking its word: a walk over its traced program, and constructions of this package.

A label `proved` on a bound that an operator brings along is its own statement; here it counts as declared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.auditing._subject import Subject
from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import EqTheoryError, NotBoundedError
from eqtheory.lipschitz import Box, Region, traced_lipschitz

__all__ = ["Proof", "prove"]

_OWN = "eqtheory.constructions."


@final
@dataclass(frozen=True)
class Proof:
    """Upper bounds that this package has proved itself.

    Args:
        mu: on the factor, uniformly in the input; `None` where nothing is proved.
        L0: on the slope in the input, uniformly in the state.
        regular: whether regularity itself is proved, with factors that depend on the input.
        how: by what means.
        why: why nothing is proved, where nothing is.
    """

    mu: Bound | None = None
    L0: Bound | None = None
    regular: bool = False
    how: str = ""
    why: str = ""


def prove(subject: Subject) -> Proof:
    """Try to prove bounds.

    Args:
        subject: what is audited.

    Returns:
        What was proved, or why nothing was.
    """
    G = subject.G
    if type(G).__module__.startswith(_OWN) and G.regularity is not None:
        mu = G.regularity.mu
        bounds = (mu, G.regularity.L0, G.regularity.L1)
        if all(b.evidence is Evidence.PROVED and b.side in (Side.UPPER, Side.EXACT) for b in bounds):
            return Proof(regular=True, how=f"{type(G).__name__}: {mu.method}")

    def function(y: Tensor, flat: Tensor) -> Tensor:
        return subject.at(y, flat)

    arguments = (subject.y[:1], subject.flat[:1])
    if arguments[1].shape[1] == 0:
        return Proof(why="no input to trace")
    ranges = (_interval(subject.states), _interval(subject.inputs)) if subject.bounded else None
    try:
        mu_bound, L0_bound = traced_lipschitz(function, arguments, norm=subject.norm, ranges=ranges)
    except NotBoundedError as error:
        return Proof(why=f"no upper bound: {error}")
    except (EqTheoryError, RuntimeError, TypeError, ValueError, KeyError) as error:
        return Proof(why=f"the program could not be traced: {_first_line(error)}")
    same = subject.norm.name == subject.input_norm.name
    return Proof(mu_bound, L0_bound if same else None, how="walk over the traced program", why="")


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
