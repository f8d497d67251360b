"""A curve over 100 iterations beside one plain run, and beside taking the derivative anew for every number of iterations."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from eqtheory.lipschitz import curve

STEPS = 100


def _dense(n: int, batch: int) -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor]:
    g = torch.Generator().manual_seed(0)
    W = torch.randn(n, n, generator=g)
    W = 0.9 * W / torch.linalg.matrix_norm(W, ord=2)
    return lambda y, x: torch.tanh(y @ W.T + x), torch.randn(batch, n, generator=g)


def _convolution() -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor]:
    g = torch.Generator().manual_seed(0)
    kernel = torch.randn(8, 8, 3, 3, generator=g) / 20
    return lambda y, x: torch.tanh(torch.nn.functional.conv2d(y, kernel, padding=1)) + x, torch.randn(
        4, 8, 16, 16, generator=g
    )


OPERATORS = {
    "dense 256, batch 32": _dense(256, 32),
    "dense 8, batch 4": _dense(8, 4),
    "convolution 8 x 16 x 16, batch 4": _convolution(),
}


def plain(G: Callable[[Tensor, Tensor], Tensor], x: Tensor, steps: int = STEPS) -> Tensor:
    y = torch.zeros_like(x)
    with torch.no_grad():
        for _ in range(steps):
            y = G(y, x)
    return y


def anew(G: Callable[[Tensor, Tensor], Tensor], x: Tensor, tangents: Tensor) -> Tensor:
    """Norms of `Dy_t v` for all t, each t from the start, with dual numbers."""
    found = []
    for t in range(STEPS + 1):
        with torch.no_grad(), forward_ad.dual_level():
            y, at = torch.zeros_like(x), forward_ad.make_dual(x, tangents)
            for _ in range(t):
                y = G(y, at)
            tangent = forward_ad.unpack_dual(y).tangent
        found.append(torch.zeros(len(x)) if tangent is None else torch.linalg.vector_norm(tangent.flatten(1), dim=1))
    return torch.stack(found)


def seconds(call: Callable[[], Any], repeats: int = 5) -> float:
    call()
    taken = []
    for _ in range(repeats):
        start = perf_counter()
        call()
        taken.append(perf_counter() - start)
    return min(taken)


@pytest.mark.parametrize("width", [1, 4, 16])
@pytest.mark.parametrize("name", OPERATORS)
def test_a_curve_beside_one_plain_run(benchmark: Any, name: str, width: int) -> None:
    """Bar: at most `3 K + 2` plain runs for `K` tangents."""
    G, x = OPERATORS[name]
    width = min(width, x[0].numel())
    y0 = torch.zeros_like(x)
    one = seconds(lambda: plain(G, x))
    benchmark(lambda: curve(G, x, STEPS, y0=y0, block=width))
    benchmark.extra_info |= {"plain run": one, "bar": 3 * width + 2}
    if not benchmark.disabled:
        benchmark.extra_info["ratio to plain run"] = benchmark.stats.stats.min / one


@pytest.mark.parametrize("name", OPERATORS)
def test_a_curve_beside_every_step_anew(benchmark: Any, name: str) -> None:
    """Bar: 20 times faster than running every number of iterations from the start, and the same numbers to 1e-6 of their size."""
    G, x = OPERATORS[name]
    y0 = torch.zeros_like(x)
    tangent = torch.ones(1, x[0].numel())
    directions = (tangent / tangent.norm()).reshape(1, *x.shape[1:]).expand_as(x)
    slow = seconds(lambda: anew(G, x, directions), repeats=1)
    found = benchmark(lambda: curve(G, x, STEPS, y0=y0, block=tangent))
    again = anew(G, x, directions)
    largest = float((found.lower - again).abs().amax() / again.amax())
    benchmark.extra_info |= {"every step anew": slow, "largest difference": largest}
    if not benchmark.disabled:
        benchmark.extra_info["times faster"] = slow / benchmark.stats.stats.min
