"""Pre-training of the denoiser, which equilibrium models, unrolled ones and plug-and-play all start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqtheory.learned import Denoiser, DenoiserSize
from experiments.common.checkpoints import accelerator, random_generator
from experiments.common.training import Schedule, Trained, train
from experiments.imaging.photographs import Photographs

__all__ = ["about_pretraining", "new_denoiser", "pretrain", "pretraining_schedule"]


def new_denoiser(size: str, *seed: int) -> Denoiser:
    """Build a denoiser with its initial weights.

    Args:
        size: a name of `DenoiserSize`, in any case.
        *seed: of the weights.

    Returns:
        The network, in the memory layout in which convolutions are fastest.
    """
    network = Denoiser(DenoiserSize[size.upper()], generator=random_generator(*seed, 0))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def pretraining_schedule(config: dict[str, Any]) -> Schedule:
    """Say for how long a denoiser is trained, and at what rates.

    Args:
        config: the preset's settings.

    Returns:
        The schedule.
    """
    stage = config["pretraining"]
    return Schedule(steps=stage["steps"], rate=stage["rate"], every=config["every"])


def about_pretraining(config: dict[str, Any], seed: int) -> dict[str, Any]:
    """Say what a denoiser is, by what its training depends on.

    Args:
        config: the preset's settings.
        seed: of weights and batches.

    Returns:
        The configuration of its checkpoint, but for the schedule; None stands for the photographs, which are not at hand.
    """
    about = {"stage": "pretraining", "size": config["size"], "patch": config["patch"], "seed": seed}
    return {**about, **config["pretraining"], "photographs": None, "count": None}


def pretrain(
    config: dict[str, Any],
    seed: int,
    photographs: Photographs,
    checkpoint: Path,
    watch: Callable[[int, float], None] | None = None,
) -> tuple[Denoiser, Trained]:
    """Train a denoiser on Gaussian noise of random levels, mean squared error.

    Args:
        config: the preset's settings.
        seed: of weights and batches.
        photographs: what it is trained on.
        checkpoint: where the run is kept.
        watch: called at checkpoints.

    Returns:
        The network and the history.
    """
    place = accelerator()
    network = new_denoiser(config["size"], seed).to(place)
    stage = config["pretraining"]

    def loss(step: int) -> Tensor:
        draw = random_generator(seed, 1, step)
        clean = photographs.batch(stage["batch"], config["patch"], draw)
        level = stage["largest_noise"] * torch.rand(len(clean), 1, 1, 1, generator=draw)
        noisy = clean + level * torch.randn(clean.shape, generator=draw)
        clean, noisy, level = clean.to(place), noisy.to(place), level.to(place)
        return (network(noisy.contiguous(memory_format=torch.channels_last), level) - clean).square().mean()

    schedule = pretraining_schedule(config)
    about = about_pretraining(config, seed) | {"photographs": photographs.source, "count": len(photographs.images)}
    return network, train(network, loss, schedule, checkpoint=checkpoint, config=about, watch=watch)
