"""Hypothesis strategies for batched problems whose constants are true.

What is drawn is small: a seed, a length, a regime, a number or two. Arrays are made from the seed, nothing is filtered away, and
examples shrink to short states of the plainest regime. Each strategy gives instances with their constants, their witness in words
(`describe`), and a fixed point wherever one is known.

Needs the optional group `check`.
"""

from __future__ import annotations

from importlib.util import find_spec

from eqtheory.errors import MissingDependencyError

if find_spec("hypothesis") is None:
    raise MissingDependencyError("hypothesis", "check")

from eqtheory.testing.strategies._averaged import CYCLES, NONEXPANSIVE, averaged_operators, cyclic_operators
from eqtheory.testing.strategies._contractions import (
    ACTIVATIONS,
    LARGEST_FACTOR,
    NORMS,
    contractions,
    near_one,
    non_normal_contractions,
)
from eqtheory.testing.strategies._instance import Instance
from eqtheory.testing.strategies._monotone import MONOTONE, monotone_operators
from eqtheory.testing.strategies._spaces import (
    TargetInstance,
    finite_metric_spaces,
    lipschitz_targets,
    pointwise_contractions,
)

__all__ = [
    "ACTIVATIONS",
    "CYCLES",
    "LARGEST_FACTOR",
    "MONOTONE",
    "NONEXPANSIVE",
    "NORMS",
    "Instance",
    "TargetInstance",
    "averaged_operators",
    "contractions",
    "cyclic_operators",
    "finite_metric_spaces",
    "lipschitz_targets",
    "monotone_operators",
    "near_one",
    "non_normal_contractions",
    "pointwise_contractions",
]
