"""Lipschitz constants of maps and of iterates, each labelled with what it proves."""

from __future__ import annotations

from eqtheory.lipschitz._extremes import Extreme, extreme_value_estimate
from eqtheory.lipschitz._finite import growth_on_table, largest_slope
from eqtheory.lipschitz._formula_lipschitz import formula_lipschitz
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound, operator_norm
from eqtheory.lipschitz._propagation import Ball, propagated_lipschitz
from eqtheory.lipschitz._supremum import supremum

__all__ = [
    "Ball",
    "Extreme",
    "extreme_value_estimate",
    "formula_lipschitz",
    "growth_on_table",
    "largest_slope",
    "matrix_norm_upper_bound",
    "operator_norm",
    "propagated_lipschitz",
    "supremum",
]
