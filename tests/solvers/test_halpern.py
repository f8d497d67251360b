"""What is particular to Halpern's iteration: its rate and the example that attains it, restarts, anchors and fixed points."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import ceil, log
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.solvers import OnFailure, Picard, Solver, Stop, fixed_point
from eqtheory.solvers._halpern import Halpern, HalpernState
from tests.problems import PROBLEMS, problem
from tests.solvers import laws

SOLVERS = {"halpern": Halpern(), "halpern, rare restarts": Halpern(0.1), "halpern, classical": Halpern(None)}
solvers = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
QUICK = [name for name in PROBLEMS if name not in {"linear 0.99", "linear 0.999", "multiple", "reciprocal"}]


@dtypes
@pytest.mark.parametrize("name", PROBLEMS)
def test_converges_to_the_equilibrium(name: str, dtype: torch.dtype) -> None:
    laws.converges_to_the_equilibrium(Halpern(), problem(name, dtype))


@dtypes
@pytest.mark.parametrize("name", QUICK)
def test_is_independent_of_batch_mates(name: str, dtype: torch.dtype) -> None:
    laws.is_independent_of_batch_mates(Halpern(), problem(name, dtype))


@dtypes
@pytest.mark.parametrize("name", PROBLEMS)
@solvers
def test_follows_a_change_of_scale(solver: Halpern, name: str, dtype: torch.dtype) -> None:
    laws.follows_a_change_of_scale(solver, problem(name, dtype))


@pytest.mark.parametrize("name", PROBLEMS)
@solvers
def test_follows_a_change_of_origin(solver: Halpern, name: str) -> None:
    laws.follows_a_change_of_origin(solver, problem(name, torch.float64))


@pytest.mark.parametrize("name", ["linear 0.9", "tanh", "reciprocal"])
@solvers
def test_steps_purely_counts_and_leaves_fixed_points_alone(solver: Halpern, name: str) -> None:
    p = problem(name, torch.float64)
    laws.steps_purely(solver, p)
    laws.leaves_a_fixed_point_alone(solver, p)
    laws.counts_its_evaluations(solver, p)


@pytest.mark.parametrize("name", ["rotation", "tanh"])
def test_is_deterministic(name: str) -> None:
    laws.is_deterministic(Halpern(), problem(name, torch.float32))


def residuals(G: Callable[[Tensor, Tensor], Tensor], y0: Tensor, steps: int, solver: Solver[Any]) -> Tensor:
    stop = Stop(rtol=0.0, max_steps=steps, divergence=1e300)
    s = fixed_point(G, y0, y0, solver=solver, stop=stop, on_failure=OnFailure.RETURN, trace=True)
    assert s.trace is not None
    return s.trace.residuals[:, 0]


def within(r: Tensor, distance: float, constant: float = 2.0) -> bool:
    """Lieder's bound at every step, with `1e-12` for rounding."""
    t = torch.arange(len(r), dtype=torch.float64)
    return bool((r <= (1 + 1e-12) * constant * distance / (t + 1) + 1e-15).all())


def ramp(y: Tensor, delta: float) -> Tensor:
    """Lieder's worst case: towards zero by `delta`, and through zero where it is nearer than half of that."""
    return y - (2 * y).clamp(-delta, delta)


@pytest.mark.parametrize("t", [1, 2, 5, 20, 127, 1000])
def test_attains_the_best_rate_on_the_worst_operator(t: int) -> None:
    delta = 2 / (t + 1)
    r = residuals(lambda y, x: ramp(y, delta), torch.ones(1, 1).double(), t, Halpern(None))
    assert len(r) == t + 1
    torch.testing.assert_close(r, torch.full_like(r, delta), rtol=1e-9, atol=0.0)  # errors of y_k sum up over t steps
    assert within(r, 1 + 1e-9)
    assert not within(r, 1.0, constant=1.98)


def turn(angle: float) -> Callable[[Tensor, Tensor], Tensor]:
    c, s = torch.tensor(angle).double().cos(), torch.tensor(angle).double().sin()
    return lambda y, x: torch.stack([c * y[:, 0] - s * y[:, 1], s * y[:, 0] + c * y[:, 1]], dim=1)


def projections(y: Tensor, x: Tensor) -> Tensor:
    """Onto the unit disc and then onto the line `y_2 = 1`, which meet in `(0, 1)` alone, tangentially: as slow as it gets."""
    disc = y / torch.linalg.vector_norm(y, dim=1, keepdim=True).clamp_min(1.0)
    return torch.stack([disc[:, 0], torch.ones_like(disc[:, 1])], dim=1)


NONEXPANSIVE: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], list[float], list[float]]] = {
    "reflection": (lambda y, x: -y, [1.0, 2.0], [0.0, 0.0]),
    "right angle": (turn(1.5707963267948966), [1.0, 2.0], [0.0, 0.0]),
    "small angle": (turn(0.01), [1.0, 2.0], [0.0, 0.0]),
    "wide angle": (turn(3.0), [1.0, 2.0], [0.0, 0.0]),
    "projections": (projections, [3.0, -1.0], [0.0, 1.0]),
}
nonexpansive = pytest.mark.parametrize("name", NONEXPANSIVE)


@nonexpansive
def test_residuals_of_nonexpansive_operators_fall_as_one_over_t(name: str) -> None:
    G, start, star = NONEXPANSIVE[name]
    y0, y_star = torch.tensor([start]).double(), torch.tensor([star]).double()
    distance = float((y0 - y_star).norm())
    assert within(residuals(G, y0, 2000, Halpern(None)), distance)
    picard = residuals(G, y0, 2000, Picard())
    assert within(picard, distance) is (name == "projections")


@nonexpansive
def test_restarts_keep_the_rate_of_nonexpansive_operators(name: str) -> None:
    G, start, star = NONEXPANSIVE[name]
    y0, rho, tolerance = torch.tensor([start]).double(), 0.4, 5e-3
    distance = float((y0 - torch.tensor([star]).double()).norm())
    periods = 1 + ceil(log(float((G(y0, y0) - y0).norm()) / tolerance) / log(1 / rho))
    promised = ceil(2 * distance / (rho * (1 - rho) * tolerance)) + periods
    stop = Stop(rtol=0.0, atol=tolerance, max_steps=promised)
    assert bool(fixed_point(G, y0, y0, solver=Halpern(rho), stop=stop).converged)


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("mu", [0.0, 0.5, 0.9, -0.9, 0.95])
def test_restarts_are_as_frequent_as_promised(mu: float, rho: float) -> None:
    """Within `T = max(1, ceil(2 mu / ((1 - mu) rho)))` evaluations the residual falls by `rho` and the anchor is renewed."""
    solver, active = Halpern(rho), torch.ones(1, dtype=torch.bool)
    promised = max(1, ceil(2 * abs(mu) / ((1 - abs(mu)) * rho)))
    y = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    state, level, since, renewed = solver.init(y), torch.inf, 0, 0
    while renewed < 8 and bool((y != 0).any()):
        g = mu * y
        residual = float((g - y).norm())
        y, state = solver.step(state, y, g, active)
        since += 1
        if int(state.k) == 0:
            assert residual <= rho * level
            assert torch.equal(state.anchor, g)
            assert torch.equal(y, g)
            assert float(state.reference) == residual
            assert since <= promised or not renewed  # the first anchor is the start, which is no image
            level, since, renewed = residual, 0, renewed + 1
    assert renewed == 8 or mu == 0.0


def test_restarts_make_the_rate_linear() -> None:
    """`0.9 y + x` to a residual of 1e-9, where the classical iteration still has its `1 / t`."""
    y0 = torch.zeros(1, 1).double()
    classical = residuals(lambda y, x: 0.9 * y + 1, y0, 2000, Halpern(None))
    restarted = residuals(lambda y, x: 0.9 * y + 1, y0, 2000, Halpern(0.5))
    assert float(classical[-1]) > 1e-4
    at = [int((restarted <= 10.0**-k).nonzero()[0]) for k in (2, 4, 6, 8, 10)]
    assert at[-1] < 500
    gaps = [b - a for a, b in pairwise(at)]
    assert max(gaps) <= 1.5 * min(gaps)  # as many steps for every two digits


def test_restarts_converge_where_the_euclidean_norm_grows() -> None:
    """Spectral radius 0.5, l2 norm 100: images may have residuals 100 times those at which they became anchors."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        return torch.stack([0.5 * y[:, 0] + 100 * y[:, 1], 0.5 * y[:, 1] + 1], dim=1)

    for rho in (0.4, 0.9):
        y0 = torch.zeros(1, 2).double()
        s = fixed_point(G, y0, y0, solver=Halpern(rho), stop=Stop(max_steps=1500))
        torch.testing.assert_close(s.value, torch.tensor([[400.0, 2.0]]).double(), rtol=1e-4, atol=0.0)


def after(solver: Halpern, *pairs: tuple[float, float]) -> tuple[float, HalpernState]:
    """Feed a solver chosen states and operator values of one scalar sample."""
    state, proposal = solver.init(torch.tensor([[pairs[0][0]]]).double()), torch.zeros(1)
    for at, value in pairs:
        y, g = (torch.tensor([[v]], dtype=torch.float64) for v in (at, value))
        proposal, state = solver.step(state, y, g, torch.ones(1, dtype=torch.bool))
    return float(proposal), state


@pytest.mark.parametrize("solver", [Halpern(), Halpern(None)], ids=["restarted", "classical"])
def test_a_fixed_point_far_from_the_anchor_is_left_alone(solver: Halpern) -> None:
    assert after(solver, (7.0, 1.0), (4.0, 0.9), (0.1, -2.9))[0] > -1  # the anchor does pull
    for star in (0.1, 1 / 3, 1e300, 0.0):
        proposal, state = after(solver, (7.0, 1.0), (4.0, 0.9), (star, star))
        assert proposal == star
        assert float(state.anchor) == 7.0
        assert after(solver, (7.0, 1.0), (4.0, 0.9), (star, star), (star, star))[0] == star


def test_takes_the_classical_steps() -> None:
    """`1/2, 1/3, 1/4` of the anchor, which is the start, and after a restart `1/2` of the new one."""
    classical = [after(Halpern(None), *[(12.0, 0.0)] * k)[0] for k in (1, 2, 3)]
    assert classical == pytest.approx([6.0, 4.0, 3.0], rel=1e-15)
    first, beyond = (12.0, 0.0), (3.0, -3.1)
    assert after(Halpern(0.5), first, beyond)[0] == pytest.approx(
        -3.1 + 15.1 / 3, rel=1e-15
    )  # 6.1 is more than half of 12
    at = (3.0, -3.0)
    proposal, state = after(Halpern(0.5), first, at)
    assert (proposal, float(state.anchor), float(state.reference), int(state.k)) == (-3.0, -3.0, 6.0, 0)
    assert after(Halpern(0.5), first, at, (-3.0, 1.0))[0] == -1.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("n", [0, 1, 3])
def test_takes_any_precision_and_shape(n: int, dtype: torch.dtype) -> None:
    shape = (3, n, 2) if n else (3,)  # 0: scalars without an axis of their own
    x = torch.tensor([1.0, -2.0, 5.0], dtype=dtype).reshape(3, *[1] * (len(shape) - 1)).expand(shape)
    stop = Stop(rtol=8 * torch.finfo(dtype).eps)
    s = fixed_point(lambda y, x: 0.5 * y + x, x, torch.zeros_like(x), solver=Halpern(), stop=stop)
    assert s.value.dtype is dtype
    torch.testing.assert_close(s.value, 2 * x, rtol=40 * torch.finfo(dtype).eps, atol=0.0)


def test_averages_half_precision_in_float32() -> None:
    """In bfloat16 `1 / 301` and a difference of 1 and 100 would each lose digits; the average rounds once, to bfloat16."""
    start, value = torch.full((1, 4), 100.0, dtype=torch.bfloat16), torch.full((1, 4), 1.0, dtype=torch.bfloat16)
    state, active = Halpern(None).init(start), torch.ones(1, dtype=torch.bool)
    assert state.anchor.dtype is torch.float32
    for _ in range(300):
        proposal, state = Halpern(None).step(state, start, value, active)
    assert torch.equal(proposal, torch.full((1, 4), 1 + 99 / 301).to(torch.bfloat16))


def test_rows_without_memory_start_from_their_own_state() -> None:
    """Resumed beside a sample that ran out of steps, one that had converged takes the steps it would take alone."""
    x = torch.tensor([[1.0], [1000.0]], dtype=torch.float64)
    G = lambda y, x: torch.where(x > 1, 0.99, 0.5) * y + x  # noqa: E731
    settings: dict[str, Any] = {"solver": Halpern(), "on_failure": OnFailure.RETURN}
    first = fixed_point(G, x, 0 * x, stop=Stop(rtol=1e-2, max_steps=30), **settings)
    assert first.converged.tolist() == [True, False]
    both = fixed_point(G, x, first, stop=Stop(rtol=1e-9, max_steps=40), **settings)
    alone = fixed_point(G, x[:1], first.value[:1], stop=Stop(rtol=1e-9, max_steps=40), **settings)
    through = fixed_point(G, x, 0 * x, stop=Stop(rtol=1e-9, max_steps=70), **settings)
    assert torch.equal(both.value[0], alone.value[0])
    assert torch.equal(both.value[1], through.value[1])


@pytest.mark.parametrize("restart", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_arguments_are_checked(restart: float) -> None:
    with pytest.raises(InputError) as caught:
        Halpern(restart)
    assert str(caught.value) == f"restart: got {restart}, needed 0 < restart < 1; pass for example restart=0.5"
