"""`torch.func`: every composition gives what differentiating a long iteration gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from eqtheory.errors import GradientUnavailableError, InputError, SolverError
from eqtheory.gradients import Implicit, Neumann, OneStep, Phantom, Unrolled, fixed_point
from eqtheory.solvers import OnFailure, ProgressBar, Quantity, Stop
from tests.gradients.operators import CASES, TIGHT, Case, normal, scaled

Function = Callable[..., Tensor]
W, U, X = scaled(1, 3, 0.7), scaled(2, 3, 0.5), normal(3, 2, 3)
LONG = 200


def implicit(x: Tensor, W: Tensor) -> Tensor:
    G = lambda y, x: torch.tanh(y @ W + x)  # noqa: E731
    return fixed_point(
        G, x, torch.zeros_like(x), gradient=Implicit(stop=TIGHT), stop=TIGHT, on_failure=OnFailure.RETURN
    ).value


def iterated(x: Tensor, W: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    for _ in range(LONG):
        y = torch.tanh(y @ W + x)
    return y


def scalar(f: Function) -> Function:
    return lambda *a: f(*a).sin().sum()


COMPOSITIONS: dict[str, Callable[[Function], Any]] = {
    "grad": lambda f: grad(scalar(f), argnums=(0, 1))(X, W),
    "jacrev": lambda f: jacrev(f, argnums=(0, 1))(X, W),
    "jacfwd": lambda f: jacfwd(f, argnums=(0, 1))(X, W),
    "jvp": lambda f: jvp(f, (X, W), (X.cos(), W.sin()))[1],
    "vjp": lambda f: vjp(f, X, W)[1](X.cos()),
    "hessian in x": lambda f: hessian(lambda x: scalar(f)(x, W))(X),
    "hessian in W": lambda f: hessian(lambda w: scalar(f)(X, w))(W),
    "reverse over reverse": lambda f: jacrev(jacrev(lambda w: scalar(f)(X, w)))(W),
    "reverse over forward": lambda f: jacrev(jacfwd(lambda w: scalar(f)(X, w)))(W),
    "forward over forward": lambda f: jacfwd(jacfwd(lambda w: scalar(f)(X, w)))(W),
    "third": lambda f: grad(grad(grad(lambda s: scalar(f)(s * X, W))))(torch.ones(()).double()),
    "vmap over x": lambda f: vmap(f, in_dims=(0, None))(normal(4, 5, 2, 3), W),
    "vmap over W": lambda f: vmap(f, in_dims=(None, 2))(X, torch.stack([W, 0.5 * W, U], dim=2)),
    "vmap over both": lambda f: vmap(f)(normal(4, 3, 2, 3), torch.stack([W, 0.5 * W, U])),
    "vmap twice": lambda f: vmap(vmap(f, in_dims=(0, None)), in_dims=(None, 0))(
        normal(4, 5, 2, 3), torch.stack([W, U])
    ),
    "gradients by sample": lambda f: vmap(grad(scalar(f), argnums=1), in_dims=(0, None))(normal(4, 5, 2, 3), W),
    "hessians by sample": lambda f: vmap(hessian(lambda x: scalar(f)(x, W)))(normal(4, 4, 1, 3)),
    "hessian of a sum": lambda f: hessian(lambda w: f(X[:1].expand(4, 3), w).sum())(W),
    "jacobians of a lone sample": lambda f: vmap(jacrev(f), in_dims=(0, None))(normal(4, 5, 1, 3), W),
    "jvp of a vmap": lambda f: jvp(lambda w: vmap(f, in_dims=(0, None))(normal(4, 5, 2, 3), w), (W,), (U,))[1],
}


def flat(nest: Any) -> Tensor:
    return torch.cat([flat(part) for part in nest]) if isinstance(nest, tuple) else nest.reshape(-1)


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_every_composition(name: str) -> None:
    found, expected = (flat(COMPOSITIONS[name](f)) for f in (implicit, iterated))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    assert bool((expected != 0).any())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_operator_is_mapped_and_differentiated(case: Case) -> None:
    def f(*variables: Tensor) -> Tensor:
        G, x = case.make(*variables)
        return fixed_point(G, x, case.y0, gradient=Implicit(stop=TIGHT), stop=TIGHT, on_failure=OnFailure.RETURN).value

    which = tuple(range(len(case.variables)))
    leaves = case.leaves()
    y = f(*leaves)
    expected = [
        torch.stack([torch.autograd.grad(e, v, retain_graph=True)[0] for e in y.reshape(-1)]).reshape(
            *y.shape, *v.shape
        )
        for v in leaves
    ]
    for transform in (jacrev, jacfwd):
        for found, wanted in zip(transform(f, argnums=which)(*case.variables), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-9)


def test_a_module_is_differentiated_in_its_parameters() -> None:
    net = torch.nn.Linear(3, 3).double()
    with torch.no_grad():
        net.weight.copy_(W.T)
    names = dict(net.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        G = lambda y, x: torch.tanh(functional_call(net, parameters, (y,)) + x)  # noqa: E731
        return scalar(
            lambda x: fixed_point(G, x, torch.zeros_like(x), gradient=Implicit(stop=TIGHT), stop=TIGHT).value
        )(x)

    found = grad(loss)({k: v.detach() for k, v in names.items()}, X)
    y = fixed_point(
        lambda y, x: torch.tanh(net(y) + x), X, torch.zeros_like(X), gradient=Implicit(stop=TIGHT), stop=TIGHT
    ).value
    expected = torch.autograd.grad(y.sin().sum(), list(names.values()))
    for ours, wanted in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-10)
    assert all(p is q for p, q in zip(names.values(), net.parameters(), strict=True))  # everything is back in its place


def test_parameters_of_a_mapped_solve_are_reached_by_an_ordinary_backward() -> None:
    net = torch.nn.Linear(3, 3).double()
    with torch.no_grad():
        net.weight.copy_(W.T)
    xs = normal(6, 4, 2, 3)
    G = lambda y, x: torch.tanh(net(y) + x)  # noqa: E731
    solve = lambda x: fixed_point(G, x, torch.zeros_like(x), gradient=Implicit(stop=TIGHT), stop=TIGHT).value  # noqa: E731
    mapped = torch.autograd.grad(vmap(solve)(xs).sin().sum(), net.weight)[0]
    whole = torch.autograd.grad(solve(xs.reshape(-1, 3)).sin().sum(), net.weight)[0]
    torch.testing.assert_close(mapped, whole, rtol=1e-9, atol=1e-10)


def test_a_mapped_solution_says_everything_sample_by_sample() -> None:
    xs = normal(6, 4, 2, 3)
    seen = []

    def f(x: Tensor) -> tuple[Tensor, ...]:
        s = fixed_point(lambda y, x: torch.tanh(y @ W + x), x, torch.zeros_like(x))
        assert s.error_bound is None
        seen.append(s.calls)
        return s.value, s.status, s.steps, s.residual, s.evaluations

    value, status, steps, residual, evaluations = vmap(f)(xs)
    plain = fixed_point(lambda y, x: torch.tanh(y @ W + x), xs.reshape(-1, 3), torch.zeros(8, 3).double())
    torch.testing.assert_close(value.reshape(-1, 3), plain.value)
    assert torch.equal(status.reshape(-1), plain.status)
    assert torch.equal(steps.reshape(-1), plain.steps)
    assert torch.equal(evaluations.reshape(-1), plain.evaluations)
    torch.testing.assert_close(residual.reshape(-1), plain.residual)
    assert seen[0] >= int(steps.max())


@pytest.mark.parametrize("rule", [OneStep(), Phantom(4, 0.6), Neumann(5), Unrolled()], ids=lambda r: type(r).__name__)
def test_other_rules_give_under_transforms_what_they_give_outside(rule: Any) -> None:
    def f(x: Tensor, W: Tensor) -> Tensor:
        G = lambda y, x: torch.tanh(y @ W + x)  # noqa: E731
        return fixed_point(G, x, torch.zeros_like(x), gradient=rule, stop=TIGHT, on_failure=OnFailure.RETURN).value

    x, w = X.clone().requires_grad_(), W.clone().requires_grad_()
    expected = torch.autograd.grad(scalar(f)(x, w), (x, w))
    for found, wanted in zip(grad(scalar(f), argnums=(0, 1))(X, W), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12)
    tangent, pulled = jvp(f, (X, W), (X, W))[1], vjp(f, X, W)[1](X)
    inner = sum((a * b).sum() for a, b in zip(pulled, (X, W), strict=True))
    torch.testing.assert_close((tangent * X).sum(), inner, rtol=1e-11, atol=1e-12)  # forward and reverse are transposes
    by_sample = vmap(grad(scalar(f)), in_dims=(0, None))(X.unsqueeze(1), W).squeeze(1)
    torch.testing.assert_close(by_sample, expected[0], rtol=1e-11, atol=1e-12)
    if not rule.exact:
        for second in (hessian, lambda h: jacfwd(jacfwd(h)), lambda h: jacrev(jacfwd(h)), lambda h: jacrev(jacrev(h))):
            with pytest.raises(GradientUnavailableError, match="approximates the derivative"):
                second(lambda x: scalar(f)(x, W))(X)


def test_tuples_of_states_are_mapped() -> None:
    def G(y: tuple[Tensor, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        return 0.5 * torch.tanh(y[1]) + x, 0.3 * y[0]

    def f(x: Tensor) -> Tensor:
        u, v = fixed_point(
            G, x, (torch.zeros_like(x), torch.zeros_like(x)), gradient=Implicit(stop=TIGHT), stop=TIGHT
        ).value
        return u * v

    def long(x: Tensor) -> Tensor:
        u, v = torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(LONG):
            u, v = G((u, v), x)
        return u * v

    torch.testing.assert_close(jacrev(f)(X), jacrev(long)(X), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(vmap(f)(X.unsqueeze(1)).squeeze(1), long(X), rtol=1e-9, atol=1e-10)


def test_what_can_not_be_had_is_said() -> None:
    class Vault:
        """An attribute of a class is not looked for."""

        w: Tensor

    def f(w: Tensor) -> Tensor:
        Vault.w = w
        G = lambda y, x: torch.tanh(y @ Vault.w + x)  # noqa: E731
        return fixed_point(G, X, torch.zeros_like(X), stop=TIGHT).value.sum()

    with pytest.raises(InputError, match="hand them to G through x"):
        grad(f)(W)
    with pytest.raises(InputError, match="leave them out"):
        vmap(lambda x: fixed_point(lambda y, x: 0.5 * y + x, x, x, progress=ProgressBar()).value)(X.unsqueeze(1))
    with pytest.raises(SolverError):
        vmap(lambda x: fixed_point(lambda y, x: 2 * y + x, x, x + 1, stop=Stop(max_steps=5)).value)(X.unsqueeze(1))
    certified = Stop(of=Quantity.CERTIFIED_ERROR)
    with pytest.raises(InputError, match="mu"):
        vmap(lambda x: fixed_point(lambda y, x: 0.5 * y + x, x, x, stop=certified).value)(X.unsqueeze(1))
