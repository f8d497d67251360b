"""Narrow types and autocast."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory.gradients import Implicit, fixed_point
from eqtheory.solvers import Stop
from tests.gradients.operators import W, X, iterated


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_types(dtype: torch.dtype) -> None:
    w, x = W.to(dtype).requires_grad_(), X.to(dtype).requires_grad_()
    stop = Stop(rtol=1e-5 if dtype is torch.float32 else 2e-2)
    y = fixed_point(lambda y, x: torch.tanh(y @ w + x), x, torch.zeros_like(x), stop=stop).value
    found = torch.autograd.grad(y.sum(), (w, x))
    w64, x64 = w.detach().double().requires_grad_(), x.detach().double().requires_grad_()
    expected = torch.autograd.grad(
        iterated(lambda y, x: torch.tanh(y @ w64 + x), x64, torch.zeros_like(X)).sum(), (w64, x64)
    )
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(
            a.double(), b, rtol=0.0, atol=float(b.abs().max()) * (1e-4 if dtype is torch.float32 else 0.1)
        )


@pytest.mark.parametrize("inside", [True, False])
def test_autocast_solves_and_differentiates_one_operator(inside: bool) -> None:
    net = torch.nn.Linear(4, 4)
    with torch.no_grad():
        net.weight.copy_(W)
    x = X.float().requires_grad_()
    seen: set[torch.dtype] = set()

    def G(y: Tensor, x: Tensor) -> Tensor:
        out = net(y)
        seen.add(out.dtype)
        return torch.tanh(out + x.to(out.dtype))

    with torch.autocast("cpu", torch.bfloat16):
        found = fixed_point(G, x, torch.zeros(3, 4), stop=Stop(rtol=2e-2), gradient=Implicit(stop=Stop(rtol=1e-2)))
        assert found.value.dtype == torch.float32
        if inside:
            g = torch.autograd.grad(found.value.sum(), (net.weight, x), create_graph=True)
            torch.autograd.grad(sum((t * t).sum() for t in g), net.weight)
    if not inside:
        g = torch.autograd.grad(found.value.sum(), (net.weight, x), create_graph=True)
        torch.autograd.grad(sum((t * t).sum() for t in g), net.weight)
    assert seen == {torch.bfloat16}  # also where the backward pass evaluates it again
    w64, x64 = net.weight.detach().double().requires_grad_(), x.detach().double().requires_grad_()
    y = iterated(lambda y, x: torch.tanh(y @ w64.T + net.bias.detach().double() + x), x64, torch.zeros_like(X))
    for a, b in zip(g, torch.autograd.grad(y.sum(), (w64, x64)), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0.0, atol=0.1 * float(b.abs().max()))


def test_autocast_takes_tuples_of_states() -> None:
    net = torch.nn.Linear(4, 4)
    with torch.no_grad():
        net.weight.copy_(W)

    def G(y: tuple[Tensor, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(net(y[1])) + x, 0.5 * y[0]

    x, start = X.float(), (torch.zeros(3, 4), torch.zeros(3, 4))
    with torch.autocast("cpu", torch.bfloat16):
        found = fixed_point(G, x, start, stop=Stop(rtol=2e-2), gradient=Implicit(stop=Stop(rtol=1e-2)))
    assert [part.dtype for part in found.value] == [torch.float32, torch.float32]
    (found.value[0].sum() + found.value[1].sum()).backward()
    assert net.weight.grad is not None
    assert bool(torch.isfinite(net.weight.grad).all())
