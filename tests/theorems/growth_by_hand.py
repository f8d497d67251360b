"""Margins of the growth theorems, worked by hand at quantities chosen so that every term matters."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from eqtheory.theorems import Inequality
from eqtheory.theorems.arrival import arrival, arrival_in_the_limit
from eqtheory.theorems.averaged_growth import averaged_growth, averaged_step, signed_growth
from eqtheory.theorems.fastest_schedule import pair_cap, schedule_offset, schedule_optimality, schedule_step
from eqtheory.theorems.growth import geometric_growth, linear_growth, one_step, quadratic_growth, size_growth
from eqtheory.theorems.levelling_off import jacobian_step, levelling_off, levelling_off_of_slopes
from eqtheory.theorems.price import constant_step_error, price_of_slope

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
    (
        arrival,
        {"target_gap": F(1), "slope": F(3), "delta": F(1, 2), "error": F(1, 4), "error_other": F(1, 8)},
        F(7, 8),
    ),
    (arrival_in_the_limit, {"target_slope": F(1), "limit_slope": F(3)}, F(2)),
    (
        jacobian_step,
        {
            "error_after": F(1),
            "error_before": F(4),
            "state_error": F(2),
            "mu": F(1, 2),
            "alpha": F(3),
            "beta": F(5),
            "jacobian": F(1, 3),
        },
        F(13),
    ),
    (
        # 1/8 * 8 + 3/4 (3 * 1/3 + 5) * 2 on the right.
        levelling_off,
        {
            "jacobian_error": F(1),
            "start_error": F(8),
            "start_state_error": F(2),
            "mu": F(1, 2),
            "alpha": F(3),
            "beta": F(5),
            "jacobian": F(1, 3),
            "steps": 3,
        },
        F(9),
    ),
    (levelling_off_of_slopes, {"slope": F(1), "target_slope": F(3), "jacobian_bound": F(5)}, F(3)),
    (
        # (10 - 2 - 1) / (1/2 * (1 + 2 * 3)) = 2 on the left.
        price_of_slope,
        {
            "target_gap": F(10),
            "error": F(1),
            "start_slope": F(2),
            "delta": F(1, 2),
            "L0": F(1),
            "L1": F(2),
            "size": F(3),
            "steps": 3,
        },
        F(1),
    ),
    (constant_step_error, {"error": F(1), "L0": F(1), "slope": F(2), "steps": 3, "start_error": F(16)}, F(1)),
    (schedule_step, {"gap": F(1), "delta": F(2), "L1": F(3)}, F(5)),
    (schedule_offset, {"gap": F(1), "delta": F(2), "L0": F(3)}, F(5)),
    (
        pair_cap,
        {"eps_other": F(1, 2), "value_gap": F(4), "value_norm": F(3), "delta": F(1, 2), "L0": F(1), "L1": F(2)},
        F(3, 2),
    ),
    (schedule_optimality, {"slowest": F(1), "price": F(2), "leftover": F(1, 2)}, F(3, 2)),
]
