"""Photographs and blur kernels: from `EQTHEORY_DATA`, from any folder, or from what scikit-image and scikit-learn ship."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from experiments.common.checkpoints import random_generator

__all__ = [
    "Photographs",
    "as_photograph",
    "bundled",
    "kernel_of_reference",
    "load_folder",
    "load_kernel",
    "shaken_kernel",
    "split",
]

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
BUNDLED: dict[str, tuple[str, ...]] = {
    "train": ("chelsea.png", "rocket.jpg", "motorcycle_left.png", "china.jpg"),
    "val": ("flower.jpg",),
    "test": ("astronaut.png", "coffee.png"),
}
"""The photographs inside scikit-image and scikit-learn; they may be redistributed, so pictures of results show the test ones."""


def as_photograph(pixels: Tensor, name: str = "image") -> Tensor:
    """Check that something is a colour photograph.

    Args:
        pixels: shape `(3, height, width)`, values in [0, 1], or bytes.
        name: how messages call it.

    Returns:
        The photograph in float32.

    Raises:
        ShapeError: grey, with transparency, or without two spatial axes.
        NonFiniteError: a pixel is NaN or infinite.
        DomainError: values outside [0, 1].
    """
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ShapeError(
            name,
            came=f"shape {tuple(pixels.shape)}",
            needed="three colours: (3, height, width)",
            remedy="convert it first, for a grey image with pixels.expand(3, -1, -1)",
        )
    image = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
    wrong = int((~torch.isfinite(image)).sum())
    if wrong:
        raise NonFiniteError(
            name, came=f"{wrong} pixels that are not finite", needed="finite pixels", remedy="repair or drop the image"
        )
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise DomainError(
            name, came=f"values from {low:.4g} to {high:.4g}", needed="values in [0, 1]", remedy="divide by the largest"
        )
    return image


@final
@dataclass(frozen=True, slots=True)
class Photographs:
    """A list of photographs from which patches are cut.

    Args:
        images: each of shape `(3, height, width)`, float32 in [0, 1].
        source: where they come from, as results say it.
    """

    images: list[Tensor]
    source: str

    def _fitting(self, size: int) -> list[Tensor]:
        fitting = [image for image in self.images if min(image.shape[-2:]) >= size]
        if not fitting:
            raise InputError(
                "photographs",
                came=f"{len(self.images)} images from {self.source}, all smaller than {size} pixels",
                needed=f"at least one of {size} x {size}",
                remedy="give larger images or ask for smaller patches",
            )
        return fitting

    def batch(self, count: int, size: int, generator: torch.Generator) -> Tensor:
        """Cut patches at random, turned and mirrored.

        Args:
            count: how many.
            size: side of a patch.
            generator: where the choice comes from.

        Returns:
            Shape `(count, 3, size, size)`.
        """
        fitting = self._fitting(size)
        draws = torch.rand(count, 6, generator=generator, dtype=torch.float64)
        patches = []
        for draw in draws:
            image = fitting[int(draw[0] * len(fitting))]
            patch = _cut(image, size, draw[1], draw[2])
            patch = patch.flip(-1) if draw[3] < 0.5 else patch
            patch = patch.flip(-2) if draw[4] < 0.5 else patch
            patches.append(patch.transpose(-1, -2) if draw[5] < 0.5 else patch)
        return torch.stack(patches)

    def crops(self, size: int, seed: int, count: int | None = None) -> Tensor:
        """Cut one patch from each photograph, the same for everyone who asks with the same seed.

        Args:
            size: side of a patch.
            seed: of the positions.
            count: how many photographs, from the first; all by default.

        Returns:
            Shape `(images, 3, size, size)`.
        """
        fitting = self._fitting(size)[:count]
        draws = [torch.rand(2, generator=random_generator(seed, k), dtype=torch.float64) for k in range(len(fitting))]
        return torch.stack([_cut(image, size, *draw) for image, draw in zip(fitting, draws, strict=True)])


def _cut(image: Tensor, size: int, down: Tensor, right: Tensor) -> Tensor:
    top = int(down * (image.shape[-2] - size + 1))
    left = int(right * (image.shape[-1] - size + 1))
    return image[:, top : top + size, left : left + size]


def _read(path: Path) -> Tensor:
    from PIL import ImageOps

    with _opened(path) as image:
        return as_photograph(_colours(ImageOps.exif_transpose(image), path), path.name)


def _opened(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(path)
        image.load()
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(
            "image", f"{path.name}, which can not be read ({error})", "an image file", "repair or remove the file"
        ) from error
    return image


def _colours(image: Any, path: Path) -> Tensor:
    """Pixels of any mode as numbers in [0, 1], shape `(3, height, width)`; more than eight bits are kept, transparency is refused."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return torch.from_numpy(np.array(image, dtype=np.float64) / 65535).float().expand(3, -1, -1)
    if image.mode == "F":
        return torch.from_numpy(np.array(image, dtype=np.float32)).expand(3, -1, -1)
    if "A" in image.getbands() or "transparency" in image.info:
        lowest = int(np.array(image.convert("RGBA"))[..., 3].min())
        if lowest < 255:
            raise InputError(
                "image", f"{path.name} with transparent pixels", "an opaque photograph", "put it on a background first"
            )
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def load_folder(folder: Path) -> Photographs:
    """Read all images of a folder, in the order of their names; grey ones become colour.

    Args:
        folder: where they are.

    Returns:
        The photographs.

    Raises:
        InputError: no such folder, or no image in it.
    """
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not found:
        raise InputError(
            "images",
            came=f"{folder.name}, " + ("a folder without images" if folder.is_dir() else "which is no folder"),
            needed=f"a folder with files {', '.join(SUFFIXES)}",
            remedy="give the folder that holds the images themselves",
        )
    return Photographs([_read(path) for path in found], folder.name)


def bundled(part: Literal["train", "val", "test"]) -> Photographs:
    """Read the photographs that ship with scikit-image and scikit-learn.

    Args:
        part: of the split.

    Returns:
        The photographs.

    Raises:
        InputError: a package is not installed.
    """
    from importlib.util import find_spec

    roots = [
        Path(str(spec.origin)).parent / inside
        for package, inside in (("skimage", "data"), ("sklearn", "datasets/images"))
        if (spec := find_spec(package)) is not None
    ]
    paths = [root / name for name in BUNDLED[part] for root in roots if (root / name).exists()]
    if len(paths) != len(BUNDLED[part]):
        raise InputError(
            "photographs",
            came=f"{len(paths)} of {', '.join(BUNDLED[part])}",
            needed="scikit-image and scikit-learn with their photographs, or EQTHEORY_DATA with bsds500",
            remedy="pip install 'eqtheory[imaging]'",
        )
    return Photographs([_read(path) for path in paths], f"scikit-image and scikit-learn, {part}")


def split(part: Literal["train", "val", "test"], count: int | None = None) -> Photographs:
    """Read a part of BSDS500 if `EQTHEORY_DATA` is set, else of the bundled photographs.

    Args:
        part: of the split.
        count: how many images at most, from the first.

    Returns:
        The photographs; `source` says which they are.
    """
    root = os.environ.get("EQTHEORY_DATA")
    if not root:
        found = bundled(part)
        return Photographs(found.images[:count], found.source)
    # A part that is missing there is an error, and no reason to mix sources.
    return Photographs(load_folder(Path(root, "bsds500", part)).images[:count], f"bsds500, {part}")


def load_kernel(path: Path) -> Tensor:
    """Read a blur kernel: a numpy array, or an image whose brightness is the weight.

    Args:
        path: `.npy`, or an image.

    Returns:
        Shape `(height, width)`, float64. An image is normalised to sum 1; an array has to have that sum.

    Raises:
        InputError: unreadable, not two-dimensional, or an array that does not sum to 1.
    """
    if not path.is_file():
        raise InputError("kernel", came=f"{path.name}, which does not exist", needed="a file", remedy="check the path")
    if path.suffix == ".npy":
        kernel = _array(path)
    else:
        with _opened(path) as image:
            weights = as_photograph(_colours(image, path), path.name).double().mean(0)
        kernel = weights / weights.sum()
    if kernel.ndim != 2 or not bool(torch.isfinite(kernel).all()) or abs(float(kernel.sum()) - 1) > 1e-6:
        raise InputError(
            "kernel",
            came=f"{path.name} of shape {tuple(kernel.shape)} with sum {float(kernel.sum()):.6g}",
            needed="two axes, finite weights, sum 1",
            remedy="divide the weights by their sum",
        )
    return kernel / kernel.sum()


def _array(path: Path) -> Tensor:
    try:
        found = np.load(path, allow_pickle=False)
        return (
            torch.from_numpy(np.asarray(found, dtype=np.float64))
            if np.isrealobj(found)
            else torch.full((1, 1), torch.nan)
        )
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise InputError(
            "kernel",
            f"{path.name}, which can not be read ({error})",
            "an array of real numbers",
            "save it with numpy.save",
        ) from error


def shaken_kernel(size: int, generator: torch.Generator) -> Tensor:
    """Draw the blur of a shaken camera: the path of a point with smooth random velocity, drawn with a small pen.

    Args:
        size: side of the kernel in pixels.
        generator: where the path comes from.

    Returns:
        Shape `(size, size)`, float64, non-negative, sum 1, centred at its mean.
    """
    moments = 400
    spectrum = torch.randn(2, 6, generator=generator, dtype=torch.float64) / torch.arange(1, 7)
    phases = 2 * torch.pi * torch.rand(2, 6, 1, generator=generator, dtype=torch.float64)
    time = torch.linspace(0, 1, moments, dtype=torch.float64)
    waves = torch.sin(torch.pi * torch.arange(1, 7, dtype=torch.float64)[:, None] * time + phases)
    path = (spectrum[..., None] * waves).sum(1)
    path = path - path.mean(1, keepdim=True)
    path = path / path.abs().max() * (0.5 * size - 2)
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    pen = [torch.exp(-0.5 * ((axis[:, None] - along) / 0.6) ** 2) for along in path]
    kernel = pen[0] @ pen[1].T
    return kernel / kernel.sum()


def kernel_of_reference(choice: str) -> tuple[Tensor, str]:
    """Find the kernel that trains: one of Levin's if `EQTHEORY_DATA` is set, else a drawn one.

    Args:
        choice: for example `k2`.

    Returns:
        The kernel and its name.
    """
    root = os.environ.get("EQTHEORY_DATA")
    if root:
        return load_kernel(Path(root, "levin09", f"levin09_{choice}.npy")), f"levin09 {choice}"
    return shaken_kernel(17, random_generator(2, 17)), "drawn shake (seed 2)"
