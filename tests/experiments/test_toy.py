"""The smoke preset of the toy experiment runs, and what it writes says where it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.common.record import load_preset, provenance
from experiments.toy.figures import draw
from experiments.toy.measure import FOLDER, TABLES, diabetes, measure


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toy") / "growth.json"
    measure("smoke", out)
    return out


def test_the_prediction_holds_at_smoke_size(result: Path) -> None:
    content = json.loads(result.read_text())
    assert set(content) == {"config", "measured", "provenance"}
    for name, found in content["measured"]["tables"].items():
        assert name in TABLES
        for curve in found["curves"]:
            assert "proved" in curve["certificate"]
            growth = curve["lipschitz"]
            assert growth[0] == 0
            # The errors are monotone in exact arithmetic; the smallest are rounding.
            assert all(
                b <= a + 1e-12 for a, b in zip(curve["relative_error"], curve["relative_error"][1:], strict=False)
            )
            if curve["scale"] == 1:
                assert growth[-1] == pytest.approx(found["lip_F"], rel=0.02)


def test_the_figure_is_drawn(result: Path, tmp_path: Path) -> None:
    picture = draw(result, tmp_path / "growth.png")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_committed_result_is_the_one_the_readme_shows() -> None:
    content = json.loads((FOLDER / "results" / "growth.json").read_text())
    assert content["config"]["preset"] == "cpu"
    assert content["config"] == {"preset": "cpu", **load_preset(FOLDER, "cpu")}
    assert content["measured"]["tables"]["all ten measurements"]["pairs"] == 97_461


def test_an_unknown_preset_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="preset: got 'huge', needed one of smoke, cpu, paper"):
        load_preset(FOLDER, "huge")


def test_provenance_names_versions_and_no_path() -> None:
    found = provenance()
    assert {"python", "torch", "eqtheory", "commit"} <= set(found)
    assert not any("/" in value for value in found.values())


def test_the_table_is_the_one_that_ships_with_scikit_learn() -> None:
    table = diabetes(442, slice(0, 10))
    assert table.inputs.shape == (442, 10)
    assert abs(float(table.values.mean())) < 1e-12
