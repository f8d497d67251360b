"""Steep places looked for: pairs, derivatives, ascent. Lower bounds with witnesses."""

from __future__ import annotations

from eqtheory.lipschitz.search._jacobian_norm import dense_jacobian, exact_jacobian_norm, jacobian_norm
from eqtheory.lipschitz.search._pairs import (
    frequency_direction,
    halved_pairs,
    pair_lower_bound,
    perturbation_lower_bound,
    random_directions,
)
from eqtheory.lipschitz.search._search import Search, steepest

__all__ = [
    "Search",
    "dense_jacobian",
    "exact_jacobian_norm",
    "frequency_direction",
    "halved_pairs",
    "jacobian_norm",
    "pair_lower_bound",
    "perturbation_lower_bound",
    "random_directions",
    "steepest",
]
