"""Command line: `python -m experiments.imaging train`, `measure`, `figures`, each with `--preset smoke|cpu|paper`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from experiments.common.record import load_preset
from experiments.imaging.figures import draw
from experiments.imaging.measure import FOLDER, measure
from experiments.imaging.shipped import ship
from experiments.imaging.training import Run, train_all
from experiments.imaging.transfer import compare_on


def main(
    command: Literal["train", "measure", "figures"],
    /,
    preset: Literal["smoke", "cpu", "paper"] = "cpu",
    seeds: tuple[int, ...] | None = None,
    models: tuple[str, ...] | None = None,
    runs: Path = Path("build/imaging"),
    images: Path | None = None,
    kernel: Path | None = None,
    results: Path | None = None,
    workers: int = 1,
) -> None:
    """Train, measure, or draw what was measured.

    Args:
        command: what to do; `train` goes on from the last checkpoints, `measure` takes the shipped models where nothing was trained.
        preset: size of everything; see `config.toml`.
        seeds: the preset's by default.
        models: names of the models to train; all by default.
        runs: folder of the training checkpoints.
        images: with `measure`, a folder of photographs to compare the models on.
        kernel: with `measure`, a blur kernel (`.npy` or an image); a drawn camera shake by default.
        results: folder of results; the experiment's own for `cpu`, one beside the checkpoints for other presets, by default.
        workers: with `measure`, processes.
    """
    config = load_preset(FOLDER, preset)
    chosen, kept = list(seeds or config["seeds"]), runs / preset
    out = results or (FOLDER / "results" if preset == "cpu" else kept / "results")
    if command == "train":
        for seed in chosen:
            train_all(Run(config, seed, kept), None if models is None else list(models))
        print(f"kept for later: {', '.join(ship(Run(config, chosen[0], kept), out)) or 'nothing, another seed ships'}")
    elif command == "measure" and (images is not None or kernel is not None):
        found = compare_on(images, kernel, preset=preset, runs=kept, results=out)
        for name, score in found["psnr"].items():
            print(f"{name}: {score:.2f} dB")
    elif command == "measure":
        found = measure(preset, runs=kept, seeds=None if seeds is None else chosen, results=out, workers=workers)
        for name, row in found["table"].items():
            print(f"{name}: {row['psnr_mean']:.2f} dB, spread {row['psnr_spread']:.2f}, {row['parameters']} parameters")
    else:
        print(f"wrote {', '.join(path.name for path in draw(out))}")


if __name__ == "__main__":
    tyro.cli(main)
