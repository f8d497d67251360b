"""Measure all models of a preset: quality, curves over iterations, audits, gradient biases; results say where they come from."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any, cast

import torch
from torch import Tensor, nn

from eqtheory.constructions import CircularBlur
from eqtheory.errors import NonFiniteError
from eqtheory.learned import Denoiser
from eqtheory.solvers import Stop
from experiments.common.checkpoints import accelerator, random_generator
from experiments.common.record import load_preset, write_result
from experiments.imaging.classical import peers, tune
from experiments.imaging.curves import quality_curve, slope_curve
from experiments.imaging.inspection import audited, gradient_biases
from experiments.imaging.models import ImplicitModel, observe
from experiments.imaging.photographs import Photographs, kernel_of_reference, split
from experiments.imaging.quality import psnr, ssim
from experiments.imaging.shipped import available, load, load_all
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
    for part in torch.split(x.to(accelerator()), chunk):
        if isinstance(model, ImplicitModel):
            found = model.solve(part, blur, stop=Stop(rtol=1e-4, max_steps=steps))
            images.append(found.value.cpu())
            counts.append(found.steps.cpu())
        else:
            images.append(model(part, blur).cpu())
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

    Raises:
        NonFiniteError: an image is not finite.
    """
    quality = psnr(found, clean)
    broken = int((torch.isnan(quality)).sum())
    if broken:
        raise NonFiniteError(
            "found", f"{broken} images of {len(found)} with NaN", "finite images", "look at that model"
        )
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
    workers: int = 1,
) -> dict[str, Any]:
    """Run all measurements of a preset and write them.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        runs: folder of training checkpoints; what is missing there is taken from the shipped models.
        seeds: the preset's by default, of which those count that were trained or ship.
        results: folder for `imaging.json`.
        workers: processes; seeds, peers and audits are independent of each other.

    Returns:
        What was measured.

    Raises:
        FileNotFoundError: a seed that was asked for was not trained.
    """
    config = load_preset(FOLDER, preset)
    out = results or FOLDER / "results"
    chosen = [seed for seed in seeds or config["seeds"] if available("denoiser", Run(config, seed, runs), out)]
    missing = [seed for seed in seeds or config["seeds"] if seed not in chosen]
    if not chosen or (missing and seeds):
        raise FileNotFoundError(
            f"model denoiser: got no checkpoint of seeds {missing}; needed one; run the command train"
        )
    # One after the other, or in processes of their own; the longest ones first.
    tasks = [*(partial(_one_seed, preset, seed, runs, out) for seed in chosen)]
    tasks += [partial(_peers, preset, chosen[0], runs, out), partial(_inspect, preset, chosen[0], runs, out)]
    if workers == 1:
        parts = [task() for task in tasks]
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = [future.result() for future in [pool.submit(task) for task in tasks]]
    _, clean, x, kernel_name, source = _prepared(config)
    measured: dict[str, Any] = {
        "kernel": kernel_name,
        "photographs": source,
        "observation": score(x, clean, x),
        "models": parts[:-2],
        "seeds": chosen,
        "seeds_not_trained": missing,
        "peers": parts[-2],
        "audits": parts[-1],
    }
    measured["table"] = summary(measured)
    write_result(out / "imaging.json", config={"preset": preset, **config}, measured=measured)
    return measured


def _prepared(config: dict[str, Any]) -> tuple[CircularBlur, Tensor, Tensor, str, str]:
    torch.set_num_threads(config["threads"])
    kernel, name = kernel_of_reference(config["kernel"])
    how, test = config["measure"], split("test")
    blur = CircularBlur(kernel, (how["crop"], how["crop"]))
    clean, x = test_set(test, blur, config["noise"], how["images"])
    return blur, clean, x, name, test.source


def _one_seed(preset: str, seed: int, runs: Path, out: Path) -> dict[str, Any]:
    config = load_preset(FOLDER, preset)
    blur, clean, x, _, _ = _prepared(config)
    how = config["measure"]
    found: dict[str, Any] = {"seed": seed, "scores": {}, "curves": {}}
    for name, model in load_all(Run(config, seed, runs), out).items():
        if name == "denoiser":
            continue
        images, counts = reconstruct(model, x, blur, how["steps"])
        row = score(images, clean, x) | {
            "parameters": sum(p.numel() for p in model.parameters()),
            "iterations": float(counts.double().mean()),
        }
        found["scores"][name] = row
        print(f"{name}, seed {seed}: {row['psnr']:.3f} dB, {row['iterations']:.1f} iterations", flush=True)
        if isinstance(model, ImplicitModel):
            found["curves"][name] = one = _curves(model, clean, x, blur, how)
            print(f"{name}, seed {seed}: slopes {_short(one['slope'])}; PSNR {_short(one['psnr'])}", flush=True)
    return found


def _short(values: list[float]) -> str:
    return f"{values[0]:.3g} to {values[-1]:.3g}, largest {max(values):.3g}"


def _curves(model: ImplicitModel, clean: Tensor, x: Tensor, blur: CircularBlur, how: dict[str, Any]) -> dict[str, Any]:
    few = how["curve_images"]
    several = min(len(x), 4 * few)
    clean, x = clean.to(accelerator()), x.to(accelerator())
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


def _peers(preset: str, seed: int, runs: Path, out: Path) -> dict[str, Any]:
    config = load_preset(FOLDER, preset)
    blur, clean, x, _, _ = _prepared(config)
    tuning = test_set(split("val"), blur, config["noise"], min(TRIALS, config["measure"]["images"]))
    found = {}
    # The routines of scikit-image work on the host, and so do all peers.
    for peer in peers(cast("Denoiser", load("denoiser", Run(config, seed, runs), out).cpu())):
        method, chosen = tune(peer, *tuning, blur)
        restored = torch.cat([method(part, blur) for part in torch.split(x, 20)])
        found[peer.name] = score(restored, clean, x) | {"chosen": chosen}
        print(f"{peer.name} {chosen}: {found[peer.name]['psnr']:.3f} dB", flush=True)
    return found


def _inspect(preset: str, seed: int, runs: Path, out: Path) -> dict[str, Any]:
    config = load_preset(FOLDER, preset)
    torch.set_num_threads(config["threads"])
    kernel, _ = kernel_of_reference(config["kernel"])
    photographs, how, found = split("val"), config["measure"], {}
    for name in how["audits"]:
        model = cast("ImplicitModel", load(name, Run(config, seed, runs), out))
        where = {"photographs": photographs, "kernel": kernel, "noise": config["noise"], "size": how["audit_size"]}
        audit = audited(model, **where, samples=how["audit_samples"])
        found[name] = {"audit": audit, "gradient_bias": gradient_biases(model, **where, samples=2)}
        print(f"audit of {name}: {audit['conclusion']}", flush=True)
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
