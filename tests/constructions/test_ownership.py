"""What an operator remembers or was built from does not change under it, and what it does not know it does not declare."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eqtheory.constructions import Reciprocal, adaptive_relaxation, certify_budget, estimated_relaxation
from eqtheory.errors import DomainError
from eqtheory.lipschitz import growth_on_table
from eqtheory.operators import Cascade, FunctionOperator, Regularity
from eqtheory.solvers import certify
from eqtheory.targets import ReciprocalMap, from_samples


def test_inputs_changed_through_shared_memory_are_seen() -> None:
    memory = np.array([0.5, 0.25])
    x, y = torch.from_numpy(memory), torch.zeros(2, dtype=torch.float64)
    G, R = adaptive_relaxation(ReciprocalMap()), Reciprocal()
    before, _ = G.step(x), R(y, x)
    memory[:] = [1.0, 0.8]
    assert torch.equal(G.step(x), adaptive_relaxation(ReciprocalMap()).step(x.clone()))
    assert not torch.equal(G.step(x), before)
    memory[0] = 0.0
    with pytest.raises(DomainError, match=r"x: got 0\.0 at sample 0"):
        R(y, x)


def test_steps_handed_out_are_copies() -> None:
    G, x = adaptive_relaxation(ReciprocalMap()), torch.tensor([0.5], dtype=torch.float64)
    kept = G.step(x).clone()
    G.step(x).mul_(0)
    assert torch.equal(G.step(x), kept)


def test_a_table_keeps_its_numbers() -> None:
    values = torch.tensor([5.0, -5.0], dtype=torch.float64)
    table = from_samples(torch.tensor([0.0, 1.0], dtype=torch.float64), values)
    values[0] = 1000.0
    assert table.values.tolist() == [5.0, -5.0]


def test_an_estimated_relaxation_declares_no_evaluation_error() -> None:
    x = torch.tensor([0.3])
    G = estimated_relaxation(lambda v: (v + 1e6) - 1e6, x, generator=torch.Generator().manual_seed(0))
    bound = certify(G, x, G.target(x))
    assert any("evaluated exactly" in assumption for assumption in bound.assumptions)


def test_a_refutation_reports_the_worst_pair() -> None:
    table = from_samples([0.0, 1.0, 1.1], [5.0, -5.0, 500.0])
    verdict = certify_budget(table, torch.ones(3, dtype=torch.float64), 2.0).verdict
    assert verdict.witness == "points 2 and 1"
    assert verdict.worst_margin == pytest.approx(1 - 505 / (2 * 0.1))


def test_a_growth_curve_says_that_iterates_are_rounded() -> None:
    table = from_samples([0.0, 1.0], [1.0, -1.0])
    (found,) = growth_on_table(adaptive_relaxation(table), table, [2])
    assert "iterates as computed" in found.assumptions


def test_the_constants_of_a_cascade_name_its_own_norm() -> None:
    part = FunctionOperator(lambda y, x: 0.5 * y + x, regularity=Regularity.declared(mu=0.5, L0=1.0, L1=0.0))
    found = Cascade(part, part, sizes=(1, 1)).regularity
    assert found is not None
    assert {found.mu.norm, found.L0.norm, found.L1.norm} == {found.state_norm.name}
