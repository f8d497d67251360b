"""Steps from a finite cloud can be too long but never too short, are the same every time, and say that they are estimates."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Evidence, Side
from eqtheory.constructions import (
    EstimatedRelaxation,
    RadiusProduct,
    SquaredRadius,
    adaptive_relaxation,
    estimated_relaxation,
)
from eqtheory.errors import EqTheoryError, InputError, NonFiniteError, ShapeError
from eqtheory.norms import Euclidean, Sup
from eqtheory.targets import InversionMap, ReciprocalMap, SqrtMap, TanMap, Target


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def estimate_of(target: Target, x: Tensor, **settings: Any) -> EstimatedRelaxation:
    return estimated_relaxation(
        target,
        x,
        generator=settings.pop("generator", seeded()),
        input_norm=target.input_norm,
        output_norm=target.output_norm,
        contains=target.contains,
        **settings,
    )


def moderate(target: Target) -> Tensor:
    """Points whose distance to the singular set is far above the smallest distance of a cloud, 1e-8."""
    g = seeded(1)
    share = torch.rand(60, generator=g, dtype=torch.float64)
    if isinstance(target, TanMap):
        return 2.8 * share - 1.4
    if isinstance(target, InversionMap):
        direction = torch.randn(60, 3, generator=g, dtype=torch.float64)
        return direction / Euclidean()(direction).unsqueeze(1) * 10.0 ** (3 * share.unsqueeze(1) - 2)
    return 10.0**share if isinstance(target, SqrtMap) else 10.0 ** (-3 * share)


@pytest.mark.parametrize("target", [ReciprocalMap(), TanMap(), SqrtMap(), InversionMap()], ids=lambda t: t.name)
def test_radii_are_never_smaller_than_true_ones_and_close_to_them(target: Target) -> None:
    x = moderate(target)
    true, found = adaptive_relaxation(target).radii(x), estimate_of(target, x, cloud=96).radii(x)
    # Points of a cloud are at least 1e-10 apart, so slopes carry at most 4 u |F| / 1e-10 of rounding: a share below 1e-5 of
    # 1 + |F| + slope.
    for exact, estimated in zip(true, found, strict=True):
        assert bool((estimated >= exact * (1 - 1e-5)).all())
    # The proved bounds are nearly the suprema here, so a cloud that saw nothing would be noticed.
    assert bool((found[0] <= 2 * true[0]).all())


def test_a_cloud_that_misses_the_slopes_would_be_seen() -> None:
    x = moderate(ReciprocalMap())
    blind = EstimatedRelaxation(
        ReciprocalMap(),
        torch.full((2,), 1e-30, dtype=torch.float64),
        rule=RadiusProduct(),
        scale=1.0,
        input_norm=Sup(),
        output_norm=Sup(),
        contains=None,
    )
    rho, _ = blind.radii(x)
    assert not bool((rho <= 2 * adaptive_relaxation(ReciprocalMap()).radii(x)[0]).all())


def test_everything_but_contraction_is_labelled_an_estimate() -> None:
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)
    r = estimated_relaxation(torch.tanh, x, generator=seeded(), scale=0.5).regularity
    assert r is not None
    for bound in (r.L0, r.L1):
        assert (bound.side, bound.evidence, bound.value) == (Side.ESTIMATE, Evidence.ESTIMATED, 1.0)
    assert (r.mu.side, r.mu.evidence) == (Side.EXACT, Evidence.PROVED)


def test_contraction_and_fixed_points_are_exact_all_the_same() -> None:
    x = torch.linspace(-3, 3, 41, dtype=torch.float64)
    G = estimated_relaxation(torch.sinh, x, generator=seeded())
    F = torch.sinh(x)
    assert torch.equal(G(F, x), F)
    assert torch.allclose(G(F + 1, x) - G(F, x), 1 - G.step(x), rtol=1e-12, atol=1e-12)
    assert bool(((G.step(x) > 0) & (G.step(x) <= 1)).all())


def test_the_same_generator_state_gives_the_same_operator() -> None:
    x = torch.randn(20, 3, generator=seeded(5), dtype=torch.float64)

    def steps(seed: int) -> Tensor:
        return estimated_relaxation(torch.sin, x, generator=seeded(seed)).step(x)

    assert torch.equal(steps(1), steps(1))
    assert not torch.equal(steps(1), steps(2))


def test_a_step_is_a_function_of_its_own_input_alone() -> None:
    x = torch.randn(30, 2, generator=seeded(6), dtype=torch.float64)
    G = estimated_relaxation(torch.sin, x, generator=seeded())
    whole = G.step(x)
    assert torch.equal(whole.flip(0), G.step(x.flip(0)))
    for i in range(0, 30, 7):
        assert torch.equal(G.step(x[i : i + 1]), whole[i : i + 1])


def test_the_map_is_never_evaluated_outside_its_domain() -> None:
    def guarded(x: Tensor) -> Tensor:
        assert bool(ReciprocalMap().contains(x).all())
        return 1 / x

    x = torch.tensor([1e-6, 1e-3, 0.5, 1.0], dtype=torch.float64)
    G = estimated_relaxation(guarded, x, generator=seeded(), contains=ReciprocalMap().contains)
    assert bool((G.step(x) > 0).all())
    careless = estimated_relaxation(guarded, x, generator=seeded())
    with pytest.raises(AssertionError):  # so the guard does see the cloud
        careless.step(x)


def test_points_outside_the_domain_add_nothing() -> None:
    # Steep on the left half only: a domain that ends at 0 hides it.
    x = torch.tensor([0.05], dtype=torch.float64)

    def kinked(v: Tensor) -> Tensor:
        return torch.where(v > 0, 0.0, -1e4 * v)

    everywhere = estimated_relaxation(kinked, x, generator=seeded())
    right = estimated_relaxation(kinked, x, generator=seeded(), contains=lambda v: v > 0)
    assert float(right.step(x)) == 1.0
    assert float(everywhere.step(x)) < 0.01


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_shapes_and_types_follow_the_example(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(shape, generator=seeded(7), dtype=torch.float64).to(dtype)
    G = estimated_relaxation(torch.tanh, x, generator=seeded(), cloud=16, rule=SquaredRadius(), input_norm=Sup())
    assert G.offsets.shape == (16, *shape[1:])
    assert G.offsets.dtype is G.step(x).dtype is G(torch.zeros_like(x), x).dtype is dtype
    lengths = Sup()(G.offsets)
    assert bool(((lengths >= 0.9e-8) & (lengths <= 1.001)).all())
    assert G.input_norm == Sup()


# What cannot be estimated.


@pytest.mark.parametrize("cloud", [-1, 0, 1])
def test_a_cloud_has_at_least_two_points(cloud: int) -> None:
    with pytest.raises(InputError, match=f"cloud: got {cloud}, needed at least 2 points; pass for example cloud=64"):
        estimated_relaxation(torch.tanh, torch.ones(1), generator=seeded(), cloud=cloud)


@pytest.mark.parametrize(
    ("example", "kind", "message"),
    [
        (torch.ones(0), ShapeError, "example: got an empty batch"),
        (torch.tensor(1.0), ShapeError, "example: got a tensor without axes"),
        (torch.tensor([math.nan]), NonFiniteError, "example: got nan at index"),
        (torch.tensor([1]), InputError, "example: got dtype torch.int64, needed a floating-point tensor"),
    ],
)
def test_an_unusable_example_is_refused(example: Tensor, kind: type[InputError], message: str) -> None:
    with pytest.raises(kind, match=message):
        estimated_relaxation(torch.tanh, example, generator=seeded())


def test_unusable_inputs_are_refused() -> None:
    G = estimated_relaxation(torch.tanh, torch.ones(1, 2), generator=seeded())
    with pytest.raises(ShapeError, match=r"x: got shape \(3,\), needed \(batch, 2\); reshape it"):
        G.step(torch.ones(3))
    with pytest.raises(NonFiniteError, match=r"x: got inf at index \(0, 1\), needed finite numbers"):
        G.step(torch.tensor([[1.0, math.inf]]))
    with pytest.raises(ShapeError, match=r"x: got an empty batch"):
        G.step(torch.ones(0, 2))


def test_a_map_that_loses_samples_is_refused() -> None:
    G = estimated_relaxation(lambda x: x[:1], torch.ones(3), generator=seeded())
    with pytest.raises(
        InputError, match=r"F\(x\): got shape \(1,\), needed 3 values, batch axis first; return one value"
    ):
        G.step(torch.ones(3))


def test_a_map_that_is_not_finite_at_an_input_is_refused_with_the_input() -> None:
    G = estimated_relaxation(torch.reciprocal, torch.ones(1), generator=seeded())
    with pytest.raises(NonFiniteError, match=r"F\(x\): got a non-finite value at sample 1 = 0.0, needed finite values"):
        G.step(torch.tensor([1.0, 0.0]))


def walled(x: Tensor) -> Tensor:
    return torch.where((x - 0.5).abs() < 0.25, 0.0, torch.inf)


@pytest.mark.parametrize("function", [torch.log, torch.acosh, walled], ids=["log", "acosh", "walled"])
def test_a_map_that_is_not_finite_next_to_an_input_gives_no_wrong_step_silently(function: Any) -> None:
    # The cloud leaves the set where the map is defined, and nobody said where that ends.
    x = torch.tensor([0.5, 0.4], dtype=torch.float64) + 1.0 * (function is torch.acosh)
    G = estimated_relaxation(function, x, generator=seeded())
    assert bool(torch.isfinite(function(x)).all())
    with suppress(EqTheoryError):  # refusing is right, too
        step = G.step(x)
        assert bool(((step > 0) & (step <= 1)).all())
