"""Parts of a measurement that are independent of each other: the models of a seed, the peers, the audit of an operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from eqtheory.constructions import CircularBlur
from eqtheory.learned import Denoiser
from experiments.common.checkpoints import accelerator, digest
from experiments.common.parts import part
from experiments.imaging.classical import peers, tune
from experiments.imaging.curves import quality_curve, slope_curve
from experiments.imaging.inspection import audited, gradient_biases
from experiments.imaging.models import ImplicitModel
from experiments.imaging.photographs import Photographs, kernel_of_reference, split
from experiments.imaging.reconstruction import reconstruct, score, test_set
from experiments.imaging.shipped import load, load_all
from experiments.imaging.training import Run

__all__ = ["all_peers", "inspect", "one_seed", "prepared"]

TRIALS = 4
"""Photographs on which plug-and-play and the other peers are tuned."""


def prepared(config: dict[str, Any]) -> tuple[CircularBlur, Tensor, Tensor, str, Photographs]:
    """Make the test set of a preset.

    Args:
        config: the preset's settings.

    Returns:
        The blur, photographs, observations, the kernel's name, and what the photographs were cut from.
    """
    torch.set_num_threads(config["threads"])
    kernel, name = kernel_of_reference(config["kernel"])
    how, test = config["measure"], split("test")
    blur = CircularBlur(kernel, (how["crop"], how["crop"]))
    clean, x = test_set(test, blur, config["noise"], how["images"])
    return blur, clean, x, name, test


def _kept(
    name: str, run: Run, models: dict[str, nn.Module], photographs: Photographs, compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """A part of the measurement, kept beside the checkpoints with what it was computed from."""
    weights = {name: digest(*model.state_dict().values()) for name, model in models.items()}
    key = {"config": run.config, "seed": run.seed, "weights": weights, "photographs": digest(*photographs.images)}
    return cast("dict[str, Any]", part(run.folder / "measured" / f"{name}.json", key, compute))


def one_seed(run: Run, out: Path) -> dict[str, Any]:
    """Score all models of a seed and follow the implicit ones over iterations.

    Args:
        run: where the models are.
        out: folder of shipped models.

    Returns:
        `scores` and `curves` by model.
    """
    config = run.config
    blur, clean, x, _, photographs = prepared(config)
    models = load_all(run, out)

    def compute() -> dict[str, Any]:
        found: dict[str, Any] = {"seed": run.seed, "scores": {}, "curves": {}}
        for name, model in models.items():
            if name != "denoiser":
                _one_model(found, name, model, blur, clean, x, config["measure"])
        return found

    return _kept(f"seed{run.seed}", run, models, photographs, compute)


def _one_model(
    found: dict[str, Any],
    name: str,
    model: nn.Module,
    blur: CircularBlur,
    clean: Tensor,
    x: Tensor,
    how: dict[str, Any],
) -> None:
    images, counts = reconstruct(model, x, blur, how["steps"])
    row = score(images, clean, x) | {
        "parameters": sum(p.numel() for p in model.parameters()),
        "iterations": float(counts.double().mean()),
    }
    found["scores"][name] = row
    print(f"{name}, seed {found['seed']}: {row['psnr']:.3f} dB, {row['iterations']:.1f} iterations", flush=True)
    if isinstance(model, ImplicitModel):
        found["curves"][name] = one = _curves(model, clean, x, blur, how)
        text = f"slopes {_short(one['slope'])}; PSNR {_short(one['psnr'])}"
        print(f"{name}, seed {found['seed']}: {text}", flush=True)


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


def all_peers(run: Run, out: Path) -> dict[str, Any]:
    """Tune the classical peers on validation photographs and score them.

    Args:
        run: where the denoiser for plug-and-play is.
        out: folder of shipped models.

    Returns:
        Scores and choices by peer.
    """
    config = run.config
    blur, clean, x, _, photographs = prepared(config)
    tuning = test_set(split("val"), blur, config["noise"], min(TRIALS, config["measure"]["images"]))
    # The routines of scikit-image work on the host, and so do all peers.
    denoiser = cast("Denoiser", load("denoiser", run, out).cpu())

    def compute() -> dict[str, Any]:
        found = {}
        for peer in peers(denoiser):
            method, chosen = tune(peer, *tuning, blur)
            restored = torch.cat([method(some, blur) for some in torch.split(x, 20)])
            found[peer.name] = score(restored, clean, x) | {"chosen": chosen}
            print(f"{peer.name} {chosen}: {found[peer.name]['psnr']:.3f} dB", flush=True)
        return found

    return _kept("peers", run, {"denoiser": denoiser}, photographs, compute)


def inspect(name: str, run: Run, out: Path) -> dict[str, Any]:
    """Audit a trained operator, and say how far cheap gradients are off at it.

    Args:
        name: of the model.
        run: where it is.
        out: folder of shipped models.

    Returns:
        `audit` and `gradient_bias`.
    """
    config = run.config
    torch.set_num_threads(config["threads"])
    kernel, _ = kernel_of_reference(config["kernel"])
    photographs, how = split("val"), config["measure"]
    model = cast("ImplicitModel", load(name, run, out))
    where = {"photographs": photographs, "kernel": kernel, "noise": config["noise"], "size": how["audit_size"]}

    def compute() -> dict[str, Any]:
        audit = audited(model, **where, samples=how["audit_samples"])
        print(f"audit of {name}: {audit['conclusion']}", flush=True)
        return {"audit": audit, "gradient_bias": gradient_biases(model, **where, samples=2)}

    return _kept(f"audit_{name}", run, {name: model}, photographs, compute)
