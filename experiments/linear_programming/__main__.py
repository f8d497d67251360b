"""Command line: `python -m experiments.linear_programming solve FILE.mps`, `train`, `measure --preset cpu`, `figures`, `netlib`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import tyro

from eqtheory.constructions import LinearStatus
from eqtheory.errors import InputError
from experiments.common.record import load_preset
from experiments.linear_programming.figures import draw
from experiments.linear_programming.figures_learned import draw_networks
from experiments.linear_programming.measure import FOLDER, measure
from experiments.linear_programming.measure_learned import measure_learned
from experiments.linear_programming.netlib import netlib, solve_file
from experiments.linear_programming.shipped import ship
from experiments.linear_programming.training import Run, names, train_all

_CODES = {
    LinearStatus.SOLVED: 0,
    LinearStatus.INFEASIBLE: 2,
    LinearStatus.UNBOUNDED: 3,
    LinearStatus.DUAL_INFEASIBLE: 4,
    LinearStatus.STEP_LIMIT: 5,
}


def main(
    command: Literal["solve", "train", "measure", "figures", "netlib"],
    file: Path | None = None,
    /,
    preset: Literal["smoke", "cpu", "paper"] = "cpu",
    seeds: tuple[int, ...] | None = None,
    only: tuple[str, ...] | None = None,
    runs: Path = Path("build/linear_programming"),
    results: Path | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 400_000,
) -> int:
    """Solve a file, train networks, measure the random instances or draw what was measured, or solve Netlib's problems.

    Args:
        command: what to do.
        file: with `solve`, a linear program in MPS format.
        preset: with `train` and `measure`, size of everything; see `config.toml`.
        seeds: of the networks; the preset's by default.
        only: with `train`, names of models; with `measure`, `classical` or `learned`; everything by default.
        runs: folder of training checkpoints and of instances.
        results: folder of results; the experiment's own for `cpu`, one beside the checkpoints for other presets, by default.
        tolerance: relative KKT error at which a file is solved.
        max_steps: limit of the steps of each file.

    Returns:
        With `solve`: 0 solved, 2 infeasible, 3 unbounded, 4 one of the two, 5 not known; 1 where the file cannot be read.
        Else 0, and 1 where `only` names nothing.
    """
    if command == "solve":
        if file is None:
            print(
                "solve: needs a file, as in: python -m experiments.linear_programming solve FILE.mps", file=sys.stderr
            )
            return 1
        try:
            found = solve_file(file, tolerance=tolerance, max_steps=max_steps)
        except (InputError, OSError) as unusable:
            print(unusable, file=sys.stderr)
            return 1
        print(found)
        return _CODES[found.status]
    config, kept = load_preset(FOLDER, preset), runs / preset
    trained = tuple(seeds or config["learning"]["seeds"])
    wrong = _not_there(command, only, {name for seed in trained for name in names(config, seed)})
    if wrong:
        print(wrong, file=sys.stderr)
        return 1
    out = results or (FOLDER / "results" if preset == "cpu" else kept / "results")
    if command == "train":
        for seed in trained:
            run = Run(config, seed, kept)
            train_all(run, None if only is None else [name for name in only if name in names(config, seed)])
            print(f"kept for later, seed {seed}: {', '.join(ship(run, out)) or 'nothing'}")
        return 0
    if command == "measure":
        if only is None or "classical" in only:
            for part, line in measure(preset, out / "linear_programming.json")["target_lines"].items():
                print(f"{part}: mean slope of the solution {line['mean_slope']:.4g}")
        if only is None or "learned" in only:
            measured = measure_learned(preset, runs=kept, seeds=None if seeds is None else list(seeds), results=out)
            for name, row in measured["table"].items():
                print(f"{name}: {row['test_error']:.4f}, spread {row['spread']:.4f}, {row['parameters']} parameters")
        return 0
    if command == "figures":
        drawn = [draw(out / "linear_programming.json")] if (out / "linear_programming.json").exists() else []
        drawn += [draw_networks(out)] if (out / "networks.json").exists() else []
        print(f"wrote {', '.join(path.name for path in drawn) or 'nothing: run the command measure'}")
        return 0
    netlib(tolerance, max_steps)
    return 0


def _not_there(command: str, only: tuple[str, ...] | None, models: set[str]) -> str | None:
    """Say what is wrong with `only`: a name that nothing has would do nothing, and an extra model would be trained for no result."""
    allowed = {"train": models, "measure": {"classical", "learned"}}.get(command)
    unknown = [] if allowed is None else sorted(set(only or ()) - allowed)
    if allowed is None or not unknown:
        return None
    return f"only: got {', '.join(unknown)}; needed some of {', '.join(sorted(allowed))}; leave --only out for all"


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
