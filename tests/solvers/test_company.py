"""The batch is cut down to those who are still iterated: what it saves, that it changes nothing, and when it must not happen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.operators import FunctionOperator, Regularity
from eqtheory.solvers import (
    Anderson,
    AndersonTGS,
    BarzilaiBorwein,
    Broyden,
    Halpern,
    KrasnoselskiiMann,
    OnFailure,
    Picard,
    Solution,
    Solver,
    Stop,
    fixed_point,
)
from tests.solvers.laws import same_bits

SOLVERS: list[Solver[Any]] = [
    Picard(),
    KrasnoselskiiMann(0.7),
    Halpern(),
    Anderson(3),
    Anderson(3, native=True),
    AndersonTGS(2),
    AndersonTGS(2, native=True),
    BarzilaiBorwein(),
    Broyden(),
]
solvers = pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
PER_SAMPLE = ("value", "status", "steps", "residual", "evaluations")


class Counting:
    """`y -> m tanh(y rolled) + x` with a rate `m` a sample; counts the rows it is asked for."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        self.rows.append(len(y))
        return x["mu"].unsqueeze(1) * torch.tanh(y.roll(1, dims=1)) + x["offset"]


def rates(batch: int, n: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(5)
    mu = 1 - torch.logspace(-0.3, -2.5, batch, dtype=torch.float64)
    return {"mu": mu, "offset": 0.3 * torch.randn(batch, n, generator=g, dtype=torch.float64)}


def solve(G: Any, x: Any, n: int, **changes: Any) -> Solution:
    batch = len(x["mu"]) if isinstance(x, dict) else len(x)
    settings = {"stop": Stop(rtol=1e-8, max_steps=20_000), "on_failure": OnFailure.RETURN} | changes
    return fixed_point(G, x, torch.zeros(batch, n, dtype=torch.float64), **settings)


@solvers
def test_a_cut_changes_no_bit_and_saves_rows(solver: Solver[Any]) -> None:
    x, cut, whole = rates(40, 64), Counting(), Counting()
    a = solve(cut, x, 64, solver=solver)
    b = solve(whole, x, 64, solver=solver, trace=True)  # a trace keeps the batch together
    for name in PER_SAMPLE:
        assert same_bits(getattr(a, name), getattr(b, name)), name
    assert set(whole.rows) == {40}
    assert min(cut.rows) < 16
    assert len(cut.rows) == a.calls == b.calls + 1  # one look whether the operator treats its samples alone
    spent = sum(cut.rows)
    assert spent <= 1.5 * int(a.evaluations.sum())
    assert spent < 0.8 * sum(whole.rows)


@solvers
def test_one_slow_sample_among_4096_costs_what_it_needs(solver: Solver[Any]) -> None:
    """Rows evaluated against the sum of what the samples need alone; 4095 samples of rate 0.5 and one of 0.9999."""
    G = Counting()
    x = {"mu": torch.full((4096,), 0.5, dtype=torch.float64), "offset": torch.ones(4096, 2, dtype=torch.float64)}
    x["mu"][1234] = 0.9999
    x["offset"] *= torch.linspace(0.01, 0.02, 4096, dtype=torch.float64).unsqueeze(1)
    s = solve(G, x, 2, solver=solver, stop=Stop(rtol=1e-7, max_steps=3000))
    assert int(s.converged.sum()) >= 4095
    for i in (0, 1234, 4095):
        part = {key: value[i : i + 1] for key, value in x.items()}
        single = solve(Counting(), part, 2, solver=solver, stop=Stop(rtol=1e-7, max_steps=3000))
        assert same_bits(single.value[0], s.value[i])
        assert single.evaluations[0] == s.evaluations[i]
    alone = int(s.evaluations.sum())  # which the equality above says is the sum of what they need alone
    assert sum(G.rows) <= 1.5 * alone


def test_the_cost_law_can_fail() -> None:
    G = Counting()
    x = rates(64, 64)
    s = solve(G, x, 64, trace=True)
    assert sum(G.rows) > 1.5 * int(s.evaluations.sum())


def coupled_by_normalisation(y: Tensor, x: Tensor) -> Tensor:
    return 0.9 * torch.tanh(y - y.mean(dim=0)) + x


def drops_at_random(y: Tensor, x: Tensor) -> Tensor:
    return 0.5 * y + x + 1e-3 * torch.rand(y.shape, generator=NOISE, dtype=y.dtype)


NOISE = torch.Generator().manual_seed(1)
CAPTURED = torch.linspace(0.1, 0.99, 32, dtype=torch.float64).unsqueeze(1)


def captures_a_tensor(y: Tensor, x: Tensor) -> Tensor:
    return CAPTURED * torch.tanh(y) + x


def captures_by_position(y: Tensor, x: Tensor) -> Tensor:
    return CAPTURED[-len(y) :] * torch.tanh(y) + x  # the rows that are left are the last ones, in another order


class Fragile:
    """Takes one batch size only."""

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        return (CAPTURED.squeeze(1)[: y.reshape(32, -1).shape[0], None]) * torch.tanh(y) + x


@pytest.mark.parametrize(
    "G",
    [coupled_by_normalisation, captures_a_tensor, captures_by_position, Fragile()],
    ids=lambda G: getattr(G, "__name__", "fragile"),
)
def test_an_operator_that_needs_its_batch_keeps_it(G: Any) -> None:
    g = torch.Generator().manual_seed(6)
    x = torch.randn(32, 64, generator=g, dtype=torch.float64) * torch.logspace(
        -3, 0.5, 32, dtype=torch.float64
    ).unsqueeze(1)
    sizes: list[int] = []

    def counted(y: Tensor, x: Tensor) -> Tensor:
        sizes.append(len(y))
        return G(y, x)

    free = solve(counted, x, 64)
    kept = solve(G, x, 64, trace=True)
    for name in PER_SAMPLE:
        assert same_bits(getattr(free, name), getattr(kept, name)), name
    assert sum(size != 32 for size in sizes) == 1  # the one look that told


def test_noise_is_seen() -> None:
    x = torch.linspace(1, 100, 64, dtype=torch.float64).unsqueeze(1).expand(64, 64)
    sizes: list[int] = []

    def counted(y: Tensor, x: Tensor) -> Tensor:
        sizes.append(len(y))
        return drops_at_random(y, x)

    solve(counted, x, 64, stop=Stop(rtol=3e-4, max_steps=200))
    assert sum(size != 64 for size in sizes) <= 1


def test_shared_parts_of_an_input_are_not_cut() -> None:
    """A square matrix beside the samples has their number of rows and is no sample; the look before the first cut tells."""
    g = torch.Generator().manual_seed(7)
    W = torch.randn(48, 48, generator=g, dtype=torch.float64)
    W = 0.9 * W / torch.linalg.matrix_norm(W, ord=2)
    x = torch.randn(48, 48, generator=g, dtype=torch.float64) * torch.logspace(
        -3, 1, 48, dtype=torch.float64
    ).unsqueeze(1)
    G = lambda y, x: (x[0].unsqueeze(0) * torch.tanh(y).unsqueeze(1)).sum(dim=2) + x[1]  # noqa: E731
    s = fixed_point(G, (W, x), torch.zeros_like(x), stop=Stop(rtol=1e-9))
    alone = fixed_point(
        lambda y, x: (W.unsqueeze(0) * torch.tanh(y).unsqueeze(1)).sum(dim=2) + x, x, 0 * x, stop=Stop(rtol=1e-9)
    )
    assert same_bits(s.value, alone.value)


def test_an_operator_may_ask_to_stay_whole() -> None:
    x, G = rates(40, 64), Counting()
    operator = FunctionOperator(G)
    operator.compacts = False
    solve(operator, x, 64)
    assert set(G.rows) == {40}


def test_certificates_follow_the_cut() -> None:
    x = rates(40, 64)
    constants = Regularity.declared(mu=0.997, L0=1.0, L1=0.0)
    G = Counting()
    cut = solve(FunctionOperator(G, regularity=constants), x, 64)
    whole = solve(FunctionOperator(Counting(), regularity=constants), x, 64, trace=True)
    assert min(G.rows) < 40
    assert same_bits(cut.error_bound.value, whole.error_bound.value)
