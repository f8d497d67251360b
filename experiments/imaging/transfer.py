"""Models on photographs and a blur they were never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from eqtheory.constructions import CircularBlur
from experiments.common.checkpoints import random_generator
from experiments.common.record import load_preset, write_result
from experiments.imaging.classical import plug_and_play
from experiments.imaging.measure import FOLDER, reconstruct, score, test_set
from experiments.imaging.photographs import bundled, load_folder, load_kernel, shaken_kernel
from experiments.imaging.shipped import load_all
from experiments.imaging.training import Run

__all__ = ["compare_on"]


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
        Scores by model, `psnr` by itself, and what was looked at.
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
        if name == "denoiser":
            method = plug_and_play(model, beta=0.2, level=0.05)
            scores["plug-and-play"] = score(method(x, blur), clean, x)
        else:
            scores[name] = score(reconstruct(model, x, blur, how["steps"])[0], clean, x)
    found = {
        "photographs": photographs.source,
        "images": len(clean),
        "kernel": "drawn camera shake" if kernel is None else kernel.name,
        "scores": scores,
        "psnr": {name: one["psnr"] for name, one in scores.items()},
    }
    write_result(results / "transfer.json", config={"preset": preset, **config}, measured=found)
    return found
