"""What is particular to Broyden's method: its steps, its termination, its denominators, its memory and its safeguard."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.solvers import OnFailure, Picard, Solution, Stop, _broyden, _safeguard, fixed_point
from eqtheory.solvers._broyden import Broyden, BroydenState
from tests.problems import PROBLEMS, problem
from tests.solvers import laws

RETURN = OnFailure.RETURN
SOLVERS = {"broyden": Broyden(), "broyden, memory 1": Broyden(memory=1), "broyden, memory 3": Broyden(memory=3)}
solvers = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


@dtypes
@pytest.mark.parametrize(
    ("solver", "name"),  # short memories need more steps than are allowed where every direction matters equally
    [(s, name) for s in SOLVERS.values() for name in PROBLEMS if s.memory == 20 or name != "linear 0.999"],
)
def test_converges_to_the_equilibrium(solver: Broyden, name: str, dtype: torch.dtype) -> None:
    laws.converges_to_the_equilibrium(solver, problem(name, dtype))


@dtypes
@pytest.mark.parametrize("name", PROBLEMS)
def test_is_independent_of_batch_mates(name: str, dtype: torch.dtype) -> None:
    laws.is_independent_of_batch_mates(Broyden(), problem(name, dtype))
    if name not in {"linear 0.99", "linear 0.999"}:
        laws.is_independent_of_batch_mates(Broyden(memory=4), problem(name, dtype))


@dtypes
@pytest.mark.parametrize("name", PROBLEMS)
@solvers
def test_follows_a_change_of_scale(solver: Broyden, name: str, dtype: torch.dtype) -> None:
    laws.follows_a_change_of_scale(solver, problem(name, dtype))


@pytest.mark.parametrize("name", PROBLEMS)
@solvers
def test_follows_a_change_of_origin(solver: Broyden, name: str) -> None:
    laws.follows_a_change_of_origin(solver, problem(name, torch.float64))


@pytest.mark.parametrize("name", ["linear 0.9", "tanh", "reciprocal"])
@solvers
def test_is_pure_counts_and_leaves_fixed_points_alone(solver: Broyden, name: str) -> None:
    p = problem(name, torch.float64)
    laws.steps_purely(solver, p)
    laws.leaves_a_fixed_point_alone(solver, p)
    laws.counts_its_evaluations(solver, p)
    laws.is_deterministic(solver, p)


def matvec(W: Tensor, v: Tensor) -> Tensor:
    return (W * v.unsqueeze(-2)).sum(dim=-1)


def weights(n: int, seed: int, mu: float = 0.9) -> Tensor:
    W = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return mu * W / torch.linalg.matrix_norm(W, ord=2)


def run(G: Any, y0: Tensor, solver: Any, **stop: Any) -> Solution:
    return fixed_point(G, y0, y0, solver=solver, stop=Stop(**stop), on_failure=RETURN, trace=True, iterates=True)


def textbook(G: Any, y: Tensor, steps: int) -> Tensor:
    """Broyden's method with the matrix `B` itself, and a linear system for every step."""
    B, states = torch.eye(len(y), dtype=y.dtype), [y]
    F = y - G(y)
    for _ in range(steps):
        s = torch.linalg.solve(B, -F)
        y = y + s
        change = y - G(y) - F
        F = F + change
        B = B + torch.outer(change - B @ s, s) / s.dot(s)
        states.append(y)
    return torch.stack(states)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_takes_the_steps_of_the_textbook(n: int) -> None:
    W, x = weights(n, 5), torch.linspace(1, 2, n, dtype=torch.float64)
    G = lambda y, _=None: matvec(W, torch.tanh(y)) + x  # noqa: E731
    y0, steps = torch.zeros(1, n, dtype=torch.float64), min(n + 2, 8)
    found = run(G, y0, Broyden(), rtol=0.0, max_steps=steps).trace.iterates[:, 0]
    expected = textbook(lambda y: G(y.unsqueeze(0))[0], y0[0], len(found) - 1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_ends_linear_problems_after_twice_the_dimension(n: int, seed: int) -> None:
    """Gay 1979: at most `2 n` steps from any start, whatever the regular matrix `I - W`; here with norms above 1 as well."""
    W = weights(n, seed, mu=(0.9, 0.999, 3.0)[seed % 3])
    y0 = torch.ones(1, n, dtype=torch.float64)
    s = run(lambda y, x: matvec(W, y) + x, y0, Broyden(memory=2 * n, growth=1e9), rtol=1e-6, max_steps=2 * n)
    assert bool(s.converged), str(s)
    if n > 2:
        short = run(lambda y, x: matvec(W, y) + x, y0, Broyden(memory=1, growth=1e9), rtol=1e-6, max_steps=2 * n)
        assert not bool(short.converged)


def test_converges_superlinearly_on_smooth_problems() -> None:
    p = problem("tanh", torch.float64)
    s = run(p.operator, p.x, Broyden(), rtol=1e-14, max_steps=60)
    for residuals in s.trace.residuals.T:
        r = residuals[: int((residuals > 1e-12 * residuals[0]).sum()) + 1]
        if len(r) < 10:
            continue  # over before there is a rate
        shares = [float(b / a) for a, b in zip(r, r[4:], strict=False)]
        assert shares[-1] < 1e-4
        assert shares[-1] < 0.1 * shares[len(shares) // 2]


QUARTER = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("W", [-torch.eye(2).double(), QUARTER, 2 * torch.eye(2).double()], ids=["-1", "quarter", "2"])
def test_solves_linear_problems_on_which_picard_fails(W: Tensor) -> None:
    y0, star = torch.tensor([[3.0, 4.0], [0.5, -1.0]], dtype=torch.float64)
    G = lambda y, x: matvec(W, y - star) + star  # noqa: E731
    s = fixed_point(G, y0.unsqueeze(0), y0.unsqueeze(0), solver=Broyden())
    torch.testing.assert_close(s.value[0], star, atol=1e-5, rtol=0.0)
    assert not bool(run(G, y0.unsqueeze(0), Picard(), max_steps=100).converged)


def test_is_the_secant_method_on_scalars() -> None:
    G = lambda y, x=None: torch.cos(y)  # noqa: E731
    y = run(G, torch.tensor([1.0]).double(), Broyden(), rtol=1e-12).trace.iterates[:, 0].tolist()
    f = [float(torch.cos(torch.tensor(v, dtype=torch.float64))) - v for v in y]
    assert y[1] == pytest.approx(y[0] + f[0], rel=1e-15)
    for (a, fa), (b, fb), c in zip(zip(y, f, strict=True), zip(y[1:], f[1:], strict=True), y[2:], strict=False):
        assert c == pytest.approx(b - fb * (b - a) / (fb - fa), rel=1e-9)
    assert len(y) <= 7


def drive(solver: Broyden, *pairs: tuple[list[float], list[float]]) -> tuple[Tensor, BroydenState]:
    """Feed a solver chosen states and residuals."""
    state = solver.init(torch.zeros(1, len(pairs[0][0]), dtype=torch.float64))
    proposal = torch.zeros(1)
    for at, residual in pairs:
        y, f = (torch.tensor([v], dtype=torch.float64) for v in (at, residual))
        proposal, state = solver.step(state, y, y + f, torch.ones(1, dtype=torch.bool))
    return proposal, state


FIRST = ([0.0, 0.0], [1.0, 0.0])


@pytest.mark.parametrize(("along", "skipped"), [(0.0, True), (0.9e-3, True), (1.1e-3, False), (-0.9e-3, True)])
def test_denominators_near_zero_leave_the_model_as_it_is(along: float, skipped: bool) -> None:
    """After the step `s = (1, 0)` a residual `z = (1 - along, 1)` has `d = (along, -1)`, and `s d = along`."""
    second = ([1.0, 0.0], [1 - along, 1.0])
    proposal, state = drive(Broyden(), FIRST, second)
    step = proposal[0] - torch.tensor([1.0, 0.0], dtype=torch.float64)
    stretch = 1.0 if skipped else 1 / along
    torch.testing.assert_close(step, stretch * torch.tensor([1 - along, 1.0], dtype=torch.float64), rtol=1e-9, atol=0.0)
    assert (float(state.ratios[0, -1]) == 0.0) is skipped
    assert bool(torch.isfinite(proposal).all())


def test_a_skipped_update_is_skipped_for_good() -> None:
    """The next step starts from the model of the first one, and learns from the step that was taken instead."""
    proposal, state = drive(Broyden(), FIRST, ([1.0, 0.0], [1.0, 1.0]), ([2.0, 1.0], [0.5, 0.0]))
    # H = I, s = (1, 1), z = (0.5, 0), d = (0.5, 1): s_next = z |s|^2 / (s d) = z * 2 / 1.5
    torch.testing.assert_close(proposal, torch.tensor([[2 + 2 / 3, 1.0]], dtype=torch.float64), rtol=1e-12, atol=0.0)
    assert state.ratios.tolist()[0] == [0.0, pytest.approx((2 / 3) / 2**0.5)]


def test_without_its_threshold_a_small_denominator_throws_far(monkeypatch: pytest.MonkeyPatch) -> None:
    second = ([1.0, 0.0], [1 - 1e-12, 1.0])
    assert float(drive(Broyden(), FIRST, second)[0].abs().max()) <= 3
    monkeypatch.setattr(_broyden, "_SMALLEST_COSINE", 0.0)
    assert float(drive(Broyden(), FIRST, second)[0].abs().max()) > 1e11


def test_memory_one_alternates_between_picard_and_secant_steps() -> None:
    p = problem("tanh", torch.float64)
    y = run(p.operator, p.x, Broyden(memory=1), rtol=0.0, max_steps=8).trace.iterates
    steps = [torch.equal(b, a + (p.operator(a, p.x) - a)) for a, b in pairwise(y)]
    assert steps == [True, False] * 4


@pytest.mark.parametrize("memory", [1, 2, 5])
def test_memory_holds_no_more_than_it_needs_and_is_emptied(memory: int) -> None:
    W, y = weights(30, 2), torch.ones(2, 30, dtype=torch.float64)
    solver, held = Broyden(memory=memory), []
    state = solver.init(y)
    for _ in range(3 * (memory + 1)):
        y, state = solver.step(state, y, matvec(W, y) + 1, torch.ones(2, dtype=torch.bool))
        held.append(len(state.units))
        assert state.ratios.shape == (2, max(0, len(state.units) - 1))
    assert held == [*range(1, memory + 1), 0] * 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_memory_may_exceed_the_dimension(n: int, dtype: torch.dtype) -> None:
    shape = (3, n, 2) if n else (3,)  # 0: scalars without an axis of their own
    x = torch.tensor([1.0, -2.0, 5.0], dtype=dtype).reshape(3, *[1] * (len(shape) - 1)).expand(shape)
    stop = Stop(rtol=8 * torch.finfo(dtype).eps)
    solver = Broyden(memory=30)
    s = fixed_point(lambda y, x: 0.5 * y + x, x, torch.zeros_like(x), solver=solver, stop=stop)
    assert s.value.dtype is dtype
    assert solver.init(x).length.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
    torch.testing.assert_close(s.value, 2 * x, rtol=40 * torch.finfo(dtype).eps, atol=0.0)


def kinked(solver: Broyden) -> Solution:
    """Contractions `|W y + x|` of the plane with factor 0.9, which have a kink that a model of one side is wrong about."""
    g = torch.Generator().manual_seed(202)
    W = torch.randn(300, 2, 2, generator=g, dtype=torch.float64)
    W = 0.9 * W / torch.linalg.matrix_norm(W, ord=2).reshape(-1, 1, 1)
    x = 3 * torch.randn(300, 2, generator=g, dtype=torch.float64)
    stop = Stop(rtol=1e-10, max_steps=400)
    return fixed_point(lambda y, x: (matvec(W, y) + x).abs(), x, 0 * x, solver=solver, stop=stop, on_failure=RETURN)


def test_safeguard_makes_every_contraction_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    safe = kinked(Broyden(memory=2))
    assert bool(safe.converged.all())
    monkeypatch.setattr(_safeguard, "CLEAR_PROGRESS", 1e300)  # every residual counts as progress: no restart, ever
    bare = kinked(Broyden(memory=2, growth=1e300))
    assert not bool(bare.converged.all())


@pytest.mark.parametrize(("residual", "restarts"), [(9.9, False), (10.1, True)])
def test_a_residual_far_above_the_best_starts_again_from_the_best(residual: float, restarts: bool) -> None:
    pairs = FIRST, ([1.0, 0.0], [0.0, 0.5]), ([1.0, 0.5], [0.0, residual * 0.5])
    proposal, state = drive(Broyden(growth=10.0), *pairs)
    assert torch.equal(proposal, torch.tensor([[1.0, 0.5]], dtype=torch.float64)) is restarts
    assert (int(state.age) == 0) is restarts
    if restarts:
        after = ([1.0, 0.5], [0.5, 0.25]), ([1.5, 0.75], [0.25, -0.5]), ([2.0, 0.0], [0.125, 0.125])
        for k in (1, 2, 3):  # what comes next is what would come without the steps before
            expected = drive(Broyden(growth=10.0), *after[:k])[0]
            assert torch.equal(drive(Broyden(growth=10.0), *pairs, *after[:k])[0], expected)


def test_peaks_of_linear_problems_pass_where_growth_allows() -> None:
    """A spectrum that fills `[-0.999, 0.999]`: restarts at ten times the best residual would never let the model grow."""
    n = 100
    Q = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    W = Q @ torch.diag(torch.linspace(-0.999, 0.999, n, dtype=torch.float64)) @ Q.T
    y0 = torch.ones(1, n, dtype=torch.float64)
    settings: dict[str, Any] = {"rtol": 1e-8, "max_steps": 1000}
    assert bool(run(lambda y, x: matvec(W, y) + x, y0, Broyden(), **settings).converged)
    assert not bool(run(lambda y, x: matvec(W, y) + x, y0, Broyden(growth=10.0), **settings).converged)


def test_samples_restart_and_resume_alone() -> None:
    """One sample restarts often and runs out of steps, the others had converged; all go on as they would alone."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        slow = 0.999 * torch.cat([-y[:, -1:], y[:, :-1]], dim=1) + x
        return torch.where(x > 0, 0.9 * torch.tanh(y).flip(-1) + x, slow)

    x = torch.tensor([[1.0, 2.0, 3.0], [-1.0, -3.0, -2.0], [4.0, 1.0, 2.0]], dtype=torch.float64)
    settings: dict[str, Any] = {"solver": Broyden(memory=4, growth=1.5), "on_failure": RETURN}
    loose, tight = Stop(rtol=1e-3, max_steps=13), Stop(rtol=1e-12, max_steps=11)
    first = fixed_point(G, x, 0 * x, stop=loose, **settings)
    assert first.converged.tolist() == [True, False, True]
    both = fixed_point(G, x, first, stop=tight, **settings)
    through = fixed_point(G, x[1:2], 0 * x[1:2], stop=Stop(rtol=1e-12, max_steps=24), **settings)
    assert torch.equal(both.value[1], through.value[0])
    for i in (0, 2):
        alone = fixed_point(G, x[i : i + 1], first.value[i : i + 1], stop=tight, **settings)
        assert torch.equal(both.value[i], alone.value[0])
        assert int(both.steps[i] - first.steps[i]) == int(alone.steps[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory": 0}, "memory: got 0, needed an integer >= 1; pass memory=20, or use Picard()"),
        ({"memory": 2.5}, "memory: got 2.5, needed an integer >= 1; pass memory=20, or use Picard()"),
        ({"growth": 1.0}, "growth: got 1.0, needed a number > 1; pass growth=1000.0"),
        ({"growth": float("nan")}, "growth: got nan, needed a number > 1; pass growth=1000.0"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Broyden(**arguments)
    assert str(caught.value) == message


def test_steps_that_rounding_swallows_teach_nothing() -> None:
    """At its rounding floor a solve stays there: changes of `F` made of rounding alone would ask for steps without bound."""
    p = problem("rotation", torch.float64)
    far = 1000.0
    G = lambda y, x: p.operator(y - far, x) + far  # noqa: E731
    s = fixed_point(
        G, p.x, p.y0 + far, solver=Broyden(), stop=Stop(rtol=0.0, max_steps=60), on_failure=RETURN, trace=True
    )
    assert s.trace is not None
    assert float(s.trace.residuals[8:].nan_to_num().max()) < 1e-8
