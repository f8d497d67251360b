"""Command line: `python -m experiments.navier_stokes generate --preset cpu`, `... solve --aspect 0.7 --reynolds 6`, `... measure`."""

from __future__ import annotations

import json
from typing import Literal

import tyro

from experiments.navier_stokes.figures import draw
from experiments.navier_stokes.generate import generate
from experiments.navier_stokes.measure import measure
from experiments.navier_stokes.solve import solve_kolmogorov

Preset = Literal["smoke", "cpu", "paper"]


def generate_data(preset: Preset = "cpu", workers: int = 2) -> None:
    """Make, or go on making, the data set of a preset.

    Args:
        preset: size of the data set.
        workers: processes of one thread each.
    """
    print(json.dumps(generate(preset, workers=workers), indent=1))


def solve(aspect: float = 0.7, reynolds: float = 6.0, points: int = 48) -> None:
    """Solve Kolmogorov's flow at one Reynolds number, laminar and beyond.

    Args:
        aspect: the torus is `2 pi / aspect` long and `2 pi` high.
        reynolds: the Reynolds number.
        points: of the grid in each direction.
    """
    print(json.dumps(solve_kolmogorov(aspect, reynolds, points), indent=1))


def measure_solver(preset: Preset = "cpu") -> None:
    """Measure the solver against exact and published values.

    Args:
        preset: size of the measurement.
    """
    print(json.dumps(measure(preset), indent=1))


def draw_figures() -> None:
    """Draw what was measured."""
    print(f"wrote {draw().name}")


def main() -> None:
    """Choose a command."""
    tyro.extras.subcommand_cli_from_dict(
        {"generate": generate_data, "solve": solve, "measure": measure_solver, "figures": draw_figures}
    )


if __name__ == "__main__":
    main()
