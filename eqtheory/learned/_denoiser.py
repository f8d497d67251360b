"""A denoiser of images: a bias-free U-Net that is told the noise level.

Without biases and with ReLU the network is positively homogeneous in the pair (image, noise level): scaling both scales the
result, so one network serves every contrast and every noise level it was shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from eqtheory.errors import DomainError, ShapeError

__all__ = ["Denoiser", "DenoiserSize"]


@dataclass(frozen=True, slots=True)
class _Shape:
    widths: tuple[int, ...]
    blocks: int
    fold: int
    residual: bool


class DenoiserSize(Enum):
    """How large a denoiser is; parameters for three colours."""

    SMALL = _Shape((24, 40), blocks=1, fold=2, residual=True)
    """About 63 thousand parameters, at half resolution: trains in minutes on one core."""
    BASE = _Shape((32, 64, 128), blocks=2, fold=1, residual=True)
    """About 1 million parameters."""
    PAPER = _Shape((64, 128, 256, 512), blocks=4, fold=1, residual=False)
    """32.64 million parameters: the architecture of DRUNet."""


def _conv(into: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1, bias=False)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.relu(self.first(x)))


def _stage(width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(width) for _ in range(blocks)))


@final
class Denoiser(nn.Module):
    """Remove Gaussian noise of a known level from images.

    A U-Net of residual blocks with strided downsampling, transposed upsampling and additive skips. The noise level enters as one
    more channel. `fold` first trades resolution for channels (pixel unshuffling), `residual` makes the network predict the noise
    and not the image.

    Args:
        size: widths, blocks a level, folding; see `DenoiserSize`.
        channels: colours of an image.
        generator: where the initial weights come from; torch's own state if not given.

    Raises:
        DomainError: fewer than one channel.

    References:
        Zhang, Li, Zuo, Zhang, Van Gool, Timofte, Plug-and-play image restoration with deep denoiser prior, IEEE TPAMI 2022 (DRUNet);
        Zhang, Zuo, Zhang, FFDNet, IEEE TIP 2018 (folding).

    Example:
        >>> import torch
        >>> from eqtheory.learned import Denoiser, DenoiserSize
        >>> denoise = Denoiser(DenoiserSize.SMALL, generator=torch.Generator().manual_seed(0))
        >>> denoise(torch.rand(2, 3, 32, 48), 0.1).shape
        torch.Size([2, 3, 32, 48])
    """

    def __init__(
        self, size: DenoiserSize = DenoiserSize.SMALL, channels: int = 3, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if channels < 1:
            raise DomainError("channels", came=str(channels), needed="at least 1", remedy="give the number of colours")
        self.size, self.channels = size, channels
        shape = size.value
        widths, folded = shape.widths, shape.fold**2
        self.head = _conv((channels + 1) * folded, widths[0])
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(_stage(narrow, shape.blocks), nn.Conv2d(narrow, wide, 2, stride=2, bias=False))
            for narrow, wide in pairs
        )
        self.body = _stage(widths[-1], shape.blocks)
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(wide, narrow, 2, stride=2, bias=False), _stage(narrow, shape.blocks))
            for narrow, wide in reversed(pairs)
        )
        self.tail = _conv(widths[0], channels * folded)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        for weight in self.parameters():
            fan_in = weight[0].numel()
            nn.init.normal_(weight, std=(1 / fan_in) ** 0.5, generator=generator)
        for module in self.modules():  # blocks begin close to the identity, and the whole close to its skip
            if isinstance(module, _Residual):
                module.second.weight.mul_(0.1)
        if self.size.value.residual:
            self.tail.weight.mul_(0.1)

    @property
    def multiple(self) -> int:
        """What the sides of an image are padded to a multiple of."""
        return int(self.size.value.fold * 2 ** len(self.down))

    def forward(self, image: Tensor, noise_level: Tensor | float) -> Tensor:
        """Denoise.

        Args:
            image: shape `(batch, channels, height, width)`; sides that are no multiple of `multiple` are padded by replication.
            noise_level: standard deviation of the noise, in the units of the image: a number, or a tensor of shape `()` or
                `(batch,)`.

        Returns:
            The denoised image, the shape of `image`.

        Raises:
            ShapeError: another number of channels or axes.
        """
        if image.ndim != 4 or image.shape[1] != self.channels:
            raise ShapeError(
                "image",
                came=f"shape {tuple(image.shape)}",
                needed=f"(batch, {self.channels}, height, width)",
                remedy="convert grey images to colour, or build a denoiser with other channels",
            )
        height, width = image.shape[-2:]
        extra = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = functional.pad(image, extra, mode="replicate") if any(extra) else image
        level = torch.as_tensor(noise_level, dtype=image.dtype, device=image.device).reshape(-1, 1, 1, 1)
        level = level.expand(len(image), 1, *padded.shape[-2:])
        found = self._network(torch.cat([padded, level], dim=1))
        result = padded + found if self.size.value.residual else found
        return result[..., :height, :width]

    def _network(self, x: Tensor) -> Tensor:
        fold = self.size.value.fold
        x = self.head(functional.pixel_unshuffle(x, fold) if fold > 1 else x)
        skips = []
        for level in self.down:
            skips.append(x)
            x = level(x)
        skips.append(x)
        x = self.body(x)
        for level in self.up:
            x = level(x + skips.pop())
        x = self.tail(x + skips.pop())
        return functional.pixel_shuffle(x, fold) if fold > 1 else x
