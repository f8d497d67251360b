"""Steady flows of many forces at once, with a status each, and what is known of them."""

from __future__ import annotations

from experiments.navier_stokes.solver._balance import Balance, energy_balance
from experiments.navier_stokes.solver._continuation import Path, continue_from_rest
from experiments.navier_stokes.solver._flows import FlowStatus, SteadyFlows
from experiments.navier_stokes.solver._kolmogorov import (
    BranchState,
    critical_reynolds,
    kolmogorov_force,
    laminar,
    leading_mode,
    secondary_state,
)
from experiments.navier_stokes.solver._levels import inner_torus
from experiments.navier_stokes.solver._linearized import (
    Linearization,
    cut,
    dense_energy_form,
    dense_jacobian,
    prolong,
    residual,
)
from experiments.navier_stokes.solver._sensitivity import Sensitivity, TangentMap, local_lipschitz
from experiments.navier_stokes.solver._stability import Growth, energy_margin, growth_rates
from experiments.navier_stokes.solver._steady import RESIDUAL, TAIL, solve_coordinates, solve_steady

__all__ = [
    "RESIDUAL",
    "TAIL",
    "Balance",
    "BranchState",
    "FlowStatus",
    "Growth",
    "Linearization",
    "Path",
    "Sensitivity",
    "SteadyFlows",
    "TangentMap",
    "continue_from_rest",
    "critical_reynolds",
    "cut",
    "dense_energy_form",
    "dense_jacobian",
    "energy_balance",
    "energy_margin",
    "growth_rates",
    "inner_torus",
    "kolmogorov_force",
    "laminar",
    "leading_mode",
    "local_lipschitz",
    "prolong",
    "residual",
    "secondary_state",
    "solve_coordinates",
    "solve_steady",
]
