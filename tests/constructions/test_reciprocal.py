"""The motivating examples: simple operators whose constants are attained and whose fixed points are reciprocals and inverses."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Evidence, Side
from eqtheory.constructions import MatrixInverse, Reciprocal, TwoSidedReciprocal
from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from eqtheory.norms import Euclidean, Spectral, Sup
from eqtheory.operators import ImplicitOperator, Regularity
from eqtheory.roundoff import gamma

ETAS = [1e-3, 0.3, 0.5, 0.999]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def regularity_of(G: ImplicitOperator) -> Regularity:
    assert G.regularity is not None
    return G.regularity


def unit_interval(n: int, seed: int) -> Tensor:
    return 10.0 ** (-6 * torch.rand(n, generator=seeded(seed), dtype=torch.float64))


def states(n: int, seed: int) -> Tensor:
    size = 10.0 ** (8 * torch.rand(n, generator=seeded(seed), dtype=torch.float64) - 2)
    return size * torch.randn(n, generator=seeded(seed + 1), dtype=torch.float64)


def errors_of(G: ImplicitOperator, y: Tensor, x: Tensor) -> Tensor:
    rounding = regularity_of(G).rounding
    assert rounding is not None
    return rounding.error(G.norm(y), x)


# 1/x.


@pytest.mark.parametrize("eta", ETAS)
def test_the_one_sided_example_attains_both_conditions_at_every_argument(eta: float) -> None:
    G = Reciprocal(eta)
    r = regularity_of(G)
    y, z, x, w = states(500, 1), states(500, 2), unit_interval(500, 3), unit_interval(500, 4)
    contracted, allowed = (G(y, x) - G(z, x)).abs(), r.mu.at(x) * (y - z).abs()
    # 1 - eta x rounds once in mu, with an error of u that acts on |y - z|; the rest is declared.
    slack = errors_of(G, y, x) + errors_of(G, z, x) + gamma(4, y.dtype) * (y - z).abs()
    assert bool(((contracted - allowed).abs() <= slack).all())
    moved, budget = (G(y, x) - G(y, w)).abs(), (r.L0.value + r.L1.value * y.abs()) * (x - w).abs()
    slack = errors_of(G, y, x) + errors_of(G, y, w) + gamma(4, y.dtype) * budget
    assert bool(((moved - budget).abs() <= slack).all())
    assert (r.L0.value, r.L1.value) == (0.0, eta)
    assert {b.side for b in (r.mu, r.L0, r.L1)} == {Side.EXACT}


@pytest.mark.parametrize("eta", ETAS)
def test_the_two_sided_example_keeps_its_budget_across_zero_and_approaches_it(eta: float) -> None:
    G = TwoSidedReciprocal(eta)
    r = regularity_of(G)
    sign = 1.0 - 2.0 * torch.randint(0, 2, (2, 500), generator=seeded(5))
    x, w = sign[0] * unit_interval(500, 6), sign[1] * unit_interval(500, 7)
    # The steepest corner: x, x' -> 1 with y < 0.
    x[:100], w[:100] = 1.0, 1.0 - 1e-3 * torch.rand(100, generator=seeded(8), dtype=torch.float64)
    y = states(500, 9)
    y[:100] = -y[:100].abs() - 1
    moved = (G(y, x) - G(y, w)).abs()
    budget = (r.L0.value + r.L1.value * y.abs()) * (x - w).abs()
    slack = errors_of(G, y, x) + errors_of(G, y, w)
    assert bool((moved <= budget + slack).all())
    assert float((moved / budget)[:100].max()) > 0.99  # so no budget one percent smaller would do
    z = states(500, 10)
    contracted, allowed = (G(y, x) - G(z, x)).abs(), r.mu.at(x) * (y - z).abs()
    slack = errors_of(G, y, x) + errors_of(G, z, x) + gamma(6, y.dtype) * (y - z).abs()
    assert bool(((contracted - allowed).abs() <= slack).all())
    assert (r.L0.value, r.L1.value, r.L0.evidence) == (eta, 2 * eta, Evidence.PROVED)


@pytest.mark.parametrize("G", [Reciprocal(0.5), TwoSidedReciprocal(0.5)], ids=["one-sided", "two-sided"])
def test_reciprocals_are_fixed_points_where_they_are_exact(G: ImplicitOperator) -> None:
    x = 2.0 ** -torch.arange(40, dtype=torch.float64)
    assert torch.equal(G(1 / x, x), 1 / x)
    assert torch.equal(G.initial_state(x), torch.zeros(40, dtype=torch.float64))


@pytest.mark.parametrize("eta", [0.25, 0.3])
@pytest.mark.parametrize("steps", [0, 1, 2, 10])
def test_the_closed_form_is_the_iterate(eta: float, steps: int) -> None:
    G, x = Reciprocal(eta), torch.tensor([1.0, 0.75, 1e-3, 1e-12], dtype=torch.float64)
    for i, v in enumerate(x.tolist()):
        exact, a = Fraction(0), Fraction(v)
        for _ in range(steps):
            exact -= Fraction(eta) * (a * exact - 1)
        found = Fraction(float(G.iterate_closed_form(x, steps)[i]))
        # expm1 and log1p keep relative accuracy where 1 - (1 - eta x)^t cancels; each rounds a few times. The condition of
        # t log(1 - eta x) -> 1 - exp is at most t log(1/(1 - eta x)) <= 4 here.
        assert abs(found - exact) <= 64 * Fraction(2) ** -53 * exact


def test_the_closed_form_tends_to_the_reciprocal() -> None:
    x = torch.tensor([1.0, 0.01], dtype=torch.float64)
    assert torch.allclose(Reciprocal(0.5).iterate_closed_form(x, 100_000), 1 / x, rtol=1e-12)


# The matrix inverse.


def contractions(n: int, count: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Matrices of spectral norm up to 1 with smallest singular values from 1 down to 1e-3."""
    g = seeded(seed)
    u = torch.linalg.qr(torch.randn(count, n, n, generator=g, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(count, n, n, generator=g, dtype=torch.float64)).Q
    s = 10.0 ** (-3 * torch.rand(count, n, generator=g, dtype=torch.float64))
    s[:, 0] = 1.0 - 0.5 * (torch.arange(count) % 2)
    return ((u * s.unsqueeze(1)) @ v).to(dtype)


@pytest.mark.parametrize("norm", [Spectral(), Euclidean()], ids=lambda n: n.name)
@pytest.mark.parametrize("eta", [0.1, 1.0])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_matrix_example_keeps_its_constants(norm: Spectral | Euclidean, eta: float, n: int) -> None:
    G = MatrixInverse(eta, norm=norm)
    r = regularity_of(G)
    A, B = contractions(n, 200, 1), contractions(n, 200, 2)
    B[::2] = A[::2] + 1e-6 * (B[::2] - A[::2])  # a convex combination: still a contraction
    scale = 10.0 ** (4 * torch.rand(200, 1, 1, generator=seeded(3), dtype=torch.float64) - 2)
    y = scale * torch.randn(200, n, n, generator=seeded(4), dtype=torch.float64)
    z = y + torch.randn(200, n, n, generator=seeded(5), dtype=torch.float64)
    lhs, rhs = norm.distance(G(y, A), G(z, A)), r.mu.at(A) * norm.distance(y, z)
    # A computed singular value errs by n^2 u; so does sigma^2, twice.
    slack = errors_of(G, y, A) + errors_of(G, z, A) + gamma(4 * n * n + 16, y.dtype) * norm.distance(y, z)
    assert bool((lhs <= rhs + slack).all())
    lhs, rhs = norm.distance(G(y, A), G(y, B)), (r.L0.value + r.L1.value * norm(y)) * norm.distance(A, B)
    assert bool((lhs <= rhs + errors_of(G, y, A) + errors_of(G, y, B)).all())
    assert (r.L0.value, r.L1.value, r.state_norm) == (eta, 2 * eta, norm)


def test_the_contraction_factor_of_the_matrix_example_is_attained() -> None:
    A = contractions(4, 100, 6)
    G = MatrixInverse(0.5)
    right = torch.linalg.svd(A).Vh[:, -1]  # (I - eta A^T A) v = (1 - eta sigma_min^2) v
    y = right.unsqueeze(2) * torch.ones(1, 1, 4, dtype=torch.float64)
    lhs, rhs = Spectral().distance(G(y, A), G(-y, A)), regularity_of(G).mu.at(A) * Spectral()(2 * y)
    assert torch.allclose(lhs, rhs, rtol=1e-12)
    # With one singular value mistaken for the smallest the claim would be false.
    largest = 1 - 0.5 * torch.linalg.svdvals(A)[:, 0] ** 2
    assert bool((lhs > 1.1 * largest * Spectral()(2 * y))[torch.linalg.svdvals(A)[:, -1] < 0.3].all())


def test_the_inverse_is_the_fixed_point() -> None:
    A = contractions(3, 50, 7)
    G = MatrixInverse()
    inverse = torch.linalg.inv(A)
    # |G(Y) - Y| <= |A^T| |A Y - I|, and the residual of a computed inverse is at most a few n u cond(A) <= 1e3 n u.
    assert bool((Spectral().distance(G(inverse, A), inverse) <= 1e-11).all())
    orthogonal = torch.linalg.qr(torch.randn(5, 3, 3, generator=seeded(8), dtype=torch.float64)).Q
    assert torch.allclose(G(torch.zeros_like(orthogonal), orthogonal), orthogonal.mT, atol=1e-15)  # one step is enough
    assert torch.equal(G.initial_state(A), torch.zeros_like(A))


# Errors.

SINGLE: list[tuple[Any, type[InputError], str]] = [
    (torch.tensor([0.5, 0.0]), DomainError, "x: got 0.0 at sample 1, needed x"),
    (torch.tensor([1.5]), DomainError, "x: got 1.5 at sample 0, needed x"),
    (torch.tensor([0.5, math.nan]), NonFiniteError, "x: got nan at index (1,), needed finite numbers"),
    (torch.tensor([math.inf]), NonFiniteError, "x: got inf at index (0,), needed finite numbers"),
    (torch.ones(0), ShapeError, "x: got an empty batch of shape (0,), needed at least one sample"),
    (torch.ones(2, 1), ShapeError, "x: got shape (2, 1), needed (batch)"),
    (torch.tensor([1]), InputError, "x: got dtype torch.int64, needed a floating-point tensor"),
    ([0.5], InputError, "x: got list, needed a torch.Tensor"),
    (0.5, InputError, "x: got float, needed a torch.Tensor"),
]


@pytest.mark.parametrize(("x", "kind", "message"), SINGLE)
@pytest.mark.parametrize("G", [Reciprocal(), TwoSidedReciprocal()], ids=["one-sided", "two-sided"])
def test_unusable_inputs_are_refused(G: ImplicitOperator, x: Any, kind: type[InputError], message: str) -> None:
    for ask in (G.initial_state, lambda x: G(torch.zeros(1), x)):
        with pytest.raises(InputError) as caught:
            ask(x)
        assert isinstance(caught.value, kind)
        assert str(caught.value).startswith(message)
        assert "; " in str(caught.value)


def test_remedies_point_at_the_other_example() -> None:
    with pytest.raises(DomainError, match=r"needed x in \(0, 1\]; use TwoSidedReciprocal for negative x; 1/0 does not"):
        Reciprocal().initial_state(torch.tensor([-0.5]))
    with pytest.raises(DomainError, match=r"x: got -0.0 at sample 0, needed x in \[-1, 1\], x != 0; remove zeros and"):
        TwoSidedReciprocal().initial_state(torch.tensor([-0.0]))
    TwoSidedReciprocal().initial_state(torch.tensor([-0.5, -1.0, 1.0]))


@pytest.mark.parametrize(
    ("A", "kind", "message"),
    [
        (torch.zeros(1, 2, 2), DomainError, "x: got [[0.0, 0.0], [0.0, 0.0]] at sample 0, needed an invertible matrix"),
        (torch.ones(1, 2, 2) / 2, DomainError, "x: got [[0.5, 0.5], [0.5, 0.5]] at sample 0, needed an invertible"),
        (
            1.5 * torch.eye(2).unsqueeze(0),
            DomainError,
            "x: got [[1.5, 0.0], [0.0, 1.5]] at sample 0, needed spectral nor",
        ),
        (torch.eye(2), ShapeError, "x: got shape (2, 2), needed (batch, n, n); pass a batch of square matrices"),
        (torch.ones(1, 2, 3), ShapeError, "x: got shape (1, 2, 3), needed (batch, n, n)"),
        (torch.ones(0, 2, 2), ShapeError, "x: got an empty batch of shape (0, 2, 2), needed at least one sample"),
        (torch.full((1, 2, 2), math.nan), NonFiniteError, "x: got nan at index (0, 0, 0), needed finite numbers"),
    ],
)
def test_unusable_matrices_are_refused(A: Tensor, kind: type[InputError], message: str) -> None:
    for ask in (MatrixInverse().initial_state, lambda A: MatrixInverse()(torch.zeros_like(A), A)):
        with pytest.raises(kind) as caught:
            ask(A)
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize("build", [Reciprocal, TwoSidedReciprocal, MatrixInverse])
@pytest.mark.parametrize("eta", [0, -0.5, 1, 1.5, math.nan])
def test_the_step_size_lies_in_the_unit_interval(build: Any, eta: float) -> None:
    if build is MatrixInverse and eta == 1:
        assert build(eta).eta == 1
        return
    closed = "=" if build is MatrixInverse else ""
    with pytest.raises(InputError) as caught:
        build(eta)
    assert str(caught.value) == f"eta: got {eta}, needed 0 < eta <{closed} 1; pass for example eta=0.5"


def test_the_matrix_example_is_measured_in_two_norms_only() -> None:
    with pytest.raises(
        InputError, match=r"norm: got sup, needed Spectral\(\) or Euclidean\(\); the constants are proved"
    ):
        MatrixInverse(norm=Sup())


@pytest.mark.parametrize("G", [Reciprocal(), TwoSidedReciprocal()], ids=["one-sided", "two-sided"])
@pytest.mark.parametrize("y", [torch.zeros(1), torch.zeros(2, 1), torch.tensor(0.0)])
def test_states_of_another_shape_are_refused(G: ImplicitOperator, y: Tensor) -> None:
    with pytest.raises(
        ShapeError, match=r"y, x: got .* and \(2,\), needed equal shapes; expand one of them explicitly"
    ):
        G(y, torch.ones(2))


def test_an_input_changed_in_place_is_checked_again() -> None:
    G, x = Reciprocal(), torch.tensor([0.5])
    G.initial_state(x)
    x.zero_()
    with pytest.raises(DomainError):
        G(torch.zeros(1), x)
