"""T3b under attack: the step with one power of the slope keeps the budget and is never slower."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given, target
from hypothesis import strategies as st

from eqtheory.constructions import ExactRelaxation, RadiusProduct, SquaredRadius, adaptive_relaxation
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.roundoff import gamma
from eqtheory.targets import CATALOGUE, RationalTable, Target
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.finite_spaces import draw_finite_spaces
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import BROKEN_RELAXATIONS, RelaxationClaim, honest_claim
from eqtheory.theorems.order_optimal_step import lipschitz_rate, never_slower
from proofs_check import controls, relaxation_parts, relaxations
from proofs_check.instances import MANY, generator

RULE = RadiusProduct()
HONEST = honest_claim("T3b", RULE)
WRONG = {claim.name: claim for claim in BROKEN_RELAXATIONS if claim.theorem == "T3b"}


@pytest.mark.theorem("T3b", part="holds")
def test_holds(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.integers(1, 7), st.integers(1, 3), st.sampled_from([Sup(), Sum(), Euclidean()]))
    def attack(seed: int, points: int, dimension: int, norm: Norm) -> None:
        spaces = draw_finite_spaces(batch=480, points=points, dimension=dimension, norm=norm, generator=generator(seed))
        target(-relaxations.attack_claim(evidence, HONEST, spaces))
        rho, sigma = spaces.radii()
        eps = RULE(rho, sigma)
        slack = gamma(16, eps.dtype) * eps
        slower = relative_margin(never_slower.sides(squared=SquaredRadius()(rho, sigma), product=eps), slack)
        # On a finite space K and l are maxima, so the rate holds with the map's own constants.
        size, slope = spaces.sizes.amax(dim=1, keepdim=True), spaces.slopes().amax(dim=(1, 2)).unsqueeze(1)
        rate = relative_margin(lipschitz_rate.sides(eps=eps, size=size, slope=slope), slack)
        for name, margins in (("never_slower", slower), ("lipschitz_rate", rate)):
            settle(
                evidence,
                Kind.SAMPLED,
                name,
                margins,
                instances=len(spaces),
                witness=lambda i: spaces.describe(i // points),
            )

    attack()
    evidence.require_regimes(*relaxations.REGIMES)


@pytest.mark.theorem("T3b", part="holds")
@pytest.mark.parametrize("represented", CATALOGUE, ids=lambda t: t.name)
def test_holds_for_known_maps(evidence: Recorder, represented: Target) -> None:
    for seed in range(3):
        relaxations.attack_target(evidence, represented, RULE, 1.0, seed)


@pytest.mark.theorem("T3b", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    relaxation_parts.attained(evidence, RULE)
    # Two points at distance 3 with F = (K, K): K constant, l = 0, and eps = 1/(1+K)^2 attains the rate.
    flat = ExactRelaxation(RationalTable.of_points([0, 3], [7, 7]), rule=RULE)
    lhs, rhs = lipschitz_rate.sides(eps=flat.eps[0], size=Fraction(7), slope=Fraction(0))
    assert lhs == rhs
    evidence.caught("rate 1% faster", exact_margin((lhs / Fraction(99, 100), rhs)), kind="tightened")


@pytest.mark.theorem("T3b", part="sharp")
def test_sharp_in_the_order_of_the_slope(evidence: Recorder) -> None:
    """T3b's step on tanh(s x) falls like 1/s and 1/s is optimal by T2; T3's falls like 1/s^2."""
    smallest = []
    for steepness in (10, 100, 1000):
        x = torch.linspace(-1, 1, 201, dtype=torch.float64) / steepness * 4
        table = relaxations.from_tensor(x, torch.tanh(steepness * x))
        product, squared = (float(adaptive_relaxation(table, rule=r).eps.min()) for r in (RULE, SquaredRadius()))
        # T2(i): a budget of (2, 2) at the origin, where F = 0, allows 1 - mu <= 2/s; |F| <= 1 allows the rate below.
        assert product <= 4 / steepness
        lhs, rhs = lipschitz_rate.sides(eps=product, size=1.0, slope=float(steepness))
        evidence.record(Kind.SAMPLED, instances=201, worst_margin=float(1 - lhs / rhs), quantity="lipschitz_rate: tanh")
        smallest.append((product, squared))
    for (p1, s1), (p2, s2) in pairwise(smallest):
        assert 7 < p1 / p2 < 13
        assert 60 < s1 / s2 < 140


@pytest.mark.theorem("T3b", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.not_locally_lipschitz(evidence)
    controls.exponent_below_two(evidence)


@pytest.mark.theorem("T3b", part="rejects")
@pytest.mark.parametrize("claim", WRONG.values(), ids=WRONG)
def test_rejects(evidence: Recorder, claim: RelaxationClaim) -> None:
    relaxation_parts.rejected(evidence, claim)


@pytest.mark.theorem("T3b", part="exact")
def test_exact(evidence: Recorder) -> None:
    @MANY
    @given(relaxations.rational_tables())
    def attack(table: RationalTable) -> None:
        G = ExactRelaxation(table, rule=RULE)
        relaxations.record_exact(evidence, G)
        for (rho, sigma), eps in zip(G.radii, G.eps, strict=True):
            assert 0 < rho <= sigma <= 1
            assert never_slower.margin(squared=rho * rho, product=eps) >= 0
            assert eps == rho * sigma

    attack()


@pytest.mark.theorem("T3b", part="exact")
def test_exact_on_real_tables(evidence: Recorder) -> None:
    """The README's claim: the diabetes table, and others, with L0 = L1 = 2 over all pairs of rows."""
    relaxation_parts.real_tables_hold(evidence, RULE)
