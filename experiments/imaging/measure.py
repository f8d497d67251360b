"""Measure all models of a preset: quality, curves over iterations, audits, gradient biases; results say where they come from."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

from experiments.common.record import load_preset, write_result
from experiments.imaging.reconstruction import score
from experiments.imaging.shipped import available
from experiments.imaging.tasks import all_peers, inspect, one_seed, prepared
from experiments.imaging.training import Run

__all__ = ["FOLDER", "measure", "summary"]

FOLDER = Path(__file__).parent


def measure(
    preset: str,
    *,
    runs: Path,
    seeds: list[int] | None = None,
    results: Path | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Run all measurements of a preset and write them.

    Every part is kept beside the checkpoints as soon as it is there, so that measuring again after an interruption goes on.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        runs: folder of training checkpoints; what is missing there is taken from the shipped models.
        seeds: the preset's by default, of which those count that were trained or ship.
        results: folder for `imaging.json`.
        workers: processes; seeds, peers and audits are independent of each other.

    Returns:
        What was measured.

    Raises:
        FileNotFoundError: a seed that was asked for was not trained.
    """
    config = load_preset(FOLDER, preset)
    out = results or FOLDER / "results"
    chosen = [seed for seed in seeds or config["seeds"] if available("denoiser", Run(config, seed, runs), out)]
    missing = [seed for seed in seeds or config["seeds"] if seed not in chosen]
    if not chosen or (missing and seeds):
        raise FileNotFoundError(
            f"model denoiser: got no checkpoint of seeds {missing}; needed one; run the command train"
        )
    # One after the other, or in processes of their own; the longest ones first.
    first = Run(config, chosen[0], runs)
    tasks = [*(partial(one_seed, Run(config, seed, runs), out) for seed in chosen), partial(all_peers, first, out)]
    tasks += [partial(inspect, name, first, out) for name in config["measure"]["audits"]]
    if workers == 1:
        parts = [task() for task in tasks]
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = [future.result() for future in [pool.submit(task) for task in tasks]]
    _, clean, x, kernel_name, photographs = prepared(config)
    measured: dict[str, Any] = {
        "kernel": kernel_name,
        "photographs": photographs.source,
        "observation": score(x, clean, x),
        "models": parts[: len(chosen)],
        "seeds": chosen,
        "seeds_not_trained": missing,
        "peers": parts[len(chosen)],
        "audits": dict(zip(config["measure"]["audits"], parts[len(chosen) + 1 :], strict=True)),
    }
    measured["table"] = summary(measured)
    write_result(out / "imaging.json", config={"preset": preset, **config}, measured=measured)
    return measured


def summary(measured: dict[str, Any]) -> dict[str, Any]:
    """Put means and spreads over seeds, and the peers, into one table.

    Args:
        measured: what was measured so far.

    Returns:
        Rows by name: mean PSNR and SSIM, spread (largest less smallest) of PSNR over seeds, parameters.
    """
    rows: dict[str, Any] = {}
    for name in measured["models"][0]["scores"]:
        scores = [run["scores"][name] for run in measured["models"] if name in run["scores"]]
        values = [one["psnr"] for one in scores]
        rows[name] = {
            "psnr_mean": mean(values),
            "psnr_spread": max(values) - min(values),
            "ssim_mean": mean(one["ssim"] for one in scores),
            "seeds": len(values),
            "parameters": scores[0]["parameters"],
        }
    for name, one in measured.get("peers", {}).items():
        rows[name] = {
            "psnr_mean": one["psnr"],
            "psnr_spread": 0.0,
            "ssim_mean": one["ssim"],
            "seeds": 1,
            "parameters": 0,
        }
    return rows
