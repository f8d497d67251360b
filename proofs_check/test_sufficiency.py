"""T3 under attack: universal constants for every map, on finite spaces, known maps and real tables."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, target
from hypothesis import strategies as st

from eqtheory.constructions import ExactRelaxation, SquaredRadius, adaptive_relaxation
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.targets import CATALOGUE, RationalTable, Target
from eqtheory.testing.evidence import Kind, Recorder, Refuted
from eqtheory.testing.finite_spaces import draw_finite_spaces
from eqtheory.testing.zoo import BROKEN_RELAXATIONS, RelaxationClaim, honest_claim
from eqtheory.theorems.sufficiency import joint_budget, relaxation_offset, relaxation_step, step_radius
from proofs_check import controls, relaxations
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
    for seed in range(4):
        relaxations.attack_target(evidence, represented, RULE, 1.0, seed)


@pytest.mark.theorem("T3", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    for denominator in (10, 1000, 10**6):
        delta = Fraction(1, denominator)
        G = ExactRelaxation(relaxations.sharp_step_table(delta), rule=RULE)
        (rho_a, _), (rho_b, _), _ = G.radii
        assert step_radius.margin(gap=abs(rho_a - rho_b), delta=delta) == 0
        lhs, rhs = relaxation_step.sides(gap=abs(G.eps[0] - G.eps[1]), delta=delta)
        assert lhs == (2 - delta) * delta
        evidence.record(Kind.EXACT, instances=1, worst_margin=1 - lhs / rhs, quantity="relaxation_step")
    evidence.caught("lip rho <= 0.99", Fraction(99, 100) * delta / delta - 1, kind="tightened")
    evidence.caught("L1 = 1.98", (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened")
    for M in (10, 1000, 10**6):
        table = relaxations.sharp_offset_table(M)
        G = ExactRelaxation(table, rule=RULE)
        delta = table.distances[0][1]
        gap = abs(G.eps[0] * table.values[0][0] - G.eps[1] * table.values[1][0])
        lhs, rhs = relaxation_offset.sides(gap=gap, delta=delta)
        assert lhs == Fraction(2 * M, 1 + M) * delta
        evidence.record(Kind.EXACT, instances=1, worst_margin=1 - lhs / rhs, quantity="relaxation_offset")
    evidence.caught("L0 = 1.98", (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened")
    joint = joint_budget.sides(step_gap=abs(G.eps[0] - G.eps[1]), offset_gap=gap, delta=delta)
    evidence.caught("joint constant 1.98", (Fraction(99, 100) * joint[1] - joint[0]) / joint[1], kind="tightened")


@pytest.mark.theorem("T3", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.not_locally_lipschitz(evidence)
    controls.exponent_below_two(evidence)
    controls.constant_step(evidence)


@pytest.mark.theorem("T3", part="rejects")
@pytest.mark.parametrize("claim", WRONG.values(), ids=WRONG)
def test_rejects(evidence: Recorder, claim: RelaxationClaim) -> None:
    worst = min(
        float(m.min()) for spaces in relaxations.hostile_spaces() for _, m in relaxations.margins_of(claim, spaces)
    )
    evidence.caught(claim.name, worst)


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
    for name, table in relaxations.real_tables().items():
        G = adaptive_relaxation(table, rule=RULE)
        certificate = G.certify()
        if certificate.verdict.witness is not None:
            raise Refuted("joint_budget", certificate.verdict.worst_margin, f"{name}: {certificate.verdict.witness}")
        evidence.record(
            Kind.EXACT, instances=1, worst_margin=certificate.verdict.worst_margin, quantity=f"joint_budget: {name}"
        )
