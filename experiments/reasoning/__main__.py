"""Command line: `python -m experiments.reasoning train`, `measure`, `figures`, each with `--preset smoke|cpu|paper`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from experiments.common.record import load_preset
from experiments.reasoning.figures import draw
from experiments.reasoning.measure import FOLDER, measure
from experiments.reasoning.shipped import ship
from experiments.reasoning.training import Run, train_all


def main(
    command: Literal["train", "measure", "figures"],
    /,
    preset: Literal["smoke", "cpu", "paper"] = "cpu",
    seeds: tuple[int, ...] | None = None,
    tasks: tuple[str, ...] | None = None,
    models: tuple[str, ...] | None = None,
    runs: Path = Path("build/reasoning"),
    results: Path | None = None,
) -> None:
    """Train, measure, or draw what was measured.

    Args:
        command: what to do; `train` goes on from the last checkpoints, `measure` takes the shipped models where nothing was trained.
        preset: size of everything; see `config.toml`.
        seeds: the preset's by default.
        tasks: the preset's by default.
        models: names of the models to train; the preset's by default.
        runs: folder of the training checkpoints.
        results: folder of results; the experiment's own for `cpu`, one beside the checkpoints for other presets, by default.
    """
    config, kept = load_preset(FOLDER, preset), runs / preset
    out = results or (FOLDER / "results" if preset == "cpu" else kept / "results")
    if command == "train":
        for seed in seeds or config["seeds"]:
            for task in tasks or config["tasks"]:
                run = Run(config, task, seed, kept)
                train_all(run, None if models is None else list(models))
                print(f"{task}: kept for later: {', '.join(ship(run, out)) or 'nothing, another seed ships'}")
    elif command == "measure":
        chosen = None if seeds is None else list(seeds)
        found = measure(preset, runs=kept, seeds=chosen, tasks=None if tasks is None else list(tasks), results=out)
        for task, one in found["tasks"].items():
            for name, row in one["summary"].items():
                print(f"{task}, {name}, {row['parameters']} parameters: {_line(row, config['measure']['lengths'])}")
    else:
        print(f"wrote {', '.join(path.name for path in draw(out))}")


def _line(row: dict[str, dict[str, dict[str, float]]], lengths: list[int]) -> str:
    said = []
    for factor in lengths:
        found = row[str(factor)]
        known = [key for key in ("one", "trained", "best", "beyond") if isinstance(found.get(key), dict)]
        text = ", ".join(f"{key} {found[key]['mean']:.3f}" for key in known) if known else f"{found['mean']:.3f}"
        said.append(f"{factor}x length: {text}")
    return "; ".join(said)


if __name__ == "__main__":
    tyro.cli(main)
