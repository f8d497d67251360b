"""Maps with torch's fused attention are differentiated in every way, and to the same numbers as attention written by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from eqtheory import audit
from eqtheory.errors import NotBoundedError
from eqtheory.lipschitz import curve, exact_jacobian_norm, jacobian_norm, traced_lipschitz
from eqtheory.operators import Linearization


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = draw(1, 3, 5, 8)


def fused(y: Tensor, x: Tensor) -> Tensor:
    return 0.4 * nn.functional.scaled_dot_product_attention(y, y, y) + x


def by_hand(y: Tensor, x: Tensor) -> Tensor:
    return 0.4 * torch.softmax(y @ y.mT / math.sqrt(y.shape[-1]), dim=-1) @ y + x


class Layer(nn.Module):
    """An equilibrium layer as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        with torch.no_grad():
            for place, weight in enumerate(self.parameters()):
                if weight.ndim == 2:
                    weight.copy_(draw(place, *weight.shape) / 8**0.5)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        z = self.norm(y)
        out: Tensor = 0.1 * self.attention(z, z, z, need_weights=False)[0] + x
        return out


@pytest.mark.parametrize("block", [2, 16])
def test_curves_are_those_of_attention_written_by_hand(block: int) -> None:
    start = torch.zeros_like(X)
    one, two = (curve(G, X, 6, y0=start, block=block) for G in (fused, by_hand))
    assert torch.allclose(one.lower, two.lower, rtol=1e-10)
    assert bool((one.lower[-1] > one.lower[1]).all())


def test_norms_of_jacobians_agree() -> None:
    one, two = (jacobian_norm(lambda y, G=G: G(y, X), X).worst().value for G in (fused, by_hand))
    assert float(one) == pytest.approx(float(two), rel=1e-8)
    one, two = (exact_jacobian_norm(lambda y, G=G: G(y, X), X).value for G in (fused, by_hand))
    assert torch.allclose(torch.as_tensor(one), torch.as_tensor(two), rtol=1e-8)


def test_products_go_on_where_a_graph_of_the_fused_kernel_was_handed_in() -> None:
    at = X.clone().requires_grad_()
    u = draw(2, 3, 5, 8)
    pushed = Linearization(fused, X, X, graph=(at, fused(at, X))).push(u)
    by_dual_numbers = torch.func.jvp(lambda y: by_hand(y, X), (X,), (u,))[1]  # type: ignore[index]
    assert torch.allclose(pushed, by_dual_numbers, rtol=1e-10)


def test_layers_of_torch_have_curves_and_audits() -> None:
    layer = Layer().double().eval().requires_grad_(requires_grad=False)
    found = curve(layer, X, 5, y0=torch.zeros_like(X), block=4)
    assert bool((found.lower[1:] > 0.9).all())
    report = audit(layer, (X + draw(3, 3, 5, 8), X), samples=3, steps=3)
    assert "no growth curve" not in str(report)
    assert "no derivative" not in str(report)


def test_fused_attention_is_not_taken_for_chance() -> None:
    with pytest.raises(NotBoundedError) as caught:
        traced_lipschitz(fused, (X[:1], X[:1]))
    assert "random" not in str(caught.value)
