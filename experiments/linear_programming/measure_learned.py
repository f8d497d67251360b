"""Measure the trained networks: errors, curves over iterations, slopes beside the solution map's; each model is kept when it is done."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from eqtheory.constructions import ProgramPart, optimal_basis
from eqtheory.learned import MessagePassing, ProgramOperator
from eqtheory.lipschitz import curve
from experiments.common import parts
from experiments.common.checkpoints import digest, load_tensors, random_generator
from experiments.common.record import load_preset, write_result
from experiments.linear_programming.curves import Moved, error_curve, explicit_errors, moved_copies, slope_curves
from experiments.linear_programming.instances import first, held_out_set, training_set
from experiments.linear_programming.measure import FOLDER, part_tangent
from experiments.linear_programming.reference import References
from experiments.linear_programming.settling import settling
from experiments.linear_programming.shipped import available, load
from experiments.linear_programming.training import Run, kind_of

__all__ = ["measure_learned", "summary"]


def measure_learned(
    preset: str, *, runs: Path, seeds: list[int] | None = None, results: Path | None = None
) -> dict[str, Any]:
    """Measure every model of a preset that was trained to its end or ships.

    Every model's numbers are kept beside the checkpoints as soon as they are there; the results are written when all are.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        runs: folder of training checkpoints and instances.
        seeds: the preset's by default.
        results: folder for `networks.json`, and of shipped models.

    Returns:
        What was measured.

    Raises:
        FileNotFoundError: nothing was trained.
    """
    config = load_preset(FOLDER, preset)
    torch.set_num_threads(config["threads"])
    out, how = results or FOLDER / "results", config["curves"]
    models = [
        (seed, name)
        for seed in seeds or config["learning"]["seeds"]
        for name in available(Run(config, seed, runs), out)
    ]
    if not models:
        raise FileNotFoundError("models: got none that was trained; needed one; run the command train")
    found, trained_on = held_out_set(config, runs), training_set(config, runs)
    moved = moved_copies(first(found, how["slope_instances"]).program, config["perturbation"], random_generator(0, 3))
    data = digest(*(t for s in (found, trained_on) for t in (s.program.entries, s.program.c, s.y)))
    rows = []
    for seed, name in models:
        run = Run(config, seed, runs)
        block = load(name, run, out)
        key = {
            "name": name,
            "seed": seed,
            "settings": [config["perturbation"], config["learning"]["rounds"], how],
            "weights": digest(*block.state_dict().values()),
            "data": data,
        }
        compute = partial(_measured, name, block, config, found, trained_on, moved)
        row = parts.part(runs / "measured" / f"{name}-{seed}.json", key, compute)
        rows.append({"seed": seed, "name": name, "parameters": block.parameter_count, **_training(run, name), **row})
        print(f"{name}, seed {seed}: test error {row['test_error']:.4f}", flush=True)
    measured: dict[str, Any] = {
        "instances": len(found.y),
        "largest_error_of_the_perturbation": moved.mistake,
        "target": _target(first(found, how["slope_instances"]), moved),
        "models": rows,
        "table": summary(rows),
    }
    write_result(out / "networks.json", config={"preset": preset, **config}, measured=measured)
    return measured


def _measured(
    name: str, block: MessagePassing, config: dict[str, Any], found: References, trained_on: References, moved: Moved
) -> dict[str, Any]:
    if not kind_of(name, config).implicit:
        errors = explicit_errors(block, found)
        return {"test_error": float(errors.mean()), "train_error": float(explicit_errors(block, trained_on).mean())}
    how, G = config["curves"], ProgramOperator(block)
    last = how["long_steps"][-1]
    errors = error_curve(G, found, last, how["chunk"])
    means = errors.mean(dim=1)
    began = time.process_time()
    slopes = slope_curves(G, moved, how["curve_steps"], how["chunk"])
    seconds = time.process_time() - began
    far = slope_curves(G, moved, how["long_steps"], how["chunk"])
    return {
        "test_error": float(means[-1]),
        "train_error": float(error_curve(G, trained_on, last, how["chunk"])[-1].mean()),
        "error": means.tolist(),
        "error_of_the_worst_tenth": errors.quantile(0.9, dim=1).tolist(),
        "median_error": errors.quantile(0.5, dim=1).tolist(),
        "largest_rise_of_the_error": float((means / means.cummin(dim=0).values).max() - 1),
        "settling": settling(G, first(found, how["settle_instances"]), how["settle_steps"]),
        "steps": how["curve_steps"],
        "slopes": _by_part(slopes),
        "long_steps": how["long_steps"],
        "long_slopes": _by_part(far),
        "process_seconds_of_the_slopes": round(seconds, 2),
        "tangents": _tangents(G, first(found, how["tangent_instances"]), how["curve_steps"]),
    }


def _by_part(slopes: dict[ProgramPart, Tensor]) -> dict[str, Any]:
    return {
        part.name.lower(): {"mean": s.mean(dim=1).tolist(), "median": s.quantile(0.5, dim=1).tolist()}
        for part, s in slopes.items()
    }


def _tangents(G: ProgramOperator, found: References, steps: list[int]) -> dict[str, list[float]]:
    """Means of proved lower bounds on the local moduli of the states, along one random tangent for each part."""
    made = {}
    for part in ProgramPart:
        block = part_tangent(found.program, part, random_generator(0, 4))
        made[part.name.lower()] = curve(G, found.program, steps, block=block).lower.mean(dim=1).tolist()
    return made


def _target(found: References, moved: Moved) -> dict[str, Any]:
    """Slopes of the solution map along the perturbations that the networks are shown, where its basis is not degenerate."""
    basis = optimal_basis(found.program, found.y, found.p)
    keep = basis.nondegenerate.nonzero()[:, 0]
    smooth = basis.select(keep)
    lines: dict[str, Any] = {"instances": len(keep)}
    for part in ProgramPart:
        change = getattr(moved.copies[part], part.value) - getattr(moved.program, part.value)
        along = torch.linalg.vector_norm((smooth.jacobian(part) @ change[keep].unsqueeze(2)).squeeze(2), dim=1)
        slopes = along / moved.distances[part][keep]
        lines[part.name.lower()] = {"mean": float(slopes.mean()), "median": float(slopes.quantile(0.5))}
    return lines


def _training(run: Run, name: str) -> dict[str, Any]:
    if not run.path(name).exists():
        return {}
    about = load_tensors(run.path(name))[1]
    return {"training_seconds": round(about["seconds"], 1), "training_steps": len(about["losses"])}


def summary(models: list[dict[str, Any]]) -> dict[str, Any]:
    """Put means and spreads over seeds into one table, and quotients of implicit and explicit errors beside them.

    Args:
        models: a row for each model and seed.

    Returns:
        Rows by name.
    """
    table: dict[str, Any] = {}
    for name in dict.fromkeys(row["name"] for row in models):
        rows = [row for row in models if row["name"] == name]
        errors = {row["seed"]: row["test_error"] for row in rows}
        table[name] = {
            "test_error": mean(errors.values()),
            "spread": max(errors.values()) - min(errors.values()),
            "train_error": mean(row["train_error"] for row in rows),
            "seeds": len(rows),
            "parameters": rows[0]["parameters"],
        }
        peer = name.replace("implicit", "explicit").partition("_")[0]
        explicit = {row["seed"]: row["test_error"] for row in models if row["name"] == peer}
        both = [seed for seed in errors if seed in explicit]
        if name.startswith("implicit") and both:
            table[name]["largest_quotient_to_explicit"] = max(errors[seed] / explicit[seed] for seed in both)
        longer = {row["seed"]: row["test_error"] for row in models if row["name"] == f"{peer}_longer"}
        shared = [seed for seed in errors if seed in longer]
        if name.startswith("implicit") and shared:
            table[name]["largest_quotient_to_explicit_trained_longer"] = max(errors[s] / longer[s] for s in shared)
    return table
