"""Training of all operators of one seed on the same batches, with the same number of steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqtheory.gradients import AdjointWarning, Gradient, Implicit, OnAdjointFailure, Phantom, fixed_point
from eqtheory.learned import ExplicitFourierOperator, FourierSize, ImplicitFourierOperator, residual_contraction
from eqtheory.solvers import Anderson, OnFailure, Picard, Solver, Stop
from experiments.common.checkpoints import accelerator, random_generator
from experiments.common.training import Schedule, Trained, train
from experiments.navier_stokes.pairs import Pairs, turned

__all__ = ["GRADIENTS", "Run", "build", "draw_batch", "names", "relative_error", "train_all", "train_model"]

Model = ExplicitFourierOperator | ImplicitFourierOperator
GRADIENTS: dict[str, Gradient] = {
    "": Phantom(steps=4, relaxation=1.0),
    "gradient": Implicit(
        stop=Stop(rtol=1e-2, max_steps=30), on_failure=OnAdjointFailure.WARN, expects_contraction=False
    ),
}
"""How implicit models are trained, by what follows in their names: through the last four steps, or through the equation. An adjoint that is
not solved to the tolerance is used as far as it came."""


@dataclass(frozen=True)
class Run:
    """Where the checkpoints of one seed are, and what is trained.

    Args:
        config: the preset's settings for learned operators.
        seed: of weights and batches.
        folder: of checkpoints.
    """

    config: dict[str, Any]
    seed: int
    folder: Path

    def path(self, name: str) -> Path:
        """Say where a model's training is kept.

        Args:
            name: of the model.

        Returns:
            The checkpoint.
        """
        return self.folder / f"{name}-{self.seed}.safetensors"


def names(config: dict[str, Any]) -> list[str]:
    """List the models of a preset.

    Args:
        config: the preset's settings for learned operators.

    Returns:
        Names, in the order in which they are trained.
    """
    deeper = [f"deeper{blocks}" for blocks in config["deeper"]]
    return ["implicit", "explicit", *deeper, *(f"wider{factor}" for factor in config["wider"]), *config["variants"]]


def build(name: str, config: dict[str, Any], seed: int) -> Model:
    """Build a model with the weights it begins with.

    Args:
        name: one of `names`: `implicit` or `implicit_gradient`; `explicit`, one block; `deeper4`, four blocks with weights of their own;
            `wider2`, one block of twice the width.
        config: the preset's settings for learned operators.
        seed: of the weights.

    Returns:
        The model before its training.
    """
    generator = random_generator(seed, 1)
    size = FourierSize(config["width"], config["modes"], config["layers"])
    if name.startswith("implicit"):
        limited = replace(size, largest_norm=config["largest_norm"] or None)
        return ImplicitFourierOperator(limited, relaxation=config["relaxation"], generator=generator)
    if name.startswith("wider"):
        return ExplicitFourierOperator(
            replace(size, width=size.width * int(name.removeprefix("wider"))), generator=generator
        )
    blocks = int(name.removeprefix("deeper")) if name.startswith("deeper") else 1
    return ExplicitFourierOperator(size, blocks, generator=generator)


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
    config, place = run.config, accelerator()
    model = build(name, config, run.seed).to(place)
    inputs, targets = (part.to(place) for part in pairs.fields(config["scale"]))

    def loss(step: int) -> Tensor:
        x, wanted = draw_batch((inputs, targets), config["batch"], random_generator(run.seed, 2, step))
        if isinstance(model, ImplicitFourierOperator):
            return _implicit_loss(name, model, x, wanted, config, step)
        return relative_error(model(x), wanted).mean()

    about = {
        "stage": name,
        "seed": run.seed,
        **{key: value for key, value in config.items() if key not in ("seeds", "measure", "variants", "every")},
        "data": pairs.digest,
    }
    schedule = Schedule(steps=config["steps"], rate=config["rate"], warm_up=config["warm_up"], every=config["every"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AdjointWarning)
        return model, train(model, loss, schedule, checkpoint=run.path(name), config=about, watch=watch)


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
        gradient = GRADIENTS[name.partition("_")[2]]
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
    for name in names(run.config) if only is None else only:
        trained[name], done = train_model(name, run, pairs, _printer(name, run.seed))
        print(f"{name}, seed {run.seed}: {done.seconds:.0f} seconds", flush=True)
    return trained


def _printer(name: str, seed: int) -> Callable[[int, float], None]:
    return lambda step, loss: print(f"{name}, seed {seed}: step {step}, loss {loss:.5f}", flush=True)
