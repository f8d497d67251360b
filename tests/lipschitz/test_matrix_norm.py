"""Operator norms of matrices: the truth lies between the sides, in exact arithmetic, and the sides are close."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import _matrix_norm, matrix_norm_upper_bound, operator_norm, spectral_radius
from eqtheory.norms import BlockSum, Euclidean, Norm, Sum, Sup, Weighted

SHAPES = [(1, 1), (1, 5), (5, 1), (3, 3), (20, 50), (50, 20), (64, 64), (4, 30, 30)]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def not_below(square: Fraction, A: list[list[Fraction]]) -> bool:
    """Whether `square I - A^T A` is positive definite, by elimination in rationals: exact."""
    n = len(A[0])
    M = [[(square if i == j else Fraction(0)) - sum(r[i] * r[j] for r in A) for j in range(n)] for i in range(n)]
    for k in range(n):
        if M[k][k] <= 0:
            return False
        for i in range(k + 1, n):
            factor = M[i][k] / M[k][k]
            M[i] = [a - factor * b for a, b in zip(M[i], M[k], strict=True)]
    return True


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), m=st.integers(1, 5), n=st.integers(1, 5), decades=st.integers(0, 12))
def test_the_euclidean_bound_is_never_below_the_norm_in_exact_arithmetic(
    seed: int, m: int, n: int, decades: int
) -> None:
    A = draw(seed, m, n) * 10.0 ** (decades * draw(seed + 1, m, 1))
    upper = float(matrix_norm_upper_bound(A, Euclidean()))
    exact = [[Fraction(entry) for entry in row] for row in A.tolist()]
    assert not_below(Fraction(upper) ** 2, exact)
    lower = Fraction(float(operator_norm(A).lower.value))
    assert not not_below(lower**2 * Fraction(999_999, 1_000_000), exact)


@pytest.mark.parametrize("shape", SHAPES)
def test_sides_are_close_in_l2_l1_and_sup(shape: tuple[int, ...]) -> None:
    A = draw(0, *shape)
    for norm, order in ((Euclidean(), 2), (Sum(), 1), (Sup(), torch.inf)):
        found = operator_norm(A, norm=norm)
        truth = torch.linalg.matrix_norm(A, ord=order)
        assert bool((found.lower.value <= truth * (1 + 1e-14)).all())
        assert bool((found.upper.value >= truth * (1 - 1e-14)).all())
        assert bool((found.upper.value - found.lower.value <= 1e-11 * truth).all())


def test_mixed_norms_are_those_of_rows_and_columns() -> None:
    A = draw(1, 4, 3)
    pairs: list[tuple[Norm, Norm, Tensor]] = [
        (Sum(), Euclidean(), torch.linalg.vector_norm(A, dim=0).amax()),
        (Sum(), Sup(), A.abs().amax()),
        (Euclidean(), Sup(), torch.linalg.vector_norm(A, dim=1).amax()),
    ]
    for norm, out, truth in pairs:
        found = operator_norm(A, norm=norm, output_norm=out)
        assert float(found.lower.value) == pytest.approx(float(truth), rel=1e-12)
        assert float(found.upper.value) == pytest.approx(float(truth), rel=1e-12)
    with pytest.raises(InputError, match=r"norm: got sup to l1, needed a pair whose operator norm can be computed"):
        operator_norm(A, norm=Sup(), output_norm=Sum())


def test_weights_and_blocks() -> None:
    A = draw(2, 6, 6)
    w = Weighted(torch.tensor([0.01, 1.0, 3.0, 5.0, 0.2, 40.0], dtype=torch.float64))
    truth = torch.linalg.matrix_norm(w.weights[:, None] * A / w.weights, ord=2)
    found = operator_norm(A, norm=w)
    assert float(found.lower.value) <= float(truth) * (1 + 1e-14) <= float(found.upper.value) * (1 + 2e-14)
    assert float(found.upper.value) == pytest.approx(float(truth), rel=1e-12)
    blocks = BlockSum((2, 4), (1.0, 3.0), Euclidean())
    bound = operator_norm(A, norm=blocks)
    samples = draw(3, 20_000, 6)
    assert float((blocks(samples @ A.T) / blocks(samples)).amax()) <= float(bound.upper.value)
    # A cascade in its own norm (T15): the first block alone feeds the second.
    cascade = torch.tensor([[0.5, 0.0], [100.0, 0.5]], dtype=torch.float64)
    assert float(operator_norm(cascade, norm=BlockSum((1, 1), (1000.0, 1.0), Sup())).upper.value) == pytest.approx(0.6)


def test_complex_matrices_and_empty_ones() -> None:
    A = torch.complex(draw(4, 5, 4), draw(5, 5, 4))
    assert float(operator_norm(A).upper.value) == pytest.approx(float(torch.linalg.matrix_norm(A, ord=2)), rel=1e-12)
    assert matrix_norm_upper_bound(torch.zeros(3, 0, 2), Euclidean()).tolist() == [0.0, 0.0, 0.0]
    assert float(matrix_norm_upper_bound(torch.zeros(4, 4), Euclidean())) == 0.0


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_extreme_scales(size: float) -> None:
    A = size * draw(6, 7, 5)
    assert float(matrix_norm_upper_bound(A, Euclidean())) == pytest.approx(
        size * float(torch.linalg.matrix_norm(draw(6, 7, 5), ord=2)), rel=1e-12
    )


@pytest.mark.parametrize("size", [5e-324, 1e-320, 1e-310, 3e-308, 1e-295, 1e304, 1e308])
@pytest.mark.parametrize("norm", [Euclidean(), Sum(), Sup(), Weighted(torch.ones(3)), BlockSum((3,), (1.0,), Sup())])
def test_sides_hold_where_rounding_is_absolute_and_where_the_norm_overflows(norm: Norm, size: float) -> None:
    """All entries equal: every norm here is three times one of them, whatever it is rounded to."""
    A = torch.full((3, 3), size, dtype=torch.float64)
    found, truth = operator_norm(A, norm=norm), 3 * Fraction(size)
    lower, upper = float(found.lower.value), float(found.upper.value)
    assert float(matrix_norm_upper_bound(A, norm)) == upper
    assert Fraction(lower) <= truth
    assert upper == torch.inf or truth <= Fraction(upper)
    # No further off than rounding: one smallest number, or the 1e-12 of the normal range.
    spare = max(Fraction(1, 10**12) * truth, Fraction(5e-324))
    assert Fraction(lower) >= min(truth, Fraction(1.7976931348623157e308)) - spare
    assert upper == (torch.inf if size > 1e307 else upper)
    assert upper == torch.inf or Fraction(upper) <= truth + spare


def test_a_matrix_between_the_ends_of_the_range_loses_nothing_that_counts() -> None:
    A = torch.tensor([[1.5e308, 0.0], [5e-324, 1e-310]], dtype=torch.float64)
    for norm in (Euclidean(), Sum(), Sup()):
        found = operator_norm(A, norm=norm)
        assert float(found.lower.value) <= 1.5e308 <= float(found.upper.value)
        assert float(found.lower.value) == pytest.approx(1.5e308, rel=1e-12)


def test_blocks_that_are_tiny_and_count_most() -> None:
    A = torch.tensor([[1.0], [3e-320]], dtype=torch.float64)
    heavy = BlockSum((1, 1), (2.0**-100, 2.0**900), Sup())
    found = operator_norm(A, norm=BlockSum((1,), (1.0,), Sup()), output_norm=heavy)
    truth = Fraction(2) ** -100 + Fraction(2) ** 900 * Fraction(3e-320)
    assert Fraction(float(found.lower.value)) <= truth <= Fraction(float(found.upper.value))
    assert float(found.upper.value) == pytest.approx(float(truth), rel=1e-3)
    with pytest.raises(InputError, match=r"weights that take entries out of the range of float64"):
        operator_norm(A, norm=BlockSum((1,), (1e200,), Sup()), output_norm=BlockSum((1, 1), (1e-200, 1.0), Sup()))


def test_bounds_keep_no_graph() -> None:
    A = draw(9, 3, 3).requires_grad_()
    found = operator_norm(A)
    assert not found.upper.value.requires_grad
    assert not found.lower.value.requires_grad
    assert not spectral_radius(A).bracket.upper.value.requires_grad


def test_a_guess_that_is_too_small_is_raised_and_never_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof does not rest on the eigenvalues: with guesses of zero the bound is looser and still a bound."""
    A = draw(7, 3, 12, 12)
    honest = torch.linalg.eigvalsh
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda B: torch.zeros_like(honest(B)))
    assert bool((matrix_norm_upper_bound(A, Euclidean()) >= torch.linalg.matrix_norm(A, ord=2)).all())
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda B: 0.5 * honest(B))
    found = matrix_norm_upper_bound(A, Euclidean())
    truth = torch.linalg.matrix_norm(A, ord=2)
    assert bool(((found >= truth) & (found <= 1.5 * truth)).all())


def test_believing_the_guess_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: every factorisation counts as done. The exact test above sees it at once."""

    class Done:
        info = torch.zeros(())

    A = draw(8, 4, 4)
    honest = torch.linalg.eigvalsh
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda B: 0.5 * honest(B))
    monkeypatch.setattr(_matrix_norm.torch.linalg, "cholesky_ex", lambda _: Done)
    exact = [[Fraction(entry) for entry in row] for row in A.tolist()]
    assert not not_below(Fraction(float(matrix_norm_upper_bound(A, Euclidean()))) ** 2, exact)


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"matrix: got layout torch\.sparse_coo, needed a dense matrix; pass matrix"):
        operator_norm(torch.eye(3).to_sparse())
    with pytest.raises(
        ShapeError, match=r"matrix: got shape \(3,\), needed \(\.\.\., m, n\); pass the matrix of the map"
    ):
        operator_norm(torch.ones(3))
    with pytest.raises(NonFiniteError, match=r"matrix: got a NaN or an infinity at index \(0, 1\)"):
        operator_norm(torch.tensor([[1.0, torch.nan]]))
    with pytest.raises(ShapeError, match=r"matrix: got an axis of length 2, needed 3, one per weight"):
        operator_norm(torch.ones(2, 2), norm=Weighted(torch.ones(3)))
    with pytest.raises(InputError, match=r"matrix: got complex entries, needed real ones in weighted norms"):
        operator_norm(torch.ones(2, 2, dtype=torch.complex64), norm=Weighted(torch.ones(2)))
