"""Functions and modules become operators; what is promised of them is labelled and checked for sense."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import Euclidean, Sum, Sup
from eqtheory.operators import FunctionOperator, ImplicitOperator, Regularity, as_operator


def half(y: Tensor, x: Tensor) -> Tensor:
    return 0.5 * y + x


class Doubling(ImplicitOperator):
    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        return 2 * y + x

    def initial_state(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_an_operator_is_taken_as_it_is() -> None:
    G = Doubling()
    assert as_operator(G) is G


def test_a_function_becomes_an_operator_of_the_same_values() -> None:
    G = as_operator(half)
    assert isinstance(G, FunctionOperator)
    assert torch.equal(G(torch.tensor([2.0]), torch.tensor([1.0])), torch.tensor([2.0]))


def test_a_module_becomes_an_operator() -> None:
    class Layer(torch.nn.Module):
        def forward(self, y: Tensor, x: Tensor) -> Tensor:
            return half(y, x)

    assert torch.equal(as_operator(Layer())(torch.zeros(2), torch.ones(2)), torch.ones(2))


@pytest.mark.parametrize("value", [3, "G", None, torch.ones(2)])
def test_what_cannot_be_called_is_no_operator(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        as_operator(value)
    name = type(value).__name__
    assert str(caught.value) == f"function: got {name}, needed a callable (y, x) -> y; pass a function or a Module"


@pytest.mark.parametrize(
    ("result", "came"),
    [
        (torch.ones(2, 1), "shape (2, 1)"),
        (torch.ones(1), "shape (1,)"),
        (torch.tensor(1.0), "shape ()"),
        (None, "NoneType"),
        ((torch.ones(2),), "tuple"),
    ],
)
def test_an_operator_maps_states_to_states_of_the_same_shape(result: Any, came: str) -> None:
    G = as_operator(lambda y, x: result)
    with pytest.raises(ShapeError) as caught:
        G(torch.ones(2), torch.ones(2))
    assert str(caught.value) == (
        f"G(y, x): got {came}, needed the state's shape (2,); an operator maps states to states"
    )


def test_the_initial_state_comes_from_the_rule_given() -> None:
    G = FunctionOperator(half, initial_state=torch.ones_like)
    assert torch.equal(G.initial_state(torch.zeros(3)), torch.ones(3))


def test_without_a_rule_the_initial_state_has_to_be_passed() -> None:
    with pytest.raises(InputError, match=r"y0: got None, needed an initial state, .*; pass y0=torch.zeros\(...\)"):
        as_operator(half).initial_state(torch.zeros(3))


def test_states_are_measured_in_the_declared_norm_else_in_l2() -> None:
    assert as_operator(half).norm == Euclidean()
    declared = Regularity.declared(mu=0.5, L0=1.0, L1=0.0, state_norm=Sup())
    assert FunctionOperator(half, regularity=declared).norm == Sup()


# Regularity.


def bound(value: Any, side: Side = Side.UPPER, evidence: Evidence = Evidence.PROVED) -> Bound:
    return Bound(value, side, "m", evidence)


def test_declared_numbers_are_labelled_declared() -> None:
    r = Regularity.declared(mu=0.5, L0=1.0, L1=2.0, state_norm=Sup(), input_metric=Sum())
    for value, found in ((0.5, r.mu), (1.0, r.L0), (2.0, r.L1)):
        assert isinstance(found, Bound)
        assert (found.value, found.side, found.evidence) == (value, Side.UPPER, Evidence.DECLARED)
        assert found.norm == "sup"
    assert (r.state_norm, r.input_metric, r.rounding) == (Sup(), Sum(), None)
    assert Regularity.declared(mu=0, L0=0, L1=0).input_metric == Euclidean()


@pytest.mark.parametrize("mu", [0, 0.0, 1 - 2**-53, Fraction(999, 1000)])
def test_factors_in_the_half_open_unit_interval_pass(mu: Any) -> None:
    assert Regularity.declared(mu=mu, L0=0, L1=0).mu.at(None) == mu


@pytest.mark.parametrize("mu", [1, 1.0, 1.5, -0.1, float("nan"), Fraction(1)])
def test_an_operator_that_does_not_contract_is_not_regular(mu: Any) -> None:
    with pytest.raises(InputError) as caught:
        Regularity.declared(mu=mu, L0=0, L1=0)
    assert str(caught.value) == (f"mu: got {mu}, needed 0 <= mu < 1; an operator that does not contract is not regular")


@pytest.mark.parametrize("mu", [2.0, -1.0, float("nan"), [0.5, 1.0]])
def test_factors_that_are_tensors_are_checked_as_numbers_are(mu: Any) -> None:
    value = torch.tensor(mu)
    with pytest.raises(InputError, match="needed 0 <= mu < 1"):
        replace(Regularity.declared(mu=0.5, L0=0, L1=0), mu=Bound(value, Side.UPPER, "argument", Evidence.DECLARED))


@pytest.mark.parametrize("name", ["L0", "L1"])
@pytest.mark.parametrize("value", [-1e-300, float("nan")])
def test_a_budget_is_not_negative(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"{name}: got {value}, needed a number >= 0; a budget is a Lipschitz const"):
        Regularity.declared(**({"mu": 0.5, "L0": 1.0, "L1": 1.0} | {name: value}))


@pytest.mark.parametrize("name", ["mu", "L0", "L1"])
def test_a_lower_bound_certifies_nothing(name: str) -> None:
    parts: dict[str, Any] = {"mu": bound(0.5), "L0": bound(1.0), "L1": bound(1.0)}
    parts[name] = bound(0.5, Side.LOWER)
    with pytest.raises(InputError, match=f"{name}: got lower bound, needed an upper bound or an estimate; a lower"):
        Regularity(**parts, state_norm=Sup(), input_metric=Sup())


def test_a_factor_may_depend_on_the_input() -> None:
    local = LocalBound(lambda x: 1 - x, Side.EXACT, "m", Evidence.PROVED)
    r = Regularity(local, bound(0.0), bound(1.0), Sup(), Sup())
    assert torch.equal(r.mu.at(torch.tensor([0.25])), torch.tensor([0.75]))
