"""States that are tuples of tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import BlockSum, Euclidean
from eqtheory.operators import FunctionOperator, Regularity
from eqtheory.solvers import Anderson, AndersonTGS, NewtonKrylov, Picard, Solver, Stop, fixed_point
from tests.solvers.laws import same_bits

Pair = tuple[Tensor, Tensor]


def coupled(y: Pair, x: Tensor) -> Pair:
    """A vector and a matrix that feed each other."""
    u, v = y
    return 0.5 * torch.tanh(v.sum(dim=2)) + x, 0.3 * u.unsqueeze(2) * torch.ones(1, 1, 2, dtype=u.dtype) - 0.2 * v


def packed(y: Tensor, x: Tensor) -> Tensor:
    u, v = coupled((y[:, :3], y[:, 3:].reshape(-1, 3, 2)), x)
    return torch.cat([u, v.reshape(-1, 6)], dim=1)


X = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
START: Pair = (torch.zeros(5, 3, dtype=torch.float64), torch.zeros(5, 3, 2, dtype=torch.float64))


@pytest.mark.parametrize(
    "solver", [Picard(), Anderson(), AndersonTGS(), NewtonKrylov()], ids=lambda s: type(s).__name__
)
def test_a_tuple_is_solved_as_the_vector_it_is(solver: Solver[Any]) -> None:
    s = fixed_point(coupled, X, START, solver=solver, iterates=True)
    flat = fixed_point(packed, X, torch.zeros(5, 9, dtype=torch.float64), solver=solver, iterates=True)
    assert isinstance(s.value, tuple)
    assert [tuple(part.shape) for part in s.value] == [(5, 3), (5, 3, 2)]
    assert same_bits(torch.cat([s.value[0], s.value[1].reshape(5, 6)], dim=1), flat.value)
    assert same_bits(s.residual, flat.residual)
    assert s.trace.iterates[1].shape == (len(flat.trace.residuals), 5, 3, 2)
    image = coupled(s.value, X)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(image, s.value, strict=True))


def test_norms_of_tuples_weigh_their_parts() -> None:
    norm = BlockSum((3, 6), (1.0, 10.0), Euclidean())
    G = FunctionOperator(coupled, regularity=Regularity.declared(mu=0.99, L0=1.0, L1=0.0, state_norm=norm))
    s = fixed_point(G, X, START, stop=Stop(rtol=1e-9))
    u, v = coupled(s.value, X)
    by_hand = (u - s.value[0]).norm(dim=1) + 10 * (v - s.value[1]).flatten(1).norm(dim=1)
    torch.testing.assert_close(s.residual, by_hand, rtol=1e-6, atol=0.0)


def test_an_operator_may_supply_the_tuple() -> None:
    G = FunctionOperator(coupled, initial_state=lambda x: (0 * x, torch.zeros(len(x), 3, 2, dtype=x.dtype)))
    assert same_bits(fixed_point(G, X).value[1], fixed_point(coupled, X, START).value[1])


def test_samples_of_tuples_leave_the_batch() -> None:
    x = torch.randn(64, 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x *= torch.logspace(-4, 1, 64, dtype=torch.float64).unsqueeze(1)
    sizes = []

    def G(y: Pair, x: Tensor) -> Pair:
        sizes.append(len(x))
        return 0.95 * torch.sin(y[1]) + x, 0.9 * y[0]

    both = fixed_point(G, x, (0 * x, 0 * x), stop=Stop(rtol=1e-9))
    assert min(sizes) < 40
    alone = fixed_point(G, x[9:10], (0 * x[9:10], 0 * x[9:10]), stop=Stop(rtol=1e-9))
    assert same_bits(both.value[1][9], alone.value[1][0])


@pytest.mark.parametrize(
    ("y0", "error", "message"),
    [
        ((), InputError, "y0: got an empty tuple, needed at least one tensor; pass the starting states"),
        ((torch.zeros(5, 3), torch.zeros(4, 3)), ShapeError, "y0[1]: got 4 samples beside 5 in y0[0]"),
        (
            (torch.zeros(5, 3), torch.zeros(5, 3).double()),
            InputError,
            "y0[1]: got torch.float64 on cpu beside torch.float32",
        ),
    ],
)
def test_tuples_are_checked(y0: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        fixed_point(coupled, X, y0)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "G", [lambda y, x: y[0], lambda y, x: (y[0],), lambda y, x: (y[1], y[0])], ids=["tensor", "short", "swapped"]
)
def test_an_operator_has_to_return_the_tuple(G: Any) -> None:
    with pytest.raises(ShapeError, match="an operator maps states to states"):
        fixed_point(G, X, START)
