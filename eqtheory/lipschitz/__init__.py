"""Lipschitz constants of maps and of iterates, each labelled with what it proves."""

from __future__ import annotations

from eqtheory.lipschitz._finite import growth_on_table, largest_slope
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound, operator_norm
from eqtheory.lipschitz._traced import traced_lipschitz, traced_regularity

__all__ = [
    "growth_on_table",
    "largest_slope",
    "matrix_norm_upper_bound",
    "operator_norm",
    "traced_lipschitz",
    "traced_regularity",
]
