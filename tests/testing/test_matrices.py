"""Operator norms by formula are those of the definition, and matrices of norm one have it."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from eqtheory.errors import InputError
from eqtheory.norms import BlockSum, Euclidean, Norm, Spectral, Sum, Sup
from eqtheory.testing.matrices import SHAPES, operator_norm, orthogonal, unit_norm, weighted_sum


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def extreme_points(norm: Norm, n: int) -> torch.Tensor:
    """Vectors of norm one among which the operator norm is attained; a fine circle for the Euclidean one in the plane."""
    if isinstance(norm, Euclidean):
        t = torch.linspace(0, torch.pi, 20001, dtype=torch.float64)
        return torch.stack([t.cos(), t.sin()], dim=1)
    if isinstance(norm, Sup):
        return torch.tensor(list(product([-1.0, 1.0], repeat=n)), dtype=torch.float64)
    unit = torch.eye(n, dtype=torch.float64)
    return unit / norm(unit).unsqueeze(1)


@pytest.mark.parametrize("norm", [Euclidean(), Sup(), Sum(), weighted_sum(2)], ids=lambda n: n.name)
def test_formulas_agree_with_the_definition(norm: Norm) -> None:
    A = torch.randn(50, 2, 2, generator=seeded(1), dtype=torch.float64)
    v = extreme_points(norm, 2)
    images = torch.einsum("bij,kj->bki", A, v)
    brute = norm(images.flatten(0, 1)).reshape(50, -1).amax(dim=1)
    tolerance = 1e-7 if isinstance(norm, Euclidean) else 1e-14
    assert torch.allclose(operator_norm(A, norm), brute, rtol=tolerance, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_shapes_have_spectral_norm_one(shape: str, n: int) -> None:
    A = unit_norm(shape, n, 20, seeded(2))
    assert A.shape == (20, n, n)
    assert torch.allclose(torch.linalg.matrix_norm(A, ord=2), torch.ones(20, dtype=torch.float64), rtol=1e-13)


def test_orthogonal_matrices_are_orthogonal() -> None:
    Q = orthogonal(6, 10, seeded(3))
    assert torch.allclose(Q @ Q.mT, torch.eye(6, dtype=torch.float64).expand(10, 6, 6), atol=1e-14)


def test_weights_are_powers_of_two() -> None:
    assert weighted_sum(4).weights == (1.0, 2.0, 4.0, 8.0)


@pytest.mark.parametrize("norm", [Spectral(), BlockSum((2, 1), (1.0, 1.0), Euclidean())], ids=lambda n: n.name)
def test_norms_without_a_formula_are_refused(norm: Norm) -> None:
    with pytest.raises(InputError, match="needed l2, sup, l1 or a weighted sum of entries; pass one of these"):
        operator_norm(torch.eye(3, dtype=torch.float64).unsqueeze(0), norm)
