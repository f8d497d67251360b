"""What cannot be solved is refused in one line: unusable arguments, and gradients that would be lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.errors import GradientUnavailableError, InputError, NonFiniteError, ShapeError
from eqtheory.operators import ImplicitOperator, as_operator
from eqtheory.solvers import (
    KrasnoselskiiMann,
    OnFailure,
    Stop,
    fixed_point,
)

RETURN = OnFailure.RETURN
ONE = torch.ones(1, dtype=torch.float64)


def half(y: Tensor, x: Tensor) -> Tensor:
    return 0.5 * y + x


class Shared(ImplicitOperator):
    """An operator whose values can be made wrong."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        return self.change(y)

    def initial_state(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


X23 = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((half, X23), InputError, "y0: got None, needed an initial state, since the operator has none; pass y0="),
        ((half, X23, [1.0]), InputError, "y0: got list, needed a torch.Tensor; wrap it"),
        (
            (half, X23, torch.ones(2, 3).long()),
            InputError,
            "y0: got dtype torch.int64, needed a floating-point tensor;",
        ),
        ((half, X23, torch.tensor(1.0)), ShapeError, "y0: got a tensor without axes, needed a batch axis first;"),
        (
            (half, X23, torch.ones(0, 3)),
            ShapeError,
            "y0: got an empty batch of shape (0, 3), needed at least one sample;",
        ),
        ((half, X23, X23 * torch.inf), NonFiniteError, "y0: got inf at index (0, 0), needed finite numbers;"),
        (
            (half, X23 * torch.nan, X23),
            NonFiniteError,
            "x: got a NaN or an infinity at index (0, 0), needed finite numbers;",
        ),
        ((half, torch.ones(3, 3), X23), ShapeError, "x: got shape (3, 3) for states of shape (2, 3), needed 2 samples"),
        ((half, torch.tensor(1.0), X23), ShapeError, "x: got shape () for states of shape (2, 3), needed 2 samples"),
        ((lambda y, x: y[:, :1], X23, X23), ShapeError, "G(y, x): got shape (2, 1), needed the state's shape (2, 3);"),
        ((Shared(lambda y: y[:1]), X23), ShapeError, "G(y, x): got shape (1, 3), needed the state's shape (2, 3);"),
        ((Shared(lambda y: 3.0), X23), ShapeError, "G(y, x): got float, needed the state's shape (2, 3);"),
        (
            (lambda y, x: y.double(), X23, X23),
            InputError,
            "G(y, x): got torch.float64 on cpu, needed torch.float32 on cpu, as the states; cast inside G, or pass y0 so",
        ),
        (
            (lambda y, x: y.mul_(0.5), X23, X23),
            InputError,
            "G: got an operator that overwrites its argument y, needed one that returns a new tensor; replace in-place",
        ),
        (
            (3.0, X23, X23),
            InputError,
            "function: got float, needed a callable (y, x) -> y; pass a function or a Module",
        ),
    ],
)
def test_unusable_arguments_are_refused(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        fixed_point(*arguments)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rtol": -1.0}, "rtol: got -1.0, needed a finite number >= 0; pass for example rtol=1e-6"),
        ({"atol": float("nan")}, "atol: got nan, needed a finite number >= 0; pass for example atol=1e-6"),
        ({"max_steps": -1}, "max_steps: got -1, needed an integer >= 0; pass for example max_steps=1000"),
        ({"max_steps": 2.5}, "max_steps: got 2.5, needed an integer >= 0; pass for example max_steps=1000"),
        ({"check_every": 0}, "check_every: got 0, needed an integer >= 1 or None; leave it at None"),
        ({"divergence": 1.0}, "divergence: got 1.0, needed a finite number > 1 or None; leave it at None"),
        ({"of": "rel"}, "of: got 'rel', needed a Quantity; pass Quantity.RESIDUAL or Quantity.CERTIFIED_ERROR"),
    ],
)
def test_stop_checks_its_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Stop(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("eps", [0.0, -0.5, 1.5, float("nan")])
def test_relaxations_are_checked(eps: float) -> None:
    with pytest.raises(InputError, match=f"^eps: got {eps}, needed 0 < eps <= 1; pass for example eps=0.5$"):
        KrasnoselskiiMann(eps)


def test_a_gradient_that_would_be_lost_is_refused() -> None:
    torch_module = torch.nn.Linear(3, 3)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch_module

        def forward(self, y: Tensor, x: Tensor) -> Tensor:
            return 0.1 * torch.tanh(self.layer(y)) + x

    net, weight = Net(), torch.full((3,), 0.5, requires_grad=True)
    wanting = X23.clone().requires_grad_()
    cases = {
        "x requires a gradient": (half, wanting, X23),
        "x[0] requires a gradient": (lambda y, x: y, (wanting,), X23),
        "y0 requires a gradient": (half, X23, wanting),
        "parameter layer.weight of G requires a gradient": (net, X23, X23),
        "G(y, x) requires a gradient, through a parameter or a captured tensor": (
            lambda y, x: weight * y + x,
            X23,
            X23,
        ),
    }
    for why, arguments in cases.items():
        with pytest.raises(GradientUnavailableError) as caught:
            fixed_point(*arguments)
        assert str(caught.value) == (
            f"eqtheory.solvers.fixed_point returns values without gradients, and {why}; "
            "use eqtheory.fixed_point, or call it under torch.no_grad()"
        )
        for context in (torch.no_grad(), torch.inference_mode()):
            with context:
                s = fixed_point(*arguments)
            assert bool(s.converged.all())
            assert not s.value.requires_grad
    with pytest.raises(GradientUnavailableError, match=r"parameter layer\.weight"):
        fixed_point(as_operator(net), X23, X23)


def test_grad_mode_is_left_as_it_was() -> None:
    seen = []

    def G(y: Tensor, x: Tensor) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return half(y, x)

    fixed_point(G, X23, 0 * X23)
    assert seen[0]  # so that a gradient would have shown
    assert not any(seen[1:])
    assert torch.is_grad_enabled()
