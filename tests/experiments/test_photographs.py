"""Photographs, patches, kernels, and the bad input that every model of the deblurring experiment refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from eqtheory.constructions import CircularBlur
from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from experiments.common.checkpoints import random_generator
from experiments.imaging.denoising import new_denoiser
from experiments.imaging.models import ImplicitModel, OnePass, Unrolled
from experiments.imaging.photographs import (
    Photographs,
    as_photograph,
    bundled,
    load_folder,
    load_kernel,
    shaken_kernel,
    split,
)


def box(size: int = 5) -> Tensor:
    return torch.full((size, size), 1 / size**2, dtype=torch.float64)


def test_bundled_photographs_do_not_overlap_and_serve_where_there_is_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EQTHEORY_DATA", raising=False)
    parts = {part: split(part) for part in ("train", "val", "test")}  # type: ignore[arg-type]
    means = {part: {float(image.mean()) for image in found.images} for part, found in parts.items()}
    assert len(set.union(*means.values())) == sum(len(found.images) for found in parts.values()) == 7
    assert all(
        image.shape[0] == 3 and min(image.shape[1:]) >= 128 for found in parts.values() for image in found.images
    )


def test_patches_depend_on_the_generator_alone_and_crops_on_nothing() -> None:
    photographs = bundled("test")
    one, two = (photographs.batch(4, 32, random_generator(1, 2)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, photographs.batch(4, 32, random_generator(1, 3)))
    assert torch.equal(photographs.crops(64, 0)[:1], photographs.crops(64, 0, 1))


def test_bad_images_get_a_message_that_helps(tmp_path: Path) -> None:
    good = torch.rand(3, 8, 8)
    assert as_photograph((255 * good).to(torch.uint8)).dtype == torch.float32
    with pytest.raises(
        ShapeError, match=r"image: got shape \(1, 8, 8\), needed three colours: \(3, height, width\); convert"
    ):
        as_photograph(good[:1])
    spoiled = good.clone()
    spoiled[0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="image: got 1 pixels that are not finite"):
        as_photograph(spoiled)
    with pytest.raises(DomainError, match=r"needed values in \[0, 1\]; divide by the largest"):
        as_photograph(255 * good)
    with pytest.raises(InputError, match="which is no folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="a folder without images"):
        load_folder(tmp_path)
    with pytest.raises(InputError, match="all smaller than 64 pixels"):
        Photographs([good], "one image").crops(64, 0)


def test_bad_kernels_get_a_message_that_helps(tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", 2 * box().numpy())
    with pytest.raises(
        InputError, match=r"kernel: got two.npy of shape \(5, 5\) with sum 2, needed two axes, finite weights, sum 1"
    ):
        load_kernel(tmp_path / "two.npy")
    with pytest.raises(InputError, match="which does not exist"):
        load_kernel(tmp_path / "none.npy")
    Image.fromarray(np.full((5, 7), 80, dtype=np.uint8)).save(tmp_path / "flat.png")
    assert torch.allclose(load_kernel(tmp_path / "flat.png"), torch.full((5, 7), 1 / 35, dtype=torch.float64))
    with pytest.raises(InputError, match="sum"):
        CircularBlur(2 * box(), (16, 16))


def test_a_drawn_shake_is_a_kernel() -> None:
    kernel = shaken_kernel(15, random_generator(5))
    assert kernel.shape == (15, 15)
    assert float(kernel.min()) >= 0
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
    assert not torch.allclose(kernel, shaken_kernel(15, random_generator(6)))


@pytest.mark.parametrize("kind", ["implicit", "one pass", "unrolled"])
def test_bad_observations_are_refused_by_every_model(kind: str) -> None:
    blur, denoiser = CircularBlur(box(), (16, 16)), new_denoiser("small", 0).requires_grad_(requires_grad=False)
    model = {
        "implicit": ImplicitModel(denoiser, splitting=True, step=0.2, level=0.1),
        "one pass": OnePass(denoiser, level=0.1),
        "unrolled": Unrolled(denoiser, 2, step=0.2, level=0.1),
    }[kind]
    x = torch.rand(2, 3, 16, 16)
    assert model(x, blur).shape == x.shape
    for wrong in (x[:, :1], x[..., :12], x[0]):
        with pytest.raises(ShapeError, match="colour images of the blur's size"):
            model(wrong, blur)
    spoiled = x.clone()
    spoiled[1, 0, 3, 3] = torch.nan
    with pytest.raises(NonFiniteError, match="x: "):
        model(spoiled, blur)
