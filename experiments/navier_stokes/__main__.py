"""Command line: `python -m experiments.navier_stokes generate`, `solve`, `measure`, `train`, `measure-learned`, `figures`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import tyro

from experiments.common.record import load_preset
from experiments.navier_stokes.figures import draw
from experiments.navier_stokes.figures_learned import draw_learned
from experiments.navier_stokes.generate import FOLDER, data_folder, generate
from experiments.navier_stokes.measure import measure
from experiments.navier_stokes.measure_learned import measure_learned
from experiments.navier_stokes.pairs import read_split
from experiments.navier_stokes.shipped import ship
from experiments.navier_stokes.solve import solve_kolmogorov
from experiments.navier_stokes.training import Run, train_all

Preset = Literal["smoke", "cpu", "paper"]


def generate_data(preset: Preset = "cpu", purpose: Literal["data", "learning"] = "data", workers: int = 2) -> None:
    """Make, or go on making, a data set of a preset.

    Args:
        preset: size of the data set.
        purpose: `data`, all Grashof numbers, or `learning`, what operators are trained and tested on.
        workers: processes of one thread each.
    """
    print(json.dumps(generate(preset, purpose=purpose, workers=workers), indent=1))


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


def train_operators(
    preset: Preset = "cpu",
    seed: int | None = None,
    only: tuple[str, ...] | None = None,
    runs: Path = Path("build/navier_stokes"),
    results: Path | None = None,
) -> None:
    """Train operators, or go on from their last checkpoints.

    Args:
        preset: size of everything.
        seed: the preset's by default, one after the other.
        only: names of models; all by default.
        runs: folder of the training checkpoints.
        results: folder in which the first seed's models are kept; the experiment's own for `cpu`, else one beside the checkpoints.
    """
    config, kept = load_preset(FOLDER, preset)["learned"], runs / preset
    pairs = read_split(data_folder(preset, "learning"), config).train
    for one in config["seeds"] if seed is None else [seed]:
        run = Run(config, one, kept)
        train_all(run, pairs, None if only is None else list(only))
        print(f"kept: {', '.join(ship(run, _results(preset, kept, results))) or 'nothing, another seed ships'}")


def measure_operators(
    preset: Preset = "cpu", runs: Path = Path("build/navier_stokes"), results: Path | None = None
) -> None:
    """Measure trained operators, or the ones that ship; parts that are there already are kept.

    Args:
        preset: size of everything.
        runs: folder of the training checkpoints.
        results: folder of results; the experiment's own for `cpu`, one beside the checkpoints for other presets.
    """
    kept = runs / preset
    found = measure_learned(preset, runs=kept, results=_results(preset, kept, results))
    for name, row in found["table"].items():
        spread = f"spread {row['error_spread']:.4f} over {row['seeds']}"
        print(f"{name}: error {row['error_mean']:.4f}, {spread}, {row['parameters']} parameters")


def _results(preset: str, kept: Path, results: Path | None) -> Path:
    return results or (FOLDER / "results" if preset == "cpu" else kept / "results")


def draw_figures() -> None:
    """Draw what was measured."""
    print(f"wrote {draw().name}")
    if (FOLDER / "results" / "learned.json").exists():
        print(f"wrote {draw_learned().name}")


def main() -> None:
    """Choose a command."""
    tyro.extras.subcommand_cli_from_dict(
        {
            "generate": generate_data,
            "solve": solve,
            "measure": measure_solver,
            "train": train_operators,
            "measure-learned": measure_operators,
            "figures": draw_figures,
        }
    )


if __name__ == "__main__":
    main()
