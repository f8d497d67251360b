"""What a solve costs beside its evaluations: the same fifty evaluations bare and under a solver. Times are reported, not asserted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.solvers import (
    Anderson,
    AndersonTGS,
    BarzilaiBorwein,
    OnFailure,
    Picard,
    Solver,
    Stop,
    compile_kernels,
    fixed_point,
)

pytest.importorskip("pytest_benchmark")

STEPS = 50
SHAPES = {"1 x 2048": (1, 2048), "16 x 1024": (16, 1024), "64 x 512": (64, 512)}
SOLVERS: dict[str, Solver[Any] | None] = {
    "bare": None,
    "picard": Picard(),
    "barzilai_borwein": BarzilaiBorwein(),
    "anderson_tgs": AndersonTGS(2),
    "anderson_tgs, compiled": AndersonTGS(2, native=True),
    "anderson": Anderson(5),
    "anderson, compiled": Anderson(5, native=True),
}


COMPILES = shutil.which(os.environ.get("CC", "cc")) is not None


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread, and the kernels compiled, as a user would have them who asks for speed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    if COMPILES:
        compile_kernels()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_overhead(benchmark: Any, shape: str, name: str) -> None:
    if "compiled" in name and not COMPILES:
        pytest.skip("no C compiler on this machine")
    batch, n = SHAPES[shape]
    g = torch.Generator().manual_seed(n)
    W = torch.randn(n, n, generator=g)
    W = 0.999 * (W + W.T) / torch.linalg.matrix_norm(W + W.T, ord=2)
    x = torch.randn(batch, n, generator=g)
    calls = []

    def G(y: Tensor, x: Tensor) -> Tensor:
        calls.append(1)
        return torch.addmv(x[0], W, y[0]).unsqueeze(0) if batch == 1 else torch.addmm(x, y, W)

    def bare() -> Tensor:
        y = torch.zeros_like(x)
        for _ in range(STEPS):
            y = G(y, x)
        return y

    def solved() -> Tensor:
        stop = Stop(rtol=0.0, max_steps=STEPS - 1)
        s = fixed_point(G, x, torch.zeros_like(x), solver=SOLVERS[name], stop=stop, on_failure=OnFailure.RETURN)
        assert s.calls == STEPS
        return s.value

    benchmark.group = f"overhead, {shape}"
    run = bare if name == "bare" else solved
    value = benchmark.pedantic(run, rounds=9, iterations=1, warmup_rounds=2)
    assert (
        len(calls) == 11 * STEPS or len(calls) == STEPS
    )  # as many evaluations as the bare loop; once where times are not taken
    assert bool(torch.isfinite(value).all())
