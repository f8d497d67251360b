"""Norms of Fourier multipliers against the dense matrix of the layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Evidence
from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz import fourier_multiplier_norm, place_modes, translation_invariant_norm
from tests.lipschitz.dense_maps import dense_matrix, true_norm

GRIDS = [(1,), (2,), (7,), (8,), (5, 6), (6, 5), (4, 4), (3, 4, 5), (4, 3, 4), (2, 2, 2)]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def layer(multiplier: Tensor, size: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    cells = tuple(range(2, 2 + len(size)))

    def apply(x: Tensor) -> Tensor:
        spectrum = torch.einsum("oi...,bi...->bo...", multiplier, torch.fft.rfftn(x, dim=cells))
        return torch.fft.irfftn(spectrum, s=size, dim=cells)

    return apply


@pytest.mark.parametrize("size", GRIDS)
def test_the_norm_is_that_of_the_dense_matrix(size: tuple[int, ...]) -> None:
    multiplier = draw(0, 3, 2, *size[:-1], size[-1] // 2 + 1)
    apply = layer(multiplier, size)
    truth = true_norm(dense_matrix(apply, (2, *size)), "l2")
    found = fourier_multiplier_norm(multiplier, size)
    seen = translation_invariant_norm(apply, 2, size)
    for bracket in (found, seen):
        assert truth * (1 - 1e-12) <= bracket.upper.value <= truth * (1 + 1e-9)
        assert truth * (1 - 1e-9) <= bracket.lower.value <= truth * (1 + 1e-12)
    assert found.upper.evidence is Evidence.PROVED
    assert seen.upper.evidence is Evidence.DECLARED


@pytest.mark.parametrize(("size", "modes"), [((16,), (5,)), ((8, 9), (3, 4)), ((7, 6), (3, 4)), ((6, 5, 4), (2, 2, 3))])
def test_truncated_weights_are_placed_where_the_layer_puts_them(size: tuple[int, ...], modes: tuple[int, ...]) -> None:
    weights = [draw(k, 2, 3, *modes).to(torch.complex64) for k in range(2 ** (len(size) - 1))]
    cells = tuple(range(2, 2 + len(size)))
    heads = [(slice(0, m), slice(n - m, n)) for n, m in zip(size, modes, strict=True)]
    last = slice(0, modes[-1])
    places: list[tuple[slice, ...]] = [(last,)]
    if len(size) == 2:
        places = [(h, last) for h in heads[0]]
    elif len(size) == 3:
        places = [(h, g, last) for g in heads[1] for h in heads[0]]

    def apply(x: Tensor) -> Tensor:
        spectrum = torch.fft.rfftn(x, dim=cells)
        out = torch.zeros(x.shape[0], 3, *spectrum.shape[2:], dtype=torch.complex128)
        for place, weight in zip(places, weights, strict=True):
            at = (slice(None), slice(None), *place)
            out[at] = torch.einsum("bi...,io...->bo...", spectrum[at], weight.to(torch.complex128))
        return torch.fft.irfftn(out, s=size, dim=cells)

    truth = true_norm(dense_matrix(apply, (2, *size)), "l2")
    assert fourier_multiplier_norm(place_modes(weights, size), size).upper.value == pytest.approx(truth, rel=1e-9)


def test_what_is_not_linear_or_not_invariant_is_refused() -> None:
    with pytest.raises(InputError, match=r"function: got a gap of .*, needed a map that is invariant under the shift"):
        translation_invariant_norm(lambda x: x * torch.arange(8), 1, (8,))
    with pytest.raises(InputError, match=r"function: got a gap of .*, needed a map that is linear"):
        translation_invariant_norm(lambda x: x + 1, 1, (8,))
    with pytest.raises(InputError, match=r"linear"):
        translation_invariant_norm(torch.relu, 1, (8,))
    padded = torch.nn.Conv1d(1, 1, 3, padding=1, bias=False).double()
    with pytest.raises(InputError, match=r"invariant"):
        translation_invariant_norm(padded, 1, (8,))


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"multiplier: got dtype torch.float32, needed a complex tensor"):
        fourier_multiplier_norm(torch.ones(1, 1, 5), (8,))
    with pytest.raises(ShapeError, match=r"multiplier: got shape \(1, 1, 4\), needed \(c_out, c_in, 5\) for the grid"):
        fourier_multiplier_norm(torch.ones(1, 1, 4) * 1j, (8,))
    with pytest.raises(InputError, match=r"weights: got 1 blocks, needed 2 for 2 axes"):
        place_modes([torch.ones(1, 1, 2, 2)], (8, 8))
    with pytest.raises(ShapeError, match=r"weights: got \(1, 1, 6\), needed equal shapes"):
        place_modes([torch.ones(1, 1, 6)], (8,))
    with pytest.raises(ShapeError, match=r"function\(x\): got shape"):
        translation_invariant_norm(lambda x: x[..., 1:], 1, (8,))
