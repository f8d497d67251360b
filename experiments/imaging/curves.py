"""What an implicit model computes after `t` iterations: how good it is, and how steep."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqtheory.constructions import CircularBlur
from eqtheory.errors import InputError
from eqtheory.lipschitz import Curve, curve
from experiments.imaging.models import ImplicitModel
from experiments.imaging.quality import psnr

__all__ = ["quality_curve", "slope_curve", "wave_tangents"]


@torch.no_grad()
def quality_curve(
    model: ImplicitModel,
    x: Tensor,
    clean: Tensor,
    blur: CircularBlur,
    iterations: list[int],
    start: Tensor | None = None,
) -> dict[str, list[float]]:
    """Follow PSNR over iterations.

    Args:
        model: the model.
        x: observations.
        clean: photographs.
        blur: that made the observations.
        iterations: increasing numbers of iterations to look at.
        start: where to begin; zero by default.

    Returns:
        `psnr`: the mean at each; `drop`: by how much it is below its largest earlier value; `residual`: the largest relative residual.
    """
    operator, wanted = model.operator(blur), set(iterations)
    y = operator.initial_state(x) if start is None else start
    found: dict[str, list[float]] = {"psnr": [], "residual": []}
    for t in range(1, iterations[-1] + 1):
        after = operator(y, x)
        if t in wanted:
            moved = (after - y).flatten(1).norm(dim=1) / after.flatten(1).norm(dim=1)
            found["psnr"].append(float(psnr(after, clean).mean()))
            found["residual"].append(float(moved.max()))
        y = after
    best = torch.tensor(found["psnr"], dtype=torch.float64).cummax(0).values
    found["drop"] = (best - torch.tensor(found["psnr"], dtype=torch.float64)).tolist()
    return found


def wave_tangents(blur: CircularBlur, quantiles: list[float]) -> tuple[Tensor, dict[str, list[float]]]:
    """Build the changes of an observation that waves of the image make: `A v / |A v|` for singular vectors `v`, grey.

    Args:
        blur: the blur `A`.
        quantiles: of spatial frequency.

    Returns:
        Orthonormal tangents, shape `(quantiles, 3 h w)`; the singular values and frequencies.

    Raises:
        InputError: the blur wipes a wave out.
    """
    found = blur.singular_vectors(quantiles)
    if not bool((found.values > 1e-6 * blur.norm.value).all()):
        raise InputError(
            "quantiles",
            f"waves with singular values {found.values.tolist()}",
            "waves that the blur leaves more than rounding of",
            "choose other quantiles",
        )
    grey = found.vectors.expand(-1, 3, -1, -1)
    moved = blur(grey.contiguous()).flatten(1)
    tangents = moved / moved.norm(dim=1, keepdim=True)
    about = {"singular_values": found.values.tolist(), "frequencies": found.frequencies.norm(dim=1).tolist()}
    return tangents, about


def slope_curve(
    model: ImplicitModel, x: Tensor, blur: CircularBlur, iterations: list[int], quantiles: list[float]
) -> tuple[Curve, dict[str, Any]]:
    """Follow the slope of observation to iterate over iterations, all in one pass.

    Args:
        model: the model.
        x: observations.
        blur: that made them.
        iterations: to look at.
        quantiles: of spatial frequency.

    Returns:
        The curve, a lower bound on the local Lipschitz constant at every image, and what the tangents are.
    """
    tangents, about = wave_tangents(blur, quantiles)
    return curve(model.operator(blur), x, iterations, block=tangents.to(x)), about
