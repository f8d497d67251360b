"""Training of the networks of one seed: explicit and implicit ones of each width, with the same features, batches and steps."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eqtheory.gradients import (
    AdjointWarning,
    Gradient,
    Implicit,
    OnAdjointFailure,
    OneStep,
    Phantom,
    Unrolled,
    fixed_point,
)
from eqtheory.learned import MessagePassing, ProgramOperator, ScaledProgram, residual_contraction, scaled
from eqtheory.nests import map_tensors
from eqtheory.solvers import OnFailure, Stop
from experiments.common.checkpoints import digest, random_generator
from experiments.common.training import Run, Schedule, Trained, train
from experiments.linear_programming.instances import training_set
from experiments.linear_programming.reference import References

__all__ = [
    "GRADIENTS",
    "Kind",
    "Run",
    "about",
    "build",
    "kind_of",
    "names",
    "relative_errors",
    "schedule_of",
    "settings",
    "train_all",
    "train_model",
]

GRADIENTS: dict[str, Gradient] = {
    "": Phantom(steps=6, relaxation=1.0),
    "jacobian_free": OneStep(),
    "implicit_gradient": Implicit(
        stop=Stop(rtol=1e-2, max_steps=30), on_failure=OnAdjointFailure.WARN, expects_contraction=False
    ),
}
"""How fixed points are differentiated, by what follows the width in a name: six steps beyond the iterate, one, or the equation. An
adjoint that is not solved to the tolerance is used as far as it came: a step of training does not need it exactly."""

LONGER = "longer"
"""What follows the width of an explicit model whose own settings, in `config.toml`, train it for as long as the implicit one takes."""


@dataclass(frozen=True)
class Kind:
    """What a model is.

    Args:
        implicit: whether its block is iterated.
        width: channels.
        rounds: of messages in a block.
        gradient: how its fixed points are differentiated.
    """

    implicit: bool
    width: int
    rounds: int
    gradient: Gradient


def names(config: dict[str, Any], seed: int) -> list[str]:
    """List the models of a preset.

    Args:
        config: the preset's settings.
        seed: wide models and variants belong to the first one only.

    Returns:
        Names, in the order in which they are trained.
    """
    how = config["learning"]
    found = [f"{kind}{width}" for width in how["widths"] for kind in ("explicit", "implicit")]
    if seed == how["seeds"][0]:
        found += [f"{kind}{width}" for width in how["wide"] for kind in ("explicit", "implicit")]
        found += how["variants"]
    return found


def settings(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Say how a model is trained: the settings of all, and `only` its own where there are such.

    Args:
        name: one of `names`.
        config: the preset's settings.

    Returns:
        The preset's `learning`, overridden.
    """
    how = config["learning"]
    return {**how, **how.get("only", {}).get(name, {})}


def kind_of(name: str, config: dict[str, Any]) -> Kind:
    """Read a name: `explicit8`, `explicit8_longer`, `implicit4`, `deep4` (twice the rounds, applied once), `implicit4_implicit_gradient`.

    Args:
        name: of the model.
        config: the preset's settings.

    Returns:
        What it says.

    Raises:
        ValueError: no such name.
    """
    read = re.fullmatch(r"(explicit|implicit|deep)(\d+)(?:_(\w+))?", name)
    after = {"explicit": ("", LONGER), "deep": ("",), "implicit": tuple(GRADIENTS)}
    if read is None or (read[3] or "") not in after[read[1]]:
        message = f"model: got {name!r}; needed a kind and a width, such as explicit8 or implicit4; see names()"
        raise ValueError(message)
    rounds = config["learning"]["rounds"] * (2 if read[1] == "deep" else 1)
    gradient = GRADIENTS[read[3] or ""] if read[1] == "implicit" else GRADIENTS[""]
    return Kind(read[1] == "implicit", int(read[2]), rounds, gradient)


def build(name: str, config: dict[str, Any], seed: int = 0) -> MessagePassing:
    """Build a model's block before its training; an explicit and an implicit one of a width and seed begin alike.

    Args:
        name: one of `names`.
        config: the preset's settings.
        seed: of the weights.

    Returns:
        The block.
    """
    kind = kind_of(name, config)
    draw = random_generator(seed, 0, kind.width)
    return MessagePassing(kind.width, rounds=kind.rounds, memory=config["learning"]["memory"], generator=draw)


def relative_errors(state: Tensor, y: Tensor) -> Tensor:
    """Measure `|y_t - y| / (|y| + 1)`.

    Args:
        state: states that begin with the point.
        y: solutions, shape `(batch, n)`.

    Returns:
        Shape `(batch,)`.
    """
    return torch.linalg.vector_norm(state[:, : y.shape[1]] - y, dim=1) / (torch.linalg.vector_norm(y, dim=1) + 1)


def schedule_of(name: str, config: dict[str, Any]) -> Schedule:
    """Say for how long a model is trained, and at what rates.

    Args:
        name: one of `names`.
        config: the preset's settings.

    Returns:
        The schedule.
    """
    how = settings(name, config)
    return Schedule(steps=how["steps"], rate=how["rate"], every=how["every"])


def about(name: str, run: Run, found: References | None = None) -> dict[str, Any]:
    """Say what a model is, by what its training depends on.

    Args:
        name: one of `names`.
        run: its training run.
        found: what it is trained on, None where that is not at hand.

    Returns:
        The configuration of its checkpoint, but for the schedule.
    """
    elsewhere, how = ("seeds", "widths", "wide", "variants", "every", "only"), settings(name, run.config)
    return {
        "stage": name,
        "seed": run.seed,
        "learning": {key: value for key, value in how.items() if key not in elsewhere},
        "instances": None if found is None else digest(found.program.entries, found.program.c, found.y),
    }


def train_model(name: str, run: Run, found: References, watch: Callable[[int, float], None] | None = None) -> Trained:
    """Train one model; the mean of `relative_errors` is the loss.

    An implicit one begins with a few unrolled iterations. Then it is iterated for a drawn number of steps, beyond which it never saw
    itself, and differentiated by its gradient there, with a penalty on the contraction that its residual shows.

    Args:
        name: one of `names`.
        run: seed and checkpoints.
        found: instances to train on.
        watch: called at checkpoints.

    Returns:
        Its history.
    """
    how, kind = settings(name, run.config), kind_of(name, run.config)
    block = build(name, run.config, run.seed)
    programs, y = single(scaled(found.program)), found.y.float()
    warm = int(how["unrolled_share"] * how["steps"])

    def loss(step: int) -> Tensor:
        draw = random_generator(run.seed, 2, step)
        at = torch.randint(len(y), (how["batch"],), generator=draw)
        x, wanted = map_tensors(lambda t: t.index_select(0, at), programs), y[at]
        if not kind.implicit:
            return relative_errors(block(block.zero_state(x), x), wanted).mean()
        G, early = ProgramOperator(block), step < warm
        longest = how["iterations"]
        steps = how["unrolled"] if early else int(torch.randint(longest // 2, longest + 1, (), generator=draw))
        value = fixed_point(
            G,
            x,
            stop=Stop(rtol=0.0 if early else how["rtol"], max_steps=steps, check_every=steps),
            gradient=Unrolled() if early else kind.gradient,
            on_failure=OnFailure.RETURN,
        ).value
        error = relative_errors(value, wanted).mean()
        if early:
            return error
        excess = (residual_contraction(G, value, x) - how["factor"]).relu().square().mean()
        return error + how["penalty"] * excess

    kept, schedule = about(name, run, found), schedule_of(name, run.config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AdjointWarning)
        return train(block, loss, schedule, checkpoint=run.path(name), config=kept, watch=watch)


def train_all(run: Run, only: list[str] | None = None) -> list[str]:
    """Train every model of one seed; what is finished already is left.

    Args:
        run: seed, settings and checkpoints.
        only: names of models; all by default.

    Returns:
        The names.

    Raises:
        ValueError: a name that is not one of the preset's models of this seed.
    """
    chosen = names(run.config, run.seed) if only is None else only
    for name in chosen:
        if name not in names(run.config, run.seed):
            message = (
                f"only: got {name!r}; needed one of {', '.join(names(run.config, run.seed))}, models of seed {run.seed}"
            )
            raise ValueError(message)
    torch.set_num_threads(run.config["threads"])
    found = training_set(run.config, run.folder)
    for name in chosen:
        train_model(name, run, found, _printer(name, run.seed))
    return chosen


def single(x: ScaledProgram) -> ScaledProgram:
    """Round programs to float32, in which networks are trained.

    Args:
        x: the programs.

    Returns:
        Copies.
    """
    return map_tensors(lambda t: t.float() if t.dtype.is_floating_point else t, x)


def _printer(name: str, seed: int) -> Callable[[int, float], None]:
    return lambda step, loss: print(f"{name}, seed {seed}: step {step}, loss {loss:.4f}", flush=True)
