"""Training of all models of one seed: the denoiser first, then each model from the same denoiser, on the same batches."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from eqtheory.constructions import CircularBlur
from eqtheory.gradients import AdjointWarning, Gradient, Implicit, OnAdjointFailure, OneStep, Phantom
from eqtheory.learned import Denoiser, residual_contraction
from eqtheory.solvers import Anderson, Stop
from experiments.common.checkpoints import accelerator, digest, random_generator
from experiments.common.training import Run, Schedule, Trained, train
from experiments.imaging.denoising import about_pretraining, new_denoiser, pretrain, pretraining_schedule
from experiments.imaging.models import ImplicitModel, OnePass, Unrolled, observe
from experiments.imaging.photographs import Photographs, kernel_of_reference, split

__all__ = [
    "GRADIENTS",
    "Run",
    "about",
    "blank",
    "build",
    "names",
    "schedule_of",
    "settings",
    "train_all",
    "train_model",
]

Model = ImplicitModel | OnePass | Unrolled
GRADIENTS: dict[str, Gradient] = {
    "": Phantom(steps=4, relaxation=1.0),
    "jacobian_free": OneStep(),
    "implicit_gradient": Implicit(
        stop=Stop(rtol=1e-2, max_steps=30), on_failure=OnAdjointFailure.WARN, expects_contraction=False
    ),
}
"""How equilibrium models can be trained, by what follows the kind of operator in their names: the last four steps are differentiated, the
last one alone, or the equation. Results report the bias of the first two at the trained parameters. An adjoint that is not solved to
the tolerance is used as far as it came: a step of training does not need it exactly, and measurements use the exact one."""


def names(config: dict[str, Any]) -> list[str]:
    """List the models of a preset.

    Args:
        config: the preset's settings.

    Returns:
        Names, in the order in which they are trained.
    """
    return ["explicit", "hqs", "pgd", *(f"unrolled{k}" for k in config["stages"]), *config["variants"]]


def settings(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Say how a model is trained: the settings of all, and what its kind of operator needs besides.

    Args:
        name: one of `names`.
        config: the preset's settings.

    Returns:
        The preset's `equilibrium`, overridden by `only` of the kind, where there is one.
    """
    return {**config["equilibrium"], **config.get("only", {}).get(name.partition("_")[0], {})}


def build(name: str, config: dict[str, Any], denoiser: Denoiser) -> Model:
    """Build a model around a copy of a denoiser.

    Args:
        name: one of `names`.
        config: the preset's settings.
        denoiser: the pre-trained network.

    Returns:
        The model before its own training.
    """
    start, network = config["start"], copy.deepcopy(denoiser)
    if name == "explicit":
        return OnePass(network, level=config["noise"])
    if name.startswith("unrolled"):
        return Unrolled(network, int(name.removeprefix("unrolled")), step=start["beta"], level=start["hqs_level"])
    if name.startswith("hqs"):
        return ImplicitModel(network, splitting=True, step=start["beta"], level=start["hqs_level"])
    return ImplicitModel(network, splitting=False, step=start["gamma"], level=start["pgd_level"])


def schedule_of(name: str, config: dict[str, Any]) -> Schedule:
    """Say for how long a model, or the denoiser, is trained, and at what rates.

    Args:
        name: one of `names`, or `denoiser`.
        config: the preset's settings.

    Returns:
        The schedule.
    """
    if name == "denoiser":
        return pretraining_schedule(config)
    stage = settings(name, config)
    return Schedule(steps=stage["steps"], rate=stage["rate"], every=config["every"], scalars=stage["scalars"])


def about(name: str, run: Run) -> dict[str, Any]:
    """Say what a model, or the denoiser, is, by what its training depends on.

    Args:
        name: one of `names`, or `denoiser`.
        run: its training run.

    Returns:
        The configuration of its checkpoint, but for the schedule; None stands for what it is trained on, which is not at hand.
    """
    config = run.config
    if name == "denoiser":
        return about_pretraining(config, run.seed)
    return {
        "stage": name,
        "seed": run.seed,
        **{key: config[key] for key in ("size", "patch", "noise", "kernel", "start", "pretraining")},
        "equilibrium": settings(name, config),
        **dict.fromkeys(("photographs", "count", "kernel_digest", "denoiser_digest")),
    }


def train_model(
    name: str,
    run: Run,
    denoiser: Denoiser,
    photographs: Photographs,
    kernel: Tensor,
    watch: Callable[[int, float], None] | None = None,
) -> tuple[Model, Trained]:
    """Train one model on blurred photographs, mean squared error.

    Equilibrium models are solved by Anderson's iteration; a penalty keeps the observed contraction of the residual below a factor. Where
    `depths` are given, each step of training draws its number of iterations from them, so that late iterates are trained as well.

    Args:
        name: one of `names`.
        run: seed and checkpoints.
        denoiser: the pre-trained network.
        photographs: what it is trained on.
        kernel: the blur.
        watch: called at checkpoints.

    Returns:
        The model and its history.
    """
    config, stage = run.config, settings(name, run.config)
    place = accelerator()
    model = build(name, config, denoiser).to(place)
    blur = CircularBlur(kernel, (config["patch"], config["patch"]))
    gradient = GRADIENTS[name.partition("_")[2]]
    depths, solver = stage.get("depths", [stage["max_steps"]]), Anderson()

    def loss(step: int) -> Tensor:
        draw = random_generator(run.seed, 2, step)
        clean = photographs.batch(stage["batch"], config["patch"], draw).to(place)
        x = observe(clean, blur, config["noise"], draw)
        if not isinstance(model, ImplicitModel):
            return (model(x, blur) - clean).square().mean()
        stop = Stop(rtol=stage["rtol"], max_steps=depths[_pick(run.seed, step, len(depths))])
        value = model.solve(x, blur, stop=stop, solver=solver, gradient=gradient).value
        factor = residual_contraction(model.operator(blur), value, x)
        excess = (factor - stage["factor"]).relu().square().mean()
        return (value - clean).square().mean() + stage["penalty"] * excess

    kept = {
        **about(name, run),
        "photographs": photographs.source,
        "count": len(photographs.images),
        "kernel_digest": digest(kernel),
        "denoiser_digest": digest(*denoiser.state_dict().values()),
    }
    schedule = schedule_of(name, config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AdjointWarning)
        return model, train(model, loss, schedule, checkpoint=run.path(name), config=kept, watch=watch)


def train_all(run: Run, only: list[str] | None = None) -> dict[str, nn.Module]:
    """Train the denoiser and every model of one seed; what is finished already is read.

    Args:
        run: seed, settings and checkpoints.
        only: names of models; all by default.

    Returns:
        The trained models by name, `denoiser` among them.
    """
    torch.set_num_threads(run.config["threads"])
    photographs = split("train", run.config["photographs"])
    kernel, _ = kernel_of_reference(run.config["kernel"])
    denoiser, _ = pretrain(run.config, run.seed, photographs, run.path("denoiser"), _printer("denoiser", run.seed))
    trained: dict[str, nn.Module] = {"denoiser": denoiser}
    for name in names(run.config) if only is None else only:
        model, _ = train_model(name, run, denoiser, photographs, kernel, _printer(name, run.seed))
        trained[name] = model
    return trained


def _pick(seed: int, step: int, count: int) -> int:
    return int(torch.randint(count, (), generator=random_generator(seed, 3, step)))


def blank(name: str, config: dict[str, Any]) -> nn.Module:
    """Build a model, or the denoiser, to read a checkpoint into.

    Args:
        name: one of `names`, or `denoiser`.
        config: the preset's settings.

    Returns:
        The module with meaningless weights.
    """
    denoiser = new_denoiser(config["size"], 0)
    return denoiser if name == "denoiser" else build(name, config, denoiser)


def _printer(name: str, seed: int) -> Callable[[int, float], None]:
    return lambda step, loss: print(f"{name}, seed {seed}: step {step}, loss {loss:.5f}", flush=True)
