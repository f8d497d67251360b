"""What a combinator declares is true of the operator it builds, attained where its derivation says so, and nothing smaller is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.norms import Euclidean, Norm, Sup
from eqtheory.operators import (
    Cascade,
    Clipped,
    Composed,
    Encoded,
    FunctionOperator,
    ImplicitOperator,
    Regularity,
    Relaxed,
)
from eqtheory.roundoff import gamma

N = 3
# Values are at most 3 s + 2 in size at spread s >= 0.1, right sides at least 0.25 * 0.3 s, fewer than 16 roundings lead to a
# ratio: 16 * (3 s + 2) / (0.075 s) <= 16 * 307 roundoffs.
TOLERANCE = gamma(16 * 307, torch.float64)
SPREADS = (0.1, 1.0, 10.0)


def proved(value: float, side: Side = Side.EXACT) -> Bound:
    return Bound(value, side, "by hand", Evidence.PROVED)


def affine(mu: float, L0: float, L1: float, norm: Norm, *, local: bool = False) -> FunctionOperator:
    """`(mu - L1 x_0) y + L0 x` for `x` in the unit cube, `L1 <= mu`: all three constants are exact.

    The factor of `y` is a number, so (R1) is an equality with `mu - L1 x_0`. In the input the change is
    `L0 (x - x') - L1 (x_0 - x'_0) y`, at most `(L0 + L1 |y|) |x - x'|`, an equality for `x - x'` along the first axis and `y`
    against it.
    """
    factor: Bound | LocalBound = proved(mu)
    if local:
        factor = LocalBound(lambda x: mu - L1 * x[:, 0], Side.EXACT, "by hand", Evidence.PROVED)
    regularity = Regularity(factor, proved(L0), proved(L1), norm, norm)
    return FunctionOperator(
        lambda y, x: (mu - L1 * x[:, :1]) * y + L0 * x, initial_state=torch.zeros_like, regularity=regularity
    )


def samples(width: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States `y, z` (spread over signs, axes and sizes) and inputs `x, w` in the unit cube, with gaps of at least 0.1."""
    g = torch.Generator().manual_seed(seed)
    count = 512
    y = torch.randn(count, width, generator=g, dtype=torch.float64)
    y[::4] = -3.0 * torch.eye(width, dtype=torch.float64)[torch.arange(count // 4) % width]
    z = y + 0.3 + torch.rand(count, width, generator=g, dtype=torch.float64)
    z[1::2] = y[1::2] + torch.eye(width, dtype=torch.float64)[torch.arange(count // 2) % width]
    x = torch.rand(count, N, generator=g, dtype=torch.float64)
    w = (x + 0.1 + 0.8 * torch.rand(count, N, generator=g, dtype=torch.float64)) % 1.0
    x[::4], w[::4] = 0.0, 0.0
    x[::4, 0] = 1.0  # along the first axis
    x[1::4, 0], x[2::4, 0] = 0.0, 0.0  # where the local factor is largest
    return y, z, x, w


def ratios(G: ImplicitOperator, claim: Regularity, seed: int = 0, spread: float = 1.0) -> dict[str, float]:
    """Largest left side over right side of (R1) and (R2): above 1 the claim is false, 1 it is attained."""
    y, z, x, w = samples(2 * N if isinstance(G, Cascade) else N, seed)
    y, z = spread * y, spread * z
    norm, metric = claim.state_norm, claim.input_metric
    contracted = norm.distance(G(y, x), G(z, x)) / (claim.mu.at(x) * norm.distance(y, z))
    moved = norm.distance(G(y, x), G(y, w)) / ((claim.L0.value + claim.L1.value * norm(y)) * metric.distance(x, w))
    return {"R1": float(contracted.max()), "R2": float(moved.max())}


def regularity_of(G: ImplicitOperator) -> Regularity:
    assert G.regularity is not None
    return G.regularity


SUP = Sup()
CASES: dict[str, tuple[Callable[[], ImplicitOperator], float]] = {}
for _norm in (Euclidean(), Sup()):
    for _local in (False, True):
        _tag = f"{_norm.name}{' local' if _local else ''}"
        _base = affine(0.75, 1.5, 0.5, _norm, local=_local)
        _flat = affine(0.999, 0.25, 0.0, _norm)
        CASES[f"base {_tag}"] = (lambda b=_base: b, 1.0)
        CASES[f"Relaxed {_tag}"] = (lambda b=_base: Relaxed(b, 0.25), 1.0)
        CASES[f"Relaxed by 1 {_tag}"] = (lambda b=_base: Relaxed(b, 1.0), 1.0)
        CASES[f"Encoded {_tag}"] = (lambda b=_base: Encoded(b, lambda x: 0.5 * x, lipschitz=proved(0.5)), 1.0)
        CASES[f"Clipped {_tag}"] = (lambda b=_base: Clipped(b, 2.0), 1.0)
        # The inner budget passes through mu_G = 0.999, which the declared one leaves out.
        CASES[f"Composed {_tag}"] = (lambda b=_base, f=_flat: Composed(f, b), 0.999)
    CASES[f"Cascade {_norm.name}"] = (
        lambda n=_norm: Cascade(affine(0.75, 1.5, 0.5, n), affine(0.5, 4.0, 0.0, n), sizes=(N, N)),
        1.0,
    )
    CASES[f"Cascade, second slower {_norm.name}"] = (
        lambda n=_norm: Cascade(affine(0.25, 1.5, 0.25, n), affine(0.9, 4.0, 0.0, n), sizes=(N, N)),
        1.0,
    )
    CASES[f"Cascade without coupling {_norm.name}"] = (
        lambda n=_norm: Cascade(affine(0.75, 1.5, 0.5, n), affine(0.5, 0.0, 0.0, n), sizes=(N, N)),
        1.0,
    )
EACH = pytest.mark.parametrize(("build", "share"), CASES.values(), ids=CASES)


@EACH
def test_what_is_declared_is_true(build: Callable[[], ImplicitOperator], share: float) -> None:
    G = build()
    for seed in range(4):
        for spread in SPREADS:
            found = ratios(G, regularity_of(G), seed, spread)
            assert max(found.values()) <= 1 + TOLERANCE


@EACH
def test_what_is_declared_is_attained(build: Callable[[], ImplicitOperator], share: float) -> None:
    G = build()
    # Clipping keeps mu only between states inside the ball, and its budget is attained outside.
    inside, outside = ratios(G, regularity_of(G), spread=0.1), ratios(G, regularity_of(G))
    assert max(inside["R1"], outside["R1"]) >= 1 - TOLERANCE
    assert max(inside["R2"], outside["R2"]) >= share - TOLERANCE


def smaller(claim: Regularity, name: str, factor: float) -> Regularity:
    bound: Any = getattr(claim, name)
    if isinstance(bound, LocalBound):
        return replace(claim, **{name: replace(bound, function=lambda x: factor * bound.at(x))})
    return replace(claim, **{name: replace(bound, value=factor * bound.value)})


@pytest.mark.parametrize(
    ("case", "name"),
    [
        (case, name)
        for case, (build, _) in CASES.items()
        for name in ("mu", "L0", "L1")
        if name == "mu" or getattr(regularity_of(build()), name).value > 0  # nothing smaller than zero can be claimed
    ],
)
def test_a_constant_one_percent_smaller_is_rejected(case: str, name: str) -> None:
    G = CASES[case][0]()
    claim = regularity_of(G)
    worst = [ratios(G, smaller(claim, name, 0.99), spread=s)["R1" if name == "mu" else "R2"] for s in SPREADS]
    assert max(worst) > 1.0005


@pytest.mark.parametrize("local", [False, True])
def test_a_relaxation_that_claims_eps_mu_is_rejected(*, local: bool) -> None:
    G = Relaxed(affine(0.75, 1.5, 0.5, SUP, local=local), 0.25)
    honest, base = regularity_of(G), regularity_of(G.operator)
    wrong = replace(
        honest, mu=LocalBound(lambda x: 0.25 * base.mu.at(x) + 0 * x[:, 0], Side.UPPER, "wrong", Evidence.DECLARED)
    )
    assert ratios(G, honest)["R1"] <= 1 + TOLERANCE
    assert ratios(G, wrong)["R1"] > 2


def test_a_clipping_that_keeps_the_budget_of_the_zero_state_is_rejected() -> None:
    G = Clipped(affine(0.75, 1.5, 0.5, SUP), 2.0)
    assert regularity_of(G).L0.value == 1.5 + 0.5 * 2.0
    assert ratios(G, replace(regularity_of(G), L0=proved(1.5)))["R2"] > 1.5


def test_a_cascade_measured_without_its_weight_does_not_contract() -> None:
    G = Cascade(affine(0.75, 1.5, 0.5, SUP), affine(0.5, 4.0, 0.0, SUP), sizes=(N, N))
    claim = regularity_of(G)
    assert claim.state_norm.weights == (1.0, 0.25 / 8.0)  # type: ignore[attr-defined]
    assert ratios(G, replace(claim, state_norm=replace(claim.state_norm, weights=(1.0, 1.0))))["R1"] > 1  # type: ignore[type-var]


# What the combinators compute.


def test_values() -> None:
    g = torch.Generator().manual_seed(1)
    y, x = torch.randn(5, N, generator=g, dtype=torch.float64), torch.rand(5, N, generator=g, dtype=torch.float64)
    G, H = affine(0.75, 1.5, 0.5, SUP), affine(0.5, 4.0, 0.0, SUP)
    assert torch.allclose(Relaxed(G, 0.25)(y, x), 0.75 * y + 0.25 * G(y, x), rtol=0, atol=1e-15)
    assert torch.equal(Encoded(G, torch.sin)(y, x), G(y, torch.sin(x)))
    assert torch.equal(Clipped(G, 0.5)(y, x), G(y.clamp(-0.5, 0.5), x))
    assert torch.equal(Composed(H, G)(y, x), H(G(y, x), x))
    both = Cascade(G, H, sizes=(N, N))(torch.cat([y, -y], dim=1), x)
    assert torch.equal(both, torch.cat([G(y, x), H(-y, y)], dim=1))


@pytest.mark.parametrize("eps", [1e-3, 0.5, 1.0])
def test_a_relaxation_keeps_fixed_points_bit_for_bit(eps: float) -> None:
    G = FunctionOperator(lambda y, x: torch.where(y == x, y, y + 1))
    x = torch.randn(100, generator=torch.Generator().manual_seed(2))
    assert torch.equal(Relaxed(G, eps)(x, x), x)


def test_the_euclidean_projection_is_the_nearest_point_of_the_ball() -> None:
    G = Clipped(affine(0.75, 1.5, 0.5, Euclidean()), 2.0)
    y = 3 * torch.randn(200, N, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    p, size = G.project(y), Euclidean()(y)
    assert bool((Euclidean()(p) <= 2 * (1 + TOLERANCE)).all())
    assert torch.equal(p[size <= 2], y[size <= 2])
    gap = Euclidean().distance(p, y)
    assert bool(((gap - (size - 2).clamp_min(0)).abs() <= TOLERANCE * size).all())
    assert bool((size > 2).any())
    assert bool((size <= 2).any())


def test_initial_states_follow_the_parts() -> None:
    x = torch.rand(4, N, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    start = FunctionOperator(
        lambda y, x: y, initial_state=lambda x: 10 * x, regularity=affine(0.5, 1, 0, SUP).regularity
    )
    assert torch.equal(Relaxed(start, 0.5).initial_state(x), 10 * x)
    assert torch.equal(Encoded(start, torch.neg).initial_state(x), -10 * x)
    assert torch.equal(Clipped(start, 0.5).initial_state(x), (10 * x).clamp_max(0.5))
    assert torch.equal(Composed(affine(0.5, 1, 0, SUP), start).initial_state(x), 10 * x)
    cascade = Cascade(start, start, sizes=(N, N))
    assert torch.equal(cascade.initial_state(x), torch.cat([10 * x, 10 * (10 * x)], dim=1))
