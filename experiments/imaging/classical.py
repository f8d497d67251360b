"""Classical peers, each tuned on validation photographs: Wiener, Richardson-Lucy, total variation, plug-and-play.

All know the blur, the noise level and that boundaries are periodic; where a routine of scikit-image assumes other boundaries, the image
is continued periodically first, by more than the kernel's reach, so that none is put at a disadvantage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from eqtheory.constructions import CircularBlur, HalfQuadraticSplitting
from eqtheory.errors import NonFiniteError
from eqtheory.learned import Denoiser
from experiments.imaging.quality import psnr

__all__ = ["Peer", "peers", "plug_and_play", "tune"]

_MARGIN = 8
"""Pixels by which an image is continued periodically around the proximal map of total variation, which does not reach further."""
Method = Callable[[Tensor, CircularBlur], Tensor]


@final
@dataclass(frozen=True)
class Peer:
    """A family of methods with parameters to choose.

    Args:
        name: of the method.
        make: from parameters to the method.
        grid: the parameters tried.
    """

    name: str
    make: Callable[..., Method]
    grid: Sequence[dict[str, float]]


def _each(x: Tensor, restore: Callable[[Any], Any]) -> Tensor:
    """Apply a routine for arrays `(height, width, channels)` to every image."""
    found = [restore(image.permute(1, 2, 0).double().numpy()) for image in x]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).to(x.dtype)


def _odd(kernel: Tensor) -> Any:
    """The kernel with odd sides, so that its centre is the one the blur uses."""
    array = kernel.double().numpy()
    return np.pad(array, [(0, 1 - side % 2) for side in array.shape])


def _wiener(balance: float) -> Method:
    from skimage.restoration import wiener

    def method(x: Tensor, blur: CircularBlur) -> Tensor:
        kernel = _odd(blur.kernel)

        def restore(image: Any) -> Any:
            return np.stack([wiener(channel, kernel, balance, clip=False) for channel in image.transpose(2, 0, 1)], -1)

        return _each(x, restore)

    return method


def _richardson_lucy(steps: float) -> Method:
    from skimage.restoration import richardson_lucy

    def method(x: Tensor, blur: CircularBlur) -> Tensor:
        kernel = _odd(blur.kernel)
        reach = 2 * max(kernel.shape)

        def restore(image: Any) -> Any:
            wide = np.pad(image, [(reach, reach), (reach, reach), (0, 0)], mode="wrap").clip(1e-4, None)
            found = [richardson_lucy(channel, kernel, num_iter=int(steps)) for channel in wide.transpose(2, 0, 1)]
            return np.stack(found, -1)[reach:-reach, reach:-reach]

        return _each(x, restore)

    return method


def _total_variation(weight: float, beta: float) -> Method:
    """Half-quadratic splitting with the proximal map of total variation, 20 steps, as T10's operator.

    Its fixed point minimises the data term plus a smoothed total variation (a Moreau envelope, closer to it for larger `beta`).

    Returns:
        The method.
    """
    from skimage.restoration import denoise_tv_chambolle

    def denoised(image: Any) -> Any:
        wide = np.pad(image, [(_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)], mode="wrap")
        found = denoise_tv_chambolle(wide, weight=weight, channel_axis=-1, max_num_iter=40)
        return found[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]

    def prox(v: Tensor) -> Tensor:
        return _each(v, denoised)

    def method(x: Tensor, blur: CircularBlur) -> Tensor:
        operator = HalfQuadraticSplitting(blur, prox, beta)
        z = torch.zeros_like(x)
        for _ in range(20):
            z = operator(z, x)
        return z

    return method


def plug_and_play(denoiser: Callable[[Tensor, float], Tensor], *, beta: float, level: float, steps: int = 40) -> Method:
    """Half-quadratic splitting around an untouched denoiser.

    Args:
        denoiser: trained on Gaussian noise only.
        beta: coupling.
        level: noise level it is told.
        steps: iterations.

    Returns:
        The method.
    """

    @torch.no_grad()
    def method(x: Tensor, blur: CircularBlur) -> Tensor:
        operator = HalfQuadraticSplitting(blur, lambda v: denoiser(v, level), beta)
        z = torch.zeros_like(x)
        for _ in range(steps):
            z = operator(z, x)
        return z

    return method


def peers(denoiser: Denoiser) -> list[Peer]:
    """List the peers with the parameters they are tuned over.

    Args:
        denoiser: the pre-trained network, for plug-and-play.

    Returns:
        The peers.
    """
    return [
        Peer("Wiener", _wiener, [{"balance": b} for b in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)]),
        Peer("Richardson-Lucy", _richardson_lucy, [{"steps": k} for k in (3, 5, 8, 12, 18, 30)]),
        Peer(
            "total variation",
            _total_variation,
            [{"weight": w, "beta": b} for b in (0.1, 0.2, 0.4) for w in (0.01, 0.015, 0.02, 0.03, 0.05)],
        ),
        Peer(
            "plug-and-play",
            lambda beta, level: plug_and_play(denoiser, beta=beta, level=level),
            [{"beta": b, "level": s} for b in (0.03, 0.06, 0.1, 0.2, 0.4) for s in (0.05, 0.08, 0.11, 0.15)],
        ),
    ]


def tune(peer: Peer, clean: Tensor, x: Tensor, blur: CircularBlur) -> tuple[Method, dict[str, float]]:
    """Choose the parameters with the best mean PSNR.

    Args:
        peer: the family.
        clean: validation photographs.
        x: their observations.
        blur: that made them.

    Returns:
        The best method and its parameters.

    Raises:
        NonFiniteError: every choice diverges.
    """
    scored = [float(psnr(peer.make(**choice)(x, blur), clean).mean()) for choice in peer.grid]
    finite = [k for k, value in enumerate(scored) if not math.isnan(value)]  # NaN would win every comparison
    if not finite:
        raise NonFiniteError(
            peer.name, f"{len(scored)} choices without a finite PSNR", "one that does not diverge", "widen its grid"
        )
    best = peer.grid[max(finite, key=scored.__getitem__)]
    return peer.make(**best), best
