"""Lower bounds that were once too large, or looser than they said: lower precision inside, kinks, weights, mates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from eqtheory.errors import InputError
from eqtheory.lipschitz import (
    curve,
    exact_jacobian_norm,
    halved_pairs,
    jacobian_norm,
    operator_norm,
    pair_lower_bound,
    steepest,
)
from eqtheory.norms import Euclidean, Norm, Sum, Sup, Weighted
from eqtheory.roundoff import Rounding
from eqtheory.solvers import Anderson


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_brain_floats(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return layer(x)  # type: ignore[no-any-return]

    return function


def test_autocast_inside_is_seen() -> None:
    layer = nn.Linear(8, 8)
    layer.weight.data = draw(0, 8, 8).float() / 8
    truth = float(torch.linalg.matrix_norm(layer.weight.detach().double(), 2))
    x = draw(1, 64, 8).float()
    near, f = x + 1e-3 * draw(2, 64, 8).float(), in_brain_floats(layer)
    assert pair_lower_bound(f, x, near).worst().value <= truth
    assert halved_pairs(f, x, near).worst().value <= truth
    assert 0.5 * truth <= jacobian_norm(f, x).worst().value <= truth
    found = steepest(lambda y, _: f(y), x, generator=torch.Generator().manual_seed(0))
    assert 0.5 * truth <= found.worst().value <= truth


@pytest.mark.parametrize("inside", [torch.float32, torch.float16, torch.bfloat16])
def test_casts_inside_are_seen(inside: torch.dtype) -> None:
    x = draw(1, 64, 8)
    near = x + 1e-8 * draw(2, 64, 8)

    def f(t: Tensor) -> Tensor:
        return torch.tanh(t.to(inside)).double()

    assert pair_lower_bound(f, x, near).worst().value <= 1
    assert halved_pairs(f, x, near).worst().value <= 1
    found = steepest(lambda y, _: f(y), x, generator=torch.Generator().manual_seed(0))
    assert 0.4 <= found.worst().value <= 1


def test_curves_of_pairs_see_casts_inside() -> None:
    def G(y: Tensor, x: Tensor) -> Tensor:
        return 0.5 * y + x.float().double()

    start = torch.zeros(4, 3, dtype=torch.float64)
    found = curve(G, draw(0, 4, 3), 3, y0=start, iteration=Anderson(), perturbation=1e-9)
    assert float(found.lower.max()) <= 2 * (1 + 1e-6)


def test_a_declared_rounding_speaks_of_states_that_are_larger_than_their_images() -> None:
    """`1e-6 y + c` with errors of a unit roundoff of `|y|`, as declared: pairs close by differ by nothing else."""
    unit = 2.0**-53

    def f(y: Tensor) -> Tensor:
        return 1e-6 * y + 0.9 * unit * y.abs() * torch.where((y * 2.0**52 % 2) == 1, 1.0, -1.0)

    y = torch.ones(1, 1, dtype=torch.float64)
    found = pair_lower_bound(f, y, y + 2 * unit, rounding=Rounding(relative=1.0))
    assert found.worst().value <= 1e-6 * (1 + 1e-9)


def nowhere_steep(x: Tensor) -> Tensor:
    """Zero everywhere; autograd's derivative at zero is 10."""
    return 10 * torch.relu(x) - 10 * (x + torch.relu(-x))


@pytest.mark.parametrize("norm", [Euclidean(), Sum(), Sup(), Weighted(torch.tensor([1.0, 2.0, 5.0]))])
def test_derivatives_at_kinks_are_no_slopes(norm: Norm) -> None:
    x = torch.zeros(2, 3, dtype=torch.float64)
    x[1] = 1.0
    assert jacobian_norm(nowhere_steep, x, norm=norm).values.tolist() == [0.0, 0.0]
    assert exact_jacobian_norm(nowhere_steep, x, norm=norm).value.tolist() == [0.0, 0.0]


def test_searches_take_no_kink_for_a_slope() -> None:
    found = steepest(
        lambda y, _: nowhere_steep(y), torch.zeros(4, 3).double(), generator=torch.Generator().manual_seed(0)
    )
    assert found.worst().value == 0.0


def test_kinks_whose_slope_is_real_keep_it() -> None:
    x = torch.zeros(1, 1, dtype=torch.float64)
    assert float(jacobian_norm(lambda t: torch.where(t >= 0, 3 * t, t), x).values) == pytest.approx(3.0)


@pytest.mark.parametrize("steep", [1e3, 1e6, 1e9])
def test_narrow_steep_places_are_not_taken_for_kinks(steep: float) -> None:
    x = torch.zeros(1, 3, dtype=torch.float64)
    for norm in (Euclidean(), Sum(), Sup()):
        found = jacobian_norm(lambda t: torch.tanh(steep * t) + t.flip(1), x, norm=norm)
        assert float(found.values) == pytest.approx(steep, rel=2 / steep)


def test_curves_say_that_they_assume_differentiability() -> None:
    found = curve(lambda y, x: 0.5 * y + nowhere_steep(x), torch.zeros(1, 1).double(), 3, y0=torch.zeros(1, 1).double())
    bound = found.at(3)
    lower = bound.lower if hasattr(bound, "lower") else bound
    assert any("differentiable at the samples" in text for text in lower.assumptions)


@pytest.mark.parametrize("inner", [Euclidean(), Sum(), Sup()])
def test_both_sides_in_weighted_norms_meet(inner: Norm) -> None:
    for seed in range(20):
        norm, out = (Weighted(10 ** (2 * draw(100 + seed + n, n)), inner) for n in (5, 4))
        found = operator_norm(draw(seed, 4, 5), norm=norm, output_norm=out)
        assert float(found.lower.value) >= float(found.upper.value) * (1 - 1e-12)


def test_weights_far_apart_align_and_are_refused_where_the_type_cannot_hold_them() -> None:
    norm = Weighted(torch.tensor([1e-200, 1e200], dtype=torch.float64))
    g = torch.tensor([[1e200, 1.0], [0.0, 1e-200], [0.0, 0.0]], dtype=torch.float64)
    v = norm.aligned(g)
    assert bool(torch.isfinite(v).all())
    assert norm(v).tolist() == pytest.approx([1.0, 1.0, 0.0])
    far = torch.tensor([[1e-100, 1e200]], dtype=torch.float64)
    assert bool(torch.isfinite(norm.subgradient(far)).all())
    with pytest.raises(InputError, match=r"weights: got weights from 1e-200 to 1e\+200 for entries of torch.float32"):
        norm.aligned(g.float())


@pytest.mark.parametrize("norm", [Sum(), Sup(), Euclidean(), Weighted(torch.ones(0), Sum())])
def test_empty_states_align(norm: Norm) -> None:
    assert norm.aligned(torch.zeros(2, 0)).shape == (2, 0)
    assert norm.subgradient(torch.zeros(2, 0)).shape == (2, 0)


@pytest.mark.parametrize("norm", [Euclidean(), Sup()])
def test_a_sample_is_worth_the_same_in_any_company(norm: Norm) -> None:
    A, B = draw(0, 40, 40), torch.diag(torch.linspace(1, 1.0001, 40, dtype=torch.float64))

    def f(x: Tensor) -> Tensor:
        return torch.where(x[:, :1] > 0, torch.sin(x @ A.T), x @ B.T + 0.1 * (x @ A.T) ** 2)

    x = draw(1, 6, 40)
    x[:, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    together = jacobian_norm(f, x, norm=norm, tolerance=0.1).values
    alone = torch.cat([jacobian_norm(f, x[k : k + 1], norm=norm, tolerance=0.1).values for k in range(6)])
    assert torch.allclose(together, alone, rtol=1e-12, atol=0)
