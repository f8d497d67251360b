"""Measure all models of a preset: quality, curves over iterations, audits, gradient biases; results say where they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from eqtheory.constructions import CircularBlur
from eqtheory.solvers import Stop
from experiments.common.checkpoints import random_generator
from experiments.common.record import load_preset, write_result
from experiments.imaging.classical import peers, tune
from experiments.imaging.curves import quality_curve, slope_curve
from experiments.imaging.inspection import audited, gradient_biases
from experiments.imaging.models import ImplicitModel, observe
from experiments.imaging.photographs import Photographs, kernel_of_reference, split
from experiments.imaging.quality import psnr, ssim
from experiments.imaging.shipped import load_all
from experiments.imaging.training import Run

__all__ = ["FOLDER", "measure", "reconstruct", "score", "summary", "test_set"]

FOLDER = Path(__file__).parent
TRIALS = 4
"""Photographs on which plug-and-play and the other peers are tuned."""


def test_set(photographs: Photographs, blur: CircularBlur, noise: float, count: int | None) -> tuple[Tensor, Tensor]:
    """Cut one crop from each photograph and observe it; the same for every model.

    Args:
        photographs: to test on.
        blur: of the crops' size.
        noise: of the observations.
        count: photographs at most.

    Returns:
        Photographs and observations.
    """
    clean = photographs.crops(blur.size[0], 0, count)
    return clean, observe(clean, blur, noise, random_generator(0, 99))


@torch.no_grad()
def reconstruct(model: nn.Module, x: Tensor, blur: CircularBlur, steps: int, chunk: int = 20) -> tuple[Tensor, Tensor]:
    """Reconstruct images, a few at a time.

    Args:
        model: implicit or explicit.
        x: observations.
        blur: that made them.
        steps: iterations of an implicit model at most.
        chunk: images at a time.

    Returns:
        Images, and how many iterations each took (one for explicit models).
    """
    images, counts = [], []
    for part in torch.split(x, chunk):
        if isinstance(model, ImplicitModel):
            found = model.solve(part, blur, stop=Stop(rtol=1e-4, max_steps=steps))
            images.append(found.value)
            counts.append(found.steps)
        else:
            images.append(model(part, blur))
            counts.append(torch.ones(len(part), dtype=torch.long))
    return torch.cat(images), torch.cat(counts)


def score(found: Tensor, clean: Tensor, x: Tensor) -> dict[str, Any]:
    """Score reconstructions.

    Args:
        found: reconstructions.
        clean: photographs.
        x: observations.

    Returns:
        Mean PSNR and SSIM, and the share of images that came out better than their observation.
    """
    quality = psnr(found, clean)
    return {
        "psnr": float(quality.mean()),
        "ssim": float(ssim(found, clean).mean()),
        "improved": float((quality > psnr(x, clean)).double().mean()),
    }


def measure(
    preset: str,
    *,
    runs: Path,
    seeds: list[int] | None = None,
    results: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run all measurements of a preset and write them.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        runs: folder of training checkpoints; what is missing there is taken from the shipped models.
        seeds: the preset's by default; shipped models are measured once.
        results: folder for `imaging.json`.
        say: told what is done.

    Returns:
        What was measured.
    """
    config = load_preset(FOLDER, preset)
    out, how = results or FOLDER / "results", config["measure"]
    torch.set_num_threads(config["threads"])
    kernel, kernel_name = kernel_of_reference(config["kernel"])
    blur = CircularBlur(kernel, (how["crop"], how["crop"]))
    test, validation = split("test"), split("val")
    clean, x = test_set(test, blur, config["noise"], how["images"])
    tuning = test_set(validation, blur, config["noise"], min(TRIALS, how["images"]))
    measured: dict[str, Any] = {"kernel": kernel_name, "photographs": test.source, "observation": score(x, clean, x)}
    trained = [seed for seed in seeds or config["seeds"] if Run(config, seed, runs).path("denoiser").exists()]
    measured["models"], measured["shipped"] = [], not trained
    for seed in trained or [config["seeds"][0]]:
        say(f"seed {seed}")
        models = load_all(Run(config, seed, runs), out)
        measured["models"].append(_one_seed(models, seed, clean, x, blur, config, say))
        if seed == (trained or [config["seeds"][0]])[0]:
            measured["peers"] = _peers(models["denoiser"], tuning, clean, x, blur, say)
            measured["audits"] = _inspect(models, validation, kernel, config, say)
    measured["table"] = summary(measured)
    write_result(out / "imaging.json", config={"preset": preset, **config}, measured=measured)
    return measured


def _one_seed(
    models: dict[str, nn.Module],
    seed: int,
    clean: Tensor,
    x: Tensor,
    blur: CircularBlur,
    config: dict[str, Any],
    say: Callable[[str], None],
) -> dict[str, Any]:
    how = config["measure"]
    found: dict[str, Any] = {"seed": seed, "scores": {}, "curves": {}}
    for name, model in models.items():
        if name == "denoiser":
            continue
        images, counts = reconstruct(model, x, blur, how["steps"])
        row = score(images, clean, x) | {
            "parameters": sum(p.numel() for p in model.parameters()),
            "iterations": float(counts.double().mean()),
        }
        found["scores"][name] = row
        say(f"  {name}: {row['psnr']:.3f} dB, ssim {row['ssim']:.4f}, {row['iterations']:.1f} iterations")
        if isinstance(model, ImplicitModel):
            found["curves"][name] = _curves(model, clean, x, blur, how)
            say(
                f"  {name}: slopes {_short(found['curves'][name]['slope'])}, PSNR {_short(found['curves'][name]['psnr'])}"
            )
    return found


def _short(values: list[float]) -> str:
    return f"{values[0]:.3g} to {values[-1]:.3g}, largest {max(values):.3g}"


def _curves(model: ImplicitModel, clean: Tensor, x: Tensor, blur: CircularBlur, how: dict[str, Any]) -> dict[str, Any]:
    few = how["curve_images"]
    several = min(len(x), 4 * few)
    iterations = how["iterations"]
    from_zero = quality_curve(model, x[:several], clean[:several], blur, iterations)
    from_x = quality_curve(model, x[:several], clean[:several], blur, iterations, start=x[:several])
    slopes, about = slope_curve(model, x[:few], blur, iterations, how["quantiles"])
    return {
        "iterations": iterations,
        "images": several,
        **from_zero,
        "psnr_from_observation": from_x["psnr"],
        "slope_images": few,
        "slope": slopes.worst().tolist(),
        "slope_median": slopes.lower.median(dim=1).values.tolist(),
        "slope_iteration": slopes.iteration,
        "findings": [str(finding) for finding in slopes.findings],
        "waves": about,
    }


def _peers(
    denoiser: nn.Module,
    tuning: tuple[Tensor, Tensor],
    clean: Tensor,
    x: Tensor,
    blur: CircularBlur,
    say: Callable[[str], None],
) -> dict[str, Any]:
    found = {}
    for peer in peers(denoiser):  # type: ignore[arg-type]
        method, chosen = tune(peer, *tuning, blur)
        restored = torch.cat([method(part, blur) for part in torch.split(x, 20)])
        found[peer.name] = score(restored, clean, x) | {"chosen": chosen}
        say(f"  {peer.name} {chosen}: {found[peer.name]['psnr']:.3f} dB")
    return found


def _inspect(
    models: dict[str, nn.Module],
    photographs: Photographs,
    kernel: Tensor,
    config: dict[str, Any],
    say: Callable[[str], None],
) -> dict[str, Any]:
    found = {}
    how, noise = config["measure"], config["noise"]
    for name, model in models.items():
        if isinstance(model, ImplicitModel) and name in how["audits"]:
            audit = audited(model, photographs, kernel, noise, size=how["audit_size"], samples=how["audit_samples"])
            bias = gradient_biases(model, photographs, kernel, noise, size=how["audit_size"], samples=2)
            found[name] = {"audit": audit, "gradient_bias": bias}
            say(f"  audit of {name}: {audit['conclusion']}")
    return found


def summary(measured: dict[str, Any]) -> dict[str, Any]:
    """Put means and spreads over seeds, and the peers, into one table.

    Args:
        measured: what was measured so far.

    Returns:
        Rows by name: mean PSNR and SSIM, spread (largest less smallest) of PSNR over seeds, parameters.
    """
    rows: dict[str, Any] = {}
    for name in measured["models"][0]["scores"]:
        scores = [run["scores"][name] for run in measured["models"] if name in run["scores"]]
        values = [one["psnr"] for one in scores]
        rows[name] = {
            "psnr_mean": mean(values),
            "psnr_spread": max(values) - min(values),
            "ssim_mean": mean(one["ssim"] for one in scores),
            "seeds": len(values),
            "parameters": scores[0]["parameters"],
        }
    for name, one in measured.get("peers", {}).items():
        rows[name] = {
            "psnr_mean": one["psnr"],
            "psnr_spread": 0.0,
            "ssim_mean": one["ssim"],
            "seeds": 1,
            "parameters": 0,
        }
    return rows
