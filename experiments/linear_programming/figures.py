"""Draw error and slopes of the two classical operators over iterations, with the slopes of the solution map beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.linear_programming.measure import FOLDER

__all__ = ["SYMBOLS", "draw", "draw_slopes"]

SYMBOLS = {"matrix": "A", "right_side": "b", "costs": "c", "lower": "l", "upper": "u"}
"""The symbol of each part of the data."""


def draw(result: Path | None = None, out: Path | None = None) -> Path:
    """Draw the errors of both operators in one panel, and the slopes of each by part of the data.

    Args:
        result: JSON file written by `measure`; `results/linear_programming.json` by default.
        out: picture to write; beside the result by default.

    Returns:
        The path of the picture.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    source = result or FOLDER / "results" / "linear_programming.json"
    measured = json.loads(source.read_text())["measured"]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.2), constrained_layout=True)
    for name, look in (("primal_dual", "tab:blue"), ("regularised_dual", "tab:orange")):
        left.plot(measured["steps"], measured[name]["error"], color=look, label=name.replace("_", " "))
    left.set(xscale="symlog", xlabel="steps t", ylabel="mean of |y_t - y| / (|y| + 1)", ylim=(0, None), xlim=(0, None))
    left.legend()
    draw_slopes(measured, "primal_dual", middle)
    draw_slopes(measured, "regularised_dual", right)
    path = out or source.with_suffix(".png")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def draw_slopes(measured: dict[str, Any], operator: str, axes: Any) -> None:
    """Draw mean slopes of the states of one operator, and as dotted lines those of the solution map.

    Args:
        measured: what was measured.
        operator: `primal_dual` or `regularised_dual`.
        axes: where to draw.
    """
    for k, (part, symbol) in enumerate(SYMBOLS.items()):
        found = zip(measured["steps"], measured[operator]["slopes"][part], strict=True)
        steps, slopes = zip(*((t, slope) for t, slope in found if slope > 0), strict=True)
        axes.plot(steps, slopes, color=f"C{k}", label=symbol)
        target = measured["target_lines"][part]["mean_slope_along_the_same_directions"]
        if target > 0 and operator == "primal_dual":
            axes.axhline(target, color=f"C{k}", linestyle=":", linewidth=1)
    axes.set(xscale="symlog", yscale="log", xlabel="steps t", ylabel="mean slope of the state", xlim=(0, None))
    title = operator.replace("_", " ")
    axes.set_title(f"{title}; dotted: the solution map" if operator == "primal_dual" else title)
    axes.legend(title="moved part")
