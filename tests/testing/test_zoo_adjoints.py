"""Plain gradients are what their statements say, and each broken one differs from them in the way its name says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory.roundoff import gamma
from eqtheory.testing.zoo import BROKEN_ADJOINT_BOUNDS, BROKEN_ADJOINTS, BROKEN_THRESHOLDS, ThresholdClaim
from eqtheory.testing.zoo.adjoints import PLAIN, AdjointClaim, Inputs, Pullback, condition_of
from eqtheory.theorems.banach import residual_bound
from eqtheory.theorems.implicit_gradient import THEOREM
from eqtheory.theorems.jacobian_free import threshold

HONEST = {claim.name: claim for claim in PLAIN}
BROKEN = {claim.name: claim for claim in BROKEN_ADJOINTS}
BATCH, N, P = 7, 3, 4


def affine(y: Tensor, inputs: Inputs) -> Tensor:
    """`J y + M theta + probe + c`, sample by sample."""
    theta, probe, J, M, c = inputs
    return (J @ y.unsqueeze(2)).squeeze(2) + (M @ theta.unsqueeze(2)).squeeze(2) + probe + c


def bent(y: Tensor, inputs: Inputs) -> Tensor:
    """`J tanh(y) + probe + c`."""
    _, probe, J, _, c = inputs
    return (J @ torch.tanh(y).unsqueeze(2)).squeeze(2) + probe + c


def problem() -> tuple[Inputs, Tensor, Tensor]:
    """Inputs, a fixed point of `affine`, and a loss gradient."""
    g = torch.Generator().manual_seed(1)
    J = torch.randn(BATCH, N, N, generator=g, dtype=torch.float64)
    J = 0.6 * J / torch.linalg.matrix_norm(J, ord=2).reshape(-1, 1, 1)
    M = torch.randn(BATCH, N, P, generator=g, dtype=torch.float64)
    theta, y, v = (torch.randn(BATCH, k, generator=g, dtype=torch.float64) for k in (P, N, N))
    blank = (theta, torch.zeros_like(y), J, M, torch.zeros_like(y))
    return (*blank[:4], y - affine(y, blank)), y, v


INPUTS, STATE, V = problem()
J, M = INPUTS[2], INPUTS[3]
THETA, PROBE = 0, 1
EYE = torch.eye(N, dtype=torch.float64)
SLACK = (
    gamma(1000, torch.float64) * 20
)  # about fifty roundings a term, twenty terms at most, on adjoints no longer than 2.5 |v|


def adjoint(claim: AdjointClaim, steps: int = 4, relaxation: float = 0.7) -> Tensor:
    return claim.gradient(steps, relaxation)(affine, INPUTS, STATE, V, PROBE)


def power_sum(step: Tensor, terms: range) -> Tensor:
    total = torch.zeros_like(V)
    for k in terms:
        total = total + (torch.linalg.matrix_power(step, k) @ V.unsqueeze(2)).squeeze(2)
    return total


def close(found: Tensor, expected: Tensor) -> bool:
    return bool(((found - expected).abs() <= SLACK * (1 + V.abs().amax())).all())


def test_a_pullback_holds_the_transposed_derivatives() -> None:
    at = Pullback(affine, INPUTS, STATE, THETA)
    assert close(at.jacobian(), J)
    assert close(at.state_transposed(V), (J.mT @ V.unsqueeze(2)).squeeze(2))
    assert close(at.input_transposed(V), (M.mT @ V.unsqueeze(2)).squeeze(2))
    assert not STATE.requires_grad
    assert not any(part.requires_grad for part in INPUTS)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_plain_gradients_are_the_formulas(steps: int) -> None:
    a, JT = 0.3, J.mT
    relaxed = (1 - a) * EYE + a * JT
    expected = {
        "one step": V,
        "neumann": power_sum(JT, range(steps)),
        "phantom": a * power_sum(relaxed, range(steps)),
        "implicit": torch.linalg.solve(EYE - JT, V),
    }
    assert set(expected) == set(HONEST)
    for name, formula in expected.items():
        assert close(adjoint(HONEST[name], steps, a), formula), name
        pulled = HONEST[name].gradient(steps, a)(affine, INPUTS, STATE, V, THETA)
        assert close(pulled, (M.mT @ formula.unsqueeze(2)).squeeze(2)), name


def test_relaxed_steps_without_relaxation_are_the_neumann_series() -> None:
    assert close(adjoint(HONEST["phantom"], 4, 1.0), adjoint(HONEST["neumann"], 4))
    assert close(adjoint(HONEST["neumann"], 1), adjoint(HONEST["one step"]))


def test_broken_gradients_are_broken_in_the_way_they_say() -> None:
    a, K, JT = 0.7, 4, J.mT
    relaxed, scaled = (1 - a) * EYE + a * JT, a * JT
    swapped = a * EYE + (1 - a) * JT
    expected = {
        "one term fewer": power_sum(JT, range(K - 1)),
        "powers 1 to K": power_sum(JT, range(1, K + 1)),
        "J in place of its transpose": power_sum(J, range(K)),
        "alternating signs": power_sum(-JT, range(K)),
        "the last power alone": power_sum(JT, range(K - 1, K)),
        "minus the gradient": -power_sum(JT, range(K)),
        "factor lambda left out before the sum": power_sum(relaxed, range(K)),
        "steps not relaxed, only scaled": a * power_sum(JT, range(K)),
        "lambda and 1 - lambda exchanged": (1 - a) * power_sum(swapped, range(K)),
        "one relaxed step fewer": a * power_sum(relaxed, range(K - 1)),
        "old state forgotten: lambda G alone": a * power_sum(scaled, range(K)),
        "state detached, only the last step seen": V,
        "I + J^T solved": torch.linalg.solve(EYE + JT, V),
        "J^T - I solved": torch.linalg.solve(JT - EYE, V),
        "transpose forgotten in the solve": torch.linalg.solve(EYE - J, V),
        "a batch mate's Jacobian": torch.linalg.solve(EYE - JT.roll(1, dims=0), V),
        "Jacobian at the starting state": torch.linalg.solve(EYE - JT, V),  # the same for an affine operator, see below
        "minus the direction": -V,
        "the Jacobian term alone": power_sum(JT, range(1, 2)),
        "one term subtracted": power_sum(-JT, range(2)),
        "a batch mate's loss gradient": V.roll(1, dims=0),
        "signs of the loss gradient": V.sign(),
        "half the loss gradient": V / 2,
    }
    assert set(expected) == set(BROKEN)
    for name, formula in expected.items():
        assert close(adjoint(BROKEN[name], K, a), formula), name


def test_the_jacobian_at_the_starting_state_is_another_one_behind_tanh() -> None:
    found = BROKEN["Jacobian at the starting state"].gradient(1, 1.0)(bent, INPUTS, STATE, V, PROBE)
    assert close(found, torch.linalg.solve(EYE - J.mT, V))
    true = HONEST["implicit"].gradient(1, 1.0)(bent, INPUTS, STATE, V, PROBE)
    slopes = 1 - torch.tanh(STATE) ** 2
    assert close(true, torch.linalg.solve(EYE - (J * slopes.unsqueeze(1)).mT, V))
    assert not close(found, true)


@pytest.mark.parametrize("claim", BROKEN_ADJOINTS, ids=lambda c: c.name)
def test_no_broken_gradient_is_the_honest_one(claim: AdjointClaim) -> None:
    honest = next(h for h in PLAIN if h.about == claim.about)
    operator = bent if claim.name == "Jacobian at the starting state" else affine
    found, expected = (c.gradient(4, 0.7)(operator, INPUTS, STATE, V, PROBE) for c in (claim, honest))
    assert not close(found, expected)


def test_names_are_unique_and_claims_are_about_inequalities_of_the_registry() -> None:
    for zoo in (BROKEN_ADJOINTS, BROKEN_ADJOINT_BOUNDS, BROKEN_THRESHOLDS):
        names = [entry.name for entry in zoo]
        assert len(set(names)) == len(names)
    known = {inequality.name for inequality in THEOREM.inequalities}
    assert residual_bound in THEOREM.inequalities
    assert {claim.about for claim in PLAIN} == {claim.about for claim in BROKEN_ADJOINTS}
    assert {claim.about for claim in BROKEN_ADJOINTS} == {
        "neumann_truncation",
        "phantom_truncation",
        "residual_bound",
        "deviation",
    }
    assert {bound.about for bound in BROKEN_ADJOINT_BOUNDS} == known


QUANTITIES = {
    "error": 1.0,
    "derivative_norm": 1.3,
    "input_norm": 1.1,
    "mu": 0.5,
    "cotangent_norm": 1.7,
    "terms": 2,
    "steps": 2,
    "relaxation": 0.5,
    "residual": 0.7,
    "alpha": 0.9,
    "beta": 0.3,
    "state_error": 0.8,
    "adjoint_norm": 1.9,
    "adjoint_residual": 0.6,
}


@pytest.mark.parametrize("bound", BROKEN_ADJOINT_BOUNDS, ids=lambda b: b.name)
def test_broken_bounds_claim_more_than_the_inequality_they_are_made_of(bound: object) -> None:
    honest = next(i for i in THEOREM.inequalities if i.name == bound.about)  # type: ignore[attr-defined]
    names = honest.sides.__kwdefaults__ or {}
    wanted = {n: v for n, v in QUANTITIES.items() if n in honest.sides.__code__.co_varnames}
    lhs, rhs = honest.sides(**wanted)
    left, right = bound.sides(**wanted)  # type: ignore[attr-defined]
    assert set(names) <= {"evaluation_error"}
    assert left == lhs
    assert right < rhs


@pytest.mark.parametrize("claim", BROKEN_THRESHOLDS, ids=lambda c: c.name)
def test_broken_thresholds_lie_above_the_exact_one(claim: ThresholdClaim) -> None:
    exact = threshold(condition_of(M) ** 2)
    assert claim.threshold(M).shape == (BATCH,)
    assert bool((claim.threshold(M) > exact).all())


def test_the_condition_number_is_the_ratio_of_singular_values() -> None:
    diagonal = torch.diag(torch.tensor([6.0, 2.0, 3.0], dtype=torch.float64)).unsqueeze(0)
    assert float(condition_of(diagonal)) == 3.0
