"""One Kolmogorov flow in numbers: laminar stability, critical Reynolds number, and the state that branches off."""

from __future__ import annotations

from typing import Any

from eqtheory.constructions import GalerkinTorus
from experiments.navier_stokes.solver import (
    critical_reynolds,
    energy_balance,
    growth_rates,
    kolmogorov_force,
    laminar,
    leading_mode,
    secondary_state,
)
from experiments.navier_stokes.solver._flows import tail_of

__all__ = ["solve_kolmogorov"]


def solve_kolmogorov(aspect: float, reynolds: float, points: int = 48) -> dict[str, Any]:
    """Solve `u . grad u = -grad p + (1/R) Lap u + (1/R) (sin y, 0)` on `[0, 2 pi / a] x [0, 2 pi]`.

    Args:
        aspect: `a`.
        reynolds: `R`.
        points: of the grid in each direction; dense matrices of its truncation are used.

    Returns:
        The laminar growth rate, the critical Reynolds number where there is one, and energy, enstrophy, balance, residual and
        growth rates of the state that branches off, or `None` where none was found.
    """
    torus = GalerkinTorus((points, points), aspect)
    g, viscosity = kolmogorov_force(torus, reynolds)
    growth, _ = leading_mode(torus, laminar(torus), viscosity)
    found: dict[str, Any] = {
        "aspect": aspect,
        "reynolds": reynolds,
        "grid": f"{points} x {points}",
        "laminar_growth": growth.real,
        "critical_reynolds": critical_reynolds(aspect) if aspect < 1 else None,
        "branch": None,
    }
    state = secondary_state(torus, reynolds)
    if state is not None:
        balance = energy_balance(torus, state.c, g, viscosity)
        rates = growth_rates(torus, state.c, viscosity, exact=True).leading[0]
        found["branch"] = {
            "energy": float(balance.energy),
            "enstrophy": float(balance.enstrophy),
            "balance_defect": float(balance.defect),
            "residual": state.residual,
            "tail": float(tail_of(torus, state.c)),
            "distance_from_laminar": state.distance,
            "growth": [str(complex(rate)) for rate in rates],
            "history": list(state.history),
        }
    return found
