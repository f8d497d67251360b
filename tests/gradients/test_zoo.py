"""The laws of gradients reject every broken rule of the zoo, each at the law it violates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from eqtheory.gradients import Gradient, Implicit, fixed_point
from eqtheory.solvers import OnFailure
from eqtheory.solvers import fixed_point as engine
from tests.gradients.operators import TIGHT, Case, normal, scaled, tanh_layer
from tests.gradients.zoo import BROKEN

CASE = Case("small", (normal(1, 2, 3), scaled(2, 3, 0.8), normal(3, 3, 3)), tanh_layer, (2, 3))


def solved(rule: Gradient) -> Callable[..., Tensor]:
    def f(*variables: Tensor) -> Tensor:
        G, x = CASE.make(*variables)
        return fixed_point(G, x, CASE.y0, gradient=rule, stop=TIGHT, on_failure=OnFailure.RETURN).value

    return f


def violated(rule: Gradient) -> set[str]:
    """Which laws a rule does not keep."""
    found = set()
    G, x = CASE.make(*CASE.leaves())
    with torch.no_grad():
        value = engine(G, x, CASE.y0, stop=TIGHT, on_failure=OnFailure.RETURN).value
    if not torch.equal(solved(rule)(*CASE.leaves()), value):
        found.add("value")
    for name, check in (("first", torch.autograd.gradcheck), ("second", torch.autograd.gradgradcheck)):
        try:
            kept = check(solved(rule), CASE.leaves(), check_undefined_grad=False)
        except (RuntimeError, AssertionError):
            kept = False
        if not kept:
            found.add(name)
    return found


def test_the_exact_rule_keeps_every_law() -> None:
    assert violated(Implicit(stop=TIGHT)) == set()


@pytest.mark.parametrize("rule", BROKEN, ids=lambda r: type(r).__name__)
def test_broken_rules_are_rejected(rule: Gradient) -> None:
    assert violated(rule) == BROKEN[rule]
