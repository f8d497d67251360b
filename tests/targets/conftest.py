"""The laws of a target as checks that any target can be held to, faulty ones included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Side
from eqtheory.targets import Target
from eqtheory.targets._exact import DIGITS, to_precise, to_tensor

SAMPLES = 1500
DEPTH_BITS = 7  # radii down to 2^-128, far below every distance to a singularity that is sampled
REFERENCES, JACOBIANS = 12, 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(value: Any) -> list[Any]:
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, (list, tuple)) else [value]


def distance(target: Target, value: Tensor, reference: Any) -> float:
    """Output norm of `value - reference`, the difference taken in high precision."""
    with mpmath.workdps(DIGITS):
        gaps = [
            float(mpmath.mpf(a) - b) for a, b in zip(value.double().flatten().tolist(), flat(reference), strict=True)
        ]
    return float(target.output_norm(torch.tensor(gaps, dtype=torch.float64).reshape(1, *target.output_shape)))


def scaled(v: Tensor, factor: Tensor) -> Tensor:
    return v * factor.reshape(-1, *[1] * (v.ndim - 1))


def finite_radius(target: Target, x: Tensor) -> Tensor:
    """Largest `2^-k` at which the slope bound is finite; bounds are monotone in the radius, so bisection finds it."""
    low = torch.zeros(x.shape[0], dtype=torch.float64)
    high = torch.full_like(low, 2.0**DEPTH_BITS)
    for _ in range(DEPTH_BITS):
        middle = torch.floor((low + high) / 2)
        finite = torch.isfinite(target.ball_bounds(x, 0.5**middle)[1])
        low, high = torch.where(finite, low, middle), torch.where(finite, middle, high)
    return torch.where(torch.isfinite(target.ball_bounds(x, torch.ones_like(low))[1]), 1.0, 0.5**high)


def interior(target: Target, x: Tensor) -> Tensor:
    """The points whose neighbours along every coordinate lie in the domain."""
    step = 1e-6 * finite_radius(target, x)
    inside = torch.ones(x.shape[0], dtype=torch.bool)
    for v in target.tangent(torch.eye(max(1, x[0].numel()), dtype=torch.float64).reshape(-1, *target.input_shape)):
        for sign in (-1, 1):
            inside &= target.contains(x + scaled(v.expand_as(x), sign * step))
    return x[inside]


def points_in_ball(target: Target, x: Tensor, r: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points of the domain in the open ball, many of them at its rim, and which of them are any good."""
    depth = 10.0 ** (-9 * torch.rand(x.shape[0], generator=generator, dtype=torch.float64))
    share = torch.where(torch.rand(x.shape[0], generator=generator) < 0.5, 1 - depth, depth)
    z = x + scaled(target.directions(x, generator=generator), r * share)
    # Another sample that happens to lie in the ball may sit in a different component.
    other = x[torch.randperm(x.shape[0], generator=generator)]
    z = torch.where((target.input_norm(other - x) < r).reshape(-1, *[1] * (x.ndim - 1)), other, z)
    # Strictly inside even if the distance was rounded.
    good = target.contains(z) & (target.input_norm(z - x) < r * (1 - 1e-12))
    return torch.where(good.reshape(-1, *[1] * (x.ndim - 1)), z, x), good


def steepened(target: Target, x: Tensor, r: Tensor, generator: torch.Generator) -> Tensor:
    """The steepest of a few points of each ball."""
    best, steepest = x, target.local_modulus(x)
    for _ in range(4):
        z, _ = points_in_ball(target, x, r, generator)
        modulus = target.local_modulus(z)
        better = modulus > steepest
        best = torch.where(better.reshape(-1, *[1] * (x.ndim - 1)), z, best)
        steepest = torch.where(better, modulus, steepest)
    return best


def hostile_balls(target: Target, seed: int) -> tuple[Tensor, Tensor]:
    """Centres, and radii from far too large to tiny, most of them just small enough for a finite bound."""
    g = seeded(seed)
    x = target.sample(SAMPLES, generator=g)
    factor = torch.tensor([8.0, 2.0, 1.9, 1.5, 1.0, 0.99, 0.5, 1e-3], dtype=torch.float64)
    which = torch.randint(len(factor), (SAMPLES,), generator=g)
    return x, finite_radius(target, x) * factor[which]


def check_exact_values(target: Target) -> None:
    """Both evaluations agree with the closed forms."""
    pairs = target.exact_values()
    assert pairs, "no exact value is known"
    for x, y in pairs:
        with mpmath.workdps(DIGITS):
            expected = to_precise(y)
            gap = max(abs(a - b) for a, b in zip(flat(target.reference(x)), flat(expected), strict=True))
            size = max(abs(a) for a in flat(expected))
        assert gap <= mpmath.mpf(10) ** -50 * (size + mpmath.mpf(10) ** -50), f"reference({x}) is off by {gap}"
        point = to_tensor(x).unsqueeze(0)
        # x may not be representable: its rounding, half an ulp in every entry, moves the value by at most the modulus times that.
        moved = 1.01 * target.local_modulus(point) * 2.0**-53 * point.abs().sum()
        assert distance(target, target(point), expected) <= float(target.evaluation_error(point) + moved), f"F({x})"


def check_evaluation_error(target: Target) -> None:
    """Computed values are as close to 50 digits as is claimed, in both precisions."""
    for dtype in (torch.float64, torch.float32):
        x = target.sample(REFERENCES, generator=seeded(3), dtype=dtype)
        value, error = target(x), target.evaluation_error(x)
        assert value.dtype == error.dtype == dtype
        for i in range(REFERENCES):
            assert distance(target, value[i], target.reference(x[i])) <= float(error[i]), f"F at {x[i].tolist()}"


def reference_jacobian(target: Target, x: Tensor) -> Tensor:
    """Derivative along the domain from central differences of the reference, whose step 1e-40 is exact to 60 digits."""
    columns = []
    for k in range(max(1, x.numel())):
        unit = torch.zeros(max(1, x.numel()), dtype=torch.float64)
        unit[k] = 1.0
        v = target.tangent(unit.reshape(1, *target.input_shape))[0]
        with mpmath.workdps(DIGITS):
            step = mpmath.mpf(10) ** -40

            def moved(a: Any, b: Any, sign: int, step: Any = step) -> Any:
                return (
                    [moved(p, q, sign) for p, q in zip(a, b, strict=True)]
                    if isinstance(a, list)
                    else a + sign * step * b
                )

            up, down = (flat(target.reference(moved(to_precise(x), to_precise(v), s))) for s in (1, -1))
            columns.append([float((a - b) / (2 * step)) for a, b in zip(up, down, strict=True)])
    return torch.tensor(columns, dtype=torch.float64).T


def check_modulus(target: Target) -> None:
    """The local modulus is the norm of the derivative, found from 50-digit values at steep and at flat points."""
    x = interior(target, target.sample(8 * JACOBIANS, generator=seeded(5)))
    x = x[target.local_modulus(x).argsort(descending=True)[:: x.shape[0] // JACOBIANS]]
    modulus = target.local_modulus(x)
    for i in range(x.shape[0]):
        jacobian = reference_jacobian(target, x[i])
        _, s, vh = torch.linalg.svd(jacobian)
        # Along the steepest direction in the Euclidean sense, which for the spectral norm is of rank one as well.
        v, w = vh[0].reshape(1, *target.input_shape), (jacobian @ vh[0]).reshape(1, *target.output_shape)
        slope = float(target.output_norm(w) / target.input_norm(v))
        claimed = float(modulus[i])
        assert slope <= claimed * (1 + 1e-7) + 1e-12, f"modulus {claimed} at {x[i].tolist()}, slope {slope}"
        if target.modulus_side is Side.EXACT:  # 1e-7: with condition 1e6 singular vectors are known to 1e-10
            assert slope >= claimed * (1 - 1e-7) - 1e-12, f"modulus {claimed} at {x[i].tolist()}, slope {slope}"
            if target.input_norm.name == "l2":
                assert abs(float(s[0]) - claimed) <= 1e-7 * claimed + 1e-12


def check_sandwich(target: Target) -> None:
    """`lip F(x) <= lip(ball)` for every ball, with equality in the limit; values lie under `sup`."""
    x = target.sample(SAMPLES, generator=seeded(7))
    modulus, size = target.local_modulus(x), target.output_norm(target(x))
    smallest = torch.full_like(modulus, torch.inf)
    for k in range(-2, 2**DEPTH_BITS, 2):
        sup, lip = target.ball_bounds(x, torch.full_like(modulus, 0.5**k))
        assert bool((sup >= size * (1 - 1e-9)).all()), f"sup below |F(x)| at radius 2^-{k}"
        assert bool((lip >= modulus * (1 - 1e-9)).all()), f"lip below the local modulus at radius 2^-{k}"
        smallest = torch.minimum(smallest, lip)
    assert bool(torch.isfinite(smallest).all()), "no ball has a finite bound"
    if (
        target.modulus_side is Side.EXACT
    ):  # 1e-5 covers what is taken off for rounding: 8 n U |A| / s_min, condition 1e7
        assert bool((smallest <= modulus * (1 + 1e-5) + 1e-9).all()), "lip does not tend to the local modulus"


def check_ball_bounds(target: Target) -> None:
    """No pair of points of a ball is steeper, and no value larger, than its bounds."""
    tightest = 0.0
    for seed in range(6):
        x, r = hostile_balls(target, seed)
        sup, lip = target.ball_bounds(x, r)
        assert float(torch.isfinite(lip).double().mean()) > 0.4, (
            "hardly any ball has a finite bound: nothing is checked"
        )
        g = seeded(100 + seed)
        z = steepened(target, x, r, g)
        # A partner anywhere in the ball, and one next to the steep point.
        near = z + scaled(target.directions(z, generator=g), 1e-5 * finite_radius(target, z))
        inside = target.contains(near) & (target.input_norm(near - x) < r * (1 - 1e-12))
        for partner, good in (points_in_ball(target, x, r, g), (near, inside)):
            w = torch.where(good.reshape(-1, *[1] * (x.ndim - 1)), partner, x)
            error_z, error_w = target.evaluation_error(z), target.evaluation_error(w)
            assert bool((target.output_norm(target(w)) - error_w <= sup).all()), "a value exceeds sup"
            gap = target.input_norm(z - w)
            rise = target.output_norm(target(z) - target(w)) - error_z - error_w
            slope = torch.where(gap > 0, rise / torch.where(gap > 0, gap, 1.0), 0.0) * (1 - 1e-14)
            assert bool((slope <= lip).all()), "a pair is steeper than lip"
            share = torch.where(torch.isfinite(lip) & (lip > 0), slope / lip, 0.0)
            tightest = max(tightest, float(share.max()))
    flat_everywhere = bool((target.local_modulus(x) == 0).all())
    assert tightest > 0.4 or flat_everywhere, f"bounds are never nearly attained: best ratio {tightest}"


def check_monotone(target: Target) -> None:
    """A ball within a ball has smaller bounds."""
    compared = 0
    for seed in range(6):
        x, r = hostile_balls(target, seed)
        g = seeded(200 + seed)
        z, good = points_in_ball(target, x, r, g)
        # Room for the rounding of the distance, of singular values and of an inner map: the ball stays nested without doubt.
        room = 1e-13 * (target.input_norm(x) + r)
        left = (r - target.input_norm(z - x) - room) * torch.where(torch.rand(SAMPLES, generator=g) < 0.5, 1.0, 0.1)
        good = good & (left > 0)
        outer = target.ball_bounds(x, r)
        inner = target.ball_bounds(z, torch.where(good, left, r * 1e-6))
        for small, large in zip(inner, outer, strict=True):
            violated = good & (small > large * (1 + 1e-9))
            assert not bool(violated.any()), f"{int(violated.sum())} balls have a larger bound than one around them"
        compared += int((good & torch.isfinite(outer[1])).sum())
    assert compared > SAMPLES / 5, f"only {compared} nested balls were compared"


def check_never_nan(target: Target) -> None:
    """Any positive radius is answered."""
    x = target.sample(200, generator=seeded(11))
    for exponent in range(-300, 301, 20):
        for bound in target.ball_bounds(x, torch.full((200,), 10.0**exponent, dtype=torch.float64)):
            assert not bool(torch.isnan(bound).any()), f"NaN at radius 1e{exponent}"
            assert bool((bound >= 0).all())


def check_steep_pairs(target: Target) -> None:
    """Steep pairs are steep by 50 digits."""
    for exponent in range(1, 7):
        slope = 10.0**exponent
        x, z = target.steep_pair(slope)
        assert x.shape == z.shape == (1, *target.input_shape)
        assert bool(target.contains(x)) & bool(target.contains(z))
        with mpmath.workdps(DIGITS):
            values = zip(flat(target.reference(x[0])), flat(target.reference(z[0])), strict=True)
            rise = torch.tensor([float(a - b) for a, b in values], dtype=torch.float64)
        assert float(target.output_norm(rise.reshape(1, *target.output_shape))) > slope * float(
            target.input_norm(x - z)
        ) * (1 - 1e-14)


def check_samples(target: Target) -> None:
    """Samples are usable, reproducible and hostile."""
    for dtype in (torch.float64, torch.float32):
        x = target.sample(SAMPLES, generator=seeded(1), dtype=dtype)
        assert (x.shape, x.dtype) == ((SAMPLES, *target.input_shape), dtype)
        assert bool(target.contains(x).all()), "a sample lies outside the domain"
        assert bool(torch.isfinite(target(x)).all())
        assert torch.equal(x, target.sample(SAMPLES, generator=seeded(1), dtype=dtype)), "not reproducible"
        assert not torch.equal(x, target.sample(SAMPLES, generator=seeded(2), dtype=dtype)), "the seed is not used"
    x = target.sample(SAMPLES, generator=seeded(1))
    steepness = torch.maximum(target.local_modulus(x), 1 / finite_radius(target, x))
    assert float(steepness.max()) > 1e3 * float(steepness.min()), "steep places are not visited"


def check_batch_mates(target: Target) -> None:
    """A sample's results are the same bit for bit whoever stands beside it."""
    x = target.sample(64, generator=seeded(13))
    r = torch.full((64,), 1e-3, dtype=torch.float64)
    together = (target(x), target.local_modulus(x), *target.ball_bounds(x, r))
    for i in (0, 17, 63):
        alone = x[i : i + 1].clone()
        single = (target(alone), target.local_modulus(alone), *target.ball_bounds(alone, r[:1]))
        assert all(torch.equal(a[i : i + 1], b) for a, b in zip(together, single, strict=True))


def check_gradient(target: Target) -> None:
    """Automatic differentiation gives the derivative of the reference."""
    x = interior(target, target.sample(20, generator=seeded(17)))[:3]
    point = x.clone().requires_grad_()
    value = target(point).reshape(3, -1)
    rows = [torch.autograd.grad(value[:, j].sum(), point, retain_graph=True)[0] for j in range(value.shape[1])]
    for i in range(3):
        expected = reference_jacobian(target, x[i])
        found = torch.stack([target.tangent(row[i : i + 1]).flatten() for row in rows])
        # Conditions up to 1e6 enter squared: 4 digits would be left at worst, 6 are at these points.
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()) + 1e-12)


CHECKS: dict[str, Callable[[Target], None]] = {
    name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")
}


@pytest.fixture(scope="session")
def laws() -> dict[str, Callable[[Target], None]]:
    """The laws of a target by name."""
    return CHECKS
