"""Approximate gradients are their formulas, refuse second derivatives, and their bias is measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import GradientUnavailableError, InputError
from eqtheory.gradients import Neumann, OneStep, Phantom, fixed_point, gradient_bias
from tests.gradients.operators import TIGHT, W, X, iterated, normal


def jacobians() -> tuple[Tensor, Tensor, Tensor]:
    y = iterated(lambda y, x: torch.tanh(y @ W + x), X, torch.zeros_like(X))
    slope = 1 - y**2
    return slope.unsqueeze(2) * W.T, torch.diag_embed(slope), normal(9, 3, 4)


@pytest.mark.parametrize("name", ["one step", "phantom", "neumann"])
def test_cheap_rules_are_their_formulas(name: str) -> None:
    J, B, v = jacobians()
    apply = lambda M, w: (M.mT @ w.unsqueeze(2)).squeeze(2)  # noqa: E731
    if name == "one step":
        rule: Any = OneStep()
        w = v
    elif name == "neumann":
        rule, w = Neumann(4), v + apply(J, v) + apply(J, apply(J, v)) + apply(J, apply(J, apply(J, v)))
    else:
        rule, w = Phantom(3, 0.6), 0.6 * v
        M = 0.4 * torch.eye(4, dtype=torch.float64) + 0.6 * J
        w = 0.6 * (v + apply(M, v) + apply(M, apply(M, v)))
    x = X.clone().requires_grad_()
    y = fixed_point(lambda y, x: torch.tanh(y @ W + x), x, torch.zeros_like(X), gradient=rule, stop=TIGHT).value
    (g,) = torch.autograd.grad(y, x, v, create_graph=True)
    torch.testing.assert_close(g.detach(), apply(B, w), rtol=1e-10, atol=1e-12)
    with pytest.raises(GradientUnavailableError, match=r"use gradient=Implicit\(\)"):
        torch.autograd.grad(g.sum(), x)


def test_bias_is_measured_against_the_exact_gradient() -> None:
    J, B, v = jacobians()
    x = X.clone()
    net = torch.nn.Linear(4, 4).double()
    layer = lambda y, x: torch.tanh(0.5 * net(y) + x)  # noqa: E731
    found = gradient_bias(lambda y, x: torch.tanh(y @ W + x), x, torch.zeros_like(X), cotangent=v, stop=TIGHT)
    w = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - J.mT, v.unsqueeze(2)).squeeze(2)
    exact, cheap = ((B.mT @ t.unsqueeze(2)).squeeze(2) for t in (w, v))
    one = found.biases[0]
    torch.testing.assert_close(
        one.relative_error, (cheap - exact).norm(dim=1) / exact.norm(dim=1), rtol=1e-7, atol=1e-9
    )
    cosine = torch.nn.functional.cosine_similarity(cheap, exact)
    torch.testing.assert_close(one.cosine, cosine, rtol=1e-7, atol=1e-9)
    assert one.descends.tolist() == (cosine > 0).tolist()
    assert found.condition is not None
    torch.testing.assert_close(found.condition.gamma, torch.linalg.matrix_norm(J, ord=2))
    kappa = torch.linalg.cond(B @ B.mT)
    torch.testing.assert_close(found.condition.kappa, kappa, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(found.condition.threshold, 2 * kappa.sqrt() / (1 + kappa), rtol=1e-7, atol=1e-9)
    assert "OneStep()" in str(found)
    both = gradient_bias(layer, X, torch.zeros_like(X), generator=torch.Generator().manual_seed(0))
    assert {bias.of for bias in both.biases} == {"inputs", "parameters"}
    with pytest.raises(InputError, match=r"pass a torch\.Generator"):
        gradient_bias(layer, X, torch.zeros_like(X))


def test_what_can_not_be_compared_is_said() -> None:
    G = lambda y, x: 0.5 * y + x[0] + x[1].sum()  # noqa: E731
    y0, v = torch.zeros(3, 4).double(), torch.ones(3, 4).double()
    with pytest.raises(InputError, match=r"x\[1\]: got shape \(6,\), needed 3 samples"):
        gradient_bias(G, (X, normal(1, 6)), y0, cotangent=v)
    with pytest.raises(InputError, match="y0: got tuple"):
        gradient_bias(lambda y, x: y, X, (y0, y0), cotangent=v)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cotangent: got shape"):
        gradient_bias(lambda y, x: 0.5 * y + x, X, y0, cotangent=v[:, :2])
    with torch.no_grad():
        nothing = gradient_bias(lambda y, x: 0.5 * y + x, X, y0, cotangent=0 * v, gradients=[OneStep()])
    assert "nothing to compare, undefined in 3" in str(nothing)


def test_a_column_rank_is_no_row_rank() -> None:
    """The one-step gradient ascends for a derivative of full column rank; the condition does not promise otherwise."""
    J = torch.tensor([[0.0, 0.0], [0.5, 0.0]], dtype=torch.float64)
    M = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    v = torch.tensor([[-0.1, 1.0]], dtype=torch.float64)
    x = torch.ones(1, 1, dtype=torch.float64)
    found = gradient_bias(
        lambda y, x: y @ J.T + x @ M, x, torch.zeros(1, 2).double(), cotangent=v, gradients=[OneStep()]
    )
    assert not bool(found.biases[0].descends)
    assert found.condition is not None
    assert not bool(found.condition.always_descends)
