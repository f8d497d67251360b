"""Training and measurement of operators on flows: what pairs, batches, gradients, penalties and stored numbers have to be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.gradients import Unrolled, fixed_point
from eqtheory.learned import ImplicitFourierOperator
from eqtheory.solvers import OnFailure, Stop
from experiments.common.checkpoints import load_tensors, random_generator, save_tensors
from experiments.common.record import load_preset
from experiments.navier_stokes import parts, training
from experiments.navier_stokes.curves import error_curve, slope_curve, tangents_of
from experiments.navier_stokes.figures_learned import draw_learned
from experiments.navier_stokes.generate import FOLDER, generate
from experiments.navier_stokes.measure_learned import curves_of, errors_of, measure_learned
from experiments.navier_stokes.pairs import Split, read_split
from experiments.navier_stokes.shipped import available, load_model, ship
from experiments.navier_stokes.solver import prolong, solve_coordinates
from experiments.navier_stokes.training import GRADIENTS, Run, build, draw_batch, relative_error, train_all

CONFIG = load_preset(FOLDER, "smoke")["learned"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("flows")
    generate("smoke", out, purpose="learning", workers=1)
    return out


@pytest.fixture(scope="module")
def split(data: Path) -> Split:
    return read_split(data, CONFIG)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path, split: Split) -> tuple[Path, Path]:
    """Checkpoints of a smoke run, and a folder with its shipped models and results."""
    runs, results = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("results")
    train_all(Run(CONFIG, 0, runs), split.train)
    ship(Run(CONFIG, 0, runs), results)
    measure_learned("smoke", runs=runs, data=data, results=results)
    return runs, results


def _contracting() -> ImplicitFourierOperator:
    model = build("implicit", {**CONFIG, "largest_norm": 0.8}, 0).double()
    assert isinstance(model, ImplicitFourierOperator)
    return model


# Pairs and batches.


def test_drawn_pairs_solve_the_equation_from_whatever_side(split: Split) -> None:
    torus, few = split.train.torus, split.train.rows(torch.arange(4))
    exact = replace(few, w=solve_coordinates(torus, few.g, torch.ones(4, dtype=torch.float64)).c)
    x, wanted = draw_batch(exact.fields(10.0, torch.float64), 16, random_generator(0, 2, 1))
    g, w = (torus.coordinates(10 * part[:, 0]) for part in (x, wanted))
    solved = solve_coordinates(torus, g, torch.ones(16, dtype=torch.float64)).c
    assert torch.allclose(solved, w, rtol=0, atol=1e-9 * float(w.abs().max()))


def test_a_perfect_model_of_the_scaled_fields_has_the_true_slopes(split: Split) -> None:
    few, h = split.test.rows(torch.arange(2)), 1e-5
    found, one = tangents_of(few, [0.1, 0.6]), torch.ones(2, dtype=torch.float64)
    moved = (few.g, few.g + h * found.forces[:, -1])
    ends = [replace(few, g=g, w=solve_coordinates(few.torus, g, one).c).fields(7.0, torch.float64) for g in moved]
    steps = [(ends[1][i] - ends[0][i]).flatten(1).norm(dim=1) for i in (0, 1)]
    assert torch.allclose(steps[1] / steps[0], found.slopes[:, -1], rtol=1e-3)


def test_all_models_of_a_seed_see_the_same_batches(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def watched(*arguments: Any) -> tuple[Tensor, Tensor]:
        found = draw_batch(*arguments)
        seen.append(found[0])
        return found

    monkeypatch.setattr(training, "draw_batch", watched)
    for name in ("implicit", "explicit"):
        training.train_model(name, Run(CONFIG, 0, tmp_path), split.train)
    steps = CONFIG["steps"]
    assert len(seen) == 2 * steps
    assert all(torch.equal(one, other) for one, other in zip(seen[:steps], seen[steps:], strict=True))
    assert not torch.equal(seen[0], seen[1])


# Gradients and the penalty.


def _gradient(model: ImplicitFourierOperator, x: Tensor, gradient: Any) -> Tensor:
    operator = model.operator()
    stop = Stop(rtol=1e-10, max_steps=120)
    z = fixed_point(operator, operator.encode(x), stop=stop, gradient=gradient, on_failure=OnFailure.RETURN).value
    found = torch.autograd.grad(model.decoder(z).square().sum(), list(model.parameters()))
    return torch.cat([part.flatten() for part in found])


def test_the_implicit_gradient_is_that_of_the_equation(split: Split) -> None:
    model, (x, _) = _contracting(), split.test.rows(torch.arange(2)).fields(10.0, torch.float64)
    true = _gradient(model, x, Unrolled())
    errors = {kind: float((_gradient(model, x, GRADIENTS[kind]) - true).norm() / true.norm()) for kind in GRADIENTS}
    assert errors["gradient"] < 0.03  # its adjoint is solved to 1e-2
    assert errors[""] > 2 * errors["gradient"]  # four steps of a slow contraction are not all


def test_models_trained_through_the_equation_are_others(trained: tuple[Path, Path]) -> None:
    one, other = (load_tensors(trained[0] / f"{name}-0.safetensors")[0] for name in ("implicit", "implicit_gradient"))
    assert any(not torch.equal(one[key], other[key]) for key in one if key.startswith("module."))


@pytest.mark.parametrize("step", [0, CONFIG["unrolled_steps"]])
def test_the_penalty_is_in_the_loss(split: Split, step: int) -> None:
    model, (x, wanted) = _contracting(), split.test.rows(torch.arange(4)).fields(10.0, torch.float64)
    model.requires_grad_(requires_grad=False)
    free, one, two = (
        float(
            training._implicit_loss("implicit", model, x, wanted, {**CONFIG, "factor": 0.0, "penalty": penalty}, step)
        )
        for penalty in (0.0, 1.0, 2.0)
    )
    assert one > free + 1e-3
    assert two - free == pytest.approx(2 * (one - free), rel=1e-9)


# What is measured.


def test_the_ratio_to_the_truth_is_that_of_the_last_iterate(split: Split) -> None:
    model = _contracting().float()
    few = split.test.rows(torch.arange(2))
    tangents = tangents_of(few, [0.1, 0.6])
    found = curves_of(model, split.test, few, tangents, CONFIG)
    slopes = slope_curve(_contracting(), few, tangents, [1, 8], CONFIG["scale"])["block"] / tangents.lipschitz
    ratio = torch.tensor(found["slopes"]["ratio_to_truth"], dtype=torch.float64)
    assert torch.allclose(ratio, slopes[-1], rtol=1e-4)
    assert not torch.allclose(ratio, slopes[0], rtol=1e-2)


def test_errors_on_the_finer_grid_are_the_models(split: Split) -> None:
    model, test, points = build("explicit", CONFIG, 0), split.test, CONFIG["measure"]["fine_points"]
    fine = replace(test.torus, shape=(points, points))
    x, wanted = (
        (fine.field(prolong(test.torus, fine, c)) / CONFIG["scale"]).float()[:, None] for c in (test.g, test.w)
    )
    with torch.no_grad():
        expected = float(relative_error(model(x), wanted).mean())
    assert errors_of(model, split, CONFIG)["error_fine_grid"] == pytest.approx(expected, rel=1e-5)
    with torch.no_grad():
        for part in (*model.decoder.layers, *model.decoder.biases):
            part.zero_()
    found = errors_of(model, split, CONFIG)
    assert found["error_fine_grid"] == found["error"] == pytest.approx(1.0)


def test_iterations_that_do_not_settle_are_counted(split: Split) -> None:
    model = build("implicit", CONFIG, 0)
    assert isinstance(model, ImplicitFourierOperator)
    calm = build("implicit", {**CONFIG, "largest_norm": 0.3}, 0)
    long = {**CONFIG, "measure": {**CONFIG["measure"], "steps": 100}}
    assert errors_of(calm, split, long)["unsettled"] == 0
    with torch.no_grad():
        for layer in model.block.layers:
            for weight in layer.parameters():
                weight.mul_(1e6)
    assert errors_of(model, split, long)["unsettled"] == len(split.test)
    assert "unsettled" not in errors_of(build("explicit", CONFIG, 0), split, long)


# What is read.


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ({"scale": 3.0}, "scale"),
        ({"steps": 700}, "schedule.steps, steps"),
        ({"width": 5}, "width"),
        ({"split": 1, "batch": 64}, "batch, split"),
        ({"only": {"explicit": {"rate": 0.1}}}, "rate, schedule.rate"),
    ],
)
def test_models_are_read_under_their_own_settings(
    trained: tuple[Path, Path], tmp_path: Path, changed: dict[str, Any], keys: str
) -> None:
    for folder in (trained[0], tmp_path):  # of checkpoints; with none, what ships
        other = Run({**CONFIG, **changed}, 0, folder)
        for read in (available, load_model):
            with pytest.raises(ValueError, match=f"explicit.*safetensors was trained with another {keys}; needed"):
                read("explicit", other, trained[1])
    unconcerned = {"every": 5, "penalty": 9.0, "deeper": [], "variants": [], "only": {"implicit": {"steps": 9}}}
    assert available("explicit", Run({**CONFIG, **unconcerned}, 0, trained[0]), trained[1])


def test_models_are_read_for_the_data_they_were_trained_on(trained: tuple[Path, Path], split: Split) -> None:
    run = Run(CONFIG, 0, trained[0])
    assert available("explicit", run, trained[1], split.train.digest)
    with pytest.raises(ValueError, match="another data; needed the same configuration"):
        load_model("explicit", run, trained[1], "other flows")


@pytest.mark.parametrize(
    "name", ["implicits", "anything", "deeper", "wider0", "explicit_gradient", "implicit_of_a_kind"]
)
def test_names_that_say_nothing_are_refused(split: Split, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"model: got '{name}'; needed implicit, explicit, deeper or wider"):
        build(name, CONFIG, 0)
    with pytest.raises(ValueError, match="see names"):
        train_all(Run(CONFIG, 0, tmp_path), split.train, [name])


def test_names_with_settings_of_their_own_have_them() -> None:
    config = {**CONFIG, "only": {"explicit_longer": {"steps": 50}, "implicit_limited": {"largest_norm": 0.7}}}
    assert training.schedule_of("explicit_longer", config).steps == 50
    assert training.schedule_of("explicit", config).steps == CONFIG["steps"]
    limited = build("implicit_limited", config, 0)
    assert limited.size.largest_norm == 0.7
    assert build("implicit", config, 0).size.largest_norm is None
    assert training.names(config, 1) == ["implicit", "explicit", "deeper2", "wider2"]


# Results.


def test_what_another_program_measured_is_not_in_the_table(
    trained: tuple[Path, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.loads((trained[1] / "learned.json").read_text())
    old = {**content["measured"]["models"]["explicit-0"], "error": 9.0}
    content["measured"]["models"]["explicit-1"] = {**old, "sources": "older"}
    (tmp_path / "learned.json").write_text(json.dumps(content))
    monkeypatch.setattr(parts, "sources_digest", lambda: "newer")
    found = measure_learned("smoke", runs=trained[0], data=data, results=tmp_path)
    assert found["table"]["explicit"]["seeds"] == 1
    assert found["table"]["explicit"]["error_mean"] < 9.0
    assert "explicit-1" not in found["models"]


def test_without_models_old_results_are_no_measurement(trained: tuple[Path, Path], data: Path, tmp_path: Path) -> None:
    shutil.copy(trained[1] / "learned.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="models: got none that were trained or ship"):
        measure_learned("smoke", runs=tmp_path / "none", data=data, results=tmp_path)


def test_one_that_fails_is_named_and_takes_no_other_with_it(
    trained: tuple[Path, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, results = tmp_path / "runs", tmp_path / "results"
    shutil.copytree(trained[0], runs)
    tensors, about = load_tensors(runs / "implicit-0.safetensors")
    wild = {key: torch.full_like(value, torch.nan) if "decoder" in key else value for key, value in tensors.items()}
    save_tensors(runs / "implicit-0.safetensors", wild, about)
    tensors, about = load_tensors(runs / "explicit-0.safetensors")
    save_tensors(runs / "explicit-0.safetensors", tensors, {**about, "losses": about["losses"][:2]})
    with pytest.raises(RuntimeError, match=r"got 1 that could not be measured.*implicit, seed 0: part: .* in error,"):
        measure_learned("smoke", runs=runs, data=data, results=results)
    measured = json.loads((results / "learned.json").read_text())["measured"]
    assert set(measured["table"]) == {"deeper2", "wider2", "implicit_gradient"}
    assert "explicit, seed 0: left out, its training has not come to its end" in capsys.readouterr().out
    assert ship(Run(CONFIG, 0, runs), results) == ["implicit", "deeper2", "wider2", "implicit_gradient"]
    assert draw_learned(results / "learned.json", results / "learned.png").exists()


@pytest.mark.parametrize("quantiles", [[0.1, 0.1], [1.5], [-0.5, 0.2]])
def test_quantiles_that_meet_or_leave_the_unit_interval_are_refused(split: Split, quantiles: list[float]) -> None:
    with pytest.raises(InputError, match="quantiles: got"):
        tangents_of(split.test, quantiles)


@pytest.mark.parametrize("iterations", [[], [5, 1], [0, 1], [1, 1, 3]])
def test_iterations_have_to_increase(split: Split, iterations: list[int]) -> None:
    few = split.test.rows(torch.arange(1))
    x, wanted = few.fields(10.0, torch.float64)
    for curve in (
        lambda: error_curve(_contracting(), x, wanted, iterations),
        lambda: slope_curve(_contracting(), few, tangents_of(few, [0.1]), iterations, 10.0),
    ):
        with pytest.raises(InputError, match="iterations: got"):
            curve()


@pytest.mark.parametrize("changed", [{"test": 0}, {"test": -1}, {"points": 64}])
def test_splits_that_cannot_be_are_refused(data: Path, changed: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(changed))}: got"):
        read_split(data, {**CONFIG, **changed})
