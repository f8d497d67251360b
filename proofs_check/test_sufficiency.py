"""T3 under attack: universal constants for every map, on finite spaces, known maps and real tables."""

from __future__ import annotations

import pytest
from hypothesis import given, target
from hypothesis import strategies as st

from eqtheory.constructions import ExactRelaxation, SquaredRadius
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.targets import CATALOGUE, RationalTable, Target
from eqtheory.testing.evidence import Recorder
from eqtheory.testing.finite_spaces import draw_finite_spaces
from eqtheory.testing.zoo import BROKEN_RELAXATIONS, RelaxationClaim, honest_claim
from proofs_check import controls, relaxation_parts, relaxations
from proofs_check.instances import MANY, generator

RULE = SquaredRadius()
HONEST = honest_claim("T3", RULE)
WRONG = {claim.name: claim for claim in BROKEN_RELAXATIONS if claim.theorem == "T3"}


@pytest.mark.theorem("T3", part="holds")
def test_holds(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.integers(1, 7), st.integers(1, 3), st.sampled_from([Sup(), Sum(), Euclidean()]))
    def attack(seed: int, points: int, dimension: int, norm: Norm) -> None:
        spaces = draw_finite_spaces(batch=480, points=points, dimension=dimension, norm=norm, generator=generator(seed))
        target(-relaxations.attack_claim(evidence, HONEST, spaces))

    attack()
    evidence.require_regimes(*relaxations.REGIMES)


@pytest.mark.theorem("T3", part="holds")
@pytest.mark.parametrize("represented", CATALOGUE, ids=lambda t: t.name)
def test_holds_for_known_maps(evidence: Recorder, represented: Target) -> None:
    for seed in range(3):
        relaxations.attack_target(evidence, represented, RULE, 1.0, seed)


@pytest.mark.theorem("T3", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    relaxation_parts.attained(evidence, RULE)


@pytest.mark.theorem("T3", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.not_locally_lipschitz(evidence)
    controls.exponent_below_two(evidence)
    controls.constant_step(evidence)


@pytest.mark.theorem("T3", part="rejects")
@pytest.mark.parametrize("claim", WRONG.values(), ids=WRONG)
def test_rejects(evidence: Recorder, claim: RelaxationClaim) -> None:
    relaxation_parts.rejected(evidence, claim)


@pytest.mark.theorem("T3", part="rejects")
def test_does_not_reject_the_honest_claim(evidence: Recorder) -> None:
    # The same instances and the same check that reject every broken claim accept the honest one.
    for spaces in relaxations.hostile_spaces():
        relaxations.attack_claim(evidence, HONEST, spaces)


@pytest.mark.theorem("T3", part="exact")
def test_exact(evidence: Recorder) -> None:
    @MANY
    @given(relaxations.rational_tables())
    def attack(table: RationalTable) -> None:
        relaxations.record_exact(evidence, ExactRelaxation(table, rule=RULE))

    attack()


@pytest.mark.theorem("T3", part="exact")
def test_exact_on_real_tables(evidence: Recorder) -> None:
    relaxation_parts.real_tables_hold(evidence, RULE)
