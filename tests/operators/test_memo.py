"""Work is done once per input, never with a stale answer, and never at the price of keeping inputs alive."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor

from eqtheory.operators import OncePerInput


class Counted:
    """Doubles its input and remembers how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return 2 * x


@pytest.fixture
def work() -> Counted:
    return Counted()


def test_the_same_tensor_is_worked_on_once(work: Counted) -> None:
    once, x = OncePerInput(work), torch.ones(3)
    first = once(x)
    assert once(x) is first
    assert work.calls == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(1),
        lambda x: x.__setitem__(0, 5.0),
        lambda x: x[1:].mul_(3),
        lambda x: x.view(3, 1).zero_(),
        lambda x: x.detach().fill_(9.0),
        lambda x: torch.neg(x, out=x),
    ],
)
def test_a_change_in_place_is_seen(work: Counted, change: object) -> None:
    once, x = OncePerInput(work), torch.ones(3)
    once(x)
    change(x)  # type: ignore[operator]
    assert torch.equal(once(x), 2 * x)
    assert work.calls == 2


def test_a_new_tensor_of_equal_values_is_worked_on_again(work: Counted) -> None:
    once, x = OncePerInput(work), torch.ones(3)
    once(x)
    once(x.clone())
    assert work.calls == 2


def test_two_inputs_in_turn_are_worked_on_once_each(work: Counted) -> None:
    once, a, b = OncePerInput(work), torch.ones(3), torch.zeros(3)
    for _ in range(5):
        assert torch.equal(once(a), 2 * a)
        assert torch.equal(once(b), 2 * b)
    assert work.calls == 2


def test_only_a_few_results_are_held(work: Counted) -> None:
    once = OncePerInput(work)
    inputs = [torch.full((3,), float(k)) for k in range(50)]
    watches = [weakref.ref(once(x)) for x in inputs]
    gc.collect()
    assert sum(w() is not None for w in watches) <= 8
    assert torch.equal(once(inputs[0]), torch.zeros(3))
    assert work.calls == 51


def test_a_new_tensor_at_the_same_place_is_not_taken_for_the_old_one(work: Counted) -> None:
    once = OncePerInput(work)
    for k in range(200):
        x = torch.full((3,), float(k))  # freed and reused by the allocator on every turn
        assert torch.equal(once(x), torch.full((3,), 2.0 * k))
    assert work.calls == 200


def test_inputs_are_not_kept_alive(work: Counted) -> None:
    once, x = OncePerInput(work), torch.ones(3)
    once(x)
    watch = weakref.ref(x)
    del x
    gc.collect()
    assert watch() is None


def test_results_that_carry_a_gradient_are_not_shared(work: Counted) -> None:
    once, x = OncePerInput(work), torch.ones(3, requires_grad=True)
    for _ in range(2):
        # A shared graph would have been freed by the first backward pass.
        (gradient,) = torch.autograd.grad(once(x).square().sum(), x)
        assert torch.equal(gradient, torch.full((3,), 8.0))
    assert work.calls == 2


def test_a_leaf_that_starts_to_require_a_gradient_is_worked_on_again(work: Counted) -> None:
    once, x = OncePerInput(work), torch.ones(3)
    assert not once(x).requires_grad
    x.requires_grad_()
    assert once(x).requires_grad


def test_inference_tensors_are_not_remembered(work: Counted) -> None:
    once = OncePerInput(work)
    with torch.inference_mode():
        x = torch.ones(3)
        once(x)
        x.add_(1)  # not counted by torch
        assert torch.equal(once(x), torch.full((3,), 4.0))
    assert work.calls == 2


def test_a_failure_is_not_remembered() -> None:
    def refuse(x: Tensor) -> Tensor:
        if bool((x == 0).any()):
            raise ZeroDivisionError
        return 1 / x

    once, x = OncePerInput(refuse), torch.zeros(2)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            once(x)
    assert torch.equal(once(x.add_(2)), torch.full((2,), 0.5))
