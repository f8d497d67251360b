"""Measure the steps of T3, of T3b and of the fastest schedule on a line and in the plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from eqtheory.constructions import SquaredRadius, adaptive_relaxation, fastest_schedule
from eqtheory.targets import SampleTable, from_samples
from eqtheory.theorems.sufficiency import BUDGET
from experiments.common.record import load_preset, write_result

__all__ = ["FOLDER", "compare", "line", "measure", "plane"]

FOLDER = Path(__file__).parent


def line(points: int, steepness: float) -> SampleTable:
    """`tanh(s x)` on an even grid of [-1,1].

    Args:
        points: how many.
        steepness: `s`.

    Returns:
        The map.
    """
    x = torch.linspace(-1, 1, points, dtype=torch.float64)
    return from_samples(x, torch.tanh(steepness * x))


def plane(side: int, turn: float) -> SampleTable:
    """A unit vector that turns by a right angle across a wave, on a square grid of the unit square.

    Args:
        side: points of one side.
        turn: how fast, in inverse lengths.

    Returns:
        A map from R^2 to R^2 in Euclidean norms.
    """
    axis = torch.linspace(0, 1, side, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    height = x[:, 1] - 0.5 - 0.2 * torch.sin(2 * torch.pi * x[:, 0])
    angle = torch.pi / 4 * (1 + torch.tanh(turn * height))
    return from_samples(x, torch.stack([torch.cos(angle), torch.sin(angle)], dim=1))


def compare(table: SampleTable, time_limit: float) -> dict[str, Any]:
    """Find the three relaxations of one map.

    Args:
        table: the map.
        time_limit: seconds for the linear programs.

    Returns:
        Points, values and steps, certificates, and the bracket of the largest minimum.
    """
    fastest = fastest_schedule(table, BUDGET, BUDGET, time_limit=time_limit)
    steps = {
        "T3": adaptive_relaxation(table, rule=SquaredRadius()).eps,
        "T3b": adaptive_relaxation(table).eps,
        "fastest": fastest.eps,
    }
    bracket = fastest.slowest
    return {
        "points": table.inputs.tolist(),
        "values": table.values.tolist(),
        "eps": {name: eps.tolist() for name, eps in steps.items()},
        "smallest": {name: float(eps.min()) for name, eps in steps.items()},
        "total": {name: float((1 / eps).sum()) for name, eps in steps.items()},
        "largest_minimum": None if bracket is None else [bracket.lower.value, bracket.upper.value],
        "certificate": str(fastest.certify()),
    }


def measure(preset: str, out: Path | None = None) -> dict[str, Any]:
    """Run one preset and write its result.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        out: file to write; `results/schedules.json` by default.

    Returns:
        What was measured.
    """
    config = load_preset(FOLDER, preset)
    measured = {
        "line": compare(line(config["line_points"], config["steepness"]), config["time_limit"]),
        "plane": compare(plane(config["plane_side"], config["turn"]), config["time_limit"]),
    }
    write_result(out or FOLDER / "results" / "schedules.json", config={"preset": preset, **config}, measured=measured)
    return measured
