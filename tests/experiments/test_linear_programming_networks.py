"""Networks for linear programs, computed again by another way: losses, errors, slopes of the target, rest; and what partial runs leave."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.constructions import ProgramPart
from eqtheory.learned import MessagePassing, ProgramOperator, scaled
from eqtheory.nests import take
from experiments.common.checkpoints import random_generator
from experiments.common.record import load_preset
from experiments.linear_programming.__main__ import main
from experiments.linear_programming.curves import error_curve, explicit_errors, moved_copies
from experiments.linear_programming.instances import first, held_out_set, training_set
from experiments.linear_programming.measure import FOLDER, part_tangent
from experiments.linear_programming.measure_learned import _target, measure_learned, summary
from experiments.linear_programming.reference import References, reference_solutions
from experiments.linear_programming.settling import settling
from experiments.linear_programming.shipped import available, load
from experiments.linear_programming.training import Run, build, names, settings, train_all, train_model

SMOKE = load_preset(FOLDER, "smoke")
CPU = load_preset(FOLDER, "cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the preset `smoke` trains and measures."""
    folder = tmp_path_factory.mktemp("runs")
    assert main("train", preset="smoke", runs=folder) == 0
    assert main("measure", preset="smoke", runs=folder, only=("learned",)) == 0
    return folder


def rows(runs: Path) -> dict[str, Any]:
    measured = json.loads((runs / "smoke" / "results" / "networks.json").read_text())["measured"]
    return {row["name"]: row for row in measured["models"]}


def trained(name: str, runs: Path) -> MessagePassing:
    return load(name, Run(SMOKE, 0, runs / "smoke"), runs / "nothing")


def errors_by_hand(y: Tensor, wanted: Tensor) -> list[float]:
    return [float((a - b).norm() / (b.norm() + 1)) for a, b in zip(y, wanted, strict=True)]


def at_rest(**changes: Any) -> dict[str, Any]:
    """Settings under which no step moves a weight, so that every loss is one of the initial network."""
    config = deepcopy(SMOKE)
    config["learning"] |= {"rate": 0.0, "steps": 3, "unrolled_share": 0.0, **changes}
    return config


def batch_of(found: References, step: int) -> References:
    """The instances of a step: drawn from the seed and the number of the step, before anything else is."""
    at = torch.randint(len(found.y), (SMOKE["learning"]["batch"],), generator=random_generator(0, 2, step))
    return take(found, at, found.program.shape[0])


def test_the_loss_of_explicit_networks_is_the_mean_error_of_the_batch_of_the_step(tmp_path: Path, runs: Path) -> None:
    found, config = training_set(SMOKE, runs / "smoke"), at_rest()
    losses = train_model("explicit4", Run(config, 0, tmp_path), found).losses
    block = build("explicit4", config, 0).double()
    for step, loss in enumerate(losses):
        chosen = batch_of(found, step)
        x = scaled(chosen.program)
        with torch.no_grad():
            y = block(block.zero_state(x), x)[:, :50]
        assert loss == pytest.approx(sum(errors_by_hand(y, chosen.y)) / 4, rel=1e-4)  # trained in float32
    assert len(set(losses)) == 3  # other batches


def test_the_first_losses_of_implicit_networks_are_those_of_a_few_unrolled_steps(tmp_path: Path, runs: Path) -> None:
    found, config = training_set(SMOKE, runs / "smoke"), at_rest(unrolled_share=1.0)
    losses = train_model("implicit4", Run(config, 0, tmp_path), found).losses
    G = ProgramOperator(build("implicit4", config, 0).double())
    for step, loss in enumerate(losses):
        chosen = batch_of(found, step)
        errors = error_curve(G, chosen, config["learning"]["unrolled"], 4)
        assert loss == pytest.approx(float(errors[-1].mean()), rel=1e-4)


def test_what_contracts_too_little_costs_and_the_more_the_larger_the_penalty(tmp_path: Path, runs: Path) -> None:
    found = training_set(SMOKE, runs / "smoke")
    losses = []
    for penalty in (0.0, 1.0, 2.0):
        config = at_rest(factor=0.0, penalty=penalty, rtol=0.0)
        losses.append(train_model("implicit4", Run(config, 0, tmp_path / str(penalty)), found).losses)
    for none, one, two in zip(*losses, strict=True):
        assert one > none + 1e-3
        assert two - none == pytest.approx(2 * (one - none), rel=1e-3)


def test_errors_in_the_results_are_those_of_the_sets_they_are_said_to_be_of(runs: Path) -> None:
    held, seen, row = held_out_set(SMOKE, runs / "smoke"), training_set(SMOKE, runs / "smoke"), rows(runs)
    for name in ("explicit4", "deep4", "explicit4_longer"):
        block = trained(name, runs)
        for key, found in (("test_error", held), ("train_error", seen)):
            x = scaled(found.program)
            with torch.no_grad():
                by_hand = errors_by_hand(block(block.zero_state(x), x)[:, :50], found.y)
            assert row[name][key] == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-12)
            assert explicit_errors(block, found).tolist() == pytest.approx(by_hand, rel=1e-12)
    G, last = ProgramOperator(trained("implicit4", runs)), SMOKE["curves"]["long_steps"][-1]
    assert row["implicit4"]["train_error"] == pytest.approx(float(error_curve(G, seen, last, 16)[-1].mean()), rel=1e-12)
    curves = [sorted(errors) for errors in error_curve(G, held, last, 12).tolist()]
    # Of 12 sorted errors the 90% quantile is a tenth of the way from the eleventh (0.9 * 11 = 9.9, from 0) to the tenth.
    assert row["implicit4"]["error_of_the_worst_tenth"] == pytest.approx([0.1 * e[9] + 0.9 * e[10] for e in curves])
    assert row["implicit4"]["median_error"] == pytest.approx([(e[5] + e[6]) / 2 for e in curves])
    means = row["implicit4"]["error"]
    rises = [means[t] / means[s] - 1 for t in range(len(means)) for s in range(t + 1)]
    assert row["implicit4"]["largest_rise_of_the_error"] == pytest.approx(max(rises))
    assert max(rises) > 0


def test_slopes_of_the_target_are_those_of_solutions_of_moved_programs(runs: Path) -> None:
    found = held_out_set(SMOKE, runs / "smoke")
    moved = moved_copies(found.program, 1e-5, random_generator(0, 3))
    lines = _target(found, moved)
    assert lines["instances"] == len(found.y)  # none is degenerate
    for part in ProgramPart:
        away = reference_solutions(moved.copies[part]).y - found.y
        slopes = torch.linalg.vector_norm(away, dim=1) / moved.distances[part]
        # As long as the basis stays, y is linear in b, l and u; in the matrix there is a second order of 1e-5 times a slope of hundreds.
        assert lines[part.name.lower()]["median"] == pytest.approx(float(slopes.quantile(0.5)), rel=1e-2, abs=1e-6), (
            part
        )
        if part is ProgramPart.COSTS:  # of which y has no slopes, but jumps: of one instance of these twelve
            assert lines["costs"]["mean"] == 0
        else:
            assert lines[part.name.lower()]["mean"] == pytest.approx(float(slopes.mean()), rel=1e-2), part


def test_tangents_move_the_part_that_they_are_named_after(runs: Path) -> None:
    found = first(held_out_set(SMOKE, runs / "smoke"), SMOKE["curves"]["tangent_instances"])
    G, size = ProgramOperator(trained("implicit4", runs)), 1e-6
    for part in ProgramPart:
        lengths = [getattr(found.program, p.value).shape[1] for p in ProgramPart]
        way = part_tangent(found.program, part, random_generator(0, 4)).split(lengths, dim=1)
        ends = []
        for sign in (-1, 1):
            values = {
                p.value: getattr(found.program, p.value) + sign * size * w
                for p, w in zip(ProgramPart, way, strict=True)
            }
            x = scaled(replace(found.program, **values))
            state = G.initial_state(x)
            with torch.no_grad():
                for _ in range(SMOKE["curves"]["curve_steps"][-1]):
                    state = G(state, x)
            ends.append(state)
        slopes = torch.linalg.vector_norm(ends[1] - ends[0], dim=1) / (2 * size)
        assert rows(runs)["implicit4"]["tangents"][part.name.lower()][-1] == pytest.approx(
            float(slopes.mean()), rel=1e-3
        )


def test_rest_is_measured_of_whole_states(runs: Path) -> None:
    found, block = first(held_out_set(SMOKE, runs / "smoke"), 5), trained("implicit4", runs)
    G, x = ProgramOperator(block), scaled(first(held_out_set(SMOKE, runs / "smoke"), 5).program)
    states = [G.initial_state(x)]
    with torch.no_grad():
        for _ in range(5):
            states.append(G(states[-1], x))
    measured = settling(G, found, [1, 4])
    for k, t in enumerate((1, 4)):
        here, there = states[t], states[t + 1]
        residuals = sorted(float((b - a).norm() / (a.norm() + 1)) for a, b in zip(here, there, strict=True))
        sizes = sorted(float(a[50:].abs().max()) for a in here)
        assert measured["residual"][k] == pytest.approx({"median": residuals[2], "largest": residuals[4]})
        assert measured["largest_memory"][k] == pytest.approx({"median": sizes[2], "largest": sizes[4]})
        assert measured["moving"][k] == sum(r > 1e-3 for r in residuals) / 5
        assert measured["error"][k] == pytest.approx(sum(errors_by_hand(here[:, :50], found.y)) / 5)
    assert rows(runs)["implicit4"]["settling"]["steps"] == SMOKE["curves"]["settle_steps"]


def test_a_memory_that_grows_is_seen_though_the_point_rests(runs: Path) -> None:
    found, block = first(held_out_set(SMOKE, runs / "smoke"), 5), build("implicit4", SMOKE, 0).double()
    with torch.no_grad():
        for weight in block.parameters():
            weight.zero_()
        block.rows_in.weight[0, 0] = 1.0  # the first channel carries the first number of memory,
        block.rows_out.weight[0, 0] = 1.1  # which grows by a tenth of itself,
        block.rows_out.bias[0] = 1.0  # and begins
    measured = settling(ProgramOperator(block), found, [100, 400])
    assert measured["error"][0] == pytest.approx(measured["error"][1], rel=1e-6)
    assert measured["moving"] == [1.0, 1.0]
    assert measured["largest_memory"][1]["median"] > 1e6 * measured["largest_memory"][0]["median"]


def cut(runs: Path, folder: Path, name: str) -> None:
    """Copy a run of `smoke`, in which one training was killed after the first checkpoint."""
    shutil.copytree(runs / "smoke", folder / "smoke")
    run = Run(SMOKE, 0, folder / "smoke")
    run.path(name).unlink()

    class StopHereError(Exception):
        pass

    def stop(step: int, loss: float) -> None:
        raise StopHereError

    with pytest.raises(StopHereError):
        train_model(name, run, training_set(SMOKE, folder / "smoke"), stop)


def test_a_training_that_was_cut_is_left_out_and_destroys_nothing(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(runs, tmp_path, "implicit4")
    out = tmp_path / "smoke" / "results"
    assert available(Run(SMOKE, 0, tmp_path / "smoke"), out) == [n for n in names(SMOKE, 0) if n != "implicit4"]
    assert main("train", preset="smoke", runs=tmp_path, only=("explicit4",)) == 0
    kept = capsys.readouterr().out.splitlines()[-1]
    assert "explicit4" in kept
    assert "implicit4," not in kept
    # What was measured stays as it is until everything is measured again.
    before = (out / "networks.json").read_bytes()
    done: list[str] = []

    def killed(name: str, *everything: Any) -> dict[str, Any]:
        done.append(name)
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr("experiments.linear_programming.measure_learned._measured", killed)
        shutil.rmtree(tmp_path / "smoke" / "measured")
        with pytest.raises(KeyboardInterrupt):
            measure_learned("smoke", runs=tmp_path / "smoke", results=out)
    assert done == ["explicit4"]
    assert (out / "networks.json").read_bytes() == before
    assert main("measure", preset="smoke", runs=tmp_path, only=("learned",)) == 0
    assert "implicit4" not in rows(tmp_path)
    assert main("figures", preset="smoke", runs=tmp_path) == 0


def test_figures_of_explicit_networks_alone_are_drawn(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "smoke" / "results"
    shutil.copytree(runs / "smoke" / "results", out)
    stored = json.loads((out / "networks.json").read_text())
    measured = stored["measured"]
    measured["models"] = [row for row in measured["models"] if "slopes" not in row]
    measured["table"] = {name: row for name, row in measured["table"].items() if "implicit" not in name}
    (out / "networks.json").write_text(json.dumps(stored))
    assert main("figures", preset="smoke", runs=tmp_path) == 0


def test_names_that_nothing_has_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("measure", preset="smoke", runs=tmp_path, only=("networks",)) == 1
    assert "only: got networks; needed some of classical, learned" in capsys.readouterr().err
    assert main("train", preset="smoke", runs=tmp_path, only=("implicit5", "explicit4")) == 1
    assert "only: got implicit5; needed some of deep4, explicit4" in capsys.readouterr().err
    assert main("train", preset="cpu", seeds=(1,), runs=tmp_path, only=("implicit16",)) == 1
    with pytest.raises(ValueError, match=r"only: got 'implicit5'; needed one of explicit4, .*, models of seed 0"):
        train_all(Run(SMOKE, 0, tmp_path), ["implicit5"])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["smoke", "cpu", "paper"])
def test_what_is_called_longer_is_trained_longer(preset: str) -> None:
    config = load_preset(FOLDER, preset)
    longer = [name for name in names(config, config["learning"]["seeds"][0]) if name.endswith("_longer")]
    assert longer
    for name in longer:
        steps = settings(name, config)["steps"]
        assert steps > config["learning"]["steps"]
        assert {**settings(name, config), "steps": 0} == {**settings("explicit4", config), "steps": 0}


RISING: set[str] = set()
"""Implicit models whose mean error rises by more than the bar after its least, named one by one."""


def test_the_stored_results_meet_the_bars_and_are_those_of_todays_preset() -> None:
    stored = json.loads((FOLDER / "results" / "networks.json").read_text())
    assert stored["config"] == json.loads(json.dumps({"preset": "cpu", **CPU}))
    measured = stored["measured"]
    table = measured["table"]
    assert list(dict.fromkeys(row["name"] for row in measured["models"])) == names(CPU, CPU["learning"]["seeds"][0])
    assert measured["largest_error_of_the_perturbation"] <= 1e-12
    for width in (4, 8):
        assert table[f"implicit{width}"]["seeds"] == len(CPU["learning"]["seeds"])
        assert table[f"implicit{width}"]["largest_quotient_to_explicit"] <= 0.75
        assert table[f"implicit{width}"]["largest_quotient_to_explicit_trained_longer"] <= 0.75
    worst = {row["name"]: 0.0 for row in measured["models"]}
    best = {row["name"]: 1.0 for row in measured["models"]}
    for row in measured["models"]:
        worst[row["name"]] = max(worst[row["name"]], row["test_error"])
        best[row["name"]] = min(best[row["name"]], row["test_error"])
    assert worst["implicit4"] < best["explicit8"]
    assert worst["implicit4"] < best["explicit8_longer"]
    rising = {row["name"] for row in measured["models"] if row.get("largest_rise_of_the_error", 0.0) > 0.05}
    assert rising == RISING
    assert summary(measured["models"]) == table
