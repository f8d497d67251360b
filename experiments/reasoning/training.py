"""Training of the models of one task and one seed, all on the same questions, each from where it was stopped."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from eqtheory.errors import InputError
from eqtheory.gradients import AdjointWarning
from eqtheory.learned.recurrent_depth import (
    BlockSize,
    ExplicitTransformer,
    RecurrentDepthSize,
    RecurrentDepthTransformer,
)
from eqtheory.solvers import Anderson, Stop
from experiments.common.checkpoints import accelerator, random_generator
from experiments.common.training import Schedule, train
from experiments.reasoning.tasks import NOT_ASKED, TASKS, Chain, Questions
from experiments.reasoning.texts import GENERATORS, TextTask

__all__ = ["MODELS", "Run", "blank", "length_at", "settings", "size_of", "task_of", "train_all", "train_model"]

MODELS = ("recurrent", "equilibrium", "same_parameters", "same_depth")
"""Iterated a random number of times; solved for its fixed point; and two explicit models."""
_ORDER = ("pointer_chasing", "symmetric_group", "modular_arithmetic", *GENERATORS)


@dataclass(frozen=True, slots=True)
class Run:
    """Models of one task and one seed.

    Args:
        config: the preset's settings.
        task: name of the task.
        seed: of weights, questions and depths.
        folder: of checkpoints.
    """

    config: dict[str, Any]
    task: str
    seed: int
    folder: Path

    def path(self, name: str) -> Path:
        """Say where a model's checkpoint is.

        Args:
            name: of the model.

        Returns:
            The file.
        """
        return self.folder / f"{self.task}-{name}-{self.seed}.safetensors"


def task_of(name: str) -> Chain:
    """Build a task.

    Args:
        name: one of `TASKS`, or a generator of reasoning-gym.

    Returns:
        The task.

    Raises:
        InputError: no such task.
    """
    if name in TASKS:
        return TASKS[name]()
    if name in GENERATORS:
        return TextTask(name)
    raise InputError("task", repr(name), f"one of {', '.join(_ORDER)}", "see config.toml")


def settings(config: dict[str, Any], task: str) -> dict[str, Any]:
    """Put together what holds for a task: sizes and training, with what is set for it alone.

    Args:
        config: the preset's settings.
        task: name of the task.

    Returns:
        `model` and `training`.
    """
    only = config.get("only", {}).get(task, {})
    return {part: {**config[part], **only.get(part, {})} for part in ("model", "training")}


def size_of(config: dict[str, Any], task: str, vocabulary: int) -> RecurrentDepthSize:
    """Say how large the recurrent model of a task is.

    Args:
        config: the preset's settings.
        task: name of the task.
        vocabulary: its number of tokens.

    Returns:
        The size.
    """
    given = settings(config, task)["model"]
    block = BlockSize(**{key: given[key] for key in ("width", "heads", "feedforward", "rotated")})
    return RecurrentDepthSize(vocabulary, block, given["prelude"], given["core"], given["coda"])


def blank(name: str, run: Run) -> nn.Module:
    """Build a model with its initial weights.

    Args:
        name: one of `MODELS`.
        run: task, seed and settings.

    Returns:
        The module.

    Raises:
        InputError: no such model.
    """
    if name not in MODELS:
        raise InputError("model", repr(name), f"one of {', '.join(MODELS)}", "see config.toml")
    size = size_of(run.config, run.task, task_of(run.task).vocabulary)
    draw = random_generator(run.seed, _ORDER.index(run.task), 0)
    if name == "same_parameters":
        return ExplicitTransformer.of_same_parameters(size, generator=draw)
    if name == "same_depth":
        largest = settings(run.config, run.task)["training"]["depths"][1]
        return ExplicitTransformer.of_same_depth(size, largest, generator=draw)
    return RecurrentDepthTransformer(size, generator=draw)


def train_model(name: str, run: Run, watch: Callable[[int, float], None] | None = None) -> nn.Module:
    """Train one model, from its last checkpoint if there is one.

    Args:
        name: one of `MODELS`.
        run: task, seed and settings.
        watch: called with step and loss at each checkpoint.

    Returns:
        The trained model.
    """
    given, task, where = settings(run.config, run.task), task_of(run.task), accelerator()
    stage = given["training"]
    model = blank(name, run).to(where)

    def loss(step: int) -> Tensor:
        # Questions depend on seed and step alone, so that all models see the same ones.
        draw = random_generator(run.seed, _ORDER.index(run.task), 1, step)
        questions = task.draw(stage["batch"], length_at(step, stage), draw)
        logits = _logits(name, model, questions, stage, draw, where)
        answers = questions.answers.to(where)
        return functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=NOT_ASKED)

    about = {"task": run.task, "model": name, "seed": run.seed, "size": given["model"], "training": stage}
    schedule = Schedule(stage["steps"], stage["rate"], warm_up=stage["warm_up"], every=run.config["every"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AdjointWarning)
        train(model, loss, schedule, checkpoint=run.path(name), config=about, watch=watch)
    return model


def length_at(step: int, stage: dict[str, Any]) -> int:
    """Say how long chains are at a step of training: from two steps up, in equal parts, then of full length.

    Args:
        step: of training, from 0.
        stage: settings of training; `ramp` is the part of it in which chains grow.

    Returns:
        Steps of the chain.
    """
    grown = step / max(1.0, stage["ramp"] * stage["steps"])
    return min(stage["length"], 2 + int(grown * (stage["length"] - 1)))


def _logits(
    name: str,
    model: nn.Module,
    questions: Questions,
    stage: dict[str, Any],
    draw: torch.Generator,
    where: torch.device,
) -> Tensor:
    tokens, visible = questions.tokens.to(where), questions.visible.to(where)
    if not isinstance(model, RecurrentDepthTransformer):
        return model(tokens, visible)
    x = model.embed(tokens, visible)
    low, high = stage["depths"]
    depth = int(torch.randint(low, high + 1, (), generator=draw))
    # Starts from zero to as large as states are, so that where one started comes not to matter.
    scale = stage["start"] * float(torch.rand((), generator=draw))
    y0 = model.start(x, scale=scale, generator=draw)
    if name == "equilibrium":
        stop = Stop(rtol=stage["rtol"], max_steps=depth)
        return model.read(model.equilibrium(x, stop=stop, solver=Anderson(), y0=y0).value, x.visible)
    return model.read(model.latent(x, depth, y0=y0, through=stage["through"]), x.visible)


def train_all(run: Run, only: list[str] | None = None) -> dict[str, nn.Module]:
    """Train every model of a task and a seed; what is finished already is read.

    Args:
        run: task, seed, settings and checkpoints.
        only: names of models; those of the preset by default.

    Returns:
        The trained models by name.
    """
    torch.set_num_threads(run.config["threads"])
    chosen = run.config["models"] if only is None else only
    return {name: train_model(name, run, _printer(name, run)) for name in chosen}


def _printer(name: str, run: Run) -> Callable[[int, float], None]:
    return lambda step, loss: print(f"{run.task}, {name}, seed {run.seed}: step {step}, loss {loss:.4f}", flush=True)
