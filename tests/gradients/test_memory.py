"""What a solve keeps for its backward pass, counted: tensors and bytes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.gradients import Implicit, Neumann, OneStep, Phantom, Unrolled, fixed_point
from eqtheory.solvers import Halpern, OnFailure, Picard, Stop
from tests.gradients.operators import normal

STEPS = (10, 100, 1000)
W = (0.99 * torch.linalg.qr(normal(1, 8, 8)).Q).requires_grad_()
X = (1e-3 * normal(2, 4, 8)).requires_grad_()


def saved(rule: Any, steps: int, solver: Any = None) -> tuple[int, int]:
    """How many tensors are saved, and how many bytes."""
    kept: list[Tensor] = []

    def pack(t: Tensor) -> Tensor:
        kept.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        found = fixed_point(
            lambda y, x: torch.tanh(y @ W + x),
            X,
            torch.zeros_like(X),
            solver=solver or Picard(),
            gradient=rule,
            stop=Stop(rtol=0.0, max_steps=steps),
            on_failure=OnFailure.RETURN,
        )
    assert found.value.requires_grad
    return len(kept), sum(t.numel() * t.element_size() for t in kept)


@pytest.mark.parametrize("rule", [Implicit(), Neumann(5), OneStep(), Phantom(5, 0.5)], ids=lambda r: type(r).__name__)
def test_memory_does_not_depend_on_the_number_of_steps(rule: Any) -> None:
    assert len({saved(rule, steps) for steps in STEPS}) == 1


def test_a_single_evaluation_is_all_that_is_kept() -> None:
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
        torch.tanh(torch.zeros_like(X).requires_grad_() @ W + X)
    tensors, _ = saved(OneStep(), 100)
    assert tensors <= len(kept)
    tensors, _ = saved(Implicit(), 100)
    # beside: the value and the states at which it was evaluated, the fixed point, and both operands of second derivatives
    assert tensors == len(kept) + 5


def steps_taken(steps: int) -> int:
    with torch.no_grad():
        found = fixed_point(
            lambda y, x: torch.tanh(y @ W + x),
            X,
            torch.zeros_like(X),
            stop=Stop(rtol=0.0, max_steps=steps),
            on_failure=OnFailure.RETURN,
        )
    return int(found.steps.max())


def test_unrolled_memory_is_linear_and_checkpointed_memory_is_not() -> None:
    taken = [steps_taken(steps) for steps in (10, 40, 160)]
    assert taken == [10, 40, 160]  # none of them stands still before
    plain = [saved(Unrolled(), steps) for steps in taken]
    # Exactly so many tensors and bytes a step, and nothing else; the first step alone has no state to differentiate in.
    for (few, less), (many, more), fewer, later in zip(plain, plain[1:], taken, taken[1:], strict=False):
        assert (many - few, more - less) == (
            (later - fewer) * (few + 1) // fewer,
            (later - fewer) * (plain[1][1] - plain[0][1]) // 30,
        )
        assert (few + 1) % fewer == 0
    marked = [saved(Unrolled(checkpoint_every=4), steps)[0] for steps in taken]
    assert all(few < many / 3 for few, (many, _) in zip(marked, plain, strict=True))
    # With a checkpoint every root of the number of steps, what is kept grows like the root.
    roots = [saved(Unrolled(checkpoint_every=int(steps**0.5)), steps)[0] for steps in (16, 64, 144)]
    assert roots[1] < 2.2 * roots[0]
    assert roots[2] < 3.3 * roots[0]


def test_checkpoints_change_no_derivative() -> None:
    for solver in (Picard(), Halpern()):
        gradients = []
        for every in (None, 3, 7):
            y0 = torch.zeros_like(X).requires_grad_()
            found = fixed_point(
                lambda y, x: torch.tanh(y @ W + x),
                X,
                y0,
                solver=solver,
                gradient=Unrolled(every),
                stop=Stop(rtol=1e-2, max_steps=2000),
            )
            gradients.append(torch.autograd.grad(found.value.sin().sum(), (W, y0)))
        for other in gradients[1:]:
            for a, b in zip(gradients[0], other, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-14)
