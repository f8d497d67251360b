"""Wrong upper bounds are below the dense norm, and the library's bounds on the same maps are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory.lipschitz import convolution_norm, fourier_multiplier_norm, graph_operator_norm
from tests.lipschitz import operator_norm_zoo as zoo
from tests.lipschitz.dense_maps import true_norm

HONEST = {
    "norm of the reshaped kernel": lambda: convolution_norm(zoo.SMOOTH, 8, padding=1),
    "zero padding assumed where the layer replicates": lambda: convolution_norm(
        zoo.SMOOTH, 8, padding=1, padding_mode="replicate"
    ),
    "a torus of the size of the grid for zero padding": lambda: convolution_norm(zoo.BETWEEN, 6, padding=1),
    "a symbol rounded down": lambda: convolution_norm(zoo.WAVE, 12, padding=1, padding_mode="circular"),
    "self-conjugate modes left out": lambda: fourier_multiplier_norm(zoo.MULTIPLIER, (8,)),
    "row sums for a graph that is not symmetric": lambda: graph_operator_norm(zoo.FUNNEL, [None, torch.eye(1)]),
    "power iteration for an upper bound": lambda: graph_operator_norm(zoo.CLUSTERED, [None, torch.eye(1)]),
}


@pytest.mark.parametrize("wrong", zoo.WRONG, ids=lambda w: w.name)
def test_the_wrong_bound_is_below_the_norm_and_the_honest_one_is_not(wrong: zoo.WrongUpperBound) -> None:
    truth = true_norm(wrong.matrix(), "l2")
    # The dense oracle is good to about 1e-14; a fault of the zoo misses by more than a thousand times that.
    assert wrong.claim() < truth * (1 - 1e-10)
    found = HONEST[wrong.name]()
    assert found.lower.value <= truth * (1 + 1e-13)
    assert truth * (1 - 1e-13) <= found.upper.value <= truth * (1 + 1e-9)


def test_ignoring_the_hermitian_part_is_loose_and_seen() -> None:
    """An imaginary Nyquist mode does nothing: the norm of the stored matrix there is above the truth, never attained."""
    multiplier = torch.zeros(1, 1, 5, dtype=torch.complex128)
    multiplier[0, 0, 1], multiplier[0, 0, 4] = 1.0, 5.0j
    ignoring = float(multiplier.abs().amax())
    assert ignoring == 5.0
    assert fourier_multiplier_norm(multiplier, (8,)).upper.value == pytest.approx(1.0, rel=1e-12)


def test_the_zoo_is_told_apart_by_name() -> None:
    names = [w.name for w in zoo.WRONG]
    assert sorted(names) == sorted(HONEST)
    assert all(isinstance(w.matrix(), Tensor) for w in zoo.WRONG)
