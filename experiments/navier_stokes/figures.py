"""Draw what was measured of the solver and of the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eqtheory.errors import MissingDependencyError
from experiments.navier_stokes.generate import FOLDER

__all__ = ["draw"]

_NAMES = ("unique by T11", "unique by energy", "locally stable")
_COLOURS = ("tab:green", "tab:blue", "tab:orange")


def draw(result: Path | None = None, picture: Path | None = None) -> Path:
    """Draw sensitivities with certificates, and the branch of Kolmogorov's flow.

    Args:
        result: what `measure` wrote; `results/solver.json` by default.
        picture: file to write; `results/solver.png` by default.

    Returns:
        The picture.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "plot") from error
    measured = json.loads((result or FOLDER / "results" / "solver.json").read_text())["measured"]
    out = picture or FOLDER / "results" / "solver.png"
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _sensitivity(left, measured)
    _branch(right, measured)
    figure.savefig(out, dpi=110)
    return out


def _sensitivity(axes: Any, measured: dict[str, Any]) -> None:
    each = (measured["data"] or {"each": []})["each"]
    for kind, (name, colour) in enumerate(zip(_NAMES, _COLOURS, strict=True)):
        chosen = [(g, value) for g, code, value in each if code == kind]
        axes.plot(*zip(*chosen, strict=True) if chosen else ([], []), ".", ms=3, color=colour, label=name)
    rows = measured["lipschitz"]
    axes.plot([row["grashof"] for row in rows], [row["median"] for row in rows], "k+", ms=9, label="median, fixed Gr")
    axes.set(xscale="log", yscale="log", xlabel="Grashof number", ylabel="nu x local Lipschitz constant")
    axes.set_title("Sensitivity of the flow to its force")
    axes.legend(fontsize=8)


def _branch(axes: Any, measured: dict[str, Any]) -> None:
    for aspect in sorted({entry["aspect"] for entry in measured["branch"].values()}):
        states = [e for e in measured["branch"].values() if e["aspect"] == aspect and e["branch"]]
        states.sort(key=lambda entry: entry["reynolds"])
        x = [states[0]["critical_reynolds"], *(entry["reynolds"] for entry in states)] if states else []
        y = [0.25, *(entry["branch"]["energy"] for entry in states)] if states else []
        axes.plot(x, y, "o-", label=f"aspect {aspect}")
    axes.axhline(0.25, color="k", lw=0.8, ls="--", label="laminar")
    axes.set(xlabel="Reynolds number", ylabel="energy", title="Kolmogorov's flow beyond its critical number")
    axes.legend(fontsize=8)
