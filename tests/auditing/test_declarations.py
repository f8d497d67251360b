"""Declarations at the edge: a budget of zero, which one slope refutes, and budgets that are functions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from eqtheory import audit
from eqtheory.bounds import Bound, Evidence, LocalBound, Side, VerdictKind
from eqtheory.errors import InputError
from eqtheory.lipschitz import Search
from eqtheory.norms import Euclidean
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


def local(value: float) -> LocalBound:
    return LocalBound(lambda x: torch.full((len(x),), value), Side.UPPER, "argument", Evidence.DECLARED, "l2")


ONE = Bound(1.0, Side.UPPER, "argument", Evidence.DECLARED, "l2")


@pytest.mark.parametrize("name", ["L0", "L1"])
def test_budgets_that_depend_on_the_input_are_refused(name: str) -> None:
    budgets = {"L0": ONE, "L1": ONE, name: local(1.0)}
    with pytest.raises(InputError, match=f"{name}.*LocalBound"):
        Regularity(local(0.5), budgets["L0"], budgets["L1"], Euclidean(), Euclidean())  # type: ignore[arg-type]


def test_limits_of_samples_prove_nothing_where_only_half_of_the_domain_was_given() -> None:
    def uniform(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        y, x = torch.rand(2, n, 2, generator=g, dtype=torch.float64)
        return 2 * y - 1, x

    def function(y: Tensor, x: Tensor) -> Tensor:
        return 0.99 * x * y

    half = audit(function, uniform, samples=16, steps=3, search=QUICK, domain=((-1.0, 1.0), None))
    assert half.verdicts["R1"].kind is VerdictKind.NOT_REFUTED
    whole = audit(function, uniform, samples=16, steps=3, search=QUICK, domain=((-1.0, 1.0), (0.0, 1.0)))
    assert whole.verdicts["R1"].kind is VerdictKind.PROVED


@pytest.mark.parametrize(("factor", "shape"), [(-1.0, (1,)), (0.95, (1, 1)), (0.95, (1, 2))])
def test_local_factors_that_cannot_be_any_are_named(factor: float, shape: tuple[int, ...]) -> None:
    mu = LocalBound(
        lambda x: x.new_full((len(x), *shape[1:]), factor), Side.UPPER, "a test", Evidence.DECLARED, semicontinuous=True
    )
    G = FunctionOperator(
        lambda y, x: 0.9 * y + x, regularity=replace(Regularity.declared(mu=0.9, L0=1.0, L1=0.0), mu=mu)
    )
    with pytest.raises(InputError, match=r"mu\(x\): got"):
        audit(G, sample, samples=16, search=QUICK, steps=3)
