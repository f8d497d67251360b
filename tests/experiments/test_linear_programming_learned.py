"""Networks for linear programs: perturbations that arrive, slopes against a naive loop, training that resumes, commands, what ships."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from eqtheory.constructions import LinearProgram, ProgramPart, part_distances
from eqtheory.errors import InputError
from eqtheory.learned import MessagePassing, ProgramOperator, scaled
from eqtheory.nests import map_tensors, take
from experiments.common.checkpoints import load_tensors
from experiments.common.record import load_preset
from experiments.linear_programming.__main__ import main
from experiments.linear_programming.curves import (
    Moved,
    error_curve,
    explicit_errors,
    iterates,
    moved_copies,
    slope_curves,
)
from experiments.linear_programming.data import draw
from experiments.linear_programming.instances import first, held_out_set, training_set
from experiments.linear_programming.measure import FOLDER
from experiments.linear_programming.measure_learned import summary
from experiments.linear_programming.shipped import LARGEST, available, load
from experiments.linear_programming.training import Run, build, kind_of, names, relative_errors, train_model

SMOKE = load_preset(FOLDER, "smoke")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def operator(width: int = 4) -> ProgramOperator:
    return ProgramOperator(MessagePassing(width, memory=2, generator=seeded(1)).double())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the preset `smoke` trains and measures."""
    folder = tmp_path_factory.mktemp("runs")
    assert main("train", preset="smoke", runs=folder) == 0
    assert main("measure", preset="smoke", runs=folder, only=("learned",)) == 0
    return folder


def arrived(program: LinearProgram, moved: Moved) -> float:
    """The largest error of the changes that arrive, from the raw data of instances and copies, without `part_distances`."""
    worst = 0.0
    for part, copy in moved.copies.items():
        change = getattr(copy, part.value) - getattr(program, part.value)
        worst = max(worst, float((torch.linalg.vector_norm(change, dim=1) - 1e-4).abs().max()))
    return worst


def test_the_perturbation_that_reaches_the_network_is_the_one_asked_for() -> None:
    x = draw(40, seeded())
    moved = moved_copies(x, 1e-4, seeded(1))
    assert moved.mistake <= 1e-12
    assert arrived(x, moved) <= 1e-12
    for part, copy in moved.copies.items():
        assert torch.equal(copy.ids, x.ids)
        assert bool((getattr(copy, part.value) != getattr(x, part.value)).any(dim=1).all())


def test_five_decimals_and_single_precision_are_seen_to_lose_it() -> None:
    x = draw(40, seeded())
    moved = moved_copies(x, 1e-4, seeded(1))
    stored = map_tensors(lambda t: (t * 1e5).round() / 1e5 if t.dtype.is_floating_point else t, moved.copies)
    kept = replace(moved, copies=stored)
    assert arrived(x, kept) > 1e-6
    lost = [part_distances(x, copy)[:, place] for place, copy in enumerate(stored.values())]
    assert max(float((distance - 1e-4).abs().max()) for distance in lost) > 1e-6
    single = map_tensors(lambda t: t.float() if t.dtype.is_floating_point else t, x)
    with pytest.raises(InputError, match=r"torch.float32, needed torch.float64; convert before perturbing"):
        moved_copies(single, 1e-4, seeded(1))


def anew(G: ProgramOperator, moved: Moved, steps: list[int]) -> dict[ProgramPart, Tensor]:
    """The same slopes, one instance at a time, from the start for every number of steps."""

    def point(x: LinearProgram, t: int) -> Tensor:
        state = G.initial_state(x)
        for _ in range(t):
            state = G(state, x)
        return state[0, : x.shape[2]]

    batch = moved.program.shape[0]
    found = {part: torch.zeros(len(steps), batch, dtype=torch.float64) for part in ProgramPart}
    with torch.no_grad():
        for i in range(batch):
            one = take(moved.program, torch.tensor([i]), batch)
            for part, copies in moved.copies.items():
                other = take(copies, torch.tensor([i]), batch)
                for row, t in enumerate(steps):
                    gap = torch.linalg.vector_norm(point(other, t) - point(one, t))
                    found[part][row, i] = gap / moved.distances[part][i]
    return found


@pytest.mark.parametrize("chunk", [2, 7])
def test_slopes_are_those_of_a_loop_that_starts_anew_for_every_step(chunk: int) -> None:
    G, moved, steps = operator(), moved_copies(draw(5, seeded()), 1e-4, seeded(1)), [0, 1, 3]
    found, again = slope_curves(G, moved, steps, chunk), anew(G, moved, steps)
    for part in ProgramPart:
        # A point of size 100 is rounded by 1e-14, a change of 1e-4 divides that.
        assert torch.allclose(found[part], again[part], rtol=0, atol=1e-8)
        assert bool((found[part][0] == 0).all())
        assert bool((found[part][1] > 0).all())


def test_pairs_by_position_after_one_was_dropped_are_seen() -> None:
    G, moved = operator(), moved_copies(draw(5, seeded()), 1e-4, seeded(1))
    dropped = {part: take(copy, torch.tensor([1, 2, 3, 4, 4]), 5) for part, copy in moved.copies.items()}
    wrong = slope_curves(G, replace(moved, copies=dropped), [2], 5)
    right = slope_curves(G, moved, [2], 5)
    assert float(wrong[ProgramPart.MATRIX].min(dim=1).values) >= 0
    assert float(wrong[ProgramPart.MATRIX][0, :4].min()) > 100 * float(right[ProgramPart.MATRIX].max())


def test_errors_are_those_of_the_definition(runs: Path) -> None:
    found = held_out_set(SMOKE, runs / "smoke")
    G = operator()
    errors = error_curve(G, found, 3, chunk=5)
    assert errors.shape == (4, 12)
    points = iterates(G, scaled(found.program), [0, 3])
    by_hand = [float((points[1][k] - found.y[k]).norm() / (found.y[k].norm() + 1)) for k in range(12)]
    assert errors[3].tolist() == pytest.approx(by_hand, rel=1e-12)
    assert torch.equal(relative_errors(found.y, found.y), torch.zeros(12).double())
    assert explicit_errors(G.block, found).shape == (12,)


def test_instances_are_kept_and_told_apart_by_what_they_are(runs: Path) -> None:
    folder = runs / "smoke"
    again, test = training_set(SMOKE, folder), held_out_set(SMOKE, folder)
    assert again.program.shape == (16, 10, 50)
    shared = (again.program.c.unsqueeze(1) == test.program.c.unsqueeze(0)).all(dim=2)
    assert not bool(shared.any())  # nothing that is tested on was trained on
    assert first(test, 3).y.shape == (3, 50)
    other = {**SMOKE, "instances": 13}
    with pytest.raises(ValueError, match=r"'count': 12.*needed .*'count': 13.*delete it to draw anew"):
        held_out_set(other, folder)


def test_explicit_and_implicit_models_differ_in_nothing_but_the_iteration() -> None:
    one, two = build("explicit4", SMOKE, 3), build("implicit4", SMOKE, 3)
    assert one.parameter_count == two.parameter_count
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert kind_of("deep4", SMOKE).rounds == 2 * kind_of("explicit4", SMOKE).rounds
    assert names(load_preset(FOLDER, "cpu"), 1) == ["explicit4", "implicit4", "explicit8", "implicit8"]
    assert "implicit32" in names(load_preset(FOLDER, "cpu"), 0)
    for wrong in (
        "explicit",
        "round4",
        "explicit4_jacobian_free",
        "implicit4_longer",
        "deep4_longer",
        "implicit4_of_some_kind",
    ):
        with pytest.raises(ValueError, match="needed a kind and a width, such as explicit8 or implicit4"):
            kind_of(wrong, SMOKE)


def test_training_that_was_cut_goes_on_to_the_same_bits(tmp_path: Path, runs: Path) -> None:
    found = training_set(SMOKE, runs / "smoke")
    cut = Run(SMOKE, 0, tmp_path)

    class StopHereError(Exception):
        pass

    def stop(step: int, loss: float) -> None:
        raise StopHereError

    with pytest.raises(StopHereError):
        train_model("implicit4", cut, found, stop)
    assert len(load_tensors(cut.path("implicit4"))[1]["losses"]) == 4
    with pytest.raises(ValueError, match="model implicit4, seed 0: got 4 of 8 steps; run the command train to finish"):
        load("implicit4", cut, tmp_path)
    assert train_model("implicit4", cut, found).resumed_at == 4
    one, two = (load_tensors(Run(SMOKE, 0, at).path("implicit4"))[0] for at in (tmp_path, runs / "smoke"))
    assert all(torch.equal(one[key], two[key]) for key in two)


def test_the_commands_measure_and_draw_every_model(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = runs / "smoke" / "results"
    measured = json.loads((out / "networks.json").read_text())["measured"]
    assert measured["largest_error_of_the_perturbation"] <= 1e-12
    assert set(measured["table"]) == {"explicit4", "implicit4", "deep4", "implicit4_jacobian_free", "explicit4_longer"}
    assert measured["target"]["costs"]["mean"] == 0
    assert measured["target"]["matrix"]["mean"] > 0
    row = next(row for row in measured["models"] if row["name"] == "implicit4")
    assert len(row["error"]) == SMOKE["curves"]["long_steps"][-1] + 1
    assert row["test_error"] == row["error"][-1]
    for part in ("matrix", "right_side", "costs", "lower", "upper"):
        assert len(row["slopes"][part]["mean"]) == len(SMOKE["curves"]["curve_steps"])
        assert row["tangents"][part][0] == 0
        assert row["tangents"][part][-1] > 0
    assert main("figures", preset="smoke", runs=runs) == 0
    assert "networks.png" in capsys.readouterr().out
    assert (out / "networks.png").stat().st_size > 10_000


def test_what_ships_is_read_where_nothing_was_trained(runs: Path, tmp_path: Path) -> None:
    out = runs / "smoke" / "results"
    elsewhere = Run(SMOKE, 0, tmp_path)
    assert available(elsewhere, out) == names(SMOKE, 0)
    one, two = load("implicit4", elsewhere, out), load("implicit4", Run(SMOKE, 0, runs / "smoke"), out)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert next(one.parameters()).dtype is torch.float64
    with pytest.raises(
        FileNotFoundError, match="model implicit4: got no checkpoint of seed 0; needed one; run the command train"
    ):
        load("implicit4", elsewhere, tmp_path)


def test_the_table_holds_the_worst_quotient_of_the_seeds() -> None:
    rows = [
        {"name": name, "seed": seed, "test_error": error, "train_error": error, "parameters": 200}
        for name, seed, error in (
            ("explicit4", 0, 0.4),
            ("explicit4", 1, 0.2),
            ("implicit4", 0, 0.1),
            ("implicit4", 1, 0.1),
        )
    ]
    table = summary(rows)
    assert table["implicit4"]["largest_quotient_to_explicit"] == 0.5
    assert table["explicit4"]["test_error"] == pytest.approx(0.3)
    assert table["explicit4"]["spread"] == pytest.approx(0.2)


SHIPPED = sorted((FOLDER / "results" / "models").glob("*.safetensors"))


@pytest.mark.skipif(not SHIPPED, reason="no trained models are stored beside the results")
def test_shipped_models_are_small_and_keep_what_is_said_of_them(runs: Path) -> None:
    assert sum(path.stat().st_size for path in SHIPPED) <= LARGEST
    config, out = load_preset(FOLDER, "cpu"), FOLDER / "results"
    found = held_out_set(SMOKE, runs / "smoke")  # others than those that results are about
    for seed in config["learning"]["seeds"]:
        run = Run(config, seed, runs / "nothing")
        errors = {}
        for width in (4, 8):
            errors[f"explicit{width}"] = float(explicit_errors(load(f"explicit{width}", run, out), found).mean())
            curve = error_curve(ProgramOperator(load(f"implicit{width}", run, out)), found, 100, 12).mean(dim=1)
            errors[f"implicit{width}"] = float(curve[-1])
            assert float((curve / curve.cummin(dim=0).values).max()) < 1.2  # of 12 instances; 1.05 is said of 1000
        assert errors["implicit4"] < errors["explicit4"]
        assert errors["implicit8"] < errors["explicit8"]
        assert errors["implicit4"] < errors["explicit8"]
