"""The relaxation of a known map: radii are roots of its proved bounds, and its promises hold at hostile points."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Evidence, Side
from eqtheory.constructions import (
    RadiusProduct,
    RelaxationRule,
    SquaredRadius,
    TargetRelaxation,
    adaptive_relaxation,
)
from eqtheory.errors import DomainError, GradientUnavailableError, InputError, NonFiniteError, ShapeError
from eqtheory.roundoff import gamma
from eqtheory.targets import MatrixInverseMap, ReciprocalMap, TanMap, Target, TwoSidedReciprocalMap
from eqtheory.theorems import simplicity
from eqtheory.theorems.sufficiency import step_radius

RULES = pytest.mark.parametrize("rule", [SquaredRadius(), RadiusProduct()], ids=lambda r: r.theorem)
# Bounds on balls are raised by 64 roundoffs; x - r loses no more than the reciprocals around it, of which there are two.
RADIUS_ERROR = gamma(256, torch.float64)


def points() -> Tensor:
    g = torch.Generator().manual_seed(1)
    spread = 10.0 ** (-8 * torch.rand(40, generator=g, dtype=torch.float64))
    return torch.cat([spread, torch.tensor([1.0, 0.5, 1e-30, 1e-60, 1e-90], dtype=torch.float64)])


def root_of_tame(x: Any) -> Any:
    """The radius of `1/x`: with `s = x - r`, `r (1 + 1/s + 1/s^2) = 1` is the cubic `(x - s)(s^2 + s + 1) = s^2`."""
    s = mpmath.findroot(lambda s: (x - s) * (s * s + s + 1) - s * s, (x * (1 - x * x), x), solver="anderson", tol=1e-90)
    return x - s


def root_of_small(x: Any) -> Any:
    """Size alone: `r (1 + 1/(x - r)) = 1` is `r^2 - (x + 2) r + x = 0`; the smaller root, without cancellation."""
    return 2 * x / (x + 2 + mpmath.sqrt((x + 2) ** 2 - 4 * x))


def test_radii_of_the_reciprocal_are_the_roots_of_their_polynomials() -> None:
    x = points()
    G = adaptive_relaxation(ReciprocalMap())
    rho, sigma = G.radii(x)
    with mpmath.workdps(200):
        for i, value in enumerate(x.tolist()):
            v = mpmath.mpf(value)
            for found, exact in ((rho[i], root_of_tame(v)), (sigma[i], root_of_small(v))):
                ratio = mpmath.mpf(float(found)) / exact
                assert abs(ratio - 1) <= RADIUS_ERROR, (value, found)


def test_radii_err_on_the_safe_side() -> None:
    # Raised bounds shorten radii by up to 64 roundoffs; none may be longer than true by more than its own last rounding.
    x = points()
    rho, _ = adaptive_relaxation(ReciprocalMap()).radii(x)
    with mpmath.workdps(200):
        excess = [
            mpmath.mpf(r) / root_of_tame(mpmath.mpf(v)) - 1 for r, v in zip(rho.tolist(), x.tolist(), strict=True)
        ]
    assert max(excess) <= 4 * 2.0**-53


def test_steps_shrink_like_the_third_power_with_the_default_rule_and_the_fourth_without() -> None:
    x = torch.tensor([1e-4, 1e-6], dtype=torch.float64)
    # rho = x^2 (1 + O(x)) and sigma = x/2 (1 + O(x)).
    assert torch.allclose(adaptive_relaxation(ReciprocalMap()).step(x), x**3 / 2, rtol=1e-3)
    assert torch.allclose(adaptive_relaxation(ReciprocalMap(), rule=SquaredRadius()).step(x), x**4, rtol=1e-3)


MAPS: tuple[Target, ...] = (ReciprocalMap(), TwoSidedReciprocalMap(), TanMap(), MatrixInverseMap())


def pairs(target: Target, count: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Hostile points, half of them replaced by close neighbours of their partner, and states of all sizes."""
    g = torch.Generator().manual_seed(2)
    a, b = target.sample(count, generator=g), target.sample(count, generator=g)
    shape = (-1, *[1] * (a.ndim - 1))
    share = 10.0 ** (-10 * torch.rand(count, generator=g, dtype=torch.float64)).reshape(shape)
    between = a + share * (b - a)
    close = target.contains(between) & (torch.arange(count) % 2 == 0)
    y = torch.randn(target(a).shape, generator=g, dtype=torch.float64)
    return a, torch.where(close.reshape(shape), between, b), y


def excess(G: TargetRelaxation, budget: float) -> float:
    """Largest excess of (R2) over rounding, relative to the right side; positive where the budget is broken."""
    target = G.represented
    a, b, y = pairs(target)
    norm, metric = target.output_norm, target.input_norm
    size = norm(y)
    lhs, rhs = simplicity.sides(
        gap=norm.distance(G(y, a), G(y, b)), state_norm=size, delta=metric.distance(a, b), L0=budget, L1=budget
    )
    # Each evaluation errs by its declared rounding; inputs off by u |x| move steps by 2 u |x| and radii by RADIUS_ERROR.
    assert G.regularity is not None
    assert G.regularity.rounding is not None
    rounding = sum(G.regularity.rounding.error(size, x) for x in (a, b))
    steps = RADIUS_ERROR * sum(G.step(x) * (size + norm(target(x))) for x in (a, b))
    inputs = gamma(4, y.dtype) * budget * (1 + size) * (metric(a) + metric(b))
    return float(((lhs - rounding - steps - inputs) / rhs - 1).max())


@RULES
@pytest.mark.parametrize("scale", [1.0, 0.1])
@pytest.mark.parametrize("target", MAPS, ids=lambda t: t.name)
def test_the_budget_holds(target: Target, rule: RelaxationRule, scale: float) -> None:
    G = adaptive_relaxation(target, rule=rule, scale=scale)
    assert G.budget == 2 * scale
    assert excess(G, 2 * scale) <= 0


def test_a_step_that_is_too_long_breaks_the_budget() -> None:
    class QuarterPower(RelaxationRule):
        theorem = "none"

        def __call__(self, rho: Any, sigma: Any) -> Any:
            return rho**0.25

    # About sqrt(x), times 1/x: slopes without bound at 0. (For this map even rho itself would do.)
    assert excess(adaptive_relaxation(ReciprocalMap(), rule=QuarterPower()), 2.0) > 0


@pytest.mark.parametrize("target", MAPS, ids=lambda t: t.name)
def test_radii_are_one_lipschitz_and_in_order(target: Target) -> None:
    G = adaptive_relaxation(target)
    a, b, _ = pairs(target)
    delta = target.input_norm.distance(a, b)
    for left, right in zip(G.radii(a), G.radii(b), strict=True):
        lhs, rhs = step_radius.sides(gap=(left - right).abs(), delta=delta)
        slack = RADIUS_ERROR * (left + right) + gamma(4, torch.float64) * (target.input_norm(a) + target.input_norm(b))
        assert bool((lhs <= rhs + slack).all())
    rho, sigma = G.radii(a)
    assert bool(((rho > 0) & (rho <= sigma) & (sigma <= 1)).all())


@RULES
@pytest.mark.parametrize("target", MAPS, ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_are_fixed_points_bit_for_bit(target: Target, rule: RelaxationRule, dtype: torch.dtype) -> None:
    x = target.sample(100, generator=torch.Generator().manual_seed(3), dtype=dtype)
    G = adaptive_relaxation(target, rule=rule)
    assert torch.equal(G(target(x), x), target(x))
    assert torch.equal(G.initial_state(x), torch.zeros_like(target(x)))
    assert G.step(x).dtype is dtype


def test_contraction_is_exact() -> None:
    G, x = adaptive_relaxation(TanMap()), TanMap().sample(50, generator=torch.Generator().manual_seed(4))
    assert G.regularity is not None
    assert torch.equal(G.regularity.mu.at(x), 1 - G.step(x))
    assert (G.regularity.mu.side, G.regularity.mu.evidence) == (Side.EXACT, Evidence.PROVED)
    assert (G.regularity.L0.side, G.regularity.L0.evidence, G.regularity.L0.value) == (Side.UPPER, Evidence.PROVED, 2.0)
    y = torch.ones_like(TanMap()(x))
    assert torch.allclose(G(y, x) - G(-y, x), 2 * (1 - G.step(x)), rtol=1e-9, atol=1e-6)


def test_the_work_is_done_once_per_input(monkeypatch: pytest.MonkeyPatch) -> None:
    G, calls = adaptive_relaxation(ReciprocalMap()), []
    monkeypatch.setattr(G, "radii", lambda x: calls.append(1) or TargetRelaxation.radii(G, x))
    x, y = points(), torch.zeros_like(points())
    for _ in range(5):
        y = G(y, x)
    assert len(calls) == 1


def test_half_a_gradient_is_refused() -> None:
    # The value is differentiable, the step is found by bisection: their product would lack a term, and may have the wrong sign.
    x = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    G, y = adaptive_relaxation(ReciprocalMap()), torch.zeros(1, dtype=torch.float64)
    with pytest.raises(
        GradientUnavailableError, match=r"x requires a gradient, but the step .* carries none; detach x"
    ):
        G(y, x)
    with torch.no_grad():
        assert torch.equal(G(y, x), G(y, x.detach()))


# What cannot be relaxed.


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        ([0.5, 0.0], DomainError, r"x: got 0.0 at sample 1, needed 0 < x <= 1; "),
        ([-0.5], DomainError, r"x: got -0.5 at sample 0, needed 0 < x <= 1; "),
        ([math.nan], NonFiniteError, r"x: got nan at index \(0,\), needed finite numbers"),
        ([0.5, math.inf], NonFiniteError, r"x: got inf at index \(1,\), needed finite numbers"),
        ([], ShapeError, r"x: got an empty batch of shape \(0,\), needed at least one sample"),
        ([[0.5]], ShapeError, r"x: got shape \(1, 1\), needed \(batch\)"),
    ],
)
def test_unusable_inputs_are_refused(x: list[Any], kind: type[InputError], message: str) -> None:
    G, bad = adaptive_relaxation(ReciprocalMap()), torch.tensor(x, dtype=torch.float64)
    for ask in (G.step, G.initial_state, lambda x: G(torch.zeros_like(x), x)):
        with pytest.raises(kind, match=message):
            ask(bad)


def test_states_of_another_shape_are_refused() -> None:
    G = adaptive_relaxation(ReciprocalMap())
    with pytest.raises(ShapeError, match=r"y, F\(x\): got \(1, 1\) and \(2,\), needed equal shapes; expand one"):
        G(torch.zeros(1, 1), torch.tensor([0.5, 1.0]))


@pytest.mark.parametrize("x", [1e-110, 1e-130, 1e-160])
def test_a_point_too_steep_for_float64_is_refused_and_not_given_a_step_of_zero(x: float) -> None:
    # The step is about x^3/2: below the smallest float64, where (R1) with mu < 1 cannot be kept.
    with pytest.raises(DomainError, match=rf"x: got .*sample 1 = {x}.*, needed a point where the map is tame"):
        adaptive_relaxation(ReciprocalMap()).step(torch.tensor([0.5, x], dtype=torch.float64))


@pytest.mark.parametrize("x", [1e-14, 1e-15, 1e-20])
def test_a_step_that_underflows_in_the_type_of_the_input_is_refused(x: float) -> None:
    G = adaptive_relaxation(ReciprocalMap())
    assert float(G.step(torch.tensor([x], dtype=torch.float64))) > 0
    small = torch.tensor([x], dtype=torch.float32)
    if x**3 / 2 > 1.4e-45:
        assert float(G.step(small)) > 0
        return
    with pytest.raises(DomainError, match=r"x: got .*sample 0"):
        G.step(small)


@pytest.mark.parametrize("scale", [0, -1.0, 1.5, math.nan])
def test_the_scale_lies_in_the_unit_interval(scale: float) -> None:
    with pytest.raises(InputError, match=rf"scale: got {scale}, needed 0 < scale <= 1; scale = 1 is the step of T3"):
        adaptive_relaxation(ReciprocalMap(), scale=scale)


def test_what_is_neither_a_table_nor_a_known_map_is_referred_to_estimates() -> None:
    with pytest.raises(InputError, match=r"represented: got .*, needed a SampleTable or a Target; use estimated_relax"):
        adaptive_relaxation(torch.tanh)  # type: ignore[arg-type,call-overload]
