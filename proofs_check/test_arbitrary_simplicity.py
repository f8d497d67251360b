"""T3a under attack: any budget at all, at the price of proportionally more iterations."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, target
from hypothesis import strategies as st

from eqtheory.constructions import ExactRelaxation, RadiusProduct, SquaredRadius
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.targets import CATALOGUE, RationalTable
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.finite_spaces import draw_finite_spaces
from eqtheory.testing.zoo import BROKEN_RELAXATIONS, RelaxationClaim, honest_claim
from eqtheory.theorems.arbitrary_simplicity import price
from proofs_check import controls, relaxation_parts, relaxations
from proofs_check.instances import MANY, generator

WRONG = {claim.name: claim for claim in BROKEN_RELAXATIONS if claim.theorem == "T3a"}
RULES = (SquaredRadius(), RadiusProduct())


@pytest.mark.theorem("T3a", part="holds")
def test_holds(evidence: Recorder) -> None:
    scales = st.floats(0, 9).map(lambda exponent: 10.0**-exponent)

    @given(
        st.integers(0, 2**32),
        st.integers(1, 6),
        scales,
        st.sampled_from(RULES),
        st.sampled_from([Sup(), Sum(), Euclidean()]),
    )
    def attack(seed: int, points: int, scale: float, rule: SquaredRadius | RadiusProduct, norm: Norm) -> None:
        spaces = draw_finite_spaces(batch=384, points=points, dimension=2, norm=norm, generator=generator(seed))
        target(-relaxations.attack_claim(evidence, honest_claim("T3a", rule, scale=scale), spaces))

    attack()
    evidence.require_regimes(*relaxations.REGIMES)


@pytest.mark.theorem("T3a", part="holds")
def test_holds_for_known_maps(evidence: Recorder) -> None:
    for represented in CATALOGUE:
        relaxations.attack_target(evidence, represented, RadiusProduct(), 1e-3, seed=1, count=64)


@pytest.mark.theorem("T3a", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    for c in (Fraction(1), Fraction(1, 7), Fraction(1, 10**6)):
        relaxation_parts.attained(evidence, SquaredRadius(), scale=c)
        full = ExactRelaxation(relaxations.sharp_offset_table(3), rule=SquaredRadius())
        scaled = ExactRelaxation(relaxations.sharp_offset_table(3), rule=SquaredRadius(), scale=c)
        lhs, rhs = price.sides(contraction_gap=1 - scaled.mu(0), eps=full.eps[0], scale=c)
        assert lhs == rhs


@pytest.mark.theorem("T3a", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.not_locally_lipschitz(evidence)


@pytest.mark.theorem("T3a", part="rejects")
@pytest.mark.parametrize("claim", WRONG.values(), ids=WRONG)
def test_rejects(evidence: Recorder, claim: RelaxationClaim) -> None:
    relaxation_parts.rejected(evidence, claim)


@pytest.mark.theorem("T3a", part="exact")
def test_exact(evidence: Recorder) -> None:
    scales = st.fractions(min_value=Fraction(1, 10**4), max_value=1, max_denominator=10**4)

    @MANY
    @given(relaxations.rational_tables(), scales, st.sampled_from(RULES))
    def attack(table: RationalTable, scale: Fraction, rule: SquaredRadius | RadiusProduct) -> None:
        full, scaled = ExactRelaxation(table, rule=rule), ExactRelaxation(table, rule=rule, scale=scale)
        relaxations.record_exact(evidence, scaled)
        for i in range(len(table)):
            # The gap 1 - mu is exactly c eps: iterations grow by 1/c and by nothing else.
            lhs, rhs = price.sides(contraction_gap=1 - scaled.mu(i), eps=full.eps[i], scale=scale)
            assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="price")

    attack()
