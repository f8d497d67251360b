"""The data are what they claim, reproducible from their seed alone, and survive being killed; what failed is named and is no data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from eqtheory.constructions import GalerkinTorus
from eqtheory.errors import InputError
from eqtheory.theorems.navier_stokes import embedding_constant
from experiments.common.record import load_preset
from experiments.navier_stokes.certificate import Certificate, certify_flows
from experiments.navier_stokes.figures import draw
from experiments.navier_stokes.forces import ForceLaw, draw_forces, generator_of
from experiments.navier_stokes.generate import FOLDER, generate, make_chunk
from experiments.navier_stokes.measure import PUBLISHED, measure
from experiments.navier_stokes.solve import solve_kolmogorov
from experiments.navier_stokes.solver import energy_balance, residual, solve_coordinates
from experiments.navier_stokes.store import chunk_path, claim_folder, load, read_chunk, write_chunk

SETTINGS = load_preset(FOLDER, "smoke")["data"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("flows")
    summary = generate("smoke", out, workers=1)
    assert summary["samples"] == SETTINGS["samples"]
    return out


# Forces.


def test_forces_are_what_they_claim() -> None:
    torus = GalerkinTorus((32, 32))
    law = ForceLaw((0.01, 0.1), (0.1, 10.0))
    forces = draw_forces(torus, law, 0, range(200))
    velocity = torch.linalg.vector_norm(forces.g / torus.squared.sqrt(), dim=1)
    assert torch.allclose(velocity / forces.viscosity**2, forces.grashof, rtol=1e-12)
    assert float(forces.grashof.min()) >= 0.1
    assert float(forces.grashof.max()) <= 10.0
    assert set(forces.viscosity.tolist()) == {0.01, 0.1}
    # The strongest waves have wave number one.
    scaled = (forces.g / torch.linalg.vector_norm(forces.g, dim=1, keepdim=True)).square().mean(dim=0)
    strength = {int(s): float(scaled[torus.squared == s].mean()) for s in (1, 2, 4, 8, 9)}
    assert strength[1] == max(strength.values())
    assert strength[9] < 0.02 * strength[1]
    outside = torus.modes.abs().amax(dim=1).repeat(2) > 4
    assert float(forces.g[:, outside].abs().max()) == 0


def test_a_force_depends_on_its_seed_and_number_alone() -> None:
    law = ForceLaw((0.01, 0.1), (0.1, 10.0))
    small, large = GalerkinTorus((16, 16)), GalerkinTorus((64, 64))
    whole = draw_forces(small, law, 7, range(10))
    part = draw_forces(small, law, 7, range(4, 6))
    assert torch.equal(whole.g[4:6], part.g)
    assert torch.equal(whole.viscosity[4:6], part.viscosity)
    assert not torch.equal(whole.g, draw_forces(small, law, 8, range(10)).g)
    # The same force on a finer grid.
    fine = large.field(draw_forces(large, law, 7, range(10)).g)[:, ::4, ::4]
    assert torch.allclose(fine, small.field(whole.g), rtol=0, atol=1e-13 * float(fine.abs().max()))
    assert generator_of(0, 1).initial_seed() != generator_of(1, 0).initial_seed()


def test_unusable_laws_are_refused() -> None:
    for viscosities, grashof in (((), (1.0, 2.0)), ((0.0,), (1.0, 2.0)), ((1.0,), (2.0, 1.0)), ((1.0,), (0.0, 1.0))):
        with pytest.raises(InputError, match=r"viscosities: got|grashof: got"):
            ForceLaw(viscosities, grashof)
    with pytest.raises(InputError, match=r"shape: got \(8, 8\), needed modes up to 4"):
        draw_forces(GalerkinTorus((8, 8)), ForceLaw((1.0,), (1.0, 1.0)), 0, range(1))


# Data.


def test_every_sample_carries_a_certificate_that_holds(folder: Path) -> None:
    data = load(folder)
    columns = data.columns
    again = residual(data.torus, columns["c"], columns["g"], columns["viscosity"])
    size = torch.linalg.vector_norm(columns["g"], dim=1)
    assert float((torch.linalg.vector_norm(again, dim=1) / size).max()) <= 1e-10
    assert float(columns["residual"].max()) <= 1e-10
    assert data.vorticity.shape == data.curl.shape == (8, 32, 32)
    balance = energy_balance(data.torus, columns["c"], columns["g"], columns["viscosity"])
    assert float(balance.defect.max()) < 1e-11
    c = embedding_constant()
    smallness = c * torch.linalg.vector_norm(columns["g"] / data.torus.squared, dim=1) / columns["viscosity"] ** 2
    by_t11 = columns["kind"] == Certificate.UNIQUE_BY_T11.value
    assert torch.equal(by_t11, smallness < 1)
    assert bool(((columns["kind"] != Certificate.UNIQUE_BY_ENERGY.value) | (columns["margin"] > 0)).all())
    assert bool((columns["leading"][:, 0].real < 0).all())
    assert len(set(columns["kind"].tolist())) == 3
    # T11's Lipschitz constant in V and its dual bounds the flow itself, from rest: |u| <= |f| / (nu (1 - c |f| / nu^2)).
    u = torch.linalg.vector_norm(columns["c"], dim=1)
    bound = torch.linalg.vector_norm(columns["g"] / data.torus.squared, dim=1) / columns["viscosity"]
    assert bool((u <= bound * (1 + 1e-12)).all())


def test_data_do_not_depend_on_the_size_of_a_chunk(folder: Path) -> None:
    other = make_chunk({**SETTINGS, "chunk": 8}, 0)
    columns = load(folder).columns
    for name, values in columns.items():
        assert torch.equal(torch.from_numpy(other.columns[name])[: len(values)], values), name


def test_a_killed_run_is_resumed_without_a_trace(folder: Path, tmp_path: Path) -> None:
    claim_folder(tmp_path, SETTINGS)
    write_chunk(chunk_path(tmp_path, 0), read_chunk(chunk_path(folder, 0)))
    (tmp_path / "chunk-00001.999.part").write_bytes(b"half a file")
    with pytest.raises(
        InputError, match=r"folder: got 4 samples in 1 chunks, needed 8 samples without a gap; run generate again"
    ):
        load(tmp_path)
    summary = generate("smoke", tmp_path, workers=1)
    assert summary["chunks_made"] == 1
    for name, values in load(folder).columns.items():
        assert torch.equal(load(tmp_path).columns[name], values)
    assert generate("smoke", tmp_path, workers=1)["chunks_made"] == 0


def test_a_process_that_is_killed_leaves_only_whole_chunks(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from experiments.navier_stokes import generate as G; import os, sys\n"
        "write = G.write_chunk\n"
        "def once(path, chunk):\n"
        "    write(path, chunk)\n"
        "    os._exit(9)\n"
        "G.write_chunk = once\n"
        "G.generate('smoke', Path(sys.argv[1]), workers=1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=FOLDER.parent.parent, timeout=120, check=False
    )
    assert done.returncode == 9
    assert [p.name for p in sorted(tmp_path.glob("chunk*"))] == ["chunk-00000.npz"]
    assert generate("smoke", tmp_path, workers=1)["chunks_made"] == 1


def test_other_settings_are_kept_apart(folder: Path) -> None:
    with pytest.raises(InputError, match=r"folder: got .*, needed an empty folder or data of the same settings"):
        claim_folder(folder, {**SETTINGS, "seed": 1})
    with pytest.raises(InputError, match=r"folder: got .*, needed a folder with a manifest\.json; run generate first"):
        load(folder / "nothing")


def test_what_did_not_converge_is_named_and_is_no_data() -> None:
    chunk = make_chunk({**SETTINGS, "points": 16, "grashof": [30.0, 40.0], "chunk": 5}, 0)
    assert len(chunk) == 0
    assert [entry["index"] for entry in chunk.rejected] == [0, 1, 2, 3, 4]
    for entry in chunk.rejected:
        assert entry["reason"] in {"stalled", "not converged", "unresolved", "not certified as stable"}
        assert len(entry["history"]) > 1
        assert all(np.isfinite(entry["history"]))


def test_an_unstable_flow_gets_no_certificate() -> None:
    torus = GalerkinTorus((24, 24), 0.7)
    g = torch.zeros(1, torus.dimension, dtype=torch.float64)
    g[0, int((torus.modes == torch.tensor([0, 1])).all(dim=1).nonzero())] = -(0.5**0.5)
    for reynolds, kind in ((2.9, Certificate.LOCALLY_STABLE), (3.2, Certificate.NONE)):
        flows = solve_coordinates(torus, g / reynolds, torch.tensor([1 / reynolds], dtype=torch.float64))
        assert bool(flows.converged.all())
        assert certify_flows(flows).counts()[kind.name.lower()] == 1


# Commands.


def test_solve_tells_the_whole_story() -> None:
    found = solve_kolmogorov(0.7, 4.0, 24)
    assert found["critical_reynolds"] == pytest.approx(3.0115283644, abs=1e-8)
    assert found["laminar_growth"] > 0
    assert found["branch"]["energy"] == pytest.approx(0.20727947314588, abs=1e-7)
    assert solve_kolmogorov(1.0, 4.0, 16)["branch"] is None


def test_the_smoke_preset_measures(tmp_path: Path) -> None:
    measure("smoke", tmp_path / "solver.json")
    found = json.loads((tmp_path / "solver.json").read_text())["measured"]
    assert max(found["exact"][name] for name in ("laminar", "shell_5", "shell_25")) < 1e-12
    for solver in found["solvers"].values():
        assert solver["difference_from_newton"] < 1e-12
        assert solver["factor_seen"] <= solver["proved_factor"]


def test_the_command_line_answers() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "experiments.navier_stokes",
            "solve",
            "--aspect",
            "0.7",
            "--reynolds",
            "2",
            "--points",
            "16",
        ],
        cwd=FOLDER.parent.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout)["branch"] is None


# What is committed.


def test_the_committed_result_is_the_one_the_readme_shows() -> None:
    content = json.loads((FOLDER / "results" / "solver.json").read_text())
    assert content["config"] == {"preset": "cpu", **load_preset(FOLDER, "cpu")["measure"]}
    measured, readme = content["measured"], (FOLDER / "README.md").read_text()
    assert abs(measured["critical_reynolds"]["0.5"] - PUBLISHED["critical_reynolds_0.5"]) < 1e-8
    state = measured["branch"]["0.7_4"]["branch"]
    assert abs(state["energy"] - PUBLISHED["energy_0.7_4"]) < 1e-10
    assert abs(state["enstrophy"] - PUBLISHED["enstrophy_0.7_4"]) < 1e-10
    assert state["balance_defect"] < 1e-11
    for key, digits in (("0.7_3.5", 10), ("0.7_6", 10), ("0.7_10", 10), ("0.5_4", 10), ("0.35_4", 6)):
        assert f"{measured['branch'][key]['branch']['energy']:.{digits}f}" in readme
    data = measured["data"]
    assert data["samples"] == 1000 == len(data["each"])
    for row in data["by_grashof"]:
        kinds = [row["by_certificate"][k] for k in "012"]
        lost = row["drawn"] - row["kept"]
        assert f"| {row['drawn']} | {' | '.join(map(str, kinds))} | {lost} |" in readme


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    picture = draw(picture=tmp_path / "solver.png")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
