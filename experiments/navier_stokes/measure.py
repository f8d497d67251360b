"""Measure the solver against exact solutions and published values, and say what the data set holds."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.constructions import GalerkinTorus, OseenStep, StokesPicard
from eqtheory.operators import ImplicitOperator
from eqtheory.solvers import Stop, fixed_point
from experiments.common.record import load_preset, write_result
from experiments.navier_stokes.certificate import Certificate
from experiments.navier_stokes.forces import ForceLaw, draw_forces
from experiments.navier_stokes.generate import FOLDER
from experiments.navier_stokes.solve import solve_kolmogorov
from experiments.navier_stokes.solver import (
    critical_reynolds,
    kolmogorov_force,
    laminar,
    local_lipschitz,
    residual,
    solve_coordinates,
)
from experiments.navier_stokes.store import load

__all__ = ["PUBLISHED", "measure", "three_solvers"]

PUBLISHED = {
    "critical_reynolds_0.5": 2.0489014455,
    "critical_reynolds_0.01": 1.4144257,
    "energy_0.7_4": 0.20727947314588,
    "enstrophy_0.7_4": 0.19008297575959,
}
"""Okamoto and Shoji 1993, Okamoto 1998, and a dense Newton iteration of ours for the state of aspect 0.7 at R = 4."""


def exact_solutions(points: int) -> dict[str, float]:
    """Distance of the solver's answers from exact ones, largest over the grid.

    Args:
        points: of the grid in each direction.

    Returns:
        Laminar flow at several Reynolds numbers, and flows on the shells `|k|^2 = 5` and `25`, which have several modes each.
    """
    torus = GalerkinTorus((points, points))
    worst = 0.0
    for reynolds in (0.5, 5.0, 20.0):
        g, viscosity = kolmogorov_force(torus, reynolds)
        flows = solve_coordinates(torus, g, viscosity)
        worst = max(worst, float((flows.c - laminar(torus)).abs().max()))
    found = {"laminar": worst}
    generator = torch.Generator().manual_seed(0)
    for shell in (5, 25):
        on = torus.squared == shell
        c = torch.zeros(8, torus.dimension, dtype=torch.float64)
        c[:, on] = torch.randn(8, int(on.sum()), generator=generator, dtype=torch.float64)
        nu = torch.full((8,), 1.0, dtype=torch.float64)
        c = 3 * c / torch.linalg.vector_norm(c, dim=1, keepdim=True)
        flows = solve_coordinates(torus, nu.unsqueeze(1) * shell * c, nu)
        found[f"shell_{shell}"] = float((flows.c - c).abs().max())
        found[f"shell_{shell}_residual"] = float(residual(torus, c, nu.unsqueeze(1) * shell * c, nu).abs().max())
    return found


def three_solvers(points: int, samples: int) -> dict[str, Any]:
    """Newton-Krylov, Oseen and Stokes-Picard on forces for which the last two are proved to contract.

    Args:
        points: of the grid in each direction.
        samples: how many forces.

    Returns:
        Steps, proved factors, factors seen, and the largest differences relative to the flow.
    """
    torus, nu = GalerkinTorus((points, points)), 0.1
    forces = draw_forces(torus, ForceLaw((nu,), (0.2, 0.2)), 7, range(samples))
    curl = torus.field(forces.g)
    newton = solve_coordinates(torus, forces.g, forces.viscosity)
    oseen = OseenStep(torus, nu)
    size = float(oseen.force_norm(curl).max())
    operators: dict[str, ImplicitOperator] = {"oseen": oseen, "stokes_picard": StokesPicard(torus, nu, size)}
    length = torch.linalg.vector_norm(newton.c, dim=1)
    found: dict[str, Any] = {}
    for name, G in operators.items():
        solution = fixed_point(G, curl, stop=Stop(rtol=1e-13), trace=True)
        gap = torch.linalg.vector_norm(torus.coordinates(solution.value) - newton.c, dim=1) / length
        steps = solution.trace.residuals if solution.trace is not None else torch.zeros(0, samples)
        early = steps[1] / steps[0]
        mu = G.regularity.mu if G.regularity is not None else Bound(torch.inf, Side.UPPER, "none", Evidence.DECLARED)
        found[name] = {
            "difference_from_newton": float(gap.max()),
            "steps": int(solution.steps.max()),
            "proved_factor": float(torch.as_tensor(mu.at(curl)).max()),
            "factor_seen": float(early.max()),
        }
    return found


def sensitivities(points: int, samples: int) -> list[dict[str, float]]:
    """The local Lipschitz constant of the solution map against the Grashof number.

    Args:
        points: of the grid in each direction.
        samples: forces at each Grashof number.

    Returns:
        One row per Grashof number: median and largest `nu L` over the samples that converged.
    """
    torus, rows = GalerkinTorus((points, points)), []
    for grashof in (0.3, 1.0, 3.0, 10.0, 30.0):
        forces = draw_forces(torus, ForceLaw((0.1,), (grashof, grashof)), 11, range(samples))
        flows = solve_coordinates(torus, forces.g, forces.viscosity)
        kept = flows.rows(flows.converged.nonzero().squeeze(1))
        if not len(kept.c):
            continue
        scaled = local_lipschitz(torus, kept.c, kept.viscosity).value * kept.viscosity
        rows.append(
            {
                "grashof": grashof,
                "converged": len(kept.c) / samples,
                "median": float(scaled.median()),
                "largest": float(scaled.max()),
            }
        )
    return rows


def _data(preset: str) -> dict[str, Any] | None:
    folder = FOLDER / "data" / preset
    if not (folder / "manifest.json").exists():
        return None
    data = load(folder)
    columns = data.columns
    drawn = [(float(columns["grashof"][i]), True) for i in range(len(data))]
    drawn += [(entry["grashof"], False) for entry in data.rejected]
    edges = [0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, float("inf")]
    bins = []
    for low, high in pairwise(edges):
        inside = [kept for value, kept in drawn if low <= value < high]
        at = (columns["grashof"] >= low) & (columns["grashof"] < high)
        if inside:
            kinds = {str(k): int((columns["kind"][at] == k).sum()) for k in range(3)}
            bins.append({"from": low, "drawn": len(inside), "kept": sum(inside), "by_certificate": kinds})
    scaled = columns["lipschitz"] * columns["viscosity"]
    each = zip(columns["grashof"].tolist(), columns["kind"].tolist(), scaled.tolist(), strict=True)
    return {
        "samples": len(data),
        "worst_residual": float(columns["residual"].max()),
        "worst_error_bound": float(columns["error"][columns["kind"] == Certificate.UNIQUE_BY_ENERGY.value].max()),
        "by_grashof": bins,
        "each": [[float(f"{g:.5g}"), kind, float(f"{value:.5g}")] for g, kind, value in each],
    }


def measure(preset: str, out: Path | None = None) -> dict[str, Any]:
    """Run one preset and write its result.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        out: file to write; `results/solver.json` by default.

    Returns:
        What was measured.
    """
    config = load_preset(FOLDER, preset)["measure"]
    branch = {
        f"{aspect}_{reynolds:g}": solve_kolmogorov(aspect, reynolds, config["branch_points"])
        for aspect, reynolds in config["branch"]
    }
    measured = {
        "exact": exact_solutions(config["points"]),
        "critical_reynolds": {str(a): critical_reynolds(a) for a in (0.01, 0.5, 0.7)},
        "branch": branch,
        "solvers": three_solvers(config["points"], config["samples"]),
        "lipschitz": sensitivities(config["points"], config["samples"]),
        "data": _data(preset),
    }
    write_result(out or FOLDER / "results" / "solver.json", config={"preset": preset, **config}, measured=measured)
    return measured
