"""Margins of the growth theorems, worked by hand at quantities chosen so that every term matters."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from eqtheory.theorems import Inequality
from eqtheory.theorems.averaged_growth import averaged_growth, averaged_step, signed_growth
from eqtheory.theorems.growth import geometric_growth, linear_growth, one_step, quadratic_growth, size_growth

__all__ = ["GROWTH_BY_HAND"]

F = Fraction

GROWTH_BY_HAND: list[tuple[Inequality, dict[str, Any], Fraction]] = [
    (
        one_step,
        {
            "gap_after": F(1),
            "gap_before": F(4),
            "mu_other": F(1, 2),
            "state_norm": F(3),
            "delta": F(1, 2),
            "L0": F(5),
            "L1": F(2),
        },
        F(13, 2),
    ),
    (geometric_growth, {"slope": F(1), "start_slope": F(8), "mu": F(1, 2), "steps": 3, "accumulated": F(5)}, F(5)),
    (
        linear_growth,
        {"slope": F(1), "start_slope": F(2), "steps": 3, "size": F(4), "L0": F(1), "L1": F(1, 2)},
        F(10),
    ),
    (size_growth, {"size": F(1), "start_size": F(2), "steps": 3, "image_of_zero": F(1, 3)}, F(2)),
    (
        # 2 + 3 (1 + 1/2 * 4) + 1/2 * 5 * 3 on the right.
        quadratic_growth,
        {
            "slope": F(1),
            "start_slope": F(2),
            "steps": 3,
            "start_size": F(4),
            "image_of_zero": F(5),
            "L0": F(1),
            "L1": F(1, 2),
        },
        F(35, 2),
    ),
    (
        # 2 + 1/2 * 4 + 3 * 1/4 + 5 * 1/5 on the right.
        averaged_step,
        {
            "slope_after": F(1),
            "kept": F(2),
            "moved": F(4),
            "weight": F(1, 4),
            "weighted_size": F(1, 5),
            "mu": F(1, 2),
            "L0": F(3),
            "L1": F(5),
        },
        F(19, 4),
    ),
    (
        averaged_growth,
        {"slope": F(1), "start_slope": F(2), "total_weight": F(3, 2), "size": F(4), "L0": F(1), "L1": F(1, 2)},
        F(11, 2),
    ),
    (signed_growth, {"slope": F(1), "steps": 3, "L0": F(1, 3), "amplification": F(2)}, F(5)),
]
