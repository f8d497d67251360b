"""What carries a derivative: captured tensors, modules, tuples, resumed solves, tangents, and what can not be had."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from eqtheory.errors import GradientUnavailableError, InputError
from eqtheory.gradients import Implicit, Neumann, OneStep, Phantom, Unrolled, fixed_point
from eqtheory.solvers import AndersonTGS, KrasnoselskiiMann, OnFailure, Picard, Status, Stop
from eqtheory.solvers import fixed_point as engine
from tests.gradients.operators import EXACT, TIGHT, W, X, iterated, normal, same


class Net(torch.nn.Module):
    """A layer with a buffer, a tied weight and dropout that is off in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(W.clone())
        self.bias = torch.nn.Parameter(normal(3, 4))
        self.register_buffer("gain", torch.full((4,), 0.9, dtype=torch.float64))
        self.tied = self.weight

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(self.gain * (y @ self.weight + 0.1 * torch.sin(y) @ self.tied.T) + x + self.bias)


@pytest.mark.parametrize("training", [True, False])
def test_parameters_have_gradients_in_both_modes(training: bool) -> None:
    net = Net().train(training)
    found = fixed_point(net, X, torch.zeros_like(X), gradient=EXACT, stop=TIGHT)
    found.value.sin().sum().backward()
    ours = [p.grad for p in net.parameters()]
    expected = torch.autograd.grad(iterated(net, X, torch.zeros_like(X)).sin().sum(), list(net.parameters()))
    same(ours, expected)


def test_captured_tensors_have_gradients_leaves_or_not() -> None:
    A, b, x = (t.clone().requires_grad_() for t in (W, normal(3, 4), X))
    hidden = SimpleNamespace(weight=A @ A.T / 2)  # not a leaf
    encoded = torch.tanh(x)

    def G(y: Tensor, _: Any) -> Tensor:
        return torch.tanh(y @ hidden.weight + b + encoded)

    for order in (1, 2):
        results = []
        for y in (
            fixed_point(G, X, torch.zeros_like(X), gradient=EXACT, stop=TIGHT).value,
            iterated(G, X, torch.zeros_like(X)),
        ):
            g = torch.autograd.grad(y.sin().sum(), (A, b, x), create_graph=True)
            if order == 2:
                g = torch.autograd.grad(sum((t * t).sum() for t in g), (A, b, x), retain_graph=True)
            results.append([t.detach() for t in g])
        same(*results)


def test_gradients_of_captured_tensors_that_are_no_leaves_are_whole() -> None:
    """Also in the tensor itself, which the loss uses too, and recorded or not."""
    leaf = X.clone().requires_grad_()
    found = []
    for solve in (lambda G, y: fixed_point(G, y, y, gradient=EXACT, stop=TIGHT).value, lambda G, y: iterated(G, y, y)):
        for create in (False, True):
            h = leaf * 2
            y = solve(lambda y, _: torch.tanh(y @ W) + h, torch.zeros_like(X))  # noqa: B023
            g = torch.autograd.grad(y.square().sum() + (h * h).sum(), [h, leaf], create_graph=create)
            found.append([t.detach() for t in g])
    for other in found[1:]:
        same(found[0], other)


def test_third_derivatives_in_captured_tensors() -> None:
    w = W.clone().requires_grad_()
    results = []
    for solve in (lambda G: fixed_point(G, X, X, gradient=EXACT, stop=TIGHT).value, lambda G: iterated(G, X, X)):
        g = solve(lambda y, x: torch.tanh(y @ w + x)).sin().sum()
        for _ in range(3):
            (d,) = torch.autograd.grad(g, w, create_graph=True)
            g = d.sin().sum()
        results.append([d.detach()])
    same(*results)


def test_what_a_recorded_backward_pass_can_not_see_is_refused() -> None:
    leaf = X.clone().requires_grad_()

    class Box:
        h = leaf * 2  # an attribute of a class, where nobody looks

    y = fixed_point(lambda y, x: torch.tanh(y @ W) + Box.h, X, X, gradient=EXACT, stop=TIGHT).value
    expected = torch.autograd.grad(
        iterated(lambda y, x: torch.tanh(y @ W) + Box.h, X, X).sum(), Box.h, retain_graph=True
    )
    same(torch.autograd.grad(y.sum(), Box.h, retain_graph=True), expected)
    with pytest.raises(GradientUnavailableError, match="hand it to G through x"):
        torch.autograd.grad(y.sum(), Box.h, create_graph=True)


def test_an_operator_that_changed_is_noticed_where_it_is_evaluated_again() -> None:
    x, box, buffer = X.clone().requires_grad_(), SimpleNamespace(gain=0.7), torch.ones_like(X)
    G = lambda y, x: torch.tanh(box.gain * (y @ W) + x[1] + x[0])  # noqa: E731
    expected = torch.autograd.grad(iterated(G, (x, buffer.clone()), torch.zeros_like(X)).sum(), x)

    def solved() -> Tensor:
        return fixed_point(G, (x, buffer), torch.zeros_like(X), gradient=EXACT, stop=TIGHT).value.sum()

    first = solved()
    box.gain = 0.1
    with pytest.raises(GradientUnavailableError, match="something that it uses was changed; solve again"):
        torch.autograd.grad(first, x, create_graph=True, retain_graph=True)
    same(torch.autograd.grad(first, x), expected)  # unrecorded, nothing is evaluated again
    box.gain = 0.7
    second = solved()
    buffer.mul_(0.5)
    with pytest.raises(GradientUnavailableError, match="an input of G was overwritten"):
        torch.autograd.grad(second, x, create_graph=True)


def test_an_overwritten_input_that_a_product_has_kept_is_noticed_by_autograd_itself() -> None:
    """A factor is saved by the product, so torch's own check comes first, recorded or not."""
    x, buffer = X.clone().requires_grad_(), torch.ones_like(X)
    for create in (False, True):
        buffer.fill_(1.0)
        G = lambda y, x: torch.tanh(0.7 * (y @ W) * x[1] + x[0])  # noqa: E731
        y = fixed_point(G, (x, buffer), torch.zeros_like(X), gradient=EXACT, stop=TIGHT).value
        buffer.mul_(0.5)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.grad(y.sum(), x, create_graph=create)


def test_an_input_that_is_captured_as_well_is_counted_once_each() -> None:
    x = X.clone().requires_grad_()
    features = torch.sin(x)

    def G(y: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(y @ W + x * features)

    results = []
    for y in (
        fixed_point(G, x, torch.zeros_like(X), gradient=EXACT, stop=TIGHT).value,
        iterated(G, x, torch.zeros_like(X)),
    ):
        (g,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
        (h,) = torch.autograd.grad((g * g).sum(), x, retain_graph=True)
        results.append([g.detach(), h])
    same(*results)


def test_inputs_that_depend_on_each_other_are_counted_once_each() -> None:
    a = X.clone().requires_grad_()
    b = a.sin() * 0.5

    def G(y: Tensor, x: tuple[Tensor, Tensor]) -> Tensor:
        return torch.tanh(y @ W * x[1].cos() + x[0])

    results = []
    for y in (
        fixed_point(G, (a, b), torch.zeros_like(X), gradient=EXACT, stop=TIGHT).value,
        iterated(G, (a, b), torch.zeros_like(X)),
    ):
        (g,) = torch.autograd.grad(y.sin().sum(), a, create_graph=True)
        (h,) = torch.autograd.grad((g * g).sum(), a, retain_graph=True)
        results.append([g.detach(), h])
    same(*results)


def test_the_value_is_that_of_the_engine_and_carries_nothing_needless() -> None:
    x = X.clone().requires_grad_()
    G = lambda y, x: torch.tanh(y @ W + x)  # noqa: E731
    found = fixed_point(G, x, torch.zeros_like(X), solver=AndersonTGS())
    with torch.no_grad():
        plain = engine(G, x, torch.zeros_like(X), solver=AndersonTGS())
        quiet = fixed_point(G, x, torch.zeros_like(X), solver=AndersonTGS())
    assert torch.equal(found.value, plain.value)
    assert found.value.requires_grad
    assert found.adjoint is not None
    assert found.adjoint.last is None
    assert not quiet.value.requires_grad
    assert quiet.adjoint is None
    assert not found.residual.requires_grad
    constant = fixed_point(G, X, torch.zeros_like(X))
    assert not constant.value.requires_grad


def test_the_fixed_point_does_not_depend_on_where_the_solve_began() -> None:
    y0 = torch.zeros_like(X).requires_grad_()
    x = X.clone().requires_grad_()
    found = fixed_point(lambda y, x: torch.tanh(y @ W + x), x, y0, stop=TIGHT)
    assert torch.autograd.grad(found.value.sum(), y0, allow_unused=True) == (None,)


def test_an_operator_that_ignores_its_state_or_its_input() -> None:
    x = X.clone().requires_grad_()
    found = fixed_point(lambda y, x: x.sin(), x, torch.zeros_like(X))
    torch.testing.assert_close(torch.autograd.grad(found.value.sum(), x)[0], X.cos())
    w = W.clone().requires_grad_()
    found = fixed_point(lambda y, x: 0.5 * y + w.sum(), X, torch.zeros_like(X), gradient=EXACT, stop=TIGHT)
    torch.testing.assert_close(torch.autograd.grad(found.value.sum(), w)[0], torch.full_like(W, 24.0))


def test_tuples_of_states_have_gradients() -> None:
    x = X.clone().requires_grad_()

    def G(y: tuple[Tensor, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        return 0.5 * torch.tanh(y[1]) + x, 0.3 * y[0] * x

    start = (torch.zeros_like(X), torch.zeros_like(X))
    u, v = fixed_point(G, x, start, gradient=EXACT, stop=TIGHT).value
    p, q = iterated(G, x, start)
    same(torch.autograd.grad((u * v).sum(), x), torch.autograd.grad((p * q).sum(), x))


def test_a_resumed_solve_has_gradients_and_a_graph_may_be_walked_twice() -> None:
    x = X.clone().requires_grad_()
    G = lambda y, x: torch.tanh(y @ W + x)  # noqa: E731
    short = fixed_point(G, x, torch.zeros_like(X), stop=Stop(max_steps=3), on_failure=OnFailure.RETURN)
    found = fixed_point(G, x, short, gradient=EXACT, stop=TIGHT)
    expected = torch.autograd.grad(iterated(G, x, torch.zeros_like(X)).sum(), x)
    same(torch.autograd.grad(found.value.sum(), x, retain_graph=True), expected)
    same(torch.autograd.grad(found.value.sum(), x), expected)
    assert len(found.adjoint.reports) == 2


def test_a_changed_operand_is_noticed() -> None:
    w = W.clone().requires_grad_()
    found = fixed_point(lambda y, x: torch.tanh(y @ w + x), X, torch.zeros_like(X))
    with torch.no_grad():
        w.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.value.sum().backward()


def test_batches_are_cut_in_the_backward_pass_too() -> None:
    factors = torch.tensor([0.1] * 63 + [0.999], dtype=torch.float64)
    rows: list[int] = []

    def G(y: Tensor, x: tuple[Tensor, Tensor]) -> Tensor:
        rows.append(len(y))
        return x[1].unsqueeze(1) * y + x[0]

    x = normal(4, 64, 256).requires_grad_()
    y = (x.detach() / (1 - factors.unsqueeze(1))).contiguous()
    rule = Implicit(solver=Picard(), stop=Stop(rtol=1e-6, max_steps=50_000))
    found = fixed_point(G, (x, factors), y, gradient=rule, stop=Stop(rtol=1e-10))
    rows.clear()
    (g,) = torch.autograd.grad(found.value.sum(), x)
    torch.testing.assert_close(g, (1 / (1 - factors)).unsqueeze(1).expand(64, 256), rtol=2e-3, atol=1e-6)
    assert min(rows) == 1  # the derivative was formed anew for the slow one alone


def test_a_state_that_autograd_does_not_see_is_refused() -> None:
    x = X.clone().requires_grad_()
    hidden = lambda y, x: 0.5 * torch.from_numpy(y.detach().numpy() * 1.0) + x  # noqa: E731
    y = fixed_point(hidden, x, torch.zeros_like(X)).value
    with pytest.raises(GradientUnavailableError, match="depends on its state in a way that autograd does not see"):
        torch.autograd.grad(y.sum(), x)


def test_an_operator_may_return_what_it_was_given() -> None:
    x = X.clone().requires_grad_()
    y = fixed_point(lambda y, x: x, x, torch.zeros_like(X)).value
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.ones_like(X))


def test_fixed_points_inside_of_fixed_points() -> None:
    w, x = W.clone().requires_grad_(), X.clone().requires_grad_()
    results = []
    for solve in (lambda *a: fixed_point(*a, gradient=EXACT, stop=TIGHT).value, lambda *a: iterated(*a, steps=60)):

        def inner(y: Tensor, x: Tensor) -> Tensor:
            z = solve(lambda z, c: 0.3 * torch.sin(z) + c, torch.tanh(0.5 * y @ w), torch.zeros_like(X))  # noqa: B023
            return 0.8 * z + x

        y = solve(lambda z, c: torch.sin(0.5 * z @ w + c), solve(inner, x, torch.zeros_like(X)), torch.zeros_like(X))
        g = torch.autograd.grad(y.sin().sum(), (x, w), create_graph=True)
        h = torch.autograd.grad(sum((t * t).sum() for t in g), (x, w))
        results.append([*(t.detach() for t in g), *h])
    same(*results)


def test_graphs_are_freed_without_the_collector() -> None:
    def once() -> list[Any]:
        x, net = X.clone().requires_grad_(), torch.nn.Linear(4, 4).double()
        found = fixed_point(lambda y, x: torch.tanh(0.3 * net(y) + x), x, torch.zeros_like(X))
        (g,) = torch.autograd.grad(found.value.sum(), x, create_graph=True)
        g.square().sum().backward()
        return [weakref.ref(thing) for thing in (x, net, found)]

    gc.collect()
    gc.disable()
    try:
        assert all(ref() is None for ref in once())
    finally:
        gc.enable()


# Forward mode outside of torch.func.


def test_tangents_of_inputs_parameters_and_hidden_tensors() -> None:
    box = type("Box", (), {})()
    G = lambda y, x: torch.tanh(y @ box.weight + x)  # noqa: E731
    for recorded in (True, False):
        with torch.set_grad_enabled(recorded), forward_ad.dual_level():
            x, box.weight = forward_ad.make_dual(X, X.cos()), forward_ad.make_dual(W, W.sin())
            y = fixed_point(G, x, torch.zeros_like(X), gradient=EXACT, stop=TIGHT).value
            found = forward_ad.unpack_dual(y).tangent
            expected = forward_ad.unpack_dual(iterated(G, x, torch.zeros_like(X))).tangent
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("additive", [False, True])
def test_reverse_over_a_dual_tangent_is_refused(additive: bool) -> None:
    """Also where the tangent of G is constant, since the Jacobian is not."""
    x = X.clone().requires_grad_()
    G = (lambda y, x: torch.tanh(y @ W) + x) if additive else (lambda y, x: torch.tanh(y @ W + x))
    with forward_ad.dual_level():
        y = fixed_point(G, forward_ad.make_dual(x, X.cos()), torch.zeros_like(X)).value
        tangent = forward_ad.unpack_dual(y).tangent
        with pytest.raises(GradientUnavailableError, match=r"torch\.func\.jvp"):
            torch.autograd.grad(tangent.square().sum(), x)


# Refusals.


def test_failed_samples_have_no_gradient_and_say_so() -> None:
    x = torch.tensor([[0.5], [3.0]], dtype=torch.float64, requires_grad=True)
    G = lambda y, x: torch.where(x > 1, torch.log(-1 - y.abs()), 0.5 * y) + x  # noqa: E731
    for rule in (Implicit(), OneStep(), Phantom(), Neumann(), Unrolled()):
        found = fixed_point(G, x, torch.zeros(2, 1).double(), gradient=rule, on_failure=OnFailure.RETURN)
        assert found.status.tolist() == [Status.CONVERGED.value, Status.NON_FINITE.value]
        with pytest.raises(GradientUnavailableError, match="1 of 2 samples are not finite"):
            torch.autograd.grad(found.value[0].sum(), x)


def test_bad_input_is_answered_in_one_line() -> None:
    G = lambda y, x: 0.5 * y + x  # noqa: E731
    x = X.clone().requires_grad_()
    y0 = torch.zeros_like(X)
    with pytest.raises(
        InputError, match="gradient: got Implicit, needed a Gradient; pass for example gradient=Implicit"
    ):
        fixed_point(G, x, y0, gradient=Implicit)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="solver: got AndersonTGS, needed one of Picard"):
        fixed_point(G, x, y0, gradient=Unrolled(), solver=AndersonTGS())
    with pytest.raises(InputError, match="fallback solvers, needed one solve from its start"):
        fixed_point(G, x, y0, gradient=Unrolled(), fallback=(KrasnoselskiiMann(0.5),))
    with pytest.raises(InputError, match="checkpoint_every: got 0"):
        Unrolled(0)
    with pytest.raises(InputError, match="steps"):
        Phantom(0)
    with pytest.raises(InputError, match="relaxation"):
        Phantom(1, 1.5)
