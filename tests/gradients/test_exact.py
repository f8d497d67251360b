"""Exact rules against finite differences, against dense matrices, and against each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.gradients import Gradient, Implicit, Unrolled, fixed_point
from eqtheory.solvers import (
    Anderson,
    AndersonTGS,
    BarzilaiBorwein,
    Broyden,
    Halpern,
    KrasnoselskiiMann,
    NewtonKrylov,
    OnFailure,
    Picard,
    Stop,
)
from tests.gradients.operators import CASES, TIGHT, Case, normal, scaled, tanh_layer

EXACT: dict[str, Gradient] = {
    "implicit": Implicit(stop=TIGHT),
    "unrolled": Unrolled(),
    "checkpointed": Unrolled(checkpoint_every=5),
}
FIXED = Stop(rtol=0.0, max_steps=12)
"""A number of steps that no perturbation changes, as finite differences of an iterate need."""


def solved(case: Case, rule: Gradient) -> Callable[..., Tensor]:
    """The fixed point as a function of the case's variables."""
    unrolled = isinstance(rule, Unrolled)

    def f(*variables: Tensor) -> Tensor:
        G, x = case.make(*variables)
        stop, solver = (FIXED, Picard()) if unrolled else (TIGHT, AndersonTGS())
        return fixed_point(G, x, case.y0, solver=solver, gradient=rule, stop=stop, on_failure=OnFailure.RETURN).value

    return f


@pytest.mark.parametrize("rule", EXACT)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_first_derivatives_are_those_of_finite_differences(case: Case, rule: str) -> None:
    forward = rule != "checkpointed"
    assert torch.autograd.gradcheck(solved(case, EXACT[rule]), case.leaves(), check_forward_ad=forward, fast_mode=True)


@pytest.mark.parametrize("rule", EXACT)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_second_derivatives_are_those_of_finite_differences(case: Case, rule: str) -> None:
    forward = rule == "implicit"
    f = solved(case, EXACT[rule])
    assert torch.autograd.gradgradcheck(f, case.leaves(), check_fwd_over_rev=forward, fast_mode=True)


@pytest.mark.parametrize("rule", EXACT)
@pytest.mark.parametrize("order", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
def test_no_entry_hides_behind_a_random_projection(rule: str, order: Callable[..., bool]) -> None:
    case = Case("small", (normal(1, 2, 2), scaled(2, 2, 0.6), normal(3, 2, 2)), tanh_layer, (2, 2))
    assert order(solved(case, EXACT[rule]), case.leaves())


def dense(case: Case) -> tuple[Tensor, Tensor]:
    """The derivative in the first variable from matrices, and by the implicit rule, row by row."""
    variables = case.leaves()
    G, x = case.make(*variables)
    y = fixed_point(G, x, case.y0, gradient=EXACT["implicit"], stop=TIGHT, on_failure=OnFailure.RETURN).value
    n, first = y.numel(), variables[0]
    at = y.detach().requires_grad_()
    z = G(at, x).reshape(-1)
    rows = [torch.autograd.grad(z[i], [at, first], retain_graph=True) for i in range(n)]
    J = torch.stack([r[0].reshape(-1) for r in rows])
    B = torch.stack([r[1].reshape(-1) for r in rows])
    flat = y.reshape(-1)
    D = torch.stack([torch.autograd.grad(flat[i], first, retain_graph=True)[0].reshape(-1) for i in range(n)])
    return torch.linalg.solve(torch.eye(n, dtype=J.dtype) - J, B), D


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_derivative_is_the_dense_one(case: Case) -> None:
    expected, found = dense(case)
    assert float((found - expected).abs().max()) <= 1e-8 * float(expected.abs().max())


SOLVERS = (
    Picard(),
    KrasnoselskiiMann(0.7),
    Halpern(),
    Anderson(),
    AndersonTGS(2),
    BarzilaiBorwein(),
    Broyden(),
    NewtonKrylov(),
)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_solver_solves_the_adjoint(case: Case, solver: Any) -> None:
    stop = Stop(rtol=1e-11, max_steps=3000)
    v = torch.randn(case.state, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradients = []
    for chosen in (Implicit(solver=solver, stop=stop), Implicit(solver=NewtonKrylov(), stop=stop)):
        variables = case.leaves()
        G, x = case.make(*variables)
        y = fixed_point(G, x, case.y0, gradient=chosen, stop=TIGHT, on_failure=OnFailure.RETURN).value
        gradients.append(torch.autograd.grad(y, variables, v))
    for ours, other in zip(*gradients, strict=True):
        assert float((ours - other).abs().max()) <= 1e-8 * float(other.abs().max())


@pytest.mark.parametrize("solver", [Picard(), KrasnoselskiiMann(0.7), Halpern(), Halpern(restart=None)], ids=repr)
@pytest.mark.parametrize("every", [None, 1, 4, 100])
def test_unrolled_steps_are_those_of_the_solve(solver: Any, every: int | None) -> None:
    case = CASES[1]
    variables = case.leaves()
    G, x = case.make(*variables)
    stop = Stop(rtol=1e-3, max_steps=3000)
    y0 = torch.ones(case.state, dtype=torch.float64, requires_grad=True)
    found = fixed_point(G, x, y0, solver=solver, gradient=Unrolled(every), stop=stop, on_failure=OnFailure.RETURN)
    with torch.no_grad():
        plain = fixed_point(G, x, y0, solver=solver, stop=stop, on_failure=OnFailure.RETURN)
    assert int(found.steps.min()) < int(found.steps.max())  # samples that stand still are among them
    torch.testing.assert_close(found.value, plain.value, rtol=1e-14, atol=1e-14)
    (gradient,) = torch.autograd.grad(found.value.sum(), y0)
    assert bool((gradient != 0).any())  # the iterate depends on its start, the fixed point does not


def test_third_derivatives_are_those_of_the_formula() -> None:
    x = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    y = fixed_point(
        lambda y, x: y - 0.5 * (x * y - 1), x, torch.ones(1).double(), gradient=EXACT["implicit"], stop=TIGHT
    ).value
    found = []
    for _ in range(3):
        (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        found.append(float(y.detach()))
    assert found == pytest.approx([-1 / 0.4**2, 2 / 0.4**3, -6 / 0.4**4], rel=1e-9)
