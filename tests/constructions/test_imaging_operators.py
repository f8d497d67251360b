"""Sets, proximal steps and the two operators that restore images: their constants, gradients, errors and use in the library."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.constructions import (
    Ball,
    Box,
    CircularBlur,
    ConstraintSet,
    DenseMap,
    HalfQuadraticSplitting,
    LinearMap,
    ProximalGradient,
    ProximalStep,
    Sphere,
    Subspace,
    hqs,
    pgd,
)
from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from eqtheory.gradients import fixed_point
from eqtheory.lipschitz import curve
from eqtheory.norms import Euclidean
from eqtheory.solvers import Stop
from eqtheory.theorems.imaging import proximal_step

norm = Euclidean()
TIGHT = Stop(rtol=1e-13, atol=1e-13, max_steps=5000)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def double(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def square_map(n: int = 3) -> DenseMap:
    return DenseMap(torch.eye(n, dtype=torch.float64) + 0.2 * double(n, n, seed=3))


SETS: list[ConstraintSet] = [
    Subspace(double(4, 2, seed=1)), Ball(0.7), Ball(0.5, double(4, seed=2)), Box(-0.3, 0.6),
    Box(torch.tensor([-1.0, 0.0, 0.2, 0.0]), torch.tensor([0.0, 0.0, 0.3, 2.0])), Sphere(0.8),
]  # fmt: skip


# Sets.


@pytest.mark.parametrize("M", SETS, ids=lambda m: type(m).__name__)
def test_projections_are_nearest_points_and_idempotent(M: ConstraintSet) -> None:
    z = 2 * double(200, 4, seed=5)
    p = M.project(z)
    assert torch.allclose(M.project(p), p, atol=1e-15)
    others = M.project(3 * double(300, 4, seed=6))
    distance = (z.unsqueeze(1) - others).square().sum(2).amin(1)
    assert bool((norm(z - p) ** 2 <= distance + 1e-14).all())
    assert torch.equal(M.project(z[:7]), p[:7])
    if M.convex:
        w = M.project(z.roll(1, 0))
        assert bool((norm(p - w) <= norm(z - z.roll(1, 0)) * (1 + 1e-14)).all())


def test_points_of_a_set_stay_bit_for_bit_and_others_reach_it() -> None:
    inside = torch.tensor([[0.1, -0.2, 0.0, 0.3], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    far = torch.tensor([[3.0, 0.0, -4.0, 0.0]], dtype=torch.float64)
    assert torch.equal(Ball(0.7).project(inside), inside)
    assert torch.equal(Box(-0.3, 0.6).project(inside), inside)
    assert torch.allclose(Ball(0.7).project(far), 0.14 * far, atol=1e-15)
    assert Box(-0.3, 0.6).project(far).tolist() == [[0.6, 0.0, -0.3, 0.0]]
    assert torch.allclose(
        norm(Sphere(0.8).project(torch.cat((inside, far)))), torch.full((3,), 0.8).double(), atol=1e-15
    )


@pytest.mark.parametrize("M", SETS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("c", [1e-3, 1.0, 50.0])
def test_proximal_steps_minimise(M: ConstraintSet, c: float) -> None:
    z, y = 2 * double(200, 4, seed=7), 2 * double(200, 4, seed=8)
    best = M.prox(z, c)
    for other, attained in ((y, False), (best, True), (best + 1e-3 * y, False)):
        margin = proximal_step.margin(
            c=c,
            distance_squared=norm(z - M.project(z)) ** 2,
            moved_squared=norm(other - z) ** 2,
            left_squared=norm(other - M.project(other)) ** 2,
        )
        assert bool((margin >= -1e-13 * (1 + c)).all())
        assert not attained or bool((margin.abs() <= 1e-13 * (1 + c)).all())


@pytest.mark.parametrize("M", [Ball(0.7), Box(-0.3, 0.6), Sphere(0.8), Subspace(torch.eye(48)[:, :5])])
def test_sets_take_images_and_single_precision(M: ConstraintSet) -> None:
    z = torch.randn(2, 3, 4, 4, generator=seeded(1))
    assert (M.project(z).shape, M.project(z).dtype) == (z.shape, torch.float32)


def test_projections_have_gradients_at_the_origin_and_on_both_sides() -> None:
    z = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    for M in (Ball(1.0), Sphere(1.0), Box(-1.0, 1.0)):
        (g,) = torch.autograd.grad(M.project(z).sum(), z)
        assert bool(torch.isfinite(g).all())
    at = (2 * double(5, 4, seed=9)).requires_grad_()
    for M in SETS:
        assert torch.autograd.gradcheck(M.project, (at,), check_forward_ad=True)


def test_the_sphere_chooses_one_nearest_point_of_the_origin() -> None:
    assert Sphere(2.0).project(torch.zeros(2, 3)).tolist() == [[2.0, 0.0, 0.0]] * 2
    assert not Sphere(2.0).convex


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: Ball(0.0), InputError, "radius: got 0.0, needed a finite number > 0"),
        (lambda: Sphere(math.inf), InputError, "radius: got inf, needed a finite number > 0"),
        (lambda: Ball(1.0, torch.tensor([math.nan])), NonFiniteError, "center: got a NaN or an infinity"),
        (lambda: Box(1.0, 0.0), DomainError, "lower, upper: got bounds that cross, needed lower <= upper everywhere"),
        (lambda: Box(-math.inf, 0.0), NonFiniteError, "lower: got a NaN or an infinity"),
        (lambda: Subspace(torch.ones(3)), ShapeError, "basis: got shape (3,), needed (n, k) with 1 <= k <= n"),
        (lambda: Subspace(torch.ones(3, 2)), DomainError, "basis: got dependent columns, needed linearly independent"),
        (lambda: Subspace(torch.ones(3, 1, dtype=torch.int64)), InputError, "basis: got Tensor, needed a floating"),
        (lambda: Subspace(torch.eye(3)).project(torch.ones(1, 4)), ShapeError, "z: got shape (1, 4), needed 3 entries"),
        (lambda: Ball(1.0, torch.ones(3)).project(torch.ones(1, 4)), ShapeError, "set: got a bound or centre of shape"),
        (lambda: ProximalStep(Ball(1.0), 0.0), InputError, "c: got 0.0, needed a finite number > 0"),
        (lambda: ProximalStep("ball", 1.0), InputError, "constraint: got str, needed a ConstraintSet"),  # type: ignore[arg-type]
    ],
)
def test_unusable_sets_are_refused(build: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert str(caught.value).startswith(message)


# Constants.


def regular(G: ProximalGradient | HalfQuadraticSplitting) -> tuple[float, float, float, set[Evidence]]:
    r = G.regularity
    assert r is not None
    assert isinstance(r.mu, Bound)
    return r.mu.value, r.L0.value, r.L1.value, {r.mu.evidence, r.L0.evidence}


def test_constants_are_those_of_the_theorem() -> None:
    A = DenseMap(torch.diag(torch.tensor([2.0, 0.5], dtype=torch.float64)))
    for gamma, mu in ((0.25, 1 - 0.25 * 0.25), (0.49, 0.96)):
        found = regular(pgd(A, Ball(1.0), 0.3, gamma))
        assert found == (pytest.approx(mu, rel=1e-10), pytest.approx(2 * gamma, rel=1e-10), 0.0, {Evidence.PROVED})
    for beta, slope in ((1.0, 0.5), (9.0, 2 / 13), (0.0625, 0.5 / 0.3125)):
        found = regular(hqs(A, Box(0.0, 1.0), beta / 2, beta))
        mu = beta / (0.25 + beta)
        assert found == (pytest.approx(mu, rel=1e-10), pytest.approx(slope, rel=1e-10), 0.0, {Evidence.PROVED})


def test_constants_are_attached_only_where_something_is_known() -> None:
    A, wide = square_map(), DenseMap(torch.ones(1, 2))
    shrink = Bound(0.5, Side.UPPER, "the denoiser is 1/2-Lipschitz", Evidence.DECLARED)
    assert pgd(A, Sphere(1.0), 1.0, 0.1).regularity is None
    assert hqs(wide, Ball(1.0), 1.0, 2.0).regularity is None
    assert ProximalGradient(A, nn.Linear(3, 3).double(), 0.1).regularity is None
    assert ProximalGradient(A, ProximalStep(Ball(1.0), 1.0), 100.0).regularity is None  # beyond 2/|A|^2
    declared = HalfQuadraticSplitting(wide, lambda z: z / 2, 2.0, lipschitz=shrink)
    mu, _, _, evidence = regular(declared)
    assert (mu, evidence) == (pytest.approx(0.5, rel=1e-10), {Evidence.DECLARED})
    guess = replace(shrink, side=Side.ESTIMATE, evidence=Evidence.ESTIMATED)
    r = HalfQuadraticSplitting(wide, lambda z: z / 2, 2.0, lipschitz=guess).regularity
    assert r is not None
    assert r.mu.side is Side.ESTIMATE


class HalfSpace(ConstraintSet):
    """A set of the user, who says that it is convex."""

    convex = True

    def project(self, z: Tensor) -> Tensor:
        return torch.cat((z[:, :1].clamp_min(0), z[:, 1:]), dim=1)


def test_convexity_of_a_set_of_the_user_is_a_declaration() -> None:
    assert regular(pgd(square_map(), HalfSpace(), 1.0, 0.5))[3] == {Evidence.DECLARED}


def test_constants_follow_a_step_that_is_trained() -> None:
    A = square_map()
    gamma = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))
    G = ProximalGradient(A, ProximalStep(Ball(1.0), 1.0), gamma)
    before = regular(G)[1]
    with torch.no_grad():
        gamma.mul_(2)
    assert regular(G)[1] == pytest.approx(2 * before)
    with torch.no_grad():
        gamma.mul_(1e3)
    assert G.regularity is None


# Fixed points.


def test_both_operators_find_the_image_of_the_closed_form() -> None:
    A, basis, alpha = square_map(4), double(4, 2, seed=11), 0.7
    P = basis @ torch.linalg.pinv(basis)
    x = double(5, 4, seed=12)
    M = A.matrix
    wanted = torch.linalg.solve(M.mT @ M + alpha * (torch.eye(4).double() - P), M.mT @ x.mT).mT
    G = pgd(A, Subspace(basis), alpha, 1 / float(A.norm.value) ** 2)
    H = hqs(A, Subspace(basis), alpha, 1.5)
    y = fixed_point(G, x, stop=TIGHT)
    z = fixed_point(H, x, stop=TIGHT)
    assert torch.allclose(y.value, wanted, atol=1e-11)
    assert torch.allclose(H.decode(z.value, x), wanted, atol=1e-11)
    assert y.error_bound is not None
    assert bool((norm(y.value - wanted) <= y.error_bound.value + 1e-13).all())


@pytest.mark.parametrize("M", [Sphere(0.5), Ball(0.5)], ids=["sphere", "ball"])
def test_derivatives_of_restored_images_follow_the_formula(M: ConstraintSet) -> None:
    A, alpha, s = square_map(), 0.4, 0.5
    x = double(1, 3, seed=14) + 3  # far outside, where both sets have the same branch
    G = pgd(A, M, alpha, 1 / float(A.norm.value) ** 2)

    def restored(at: Tensor) -> Tensor:
        return fixed_point(G, at, stop=TIGHT).value

    y = restored(x)[0]
    size = torch.linalg.vector_norm(y)
    H = A.matrix.mT @ A.matrix + alpha * ((1 - s / size) * torch.eye(3) + s * torch.outer(y, y) / size**3)
    found = torch.autograd.functional.jacobian(restored, x)[0, :, 0]
    # Adjoints are solved to a relative residual of 1e-6 by default.
    assert torch.allclose(found, torch.linalg.solve(H, A.matrix.mT), atol=1e-5)


# Learned priors.


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * double(1, 1, 3, 3, seed=15))
        self.share = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        return self.share * z + 0.1 * torch.tanh(nn.functional.conv2d(z, self.weight, padding=1))


def learned(kind: type[ProximalGradient | HalfQuadraticSplitting], step: Any) -> Any:
    kernel = torch.tensor([[0.0, 0.2], [0.1, 0.7]], dtype=torch.float64)
    return kind(CircularBlur(kernel, (4, 5)), Denoiser(), step)


@pytest.mark.parametrize("kind", [ProximalGradient, HalfQuadraticSplitting])
def test_gradients_reach_steps_parameters_and_observations(kind: Any) -> None:
    step = nn.Parameter(torch.tensor(0.8, dtype=torch.float64))
    G, x = learned(kind, step), double(2, 1, 4, 5, seed=16).requires_grad_()

    def loss() -> Tensor:
        return (fixed_point(G, x, stop=TIGHT).value * torch.linspace(-1, 1, 20).reshape(4, 5)).sum()

    parameters = [step, G.prior_step.weight, G.prior_step.share, x]
    found = torch.autograd.grad(loss(), parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, found, strict=True):
            direction = torch.randn(parameter.shape, generator=seeded(17), dtype=torch.float64)
            ends = []
            for h in (1e-5, -1e-5):
                parameter.add_(h * direction)
                ends.append(float(loss()))
                parameter.sub_(h * direction)
            slope = (ends[0] - ends[1]) / 2e-5
            # Central differences: h^2 and rounding over h, both near 1e-9 here; adjoints to a relative residual of 1e-6.
            assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kind", [ProximalGradient, HalfQuadraticSplitting])
def test_one_step_is_differentiable_in_everything(kind: Any) -> None:
    step = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    y, x = (double(2, 1, 4, 5, seed=k).requires_grad_() for k in (18, 19))

    def once(y: Tensor, x: Tensor, step: Tensor) -> Tensor:
        return learned(kind, step)(y, x)

    assert torch.autograd.gradcheck(once, (y, x, step))
    assert torch.autograd.gradgradcheck(once, (y, x, step))


@pytest.mark.parametrize("kind", [ProximalGradient, HalfQuadraticSplitting])
def test_curves_of_learned_operators(kind: Any) -> None:
    G, x = learned(kind, 0.8), double(1, 1, 4, 5, seed=20)
    found = curve(G, x, 6)
    assert "t = 6" in str(found)
    G = pgd(G.linear_map, Ball(1.0), 0.5, 1.0) if kind is ProximalGradient else hqs(G.linear_map, Ball(1.0), 0.5, 1.0)
    assert "<=" in str(curve(G, x, 6))  # with an upper side where constants are proved


def test_states_start_from_zero_and_samples_do_not_see_each_other() -> None:
    blur = CircularBlur(torch.tensor([[0.2, 0.8]]), (4, 6))
    x = torch.randn(3, 2, 4, 6, generator=seeded(21))
    for G in (pgd(blur, Box(0.0, 1.0), 0.5, 1.0), hqs(blur, Box(0.0, 1.0), 0.5, 1.0)):
        y = G.initial_state(x)
        assert torch.equal(y, torch.zeros_like(x))
        y = G(G(y, x), x)
        assert torch.equal(y[1:2], G(G(torch.zeros_like(x[1:2]), x[1:2]), x[1:2]))


# Errors.


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda A: ProximalGradient(A, nn.Identity(), 0.0), InputError, "gamma: got 0.0, needed a finite number > 0"),
        (
            lambda A: ProximalGradient(A, nn.Identity(), torch.ones(2)),
            ShapeError,
            "gamma: got shape (2,), needed a number",
        ),
        (lambda A: ProximalGradient(A, nn.Identity(), "1"), InputError, "gamma: got '1', needed a number or a tensor"),
        (lambda A: ProximalGradient(A, 1.0, 1.0), InputError, "prior_step: got float, needed a callable of the state"),
        (
            lambda _: ProximalGradient(nn.Identity(), nn.Identity(), 1.0),
            InputError,
            "linear_map: got Identity, needed a",
        ),
        (
            lambda A: HalfQuadraticSplitting(A, nn.Identity(), -1.0),
            InputError,
            "beta: got -1.0, needed a finite number",
        ),
        (
            lambda A: ProximalGradient(
                A, nn.Identity(), 1.0, lipschitz=Bound(1.0, Side.LOWER, "pairs", Evidence.PROVED)
            ),
            InputError,
            "lipschitz: got lower bound, needed an upper bound or an estimate; a lower bound cannot certify an error",
        ),
        (
            lambda A: ProximalGradient(A, nn.Identity(), 1.0, lipschitz=1.0),
            InputError,
            "lipschitz: got 1.0, needed a Bound",
        ),
        (lambda A: pgd(A, Ball(1.0), -1.0, 0.1), InputError, "alpha: got -1.0, needed a finite number > 0"),
        (
            lambda A: hqs(A, Ball(1.0), 2.0, 1.0),
            InputError,
            "beta: got 1.0, needed beta > alpha = 2.0; pass for example",
        ),
    ],
)
def test_unusable_parts_are_refused(build: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        build(square_map())
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("build", [lambda A: pgd(A, Ball(1.0), 0.1, 0.1), lambda A: hqs(A, Ball(1.0), 0.1, 0.2)])
def test_unusable_observations_and_states_are_refused(build: Any) -> None:
    G = build(square_map())
    with pytest.raises(NonFiniteError, match=r"x: got nan at index \(0, 1\)"):
        G.initial_state(torch.tensor([[0.0, math.nan, 0.0]]))
    with pytest.raises(ShapeError, match=r"x: got shape \(2, 4\), needed \(batch, 3\)"):
        G(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ShapeError, match=r"A\^T x: got \(1, 3\) and \(2, 3\), needed equal shapes"):
        G(torch.zeros(1, 3), torch.zeros(2, 3))


def test_a_prior_step_that_changes_the_shape_is_refused() -> None:
    G = ProximalGradient(square_map(), lambda z: z[:, :2], 0.1)
    with pytest.raises(ShapeError, match=r"prior_step\(z\), z: got \(1, 2\) and \(1, 3\), needed equal shapes"):
        G(torch.zeros(1, 3), torch.zeros(1, 3))


def test_a_prior_step_that_changes_the_type_is_refused() -> None:
    G = HalfQuadraticSplitting(square_map(), lambda z: z.bfloat16(), 0.1)
    with pytest.raises(
        InputError, match=r"prior_step\(z\): got dtype torch.bfloat16, needed a tensor of the state's dtype"
    ):
        G(torch.zeros(1, 3), torch.zeros(1, 3))


def test_linear_maps_of_the_user_work_too() -> None:
    class Half(LinearMap):
        norm = Bound(0.5, Side.EXACT, "by hand", Evidence.DECLARED)  # type: ignore[assignment]
        smallest = Bound(0.5, Side.EXACT, "by hand", Evidence.DECLARED)  # type: ignore[assignment]

        def __call__(self, y: Tensor) -> Tensor:
            return y / 2

        def adjoint(self, x: Tensor) -> Tensor:
            return x / 2

        def solve(self, v: Tensor, beta: Any) -> Tensor:
            return v / (0.25 + beta)

    G = pgd(Half(), Box(0.0, 1.0), 1.0, 1.0)
    assert regular(G) == (pytest.approx(0.75), pytest.approx(0.5), 0.0, {Evidence.DECLARED})
    assert fixed_point(G, torch.tensor([[0.25]]), stop=Stop(rtol=1e-6)).value.item() == pytest.approx(0.5, rel=1e-5)
