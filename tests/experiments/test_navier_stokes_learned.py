"""Learned operators on flows: the map without viscosity, exact symmetries and slopes, and the smoke preset from training to picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from eqtheory.constructions import GalerkinTorus
from eqtheory.errors import InputError
from eqtheory.learned import ImplicitFourierOperator
from eqtheory.lipschitz import curve
from experiments.common.checkpoints import load_tensors, random_generator
from experiments.common.record import load_preset
from experiments.navier_stokes.curves import slope_curve, slopes_of_pairs, tangents_of
from experiments.navier_stokes.figures_learned import draw_learned
from experiments.navier_stokes.generate import FOLDER, generate
from experiments.navier_stokes.measure_learned import measure_learned
from experiments.navier_stokes.pairs import Pairs, Split, read_split, turned
from experiments.navier_stokes.shipped import LARGEST, available, load_model, ship
from experiments.navier_stokes.solver import TangentMap, prolong, solve_coordinates
from experiments.navier_stokes.training import Run, build, draw_batch, names, relative_error, train_all

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
    assert ship(Run(CONFIG, 0, runs), results) == names(CONFIG, 0)
    measure_learned("smoke", runs=runs, data=data, results=results)
    return runs, results


# The pairs.


def test_all_viscosities_share_one_solution_map(split: Split) -> None:
    torus, few = split.train.fine, split.train.rows(torch.arange(3))
    fine_g = prolong(few.torus, torus, few.g)  # forces have no modes beyond the coarse ones
    for nu in (0.02, 0.5):
        flows = solve_coordinates(torus, fine_g * nu**2, torch.full((3,), nu, dtype=torch.float64))
        assert torch.allclose(flows.c / nu, few.flows, rtol=0, atol=1e-9 * float(few.flows.abs().max()))


def test_the_parts_are_disjoint_and_follow_the_seed_of_the_split(data: Path, split: Split) -> None:
    together = torch.cat([split.train.grashof, split.test.grashof])
    assert len(together.unique()) == len(together) == load_preset(FOLDER, "smoke")["learning"]["samples"]
    again, other = read_split(data, CONFIG), read_split(data, {**CONFIG, "split": 1})
    assert again.test.digest == split.test.digest != other.test.digest
    assert float(split.test.left_out.max()) < 1e-2
    with pytest.raises(
        InputError, match=r"folder: got 16 samples, needed more than 16, to test on; generate more data"
    ):
        read_split(data, {**CONFIG, "test": 16})


@pytest.mark.parametrize("which", range(8))
def test_symmetries_take_solutions_to_solutions(split: Split, which: int) -> None:
    torus, few = split.train.torus, split.train.rows(torch.arange(2))
    one = torch.ones(2, dtype=torch.float64)
    flows = solve_coordinates(torus, few.g, one)  # of the truncation itself, so that nothing is left out
    g, w = (torus.coordinates(turned(torus.field(c), which)) for c in (few.g, flows.c))
    assert torch.allclose(solve_coordinates(torus, g, one).c, w, rtol=0, atol=1e-9 * float(w.abs().max()))
    mirrored = torus.coordinates(torus.field(few.g).flip(-1))  # the mirror without its sign is no symmetry
    wrong = solve_coordinates(torus, mirrored, one).c - torus.coordinates(torus.field(flows.c).flip(-1))
    assert float(wrong.abs().max()) > 1e-2


def test_a_batch_depends_on_its_generator_alone(split: Split) -> None:
    fields = split.train.fields(10.0)
    one, two = (draw_batch(fields, 5, random_generator(0, 2, 7)) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[0], draw_batch(fields, 5, random_generator(0, 2, 8))[0])


# Slopes.


def test_true_slopes_are_those_of_the_tangent_map(split: Split) -> None:
    few = split.test.rows(torch.arange(2))
    found = tangents_of(few, [0.1, 0.9])
    one = torch.ones(2, dtype=torch.float64)
    tangent = TangentMap.of(few.torus, few.w, one)
    for k in range(2):
        response = tangent.apply(found.forces[:, k])
        assert torch.allclose(torch.linalg.vector_norm(response, dim=1), found.slopes[:, k], rtol=1e-9)
    # The most sensitive change of force was found on the fine truncation, and was cut.
    assert torch.allclose(found.slopes[:, -1], found.lipschitz, rtol=float(few.left_out.max()))
    assert torch.allclose(torch.linalg.vector_norm(found.forces, dim=2), torch.ones(2, 3, dtype=torch.float64))


def _contracting(split: Split) -> tuple[ImplicitFourierOperator, Pairs]:
    config = {**CONFIG, "largest_norm": 0.8, "relaxation": 0.5}
    model = build("implicit", config, 0).double().requires_grad_(requires_grad=False)
    assert isinstance(model, ImplicitFourierOperator)
    return model, split.test.rows(torch.arange(2))


def test_slopes_of_decoded_iterates_are_derivatives(split: Split) -> None:
    model, few = _contracting(split)
    tangents, iterations = tangents_of(few, [0.1, 0.9]), [1, 2, 5, 12]
    found = slope_curve(model, few, tangents, iterations, 10.0)
    x, _ = few.fields(10.0, torch.float64)
    operator, h = model.operator(), 1e-6
    for k in range(3):
        moved = x + h * few.torus.field(tangents.forces[:, k]).unsqueeze(1)
        for row, t in enumerate(iterations):
            ends = []
            for at in (x, moved):
                z = operator.initial_state(at)
                for _ in range(t):
                    z = operator(z, at)
                ends.append(model.decoder(z))
            slope = (ends[1] - ends[0]).flatten(1).norm(dim=1) / (h * x[0].numel() ** 0.5)
            assert torch.allclose(slope, found["single"][row, :, k], rtol=1e-4)
    assert bool((found["block"] >= found["single"].amax(dim=2) * (1 - 1e-9)).all())


def test_tangents_obey_the_recursion_of_the_librarys_curves(split: Split) -> None:
    model, few = _contracting(split)
    tangents, iterations = tangents_of(few, [0.1, 0.9]), [1, 3, 8]
    model.decoder = torch.nn.Identity()  # type: ignore[assignment]
    found = slope_curve(model, few, tangents, iterations, 10.0)
    x, _ = few.fields(10.0, torch.float64)
    for k in range(len(few)):
        move = few.torus.field(tangents.forces[k, :1]).flatten(1)
        one = curve(model.operator(), x[k : k + 1], iterations, block=move / move.norm())
        assert torch.allclose(one.lower[:, 0], found["single"][:, k, 0], rtol=1e-9)


def test_pairs_under_anderson_end_where_tangents_do(split: Split) -> None:
    model, few = _contracting(split)
    tangents = tangents_of(few, [0.1])
    plain = slope_curve(model, few, tangents, [60], 10.0)["single"]
    pairs = slopes_of_pairs(model, few, tangents, [1, 60], 10.0, length=1e-4)["single"]
    assert torch.allclose(pairs[-1], plain[-1], rtol=1e-2)


# Training.


def test_models_of_equal_size_have_equal_parameters() -> None:
    config = load_preset(FOLDER, "cpu")["learned"]
    sizes = {name: sum(p.numel() for p in build(name, config, 0).parameters()) for name in names(config, 0)}
    assert sizes["implicit"] == sizes["explicit"]
    for name in ("deeper4", "wider2"):
        assert 3.9 < sizes[name] / sizes["implicit"] < 4.1


def test_models_of_equal_size_begin_with_equal_weights() -> None:
    implicit, explicit = (build(name, CONFIG, 3) for name in ("implicit", "explicit"))
    pairs = zip(implicit.parameters(), explicit.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_smoke_preset_measures_everything(trained: tuple[Path, Path]) -> None:
    content = json.loads((trained[1] / "learned.json").read_text())
    measured = content["measured"]
    assert set(measured["table"]) == set(names(CONFIG, 0))
    for name in names(CONFIG, 0):
        part = measured["models"][f"{name}-0"]
        assert part["error"] > 0
        assert ("slopes" in part) == name.startswith("implicit")
    assert (
        draw_learned(trained[1] / "learned.json", trained[1] / "learned.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    )


def test_parts_that_are_there_are_not_measured_again(
    trained: tuple[Path, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "learned.json").write_bytes((trained[1] / "learned.json").read_bytes())
    capsys.readouterr()
    first = json.loads((tmp_path / "learned.json").read_text())["measured"]
    assert measure_learned("smoke", runs=trained[0], data=data, results=tmp_path) == first
    assert capsys.readouterr().out == ""
    content = json.loads((tmp_path / "learned.json").read_text())
    content["measured"]["models"]["explicit-0"]["weights"] = "others"
    (tmp_path / "learned.json").write_text(json.dumps(content))
    assert measure_learned("smoke", runs=trained[0], data=data, results=tmp_path) == first
    assert capsys.readouterr().out.startswith("explicit, seed 0")


def test_shipped_models_are_the_trained_ones_and_small(trained: tuple[Path, Path], data: Path, tmp_path: Path) -> None:
    runs, results = trained
    nowhere = Run(CONFIG, 0, tmp_path)
    total = 0
    for name in names(CONFIG, 0):
        one, other = load_model(name, Run(CONFIG, 0, runs), results), load_model(name, nowhere, results)
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        total += (results / f"{name}.safetensors").stat().st_size
    assert total <= LARGEST
    assert not available("implicit", Run(CONFIG, 1, tmp_path), results)
    with pytest.raises(FileNotFoundError, match="model implicit: got no checkpoint of seed 1"):
        load_model("implicit", Run(CONFIG, 1, tmp_path), results)
    with pytest.raises(FileNotFoundError, match="models: got none that were trained or ship"):
        measure_learned("smoke", runs=tmp_path, data=data, results=tmp_path)


def test_training_goes_on_to_the_same_bits(trained: tuple[Path, Path], split: Split, tmp_path: Path) -> None:
    class StopHereError(Exception):
        pass

    from experiments.navier_stokes import training

    def stop(step: int, _: float) -> None:
        if step == 4:
            raise StopHereError

    run = Run(CONFIG, 0, tmp_path)
    with pytest.raises(StopHereError):
        training.train_model("implicit", run, split.train, stop)
    assert not available("implicit", run, tmp_path)
    with pytest.raises(ValueError, match="got 4 of 6 steps"):
        load_model("implicit", run, tmp_path)
    training.train_model("implicit", run, split.train)
    one, _ = load_tensors(run.path("implicit"))
    other, _ = load_tensors(Run(CONFIG, 0, trained[0]).path("implicit"))
    assert all(torch.equal(one[key], other[key]) for key in other)


def test_relative_errors_are_relative() -> None:
    wanted = torch.rand(3, 1, 8, 8, generator=random_generator(0))
    assert torch.allclose(relative_error(0.9 * wanted, wanted), torch.full((3,), 0.1), atol=1e-6)
    assert GalerkinTorus((16, 16)).cutoff == (5, 5)
