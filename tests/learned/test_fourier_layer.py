"""Fourier layers: the true norm against dense matrices, independence of the grid, shifts, control; and layers that are wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.learned import FourierKernel, FourierLayer
from tests.lipschitz.dense_maps import dense_matrix, true_norm

GRIDS = [(7, 7), (8, 8), (7, 10), (12, 9)]
"""For three modes: the smallest grid, which holds no others, and grids of every parity."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layer(seed: int, into: int = 2, out: int = 3, modes: int = 3, largest_norm: float | None = None) -> FourierLayer:
    found = FourierLayer(into, out, modes, largest_norm=largest_norm, generator=seeded(seed)).double()
    with torch.no_grad():
        found.bias.copy_(torch.randn(out, generator=seeded(seed + 1), dtype=torch.float64))
    return found.requires_grad_(requires_grad=False)


def dense_norm(apply: Callable[[Tensor], Tensor], into: int, size: tuple[int, int]) -> float:
    offset = apply(torch.zeros(1, into, *size, dtype=torch.float64))
    return true_norm(dense_matrix(lambda z: apply(z) - offset, (into, *size)), "l2")


def refined(field: Tensor, size: tuple[int, int], modes: int) -> Tensor:
    """Sample a field with modes up to `modes` on another grid, one wave at a time."""
    spectrum = torch.fft.fft2(field) / (field.shape[-2] * field.shape[-1])
    out = torch.zeros(*field.shape[:-2], *size, dtype=torch.float64)
    x, y = (2 * torch.pi * torch.arange(n, dtype=torch.float64) / n for n in size)
    for m in range(-modes, modes + 1):
        for n in range(-modes, modes + 1):
            wave = torch.exp(1j * (m * x[:, None] + n * y[None, :]))
            out += (spectrum[..., m % field.shape[-2], n % field.shape[-1]][..., None, None] * wave).real
    return out


@pytest.mark.parametrize("size", GRIDS)
@pytest.mark.parametrize("limit", [None, 0.4])
def test_the_norm_is_that_of_the_dense_matrix(size: tuple[int, int], limit: float | None) -> None:
    one = layer(0, largest_norm=limit)
    truth = dense_norm(one, 2, size)
    found = one.norm(size)
    assert truth * (1 - 1e-10) <= found.lower.value <= truth * (1 + 1e-12)
    assert truth * (1 - 1e-12) <= found.upper.value <= truth * (1 + 1e-10)
    if limit is not None:
        assert truth <= limit * (1 + 1e-12)


def test_the_default_norm_is_that_on_all_grids_with_further_modes() -> None:
    one = layer(2)
    with torch.no_grad():
        one.weight[..., 0] = -0.9 * one.mixing  # so that the modes beyond decide
    assert one.norm().upper.value == pytest.approx(one.norm((16, 30)).upper.value, rel=1e-10)
    assert one.norm((7, 7)).upper.value != pytest.approx(one.norm().upper.value, rel=1e-3)


def test_the_reshaped_norm_is_neither_an_upper_nor_a_lower_bound() -> None:
    one, above, below = layer(3), False, False
    mixing = one.mixing.clone()
    for scale in (0.0, 20.0):
        with torch.no_grad():
            one.mixing.copy_(scale * mixing)
        reshaped = float(torch.linalg.matrix_norm(torch.view_as_complex(one.weight).permute(2, 0, 1, 3).flatten(1), 2))
        above, below = above or reshaped > one.norm().upper.value, below or reshaped < one.norm().lower.value
    assert above
    assert below


def test_control_leaves_small_blocks_alone_and_is_differentiable() -> None:
    free, tight = layer(4), layer(4, largest_norm=0.4)
    loose = layer(4, largest_norm=2 * free.norm().upper.value)
    z = torch.randn(1, 2, 8, 8, generator=seeded(5), dtype=torch.float64)
    assert torch.allclose(free(z), loose(z), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(free(z), tight(z), rtol=1e-3)
    tight.requires_grad_()
    tight(z).square().sum().backward()  # type: ignore[no-untyped-call]
    assert tight.weight.grad is not None
    assert bool(torch.isfinite(tight.weight.grad).all())


def test_zero_parameters_under_control_have_finite_gradients() -> None:
    one = FourierLayer(2, 2, 2, largest_norm=0.5, generator=seeded(0))
    with torch.no_grad():
        one.weight.zero_()
        one.mixing.zero_()
    one(torch.ones(1, 2, 8, 8)).square().sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in one.parameters() if p.grad is not None)


@pytest.mark.parametrize("shift", [(1, 0), (3, 5), (-2, 1)])
def test_the_layer_commutes_with_shifts(shift: tuple[int, int]) -> None:
    one, z = layer(6), torch.randn(2, 2, 9, 12, generator=seeded(7), dtype=torch.float64)
    assert torch.allclose(one(z.roll(shift, (-2, -1))), one(z).roll(shift, (-2, -1)), rtol=0, atol=1e-12)


def test_the_layer_does_not_depend_on_the_grid() -> None:
    one = layer(8)
    z = refined(torch.randn(2, 2, 7, 7, generator=seeded(9), dtype=torch.float64), (16, 18), 3)
    for size in ((8, 8), (11, 32)):
        again = refined(z, size, 3)
        assert torch.allclose(refined(one(z), size, 3), one(again), rtol=0, atol=1e-12)


def test_single_precision_is_double_precision_rounded() -> None:
    double = layer(10)
    single = layer(10).float()
    z = torch.randn(2, 2, 16, 16, generator=seeded(11), dtype=torch.float64)
    assert torch.allclose(single(z.float()).double(), double(z), rtol=1e-5, atol=1e-5)


def test_samples_do_not_see_each_other() -> None:
    one, z = layer(12), torch.randn(3, 2, 8, 8, generator=seeded(13), dtype=torch.float64)
    assert torch.allclose(one(z)[1:2], one(z[1:2]), rtol=0, atol=1e-13)


def test_the_layer_maps_waves_to_waves() -> None:
    one = layer(14, into=1, out=1)
    x = 2 * torch.pi * torch.arange(16, dtype=torch.float64) / 16
    phase = (2 * x[:, None] + x[None, :]).expand(1, 1, 16, 16)
    kernel = one.kernel()
    factor = complex(kernel.multiplier[2, 1, 0, 0]) + float(kernel.mixing[0, 0])
    wanted = (factor * torch.exp(1j * phase)).real + float(one.bias[0])
    assert torch.allclose(one(torch.cos(phase)), wanted, rtol=0, atol=1e-12)


# Faults.


def _norm_without_symmetry(one: FourierLayer) -> float:
    """As if every stored block acted by itself."""
    full = torch.view_as_complex(one.weight) + one.mixing
    return float(torch.linalg.matrix_norm(full, ord=2).max())


def test_forgetting_the_conjugate_partner_is_caught() -> None:
    one = layer(15)
    with torch.no_grad():  # antisymmetric blocks on the axis do nothing
        axis = one.weight[:, 0].clone()
        one.weight[:, 0] = 50 * (
            axis - torch.stack([axis.flip(0).roll(1, 0)[..., 0], -axis.flip(0).roll(1, 0)[..., 1]], -1)
        )
    truth = dense_norm(one, 2, (8, 8))
    assert abs(one.norm((8, 8)).upper.value - truth) <= 1e-10 * truth
    assert _norm_without_symmetry(one) > 2 * truth


def test_forgetting_the_negative_rows_is_caught() -> None:
    def broken(kernel: FourierKernel) -> FourierKernel:
        multiplier = kernel.multiplier.clone()
        multiplier[4:] = 0
        return FourierKernel(multiplier, kernel.mixing, kernel.bias)

    one = layer(16)
    with torch.no_grad():
        one.weight[4:] *= 10
    truth = dense_norm(one, 2, (8, 8))
    assert dense_norm(broken(one.kernel()), 2, (8, 8)) < 0.9 * truth
    assert one.norm((8, 8)).upper.value == pytest.approx(truth, rel=1e-10)


def test_errors_help() -> None:
    one = layer(17)
    with pytest.raises(ShapeError, match=r"z: got a grid of 6 x 8 points, needed at least 7 points in each direction"):
        one(torch.zeros(1, 2, 6, 8).double())
    with pytest.raises(ShapeError, match=r"z: got shape \(1, 3, 8, 8\), needed \(batch, 2, x, y\)"):
        one(torch.zeros(1, 3, 8, 8).double())
    with pytest.raises(ShapeError, match="needed at least 7 points"):
        one.norm((6, 6))
    with pytest.raises(InputError, match="largest_norm: got"):
        FourierLayer(1, 1, 2, largest_norm=0.0)
    with pytest.raises(InputError, match="modes: got 0"):
        FourierLayer(1, 1, 0)


# Arguments that cannot be.


def test_fields_and_sizes_that_cannot_be_are_refused() -> None:
    layer = FourierLayer(2, 2, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ShapeError, match="batch > 0"):
        layer(torch.zeros(0, 2, 16, 16))
    with pytest.raises(InputError, match=r"z: got torch.float64, needed torch.float32"):
        layer(torch.zeros(1, 2, 16, 16, dtype=torch.float64))
    for size in ((), (16,), (16, 16, 16)):
        with pytest.raises(ShapeError, match="size: got"):
            layer.norm(size)  # type: ignore[arg-type]


@pytest.mark.parametrize("largest", [None, 0.5])
@pytest.mark.parametrize("name", ["weight", "mixing", "bias"])
def test_weights_that_are_not_finite_are_refused(largest: float | None, name: str) -> None:
    layer = FourierLayer(2, 2, 3, largest_norm=largest, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        getattr(layer, name).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=f"{name}: got a NaN or an infinity"):
        layer(torch.zeros(1, 2, 16, 16))
    with pytest.raises(NonFiniteError, match=f"{name}: got a NaN or an infinity"):
        layer.norm()
