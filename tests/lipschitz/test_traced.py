"""Bounds from traced programs: never below sampled Jacobians, equal to the truth where that is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Evidence, Side
from eqtheory.errors import InputError
from eqtheory.lipschitz import traced_lipschitz, traced_regularity
from eqtheory.norms import Euclidean, Norm, Sum, Sup, Weighted
from eqtheory.operators import FunctionOperator
from tests.lipschitz.traced_maps import (
    AFFINE,
    LAYER,
    NEED_LIMITS,
    NORMS,
    OTHERS,
    SLACK,
    STEEP,
    A,
    W,
    draw,
    excess,
    jacobian,
    points_of,
    samples,
)


@pytest.mark.parametrize("name", AFFINE)
def test_of_an_affine_map_the_bound_is_the_norm(name: str) -> None:
    function, shape = AFFINE[name]
    y = draw(0, *shape)
    J = jacobian(function, (y,), 0) * (3.0 if name == "detached" else 1.0)  # torch differentiates a third of that one
    for norm, order in NORMS:
        truth = float(torch.linalg.matrix_norm(J, ord=order))
        bound = traced_lipschitz(function, (y,), norm=norm)[0].value
        assert truth * (1 - SLACK) <= bound <= truth * (1 + 1e-6)
    for norm, order in NORMS:
        truth = float(torch.linalg.matrix_norm(J, ord=order))
        assert traced_lipschitz(function, (y,), norm=norm, exact_up_to=1)[0].value >= truth * (1 - SLACK)


@pytest.mark.parametrize("name", STEEP)
def test_the_bound_is_attained_where_the_activation_is_steepest(name: str) -> None:
    function, y = STEEP[name]
    J = jacobian(function, (y,), 0)
    for norm, order in NORMS:
        truth = float(torch.linalg.matrix_norm(J, ord=order))
        bound = traced_lipschitz(function, (y,), norm=norm)[0].value
        assert bound >= truth * (1 - SLACK)
        # Normalisation has one constant for all vectors of a length in l1 and sup.
        assert bound <= truth * (1 + 1e-6) or (name == "layer norm" and order != 2.0)


@pytest.mark.parametrize("name", OTHERS)
def test_no_sampled_jacobian_exceeds_the_bound(name: str) -> None:
    function, shapes = OTHERS[name]
    assert excess(function, points_of(shapes), NORMS) <= 1 + SLACK
    if name not in NEED_LIMITS:
        assert excess(function, points_of(shapes), NORMS[:1], exact_up_to=1) <= 1 + SLACK


@pytest.mark.parametrize("name", ["perceptron", "mixer", "implicit layer", "pooled"])
@pytest.mark.parametrize("norm", [Euclidean(), Sum(), Sup()], ids=str)
def test_no_pair_is_steeper_than_the_bound(name: str, norm: Norm) -> None:
    function, shapes = OTHERS[name]
    found = traced_lipschitz(function, [torch.zeros(s, dtype=torch.float64) for s in shapes], norm=norm)
    for k, bound in enumerate(found):
        for a, b in zip(samples(shapes[k], 12), samples(shapes[k], 13)[1:], strict=True):
            others = [draw(50, *s) for s in shapes]
            here, there = [*others[:k], a, *others[k + 1 :]], [*others[:k], b, *others[k + 1 :]]
            gap = float(norm.distance(function(*here), function(*there)).detach())
            assert gap <= bound.value * float(norm.distance(a, b)) * (1 + SLACK)


def test_what_a_bound_says() -> None:
    found = traced_lipschitz(LAYER, (draw(0, 1, 8), draw(1, 1, 8)), wrt=1)
    assert len(found) == 1
    assert (found[0].side, found[0].evidence) == (Side.UPPER, Evidence.PROVED)
    assert found[0].assumptions[0] == "exact arithmetic"
    truth = 0.6 * float(torch.linalg.matrix_norm(LAYER.inject.weight.detach(), ord=2))
    assert found[0].value == pytest.approx(truth, rel=1e-9)
    told = traced_lipschitz(torch.nn.functional.softplus, (draw(0, 1, 8),))[0]
    assert told.assumptions[-1] == "softplus is log(1 + exp(x)) also above its threshold"


def test_ranges_are_part_of_the_assumptions_and_products_are_sharp_in_them() -> None:
    y = torch.zeros(1, 3, dtype=torch.float64)
    found = traced_lipschitz(lambda y: y * y, (y,), ranges=[(-1.0, 2.0)])[0]
    assert found.value == pytest.approx(4.0, rel=1e-9)
    assert found.assumptions[-1] == "entries of argument 0 in [-1, 2]"
    in_y, in_x = traced_lipschitz(lambda y, x: y - 0.5 * (x * y - 1), (y, y), ranges=[(0.0, 3.0), (0.0, 1.0)])
    assert in_x.value == pytest.approx(1.5, rel=1e-9)
    assert 1.0 <= in_y.value <= 1.5 + 1e-9  # the triangle inequality does not see that 1 - x/2 is below 1


@pytest.mark.parametrize("exact_up_to", [1, 2048])
def test_two_arguments_that_are_one_tensor_are_told_apart(exact_up_to: int) -> None:
    y = draw(0, 1, 8)
    in_y, in_x = traced_lipschitz(lambda y, x: 3 * y + torch.tanh(x), (y, y), exact_up_to=exact_up_to)
    assert in_y.value == pytest.approx(3.0, rel=1e-9)
    assert in_x.value == pytest.approx(1.0, rel=1e-9)
    assert traced_lipschitz(lambda a: a + y, (y,))[0].value == pytest.approx(1.0, rel=1e-9)  # y also is a constant


def test_single_precision_is_bounded_as_the_numbers_it_holds() -> None:
    weights = W.float()
    found = traced_lipschitz(lambda y: y @ weights + torch.ones(8), (torch.zeros(1, 8),))[0].value
    assert found == pytest.approx(float(torch.linalg.matrix_norm(weights.double(), ord=2)), rel=1e-9)
    short = W.bfloat16()
    half = traced_lipschitz(lambda y: (y.bfloat16() @ short).float(), (torch.zeros(1, 8),))[0].value
    assert half == pytest.approx(float(torch.linalg.matrix_norm(short.double(), ord=2)), rel=1e-9)


@pytest.mark.parametrize(("inner", "order"), NORMS, ids=["l2", "l1", "sup"])
def test_weights_are_units_of_the_entries(inner: Norm, order: float) -> None:
    w = torch.linspace(0.1, 3.0, 8, dtype=torch.float64)
    norm = Weighted(w, inner)
    y = torch.zeros(1, 8, dtype=torch.float64)
    truth = float(torch.linalg.matrix_norm(w[:, None] * W.T / w, ord=order))
    assert traced_lipschitz(lambda y: y @ W + 1, (y,), norm=norm)[0].value == pytest.approx(truth, rel=1e-9)
    # Behind an activation the weights of what comes out are taken apart from those of what goes in: a bound, not a close one.
    assert traced_lipschitz(lambda y: torch.tanh(y @ W), (y,), norm=norm)[0].value >= truth
    found = traced_regularity(lambda y, x: 0.01 * (y @ W) + x, y, y, norm=norm)
    assert found.mu.value == pytest.approx(0.01 * truth, rel=1e-9)  # type: ignore[union-attr]
    assert found.L0.value == pytest.approx(3.0, rel=1e-9)


def test_regularity_is_proved_and_the_budget_does_not_grow() -> None:
    y, x = draw(0, 1, 12), draw(1, 1, 8)
    eta = 0.2
    G = FunctionOperator(lambda y, x: 0.9 * (y - eta * (y @ A - x) @ A.T))
    found = traced_regularity(G, y, x)
    truth = 0.9 * float(torch.linalg.matrix_norm(torch.eye(12, dtype=torch.float64) - eta * A @ A.T, ord=2))
    assert found.mu.value == pytest.approx(truth, rel=1e-9)  # type: ignore[union-attr]
    assert found.L0.value == pytest.approx(0.9 * eta * float(torch.linalg.matrix_norm(A, ord=2)), rel=1e-9)
    assert found.L1.value == 0.0
    with pytest.raises(InputError, match=r"mu: got 2\.0\d*, needed 0 <= mu < 1; an operator that does not contract"):
        traced_regularity(lambda y, x: 2 * y + x, y, y)


def test_beyond_the_limit_norms_are_multiplied_and_stay_above() -> None:
    y = torch.zeros(1, 8, dtype=torch.float64)

    def two(y: Tensor) -> Tensor:
        return (y @ W) @ W.T

    product = float(torch.linalg.matrix_norm(W, ord=2)) ** 2
    assert traced_lipschitz(two, (y,), exact_up_to=8)[0].value == pytest.approx(product, rel=1e-9)
    loose = traced_lipschitz(two, (y,), exact_up_to=7)[0].value
    assert product <= loose <= 64 * product


def test_a_sum_over_many_layers_is_one_matrix() -> None:
    y = torch.zeros(1, 8, dtype=torch.float64)

    def deep(y: Tensor) -> Tensor:
        for _ in range(6):
            y = y - 0.1 * (y @ W) @ W.T
        return y

    truth = float(torch.linalg.matrix_norm(jacobian(deep, (y,), 0), ord=2))
    assert traced_lipschitz(deep, (y,))[0].value == pytest.approx(truth, rel=1e-6)
    assert traced_lipschitz(deep, (y,), exact_up_to=1)[0].value > 2 * truth


def test_constants_do_not_move() -> None:
    y = torch.zeros(1, 8, dtype=torch.float64)
    maps: list[Callable[..., Tensor]] = [lambda y: W, lambda y: y * 0, lambda y: torch.zeros_like(y) + W]
    assert [traced_lipschitz(f, (y,))[0].value for f in maps] == [0.0, 0.0, 0.0]
    assert math.isfinite(traced_lipschitz(lambda y: y.new_ones(8) * y, (y,))[0].value)
