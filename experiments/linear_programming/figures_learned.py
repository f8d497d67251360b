"""Draw what was measured of the networks: errors over iterations, slopes beside those of the solution map, errors over widths."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from experiments.linear_programming.figures import SYMBOLS
from experiments.linear_programming.measure import FOLDER

__all__ = ["draw_networks"]


def draw_networks(results: Path | None = None) -> Path:
    """Draw three panels.

    Args:
        results: folder with `networks.json`; the experiment's own by default.

    Returns:
        The picture.

    Raises:
        FileNotFoundError: nothing was measured.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder = results or FOLDER / "results"
    if not (folder / "networks.json").exists():
        raise FileNotFoundError(f"results: got no networks.json in {folder.name}; needed one; run the command measure")
    measured = json.loads((folder / "networks.json").read_text())["measured"]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.4), constrained_layout=True)
    _errors(measured["models"], left)
    _slopes(measured, middle)
    _widths(measured["table"], right)
    path = folder / "networks.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _named(models: list[dict[str, Any]], pattern: str) -> list[str]:
    found = {row["name"] for row in models if re.fullmatch(pattern, row["name"])}
    return sorted(found, key=lambda name: int(re.sub(r"\D", "", name)))


def _errors(models: list[dict[str, Any]], axes: Any) -> None:
    for k, name in enumerate(_named(models, r"implicit\d+")):
        rows = [row["error"] for row in models if row["name"] == name]
        columns = list(zip(*rows, strict=True))
        times = range(len(columns))
        axes.plot(times, [sum(c) / len(c) for c in columns], color=f"C{k}", label=name)
        axes.fill_between(times, [min(c) for c in columns], [max(c) for c in columns], color=f"C{k}", alpha=0.2)
        explicit = [row["test_error"] for row in models if row["name"] == name.replace("implicit", "explicit")]
        if explicit:
            axes.axhline(sum(explicit) / len(explicit), color=f"C{k}", linestyle=":")
    axes.set(
        xscale="symlog", xlabel="iterations t", ylabel="mean of |y_t - y| / (|y| + 1)", xlim=(0, None), ylim=(0, None)
    )
    axes.set_title("test error; dotted: explicit, same width")
    if axes.lines:
        axes.legend()


def _slopes(measured: dict[str, Any], axes: Any) -> None:
    chosen = next((row for row in reversed(measured["models"]) if "slopes" in row), None)
    if chosen is None:
        axes.set_axis_off()  # explicit models alone have no iterations
        return
    for k, (part, symbol) in enumerate(SYMBOLS.items()):
        steps, values = chosen["long_steps"], chosen["long_slopes"][part]["mean"]
        axes.plot(steps[1:], values[1:], color=f"C{k}", label=symbol)
        target = measured["target"][part]["mean"]
        if target > 0:
            axes.axhline(target, color=f"C{k}", linestyle=":", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="iterations t", ylabel="mean slope of y_t")
    axes.set_title(f"{chosen['name']}; dotted: the solution map")
    axes.legend(title="moved part")


def _widths(table: dict[str, Any], axes: Any) -> None:
    kinds = (("explicit", "", "o"), ("explicit", "_longer", "v"), ("deep", "", "s"), ("implicit", "", "^"))
    for kind, after, mark in kinds:
        found = {name: re.fullmatch(rf"{kind}(\d+){after}", name) for name in table}
        rows = {int(read[1]): table[name] for name, read in found.items() if read}
        widths = sorted(rows)
        if not widths:
            continue
        errors = [rows[w]["test_error"] for w in widths]
        axes.plot(
            [rows[w]["parameters"] for w in widths],
            errors,
            marker=mark,
            label=kind.replace("deep", "explicit, 4 rounds")
            + after.replace("_longer", ", trained as long as implicit"),
        )
    axes.set(xscale="log", xlabel="parameters", ylabel="test error", ylim=(0, None))
    axes.set_title("mean over seeds")
    axes.legend()
