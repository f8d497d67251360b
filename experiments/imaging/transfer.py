"""Models on photographs and a blur they were never trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch

from eqtheory.constructions import CircularBlur
from eqtheory.learned import Denoiser
from experiments.common.checkpoints import random_generator
from experiments.common.record import load_preset, write_result
from experiments.imaging.classical import peers
from experiments.imaging.measure import FOLDER
from experiments.imaging.photographs import bundled, load_folder, load_kernel, shaken_kernel
from experiments.imaging.reconstruction import reconstruct, score, test_set
from experiments.imaging.shipped import load_all
from experiments.imaging.training import Run

__all__ = ["compare_on"]


def _chosen(results: Path) -> dict[str, Any]:
    """What the peers' parameters were tuned to on validation photographs, where that was measured."""
    path = results / "imaging.json"
    if not path.exists():
        return {}
    return {name: row["chosen"] for name, row in json.loads(path.read_text())["measured"]["peers"].items()}


def compare_on(
    images: Path | None, kernel: Path | None, *, preset: str, runs: Path, results: Path, seed: int | None = None
) -> dict[str, Any]:
    """Compare all models on other photographs, with another blur.

    Args:
        images: a folder of photographs; the bundled ones of all parts by default.
        kernel: a file; a drawn camera shake by default.
        preset: whose models are compared.
        runs: folder of training checkpoints.
        results: folder of shipped models, and of `transfer.json`.
        seed: whose models; the preset's first by default.

    Returns:
        Scores by model, `psnr` by itself, and what was looked at: `left_out` counts photographs that are smaller than a crop or more than
        the preset looks at.
    """
    config = load_preset(FOLDER, preset)
    torch.set_num_threads(config["threads"])
    how = config["measure"]
    photographs = bundled("test") if images is None else load_folder(images)
    blurring = shaken_kernel(15, random_generator(5)) if kernel is None else load_kernel(kernel)
    blur = CircularBlur(blurring, (how["crop"], how["crop"]))
    clean, x = test_set(photographs, blur, config["noise"], how["images"])
    models = load_all(Run(config, config["seeds"][0] if seed is None else seed, runs), results)
    scores: dict[str, Any] = {"observation": score(x, clean, x)}
    for name, model in models.items():
        if name != "denoiser":
            scores[name] = score(reconstruct(model, x, blur, how["steps"])[0], clean, x)
    chosen = _chosen(results)
    for peer in peers(cast("Denoiser", models["denoiser"].cpu())):
        choice = chosen.get(peer.name, peer.grid[len(peer.grid) // 2])
        scores[peer.name] = score(peer.make(**choice)(x, blur), clean, x) | {"chosen": choice}
    found = {
        "photographs": photographs.source,
        "images": len(clean),
        "left_out": len(photographs.images) - len(clean),
        "kernel": "drawn camera shake" if kernel is None else kernel.name,
        "scores": scores,
        "psnr": {name: one["psnr"] for name, one in scores.items()},
    }
    write_result(results / "transfer.json", config={"preset": preset, **config}, measured=found)
    return found
