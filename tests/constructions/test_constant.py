"""A constant step is regular where the map is globally Lipschitz, and refuted by an explicit pair where it is not."""

from __future__ import annotations

import math
import re

import pytest
import torch

from eqtheory.bounds import Bound, Evidence, Side, VerdictKind
from eqtheory.constructions import ConstantRelaxation
from eqtheory.errors import DomainError, InputError, ShapeError
from eqtheory.targets import CATALOGUE, ReciprocalMap, SqrtMap, Target


def upper(value: float) -> Bound:
    return Bound(value, Side.UPPER, "given", Evidence.DECLARED)


@pytest.mark.parametrize("target", CATALOGUE, ids=lambda t: t.name)
@pytest.mark.parametrize("L0", [0.0, 1.0, 1e3])
def test_every_claimed_budget_is_refuted_by_a_pair_that_violates_it(target: Target, L0: float) -> None:
    G = ConstantRelaxation(target, 0.5)
    verdict = G.refute(L0)
    assert verdict.kind is VerdictKind.REFUTED
    assert verdict.worst_margin < 0
    assert verdict.trials == 1
    # The witness can be typed in again: x and x' print to the last digit.
    numbers = re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", str(verdict.witness).replace("x'", ""))
    x, z = torch.tensor([float(n) for n in numbers], dtype=torch.float64).reshape(2, 1, *target.input_shape)
    zero = G.initial_state(x)
    gap, delta = target.output_norm.distance(G(zero, x), G(zero, z)), target.input_norm.distance(x, z)
    assert float(gap) > L0 * float(delta)
    assert verdict.worst_margin == pytest.approx(float((L0 * delta - gap) / gap), rel=1e-6)


@pytest.mark.parametrize("L0", [1e200, 1e300, 1e307, 1e308])
def test_a_claim_beyond_every_pair_of_float64_is_not_refuted(L0: float) -> None:
    # sqrt is steep only at points whose square root differs; no two doubles have a slope of 1e200.
    verdict = ConstantRelaxation(SqrtMap(), 0.5).refute(L0)
    assert verdict.kind is VerdictKind.NOT_REFUTED
    assert verdict.witness is None


@pytest.mark.parametrize("L0", [-1.0, math.nan, math.inf])
def test_a_claim_is_a_finite_number(L0: float) -> None:
    with pytest.raises(
        InputError, match=rf"L0: got {L0}, needed a finite number >= 0; pass the budget you want refuted"
    ):
        ConstantRelaxation(ReciprocalMap(), 0.5).refute(L0)


@pytest.mark.parametrize("eps", [0.25, 1.0])
def test_values(eps: float) -> None:
    G = ConstantRelaxation(ReciprocalMap(), eps)
    x = torch.tensor([0.25, 1.0], dtype=torch.float64)
    y = torch.tensor([8.0, -1.0], dtype=torch.float64)
    assert torch.equal(G(y, x), y + eps * (1 / x - y))
    assert torch.equal(G(1 / x, x), 1 / x)
    assert torch.equal(G.initial_state(x), torch.zeros_like(x))
    assert G.regularity is None


def test_a_global_lipschitz_constant_makes_it_regular() -> None:
    # On [1/2, 1] the slopes of 1/x are at most 4, approached at 1/2.
    r = ConstantRelaxation(ReciprocalMap(), 0.25, lipschitz=upper(4.0)).regularity
    assert r is not None
    assert (r.mu.at(None), r.mu.side, r.mu.evidence) == (0.75, Side.EXACT, Evidence.PROVED)
    assert (r.L0.value, r.L0.side, r.L0.evidence) == (1.0, Side.UPPER, Evidence.DECLARED)
    assert (r.L1.value, r.L1.side, r.L1.evidence) == (0.0, Side.EXACT, Evidence.PROVED)
    G = ConstantRelaxation(ReciprocalMap(), 0.25, lipschitz=upper(4.0))
    x = 0.5 + 0.5 * torch.rand(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = torch.cat([x[:250] * (1 + 1e-9), x[:250].flip(0)]).clamp(0.5, 1.0)
    y = torch.randn(500, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    # Values up to 2 round four times each: 16 roundoffs of slack.
    assert bool(((G(y, x) - G(y, z)).abs() <= 1.0 * (x - z).abs() + 16 * 2.0**-53 * (2 + y.abs())).all())
    assert not bool(((G(y, x) - G(y, z)).abs() <= 0.5 * (x - z).abs() + 1e-12).all())


@pytest.mark.parametrize("eps", [0, -0.1, 1.1, math.nan])
def test_the_step_lies_in_the_unit_interval(eps: float) -> None:
    with pytest.raises(InputError, match=f"eps: got {eps}, needed 0 < eps <= 1; pass for example eps=0.5"):
        ConstantRelaxation(ReciprocalMap(), eps)


@pytest.mark.parametrize(
    "bound",
    [
        Bound(1.0, Side.LOWER, "pairs", Evidence.PROVED),
        Bound(1.0, Side.ESTIMATE, "fit", Evidence.ESTIMATED),
    ],
)
def test_only_an_upper_bound_is_a_lipschitz_constant(bound: Bound) -> None:
    with pytest.raises(
        InputError, match=f"lipschitz: got {bound.side.value}, needed an upper bound; a global constant"
    ):
        ConstantRelaxation(ReciprocalMap(), 0.5, lipschitz=bound)


def test_inputs_outside_the_domain_and_states_of_another_shape_are_refused() -> None:
    G = ConstantRelaxation(ReciprocalMap(), 0.5)
    with pytest.raises(DomainError, match=r"x: got 0.0 at sample 0, needed 0 < x <= 1"):
        G.initial_state(torch.zeros(1))
    with pytest.raises(ShapeError, match=r"y, F\(x\): got \(2,\) and \(1,\), needed equal shapes"):
        G(torch.zeros(2), torch.ones(1))
