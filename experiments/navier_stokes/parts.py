"""Results of learned operators that are written part by part, with the table over seeds."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

from experiments.common.parts import sources_digest
from experiments.common.record import write_result
from experiments.navier_stokes.pairs import Split

__all__ = ["Parts", "table_of"]


class Parts:
    """Results that are written part by part; what another program, other settings or other data gave is not gone on with.

    Args:
        path: the JSON file.
        config: settings.
        split: the data.
    """

    def __init__(self, path: Path, config: dict[str, Any], split: Split) -> None:
        self.path, self.config, self.sources = path, config, sources_digest()
        about = {
            "train": len(split.train),
            "test": len(split.test),
            "digest": split.test.digest,
            "left_out_median": float(split.test.left_out.median()),
            "left_out_largest": float(split.test.left_out.max()),
        }
        before = json.loads(path.read_text()) if path.exists() else {"config": None, "measured": {}}
        same = before["config"] == config and before["measured"].get("data") == about
        models = before["measured"]["models"] if same else {}
        now = {key: part for key, part in models.items() if part["sources"] == self.sources}
        self.measured: dict[str, Any] = {"data": about, "models": now, "table": table_of(now)}

    def part(self, key: str, weights: str) -> dict[str, Any]:
        """What was measured of these weights; what was measured of others under this name is forgotten.

        Args:
            key: model and seed.
            weights: their digest.

        Returns:
            The part, empty but for what names weights and program where there is none.
        """
        found = self.measured["models"].get(key, {})
        if found.get("weights") == weights:
            return dict(found)
        self.forget(key)
        return {"weights": weights, "sources": self.sources}

    def forget(self, key: str) -> None:
        """Leave a model out, of the table as well.

        Args:
            key: model and seed.
        """
        self.measured["models"].pop(key, None)
        self.measured["table"] = table_of(self.measured["models"])

    def keep(self, key: str, part: dict[str, Any]) -> dict[str, Any]:
        """Write a part.

        Args:
            key: model and seed.
            part: what was measured.

        Returns:
            The part.

        Raises:
            ValueError: a number is not finite; nothing of it is kept.
        """
        wrong = [name for name, value in part.items() if not _finite(value)]
        if wrong:
            raise ValueError(
                f"part: got numbers that are not finite in {', '.join(wrong)}; needed finite ones; train anew"
            )
        self.measured["models"][key] = part
        self.measured["table"] = table_of(self.measured["models"])
        write_result(self.path, config=self.config, measured=self.measured)
        return part


def _finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def table_of(models: dict[str, Any]) -> dict[str, Any]:
    """Put means and spreads over seeds into one table.

    Args:
        models: parts by model and seed.

    Returns:
        Rows by model: parameters, mean error and its spread (largest less smallest), seeds, and of iterated models the largest number
        of test flows, over seeds, that have not come to rest.
    """
    rows: dict[str, Any] = {}
    for name in dict.fromkeys(key.rpartition("-")[0] for key in models):
        parts = [part for key, part in models.items() if key.rpartition("-")[0] == name and "error" in part]
        errors = [part["error"] for part in parts]
        if errors:
            rows[name] = {
                "parameters": parts[0]["parameters"],
                "error_mean": mean(errors),
                "error_spread": max(errors) - min(errors),
                "seeds": len(errors),
            }
            if "unsettled" in parts[0]:
                rows[name]["unsettled"] = max(part["unsettled"] for part in parts)
    return rows
