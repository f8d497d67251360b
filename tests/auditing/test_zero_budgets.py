"""A declared budget of zero is a statement like any other: the input does not matter, and one slope refutes it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory import audit
from eqtheory.bounds import VerdictKind
from eqtheory.lipschitz import Search
from eqtheory.operators import FunctionOperator, Regularity

QUICK = Search(steps=5, rounds=1, kept=4)


def sample(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    y, x = torch.randn(2, n, 2, generator=g, dtype=torch.float64)
    return y, x


@pytest.mark.parametrize("gain", [1.0, 1e-6])
def test_an_input_that_matters_refutes_a_budget_of_zero(gain: float) -> None:
    G = FunctionOperator(lambda y, x: 0.5 * y + gain * x, regularity=Regularity.declared(mu=0.5, L0=0.0, L1=0.0))
    found = audit(G, sample, samples=16, search=QUICK, steps=3)
    assert found.verdicts["R2"].kind is VerdictKind.REFUTED
    assert found.R2 is not None
    assert gain * 0.99 <= float(found.R2.lower.value) <= gain
    assert "budget of zero" in found.R2.per
    assert not found.conclusion.startswith("regular")
    assert str(found)


def test_an_input_that_does_not_matter_keeps_it() -> None:
    G = FunctionOperator(lambda y, x: 0.5 * y + 0 * x, regularity=Regularity.declared(mu=0.5, L0=0.0, L1=0.0))
    found = audit(G, sample, samples=16, search=QUICK, steps=3)
    assert found.verdicts["R2"].kind is not VerdictKind.REFUTED


def test_a_budget_of_zero_at_one_state_is_refuted_there() -> None:
    def at_zero(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        y, x = sample(n, g)
        return 0 * y, 10 * x

    G = FunctionOperator(lambda y, x: 0.5 * y + x, regularity=Regularity.declared(mu=0.5, L0=0.0, L1=2.0))
    found = audit(G, at_zero, samples=16, search=QUICK, steps=3)
    assert found.verdicts["R2"].kind is VerdictKind.REFUTED
