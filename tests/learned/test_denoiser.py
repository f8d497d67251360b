"""The denoiser: its sizes, its laws, its errors."""

from __future__ import annotations

import pytest
import torch

from eqtheory.errors import DomainError, ShapeError
from eqtheory.learned import Denoiser, DenoiserSize, residual_contraction


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("size", "parameters"),
    [(DenoiserSize.SMALL, 63_264), (DenoiserSize.BASE, 1_042_400), (DenoiserSize.PAPER, 32_640_960)],
)
def test_sizes_are_what_they_say(size: DenoiserSize, parameters: int) -> None:
    with torch.device("meta"):
        network = Denoiser(size)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert not any("bias" in name for name, _ in network.named_parameters())


@pytest.mark.parametrize("size", [DenoiserSize.SMALL, DenoiserSize.BASE])
def test_the_network_is_positively_homogeneous_in_image_and_level(size: DenoiserSize) -> None:
    network = Denoiser(size, generator=seeded(0)).double()
    image = torch.rand(2, 3, 16, 24, generator=seeded(1), dtype=torch.float64)
    assert torch.allclose(network(3 * image, 0.3), 3 * network(image, 0.1), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(network(3 * image, 0.1), 3 * network(image, 0.1), rtol=1e-6)


def test_the_network_begins_near_the_identity_and_depends_on_the_level() -> None:
    network = Denoiser(generator=seeded(0))
    image = torch.rand(2, 3, 16, 16, generator=seeded(1))
    network.requires_grad_(requires_grad=False)
    near, far = network(image, 0.0), network(image, 0.5)
    assert float((near - image).std()) < 0.3 * float(image.std())
    assert not torch.equal(near, far)


def test_samples_do_not_see_each_other_and_levels_may_differ() -> None:
    network = Denoiser(generator=seeded(0)).double()
    image = torch.rand(3, 3, 16, 16, generator=seeded(1), dtype=torch.float64)
    levels = torch.tensor([0.0, 0.1, 0.2], dtype=torch.float64)
    together = network(image, levels)
    for k in range(3):
        assert torch.allclose(network(image[k : k + 1], float(levels[k])), together[k : k + 1], rtol=1e-12, atol=1e-13)


def test_sides_that_do_not_divide_are_padded_and_cut() -> None:
    network = Denoiser(generator=seeded(0))
    image = torch.rand(1, 3, 17, 30, generator=seeded(1))
    assert network(image, 0.1).shape == image.shape
    assert network.multiple == 4
    even = torch.rand(1, 3, 16, 28, generator=seeded(1))
    wide = torch.nn.functional.pad(even, (0, 0, 0, 1), mode="replicate")
    assert network(wide, 0.1).shape == wide.shape


def test_weights_come_from_the_generator_alone() -> None:
    one, two, other = (Denoiser(generator=seeded(s)).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_grey_images_are_refused_with_advice() -> None:
    network = Denoiser(generator=seeded(0))
    with pytest.raises(
        ShapeError, match=r"image: got shape \(1, 1, 8, 8\), needed \(batch, 3, height, width\); convert grey"
    ):
        network(torch.zeros(1, 1, 8, 8), 0.1)
    with pytest.raises(ShapeError, match="image: got shape"):
        network(torch.zeros(3, 8, 8), 0.1)
    with pytest.raises(DomainError, match="channels: got 0"):
        Denoiser(channels=0)


def test_residual_contraction_finds_the_slowest_mode_and_bounds_it_from_below() -> None:
    factors = torch.tensor([0.3, 0.9, -0.7], dtype=torch.float64)
    x = torch.ones(2, 3, dtype=torch.float64)
    y = torch.zeros(2, 3, dtype=torch.float64)
    for _ in range(60):
        y = factors * y + x
    found = residual_contraction(lambda y, x: factors * y + x, y, x)
    assert torch.allclose(found, torch.full((2,), 0.9, dtype=torch.float64), atol=1e-4)
    assert bool((residual_contraction(lambda y, x: factors * y + x, torch.zeros_like(y), x) <= 0.9).all())


def test_residual_contraction_is_zero_where_the_residual_is_rounding() -> None:
    x = torch.tensor([[1.0], [3.0]])
    found = residual_contraction(lambda y, x: 0.5 * y + x, 2 * x, x)
    assert found.tolist() == [0.0, 0.0]


def test_residual_contraction_can_be_pushed_down() -> None:
    factor = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    x = torch.ones(4, 2, dtype=torch.float64)
    found = residual_contraction(lambda y, x: factor * torch.tanh(y) + x, torch.zeros_like(x), x)
    (slope,) = torch.autograd.grad(found.sum(), factor)
    assert float(slope) > 0
