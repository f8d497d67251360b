"""What a traced bound refuses, and what it says then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from eqtheory.errors import InputError, NonFiniteError, NotBoundedError, ShapeError
from eqtheory.lipschitz import traced_lipschitz, traced_regularity
from eqtheory.norms import Spectral, Weighted

Y = torch.ones(1, 4)
STATE = torch.zeros(4)


def on_values(y: Tensor) -> Tensor:
    return y if y.sum() > 0 else -y


def counted(y: Tensor) -> Tensor:
    STATE.add_(1)
    return y + STATE


def overwrites(y: Tensor) -> Tensor:
    y.add_(1)
    return y


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "branch": (
        on_values,
        r"tracing: GuardOnDataDependentSymNode: .*; write it with tensor operations, without branches",
    ),
    "item": (lambda y: y * y.mean().item(), r"aten\._local_scalar_dense\.default: makes a number of a tensor; keep"),
    "state": (counted, r"aten\.add_\.Tensor: changes a tensor that outlives the call; keep no state"),
    "in place": (overwrites, r"aten\.copy_\.default: changes a tensor in place; return a new tensor instead"),
    "comparison": (
        lambda y: torch.where(y > 0, y, -y),
        r"aten\.gt\.Scalar: jumps where its argument passes a threshold",
    ),
    "whole numbers": (lambda y: y.to(torch.int32).float(), r"aten\._to_copy\.default: jumps"),
    "round": (torch.round, r"aten\.round\.default: jumps"),
    "floor": (torch.floor, r"aten\.floor\.default: jumps"),
    "sign": (torch.sign, r"aten\.sign\.default: jumps"),
    "hardshrink": (F.hardshrink, r"aten\.hardshrink\.default: jumps"),
    "order": (
        lambda y: y.gather(1, y.sort().indices),
        r"aten\.gather\.default: reads positions or statistics that jump",
    ),
    "random": (lambda y: y + torch.rand(4), r"aten\.rand\.default: draws random numbers; call \.eval\(\) first"),
    "noise like": (lambda y: y + torch.randn_like(y), r"aten\.randn_like\.default: draws random numbers"),
    "dropout": (nn.Dropout(0.5), r"aten\.bernoulli\.p: draws random numbers"),
    "batch": (
        lambda y: F.batch_norm(y.reshape(1, 2, 2), STATE[:2], STATE[:2] + 1, training=True),
        r"aten\.native_batch_norm\.default: normalises by statistics of the batch; call \.eval\(\) first|outlives the call",
    ),
    "square": (
        lambda y: y * y,
        r"aten\.mul\.Tensor: multiplies two values .* one of them is not bounded; pass ranges=",
    ),
    "gate": (lambda y: y * torch.sigmoid(y), r"aten\.mul\.Tensor: multiplies two values"),
    "attention": (lambda y: torch.softmax(y.mT @ y, -1), r"aten\.mm\.default: multiplies two values"),
    "division": (
        lambda y: torch.tanh(y) / torch.sin(y),
        r"aten\.div\.Tensor: divides by a value that .* may be zero; add",
    ),
    "root": (lambda y: y.abs().sqrt(), r"aten\.sqrt\.default: has slopes without bound at zero; add a constant"),
    "logarithm": (lambda y: torch.sigmoid(y).log(), r"aten\.log\.default: has slopes without bound at zero"),
    "exponential": (
        torch.exp,
        r"aten\.exp\.default: has slopes without bound where its argument has no limits; pass ranges=",
    ),
    "cube": (lambda y: y**3, r"aten\.pow\.Tensor_Scalar: has slopes without bound where its argument has no limits"),
    "broken power": (lambda y: y**1.5, r"aten\.pow\.Tensor_Scalar: .* exponent that is no positive integer"),
    "solve": (
        lambda y: torch.linalg.solve(torch.eye(4), y[0]),
        r"aten\._linalg_solve_ex\.default: has no rule, so nothing",
    ),
    "no eps": (
        lambda y: F.layer_norm(y, (4,), eps=0.0),
        r"native_layer_norm\.default: divides by a standard deviation",
    ),
    "softplus": (lambda y: F.softplus(y, threshold=2.0), r"aten\.softplus\.default: jumps at its threshold 2\.0"),
    "threshold": (lambda y: F.threshold(y, 0.1, 20.0), r"aten\.threshold\.default: jumps at its threshold"),
    "rounded division": (lambda y: torch.div(y, 3, rounding_mode="floor"), r"rounds what depends|jumps"),
    "moving kernel": (
        lambda y: F.conv1d(torch.ones(1, 1, 9), y.reshape(1, 1, 4)),
        r"aten\.convolution\.default: has a kernel that depends on the arguments",
    ),
    "text": (lambda _: "no tensor", r"the output: a str; return one tensor"),
    "several": (lambda y: (y, y), r"the output: a tuple; return one tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_no_bound_is_better_than_a_wrong_one(name: str) -> None:
    function, message = REFUSED[name]
    with pytest.raises(NotBoundedError, match=message):
        traced_lipschitz(function, (Y,))


INFINITE = torch.tensor([1.0, torch.inf, 1.0, 1.0])


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y * INFINITE,
        lambda y: y + INFINITE,
        lambda y: y / torch.zeros(4),
        lambda y: y.masked_fill(torch.eye(4, dtype=torch.bool)[:1], -torch.inf),
        lambda y: torch.empty(1, 4) + 0 * y,
        lambda y: y + torch.log(torch.zeros(4)),
    ],
    ids=["factor", "term", "divisor", "mask", "unwritten memory", "computed"],
)
def test_constants_that_are_not_finite(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(NonFiniteError, match=r"got .*(NaN|infinity|inf)"):
        traced_lipschitz(function, (Y,))


def test_arguments_are_checked() -> None:
    with pytest.raises(
        ShapeError, match=r"arguments\[0\]: got a batch of 2, needed one sample, first axis 1; pass y\[:1\]"
    ):
        traced_lipschitz(torch.tanh, (torch.ones(2, 4),))
    with pytest.raises(InputError, match=r"arguments: got Tensor, needed a tuple of tensors"):
        traced_lipschitz(torch.tanh, Y)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"norm: got spectral, needed a norm that rules are known for"):
        traced_lipschitz(torch.tanh, (Y,), norm=Spectral())
    with pytest.raises(ShapeError, match=r"norm: got weights of shape \(3,\), needed \(4,\); one weight per entry"):
        traced_lipschitz(torch.tanh, (Y,), norm=Weighted(torch.ones(3)))
    with pytest.raises(InputError, match=r"wrt: got 1, needed different places from 0 to 0"):
        traced_lipschitz(torch.tanh, (Y,), wrt=1)
    with pytest.raises(InputError, match=r"ranges: got 2 intervals, needed 1, one per argument"):
        traced_lipschitz(torch.tanh, (Y,), ranges=[None, None])
    with pytest.raises(InputError, match=r"ranges: got \(1\.0, 0\.0\), needed low <= high"):
        traced_lipschitz(torch.tanh, (Y,), ranges=[(1.0, 0.0)])
    with pytest.raises(InputError, match=r"exact_up_to: got 0, needed an integer >= 1"):
        traced_lipschitz(torch.tanh, (Y,), exact_up_to=0)


def test_a_budget_that_grows_with_the_state_is_refused() -> None:
    with pytest.raises(NotBoundedError, match=r"aten\.mul\.Tensor: multiplies two values"):
        traced_regularity(lambda y, x: y - 0.5 * (x * y - 1), Y, Y, ranges=(None, (0.5, 1.0)))
