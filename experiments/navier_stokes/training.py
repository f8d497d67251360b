"""Training of all operators of one seed on the same batches, with the same number of steps."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from eqtheory.gradients import AdjointWarning, Gradient, Implicit, OnAdjointFailure, Phantom, fixed_point
from eqtheory.learned import ExplicitFourierOperator, FourierSize, ImplicitFourierOperator, residual_contraction
from eqtheory.solvers import Anderson, OnFailure, Picard, Solver, Stop
from experiments.common.checkpoints import accelerator, random_generator
from experiments.common.training import Run, Schedule, Trained, train
from experiments.navier_stokes.pairs import Pairs, turned

__all__ = [
    "GRADIENTS",
    "Run",
    "about",
    "build",
    "draw_batch",
    "names",
    "relative_error",
    "schedule_of",
    "settings",
    "train_all",
    "train_model",
]

Model = ExplicitFourierOperator | ImplicitFourierOperator
GRADIENTS: dict[str, Gradient] = {
    "": Phantom(steps=4, relaxation=1.0),
    "gradient": Implicit(
        stop=Stop(rtol=1e-2, max_steps=30), on_failure=OnAdjointFailure.WARN, expects_contraction=False
    ),
}
"""How implicit models are trained, by what follows in their names: through the last four steps, or through the equation. An adjoint that is
not solved to the tolerance is used as far as it came."""
ELSEWHERE = ("seeds", "measure", "deeper", "wider", "variants", "only", "every")
"""Settings that say nothing about a single model."""
ITERATED = (
    *("largest_norm", "relaxation", "unrolled", "unrolled_steps", "rtol", "max_steps"),
    *("factor", "penalty", "watched", "anderson"),
)
"""Settings that say nothing about a model that is applied once."""


def names(config: dict[str, Any], seed: int) -> list[str]:
    """List the models of a preset.

    Args:
        config: the preset's settings for learned operators.
        seed: variants belong to the first one only.

    Returns:
        Names, in the order in which they are trained.
    """
    deeper = [f"deeper{blocks}" for blocks in config["deeper"]]
    found = ["implicit", "explicit", *deeper, *(f"wider{factor}" for factor in config["wider"])]
    return found + config["variants"] if seed == config["seeds"][0] else found


def settings(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Say how a model is built and trained: the settings of all, and `only` its own where there are such.

    Args:
        name: one of `names`.
        config: the preset's settings for learned operators.

    Returns:
        The settings, overridden.
    """
    return {**config, **config.get("only", {}).get(name, {})}


def _read_name(name: str, config: dict[str, Any]) -> tuple[str, int, str]:
    """Read a name.

    Returns:
        A kind, how many times deeper or wider, and what follows.

    Raises:
        ValueError: no such name.
    """
    read = re.fullmatch(r"(?:(implicit|explicit)|(deeper|wider)([1-9]\d*))(?:_(\w+))?", name)
    known = read and (not read[4] or name in config.get("only", {}) or (read[1] == "implicit" and read[4] in GRADIENTS))
    if read is None or not known:
        message = (
            f"model: got {name!r}; needed implicit, explicit, deeper or wider with a number, such as deeper4, "
            "implicit_gradient, or a name that has settings of its own (`only`); see names()"
        )
        raise ValueError(message)
    return read[1] or read[2], int(read[3] or 1), read[4] or ""


def schedule_of(name: str, config: dict[str, Any]) -> Schedule:
    """Say for how long a model is trained, and at what rates.

    Args:
        name: one of `names`.
        config: the preset's settings for learned operators.

    Returns:
        The schedule.
    """
    how = settings(name, config)
    return Schedule(steps=how["steps"], rate=how["rate"], warm_up=how["warm_up"], every=how["every"])


def about(name: str, run: Run, data: str | None = None) -> dict[str, Any]:
    """Say what a model is, by what its training depends on.

    Args:
        name: one of `names`.
        run: its training run.
        data: digest of what it is trained on, None where that is not at hand.

    Returns:
        The configuration of its checkpoint, but for the schedule.
    """
    left_out = ELSEWHERE if _read_name(name, run.config)[0] == "implicit" else (*ELSEWHERE, *ITERATED)
    how = {key: value for key, value in settings(name, run.config).items() if key not in left_out}
    return {"stage": name, "seed": run.seed, **how, "data": data}


def build(name: str, config: dict[str, Any], seed: int) -> Model:
    """Build a model with the weights it begins with.

    Args:
        name: one of `names`: `implicit` or `implicit_gradient`; `explicit`, one block; `deeper4`, four blocks with weights of their own;
            `wider2`, one block of twice the width. What else follows an underscore names settings of its own.
        config: the preset's settings for learned operators.
        seed: of the weights.

    Returns:
        The model before its training.

    Raises:
        ValueError: no such name.
    """
    (kind, factor, _), how = _read_name(name, config), settings(name, config)
    generator = random_generator(seed, 1)
    size = FourierSize(how["width"], how["modes"], how["layers"])
    if kind == "implicit":
        limited = replace(size, largest_norm=how["largest_norm"] or None)
        return ImplicitFourierOperator(limited, relaxation=how["relaxation"], generator=generator)
    if kind == "wider":
        return ExplicitFourierOperator(replace(size, width=size.width * factor), generator=generator)
    return ExplicitFourierOperator(size, factor, generator=generator)


def draw_batch(pairs: tuple[Tensor, Tensor], size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw samples, each seen from a random side.

    Args:
        pairs: inputs and targets, shape `(samples, 1, x, x)`.
        size: of the batch.
        generator: of numbers and symmetries.

    Returns:
        Inputs and targets, shape `(size, 1, x, x)`.
    """
    at = torch.randint(len(pairs[0]), (size,), generator=generator)
    sides = torch.randint(8, (size,), generator=generator).tolist()
    inputs, targets = (
        torch.stack([turned(part[i], side) for i, side in zip(at.tolist(), sides, strict=True)]) for part in pairs
    )
    return inputs, targets


def relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Measure errors relative to what was wanted, in l2.

    Args:
        found: shape `(batch, 1, x, y)`.
        wanted: of the same shape.

    Returns:
        Shape `(batch,)`.
    """
    return (found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)


def train_model(
    name: str, run: Run, pairs: Pairs, watch: Callable[[int, float], None] | None = None
) -> tuple[Model, Trained]:
    """Train one model on the mean relative error.

    Implicit models begin with plain iterations that are differentiated throughout (`unrolled` of them, for `unrolled_steps` steps) and
    go on with solves; a penalty keeps the observed contraction of the residual below a factor in both.

    Args:
        name: one of `names`.
        run: seed and checkpoints.
        pairs: what it is trained on.
        watch: called at checkpoints.

    Returns:
        The model and its history.
    """
    config, place = settings(name, run.config), accelerator()
    model = build(name, run.config, run.seed).to(place)
    inputs, targets = (part.to(place) for part in pairs.fields(config["scale"]))

    def loss(step: int) -> Tensor:
        x, wanted = draw_batch((inputs, targets), config["batch"], random_generator(run.seed, 2, step))
        if isinstance(model, ImplicitFourierOperator):
            return _implicit_loss(name, model, x, wanted, config, step)
        return relative_error(model(x), wanted).mean()

    schedule = schedule_of(name, run.config)
    kept = about(name, run, pairs.digest)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AdjointWarning)
        return model, train(model, loss, schedule, checkpoint=run.path(name), config=kept, watch=watch)


def _implicit_loss(
    name: str, model: ImplicitFourierOperator, x: Tensor, wanted: Tensor, config: dict[str, Any], step: int
) -> Tensor:
    operator = model.operator()
    injected = operator.encode(x)
    if step < config["unrolled_steps"]:
        z = operator.initial_state(injected)
        for _ in range(config["unrolled"]):
            z = operator(z, injected)
    else:
        solver: Solver[Any] = Anderson() if config["anderson"] else Picard()
        stop = Stop(rtol=config["rtol"], max_steps=config["max_steps"])
        gradient = GRADIENTS.get(name.partition("_")[2], GRADIENTS[""])
        z = fixed_point(
            operator, injected, solver=solver, stop=stop, gradient=gradient, on_failure=OnFailure.RETURN
        ).value
    watched = max(1, round(config["watched"] * len(x)))  # samples whose contraction is looked at
    factor = residual_contraction(operator, z[:watched], tuple(part[:watched] for part in injected))
    excess = (factor - config["factor"]).relu().square().mean()
    return relative_error(model.decoder(z), wanted).mean() + config["penalty"] * excess


def train_all(run: Run, pairs: Pairs, only: list[str] | None = None) -> dict[str, Model]:
    """Train every model of one seed; what is finished already is read.

    Args:
        run: seed, settings and checkpoints.
        pairs: what they are trained on.
        only: names of models; all by default.

    Returns:
        The trained models by name.
    """
    torch.set_num_threads(run.config["threads"])
    trained: dict[str, Model] = {}
    for name in names(run.config, run.seed) if only is None else only:
        trained[name], done = train_model(name, run, pairs, _printer(name, run.seed))
        print(f"{name}, seed {run.seed}: {done.seconds:.0f} seconds", flush=True)
    return trained


def _printer(name: str, seed: int) -> Callable[[int, float], None]:
    return lambda step, loss: print(f"{name}, seed {seed}: step {step}, loss {loss:.5f}", flush=True)
