"""The audit before the whole zoo: what is broken is refuted where the fault is within reach, and never proved."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from eqtheory.auditing import CHECKS, Audit, audit
from eqtheory.bounds import VerdictKind
from eqtheory.lipschitz import jacobian_norm
from eqtheory.testing.zoo.operators import AUDIT_CASES, AuditCase, audit_case

EACH = pytest.mark.parametrize("case", AUDIT_CASES, ids=lambda case: case.name)


@cache
def audited(name: str) -> Audit:
    case = audit_case(name)
    domain = None if case.domain == (None, None) else case.domain
    return audit(case.operator, case.sample, domain=domain, norm=case.norm)


def test_there_are_enough_of_them() -> None:
    assert sum(not case.good for case in AUDIT_CASES) >= 25


@EACH
def test_verdicts_are_right(case: AuditCase) -> None:
    found = audited(case.name)
    wrong = {
        check: str(found.verdicts[check])
        for check, allowed in case.expected.items()
        if found.verdicts[check].kind not in allowed
    }
    assert wrong == {}
    for check in CHECKS:
        verdict = found.verdicts[check]
        assert (verdict.kind is VerdictKind.REFUTED) == (verdict.witness is not None)


@EACH
def test_sides_hold_the_true_factor(case: AuditCase) -> None:
    found = audited(case.name).R1
    if found is None or case.mu is None:
        return
    assert float(found.lower.value) <= case.mu * (1 + 1e-9) or case.name == "single precision inside"
    if found.upper is not None and found.upper.evidence.value == "proved":
        assert float(found.upper.value) >= case.mu * (1 - 1e-9)
    if case.good:
        assert float(found.lower.value) >= 0.99 * case.mu


@EACH
def test_good_operators_are_proved_and_get_iterations(case: AuditCase) -> None:
    if not case.good:
        return
    found = audited(case.name)
    assert found.verdicts["R1"].kind is VerdictKind.PROVED
    assert found.verdicts["R2"].kind is VerdictKind.PROVED
    assert found.conclusion == "regular: (R1) and (R2) are proved"
    certified = [entry.certified for entry in found.iterations]
    assert all(count is not None for count in certified)
    assert certified == sorted(certified)  # type: ignore[type-var]
    for entry in found.iterations:
        assert entry.seen is None or entry.certified is None or entry.certified <= 50 or entry.seen <= 50
    assert found.solvers[0].solved == found.solvers[0].samples


def test_the_tiny_region_is_missed_by_a_hundred_thousand_samples() -> None:
    case = audit_case("expansive in a tiny region of states")
    y, x = case.sample(100_000, torch.Generator().manual_seed(1))
    G = case.operator
    assert float(jacobian_norm(lambda t: G(t, x), y, max_iterations=4).values.max()) < 1
    assert audited(case.name).verdicts["R1"].kind is VerdictKind.REFUTED
