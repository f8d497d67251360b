"""Norms of convolutions against the dense matrix that torch's own layer gives."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import convolution_norm, convolution_norm_of
from eqtheory.lipschitz.layers import _convolution_norm, _symbol
from eqtheory.lipschitz.layers._convolution import MODES, convolution
from eqtheory.norms import BlockSum, Euclidean, Norm, Sum, Sup
from tests.lipschitz.dense_maps import dense_matrix, true_norm

NORMS: tuple[Norm, ...] = (Euclidean(), Sum(), Sup())
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def fill(layer: nn.Module, seed: int = 0) -> nn.Module:
    for p in layer.parameters():
        p.data.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)))
    return layer.double()


def check(
    layer: nn.Module, channels: int, size: tuple[int, ...], slack: float, norms: tuple[Norm, ...] = NORMS
) -> None:
    A = dense_matrix(layer, (channels, *size))
    for norm in norms:
        truth = true_norm(A, norm.name)
        found = convolution_norm_of(layer, size, norm=norm)
        assert found.lower.value <= truth * (1 + 1e-13)
        assert truth * (1 - 1e-13) <= found.upper.value <= truth * (1 + slack)
        assert found.lower.value >= truth * (1 - slack)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("axes", "size"), [(1, (12,)), (2, (6, 8)), (3, (4, 2, 4))])
def test_every_mode_stride_dilation_and_group_is_exact(mode: str, axes: int, size: tuple[int, ...]) -> None:
    for stride, dilation, groups, kernel, pad in product((1, 2, 3), (1, 2), (1, 2), (1, 2, 3), (0, 1)):
        if (axes == 3 and (stride == 3 or dilation == 2)) or dilation * (kernel - 1) >= min(size) + 2 * pad:
            continue
        layer = CONVS[axes - 1](
            2, 4, kernel, stride=stride, dilation=dilation, groups=groups, padding=pad, padding_mode=mode, bias=False
        )
        check(fill(layer), 2, size, 1e-9)


@pytest.mark.parametrize(("axes", "size"), [(1, (9,)), (2, (4, 5)), (3, (2, 3, 2))])
def test_transposed_convolutions_are_exact(axes: int, size: tuple[int, ...]) -> None:
    for stride, dilation, groups, kernel, pad, more in product((1, 2, 3), (1, 2), (1, 2), (1, 3), (0, 1), (0, 1)):
        if more >= max(stride, dilation) or (axes == 3 and max(stride, dilation) > 2):
            continue
        layer = TRANSPOSED[axes - 1](
            2, 4, kernel, stride=stride, dilation=dilation, groups=groups, padding=pad, output_padding=more, bias=False
        )
        grown = [(n - 1) * stride - 2 * pad + dilation * (kernel - 1) + more + 1 for n in size]
        if min(grown) > 0:
            check(fill(layer), 2, size, 1e-9)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("mode", MODES)
def test_sixteen_by_sixteen_with_channels_and_same_padding(mode: str) -> None:
    check(fill(nn.Conv2d(3, 4, 4, padding="same", padding_mode=mode, bias=False)), 3, (16, 16), 1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_large_maps_are_bounded_without_a_dense_matrix(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same maps with the dense path closed: the bounds hold, and zero padding and circular padding stay close."""
    monkeypatch.setattr(_convolution_norm, "_DENSE_INPUTS", 0)
    loose = {"zeros": 0.05, "circular": 1e-9, "reflect": 1.1, "replicate": 1.9}[mode]
    check(fill(nn.Conv2d(2, 3, 3, padding=1, padding_mode=mode, bias=False)), 2, (16, 16), loose, (Euclidean(),))
    for stride, pad in ((2, 1), (3, 2), (1, 0)):
        layer = fill(nn.Conv2d(2, 3, 3, stride=stride, padding=pad, padding_mode=mode, bias=False))
        A = dense_matrix(layer, (2, 10, 12))
        for norm in NORMS:
            truth, found = true_norm(A, norm.name), convolution_norm_of(layer, (10, 12), norm=norm)
            assert found.lower.value <= truth * (1 + 1e-13)
            assert truth * (1 - 1e-13) <= found.upper.value


def test_the_antiperiodic_torus_attains_the_norm_of_a_tridiagonal_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_convolution_norm, "_DENSE_INPUTS", 0)
    ones = torch.ones(1, 1, 3, dtype=torch.float64)
    truth = 1 + 2 * float(torch.cos(torch.tensor(torch.pi / 17, dtype=torch.float64)))
    assert convolution_norm(ones, 16, padding=1).upper.value == pytest.approx(truth, rel=1e-12)


def test_a_torus_without_room_for_the_padding_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short signals under wide kernels, where a torus that is too small wraps taps around and misses the norm."""
    monkeypatch.setattr(_convolution_norm, "_DENSE_INPUTS", 0)
    for seed, size, stride in product(range(6), (2, 3, 4, 6), (1, 2)):
        layer = fill(nn.Conv1d(1, 1, 5, padding=2, stride=stride, bias=False), seed)
        truth, found = true_norm(dense_matrix(layer, (1, size)), "l2"), convolution_norm_of(layer, size)
        assert found.lower.value <= truth * (1 + 1e-13)
        assert truth * (1 - 1e-13) <= found.upper.value


def test_a_large_layer_takes_its_float32_weights_exactly() -> None:
    layer = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    layer.weight.data.copy_(torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(1)))
    found = convolution_norm_of(layer, (32, 32))
    assert 0.97 * found.upper.value <= found.lower.value <= found.upper.value
    assert convolution_norm(layer.weight.double(), (32, 32), padding=1).upper.value == found.upper.value


def test_spectral_normalisation_of_the_reshaped_kernel_misses_the_norm_threefold() -> None:
    layer = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    layer.weight.data.fill_(1.0)
    torch.nn.utils.parametrizations.spectral_norm(layer, n_power_iterations=30).eval()
    found = convolution_norm_of(layer, (16, 16))
    assert found.upper.value == pytest.approx(3.0, rel=1e-5)  # one is what the normalisation promises
    assert found.lower.value > 2.99


def test_indices_agree_with_the_padding_of_torch() -> None:
    for mode, torch_mode in (("reflect", "reflect"), ("replicate", "replicate"), ("circular", "circular")):
        conv = convolution(
            torch.ones(1, 1, 2),
            7,
            padding=3,
            padding_mode=mode,
            stride=1,
            dilation=1,
            groups=1,
            transposed=False,
            output_padding=0,
        )
        theirs = nn.functional.pad(torch.arange(7.0)[None, None], (3, 3), mode=torch_mode)[0, 0]
        assert torch.equal(conv.padded(0).float(), theirs)


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({"padding_mode": "mirror"}, InputError, "padding_mode: got 'mirror', needed one of zeros, circular"),
        ({"groups": 3}, InputError, "groups: got 3, needed a divisor"),
        ({"size": 0}, InputError, "size: got 0, needed an integer >= 1"),
        ({"size": (3, 3)}, InputError, r"size: got \(3, 3\)"),
        ({"stride": 0}, InputError, "stride: got 0"),
        ({"size": 1}, ShapeError, r"size: got \(1,\), needed room for a kernel"),
        ({"padding": "same", "stride": 2}, InputError, "padding: got 'same'"),
        ({"padding": 5, "padding_mode": "reflect"}, ShapeError, "needed pads that reflect can fill"),
        ({"transposed": True, "padding_mode": "circular"}, InputError, "'zeros' for a transposed"),
        (
            {"norm": BlockSum((1, 1), (1.0, 1.0), Sup())},
            InputError,
            r"norm: got .*needed Euclidean\(\), Sum\(\) or Sup\(\)",
        ),
        ({"weight": torch.ones(2, 2)}, ShapeError, r"weight: got shape \(2, 2\)"),
        ({"weight": torch.ones(2, 2, 3) * torch.nan}, NonFiniteError, "weight: got a NaN"),
        ({"weight": torch.ones(2, 2, 3) * 1j}, InputError, "weight: got dtype torch.complex64"),
    ],
)
def test_refusals(change: dict[str, object], kind: type[Exception], match: str) -> None:
    arguments: dict[str, object] = {"weight": torch.ones(2, 2, 3), "size": 4} | change
    with pytest.raises(kind, match=match):
        convolution_norm(**arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"module: got Linear, needed a convolution"):
        convolution_norm_of(nn.Linear(2, 2), 3)


def test_a_convolution_of_zeros_has_norm_zero() -> None:
    weight: Tensor = torch.zeros(2, 2, 3)
    for mode in MODES:
        assert convolution_norm(weight, 5, padding=1, padding_mode=mode).upper.value == 0.0


@pytest.mark.parametrize("stride", [1, 2])
def test_frequencies_taken_a_few_at_a_time_give_the_same_norm(monkeypatch: pytest.MonkeyPatch, stride: int) -> None:
    weight = torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for mode, size in (("circular", 8), ("zeros", 80)):
        whole = convolution_norm(weight, size, padding=1, padding_mode=mode, stride=stride)
        for room in (30, 200) if mode == "circular" else (40_000,):
            monkeypatch.setattr(_symbol, "_ROOM", room)
            parts = convolution_norm(weight, size, padding=1, padding_mode=mode, stride=stride)
            assert float(parts.upper.value) == pytest.approx(float(whole.upper.value), rel=1e-12)
            assert float(parts.lower.value) == pytest.approx(float(whole.lower.value), rel=1e-6)
        monkeypatch.undo()
