"""Lower bounds that were once too large, or looser than they said: lower precision inside, kinks, weights, mates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from eqtheory.errors import InputError
from eqtheory.lipschitz import (
    Box,
    curve,
    exact_jacobian_norm,
    halved_pairs,
    jacobian_norm,
    operator_norm,
    pair_lower_bound,
    steepest,
)
from eqtheory.lipschitz._precision import _products, watched
from eqtheory.lipschitz.search._jacobian_norm import local_norms
from eqtheory.lipschitz.search._kinks import Nearby, lowered_at_kinks
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


def nothing(x: Tensor) -> Tensor:
    """Zero everywhere; autograd's derivative at zero is 1."""
    return x + torch.relu(-x) - torch.relu(x)


ZERO = torch.zeros(1, 1, dtype=torch.float64)


def test_no_derivative_is_kept_above_what_pairs_prove() -> None:
    def f(x: Tensor) -> Tensor:
        return 9.9 * x + 0.1 * nothing(x)

    for found in (jacobian_norm(f, ZERO).values, exact_jacobian_norm(f, ZERO).value):
        assert 9.8 <= float(found) <= 9.9
    generator = torch.Generator().manual_seed(0)
    assert steepest(lambda y, _: f(y), torch.zeros(4, 1).double(), generator=generator).worst().value <= 9.9


def test_kinks_are_judged_by_the_shortest_pairs() -> None:
    found = jacobian_norm(lambda x: 10 * nothing(x) + 5 * torch.relu(x.abs() - 1e-3), ZERO)
    assert found.values.tolist() == [0.0]


def test_a_norm_is_lowered_where_pairs_confirm_only_a_direction() -> None:
    """Of `v` the pairs confirm `|J v| = 1`, not the size 2 that was handed in."""
    x, unit = torch.zeros(1, 2, dtype=torch.float64), 2.0**-53
    v = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    lowered = lowered_at_kinks(
        lambda t: t, x, v, torch.full((1,), 2.0).double(), Nearby(Euclidean(), Euclidean()), unit
    )
    assert float(lowered.size) == pytest.approx(1.0, rel=1e-9)
    assert float(lowered.size) <= 1


def test_points_that_no_pair_can_judge_are_named() -> None:
    x = torch.zeros(2, 1, dtype=torch.bfloat16)
    x[1] = 1
    for found in (jacobian_norm(nothing, x).bound, exact_jacobian_norm(nothing, x)):
        assert any("differentiable at 1 of 2 points where rounding lets no pair judge" in t for t in found.assumptions)
    offset = jacobian_norm(lambda t: nothing(t) + 1e20, ZERO).bound
    assert any("no pair judge" in text for text in offset.assumptions)
    assert not any("no pair judge" in text for text in jacobian_norm(nothing, ZERO).bound.assumptions)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_derivatives_are_lowered_by_what_their_type_rounds(dtype: torch.dtype) -> None:
    for seed in range(20):
        A = draw(seed, 8, 8).to(dtype)
        truth = float(torch.linalg.matrix_norm(A.double(), 2))
        found = jacobian_norm(lambda t, A=A: t @ A.T, draw(seed + 100, 1, 8).to(dtype)).values
        assert (0.7 if dtype == torch.bfloat16 else 0.95) * truth <= float(found) <= truth


def in_part_narrow(t: Tensor) -> Tensor:
    return t.bfloat16().to(t.dtype) if float(t.abs().max()) < 0.9 else t * 1.0


def test_types_are_watched_at_middles() -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    assert halved_pairs(in_part_narrow, -one, 1.3 * one).worst().value <= 1


def test_types_are_watched_at_pairs_next_to_points() -> None:
    """The point itself is not narrowed; what is next to it on either side is, to multiples of 1/128."""

    def f(t: Tensor) -> Tensor:
        return t + nothing(t - 1.0) if bool((t == 1).all()) else (t + 1e-6 / 2).bfloat16().to(t.dtype)

    x = torch.ones(1, 1, dtype=torch.float64)
    assert any("no pair judge" in text for text in jacobian_norm(f, x).bound.assumptions)


def test_copies_of_lists_are_seen() -> None:
    def f(t: Tensor) -> Tensor:
        narrow = torch.zeros_like(t, dtype=torch.bfloat16)
        torch._foreach_copy_([narrow], [t])
        return narrow.to(t.dtype)

    assert watched(f, ZERO)[1] == 2.0**-8
    assert watched(lambda t: torch.zeros_like(t).copy_(t), ZERO)[1] == 2.0**-53


def test_slopes_at_corners_of_a_box_are_kept() -> None:
    A = torch.tensor([[1.0, -3.0], [0.0, 0.0]], dtype=torch.float64)
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    near = Nearby(Euclidean(), Euclidean(), project=Box(0.0, 1.0).project)
    found = local_norms(lambda t: t @ A.T, x, Euclidean(), Euclidean(), near=near).values
    assert found.tolist() == pytest.approx([10**0.5] * 3, rel=1e-6)
    assert bool((found <= 10**0.5).all())


def test_products_on_a_gpu_are_rounded_as_their_own_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "highest")
    for allowed, convolution in ((True, 2.0**-11), (False, 2.0**-24)):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
        assert _products("cuda", "mm") == 2.0**-24
        assert _products("cuda", "cudnn_convolution") == convolution
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert _products("cuda", "mm") == _products("cuda", "convolution") == 2.0**-11
