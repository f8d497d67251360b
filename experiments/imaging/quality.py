"""Peak signal-to-noise ratio and structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["psnr", "ssim"]


def psnr(found: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of images with values in [0, 1], after clipping to that range.

    Args:
        found: shape `(batch, channels, height, width)`.
        clean: the same.

    Returns:
        Decibels, shape `(batch,)`; NaN images have NaN.
    """
    error = (found.clamp(0, 1) - clean).square().flatten(1).double().mean(1)
    return -10 * torch.log10(error)


def ssim(found: Tensor, clean: Tensor) -> Tensor:
    """Structural similarity as scikit-image computes it, with Gaussian weights.

    Args:
        found: shape `(batch, channels, height, width)`.
        clean: the same.

    Returns:
        Shape `(batch,)`.
    """
    from skimage.metrics import structural_similarity

    def one(a: Tensor, b: Tensor) -> float:
        return float(
            structural_similarity(
                a.clamp(0, 1).double().numpy(),
                b.double().numpy(),
                channel_axis=0,
                data_range=1.0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
        )

    return torch.tensor([one(a, b) for a, b in zip(found, clean, strict=True)], dtype=torch.float64)
