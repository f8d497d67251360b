"""The reasoning experiment: the smoke preset from training to pictures, killing and resuming, models whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from eqtheory.errors import InputError
from eqtheory.learned.recurrent_depth import BlockSize, RecurrentDepthSize, RecurrentDepthTransformer
from experiments.common.checkpoints import load_tensors, random_generator, save_tensors
from experiments.common.record import load_preset
from experiments.reasoning.curves import accuracy_curve, audited, rules
from experiments.reasoning.figures import draw
from experiments.reasoning.measure import FOLDER, exam, measure, summary
from experiments.reasoning.shipped import LARGEST, available, load, ship
from experiments.reasoning.tasks import ModularArithmetic, Questions
from experiments.reasoning.training import MODELS, Run, blank, settings, train_all, train_model

CONFIG = load_preset(FOLDER, "smoke")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoints of a smoke run, and a folder with its shipped models and results."""
    runs, results = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("results")
    for task in CONFIG["tasks"]:
        run = Run(CONFIG, task, 0, runs)
        train_all(run)
        assert ship(run, results) == ["recurrent", "same_parameters"]
    measure("smoke", runs=runs, results=results)
    return runs, results


def test_the_smoke_preset_measures_everything(trained: tuple[Path, Path]) -> None:
    content = json.loads((trained[1] / "reasoning.json").read_text())
    assert content["config"] == {"preset": "smoke", **CONFIG}
    assert set(content["measured"]["tasks"]) == set(CONFIG["tasks"])
    for found in content["measured"]["tasks"].values():
        assert found["seeds"] == [0]
        assert set(found["summary"]) == set(MODELS)
        one = found["models"]["0"]["recurrent"]
        assert [len(one["scores"][factor]["accuracy"]) for factor in ("1", "2")] == [3, 3]
        assert (
            len(one["latent"]["slope"])
            == len(one["latent"]["relative_residual"])
            == CONFIG["measure"]["curve_steps"] + 1
        )
        assert one["latent"]["slope"][0] == 0 < one["latent"]["slope"][1]
        assert one["latent"]["iteration"].startswith("Picard")
        assert len(one["exits"]) == len(rules(4))
        same = found["summary"]["same_parameters"]["parameters"]
        assert found["summary"]["recurrent"]["parameters"] <= same
        assert found["summary"]["recurrent"]["1"]["trained_iterations"] == 3


def test_measuring_again_takes_what_is_there(trained: tuple[Path, Path]) -> None:
    before = (trained[1] / "reasoning.json").read_text()
    times = {path: path.stat().st_mtime_ns for path in (trained[0] / "parts").glob("*.json")}
    assert len(times) == 2 * len(MODELS)
    measure("smoke", runs=trained[0], results=trained[1])
    assert json.loads(before)["measured"] == json.loads((trained[1] / "reasoning.json").read_text())["measured"]
    assert times == {path: path.stat().st_mtime_ns for path in (trained[0] / "parts").glob("*.json")}


def test_pictures_are_drawn_from_results(trained: tuple[Path, Path]) -> None:
    assert [path.name for path in draw(trained[1])] == ["accuracy.png", "latent.png"]
    for path in draw(trained[1]):
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("name", ["recurrent", "equilibrium"])
def test_training_that_is_killed_goes_on_to_the_same_bits(
    name: str, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(step: int, loss: float) -> None:
        if step == 2:
            raise KilledError

    run = Run(CONFIG, "symmetric_group", 0, tmp_path)
    with pytest.raises(KilledError):
        train_model(name, run, kill)
    again = train_model(name, run).state_dict()
    whole = load(name, Run(CONFIG, "symmetric_group", 0, trained[0]), trained[1]).state_dict()
    assert all(torch.equal(again[key], whole[key]) for key in whole)


def test_a_training_that_has_not_ended_is_not_measured(trained: tuple[Path, Path], tmp_path: Path) -> None:
    file = "pointer_chasing-recurrent-0.safetensors"
    tensors, about = load_tensors(trained[0] / file)
    save_tensors(tmp_path / file, tensors, about | {"losses": about["losses"][:2]})
    run = Run(CONFIG, "pointer_chasing", 0, tmp_path)
    with pytest.raises(
        ValueError, match="recurrent of pointer_chasing, seed 0: got 2 of 4 steps; run the command train"
    ):
        load("recurrent", run, tmp_path)
    with pytest.raises(FileNotFoundError, match="equilibrium of pointer_chasing: got no checkpoint of seed 0"):
        load("equilibrium", run, tmp_path)


def test_seeds_that_were_not_trained_are_not_replaced_by_others(trained: tuple[Path, Path]) -> None:
    with pytest.raises(FileNotFoundError, match=r"recurrent of pointer_chasing: got no checkpoint of seeds \[7\]"):
        measure("smoke", runs=trained[0], results=trained[1], seeds=[0, 7])
    shipped = Run(CONFIG, "pointer_chasing", 0, trained[0] / "nothing")
    assert available("recurrent", shipped, trained[1])
    load("recurrent", shipped, trained[1])
    other = Run(CONFIG, "pointer_chasing", 1, trained[0])
    assert not available("recurrent", other, trained[1])
    assert ship(other, trained[1]) == []
    assert sum(path.stat().st_size for path in trained[1].glob("*.safetensors")) <= LARGEST


def test_all_models_are_asked_the_same_and_tests_are_new(tmp_path: Path) -> None:
    run = Run(CONFIG, "symmetric_group", 0, tmp_path)
    one, other = exam(run, 2, 20), exam(Run(CONFIG, "symmetric_group", 1, tmp_path), 2, 20)
    assert torch.equal(one.tokens, other.tokens)
    assert one.tokens.shape == (20, 6)
    with pytest.raises(InputError, match="model: got 'magic', needed one of recurrent, equilibrium"):
        blank("magic", run)


def test_settings_of_a_task_replace_those_of_all() -> None:
    config = load_preset(FOLDER, "cpu")
    assert settings(config, "pointer_chasing")["model"]["rotated"] == 0.5
    assert settings(config, "symmetric_group")["model"]["rotated"] == 1.0
    assert settings(config, "pointer_chasing")["training"] == config["training"]


def test_the_summary_says_what_was_predicted() -> None:
    config = {
        "training": {"depths": [1, 4]},
        "model": {},
        "measure": {"iterations": [1, 4, 8, 16], "lengths": [1, 2]},
    }
    curves = {"1": [0.1, 0.9, 1.0, 1.0], "2": [0.0, 0.2, 0.7, 0.6]}
    recurrent = {"parameters": 10, "scores": {factor: {"accuracy": values} for factor, values in curves.items()}}
    explicit = {"parameters": 11, "scores": {factor: {"accuracy": 0.3} for factor in curves}}
    found = summary({"0": {"recurrent": recurrent, "same_parameters": explicit}}, config, "symmetric_group")
    assert list(found) == ["recurrent", "same_parameters"]
    easy, hard = found["recurrent"]["1"], found["recurrent"]["2"]
    assert (easy["one"]["mean"], easy["trained"]["mean"], easy["best"]["mean"], easy["best_at"]) == (0.1, 0.9, 1.0, [8])
    assert (hard["trained"]["mean"], hard["beyond"]["largest"], hard["best_at"]) == (0.2, 0.7, [8])
    assert found["same_parameters"]["2"] == {"mean": 0.3, "least": 0.3, "largest": 0.3}


def test_accuracy_follows_the_iterations() -> None:
    task = ModularArithmetic(3)
    model = RecurrentDepthTransformer(
        RecurrentDepthSize(task.vocabulary, BlockSize(8, 2, 8)), generator=random_generator(1)
    ).requires_grad_(requires_grad=False)
    asked = task.draw(40, 3, random_generator(2))
    found = accuracy_curve(model, asked, [1, 2, 5])
    for k, t in enumerate((1, 2, 5)):
        said = model(asked.tokens, steps=t).argmax(dim=-1)
        assert found["accuracy"][k] == pytest.approx(float((said[:, -1] == asked.answers[:, -1]).double().mean()))
    # Answers taken from the model itself are all right, so the score sees what it should.
    answers = torch.where(asked.asked, model(asked.tokens, steps=5).argmax(dim=-1), asked.answers)
    own = accuracy_curve(model, Questions(asked.tokens, asked.visible, answers), [5])
    assert own["accuracy"] == own["exact"] == [1.0]


def test_the_core_is_audited_as_an_operator() -> None:
    task = ModularArithmetic(3)
    model = RecurrentDepthTransformer(
        RecurrentDepthSize(task.vocabulary, BlockSize(4, 1, 4), 0, 1, 0), generator=random_generator(1)
    ).requires_grad_(requires_grad=False)
    found = audited(model, task, 1, 2)
    assert found["conclusion"].split(":")[0] in {"refuted", "not refuted", "regular"}
    laws = ("finite", "shape", "deterministic", "batch_independent")
    assert all(found["verdicts"][law]["verdict"] != "refuted" for law in laws)
