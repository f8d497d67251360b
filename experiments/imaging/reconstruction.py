"""Test sets, reconstructions of many images, and how good they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eqtheory.constructions import CircularBlur
from eqtheory.errors import NonFiniteError
from eqtheory.solvers import Stop
from experiments.common.checkpoints import accelerator, random_generator
from experiments.imaging.models import ImplicitModel, observe
from experiments.imaging.photographs import Photographs
from experiments.imaging.quality import psnr, ssim

__all__ = ["reconstruct", "score", "test_set"]


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
