"""Draw the steps from a result: curves on the line, maps in the plane."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.schedules.measure import FOLDER

__all__ = ["draw", "draw_line", "draw_plane"]

LOOKS = {
    "T3": {"color": "tab:blue", "linewidth": 1.4},
    "T3b": {"color": "tab:orange", "linewidth": 1.4},
    "fastest": {"color": "black", "linewidth": 2.0},
}


def draw(result: Path | None = None, out: Path | None = None) -> Path:
    """Draw one curve for each relaxation on the line, and T3b beside the fastest schedule in the plane.

    Args:
        result: JSON file written by `measure`; `results/schedules.json` by default.
        out: picture to write; beside the result by default.

    Returns:
        The path of the picture.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    source = result or FOLDER / "results" / "schedules.json"
    measured = json.loads(source.read_text())["measured"]
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(14, 4.2), constrained_layout=True, gridspec_kw={"width_ratios": [1.3, 1, 1.15]}
    )
    draw_line(measured["line"], left)
    draw_plane(measured["plane"], "T3b", middle)
    picture = draw_plane(measured["plane"], "fastest", right)
    figure.colorbar(picture, ax=[middle, right], label="step eps, logarithmic", shrink=0.9)
    path = out or source.with_suffix(".png")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def draw_line(found: dict[str, Any], axes: Any) -> None:
    """Draw the steps on the line.

    Args:
        found: what was measured there.
        axes: where to draw.
    """
    for name, eps in found["eps"].items():
        label = f"{name}: min {found['smallest'][name]:.2g}, sum 1/eps {found['total'][name]:.3g}"
        axes.plot(found["points"], eps, label=label, **LOOKS[name])
    axes.set(
        yscale="log",
        xlabel="x",
        ylabel="step eps",
        title="tanh(100 x), budget L0 = L1 = 2",
        xlim=(-1, 1),
        ylim=(0.5 * found["smallest"]["T3"], 40),
    )
    axes.legend(frameon=False, fontsize=8, loc="upper center")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def draw_plane(found: dict[str, Any], name: str, axes: Any) -> Any:
    """Draw one relaxation in the plane, with the represented directions on top.

    Args:
        found: what was measured there.
        name: which relaxation.
        axes: where to draw.

    Returns:
        The picture, for a scale of colours.
    """
    from matplotlib.colors import LogNorm

    side = round(len(found["points"]) ** 0.5)
    rows = [found["eps"][name][k * side : (k + 1) * side] for k in range(side)]
    columns = [list(column) for column in zip(*rows, strict=True)]  # the first axis of the grid is horizontal
    picture = axes.imshow(
        columns, origin="lower", extent=(0, 1, 0, 1), norm=LogNorm(found["smallest"]["T3b"], 1), cmap="viridis"
    )
    thin = [k for k in range(side * side) if (k // side) % 3 == 1 and (k % side) % 3 == 1]
    x, y = ([found["points"][k][axis] for k in thin] for axis in (0, 1))
    u, v = ([found["values"][k][axis] for k in thin] for axis in (0, 1))
    axes.quiver(x, y, u, v, color="white", scale=22, width=0.005, pivot="middle")
    axes.set(
        title=f"{name}: min {found['smallest'][name]:.2g}, sum 1/eps {found['total'][name]:.3g}",
        xticks=[0, 1],
        yticks=[0, 1],
    )
    return picture
