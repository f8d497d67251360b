"""A training loop that can be killed at any moment and goes on to the same result.

A step is a function of the parameters, the optimiser's moments and its own number: the batch of step `k` is drawn from
`(seed, k)`, the learning rate is a formula in `k`. So a checkpoint needs no state of any random generator, and a run that
was killed and started again ends, on the same machine, with the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eqtheory.errors import NonFiniteError
from experiments.common.checkpoints import load_tensors, save_tensors

__all__ = ["Run", "Schedule", "Trained", "configuration", "train"]


@dataclass(frozen=True)
class Run:
    """Where the checkpoints of one seed are, and what it is trained on.

    Args:
        config: the preset's settings.
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


@dataclass(frozen=True, slots=True)
class Schedule:
    """Adam with a linear warm-up and a cosine decay to zero.

    Args:
        steps: how many.
        rate: the largest learning rate.
        warm_up: steps until it is reached.
        clip: largest Euclidean norm of the gradient.
        every: steps between checkpoints.
        scalars: factor on the rate of parameters that are single numbers, which Adam moves by one rate a step whatever their gradient.
    """

    steps: int
    rate: float
    warm_up: int = 20
    clip: float = 1.0
    every: int = 100
    scalars: float = 1.0

    def rate_at(self, step: int) -> float:
        """Say the learning rate.

        Args:
            step: number of the step, from 0.

        Returns:
            The rate.
        """
        rise = min(1.0, (step + 1) / max(1, self.warm_up))
        return self.rate * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training run did.

    Args:
        losses: one for each step.
        seconds: of computation, over all starts.
        resumed_at: the step at which this start began.
    """

    losses: list[float]
    seconds: float
    resumed_at: int


def configuration(config: dict[str, Any], schedule: Schedule) -> dict[str, Any]:
    """Say what defines a run.

    Args:
        config: settings, seed, data.
        schedule: steps and rates.

    Returns:
        What its checkpoint is compared with.
    """
    return {**config, "schedule": asdict(schedule)}


def train(
    module: nn.Module,
    loss: Callable[[int], Tensor],
    schedule: Schedule,
    *,
    checkpoint: Path,
    config: dict[str, Any],
    watch: Callable[[int, float], None] | None = None,
) -> Trained:
    """Minimise a loss, from the last checkpoint if there is one.

    Args:
        module: what is trained, in place.
        loss: the loss at the module's present parameters, given the number of the step; it draws its own batch from that number.
        schedule: steps, rates, checkpoints.
        checkpoint: the file that holds parameters, moments and history.
        config: what defines the run; a checkpoint of another configuration is refused.
        watch: called with step and loss at each checkpoint.

    Returns:
        History of the whole run.

    Raises:
        NonFiniteError: a loss or a gradient is not finite; the checkpoint before it is kept.
        ValueError: the checkpoint belongs to another configuration.
    """
    parameters = dict(module.named_parameters())
    groups = [
        {"params": [p for p in parameters.values() if p.ndim > 0], "faster": 1.0},
        {"params": [p for p in parameters.values() if p.ndim == 0], "faster": schedule.scalars},
    ]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]], lr=schedule.rate)
    config = configuration(config, schedule)
    losses, seconds = _resume(module, optimizer, checkpoint, config)
    start, began = len(losses), time.perf_counter()
    for step in range(start, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["faster"] * schedule.rate_at(step)
        optimizer.zero_grad(set_to_none=True)
        value = loss(step)
        value.backward()  # type: ignore[no-untyped-call]
        size = nn.utils.clip_grad_norm_(parameters.values(), schedule.clip)
        if not (math.isfinite(value.item()) and math.isfinite(size.item())):
            raise NonFiniteError(
                "loss",
                came=f"{value.item()} with a gradient of norm {size.item()} at step {step}",
                needed="finite numbers",
                remedy=f"lower the learning rate; {checkpoint.name} still holds the last good parameters",
            )
        optimizer.step()
        losses.append(value.item())
        if (step + 1) % schedule.every == 0 or step + 1 == schedule.steps:
            spent = seconds + time.perf_counter() - began
            _save(module, optimizer, checkpoint, {"config": config, "losses": losses, "seconds": spent})
            if watch is not None:
                recent = losses[-schedule.every :]
                watch(step + 1, sum(recent) / len(recent))
    return Trained(losses, seconds + time.perf_counter() - began, start)


def _resume(
    module: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path, config: dict[str, Any]
) -> tuple[list[float], float]:
    if not checkpoint.exists():
        return [], 0.0
    tensors, about = load_tensors(checkpoint)
    if about["config"] != config:
        different = sorted(key for key in {*about["config"], *config} if about["config"].get(key) != config.get(key))
        raise ValueError(
            f"checkpoint: {checkpoint.name} was made with another {', '.join(different)}; needed the same configuration; "
            "delete it to train anew"
        )
    module.load_state_dict(_part(tensors, "module."))
    moments = _part(tensors, "optimizer.")
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in moments.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return list(about["losses"]), float(about["seconds"])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _save(module: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path, about: dict[str, Any]) -> None:
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    save_tensors(checkpoint, tensors, about)
