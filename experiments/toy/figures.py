"""Draw the growth curves from a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.toy.measure import FOLDER

__all__ = ["draw", "draw_table"]


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
    figure, rows = plt.subplots(len(measured["tables"]), 2, figsize=(10, 7), sharex=True, constrained_layout=True)
    for (name, found), (left, right) in zip(measured["tables"].items(), rows, strict=True):
        draw_table(name, found, measured["steps"][1:], left, right)
    rows[0][1].legend(frameon=False, fontsize=9)
    for axes in rows[-1]:
        axes.set_xlabel("iteration t")
    path = out or source.with_suffix(".png")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def draw_table(name: str, found: dict[str, Any], steps: list[int], left: Any, right: Any) -> None:
    """Draw one table: Lipschitz constants on the left, errors on the right.

    Args:
        name: title of the row.
        found: what was measured on it.
        steps: iterations, starting at 1.
        left: axes for the Lipschitz constants.
        right: axes for the errors.
    """
    for curve in found["curves"]:
        of_t3 = curve["theorem"] == "T3"
        look = {
            "color": "tab:blue" if of_t3 else "tab:orange",
            "linestyle": "-" if curve["scale"] == 1 else "--",
            "linewidth": 3.0 if of_t3 else 1.2,
            "label": f"{curve['theorem']}, budget {curve['budget']:g}",
        }
        left.plot(steps, curve["lipschitz"][1:], **look)
        right.plot(steps, curve["relative_error"][1:], **look)
    left.axhline(found["lip_F"], color="black", linewidth=0.8)
    left.annotate(
        f"lip F = {found['lip_F']:.3g}", (1.2, found["lip_F"]), xytext=(0, -12), textcoords="offset points", fontsize=9
    )
    left.set(xscale="log", yscale="log", ylabel="Lipschitz constant of $y_t$", title=name)
    right.set(xscale="log", yscale="log", ylabel="largest relative error", title=name, ylim=(1e-8, 2), xlim=(1, 1e5))
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
