"""Searches for steep places: found where samples miss them, never above the truth, and what they can not see is said."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import Box, Everywhere, Search, jacobian_norm, steepest
from eqtheory.norms import Sup

PLACE, WIDTH = torch.tensor([0.3, -0.2, 0.5, 0.1]).double(), 1e-3


def draw(seed: int, n: int, d: int = 4) -> Tensor:
    return 2 * torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


def bump(y: Tensor, _: Tensor) -> Tensor:
    """Slope 1/2 nearly everywhere and 5/4 in a ball of radius about 0.003."""
    r2 = ((y - PLACE) / WIDTH).square().sum(dim=1, keepdim=True)
    return 0.5 * y + 0.75 * WIDTH * torch.log1p(r2) * torch.eye(4)[:1].double()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_tiny_region_is_found_that_a_hundred_thousand_samples_miss() -> None:
    samples = draw(1, 100_000)
    assert float(jacobian_norm(lambda y: bump(y, y), samples, max_iterations=4).values.max()) < 0.95
    found = steepest(bump, samples[:256], search=Search(region=Box(-1.0, 1.0)), generator=generator())
    assert 1.2 < float(found.values[0]) <= 1.25 * (1 + 1e-9)
    assert float(torch.linalg.vector_norm(found.a[0] - PLACE)) < 5e-3


def test_a_tiny_region_of_parameters_is_found() -> None:
    def f(y: Tensor, p: Tensor) -> Tensor:
        return y * (0.5 + 0.75 / torch.sqrt(1 + ((p - 0.3) / WIDTH).square()))

    how = Search(region=Box(-1.0, 1.0), parameter_region=Box(-1.0, 1.0))
    found = steepest(f, draw(2, 128, 1), draw(3, 128, 1), search=how, generator=generator())
    assert float(found.values[0]) == pytest.approx(1.25, rel=1e-6)
    assert float(found.parameters[0]) == pytest.approx(0.3, abs=1e-5)


def test_jumps_and_kinks_are_found_without_derivatives() -> None:
    y = draw(4, 64)
    jump = steepest(
        lambda y, p: 0.5 * y + (y > 0.1234).double() * 1e-3,
        y,
        search=Search(region=Box(-1.0, 1.0)),
        generator=generator(),
    )
    assert float(jump.values[0]) > 1e4
    piece = steepest(
        lambda y, p: 0.5 * y + 2 * torch.relu(y - 0.97), y, search=Search(region=Box(-1.0, 1.0)), generator=generator()
    )
    assert float(piece.values[0]) == pytest.approx(2.5, rel=1e-6)


def test_nothing_is_claimed_above_the_truth() -> None:
    W = torch.linalg.qr(torch.randn(4, 4, generator=generator(), dtype=torch.float64))[0]
    found = steepest(lambda y, p: torch.tanh(0.9 * y @ W.T + p), draw(5, 64), draw(6, 64), generator=generator())
    assert bool((found.values <= 0.9 * (1 + 1e-9)).all())
    assert float(found.values[0]) == pytest.approx(0.9, rel=1e-4)


def test_places_stay_in_their_regions() -> None:
    how = Search(region=Box(-0.5, 0.5), parameter_region=Box(0.0, 0.25))
    found = steepest(
        lambda y, p: y**3 + p * y, 0.4 * draw(7, 32), 0.25 * draw(8, 32).abs(), search=how, generator=generator()
    )
    assert bool(((found.a >= -0.5) & (found.a <= 0.5)).all())
    assert found.b is not None
    assert bool(((found.b >= -0.5) & (found.b <= 0.5)).all())
    assert bool(((found.parameters >= 0) & (found.parameters <= 0.25)).all())
    assert float(found.values[0]) == pytest.approx(1.0, rel=1e-3)  # 3 / 4 + 1 / 4 at the corner


def test_other_norms() -> None:
    A = torch.tensor([[0.2, 0.3], [-0.4, 0.1]]).double()
    found = steepest(lambda y, p: torch.sin(y @ A.T), draw(9, 32, 2), search=Search(norm=Sup()), generator=generator())
    assert float(found.values[0]) == pytest.approx(0.5, rel=1e-4)


def test_samples_without_values_are_left_out_and_no_values_at_all_refused() -> None:
    found = steepest(
        lambda y, p: torch.log(y), draw(10, 64, 1), search=Search(region=Box(-1.0, 1.0)), generator=generator()
    )
    assert bool(torch.isfinite(found.values).all())
    with pytest.raises(NonFiniteError, match=r"no finite value at any sample"):
        steepest(lambda y, p: y / 0, draw(11, 4), generator=generator())


def test_maps_without_derivatives_are_searched_by_pairs() -> None:
    class Opaque(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, y: Tensor) -> Tensor:
            return torch.where(y > 0.5, 3 * y - 1, y)

    found = steepest(
        lambda y, p: Opaque.apply(y), draw(12, 64, 1), search=Search(region=Box(-1.0, 1.0)), generator=generator()
    )
    assert float(found.values[0]) == pytest.approx(3.0, rel=1e-6)


def test_the_same_generator_finds_the_same() -> None:
    runs = [steepest(bump, draw(13, 32), search=Search(steps=10, rounds=1), generator=generator()) for _ in range(2)]
    assert torch.equal(runs[0].values, runs[1].values)


def test_regions() -> None:
    assert Box(0.1, 0.2).project(torch.tensor([[0.0], [1.0]]).double()).reshape(-1).tolist() == [0.1, 0.2]
    assert Box(0.0, 1.0).contains(torch.tensor([[0.5], [2.0]])).tolist() == [True, False]
    assert Everywhere().contains(torch.tensor([[0.5], [2.0]])).tolist() == [True, True]
    around = Box.around(draw(14, 8))
    assert bool(around.contains(draw(14, 8)).all())
    with pytest.raises(InputError, match=r"low, high: got corners in the wrong order, or NaN"):
        Box(1.0, 0.0)
    with pytest.raises(ShapeError, match=r"p: got shape \(3, 1\), needed \(4, k\); pass one row of parameters a point"):
        steepest(lambda y, p: y, draw(1, 4), draw(2, 3, 1), generator=generator())
    with pytest.raises(InputError, match=r"kept: got 0, needed an integer >= 1"):
        Search(kept=0)


def test_an_ascent_that_goes_downhill_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: gradients of the wrong sign. The tiny region is missed."""
    from eqtheory.lipschitz.search import _climb

    honest = _climb._measured

    def downhill(*arguments: object) -> tuple[Tensor, Tensor]:
        height, uphill = honest(*arguments)  # type: ignore[arg-type]
        return height, -uphill

    monkeypatch.setattr(_climb, "_measured", downhill)
    found = steepest(bump, draw(1, 256), search=Search(region=Box(-1.0, 1.0)), generator=generator())
    assert float(found.values[0]) < 1.0


def test_inference_mode_is_left_for_the_search() -> None:
    y = draw(50, 40)
    outside = steepest(bump, y, search=Search(steps=10, rounds=2), generator=generator()).values[0]
    with torch.inference_mode():
        inside = steepest(bump, y + 0, search=Search(steps=10, rounds=2), generator=generator()).values[0]
    assert float(inside) == pytest.approx(float(outside), rel=1e-9)


def test_slopes_are_those_of_the_region_wherever_the_search_starts() -> None:
    """Once starts outside counted, with their pairs: 12 for a slope of 2."""
    how = Search(region=Box(-1.0, 1.0), steps=10, rounds=1)
    found = steepest(lambda y, _: y**2, 5 + draw(51, 8, 1).abs(), search=how, generator=generator())
    assert 1.9 < float(found.values[0]) <= 2.0
    assert found.b is not None
    assert bool(how.region.contains(torch.cat([found.a, found.b])).all())


def test_slopes_are_those_of_the_region_of_parameters() -> None:
    how = Search(region=Box(-1.0, 1.0), parameter_region=Box(-1.0, 1.0), steps=10, rounds=1)
    y, p = draw(52, 8, 1), 5 + draw(53, 8, 1).abs()
    found = steepest(lambda y, p: p * y, y, p, search=how, generator=generator())
    assert 0.99 < float(found.values[0]) <= 1.0
    assert bool(how.parameter_region.contains(found.parameters).all())


def test_points_made_in_inference_mode_are_searched_from_outside() -> None:
    with torch.inference_mode():
        y, p = draw(54, 8, 2), draw(55, 8, 2)
    found = steepest(lambda y, p: 2 * y + p.sin(), y, p, search=Search(steps=5, rounds=1), generator=generator())
    assert float(found.values[0]) == pytest.approx(2.0, rel=1e-9)


def test_bounds_keep_no_graph() -> None:
    y = draw(56, 8, 2).requires_grad_()
    assert not steepest(
        lambda y, _: y.sin(), y, search=Search(steps=2, rounds=1), generator=generator()
    ).values.requires_grad
