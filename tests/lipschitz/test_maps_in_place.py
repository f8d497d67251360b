"""Maps that change what they are given, or what they gave before: slopes are those of the same maps written without that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.lipschitz import (
    Box,
    Curve,
    Search,
    Witnessed,
    curve,
    dense_jacobian,
    exact_jacobian_norm,
    halved_pairs,
    jacobian_norm,
    pair_lower_bound,
    perturbation_lower_bound,
    steepest,
)
from eqtheory.lipschitz.curves import _curve
from eqtheory.nests import map_tensors, tensors
from eqtheory.norms import Sup
from eqtheory.operators import ImplicitOperator
from eqtheory.solvers import Anderson, Broyden, Halpern, KrasnoselskiiMann, NewtonKrylov

LEAKY = torch.nn.LeakyReLU(0.01, inplace=True)
ONE = torch.ones(1, 1).double()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Searches. On negative numbers the slope of `LEAKY` is .01 everywhere.

SEARCHES: dict[str, Callable[[Tensor], Witnessed]] = {
    "pairs": lambda x: pair_lower_bound(LEAKY, x, 2 * x),
    "pairs, second end": lambda x: pair_lower_bound(LEAKY, 2 * x, x),
    "perturbations": lambda x: perturbation_lower_bound(LEAKY, x, ONE, size=0.5),
    "halving": lambda x: halved_pairs(LEAKY, x, 2 * x),
    "derivatives": lambda x: jacobian_norm(LEAKY, x),
    "derivatives in sup": lambda x: jacobian_norm(LEAKY, x, norm=Sup()),
    "search": lambda x: steepest(
        lambda y, _: LEAKY(y), x, search=Search(region=Box(-3.0, -0.5), steps=5, rounds=1), generator=generator()
    ),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_slopes_are_not_above_the_truth(name: str) -> None:
    x = -ONE - torch.rand(8, 1, generator=generator(), dtype=torch.float64)
    before = x.clone()
    found = SEARCHES[name](x)
    assert bool((found.values <= 0.01 * (1 + 1e-12)).all())
    assert float(found.values.max()) == pytest.approx(0.01, rel=1e-3)
    assert torch.equal(x, before)
    assert bool((found.a <= -0.5).all())


def test_matrices_are_those_of_the_points() -> None:
    model = torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Linear(2, 2)).double()
    x = torch.tensor([[-1.0, 1.0]]).double()
    J = model[1].weight.detach() * torch.tensor([0.0, 1.0]).double()
    assert torch.allclose(dense_jacobian(model, x)[0], J)
    size = torch.linalg.matrix_norm(J, ord=2)
    # Lowered to what a pair proves, at a distance at which rounding costs u^(2/3) or so.
    assert float(exact_jacobian_norm(model, x).value) == pytest.approx(float(size), rel=1e-6)
    assert float(jacobian_norm(model, x).values) == pytest.approx(float(size), rel=1e-3)
    assert x.tolist() == [[-1.0, 1.0]]


def test_parameters_stay_what_they_are() -> None:
    y, p = draw(1, 8, 1), 1 + torch.rand(8, 1, generator=generator(), dtype=torch.float64)
    before = p.clone()
    how = Search(region=Box(-3.0, 3.0), parameter_region=Box(1.0, 2.0), steps=10, rounds=2)
    found = steepest(lambda y, p: y * p.mul_(0.5), y, p, search=how, generator=generator())
    assert 0.9 < float(found.values[0]) <= 1.0
    assert torch.equal(p, before)


def test_storage_that_is_written_again_is_no_earlier_value() -> None:
    """As compiled programs return it: every value would be the last one."""
    kept = torch.zeros(1, 1).double()

    def again(x: Tensor) -> Tensor:
        return kept.copy_(x.abs())

    found = halved_pairs(again, -ONE, 3 * ONE)
    assert float(found.values) == pytest.approx(1.0, rel=1e-9)
    assert float(pair_lower_bound(again, -ONE, 3 * ONE).values) == pytest.approx(0.5, rel=1e-9)


# Curves.


def plain(y: Tensor, x: Any) -> Tensor:
    return 0.5 * y + x["a"] + x["b"]


def state(y: Tensor, x: Any) -> Tensor:
    return y.mul_(0.5).add_(x["a"]).add_(x["b"])


def part_of_the_state(y: Tensor, x: Any) -> Tensor:
    value = 0.5 * y + x["a"] + x["b"]
    y[:, :1] = 7.0
    return value


def inputs(y: Tensor, x: Any) -> Tensor:
    return x["a"].add_(0.5 * y).add_(x["b"])


def shared(y: Tensor, x: Any) -> Tensor:
    return 0.5 * y + x["a"] + x["b"].clone().add_(x["b"].mul_(2)).sub_(x["b"])


def late(y: Tensor, x: Any) -> Tensor:
    if bool((y > 1.9).all()):  # only after some steps
        return y.mul_(0.5).add_(x["a"]).add_(x["b"])
    return 0.5 * y + x["a"] + x["b"]


def given(width: int = 3) -> dict[str, Tensor]:
    return {"a": torch.ones(2, width).double(), "b": torch.full((width,), 0.25).double()}


IN_PLACE = {f.__name__: f for f in (state, part_of_the_state, inputs, shared, late)}
KINDS: dict[str, dict[str, Any]] = {
    "Picard": {},
    "averaged": {"iteration": KrasnoselskiiMann(0.5)},
    "Halpern": {"iteration": Halpern()},
    "Anderson": {"iteration": Anderson()},
    "Broyden": {"iteration": Broyden()},
    "Newton": {"iteration": NewtonKrylov()},
    "steepest block": {"block": 1, "rounds": 1},
    "other starts": {"other_starts": [torch.ones(2, 3).double()]},
}


def same(found: Curve, expected: Curve) -> bool:
    rows = [(found.lower, expected.lower), (found.size, expected.size), (found.residual, expected.residual)]
    return all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", IN_PLACE)
def test_curves_are_those_of_the_map_written_without(name: str, kind: str) -> None:
    x, y0 = given(), torch.zeros(2, 3).double()
    before = map_tensors(torch.clone, x)
    found = curve(IN_PLACE[name], x, 8, y0=y0, **KINDS[kind])
    assert same(found, curve(plain, given(), 8, y0=torch.zeros(2, 3).double(), **KINDS[kind]))
    assert [str(f) for f in found.findings] == [
        str(f) for f in curve(plain, given(), 8, y0=torch.zeros(2, 3).double(), **KINDS[kind]).findings
    ]
    assert not bool(y0.any())
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(tensors(x), tensors(before), strict=True))


@pytest.mark.parametrize("name", IN_PLACE)
def test_curves_of_wide_blocks(name: str) -> None:
    """Where tangents are mapped over: a batch of one and 2048 coordinates."""
    x, y0 = given(1024), torch.zeros(2, 1024).double()
    assert same(curve(IN_PLACE[name], x, 4, y0=y0, block=8), curve(plain, given(1024), 4, y0=y0, block=8))


@pytest.mark.parametrize("kind", ["Picard", "averaged", "Anderson"])
def test_curves_of_operators_that_write_into_the_same_storage(kind: str) -> None:
    storage: dict[torch.Size, Tensor] = {}

    def again(y: Tensor, x: Any) -> Tensor:
        kept = storage.setdefault(y.shape, torch.zeros_like(y))
        return kept.copy_(plain(y, x))

    x, y0 = given(), torch.zeros(2, 3).double()
    assert same(curve(again, x, 8, y0=y0, **KINDS[kind]), curve(plain, x, 8, y0=y0, **KINDS[kind]))


class OwnStart(ImplicitOperator):
    """Starts at `x / 2`, which it computes in place."""

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        return 0.5 * y + x

    def initial_state(self, x: Tensor) -> Tensor:
        return x.mul_(0.5)


@pytest.mark.parametrize("iteration", [None, Anderson()])
def test_own_starts_in_place(iteration: Any) -> None:
    x = 2 * ONE
    found = curve(OwnStart(), x, 3, iteration=iteration)
    assert found.lower[:2, 0].tolist() == pytest.approx([0.5, 1.25], rel=1e-6)
    assert found.size[:2, 0].tolist() == pytest.approx([1.0, 2.5])
    assert float(x) == 2.0


@pytest.mark.parametrize("iteration", [None, KrasnoselskiiMann(0.5), Anderson(), NewtonKrylov()])
def test_operators_that_do_not_work_in_place_are_not_copied(iteration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        pytest.fail("copies were made")

    monkeypatch.setattr(_curve, "OnCopies", refused)
    curve(plain, given(), 8, y0=torch.zeros(2, 3).double(), iteration=iteration, block=2)
    curve(plain, given(1024), 3, y0=torch.zeros(2, 1024).double(), iteration=iteration, block=8)
