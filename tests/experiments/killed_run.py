"""A small training run, and a process that runs it and is killed at one moment of one of its checkpoints.

`python -m tests.experiments.killed_run FOLDER MOMENT`
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from experiments.common.checkpoints import random_generator
from experiments.common.training import Schedule, train

STEPS, EVERY, SAVE = 12, 3, 3
"""Steps of the run, steps between checkpoints, and the checkpoint at which it is killed."""


def quadratic(steps: int, folder: Path, watch: Callable[[int, float], None] | None = None) -> Tensor:
    module = torch.nn.Linear(3, 2)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.linspace(-1, 1, p.numel()).reshape(p.shape))

    def loss(step: int) -> Tensor:
        x = torch.randn(4, 3, generator=random_generator(7, step))
        return (module(x) - x[:, :2]).square().mean()

    train(
        module,
        loss,
        Schedule(steps, 1e-2, every=EVERY),
        checkpoint=folder / "run.safetensors",
        config={"a": 1},
        watch=watch,
    )
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def _before(path: Path, *_: Any, **__: Any) -> None:
    """The old checkpoint is there, nothing of the new one."""


def _half(path: Path, *_: Any, **__: Any) -> None:
    """Some bytes of the new one were written."""
    path.write_bytes(b"\x10\x01")


MOMENTS: dict[str, tuple[str, Callable[..., None]]] = {
    "before writing": ("pathlib.Path.open", _before),
    "while writing": ("pathlib.Path.open", _half),
    "before the bytes are safe": ("os.fsync", _before),
    "before the new file takes its place": ("pathlib.Path.replace", _before),
}


def main(folder: Path, moment: str) -> None:
    name, prepare = MOMENTS[moment]
    owner, _, attribute = name.rpartition(".")
    target: Any = {"pathlib.Path": Path, "os": os}[owner]
    original, calls = getattr(target, attribute), 0

    def watched(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == SAVE:
            with mock.patch.object(target, attribute, original):
                prepare(*arguments, **keywords)
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **keywords)

    with mock.patch.object(target, attribute, watched):
        quadratic(STEPS, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
