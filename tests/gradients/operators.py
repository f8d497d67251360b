"""Operators to differentiate through: every case is a function of the tensors it is differentiated in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eqtheory.constructions import MatrixInverse, Reciprocal
from eqtheory.gradients import Implicit
from eqtheory.operators import FunctionOperator, Relaxed
from eqtheory.solvers import Stop

__all__ = ["CASES", "EXACT", "TIGHT", "Case", "W", "X", "iterated", "normal", "same", "scaled", "tanh_layer"]

TIGHT = Stop(rtol=1e-13, max_steps=3000)
"""Near the rounding floor of float64, so that what is compared is derivatives and not stop tests."""


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scaled(seed: int, n: int, size: float) -> Tensor:
    W = normal(seed, n, n)
    return size * W / torch.linalg.matrix_norm(W, ord=2)


W, X = scaled(1, 4, 0.8), normal(2, 3, 4)
EXACT = Implicit(stop=TIGHT)


def iterated(G: Any, x: Any, y: Any, steps: int = 300) -> Any:
    """A long iteration that autograd follows."""
    for _ in range(steps):
        y = G(y, x)
    return y


def same(found: Any, expected: Any) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@dataclass(frozen=True)
class Case:
    """`make(*variables)` returns `(G, x)`; the state starts at zero of shape `state`."""

    name: str
    variables: tuple[Tensor, ...]
    make: Callable[..., tuple[Any, Any]]
    state: tuple[int, ...]

    def leaves(self) -> tuple[Tensor, ...]:
        return tuple(v.clone().requires_grad_() for v in self.variables)

    @property
    def y0(self) -> Tensor:
        return torch.zeros(self.state, dtype=torch.float64)


def affine(x: Tensor, W: Tensor) -> tuple[Any, Any]:
    return (lambda y, x: y @ W.T + x), x


def tanh_layer(x: Tensor, W: Tensor, U: Tensor) -> tuple[Any, Any]:
    return (lambda y, x: torch.tanh(y @ W.T + x @ U.T)), x


def relu_layer(x: Tensor, W: Tensor, b: Tensor) -> tuple[Any, Any]:
    return (lambda y, x: torch.relu(y @ W.T + x + b)), x


def fourier(x: Tensor, low: Tensor) -> tuple[Any, Any]:
    def G(y: Tensor, x: Tensor) -> Tensor:
        waves = torch.fft.rfft(y, dim=-1)
        filtered = torch.cat([waves[..., :3] * torch.view_as_complex(low), 0.1 * waves[..., 3:]], dim=-1)
        return torch.nn.functional.softplus(torch.fft.irfft(filtered, n=y.shape[-1], dim=-1) + x)

    return G, x


def graph(x: Tensor, a: Tensor, c: Tensor) -> tuple[Any, Any]:
    """Messages along the edges of a ring with chords, by gather and index_add."""
    source = torch.tensor([0, 1, 2, 3, 4, 0, 2])
    target = torch.tensor([1, 2, 3, 4, 0, 3, 4])

    def G(y: Tensor, x: Tensor) -> Tensor:
        sent = torch.sin(a * y[:, source] + c)
        return 0.4 * torch.zeros_like(y).index_add(1, target, sent) + x

    return G, x


def convolution(x: Tensor, kernel: Tensor) -> tuple[Any, Any]:
    def G(y: Tensor, x: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(y, (1, 1, 1, 1), mode="circular")
        return torch.nn.functional.softplus(torch.nn.functional.conv2d(padded, kernel)) + x

    return G, x


def attention(x: Tensor, Q: Tensor, V: Tensor) -> tuple[Any, Any]:
    """A small self-attention over four tokens, injected with the input."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        weights = torch.softmax((y @ Q) @ y.mT / 2, dim=-1)
        return 0.4 * weights @ torch.tanh(y @ V) + x

    return G, x


def nested(a: Tensor, b: Tensor) -> tuple[Any, Any]:
    """Inputs in a nest, of which one tensor belongs to every sample."""

    def G(y: Tensor, x: dict[str, Any]) -> Tensor:
        offset, (scale, label) = x["offset"], x["rest"]
        return torch.sin(scale * y + label.to(y.dtype).unsqueeze(1)) * 0.7 + offset

    return G, {"offset": a, "rest": (b, torch.tensor([0, 1, 2]))}


def relaxed(x: Tensor, W: Tensor) -> tuple[Any, Any]:
    return Relaxed(FunctionOperator(lambda y, x: torch.tanh(y @ W.T) + x), 0.6), x


def matrix_inverse(x: Tensor) -> tuple[Any, Any]:
    return MatrixInverse(eta=1.0), x


def reciprocal(x: Tensor) -> tuple[Any, Any]:
    return Reciprocal(eta=0.7), x


_near_one = torch.eye(3, dtype=torch.float64) * 0.8 + 0.05 * normal(31, 2, 3, 3)
_convolved = normal(18, 1, 1, 3, 3)

CASES = (
    Case("affine", (normal(1, 3, 4), scaled(2, 4, 0.8)), affine, (3, 4)),
    Case("tanh layer", (normal(3, 3, 4), scaled(4, 4, 0.9), normal(5, 4, 4)), tanh_layer, (3, 4)),
    Case("ReLU layer", (normal(6, 3, 5), scaled(7, 5, 0.9), normal(8, 5)), relu_layer, (3, 5)),
    Case("Fourier", (normal(9, 2, 8), 0.3 * normal(10, 3, 2)), fourier, (2, 8)),
    Case("graph", (normal(11, 2, 5), normal(12, 7).abs() + 0.2, normal(13, 7)), graph, (2, 5)),
    Case("convolution", (normal(17, 2, 1, 4, 4), 0.8 * _convolved / _convolved.abs().sum()), convolution, (2, 1, 4, 4)),
    Case(
        "attention", (0.5 * normal(14, 2, 4, 3), 0.3 * normal(15, 3, 3), 0.5 * normal(16, 3, 3)), attention, (2, 4, 3)
    ),
    Case(
        "nested inputs",
        (normal(19, 3, 4), 0.9 * torch.rand(3, 1, generator=torch.Generator().manual_seed(1)).double()),
        nested,
        (3, 4),
    ),
    Case("relaxed", (normal(20, 3, 4), scaled(21, 4, 0.9)), relaxed, (3, 4)),
    Case("matrix inverse", (_near_one,), matrix_inverse, (2, 3, 3)),
    Case("reciprocal", (torch.tensor([0.3, 0.9, 0.5], dtype=torch.float64),), reciprocal, (3,)),
)
