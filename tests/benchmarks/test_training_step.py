"""A training step through an equilibrium layer: one solve, one loss, one backward pass. Times are reported, not asserted.

256 samples of width 256, `G = tanh(y W^T + x)` in float32 with a symmetric `W` of norm 0.9 and small inputs, so that the factor 0.9 is
reached. Both libraries solve both equations to the same relative residual; torchdeq stops when its whole batch has got there, so the
gradients' true errors are reported beside the times.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.gradients import Implicit, fixed_point
from eqtheory.solvers import Anderson, AndersonTGS, Picard, Solver, Stop

pytest.importorskip("pytest_benchmark")

BATCH, WIDTH, TOLERANCE = 256, 256, 1e-5


@cache
def layer() -> tuple[torch.nn.Linear, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    W = torch.randn(WIDTH, WIDTH, generator=g)
    net = torch.nn.Linear(WIDTH, WIDTH)
    with torch.no_grad():
        net.weight.copy_(0.9 * (W + W.T) / torch.linalg.matrix_norm(W + W.T, ord=2))
        net.bias.zero_()
    return net, 0.1 * torch.randn(BATCH, WIDTH, generator=g), torch.randn(BATCH, WIDTH, generator=g)


def step(solve: Callable[[Any, Tensor], Tensor]) -> Tensor:
    """The gradient of the weights."""
    net, x, wanted = layer()
    net.zero_grad()
    (solve(net, x) - wanted).square().mean().backward()
    assert net.weight.grad is not None
    return net.weight.grad.clone()


def ours(solver: Solver[Any]) -> Callable[[Any, Tensor], Tensor]:
    stop = Stop(rtol=TOLERANCE)
    rule = Implicit(solver=solver, stop=stop)

    def solve(net: Any, x: Tensor) -> Tensor:
        G = lambda y, x: torch.tanh(net(y) + x)  # noqa: E731
        return fixed_point(G, x, torch.zeros_like(x), solver=solver, stop=stop, gradient=rule).value

    return solve


def torchdeq(method: str) -> Callable[[Any, Tensor], Tensor]:
    package = pytest.importorskip("torchdeq")
    limits = {"f_max_iter": 300, "b_max_iter": 300, "f_tol": TOLERANCE, "b_tol": TOLERANCE}
    modes = {"f_stop_mode": "rel", "b_stop_mode": "rel", "f_solver": method, "b_solver": method, "ift": True}
    deq = package.get_deq(**limits, **modes)

    def solve(net: Any, x: Tensor) -> Tensor:
        return deq(lambda y: torch.tanh(net(y) + x), torch.zeros_like(x))[0][-1]

    return solve


STEPS: dict[str, Callable[[], Callable[[Any, Tensor], Tensor]]] = {
    "eqtheory Picard": lambda: ours(Picard()),
    "eqtheory Anderson(5)": lambda: ours(Anderson(5)),
    "eqtheory AndersonTGS(2)": lambda: ours(AndersonTGS(2)),
    "eqtheory AndersonTGS(2), compiled": lambda: ours(AndersonTGS(2, native=True)),
    "torchdeq fixed_point_iter": lambda: torchdeq("fixed_point_iter"),
    "torchdeq anderson": lambda: torchdeq("anderson"),
    "torchdeq broyden": lambda: torchdeq("broyden"),
}


@cache
def exact() -> Tensor:
    """The gradient in float64, near its rounding floor."""
    net, x, wanted = layer()
    W = net.weight.detach().double().requires_grad_()
    stop = Stop(rtol=1e-12)
    rule = Implicit(solver=AndersonTGS(3), stop=stop)
    y = fixed_point(
        lambda y, x: torch.tanh(y @ W.T + x),
        x.double(),
        torch.zeros(BATCH, WIDTH, dtype=torch.float64),
        solver=AndersonTGS(3),
        stop=stop,
        gradient=rule,
    ).value
    (y - wanted.double()).square().mean().backward()
    assert W.grad is not None
    return W.grad


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.filterwarnings("ignore")  # of other packages
def test_training_step(benchmark: Any, name: str) -> None:
    if "compiled" in name and shutil.which(os.environ.get("CC", "cc")) is None:
        pytest.skip("no C compiler on this machine")
    solve = STEPS[name]()
    benchmark.group = "training step, 256 x 256, contraction 0.9"
    gradient = benchmark.pedantic(lambda: step(solve), rounds=7, iterations=1, warmup_rounds=1)
    error = float(torch.linalg.vector_norm(gradient - exact()) / torch.linalg.vector_norm(exact()))
    benchmark.extra_info["error"] = error
    assert error < 1e-3
