"""Draw the curves over iterations, the table, and reconstructions of photographs that may be redistributed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqtheory.constructions import CircularBlur
from experiments.common.record import load_preset
from experiments.imaging.measure import FOLDER
from experiments.imaging.photographs import bundled, kernel_of_reference
from experiments.imaging.quality import psnr
from experiments.imaging.reconstruction import reconstruct, test_set
from experiments.imaging.shipped import load_all
from experiments.imaging.training import Run

__all__ = ["draw", "draw_curves", "draw_reconstructions", "draw_table"]

COLOURS = {"hqs": "tab:blue", "pgd": "tab:orange", "hqs_implicit_gradient": "tab:green"}
NAMES = {
    "hqs": "implicit, half-quadratic splitting",
    "pgd": "implicit, proximal gradient",
    "hqs_implicit_gradient": "splitting, with implicit gradients",
    "hqs_jacobian_free": "splitting, Jacobian-free",
    "explicit": "explicit, one pass",
}


def _named(name: str) -> str:
    return NAMES.get(name, name.replace("unrolled", "explicit, unrolled, stages: "))


def draw(results: Path | None = None) -> list[Path]:
    """Draw everything from stored results and shipped models.

    Args:
        results: folder with `imaging.json`; the experiment's own by default.

    Returns:
        The pictures.

    Raises:
        FileNotFoundError: nothing was measured.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder = results or FOLDER / "results"
    if not (folder / "imaging.json").exists():
        raise FileNotFoundError(f"results: got no imaging.json in {folder.name}; needed one; run the command measure")
    content = json.loads((folder / "imaging.json").read_text())
    measured, config = content["measured"], content["config"]
    drawn = []
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.4), constrained_layout=True)
    draw_curves(measured, axes[0], axes[1])
    draw_table(measured["table"], axes[2])
    drawn.append(_save(figure, folder / "curves.png"))
    plt.close(figure)
    figure = draw_reconstructions(config, folder)
    drawn.append(_save(figure, folder / "reconstructions.png", dpi=60))
    plt.close(figure)
    return drawn


def _save(figure: Any, path: Path, dpi: int = 100) -> Path:
    figure.savefig(path, dpi=dpi)
    return path


def draw_curves(measured: dict[str, Any], quality: Any, slope: Any) -> None:
    """Draw PSNR and slope over iterations; a band shows the range over seeds.

    Args:
        measured: what was measured.
        quality: axes for PSNR.
        slope: axes for slopes.
    """
    for name, colour in COLOURS.items():
        curves = [run["curves"][name] for run in measured["models"] if name in run["curves"]]
        if not curves:
            continue
        t = curves[0]["iterations"]
        for axes, key in ((quality, "psnr"), (slope, "slope")):
            rows = torch.tensor([one[key] for one in curves], dtype=torch.float64)
            axes.plot(t, rows.mean(0).tolist(), color=colour, label=_named(name))
            axes.fill_between(t, rows.amin(0).tolist(), rows.amax(0).tolist(), color=colour, alpha=0.2, linewidth=0)
        rows = torch.tensor([one["psnr_from_observation"] for one in curves], dtype=torch.float64)
        quality.plot(t, rows.mean(0).tolist(), color=colour, linestyle=":", linewidth=1.2)
    quality.axhline(
        measured["table"]["explicit"]["psnr_mean"], color="grey", linestyle="--", label="explicit, one pass"
    )
    quality.set(xscale="log", xlabel="iterations t", ylabel="PSNR (dB)", title="quality; dotted: from the observation")
    lowest = measured["observation"]["psnr"]
    quality.set_ylim(bottom=lowest - 4)
    slope.set(xscale="log", yscale="log", xlabel="iterations t", ylabel="slope", title="largest slope of x to y_t(x)")
    for axes in (quality, slope):
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        axes.spines[["top", "right"]].set_visible(False)


def draw_table(table: dict[str, Any], axes: Any) -> None:
    """Draw the mean PSNR of every method as a bar, with its spread over seeds.

    Args:
        table: rows by name.
        axes: where to draw.
    """
    rows = sorted(table.items(), key=lambda item: item[1]["psnr_mean"])
    values = [row["psnr_mean"] for _, row in rows]
    colours = [
        "tab:blue" if name.startswith(("hqs", "pgd")) else "tab:grey" if row["parameters"] else "lightgrey"
        for name, row in rows
    ]
    labels = [_named(name) + (f" ({row['parameters'] / 1000:.0f}k)" if row["parameters"] else "") for name, row in rows]
    axes.barh(labels, values, xerr=[row["psnr_spread"] / 2 for _, row in rows], color=colours)
    for place, (value, (_, row)) in enumerate(zip(values, rows, strict=True)):
        axes.text(value + row["psnr_spread"] / 2 + 0.05, place, f"{value:.2f}", va="center", fontsize=8)
    axes.set(xlim=(min(values) - 1, max(values) + 0.6), xlabel="PSNR (dB)", title="test photographs")
    axes.spines[["top", "right"]].set_visible(False)


def draw_reconstructions(config: dict[str, Any], folder: Path) -> Any:
    """Draw what the shipped models make of two photographs.

    Args:
        config: the preset's settings, with its name.
        folder: of shipped models.

    Returns:
        The figure.
    """
    from matplotlib import pyplot as plt

    settings = load_preset(FOLDER, config["preset"])
    kernel, name = kernel_of_reference(settings["kernel"])
    size = 256 if settings["measure"]["crop"] >= 128 else settings["measure"]["crop"]
    blur = CircularBlur(kernel, (size, size))
    clean, x = test_set(bundled("test"), blur, settings["noise"], None)
    models = load_all(Run(settings, settings["seeds"][0], Path("none")), folder)
    shown: list[tuple[str, Tensor]] = [("photograph", clean), (f"observation, {name}", x)]
    for key, label in (("explicit", "explicit, one pass"), ("pgd", "implicit, PGD"), ("hqs", "implicit, HQS")):
        if key in models:
            shown.append((label, reconstruct(models[key], x, blur, settings["measure"]["steps"])[0]))
    figure, axes = plt.subplots(
        len(clean), len(shown), figsize=(3 * len(shown), 3.3 * len(clean)), squeeze=False, constrained_layout=True
    )
    for column, (label, images) in enumerate(shown):
        scores = psnr(images, clean)
        for row, image in enumerate(images):
            panel = axes[row][column]
            panel.imshow(image.clamp(0, 1).permute(1, 2, 0).numpy())
            panel.set_title(label if column == 0 else f"{label}\n{float(scores[row]):.2f} dB", fontsize=10)
            panel.axis("off")
    return figure
