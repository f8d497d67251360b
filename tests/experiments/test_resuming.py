"""Training runs that are killed, damaged or no longer finite: they go on to the same bits, or say what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from eqtheory.errors import NonFiniteError
from experiments.common.checkpoints import load_module, load_tensors, save_tensors
from experiments.common.training import Schedule, train
from experiments.imaging.measure import FOLDER
from tests.experiments.killed_run import EVERY, MOMENTS, SAVE, STEPS, quadratic


def test_a_run_that_was_interrupted_ends_with_the_same_bits(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(step: int, _: float) -> None:
        if step == 6:
            raise KilledError

    whole = quadratic(20, tmp_path / "whole")
    with pytest.raises(KilledError):
        quadratic(20, tmp_path / "cut", kill)
    _, about = load_tensors(tmp_path / "cut" / "run.safetensors")
    assert len(about["losses"]) == 6
    assert torch.equal(quadratic(20, tmp_path / "cut"), whole)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    quadratic(3, tmp_path)
    with pytest.raises(ValueError, match="another schedule; needed the same configuration; delete it to train anew"):
        quadratic(6, tmp_path)


def test_sigkill_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "EQTHEORY_DATA"} | {"OMP_NUM_THREADS": "1"}

    def command(runs: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "experiments.imaging", "train", "--preset", "smoke", "--models", "hqs"),
            *("--runs", str(runs), "--results", str(tmp_path / "results")),
        ]

    root = FOLDER.parent.parent
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    process = subprocess.Popen(command(cut), cwd=root, env=environment, stdout=subprocess.DEVNULL)
    target = cut / "smoke" / "hqs-0.safetensors"
    deadline = time.monotonic() + 300
    while not target.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert target.exists()
    for runs in (cut, whole):
        subprocess.run(command(runs), cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)
    for name in ("denoiser-0", "hqs-0"):
        one, two = (load_tensors(runs / "smoke" / f"{name}.safetensors")[0] for runs in (cut, whole))
        assert set(one) == set(two)
        assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_while_it_saves_goes_on_from_the_checkpoint_before(tmp_path: Path, moment: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "tests.experiments.killed_run", str(tmp_path), moment],
        cwd=FOLDER.parent.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    _, about = load_tensors(tmp_path / "run.safetensors")
    assert len(about["losses"]) == (SAVE - 1) * EVERY
    assert torch.equal(quadratic(STEPS, tmp_path), quadratic(STEPS, tmp_path / "whole"))


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_tensors(path, {"weight": torch.ones(3)}, {"step": 1})
    with pytest.raises(ValueError, match="holds another architecture"):
        load_module(path, torch.nn.Linear(2, 2))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="is damaged"):
        load_tensors(path)
    with pytest.raises(FileNotFoundError, match="train first"):
        load_tensors(tmp_path / "none.safetensors")


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    module = torch.nn.Linear(1, 1)

    def loss(step: int) -> Tensor:
        return module.weight.sum() * (1.0 if step < 4 else float("nan"))

    path = tmp_path / "run.safetensors"
    with pytest.raises(NonFiniteError, match="at step 4, needed finite numbers; lower the learning rate"):
        train(module, loss, Schedule(9, 1e-2, every=2), checkpoint=path, config={})
    tensors, about = load_tensors(path)
    assert len(about["losses"]) == 4
    assert all(bool(torch.isfinite(t).all()) for t in tensors.values())
