"""Bounds that were once wrong: layers used twice, hooks and overridden methods, maps to few numbers, weights and scales out of range."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from eqtheory.errors import InputError
from eqtheory.lipschitz import (
    activation_constant,
    convolution_norm_of,
    jacobian_norm,
    layer_constant,
    operator_norm,
    product_of_norms,
    propagated_lipschitz,
    spectral_radius,
)
from eqtheory.lipschitz.curves._block import input_block
from eqtheory.norms import Euclidean, Weighted

SIZES = [(1, 1000), (2, 1000), (5, 40), (7, 8)]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tripled(*_: Any) -> Any:
    return 3 * _[-1]


def test_a_layer_used_twice_counts_twice() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(3.0)
    assert product_of_norms(nn.Sequential(layer, nn.Identity(), layer), (1,)).value >= 9
    block = nn.Sequential(layer, layer)
    assert product_of_norms(nn.Sequential(block, block), (1,)).value >= 81


class Twice(nn.Sequential):
    def __iter__(self) -> Iterator[nn.Module]:
        yield from self._modules.values()  # type: ignore[misc]
        yield from self._modules.values()  # type: ignore[misc]


def test_another_order_of_layers_is_refused() -> None:
    network = Twice(nn.Linear(1, 1))
    with pytest.raises(InputError, match="Twice"):
        product_of_norms(network, (1,))
    with pytest.raises(InputError, match="Twice"):
        propagated_lipschitz(network, torch.zeros(1, 1), torch.ones(1, 1))


def test_an_empty_place_is_refused() -> None:
    network = nn.Sequential(nn.ReLU())
    network.add_module("gap", None)
    with pytest.raises(InputError, match="gap"):
        product_of_norms(network, (1,))


BOUNDS: list[tuple[str, Callable[[], object]]] = [
    ("activation_constant", lambda: activation_constant(nn.ReLU())),
    ("convolution_norm_of", lambda: convolution_norm_of(nn.Conv1d(1, 1, 1), 4)),
    ("layer_constant", lambda: layer_constant(nn.ReLU(), (4,))),
    ("product_of_norms", lambda: product_of_norms(nn.Sequential(nn.ReLU()), (4,))),
    ("propagated_lipschitz", lambda: propagated_lipschitz(nn.ReLU(), torch.zeros(1, 1), torch.ones(1, 1))),
]


@pytest.mark.parametrize("register", [register_module_forward_hook, register_module_forward_pre_hook])
@pytest.mark.parametrize("bound", [b for _, b in BOUNDS], ids=[n for n, _ in BOUNDS])
def test_hooks_of_all_modules_are_refused(bound: Callable[[], object], register: Callable[..., Any]) -> None:
    bound()
    handle = register(tripled)
    try:
        with pytest.raises(InputError, match="hooks of all modules"):
            bound()
    finally:
        handle.remove()
    bound()


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_of_one_module_are_refused(register: str) -> None:
    activation, conv = nn.ReLU(), nn.Conv1d(1, 1, 1)
    for module in (activation, conv):
        getattr(module, register)(tripled)
    with pytest.raises(InputError, match="hooks"):
        activation_constant(activation)
    with pytest.raises(InputError, match="hooks"):
        convolution_norm_of(conv, 4)


class TripledForward(nn.Conv1d):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * super().forward(x)


class TripledInside(nn.Conv1d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return 3 * super()._conv_forward(x, weight, bias)


@pytest.mark.parametrize("kind", [TripledForward, TripledInside])
def test_convolutions_of_another_map_are_refused(kind: type[nn.Conv1d]) -> None:
    with pytest.raises(InputError, match="replaced"):
        convolution_norm_of(kind(1, 1, 1), 4)


def test_subclasses_that_keep_the_map_and_parametrised_ones_are_bounded() -> None:
    class Named(nn.Conv1d):
        name = "first"

    assert convolution_norm_of(Named(1, 1, 1), 4).upper.value > 0
    assert convolution_norm_of(nn.utils.parametrizations.weight_norm(nn.Conv1d(1, 1, 1)), 4).upper.value > 0


@pytest.mark.parametrize(("m", "n"), SIZES)
def test_norms_of_maps_to_few_numbers(m: int, n: int) -> None:
    A = draw(m, m, n)
    found = jacobian_norm(lambda x: x @ A.T, torch.zeros(2, n, dtype=torch.float64))
    truth = float(torch.linalg.matrix_norm(A, ord=2))
    assert bool((found.values <= truth * (1 + 1e-12)).all())
    assert bool((found.values >= truth * (1 - 1e-9)).all())


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [(1e35, 1.3e160, 1e-160), (3.7, 1.7e-150, 1.1e-153), (1.9e-100, 1.3e-200, 1.1e-201), (0.0, 1e-200, 1e200)],
)
def test_weights_whose_quotients_leave_the_normal_range(entry: float, inside: float, outside: float) -> None:
    found = operator_norm(
        entry * torch.eye(2, dtype=torch.float64),
        norm=Weighted(torch.tensor([inside] * 2, dtype=torch.float64)),
        output_norm=Weighted(torch.tensor([outside] * 2, dtype=torch.float64)),
    )
    truth = Fraction(entry) * Fraction(outside) / Fraction(inside)
    assert Fraction(float(found.lower.value)) <= truth <= Fraction(float(found.upper.value))
    assert float(found.lower.value) >= float(truth) * (1 - 1e-9)
    assert float(found.upper.value) <= float(truth) * (1 + 1e-9)


def test_weights_that_lose_digits_both_ways_are_refused() -> None:
    inside, outside = (Weighted(torch.tensor([w], dtype=torch.float64)) for w in (1e155, 1e-160))
    with pytest.raises(InputError, match="range"):
        operator_norm(torch.tensor([[1e-170]], dtype=torch.float64), norm=inside, output_norm=outside)


def test_eigenvalues_of_badly_scaled_matrices() -> None:
    found = spectral_radius(torch.tensor([[0, 1e250], [1e-250, 0]], dtype=torch.float64))
    assert float(found.estimate.value) == pytest.approx(1.0, rel=1e-12)
    generator = torch.Generator().manual_seed(0)
    for k in range(40):
        n = 2 + k % 5
        exponents = torch.randint(-300, 300, (n, n), generator=generator).double()
        found = spectral_radius(torch.randn(n, n, generator=generator, dtype=torch.float64) * 10**exponents)
        low, high = float(found.bracket.lower.value), float(found.bracket.upper.value)
        assert low * (1 - 1e-6) <= float(found.estimate.value) <= high * (1 + 1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tangents_in_half_precision_are_not_too_long(dtype: torch.dtype) -> None:
    block = input_block(torch.zeros(2, 20, dtype=dtype), None, Euclidean(), None)
    assert block.directions.dtype == dtype
    assert 0.98 <= float(torch.linalg.matrix_norm(block.directions[:, 0].double(), ord=2)) <= 1
