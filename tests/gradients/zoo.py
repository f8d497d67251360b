"""Deliberately broken rules, each violating one law of a gradient; the laws must reject them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqtheory.gradients import Equilibrium, Gradient

__all__ = ["BROKEN"]


def _solved(
    equilibrium: Equilibrium, at: Tensor, value: Tensor, v: Tensor, *, steps: int, transposed: bool = True
) -> Tensor:
    """`w = v + J^T w`, or with `J`, by plain iteration."""
    dummy = torch.zeros_like(value).requires_grad_()
    linear = torch.autograd.grad(value, at, dummy, create_graph=True)[0]
    w = v
    for _ in range(steps):
        if transposed:
            w = v + torch.autograd.grad(value, at, w, retain_graph=True)[0]
        else:
            w = v + torch.autograd.grad(linear, dummy, w, retain_graph=True)[0]
    return w.detach()


class Hooked(Gradient):
    """The usual hook: right at first, but the second derivative lacks the path through the fixed point."""

    steps, transposed = 400, True

    def attach(self, equilibrium: Equilibrium) -> Tensor:
        with torch.enable_grad():
            at = equilibrium.value.detach().requires_grad_()
            value = equilibrium.operator(at, equilibrium.x)
        z = equilibrium.operator(equilibrium.value, equilibrium.x)
        z.register_hook(lambda v: _solved(equilibrium, at, value, v, steps=self.steps, transposed=self.transposed))
        return z


class Untransposed(Hooked):
    """Solves with `J` in the place of `J^T`."""

    transposed = False


class Stopped(Hooked):
    """Gives up after three terms and says nothing."""

    steps = 3


class Detached(Gradient):
    """Loses the inputs."""

    def attach(self, equilibrium: Equilibrium) -> Tensor:
        return equilibrium.value + 0 * sum(t.sum() for t in _leaves(equilibrium.x))


class Shifted(Hooked):
    """Returns one more evaluation in the place of the certified value."""

    def attach(self, equilibrium: Equilibrium) -> Tensor:
        return super().attach(equilibrium) + 1e-9


def _leaves(x: Any) -> list[Tensor]:
    return [x] if isinstance(x, Tensor) else [t for part in x for t in _leaves(part)]


BROKEN: dict[Gradient, set[str]] = {
    Untransposed(): {"value", "first", "second"},
    Stopped(): {"value", "first", "second"},
    Detached(): {"first"},  # zero is the derivative of zero
    Shifted(): {"value", "second"},
    Hooked(): {"value", "second"},
}
"""Every broken rule, and the laws it violates."""
