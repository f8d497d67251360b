"""Draw the growth curves from a result."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.toy.measure import FOLDER

__all__ = ["draw"]


def draw(result: Path | None = None, out: Path | None = None) -> Path:
    """Draw Lipschitz constant and error against iterations.

    Args:
        result: JSON file written by `measure`; `results/growth.json` by default.
        out: picture to write; beside the result by default.

    Returns:
        The path of the picture.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    source = result or FOLDER / "results" / "growth.json"
    measured = json.loads(source.read_text())["measured"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), constrained_layout=True)
    for curve in measured["curves"]:
        colour = "tab:blue" if curve["theorem"] == "T3" else "tab:orange"
        style = "-" if curve["scale"] == 1 else "--"
        label = f"{curve['theorem']}, budget {curve['budget']:g}"
        left.plot(curve["steps"][1:], curve["lipschitz"][1:], style, color=colour, marker="o", markersize=3, label=label)
        right.plot(curve["steps"][1:], curve["relative_error"][1:], style, color=colour, marker="o", markersize=3, label=label)
    left.axhline(measured["lip_F"], color="black", linewidth=0.8)
    left.annotate("lip F over the table", (1, measured["lip_F"]), xytext=(0, 3), textcoords="offset points", fontsize=9)
    left.set(xscale="log", yscale="log", xlabel="iteration t", ylabel="Lipschitz constant of $y_t$", title="what is computed grows steeper")
    right.set(xscale="log", yscale="log", xlabel="iteration t", ylabel="largest relative error", title="while the error falls", ylim=(1e-8, 2))
    right.legend(frameon=False, fontsize=9)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    path = out or source.with_suffix(".png")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
