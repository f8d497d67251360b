"""The laws of norms, exact against floating point, and the distances that slopes are made of."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import isqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import BlockSum, Euclidean, Norm, Spectral, Sum, Sup, Weighted, same_shape
from eqtheory.roundoff import gamma

BLOCKS = BlockSum((2, 1), (1.0, 0.375), Sup())
# Each norm with the trailing shape it is tested on and the roundings of one evaluation: sums of n terms, squares, roots; a
# singular value is computed backward stably, with an error of a modest multiple of n^2 u.
NORMS: dict[str, tuple[Norm, tuple[int, ...], int]] = {
    "l2": (Euclidean(), (3,), 8),
    "l2 of scalars": (Euclidean(), (), 4),
    "Frobenius": (Euclidean(), (3, 2), 12),
    "sup": (Sup(), (3,), 4),
    "l1": (Sum(), (3,), 8),
    "blocks": (BLOCKS, (3,), 8),
    "spectral": (Spectral(), (3, 2), 64),
    "weighted l2": (Weighted(torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)), (3,), 12),
    "weighted sup": (Weighted(torch.tensor([[0.1, 3.0], [1.0, 7.0]], dtype=torch.float64), Sup()), (2, 2), 8),
}
EACH = pytest.mark.parametrize(("norm", "shape", "roundings"), NORMS.values(), ids=NORMS)
LAWS = settings(max_examples=30, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int, *shape: int, decades: float = 0.0) -> Tensor:
    """Normal vectors whose rows are spread over the given number of decades around 1."""
    g = torch.Generator().manual_seed(seed)
    size = 10.0 ** (decades * (torch.rand(shape[0], generator=g, dtype=torch.float64) - 0.5))
    return size.reshape(-1, *[1] * (len(shape) - 1)) * torch.randn(shape, generator=g, dtype=torch.float64)


def laws_broken(norm: Callable[[Tensor], Tensor], a: Tensor, b: Tensor, factor: Tensor, roundings: int) -> list[str]:
    """Names of the laws that fail beyond rounding, on a batch of pairs of vectors and numbers."""
    rel = gamma(roundings, a.dtype)
    rows = factor.reshape(-1, *[1] * (a.ndim - 1))
    size, other = norm(a), norm(b)
    scaled = factor.abs() * size
    checks = {
        "definite": bool((size > 0).all()) and bool((norm(torch.zeros_like(a)) == 0).all()),
        "homogeneous": bool(((norm(rows * a) - scaled).abs() <= 2 * rel * scaled).all()),
        "subadditive": bool((norm(a + b) <= (size + other) * (1 + 2 * rel)).all()),
    }
    return [name for name, holds in checks.items() if not holds]


@EACH
@LAWS
@given(seed=SEEDS)
def test_laws(norm: Norm, shape: tuple[int, ...], roundings: int, seed: int) -> None:
    a, b = draw(seed, 64, *shape, decades=20), draw(seed + 1, 64, *shape, decades=20)
    factor = draw(seed + 2, 64, decades=20)
    assert laws_broken(norm, a, b, factor, roundings) == []


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (lambda v: v[:, :-1].abs().amax(dim=1) * (v[:, :-1].abs().amin(dim=1) > 0.5), "definite"),
        (lambda v: v.square().sum(dim=1), "homogeneous"),
        (lambda v: v.abs().sqrt().sum(dim=1).square(), "subadditive"),  # l_{1/2} is no norm
        (lambda v: v.abs().amax(dim=1) * (1 + 1e-12 * (v[:, 0] > 0).double()), "homogeneous"),
    ],
)
def test_what_is_not_a_norm_breaks_a_law(wrong: Callable[[Tensor], Tensor], law: str) -> None:
    a, b, factor = draw(1, 256, 3), draw(2, 256, 3), draw(3, 256)
    assert law in laws_broken(wrong, a, b, factor, 8)


@EACH
@pytest.mark.parametrize("size", [1e-200, 1e-160, 1e150, 1e200])
def test_definite_and_homogeneous_at_sizes_whose_squares_leave_float64(
    norm: Norm, shape: tuple[int, ...], roundings: int, size: float
) -> None:
    v = draw(4, 16, *shape)
    expected = size * norm(v)
    for found in (norm(size * v), norm.pairwise(size * v, torch.zeros_like(v[:1])).squeeze(1)):
        assert bool(((found - expected).abs() <= 4 * gamma(roundings, v.dtype) * expected).all())


@pytest.mark.parametrize("norm", [Sup(), Sum(), BLOCKS, BlockSum((1, 1, 1), (0.5, 1.0, 2.0), Euclidean())])
@LAWS
@given(entries=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3))
def test_float_agrees_with_exact(norm: Norm, entries: list[float]) -> None:
    # Floats are rationals. Largest entries are found without rounding; sums of 3 products round at most 5 times.
    exact = norm.exact([Fraction(v) for v in entries])
    computed = Fraction(float(norm(torch.tensor([entries], dtype=torch.float64))))
    slack = 0 if isinstance(norm, Sup) else Fraction(gamma(6, torch.float64)) * exact + Fraction(2) ** -1070
    assert abs(computed - exact) <= slack


@pytest.mark.parametrize(
    ("norm", "vector", "value"),
    [
        (Sup(), ["-3/2", "1", "4/3"], "3/2"),
        (Sup(), [], "0"),
        (Sum(), ["-3/2", "1", "4/3"], "23/6"),
        (Sum(), [], "0"),
        (Euclidean(), ["-7/3"], "7/3"),
        (Spectral(), ["-7/3"], "7/3"),
        (BLOCKS, ["-1/2", "1/3", "-8"], "7/2"),
        (BlockSum((1, 1), (0.5, 2.0), Euclidean()), ["-1", "1/3"], "7/6"),
    ],
)
def test_exact_values(norm: Norm, vector: list[str], value: str) -> None:
    assert norm.exact([Fraction(v) for v in vector]) == Fraction(value)


@pytest.mark.parametrize("norm", [Euclidean(), Spectral()])
def test_irrational_norms_refuse_exact_arithmetic(norm: Norm) -> None:
    with pytest.raises(InputError, match=rf"norm: got {norm.name}, needed a norm that is rational .*; use Sup\(\) or"):
        norm.exact([Fraction(1), Fraction(1)])


@pytest.mark.parametrize("length", [2, 4])
def test_a_block_sum_of_rationals_needs_all_blocks(length: int) -> None:
    with pytest.raises(ShapeError, match=rf"v: got .*{length}.*, needed .*3"):
        BLOCKS.exact([Fraction(1)] * length)


@EACH
def test_a_pairwise_distance_is_the_distance_of_the_pair(norm: Norm, shape: tuple[int, ...], roundings: int) -> None:
    a, b = draw(5, 7, *shape, decades=6), draw(6, 5, *shape, decades=6)
    i, j = torch.meshgrid(torch.arange(7), torch.arange(5), indexing="ij")
    one_by_one = norm.distance(a[i.flatten()], b[j.flatten()]).reshape(7, 5)
    found = norm.pairwise(a, b)
    assert found.shape == (7, 5)
    if isinstance(norm, Sup):
        assert torch.equal(found, one_by_one)
    assert bool(((found - one_by_one).abs() <= gamma(roundings, a.dtype) * one_by_one).all())
    assert torch.equal(norm.pairwise(a, a).diagonal(), torch.zeros(7, dtype=torch.float64))


def exact_l2(a: Tensor, b: Tensor) -> Tensor:
    """All Euclidean distances from integer square roots, relative error 1e-30."""
    rows = [[[Fraction(v) for v in row] for row in t.tolist()] for t in (a, b)]
    wide = Fraction(10) ** 60
    squares = [[sum((x - y) ** 2 for x, y in zip(p, q, strict=True)) for q in rows[1]] for p in rows[0]]
    return torch.tensor([[float(isqrt(int(s * wide * wide)) / wide) for s in row] for row in squares], dtype=a.dtype)


def nearly_coincident() -> tuple[Tensor, Tensor]:
    a = 1e3 * (1 + torch.rand(6, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64))
    return a, a + 1e-9 * draw(8, 6, 4)


def largest_relative_error(pairwise: Callable[[Tensor, Tensor], Tensor]) -> float:
    a, b = nearly_coincident()
    truth = exact_l2(a, b)
    return float(((pairwise(a, b) - truth).abs() / truth).max())


def test_euclidean_distances_of_nearly_coincident_points_are_accurate() -> None:
    # The differences of points 1e-9 apart are exact (Sterbenz), so only the norm rounds: gamma_8 < 1e-12.
    assert largest_relative_error(Euclidean().pairwise) <= 1e-12


def test_the_matrix_product_shortcut_would_be_caught() -> None:
    shortcut = lambda a, b: torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist")  # noqa: E731
    assert largest_relative_error(shortcut) > 1e-3


@EACH
def test_a_sample_does_not_depend_on_its_batch_mates(norm: Norm, shape: tuple[int, ...], roundings: int) -> None:
    v, w = draw(9, 67, *shape, decades=6), draw(10, 13, *shape, decades=6)
    alone = torch.cat([norm(v[i : i + 1]) for i in range(67)])
    assert torch.equal(norm(v), alone)
    assert torch.equal(norm(v.flip(0)).flip(0), alone)
    together = norm.pairwise(v, w)
    assert torch.equal(together, torch.cat([norm.pairwise(v[i : i + 1], w) for i in range(67)]))
    assert torch.equal(together, torch.cat([norm.pairwise(v, w[j : j + 1]) for j in range(13)], dim=1))


@EACH
def test_errors_of_shapes(norm: Norm, shape: tuple[int, ...], roundings: int) -> None:
    v = draw(11, 4, *shape)
    with pytest.raises(ShapeError, match=r"a, b: got \(4.*\) and \(3.*\), needed equal shapes; expand one of them"):
        norm.distance(v, v[:3])
    with pytest.raises(ShapeError, match=r"v: got "):
        norm(torch.tensor(1.0))


@pytest.mark.parametrize("norm", [Euclidean(), Sup(), Sum(), Spectral(), BLOCKS])
@pytest.mark.parametrize("other", [(5, 2), (5, 3, 2), (5, 6)])
def test_pairwise_refuses_vectors_of_another_shape(norm: Norm, other: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="needed equal shapes; expand one of them explicitly"):
        norm.pairwise(torch.ones(4, 2, 3), torch.ones(other))


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 2, 2)])
def test_the_spectral_norm_is_one_of_matrices(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"v: got shape .*, needed \(batch, m, n\); use Euclidean\(\) for vectors"):
        Spectral()(torch.ones(shape))


@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 4), (4, 3, 1)])
def test_a_block_sum_needs_the_flat_state(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"v: got shape .*, needed \(batch, 3\); flatten and concatenate the blocks"):
        BLOCKS(torch.ones(shape))


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 2.0, 3.0), (1.0, 0.0), (1.0, -1.0), (1.0, float("nan"))])
def test_a_block_sum_needs_one_positive_weight_per_block(weights: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"weights: got .*, needed one positive weight per block; pass 2 weights"):
        BlockSum((2, 1), weights, Sup())


def test_same_shape_names_what_was_compared() -> None:
    same_shape("y, x", torch.zeros(2, 3), torch.ones(2, 3))
    with pytest.raises(ShapeError) as caught:
        same_shape("y, x", torch.zeros(2, 3), torch.zeros(2))
    assert str(caught.value) == "y, x: got (2, 3) and (2,), needed equal shapes; expand one of them explicitly"


def test_the_norm_of_an_empty_vector_is_zero_and_of_an_empty_batch_is_empty() -> None:
    for norm in (Euclidean(), Sup(), Sum()):
        assert torch.equal(norm(torch.ones(2, 0)), torch.zeros(2))
        assert norm(torch.ones(0, 3)).shape == (0,)


@EACH
@LAWS
@given(seed=SEEDS)
def test_duality(norm: Norm, shape: tuple[int, ...], roundings: int, seed: int) -> None:
    """`aligned(g)` is a unit vector on which `g` is at least as large as on any other, and equality is reached by `subgradient`."""
    g, other = draw(seed, 32, *shape), draw(seed + 1, 32, *shape)
    rel = gamma(4 * roundings, torch.float64)

    def pair(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).reshape(a.shape[0], -1).sum(dim=1)

    best = norm.aligned(g)
    assert bool((norm(best) <= 1 + rel).all())
    size = g.abs().reshape(32, -1).sum(dim=1)
    assert bool((pair(g, other) <= pair(g, best) * norm(other) + rel * size * (1 + norm(other))).all())
    measured = norm.subgradient(g)
    assert bool(((pair(measured, g) - norm(g)).abs() <= rel * norm(g)).all())
    # Of dual norm at most 1: on no vector larger than its norm.
    assert bool((pair(measured, other) <= norm(other) * (1 + rel) + rel * pair(measured.abs(), other.abs())).all())
    assert bool((pair(measured, norm.aligned(measured)) <= 1 + rel).all())


def test_zero_functionals_and_vectors_are_no_exception() -> None:
    for norm, shape, _ in NORMS.values():
        zero = torch.zeros(2, *shape, dtype=torch.float64)
        assert bool((norm(norm.aligned(zero)) <= 1 + 1e-12).all())
        assert bool(torch.isfinite(norm.subgradient(zero)).all())


def test_a_norm_without_a_known_dual_says_so() -> None:
    class Mine(Norm):
        name = "mine"

        def __call__(self, v: Tensor) -> Tensor:
            return v.abs().reshape(v.shape[0], -1).sum(dim=1)

    for ask in (Mine().aligned, Mine().subgradient):
        with pytest.raises(
            InputError, match=r"norm: got mine, needed a norm that knows its dual; use one of Euclidean\(\)"
        ):
            ask(torch.ones(1, 2))


@pytest.mark.parametrize(
    "weights", [torch.tensor([1.0, 0.0]), torch.tensor([1.0, -1.0]), torch.tensor([1.0, torch.nan])]
)
def test_weights_are_positive_and_finite(weights: Tensor) -> None:
    with pytest.raises(
        InputError, match=r"weights: got tensor\(\[.*needed a tensor of finite numbers > 0; pass one weight per entry"
    ):
        Weighted(weights)


def test_weights_have_the_shape_of_a_state() -> None:
    with pytest.raises(ShapeError, match=r"v: got shape \(1, 3\), needed \(batch, 2\); one weight per entry"):
        Weighted(torch.ones(2))(torch.ones(1, 3))
    assert Weighted(torch.tensor([1.0, 0.5]), Sup()).exact([Fraction(1, 3), Fraction(4, 3)]) == Fraction(2, 3)
