"""Parts that the checks of T3, T3a and T3b share: the sharp instances, the rejection of broken steps, and real tables."""

from __future__ import annotations

from fractions import Fraction

import torch

from eqtheory.constructions import ExactBalls, ExactRelaxation, RelaxationRule, SlopeMajorant, adaptive_relaxation
from eqtheory.norms import Sup
from eqtheory.targets import SampleTable
from eqtheory.testing.evidence import Kind, Recorder, Refuted
from eqtheory.testing.margins import exact_margin
from eqtheory.testing.zoo import RelaxationClaim
from eqtheory.theorems.sufficiency import joint_budget, relaxation_offset, relaxation_step, step_radius
from proofs_check import relaxations

__all__ = ["attained", "real_tables_hold", "rejected"]

_TIGHTER = Fraction(99, 100)
_RADII = (ExactBalls(), SlopeMajorant())
Sides = tuple[Fraction, Fraction]


def _attained(evidence: Recorder, name: str, sides: Sides, about: str) -> None:
    lhs, rhs = sides
    evidence.record(Kind.EXACT, instances=1, worst_margin=exact_margin(sides), quantity=name)
    # The same inequality with a right side 1% smaller must fail on this very instance.
    evidence.caught(f"{name} 1% tighter{about}", exact_margin((lhs, _TIGHTER * rhs)), kind="tightened")


def attained(evidence: Recorder, rule: RelaxationRule, *, scale: Fraction = Fraction(1)) -> None:
    """The instances that attain the budget, in rationals: `lip rho = 1`, `lip eps = (2 - delta) c`, `lip(eps F) = 2M/(1+M) c`."""
    about = "" if scale == 1 else f" at c = {scale}"
    delta = Fraction(1, 10**6)
    G = ExactRelaxation(relaxations.sharp_step_table(delta), rule=rule, scale=scale)
    _attained(evidence, "step_radius", step_radius.sides(gap=abs(G.radii[0][0] - G.radii[1][0]), delta=delta), about)
    sides = relaxation_step.sides(gap=abs(G.eps[0] - G.eps[1]), delta=delta, scale=scale)
    assert sides[0] == (2 - delta) * delta * scale
    _attained(evidence, "relaxation_step", sides, about)
    M = 10**6
    table = relaxations.sharp_offset_table(M)
    G, delta = ExactRelaxation(table, rule=rule, scale=scale), table.distances[0][1]
    gap = abs(G.eps[0] * table.values[0][0] - G.eps[1] * table.values[1][0])
    sides = relaxation_offset.sides(gap=gap, delta=delta, scale=scale)
    assert sides[0] == Fraction(2 * M, 1 + M) * delta * scale
    _attained(evidence, "relaxation_offset", sides, about)
    joint = joint_budget.sides(step_gap=abs(G.eps[0] - G.eps[1]), offset_gap=gap, delta=delta, scale=scale)
    _attained(evidence, "joint_budget", joint, about)


def rejected(evidence: Recorder, claim: RelaxationClaim) -> None:
    """A broken step violates (R1), (R2) or the fixed point on the hostile spaces, by the check that honest steps pass."""
    margins = (m for spaces in relaxations.hostile_spaces() for _, m in relaxations.margins_of(claim, spaces))
    evidence.caught(claim.name, min(float(m.min()) for m in margins))


def real_tables_hold(evidence: Recorder, rule: RelaxationRule) -> None:
    """The stored steps of real tables decided over all pairs, and some rows of one rebuilt in rationals from the start.

    Raises:
        Refuted: a pair violates the budget.
    """
    tables = relaxations.real_tables()
    both = ((f"{name}, {type(radii).__name__}", table, radii) for name, table in tables.items() for radii in _RADII)
    for name, table, radii in both:
        G = adaptive_relaxation(table, rule=rule, table_radii=radii)
        certificate = G.certify()
        if certificate.verdict.witness is not None:
            raise Refuted("joint_budget", certificate.verdict.worst_margin, f"{name}: {certificate.verdict.witness}")
        assert certificate.pairs == certificate.exact_pairs == len(table) * (len(table) - 1) // 2
        assert torch.equal(G(table.values, table.points), table.values)
        margin = certificate.verdict.worst_margin
        evidence.record(Kind.EXACT, instances=1, worst_margin=margin, quantity=f"joint_budget: {name}")
    whole = tables["diabetes"]
    rows = SampleTable(whole.inputs[:120], whole.values[:120], input_norm=Sup(), output_norm=Sup())
    rational = ExactRelaxation(rows.rational(), rule=rule)
    relaxations.record_exact(evidence, rational)
    stored = adaptive_relaxation(rows, rule=rule).eps
    assert float((stored - torch.tensor([float(e) for e in rational.eps], dtype=torch.float64)).abs().max()) < 1e-14
