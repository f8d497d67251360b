"""Measure the data, the target lines, and the two classical operators: slopes and errors over iterations, and solves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from eqtheory.constructions import (
    LinearProgram,
    OptimalBasis,
    PrimalDual,
    ProgramPart,
    RegularisedDual,
    equilibrated,
    optimal_basis,
    optimality,
    part_distances,
    perturbed,
    solve_linear_program,
)
from eqtheory.lipschitz import curve, matrix_norm_upper_bound
from eqtheory.norms import Euclidean
from eqtheory.operators import ImplicitOperator
from experiments.common.record import load_preset, write_result
from experiments.linear_programming.data import rows_of
from experiments.linear_programming.reference import References, feasible_programs, reference_solutions

__all__ = ["FOLDER", "classical_settings", "measure", "part_tangent", "target_lines"]

FOLDER = Path(__file__).parent


def part_tangent(program: LinearProgram, part: ProgramPart, generator: Generator) -> Tensor:
    """Draw a direction of length 1 that moves one part, in the coordinates `(A, b, c, l, u)` of the flattened input.

    Args:
        program: the programs.
        part: which part.
        generator: source of randomness.

    Returns:
        Shape `(1, coordinates)`.
    """
    lengths = [getattr(program, p.value).shape[1] for p in ProgramPart]
    start = sum(lengths[: list(ProgramPart).index(part)])
    own = getattr(program, part.value).shape[1]
    direction = torch.randn(own, generator=generator, dtype=torch.float64)
    whole = torch.zeros(1, sum(lengths), dtype=torch.float64)
    whole[0, start : start + own] = direction / torch.linalg.vector_norm(direction)
    return whole.to(program.c.dtype)


def target_lines(found: References, basis: OptimalBasis, size: float, generator: Generator) -> dict[str, Any]:
    """What the slopes of a perfect model are: exact Jacobians, and references of perturbed instances, paired by id.

    Args:
        found: instances with their solutions.
        basis: their optimal bases.
        size: norm of the perturbations.
        generator: source of randomness.

    Returns:
        Per part: mean slopes and how far the perturbation that arrived is from the one asked for.
    """
    keep = basis.nondegenerate.nonzero()[:, 0]
    smooth, base = basis.select(keep), rows_of(found.program, keep)
    lines: dict[str, Any] = {}
    for part in ProgramPart:
        moved = perturbed(base, part, size, generator)
        arrived = part_distances(base, moved)
        again = reference_solutions(moved)
        same = torch.isin(base.ids, again.program.ids)
        step = torch.linalg.vector_norm(again.y - smooth.y[same], dim=1)
        jacobian = smooth.jacobian(part)
        direction = getattr(moved, part.value) - getattr(base, part.value)
        along = torch.linalg.vector_norm((jacobian @ direction.unsqueeze(2)).squeeze(2), dim=1)
        lines[part.name.lower()] = {
            "instances": int(same.sum()),
            "mean_slope": float(step.mean() / size),
            "mean_slope_along_the_same_directions": float((along / arrived.amax(dim=1)).mean()),
            "mean_norm_of_the_jacobian": float(torch.linalg.matrix_norm(jacobian, ord=2).mean()),
            "largest_error_of_the_perturbation": float((arrived.amax(dim=1) - size).abs().max()),
            "other_parts_moved": float(arrived.sum(dim=1).sub(arrived.amax(dim=1)).max()),
        }
    return lines


def operator_curves(
    G: ImplicitOperator, program: LinearProgram, y: Tensor, steps: list[int], generator: Generator
) -> dict[str, Any]:
    """Follow error and slope of an operator's iterates, from its own start.

    Args:
        G: a `PrimalDual` or a `RegularisedDual`.
        program: the instances.
        y: their solutions.
        steps: the iterations to look at, increasing.
        generator: source of the tangents.

    Returns:
        `error`, the mean of `|y_t - y| / (|y| + 1)`; `slopes`, by part the mean slope of the state along one random tangent.
    """
    state, errors = G.initial_state(program), []
    for t in range(steps[-1] + 1):
        if t in steps:
            point = G.decode(state, program) if isinstance(G, RegularisedDual) else state[:, : y.shape[1]]
            gap = torch.linalg.vector_norm(point - y, dim=1) / (torch.linalg.vector_norm(y, dim=1) + 1)
            errors.append(float(gap.mean()))
        state = G(state, program)
    slopes = {}
    for part in ProgramPart:
        found = curve(G, program, steps, block=part_tangent(program, part, generator))
        slopes[part.name.lower()] = found.lower.mean(dim=1).tolist()
    return {"error": errors, "slopes": slopes}


def classical_settings(preset: str) -> dict[str, Any]:
    """Read the settings of this measurement: those of the learned networks are tables of their own, and their threads.

    Args:
        preset: `smoke`, `cpu` or `paper`.

    Returns:
        The settings.
    """
    found = load_preset(FOLDER, preset)
    return {key: value for key, value in found.items() if not isinstance(value, dict) and key != "threads"}


def measure(preset: str, out: Path | None = None) -> dict[str, Any]:
    """Run one preset and write its result.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        out: file to write; `results/linear_programming.json` by default.

    Returns:
        What was measured.
    """
    config = classical_settings(preset)
    generator = torch.Generator().manual_seed(config["seed"])
    found = feasible_programs(config["instances"], generator)
    basis = optimal_basis(found.program, found.y, found.p)
    quality = optimality(found.program, found.y, found.p)
    program = rows_of(found.program, torch.arange(config["curve_instances"]))
    y = found.y[: config["curve_instances"]]
    size = float(matrix_norm_upper_bound(program.dense(), Euclidean()).max()) * (1 + 1e-9)
    radius = float(torch.linalg.vector_norm(torch.maximum(program.l.abs(), program.u.abs()), dim=1).max()) * (1 + 1e-9)
    dual = RegularisedDual(size=size, radius=radius, lam=config["lam"], delta=config["delta"])
    began = time.process_time()
    solved = solve_linear_program(found.program, tolerance=config["solve_tolerance"], max_steps=config["solve_steps"])
    seconds = time.process_time() - began
    distance = torch.linalg.vector_norm(solved.y - found.y, dim=1) / (1 + torch.linalg.vector_norm(found.y, dim=1))
    measured = {
        "feasible_share": config["instances"] / (int(found.program.ids[-1]) + 1),
        "unique_share": float(found.unique.double().mean()),
        "nondegenerate_share": float(basis.nondegenerate.double().mean()),
        "reference_kkt_error": float(quality.relative_error.max()),
        "target_lines": target_lines(found, basis, config["perturbation"], generator),
        "steps": config["steps"],
        "primal_dual": operator_curves(
            PrimalDual(size=size, weight=config["weight"]), program, y, config["steps"], generator
        ),
        "regularised_dual": operator_curves(dual, program, y, config["steps"], generator),
        "equilibrated_norm": float(matrix_norm_upper_bound(equilibrated(program).program.dense(), Euclidean()).max()),
        "solves": {
            "solved_share": float(solved.solved.double().mean()),
            "median_steps": int(solved.steps.median()),
            "most_steps": int(solved.steps.max()),
            "mean_distance_to_the_reference": float(distance.mean()),
            "process_seconds": seconds,
        },
    }
    path = out or FOLDER / "results" / "linear_programming.json"
    write_result(path, config={"preset": preset, **config}, measured=measured)
    return measured
