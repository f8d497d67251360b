"""Norms of structured maps as they are often computed, each wrong in one way; the tests reject every one with a dense matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.lipschitz import convolution_norm, matrix_norm_upper_bound
from eqtheory.lipschitz.layers._certified import largest_block
from eqtheory.norms import Euclidean
from tests.lipschitz.dense_maps import dense_matrix


@dataclass(frozen=True)
class WrongUpperBound:
    """A claim of an upper bound with a map on which it is below the norm.

    Args:
        name: what is wrong.
        claim: the number it gives.
        matrix: the dense matrix of the map.
    """

    name: str
    claim: Callable[[], float]
    matrix: Callable[[], Tensor]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SMOOTH = torch.ones(2, 2, 3, 3, dtype=torch.float64) + 0.1 * draw(0, 2, 2, 3, 3)


def conv_matrix(mode: str) -> Tensor:
    layer = torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode=mode, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(SMOOTH)
    return dense_matrix(layer, (2, 8, 8))


def reshaped_kernel() -> float:
    return float(matrix_norm_upper_bound(SMOOTH.flatten(1), Euclidean()))


def zeros_for_replicate() -> float:
    return convolution_norm(SMOOTH, 8, padding=1, padding_mode="zeros").upper.value


def torus_too_small() -> float:
    """The circulant on the grid itself for a kernel whose largest frequency it misses."""
    return convolution_norm(BETWEEN, 6, padding=1, padding_mode="circular").upper.value


BETWEEN = torch.tensor([[[-1.0, 1.0, 1.0]]], dtype=torch.float64)


def between_matrix() -> Tensor:
    layer = torch.nn.Conv1d(1, 1, 3, padding=1, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(BETWEEN)
    return dense_matrix(layer, (1, 6))


WAVE = torch.tensor([[[1.0, 1.0, 0.3]]], dtype=torch.float64)


def symbol_rounded_down() -> float:
    """The symbol in half precision, rounded towards zero, and no allowance for it."""
    phases = 2 * torch.pi / 12 * torch.arange(12, dtype=torch.float64)[:, None] * torch.arange(3)
    values = (WAVE[0, 0] * torch.exp(1j * phases)).sum(1)
    truncated = torch.complex((values.real * 1024).trunc() / 1024, (values.imag * 1024).trunc() / 1024)
    return largest_block((truncated * (1 - 2.0**-10))[:, None, None])[1]


def wave_matrix() -> Tensor:
    layer = torch.nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False, dtype=torch.float64)
    layer.weight.data.copy_(WAVE)
    return dense_matrix(layer, (1, 12))


MULTIPLIER = torch.complex(draw(1, 2, 2, 5), draw(2, 2, 2, 5)) * torch.tensor([0.1, 0.1, 0.1, 0.1, 1.0])
MULTIPLIER[..., 4] = draw(3, 2, 2)


def without_hermitian_part() -> float:
    """The imaginary part of the self-conjugate modes taken away with the modes themselves."""
    return largest_block(MULTIPLIER[..., 1:4].permute(2, 0, 1))[1]


def multiplier_matrix() -> Tensor:
    def apply(x: Tensor) -> Tensor:
        spectrum = torch.fft.rfftn(x, dim=(2,))
        return torch.fft.irfftn(torch.einsum("oik,bik->bok", MULTIPLIER, spectrum), s=(8,), dim=(2,))

    return dense_matrix(apply, (2, 8))


FUNNEL = torch.zeros(9, 9, dtype=torch.float64)
FUNNEL[1:, 0] = 1.0  # eight nodes listen to one: rows sum to 1, the norm is sqrt 8


def row_sums_for_any_graph() -> float:
    return float(FUNNEL.abs().sum(1).amax())


CLUSTERED = torch.diag(torch.cat([torch.tensor([1.0 + 1e-3]), torch.ones(40)]).double()) + 1e-6 * draw(4, 41, 41)


def power_iteration() -> float:
    """Ten steps, believed."""
    v = torch.ones(41, dtype=torch.float64)
    for _ in range(10):
        v = CLUSTERED.mT @ (CLUSTERED @ v)
        v = v / torch.linalg.vector_norm(v)
    return float(torch.linalg.vector_norm(CLUSTERED @ v))


WRONG: tuple[WrongUpperBound, ...] = (
    WrongUpperBound("norm of the reshaped kernel", reshaped_kernel, lambda: conv_matrix("zeros")),
    WrongUpperBound(
        "zero padding assumed where the layer replicates", zeros_for_replicate, lambda: conv_matrix("replicate")
    ),
    WrongUpperBound("a torus of the size of the grid for zero padding", torus_too_small, between_matrix),
    WrongUpperBound("a symbol rounded down", symbol_rounded_down, wave_matrix),
    WrongUpperBound("self-conjugate modes left out", without_hermitian_part, multiplier_matrix),
    WrongUpperBound("row sums for a graph that is not symmetric", row_sums_for_any_graph, lambda: FUNNEL),
    WrongUpperBound("power iteration for an upper bound", power_iteration, lambda: CLUSTERED),
)
