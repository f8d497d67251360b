"""The smoke preset of the schedules runs, its schedules are proved, and the committed result is the one its README shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.common.record import load_preset
from experiments.schedules.figures import draw
from experiments.schedules.measure import FOLDER, measure


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("schedules") / "schedules.json"
    measure("smoke", out)
    return out


def test_the_fastest_schedule_is_proved_and_faster(result: Path) -> None:
    for found in json.loads(result.read_text())["measured"].values():
        assert "proved" in found["certificate"]
        low, high = found["largest_minimum"]
        assert low <= high <= low * (1 + 1e-7)
        assert found["smallest"]["T3"] <= found["smallest"]["T3b"] <= high
        assert found["total"]["fastest"] < found["total"]["T3b"] <= found["total"]["T3"]


def test_the_figure_is_drawn(result: Path, tmp_path: Path) -> None:
    picture = draw(result, tmp_path / "schedules.png")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_committed_result_is_the_one_the_readme_shows() -> None:
    content = json.loads((FOLDER / "results" / "schedules.json").read_text())
    assert content["config"] == {"preset": "cpu", **load_preset(FOLDER, "cpu")}
    readme = (FOLDER / "README.md").read_text()
    for name in ("line", "plane"):
        found = content["measured"][name]
        assert f"{found['smallest']['fastest']:.3g}" in readme.replace("0.0204", "0.0204")
        assert f"{found['total']['fastest']:.0f}" in readme
