"""Draw what was measured of trained operators: errors and slopes over iterations with the true ones, and the table."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from eqtheory.errors import MissingDependencyError
from experiments.navier_stokes.generate import FOLDER

__all__ = ["draw_learned"]


def draw_learned(result: Path | None = None, picture: Path | None = None) -> Path:
    """Draw error and slope over iterations, slopes against the truth sample by sample, and errors of all models.

    Args:
        result: what `measure_learned` wrote; `results/learned.json` by default.
        picture: file to write; `results/learned.png` by default.

    Returns:
        The picture.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        FileNotFoundError: nothing was measured.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise MissingDependencyError("matplotlib", "plot") from cause
    source = result or FOLDER / "results" / "learned.json"
    if not source.exists():
        raise FileNotFoundError(f"results: got no {source.name}; needed one; run the command measure-learned")
    measured = json.loads(source.read_text())["measured"]
    out = picture or FOLDER / "results" / "learned.png"
    figure = Figure(figsize=(17, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    error, slope, truth, bars = figure.subplots(1, 4)
    curves: dict[str, list[dict[str, Any]]] = {}
    for key, part in measured["models"].items():
        if "slopes" in part:
            curves.setdefault(key.rpartition("-")[0], []).append(part)
    if curves:
        first = curves.pop("implicit") if "implicit" in curves else curves.pop(next(iter(curves)))
        _errors(error, first, curves, measured["table"])
        _slopes(slope, first, curves)
        _against_truth(truth, first)
    _bars(bars, measured["table"])
    figure.savefig(out, dpi=110)
    return out


def _band(axes: Any, t: list[int], rows: list[list[float]], colour: str, label: str, style: str = "-") -> None:
    """The mean over seeds, and the range as a band."""
    values = np.array(rows)
    axes.plot(t, values.mean(axis=0), style, color=colour, label=label)
    axes.fill_between(t, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0)


OTHERS = ("tab:purple", "tab:red", "tab:brown", "tab:olive", "tab:pink")
"""Colours of further implicit models, in turn."""


def _errors(axes: Any, curves: list[dict[str, Any]], others: dict[str, Any], table: dict[str, Any]) -> None:
    t = curves[0]["iterations"]
    _band(axes, t, [part["curve_error"] for part in curves], "tab:blue", "implicit, mean over test flows")
    for (name, parts), colour in zip(others.items(), cycle(OTHERS), strict=False):
        _band(axes, t, [part["curve_error"] for part in parts], colour, name, "-.")
    explicit = {name: row for name, row in table.items() if not name.startswith("implicit")}
    for place, (name, row) in enumerate(explicit.items()):
        grey = str(0.2 + 0.6 * place / len(explicit))
        axes.axhline(row["error_mean"], color=grey, ls="--", lw=1, label=f"{name}, {row['parameters'] / 1000:.0f}k")
    axes.set(xscale="log", yscale="log", xlabel="iterations t", ylabel="relative error", title="Error")
    axes.legend(fontsize=6)


def _slopes(axes: Any, curves: list[dict[str, Any]], others: dict[str, Any]) -> None:
    t = curves[0]["iterations"]
    _band(axes, t, [part["slopes"]["block"] for part in curves], "tab:blue", "block of tangents, largest")
    _band(axes, t, [part["slopes"]["block_median"] for part in curves], "tab:cyan", "block, median over flows")
    _band(axes, t, [part["slopes"]["sines"] for part in curves], "tab:green", "sines of vorticity, largest")
    for (name, parts), colour in zip(others.items(), cycle(OTHERS), strict=False):
        _band(axes, t, [part["slopes"]["block"] for part in parts], colour, f"{name}, block, largest", "-.")
    label = "Anderson, pairs: no growth bound"
    _band(axes, t, [part["anderson"]["slope"] for part in curves], "tab:orange", label, ":")
    truth = curves[0]["truth"]["lipschitz"]
    axes.axhline(max(truth), color="k", ls="--", lw=1, label="true, largest")
    axes.axhline(float(np.median(truth)), color="0.5", ls="--", lw=1, label="true, median")
    axes.set(
        xscale="log", yscale="log", xlabel="iterations t", ylabel="nu x slope of force to vorticity", title="Slope"
    )
    axes.legend(fontsize=6)


def _against_truth(axes: Any, curves: list[dict[str, Any]]) -> None:
    truth = np.array(curves[0]["truth"]["lipschitz"])
    for part in curves:
        axes.plot(truth, truth * np.array(part["slopes"]["ratio_to_truth"]), "o", ms=4, alpha=0.6)
    axes.plot([truth.min(), truth.max()], [truth.min(), truth.max()], "k--", lw=1, label="as steep as the truth")
    axes.set(
        xscale="log", yscale="log", xlabel="true local Lipschitz constant x nu", ylabel="slope of the last iterate"
    )
    ticks = [tick for tick in (1, 1.5, 2, 3, 4, 6, 10, 16) if truth.min() * 0.9 <= tick <= truth.max() * 1.1]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_title("Flow by flow")
    axes.legend(fontsize=6)


def _bars(axes: Any, table: dict[str, Any]) -> None:
    rows = sorted(table.items(), key=lambda item: -item[1]["error_mean"])
    values = [row["error_mean"] for _, row in rows]
    labels = [f"{name} ({row['parameters'] / 1000:.0f}k)" for name, row in rows]
    colours = ["tab:blue" if name.startswith("implicit") else "tab:grey" for name, _ in rows]
    axes.barh(labels, values, xerr=[row["error_spread"] / 2 for _, row in rows], color=colours)
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:.3f}", va="center", fontsize=8)
    axes.set(xlabel="relative error on test flows", title="All models")
