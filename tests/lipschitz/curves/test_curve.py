"""Curves over iterations: against derivatives taken anew for every t, against closed forms, and against the bounds of T4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Bracket
from eqtheory.constructions import Reciprocal
from eqtheory.errors import BoundOrderError, GradientUnavailableError, InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import Shape, curve
from eqtheory.norms import Euclidean, Sum, Sup
from eqtheory.operators import ImplicitOperator, Regularity, as_operator
from eqtheory.solvers import Anderson, Broyden, Halpern, KrasnoselskiiMann, NewtonKrylov, Picard

Map = Callable[[Tensor, Any], Tensor]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def contraction(n: int, mu: float = 0.9) -> Tensor:
    W = draw(1, n, n)
    return mu * W / torch.linalg.matrix_norm(W, ord=2)


W6 = contraction(6)
KERNEL = draw(7, 2, 2, 3) / 6
MAPS: dict[str, tuple[Map, Any, Tensor]] = {
    "tanh": (lambda y, x: torch.tanh(y @ W6.T + x), draw(2, 4, 6), torch.zeros(4, 6).double()),
    "affine": (lambda y, x: y @ W6.T + x @ W6, draw(3, 3, 6), draw(4, 3, 6)),
    "scalars": (lambda y, x: 0.5 * torch.sin(y) + x * x, draw(5, 5), torch.zeros(5).double()),
    "input of another size": (
        lambda y, x: 0.5 * y + x.sum(dim=1, keepdim=True),
        draw(6, 3, 7),
        torch.zeros(3, 2).double(),
    ),
    "convolution": (
        lambda y, x: torch.relu(torch.nn.functional.conv1d(y, KERNEL, padding=1)) + x,
        draw(8, 2, 2, 4),
        torch.zeros(2, 2, 4).double(),
    ),
    "nested input": (
        lambda y, x: torch.tanh(y * x["A"][:, :, 0] * 0.3 + x["b"]),
        {"A": draw(9, 3, 2, 1), "b": draw(10, 3, 2), "mask": torch.ones(3, dtype=torch.bool), "shared": draw(11, 5)},
        torch.zeros(3, 2).double(),
    ),
}
EACH = pytest.mark.parametrize("name", MAPS)


def jacobian_after(
    function: Map, x: Any, y0: Tensor, t: int, weights: Callable[[int], tuple[float, float, float]]
) -> Tensor:
    """`Dy_t` of every sample by reverse differentiation of the whole run: what a curve replaces. Tensors only."""

    def run(x: Tensor, y0: Tensor) -> Tensor:
        y = y0
        for k in range(t):
            a, b, c = weights(k)
            y = a * y + b * y0 + c * function(y, x)
        return y

    rows = []
    for i in range(len(y0)):
        J = torch.autograd.functional.jacobian(lambda z, i=i: run(z, y0[i : i + 1]), x[i : i + 1])
        rows.append(J.reshape(y0[0].numel(), -1))
    return torch.stack(rows)


def picard(_: int) -> tuple[float, float, float]:
    return 0.0, 0.0, 1.0


@pytest.mark.parametrize("name", [n for n in MAPS if n != "nested input"])
@pytest.mark.parametrize("iteration", [None, KrasnoselskiiMann(0.3), Halpern(restart=None)])
def test_all_steps_at_once_agree_with_every_step_taken_anew(name: str, iteration: Any) -> None:
    function, x, y0 = MAPS[name]
    found = curve(function, x, 12, y0=y0, iteration=iteration, block=10**6)
    assert found.exact
    weights = picard if iteration is None else iteration.averaging
    for t in (0, 1, 2, 5, 12):
        truth = torch.linalg.matrix_norm(jacobian_after(function, x, y0, t, weights), ord=2)
        assert torch.allclose(found.lower[t], truth, rtol=1e-9, atol=1e-12)


@EACH
def test_ways_of_propagating_tangents_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from eqtheory.lipschitz.curves import _tangents

    function, x, y0 = MAPS[name]
    tiled = curve(function, x, 6, y0=y0, block=2)
    monkeypatch.setattr(_tangents, "_WIDE", 1)
    monkeypatch.setattr(_tangents, "_HEAVY", 1)
    mapped = curve(function, x, 6, y0=y0, block=2)
    monkeypatch.setattr(_tangents.Propagator, "_tiled", _tangents.Propagator._reverse)
    monkeypatch.setattr(_tangents.Propagator, "_mapped", _tangents.Propagator._reverse)
    backward = curve(function, x, 6, y0=y0, block=2)
    assert torch.allclose(tiled.lower, mapped.lower, rtol=1e-12)
    assert torch.allclose(tiled.lower, backward.lower, rtol=1e-12)


def test_the_way_is_changed_where_an_operation_has_no_forward_rule() -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, y: Tensor) -> Tensor:
            ctx.save_for_backward(y)
            return y**3

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return 3 * ctx.saved_tensors[0] ** 2 * g

    x = draw(12, 3, 2) * 0.3
    own = curve(lambda y, x: 0.1 * Cube.apply(y) + x, x, 5, y0=torch.zeros_like(x))
    plain = curve(lambda y, x: 0.1 * y**3 + x, x, 5, y0=torch.zeros_like(x))
    assert torch.allclose(own.lower, plain.lower, rtol=1e-12)


def test_an_error_of_the_operator_itself_is_shown_as_it_is() -> None:
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied"):
        curve(lambda y, x: y @ torch.ones(3, 3).double() + x, draw(1, 2, 2), 3, y0=torch.zeros(2, 2).double())


def test_an_operator_without_any_derivative_is_refused() -> None:
    class Opaque(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, y: Tensor) -> Tensor:
            return y / 2

    with pytest.raises(GradientUnavailableError, match=r"no derivative in the input that could be propagated"):
        curve(lambda y, x: Opaque.apply(y + x), draw(1, 2, 2), 3, y0=torch.zeros(2, 2).double())


# The upper side.


def test_the_reciprocal_attains_its_bound_at_every_step_and_sample() -> None:
    """T7 from zero: the recursion attains `|y_t'(x)|`, since `L0 = 0`, `L1 = eta` and `mu = 1 - eta x` are sharp at every x."""
    x = torch.logspace(-3, 0, 7, dtype=torch.float64)
    found = curve(Reciprocal(0.5), x, 200)
    assert found.upper is not None
    assert torch.allclose(found.lower, found.upper, rtol=1e-11)
    closed = torch.stack(
        [((1 - 0.5 * x) ** t * (1 + t * 0.5 * x / (1 - 0.5 * x)) - 1).abs() / x**2 for t in range(201)]
    )
    assert torch.allclose(found.lower, closed, rtol=1e-7)


class Claimed(ImplicitOperator):
    """`mu y + L0 x` with constants as declared; equality in T4 for every t where they are honest."""

    def __init__(self, mu: float, L0: float, claimed_mu: float, claimed_L0: float) -> None:
        self.numbers = mu, L0
        self.regularity = Regularity.declared(mu=claimed_mu, L0=claimed_L0, L1=0.0)

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        return self.numbers[0] * y + self.numbers[1] * x

    def initial_state(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("iteration", [Picard(), KrasnoselskiiMann(0.4), Halpern(restart=None)])
def test_sharp_operators_attain_the_bound_of_averages(iteration: Any) -> None:
    found = curve(Claimed(0.8, 3.0, 0.8, 3.0), draw(1, 3, 2), 60, iteration=iteration)
    assert found.upper is not None
    assert torch.allclose(found.lower, found.upper, rtol=1e-11)
    assert bool((found.upper >= found.lower).all())
    bracket = found.at(60)
    assert isinstance(bracket, Bracket)
    assert "declared" in bracket.upper.evidence.value


@pytest.mark.parametrize(("mu", "L0"), [(0.7, 3.0), (0.8, 2.9)])
def test_constants_that_are_too_small_are_an_error_that_says_where(mu: float, L0: float) -> None:
    with pytest.raises(
        BoundOrderError, match=r"after \d+ steps of Picard\(\) sample 0 has slope .* but the operator's constants allow"
    ):
        curve(Claimed(0.8, 3.0, mu, L0), draw(1, 2, 2), 20)


def test_adaptive_iterations_have_no_upper_side_and_outrun_it() -> None:
    """N8: after two evaluations Anderson's iterates have slope `L0 / (1 - mu)`, while Picard's have at most 2 L0."""
    G = Claimed(0.999, 1.0, 0.999, 1.0)
    x = torch.ones(1, 1).double()
    found = curve(G, x, 2, iteration=Anderson(1, regularization=0.0))
    assert found.upper is None
    assert "N8" in found.assumptions[0]
    assert float(found.lower[2]) == pytest.approx(1000, rel=1e-3)
    plain = curve(G, x, 2)
    assert plain.upper is not None
    assert float(plain.upper[2]) <= 2.0


@pytest.mark.parametrize("iteration", [Anderson(3), Broyden(5), NewtonKrylov(), Halpern()])
def test_adaptive_iterations_end_at_the_slope_of_the_fixed_point(iteration: Any) -> None:
    x = draw(3, 4, 3)
    W = contraction(3, 0.8)
    found = curve(lambda y, x: y @ W.T + x, x, 60, y0=torch.zeros_like(x), iteration=iteration, block=3)
    truth = torch.linalg.matrix_norm(torch.linalg.inv(torch.eye(3).double() - W), ord=2)
    assert bool((found.lower[-1] <= truth * (1 + 1e-4)).all())
    assert bool((found.lower[-1] >= 0.5 * truth).all())  # the best of three columns


def test_constants_in_other_norms_give_no_upper_side() -> None:
    G = as_operator(lambda y, x: 0.5 * y + x)
    x = draw(1, 2, 2)
    assert "declares no constants" in curve(G, x, 3, y0=torch.zeros_like(x)).assumptions[0]
    H = Claimed(0.5, 1.0, 0.5, 1.0)
    mixed = curve(H, x, 3, input_norm=Sup())
    assert "refer to l2, not sup" in mixed.assumptions[0]
    assert not mixed.exact  # no operator norm from sup to l2 is computed; columns are below it
    assert mixed.lower[1].tolist() == pytest.approx([1.0, 1.0])


# Blocks.


def test_narrow_blocks_are_below_and_rounds_bring_them_up() -> None:
    W = contraction(40, 0.95)
    x = 0.1 * draw(2, 3, 40)
    y0 = torch.zeros_like(x)

    def G(y: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(y @ W.T + x)

    whole = curve(G, x, 30, y0=y0, block=40)
    seen = [curve(G, x, 30, y0=y0, block=3, rounds=rounds).lower[-1] / whole.lower[-1] for rounds in (0, 1, 4)]
    assert bool((seen[0] <= 1 + 1e-12).all() and (seen[2] <= 1 + 1e-12).all())
    assert float(seen[0].max()) < 0.8 < float(seen[1].min())
    assert float(seen[2].min()) > 0.98


def test_other_norms_are_those_of_the_whole_jacobian_where_it_is_spanned() -> None:
    class InNorm(ImplicitOperator):
        def __init__(self, norm: Any) -> None:
            self.regularity = Regularity.declared(mu=0.99, L0=50.0, L1=0.0, state_norm=norm, input_metric=norm)

        def __call__(self, y: Tensor, x: Tensor) -> Tensor:
            return 0.3 * torch.tanh(y @ W6.T) + x

        def initial_state(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

    x = draw(2, 3, 6)
    for norm, order in ((Sup(), torch.inf), (Sum(), 1)):
        G = InNorm(norm)
        found = curve(G, x, 7)
        J = jacobian_after(G, x, torch.zeros_like(x), 7, picard)
        assert torch.allclose(found.lower[7], torch.linalg.matrix_norm(J, ord=order), rtol=1e-9)
        assert found.upper is not None
        part = curve(G, x, 7, block=2)
        assert bool((part.lower <= found.lower + 1e-12).all())


def test_given_tangents_are_used() -> None:
    x = draw(2, 3, 2)
    A = torch.tensor([[3.0, 0.0], [0.0, 0.5]], dtype=torch.float64)
    along = curve(lambda y, x: x @ A, x, 1, y0=torch.zeros_like(x), block=torch.tensor([[0.0, 2.0]]))
    assert along.lower[1].tolist() == pytest.approx([0.5] * 3)


def test_a_start_made_from_the_input_counts() -> None:
    class FromInput(Claimed):
        def initial_state(self, x: Tensor) -> Tensor:
            return 5 * x

    x = draw(2, 3, 2)
    found = curve(FromInput(0.5, 1.0, 0.5, 1.0), x, 2)
    assert found.lower[:, 0].tolist() == pytest.approx([5.0, 3.5, 2.75])
    assert found.upper is None
    assert "start depends on the input" in found.assumptions[0]
    adaptive = curve(FromInput(0.5, 1.0, 0.5, 1.0), x, 2, iteration=Anderson(1))
    assert float(adaptive.lower[0, 0]) == pytest.approx(5.0, rel=1e-6)


# What is noticed.


@dataclass(frozen=True)
class Case:
    G: Map
    x: Tensor
    y0: Tensor
    sees: set[Shape]
    starts: tuple[Tensor, ...] = ()
    target: Tensor | None = None
    steps: int = 80


QUARTER = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
ONE = torch.ones(2, 2).double()
CASES = {
    "levels off": Case(lambda y, x: 0.5 * y + x, ONE, 0 * ONE, {Shape.PLATEAU}),
    "still growing": Case(lambda y, x: y + x, ONE, 0 * ONE, set()),
    "rotation": Case(lambda y, x: y @ QUARTER.T + x, ONE, 0 * ONE, {Shape.CYCLE}),
    "two cycle": Case(lambda y, x: -y + x, ONE, 0 * ONE, {Shape.CYCLE}),
    "two wells": Case(lambda y, x: torch.tanh(3 * y + 0 * x), ONE, ONE, {Shape.PATH_DEPENDENCE}, (-ONE,)),
    "one well": Case(lambda y, x: torch.tanh(0.5 * y + 0 * x), ONE, ONE, set(), (-ONE,)),
    "slow but one well": Case(lambda y, x: 0.995 * y + x, ONE, 0 * ONE, set(), (100 * ONE,)),
    "diverges": Case(lambda y, x: y * y + x, ONE, ONE, {Shape.DIVERGENCE}),
    "overthinks": Case(lambda y, x: 0.9 * y + x, ONE, 0 * ONE, {Shape.PLATEAU, Shape.U_SHAPE}, (), 5 * ONE, 200),
    "thinks": Case(lambda y, x: 0.9 * y + x, ONE, 0 * ONE, {Shape.PLATEAU}, (), 10 * ONE, 200),
}


@pytest.mark.parametrize("name", CASES)
def test_shapes_are_noticed_and_nothing_else_is(name: str) -> None:
    case = CASES[name]
    found = curve(case.G, case.x, case.steps, y0=case.y0, other_starts=case.starts, target=case.target)
    assert {finding.shape for finding in found.findings} == case.sees
    assert bool(torch.isfinite(found.lower).all())
    for finding in found.findings:
        assert str(finding).startswith(finding.shape.value)
    if name == "rotation":
        assert found.findings[0].measure.tolist() == [4, 4]
    if name == "two cycle":
        assert found.findings[0].measure.tolist() == [2, 2]
    if name == "overthinks":
        turn = next(f for f in found.findings if f.shape is Shape.U_SHAPE)
        assert turn.measure.tolist() == [7, 7]  # 10 (1 - .9^t) is nearest to 5 at t = 7


def test_a_sample_that_diverges_stays_behind_and_changes_no_other() -> None:
    x = torch.tensor([[0.1], [2.0]]).double()
    y0 = torch.zeros(2, 1).double()
    both = curve(lambda y, x: y * y + x, x, 40, y0=y0)
    alone = curve(lambda y, x: y * y + x, x[:1], 40, y0=y0[:1])
    assert torch.equal(both.lower[:, :1], alone.lower)
    assert both.residual[-1, 1] == torch.inf
    assert both.to_dict()["residual"][-1][1] is None


# What comes out.


def test_steps_costs_and_lookups() -> None:
    x = draw(1, 2, 2)
    found = curve(lambda y, x: 0.5 * y + x, x, [0, 3, 10], y0=torch.zeros_like(x), target=2 * x)
    assert found.steps.tolist() == [0, 3, 10]
    assert found.evaluations.tolist() == [3, 12, 33]
    assert found.error is not None
    assert torch.allclose(found.error[2], Euclidean()(x) * 2 * 0.5**10)
    with pytest.raises(InputError, match=r"t: got 4, needed one of the 3 steps looked at"):
        found.at(4)
    data = found.to_dict()
    assert len(data["lower"]) == 3
    assert data["iteration"] == "Picard()"
    assert "Picard(): slopes" in str(found)
    figure = found.plot()
    assert len(figure.axes) == 2


def test_refusals() -> None:
    x, y0 = draw(1, 2, 2), torch.zeros(2, 2).double()

    def G(y: Tensor, x: Tensor) -> Tensor:
        return 0.5 * y + x

    with pytest.raises(InputError, match=r"steps: got \[3, 2\], needed an integer >= 1 or increasing integers"):
        curve(G, x, [3, 2], y0=y0)
    with pytest.raises(ShapeError, match=r"target: got shape \(2, 3\), needed that of the states, \(2, 2\)"):
        curve(G, x, 3, y0=y0, target=torch.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"block: got shape \(1, 3\), needed \(K, 2\)"):
        curve(G, x, 3, y0=y0, block=torch.ones(1, 3))
    with pytest.raises(InputError, match=r"block: got tangents that depend on each other"):
        curve(G, x, 3, y0=y0, block=torch.ones(2, 2))
    with pytest.raises(InputError, match=r"rounds: got 1, needed 0 where the iteration adapts"):
        curve(G, x, 3, y0=y0, rounds=1, iteration=Anderson(1))
    with pytest.raises(InputError, match=r"x: got no floating-point tensor with the batch axis of y0"):
        curve(G, torch.ones(3, 2).double(), 3, y0=y0)
    with pytest.raises(NonFiniteError, match=r"x: got a NaN"):
        curve(G, x * torch.nan, 3, y0=y0)


def test_inference_mode_does_not_lose_tangents() -> None:
    x = draw(1, 3, 2)
    with torch.inference_mode():
        inside = curve(lambda y, x: 0.5 * y + x, x + 0, 4, y0=torch.zeros_like(x), target=2 * x)
    assert torch.allclose(inside.lower, curve(lambda y, x: 0.5 * y + x, x, 4, y0=torch.zeros_like(x)).lower)
    with torch.no_grad():
        assert torch.allclose(curve(lambda y, x: 0.5 * y + x, x, 4, y0=torch.zeros_like(x)).lower, inside.lower)


@pytest.mark.parametrize("block", [2, None])
def test_squares_of_half_precision_do_not_overflow(block: int | None) -> None:
    x = torch.ones(2, 3, dtype=torch.float16)
    found = curve(lambda y, x: 0.5 * y + 300 * x, x, 5, y0=torch.zeros_like(x), block=block)
    assert torch.allclose(found.lower[1:, 0].double(), 600 * (1 - 0.5 ** torch.arange(1.0, 6.0).double()), rtol=0.01)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounds_in_half_precision_find_orthonormal_tangents(dtype: torch.dtype) -> None:
    x = torch.ones(2, 12, dtype=dtype)
    found = curve(lambda y, x: 0.5 * y + x, x, 5, y0=torch.zeros_like(x), rounds=1)
    truth = torch.full((2,), 1.9375).double()
    assert torch.allclose(found.lower[-1].double(), truth, rtol=0.03)
    assert bool((found.lower[-1].double() <= truth * (1 + 4 * torch.finfo(dtype).eps)).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_types_are_propagated(dtype: torch.dtype) -> None:
    x = torch.ones(3, 2, dtype=dtype)
    found = curve(lambda y, x: 0.5 * y + x, x, 4, y0=torch.zeros_like(x))
    assert torch.allclose(found.lower[-1].double(), torch.full((3,), 1.875).double(), rtol=0.02)
