"""Draw accuracy and latent slopes over iterations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.reasoning.measure import FOLDER
from experiments.reasoning.training import settings

__all__ = ["draw", "draw_accuracy", "draw_latent"]

NAMES = {
    "pointer_chasing": "pointer chasing",
    "symmetric_group": "composition in S5",
    "modular_arithmetic": "modular arithmetic",
    "chain_sum": "reasoning-gym: chain_sum",
    "spell_backward": "reasoning-gym: spell_backward",
}
COLOURS = ("tab:blue", "tab:orange", "tab:green")
EXPLICIT = {"same_parameters": ("grey", "explicit, same parameters"), "same_depth": ("black", "explicit, same depth")}


def draw(results: Path | None = None) -> list[Path]:
    """Draw everything from stored results.

    Args:
        results: folder with `reasoning.json`; the experiment's own by default.

    Returns:
        The pictures.

    Raises:
        FileNotFoundError: nothing was measured.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder = results or FOLDER / "results"
    if not (folder / "reasoning.json").exists():
        raise FileNotFoundError(f"results: got no reasoning.json in {folder.name}; needed one; run the command measure")
    content = json.loads((folder / "reasoning.json").read_text())
    tasks, config = content["measured"]["tasks"], content["config"]
    drawn = []
    for name, drawer in (("accuracy", draw_accuracy), ("latent", draw_latent)):
        figure, axes = plt.subplots(1, len(tasks), figsize=(5 * len(tasks), 4), squeeze=False, constrained_layout=True)
        for axis, (task, found) in zip(axes[0], tasks.items(), strict=True):
            drawer(axis, task, found, config)
            axis.set(xscale="log", xlabel="iterations t", title=NAMES.get(task, task))
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(alpha=0.25)
            axis.legend(frameon=False, fontsize=8)
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=100)
        plt.close(figure)
        drawn.append(path)
    return drawn


def draw_accuracy(axis: Any, task: str, found: dict[str, Any], config: dict[str, Any]) -> None:
    """Draw accuracy over iterations, one line a seed, and what the explicit models reach.

    Args:
        axis: where to draw.
        task: name of the task.
        found: what was measured of it.
        config: the preset's settings.
    """
    stage, t = settings(config, task)["training"], config["measure"]["iterations"]
    for factor, colour in zip(config["measure"]["lengths"], COLOURS, strict=False):
        label = f"{factor * stage['length']} steps"
        for models in found["models"].values():
            axis.plot(t, models["recurrent"]["scores"][str(factor)]["accuracy"], color=colour, label=label, alpha=0.8)
            label = "_"
        for name, (shade, called) in EXPLICIT.items():
            scores = [
                models[name]["scores"][str(factor)]["accuracy"] for models in found["models"].values() if name in models
            ]
            if scores and factor == config["measure"]["lengths"][0]:
                axis.axhline(sum(scores) / len(scores), color=shade, linestyle="--", label=called)
    axis.axvspan(*stage["depths"], color="tab:blue", alpha=0.08, label="iterations in training")
    axis.set(ylim=(0, 1.02), ylabel="accuracy")


def draw_latent(axis: Any, task: str, found: dict[str, Any], config: dict[str, Any]) -> None:
    """Draw slopes of the latent state and the size of its steps over iterations, one line a seed.

    Args:
        axis: where to draw.
        task: name of the task.
        found: what was measured of it.
        config: the preset's settings.
    """
    slope, residual = "slope of x to y_t (lower bound)", "largest relative step"
    for models in found["models"].values():
        latent = models["recurrent"]["latent"]
        axis.plot(latent["iterations"][1:], latent["slope"][1:], color="tab:blue", label=slope)
        axis.plot(latent["iterations"][1:], latent["relative_residual"][1:], color="tab:orange", label=residual)
        slope = residual = "_"
    axis.axvspan(*settings(config, task)["training"]["depths"], color="tab:blue", alpha=0.08)
    axis.set(yscale="log", ylabel="slope, relative step")
