"""Measure all models of a preset: accuracy over iterations, slopes of the latent state, audits of exit rules and of the core."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, cast

import torch

from eqtheory.learned.recurrent_depth import RecurrentDepthTransformer
from experiments.common.checkpoints import digest, random_generator
from experiments.common.parts import part
from experiments.common.record import load_preset, write_result
from experiments.reasoning.curves import accuracy, accuracy_curve, audited, exits, latent_curve
from experiments.reasoning.shipped import available, load
from experiments.reasoning.tasks import Questions
from experiments.reasoning.training import MODELS, Run, settings, task_of

__all__ = ["FOLDER", "exam", "measure", "one_run", "summary"]

FOLDER = Path(__file__).parent
_RECURRENT = ("recurrent", "equilibrium")


def exam(run: Run, factor: int, count: int) -> Questions:
    """Draw the questions that models are tested on, the same ones for every model and seed of training.

    Args:
        run: task and settings.
        factor: how many times as long as in training.
        count: how many.

    Returns:
        The questions.
    """
    length = factor * settings(run.config, run.task)["training"]["length"]
    return task_of(run.task).draw(count, length, random_generator(2**20, factor, MODELS.index("recurrent")))


def one_run(run: Run, results: Path) -> dict[str, Any]:
    """Measure the models of one task and one seed.

    Args:
        run: task, seed, settings and checkpoints.
        results: folder of shipped models.

    Returns:
        By model: parameters, scores at every length, over iterations where the model iterates, and for these latent slopes and exits.
    """
    config = run.config["measure"]
    found: dict[str, Any] = {}
    torch.set_num_threads(run.config["threads"])
    for name in (name for name in run.config["models"] if available(name, run, results)):
        model = load(name, run, results)
        key: dict[str, Any] = {"config": run.config, "task": run.task, "seed": run.seed, "model": name}
        key["weights"] = digest(*model.state_dict().values())
        kept = run.folder / "parts" / f"{run.task}-{name}-{run.seed}.json"
        found[name] = part(kept, key, partial(_one_model, model, run, config))
    return found


def _one_model(model: torch.nn.Module, run: Run, config: dict[str, Any]) -> dict[str, Any]:
    asked = {factor: exam(run, factor, config["questions"]) for factor in config["lengths"]}
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters()), "scores": {}}
    if not isinstance(model, RecurrentDepthTransformer):
        found["scores"] = {str(factor): accuracy(model, questions) for factor, questions in asked.items()}
        return found
    for factor, questions in asked.items():
        found["scores"][str(factor)] = accuracy_curve(model, questions, config["iterations"])
    few = exam(run, config["lengths"][0], config["curve_questions"])
    found["latent"] = latent_curve(model, few, config["curve_steps"], config["tangents"])[1]
    questions = asked[config["lengths"][0]]
    if not questions.written:
        found["exits"] = exits(model, questions, config["exits"], config["settled"])
    return found


def measure(
    preset: str,
    *,
    runs: Path,
    seeds: list[int] | None = None,
    tasks: list[str] | None = None,
    results: Path | None = None,
) -> dict[str, Any]:
    """Run all measurements of a preset and write them.

    What a model's numbers depend on is kept beside the checkpoints as soon as it is there, so that measuring goes on after an interruption.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        runs: folder of training checkpoints; what is missing there is taken from the shipped models.
        seeds: the preset's by default, of which those count that were trained or ship.
        tasks: the preset's by default.
        results: folder for `reasoning.json`.

    Returns:
        What was measured.

    Raises:
        FileNotFoundError: nothing of a task was trained, or a seed that was asked for was not.
    """
    config = load_preset(FOLDER, preset)
    out = results or FOLDER / "results"
    measured: dict[str, Any] = {"tasks": {}}
    for task in tasks or config["tasks"]:
        every = [Run(config, task, seed, runs) for seed in seeds or config["seeds"]]
        there = [run for run in every if available("recurrent", run, out)]
        missing = [run.seed for run in every if run not in there]
        if not there or (missing and seeds):
            raise FileNotFoundError(
                f"model recurrent of {task}: got no checkpoint of seeds {missing}; needed one; run the command train"
            )
        found = {str(run.seed): one_run(run, out) for run in there}
        one: dict[str, Any] = {"seeds": [run.seed for run in there], "seeds_not_trained": missing, "models": found}
        one["summary"] = summary(found, config, task)
        if task in config["measure"]["audits"]:
            one["audit"] = _audit(there[0], out)
        measured["tasks"][task] = one
    write_result(out / "reasoning.json", config={"preset": preset, **config}, measured=measured)
    return measured


def _audit(run: Run, results: Path) -> Any:
    config = run.config["measure"]
    model = cast("RecurrentDepthTransformer", load("recurrent", run, results))
    key = {"config": run.config, "task": run.task, "seed": run.seed, "weights": digest(*model.state_dict().values())}
    kept = run.folder / "parts" / f"{run.task}-audit-{run.seed}.json"
    return part(kept, key, lambda: audited(model, task_of(run.task), config["audit_length"], config["audit_samples"]))


def summary(found: dict[str, Any], config: dict[str, Any], task: str) -> dict[str, Any]:
    """Put the numbers that were predicted into one table.

    Args:
        found: by seed, then by model, as `one_run` returns it.
        config: the preset's settings.
        task: name of the task.

    Returns:
        By model: parameters, and means and extremes over seeds of accuracy. Of models that iterate, for every length: after one iteration,
        after the largest number in training, at the best number, and the best beyond training; where it is first reached.
    """
    trained = settings(config, task)["training"]["depths"][1]
    iterations = config["measure"]["iterations"]
    rows: dict[str, Any] = {}
    for name in MODELS:
        models = [models[name] for models in found.values() if name in models]
        if not models:
            continue
        row: dict[str, Any] = {"parameters": models[0]["parameters"], "seeds": len(models)}
        for factor in config["measure"]["lengths"]:
            scores = [model["scores"][str(factor)]["accuracy"] for model in models]
            if name in _RECURRENT:
                row[str(factor)] = _iterated([dict(zip(iterations, one, strict=True)) for one in scores], trained)
            else:
                row[str(factor)] = _spread(scores)
        rows[name] = row
    return rows


def _iterated(curves: list[dict[int, float]], trained: int) -> dict[str, Any]:
    within = max(t for t in curves[0] if t <= trained)
    beyond = [t for t in curves[0] if t > trained]
    return {
        "one": _spread([one[min(one)] for one in curves]),
        "trained": _spread([one[within] for one in curves]),
        "best": _spread([max(one.values()) for one in curves]),
        "beyond": _spread([max(one[t] for t in beyond) for one in curves]) if beyond else None,
        "best_at": [max(one, key=lambda t: (one[t], -t)) for one in curves],
        "trained_iterations": within,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": mean(values), "least": min(values), "largest": max(values)}
