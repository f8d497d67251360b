"""What is particular to Anderson's iteration: finite termination, its safeguard, small dimensions and narrow dtypes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.operators import as_operator
from eqtheory.solvers import (
    Anderson,
    AndersonState,
    OnFailure,
    Picard,
    Quantity,
    Solution,
    Stop,
    _safeguard,
    fixed_point,
)
from eqtheory.solvers._measure import dot
from tests.problems import problem
from tests.solvers.samples import matvec, with_spectrum

RETURN = OnFailure.RETURN


@pytest.mark.parametrize("mixing", [1.0, 0.5])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_terminates_on_linear_operators_with_few_eigenvalues(k: int, mixing: float) -> None:
    """With `k` distinct eigenvalues and memory `k` the residual polynomial of degree `k` vanishes: `k + 2` evaluations."""
    values = (0.999, -0.9, 0.3, 0.7)[:k]
    W = with_spectrum(*values)
    x = torch.ones(2, 30, dtype=torch.float64)
    x[1] *= torch.linspace(1, 3, 30, dtype=torch.float64)
    solver, stop = Anderson(memory=k, mixing=mixing), Stop(rtol=1e-7)
    s = fixed_point(lambda y, x: matvec(W, y) + x, x, 0 * x, solver=solver, stop=stop)
    assert int(s.evaluations.max()) <= k + 3  # one more for the ridge


def test_is_far_faster_than_picard_near_one() -> None:
    W = with_spectrum(*torch.linspace(-0.99, 0.99, 30).tolist())
    x = torch.ones(1, 30, dtype=torch.float64)
    run = lambda solver: fixed_point(lambda y, x: matvec(W, y) + x, x, 0 * x, solver=solver, stop=Stop(max_steps=5000))  # noqa: E731
    assert int(run(Anderson(memory=10)).evaluations) * 10 < int(run(Picard()).evaluations)


@pytest.mark.parametrize("name", ["-y", "rotation by a right angle", "2 y + 1"])
def test_solves_linear_problems_on_which_picard_fails(name: str) -> None:
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    G, star = {
        "-y": (lambda y, x: 1 - y, 0.5),
        "rotation by a right angle": (lambda y, x: matvec(quarter, y) + torch.tensor([1.0, 0.0]).double(), 0.5),
        "2 y + 1": (lambda y, x: 2 * y + 1, -1.0),
    }[name]
    y0 = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    s = fixed_point(G, y0, y0, solver=Anderson(memory=2))
    torch.testing.assert_close(s.value, torch.full_like(y0, star), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_memory_may_exceed_the_dimension(n: int, dtype: torch.dtype) -> None:
    shape = (3, n) if n else (3,)  # 0: scalars without an axis of their own
    x = torch.tensor([1.0, -2.0, 5.0], dtype=dtype).reshape(3, *[1] * (len(shape) - 1)).expand(shape)
    tolerance = 8 * torch.finfo(dtype).eps
    s = fixed_point(
        lambda y, x: 0.5 * y + x, x, torch.zeros_like(x), solver=Anderson(memory=6), stop=Stop(rtol=tolerance)
    )
    assert s.value.dtype is dtype
    torch.testing.assert_close(s.value, 2 * x, rtol=40 * torch.finfo(dtype).eps, atol=0.0)


def test_states_may_have_any_shape() -> None:
    x = torch.ones(2, 3, 4, 5)
    s = fixed_point(lambda y, x: 0.9 * torch.tanh(y).roll(1, dims=-1) + x, x, 0 * x, solver=Anderson())
    assert s.value.shape == x.shape
    assert s.residual.shape == (2,)


def kinked(memory: int, growth: float) -> Solution:
    """Contractions `|W y + x|` of the plane with factor 0.9, which have a kink that extrapolation can be caught at."""
    g = torch.Generator().manual_seed(202)
    W = torch.randn(200, 2, 2, generator=g, dtype=torch.float64)
    W = 0.9 * W / torch.linalg.matrix_norm(W, ord=2).reshape(-1, 1, 1)
    x = 3 * torch.randn(200, 2, generator=g, dtype=torch.float64)
    solver = Anderson(memory, growth=growth)
    G = as_operator(lambda y, x: (matvec(W, y) + x).abs())
    return fixed_point(G, x, 0 * x, solver=solver, stop=Stop(rtol=1e-10, max_steps=400), on_failure=RETURN)


def test_safeguard_makes_every_contraction_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    safe = kinked(2, 10.0)
    assert bool(safe.converged.all())
    assert int(safe.evaluations.max()) < 50
    monkeypatch.setattr(_safeguard, "CLEAR_PROGRESS", 1e300)  # every residual counts as progress: no restart, ever
    bare = kinked(2, 1e300)
    assert not bool(bare.converged.all())


def test_follows_growing_residuals_of_other_norms() -> None:
    """Spectral radius 0.5, l2 norm 1000: the residual grows 1000-fold before it falls, and Picard steps are still taken."""
    W = torch.tensor([[0.5, 1000.0], [0.0, 0.5]], dtype=torch.float64)
    x = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    s = fixed_point(lambda y, x: matvec(W, y) + x, x, 0 * x, solver=Anderson(memory=1))
    torch.testing.assert_close(s.value, torch.tensor([[4000.0, 2.0]], dtype=torch.float64), rtol=1e-5, atol=0.0)


def drive(solver: Anderson, *pairs: tuple[list[float], list[float]]) -> tuple[Tensor, AndersonState]:
    """Feed a solver chosen states and operator values."""
    y = torch.zeros(1, len(pairs[0][0]), dtype=torch.float64)
    state, proposal = solver.init(y), y
    for at, value in pairs:
        y, g = (torch.tensor([v], dtype=torch.float64) for v in (at, value))
        proposal, state = solver.step(state, y, g, torch.ones(1, dtype=torch.bool))
    return proposal, state


@pytest.mark.parametrize(("residual", "restarts"), [(9.9, False), (10.1, True)])
def test_a_residual_ten_times_the_best_starts_again_from_the_best(residual: float, restarts: bool) -> None:
    second = ([2.0, 0.0], [2.0, 0.5]), ([3.0, 0.0], [3.0, residual * 0.5])
    proposal, state = drive(Anderson(memory=3), ([0.0, 0.0], [1.0, 0.0]), *second)
    assert torch.equal(proposal, torch.tensor([[2.0, 0.5]], dtype=torch.float64)) is restarts
    assert bool(state.columns.any()) is not restarts
    assert bool(torch.isinf(state.guard.best)) is restarts  # what comes next is compared with itself
    if restarts:  # and the step after it is not extrapolated from the state before
        g = proposal + 0.25
        following, _ = Anderson(memory=3).step(state, proposal, g, torch.ones(1, dtype=torch.bool))
        assert torch.equal(following, g)


def test_a_restart_forgets_everything() -> None:
    """After it the solver proposes what one would that had never seen the states before."""
    before = ([0.0, 0.0], [1.0, 0.0]), ([2.0, 0.0], [2.0, 0.5]), ([3.0, 0.0], [3.0, 6.0])  # the last one restarts
    after = ([2.0, 0.5], [2.5, 0.75]), ([2.5, 0.75], [2.75, 0.5]), ([2.6, 0.6], [2.7, 0.5])
    solver = Anderson(memory=2)
    for k in range(1, len(after) + 1):
        assert torch.equal(drive(solver, *before, *after[:k])[0], drive(solver, *after[:k])[0])
    assert not torch.equal(drive(solver, *before[:2], *after[:2])[0], drive(solver, *after[:2])[0])


def test_a_proposal_that_overflows_starts_again() -> None:
    """A difference of 1e300 in the state with one of 1e-10 in the residual asks for a step of 1e310."""
    proposal, state = drive(Anderson(), ([0.0, 0.0], [0.0, 1.0]), ([1e300, 0.0], [1e300, 1 - 1e-10]))
    assert proposal.tolist() == [[1e300, 1 - 1e-10]]
    assert not bool(state.columns.any())


def test_coefficients_are_bounded_where_columns_coincide() -> None:
    """`(G + lambda I) c = U^T d` has `|c| <= 1 / (2 sqrt(lambda))`, also when rounding makes the Gram matrix indefinite."""
    g = torch.Generator().manual_seed(4)
    column, direction = (v / v.norm(dim=1, keepdim=True) for v in torch.randn(2, 500, 40, generator=g))
    units = tuple(column + 1e-7 * torch.randn(500, 40, generator=g) for _ in range(5))
    gram = torch.stack([torch.stack([(a * b).sum(dim=1) for a in units], dim=1) for b in units], dim=1).double()
    c = Anderson()._combine(gram, torch.stack([(u * direction).sum(dim=1) for u in units], dim=1))
    floor = 16 * 2.0**-24
    assert float(c.norm(dim=1).max()) <= 1.1 / (2 * floor**0.5)


def test_a_lone_inner_product_is_not_split_over_threads() -> None:
    """Torch sums one long row on several threads and several rows on one each; the bits must not depend on it."""
    a, b = torch.randn(2, 3, 100_001, generator=torch.Generator().manual_seed(6))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        alone = torch.cat([dot(a[i : i + 1], b[i : i + 1]) for i in range(3)])
        together = dot(a, b)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(alone, together)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_memory_holds_no_more_than_it_needs(dtype: torch.dtype) -> None:
    """At most as many columns as dimensions, in float32 where the state is narrower."""
    solver, y = Anderson(memory=5), torch.zeros(2, 3, dtype=dtype)
    state = solver.init(y)
    for k in range(1, 6):
        proposal, state = solver.step(state, y, y + k, torch.ones(2, dtype=torch.bool))
        assert proposal.dtype is dtype
        assert state.columns.shape == (2, 3, 2, 3)
        assert state.columns.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)


def test_one_sample_restarts_without_the_others() -> None:
    """A sample that is thrown far off restarts; its neighbour keeps its memory and its bits."""

    def G(y: Tensor, x: Tensor) -> Tensor:
        far = 50 * torch.sin(y) / (1 + y.abs()) + 3
        return torch.where(x > 0, 0.9 * torch.tanh(y).flip(-1) + x, far)

    x = torch.tensor([[1.0, 2.0, 3.0], [-1.0, -1.0, -1.0]], dtype=torch.float64)
    settings: dict[str, Any] = {"solver": Anderson(memory=2), "stop": Stop(max_steps=40), "on_failure": RETURN}
    both = fixed_point(G, x, 0 * x, **settings, iterates=True)
    alone = fixed_point(G, x[:1], 0 * x[:1], **settings)
    assert torch.equal(both.value[0], alone.value[0])
    assert torch.equal(both.steps[0], alone.steps[0])
    residuals = both.trace.residuals[:, 1]
    assert bool((residuals[1:] > 10 * residuals[:-1]).any())  # the restart really happened


def test_is_worth_its_steps_under_a_certified_stop() -> None:
    p = problem("linear 0.99", torch.float64)
    stop = Stop(rtol=1e-8, of=Quantity.CERTIFIED_ERROR)
    s = fixed_point(p.operator, p.x, p.y0, solver=Anderson(), stop=stop)
    assert bool((p.error(s.value) <= 1e-8 * p.operator.norm(s.value)).all())
    assert int(s.evaluations.max()) < 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory": 0}, "memory: got 0, needed an integer >= 1; pass memory=5, or use Picard()"),
        ({"memory": 2.5}, "memory: got 2.5, needed an integer >= 1; pass memory=5, or use Picard()"),
        ({"mixing": 0.0}, "mixing: got 0.0, needed 0 < mixing <= 1; pass for example mixing=0.5"),
        ({"mixing": 1.5}, "mixing: got 1.5, needed 0 < mixing <= 1; pass for example mixing=0.5"),
        ({"regularization": -1e-3}, "regularization: got -0.001, needed 0 <= regularization < 1; pass 1e-10"),
        ({"growth": 1.0}, "growth: got 1.0, needed a number > 1; pass growth=10.0"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Anderson(**arguments)
    assert str(caught.value) == message
