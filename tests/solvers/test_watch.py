"""The compiled reading: it changes no bit of any result, a faulty one is seen to, and compiled code is handed nothing it would misread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.norms import Euclidean, Sup
from eqtheory.operators import FunctionOperator, Regularity
from eqtheory.solvers import (
    Anderson,
    AndersonTGS,
    BarzilaiBorwein,
    Halpern,
    KrasnoselskiiMann,
    OnFailure,
    Picard,
    Quantity,
    Solution,
    Solver,
    Stop,
    compile_kernels,
    fixed_point,
)
from eqtheory.solvers._compiled_step import Rules, address, begin, extrapolate
from eqtheory.solvers._measure import Gauge
from eqtheory.solvers._watch import Watch
from tests.problems import PROBLEMS, problem
from tests.solvers.laws import same_bits
from tests.solvers.samples import INPUTS, STARTS, mixed

SOLVERS: list[Solver[Any]] = [
    Picard(),
    KrasnoselskiiMann(0.9),
    Halpern(),
    Anderson(),
    Anderson(native=True),
    AndersonTGS(2),
    AndersonTGS(2, native=True),
    BarzilaiBorwein(),
]
solvers = pytest.mark.parametrize("solver", SOLVERS, ids=repr)
dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
FIELDS = ("value", "status", "steps", "residual", "evaluations", "calls")


@pytest.fixture(autouse=True)
def kernels() -> None:
    compile_kernels()


def both_ways(monkeypatch: pytest.MonkeyPatch, solve: Callable[[], Solution]) -> tuple[Solution, Solution]:
    """With the compiled reading and without it."""
    watched = solve()
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "possible", staticmethod(lambda stop, gauge, y: False))
        return watched, solve()


def agree(watched: Solution, plain: Solution) -> bool:
    return all(same_bits(getattr(watched, name), getattr(plain, name)) for name in FIELDS)


@dtypes
@pytest.mark.parametrize("name", PROBLEMS)
@solvers
def test_no_bit_changes(solver: Solver[Any], name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(name, dtype)
    for rtol in (1e-3, 1e-5):
        stop = Stop(rtol=rtol, max_steps=400)
        assert agree(
            *both_ways(
                monkeypatch,
                lambda s=stop: fixed_point(p.operator, p.x, p.y0, solver=solver, stop=s, on_failure=OnFailure.RETURN),
            )
        )


def rated(y: Tensor, x: tuple[Tensor, Tensor]) -> Tensor:
    return x[0] * torch.tanh(y).roll(1, dims=1) + x[1]


def spread_out(batch: int, n: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Samples of rates 0 to 0.98 and of sizes over five decades, so that they leave one by one."""
    g = torch.Generator().manual_seed(6)
    rate = torch.linspace(0, 0.98, batch, dtype=dtype).unsqueeze(1)
    size = torch.logspace(-4, 1, batch, dtype=dtype).unsqueeze(1)
    return rate, size * torch.randn(batch, n, generator=g, dtype=dtype)


@dtypes
@pytest.mark.parametrize("last", [0, 1, 8, 13, 400])
@solvers
def test_no_bit_changes_where_samples_leave_one_by_one(
    solver: Solver[Any], last: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = spread_out(50, 41, dtype)
    solutions = both_ways(
        monkeypatch,
        lambda: fixed_point(
            rated, x, 0 * x[1], solver=solver, stop=Stop(rtol=1e-5, max_steps=last), on_failure=OnFailure.RETURN
        ),
    )
    assert agree(*solutions)
    assert last < 400 or len(set(solutions[0].steps.tolist())) > 8


@pytest.mark.parametrize("atol", [0.0, 1e-3])
@solvers
def test_no_bit_changes_where_every_sample_ends_differently(
    solver: Solver[Any], atol: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y0 = (t.unsqueeze(1).expand(-1, 3).contiguous() for t in (INPUTS, STARTS))
    stop = Stop(rtol=1e-9, atol=atol, max_steps=200)
    assert agree(
        *both_ways(
            monkeypatch, lambda: fixed_point(mixed, x, y0, solver=solver, stop=stop, on_failure=OnFailure.RETURN)
        )
    )


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_no_bit_changes_where_squares_leave_the_range(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x = scale * torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert agree(*both_ways(monkeypatch, lambda: fixed_point(lambda y, x: 0.7 * y + x, x, 0 * x)))


def test_the_rule_of_nearness_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that grow by more than a thousand between two eighth steps are not trusted before the next."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        return torch.where(y < 0.9, 1 + 0 * y, torch.where(y < 2, 1e9 + 0 * y, y + 100)) + 0 * x

    x, y0 = torch.ones(4, 3, dtype=torch.float64), torch.full((4, 3), 0.5, dtype=torch.float64)
    watched, plain = both_ways(monkeypatch, lambda: fixed_point(G, x, y0, stop=Stop(max_steps=50)))
    assert agree(watched, plain)
    assert watched.steps.tolist() == [8] * 4


@pytest.mark.parametrize("fault", ["rtol", "rounding", "floor"])
def test_a_faulty_reading_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that tests another tolerance, claims to be surer than it may be, or trusts squares that underflow."""
    build = Watch.__init__

    def faulty(self: Watch, *arguments: Any) -> None:
        build(self, *arguments)
        change = {"rtol": 3.0, "rounding": 0.3, "floor": 0.0}[fault]
        setattr(self._account, fault, change * getattr(self._account, fault))

    monkeypatch.setattr(Watch, "__init__", faulty)
    scale = 1e-161 if fault == "floor" else 1.0
    x = scale * torch.randn(100, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rate = torch.linspace(0.3, 0.9, 100, dtype=torch.float64).unsqueeze(1)
    stop = Stop(rtol=0.3 if fault == "floor" else 1e-3, max_steps=60)
    solutions = both_ways(
        monkeypatch,
        lambda: fixed_point(lambda y, x: x[1] * y + x[0], (x, rate), 0 * x, stop=stop, on_failure=OnFailure.RETURN),
    )
    assert not agree(*solutions)


def test_who_is_watched() -> None:
    y = torch.zeros(2, 3)
    gauge = Gauge(Euclidean(), y, certified=False)
    assert Watch.possible(Stop(), gauge, y)
    assert not Watch.possible(Stop(of=Quantity.CERTIFIED_ERROR), gauge, y)
    assert not Watch.possible(Stop(), Gauge(Sup(), y, certified=False), y)
    assert not Watch.possible(Stop(), Gauge(Euclidean(), y.half(), certified=False), y.half())
    assert not Watch.possible(Stop(), Gauge(Euclidean(), y.to("meta"), certified=False), y.to("meta"))
    long = torch.zeros(1, 1).expand(1, 2_000_000)  # in float32 its rounding says nothing
    assert not Watch.possible(Stop(), Gauge(Euclidean(), long, certified=False), long)
    constants = Regularity.declared(mu=0.5, L0=1.0, L1=0.0, state_norm=Sup())
    G = FunctionOperator(lambda y, x: 0.5 * y + x, regularity=constants)
    assert fixed_point(G, torch.ones(2, 3), y).converged.all()


def test_a_solver_may_propose_strided_states() -> None:
    """What is no block of numbers is refused, never misread."""
    t = torch.zeros(4, 6)
    assert address("y", t, (4, 6), torch.float32) == t.data_ptr()
    for bad, dtype in ((t.T, torch.float32), (t[:, ::2], torch.float32), (t, torch.float64), (t[:3], torch.float32)):
        with pytest.raises(InputError, match=r"y: got .*, needed .* on cpu, contiguous; pass"):
            address("y", bad, (4, 6), dtype)
    with pytest.raises(InputError, match="on meta"):
        address("y", t.to("meta"), (4, 6), torch.float32)


@pytest.mark.parametrize("field", ["vectors", "numbers", "small", "size", "scale"])
def test_a_state_of_another_shape_is_refused(field: str) -> None:
    state = begin("anderson", torch.zeros(3, 4), 2)
    setattr(state, field, getattr(state, field)[1:])
    rules = Rules("anderson", 1.0, 10.0, 4, ridge=1e-10)
    with pytest.raises(InputError, match=r"needed .* on cpu, contiguous"):
        extrapolate(state.prepare(rules), torch.zeros(3, 4), torch.ones(3, 4), torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize("solver", [Anderson(65, native=True), AndersonTGS(65, native=True)], ids=repr)
def test_a_memory_longer_than_its_storage_is_refused(solver: Solver[Any]) -> None:
    with pytest.raises(InputError, match="native: got True, and memory 65, needed memory <= 64; pass native=False"):
        solver.init(torch.zeros(1, 100))
    assert solver.init(torch.zeros(1, 64)) is not None
