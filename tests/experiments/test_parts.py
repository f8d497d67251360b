"""Parts of a long measurement are kept as they come, and only as long as what they depend on is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.common import parts
from experiments.common.parts import part, sources_digest


class Counted:
    """A measurement that counts how often it was run."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> dict[str, Any]:
        self.runs += 1
        return {"value": 0.1, "run": self.runs}


def test_a_part_is_read_where_nothing_has_changed(tmp_path: Path) -> None:
    compute, path = Counted(), tmp_path / "new" / "one.json"
    key = {"config": {"steps": 3}, "weights": "ab"}
    assert part(path, key, compute) == {"value": 0.1, "run": 1}
    assert part(path, dict(reversed(key.items())), compute) == {"value": 0.1, "run": 1}
    assert part(path, {**key, "weights": "ac"}, compute)["run"] == 2
    assert part(path, key, compute)["run"] == 3


def test_a_part_is_measured_again_when_the_program_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute, path = Counted(), tmp_path / "one.json"
    part(path, {}, compute)
    monkeypatch.setattr(parts, "sources_digest", lambda: "another program")
    assert part(path, {}, compute)["run"] == 2


def test_the_digest_of_the_program_sees_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eqtheory").mkdir()
    (tmp_path / "experiments").mkdir()
    source = tmp_path / "eqtheory" / "one.py"
    source.write_text("a = 1\n")
    monkeypatch.setattr(parts, "ROOT", tmp_path)
    before = sources_digest()
    source.write_text("a = 2\n")
    after = sources_digest()
    source.rename(tmp_path / "experiments" / "one.py")
    assert len({before, after, sources_digest()}) == 3


def test_what_fails_or_is_not_finite_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "one.json"

    def fails() -> None:
        raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        part(path, {}, fails)
    with pytest.raises(ValueError, match="Out of range float values"):
        part(path, {}, lambda: {"psnr": float("nan")})
    assert list(tmp_path.iterdir()) == []
    assert part(path, {}, Counted())["run"] == 1
    assert json.loads(path.read_text())["key"] == {"sources": sources_digest()}
