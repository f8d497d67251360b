"""Gradients of a fixed point written out plainly, and wrong ones: each changes one thing (T9, T9a).

A gradient takes an operator, its inputs (a tuple of tensors, batch first), a fixed point, a loss gradient and the place of the
input to differentiate by, and returns `B^T w'` for its adjoint `w'`. An operator that adds one of its inputs shows `w'` itself.
A claim is a gradient with the inequality it is held to. Honest claims and broken ones go through the same check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.theorems.jacobian_free import threshold

__all__ = [
    "BROKEN_ADJOINTS",
    "BROKEN_THRESHOLDS",
    "PLAIN",
    "AdjointClaim",
    "Gradient",
    "Inputs",
    "Operator",
    "Pullback",
    "ThresholdClaim",
    "condition_of",
]

Inputs = tuple[Tensor, ...]
Operator = Callable[[Tensor, Inputs], Tensor]
Gradient = Callable[[Operator, Inputs, Tensor, Tensor, int], Tensor]


class Pullback:
    """The two transposed derivatives of an operator at a state, by automatic differentiation.

    Args:
        G: the operator, sample by sample.
        inputs: its inputs.
        y: the states, shape `(batch, n)`.
        wrt: place of the input to differentiate by.
    """

    def __init__(self, G: Operator, inputs: Inputs, y: Tensor, wrt: int) -> None:
        self.state, self.leaf = y.detach().requires_grad_(), inputs[wrt].detach().requires_grad_()
        with torch.enable_grad():
            self.value = G(self.state, (*inputs[:wrt], self.leaf, *inputs[wrt + 1 :]))

    def state_transposed(self, w: Tensor) -> Tensor:
        """Multiply by the transposed derivative in the state.

        Args:
            w: shape `(batch, n)`.

        Returns:
            `J^T w`, shape `(batch, n)`.
        """
        return torch.autograd.grad(self.value, self.state, w, retain_graph=True)[0]

    def input_transposed(self, w: Tensor) -> Tensor:
        """Multiply by the transposed derivative in the input.

        Args:
            w: shape `(batch, n)`.

        Returns:
            `B^T w`, the shape of the input.
        """
        return torch.autograd.grad(self.value, self.leaf, w, retain_graph=True)[0]

    def jacobian(self) -> Tensor:
        """Form the derivative in the state, a row for each unit cotangent.

        Returns:
            `J`, shape `(batch, n, n)`.
        """
        rows = torch.eye(self.state.shape[1], dtype=self.state.dtype).unbind()
        return torch.stack([self.state_transposed(row.expand_as(self.state)) for row in rows], dim=1)


def _product(A: Tensor, v: Tensor) -> Tensor:
    return (A @ v.unsqueeze(2)).squeeze(2)


def _pulled(adjoint: Callable[[Pullback, Tensor], Tensor]) -> Gradient:
    """The gradient whose adjoint is computed from the pullback at the state and the loss gradient."""

    def gradient(G: Operator, inputs: Inputs, y: Tensor, v: Tensor, wrt: int) -> Tensor:
        pullback = Pullback(G, inputs, y, wrt)
        return pullback.input_transposed(adjoint(pullback, v))

    return gradient


def _series(terms: int, step: Callable[[Pullback, Tensor], Tensor], first: float = 1.0) -> Gradient:
    """The gradient with the adjoint `first * sum of step^k v` over `k < terms`."""

    def adjoint(at: Pullback, v: Tensor) -> Tensor:
        total = power = first * v
        for _ in range(terms - 1):
            power = step(at, power)
            total = total + power
        return total if terms else 0 * v

    return _pulled(adjoint)


def _solve(matrix: Callable[[Tensor], Tensor]) -> Gradient:
    """The gradient whose adjoint solves with the matrix made of `J`."""
    return _pulled(lambda at, v: torch.linalg.solve(matrix(at.jacobian()), v))


def _identity(J: Tensor) -> Tensor:
    return torch.eye(J.shape[1], dtype=J.dtype)


def _one_step(steps: int, relaxation: float) -> Gradient:  # noqa: ARG001  (one signature for all)
    return _pulled(lambda _, v: v)


def _neumann(steps: int, relaxation: float) -> Gradient:  # noqa: ARG001
    return _series(steps, lambda at, w: at.state_transposed(w))


def _implicit(steps: int, relaxation: float) -> Gradient:  # noqa: ARG001
    return _solve(lambda J: _identity(J) - J.mT)


def _phantom(steps: int, relaxation: float) -> Gradient:
    """Relaxed steps from the detached fixed point, recorded and differentiated as they are."""

    def gradient(G: Operator, inputs: Inputs, y: Tensor, v: Tensor, wrt: int) -> Tensor:
        leaf, state = inputs[wrt].detach().requires_grad_(), y.detach()
        recorded = (*inputs[:wrt], leaf, *inputs[wrt + 1 :])
        with torch.enable_grad():
            for _ in range(steps):
                state = (1 - relaxation) * state + relaxation * G(state, recorded)
        return torch.autograd.grad(state, leaf, v)[0]

    return gradient


@dataclass(frozen=True)
class AdjointClaim:
    """A gradient with what is claimed of it.

    Args:
        name: what was changed, or the name of the method.
        about: the inequality it is held to: `neumann_truncation` or `phantom_truncation` of T9, `residual_bound` of T9 with
            the residual promised, or none, for gradients sold as exact, or `deviation` of T9a for Jacobian-free ones.
        gradient: from the number of terms or steps and the relaxation to the gradient.
        tolerance: where the adjoint is solved for by iteration, its residual in the Euclidean norm over its own, as promised.
    """

    name: str
    about: str
    gradient: Callable[[int, float], Gradient]
    tolerance: float = 0.0


PLAIN: tuple[AdjointClaim, ...] = (
    AdjointClaim("neumann", "neumann_truncation", _neumann),
    AdjointClaim("phantom", "phantom_truncation", _phantom),
    AdjointClaim("implicit", "residual_bound", _implicit),
    AdjointClaim("one step", "deviation", _one_step),
)
"""The honest gradients, written as their statements read."""


def _relaxed(kept: float, taken: float) -> Callable[[Pullback, Tensor], Tensor]:
    return lambda at, w: kept * w + taken * at.state_transposed(w)


def _neumann_faults() -> tuple[AdjointClaim, ...]:
    def claim(name: str, gradient: Callable[[int, float], Gradient]) -> AdjointClaim:
        return AdjointClaim(name, "neumann_truncation", gradient)

    def last_power(K: int) -> Callable[[Pullback, Tensor], Tensor]:
        def adjoint(at: Pullback, v: Tensor) -> Tensor:
            for _ in range(K - 1):
                v = at.state_transposed(v)
            return v

        return adjoint

    def shifted(K: int) -> Callable[[Pullback, Tensor], Tensor]:
        def adjoint(at: Pullback, v: Tensor) -> Tensor:
            total = power = at.state_transposed(v)
            for _ in range(K - 1):
                power = at.state_transposed(power)
                total = total + power
            return total

        return adjoint

    return (
        claim("one term fewer", lambda K, a: _neumann(K - 1, a)),
        claim("powers 1 to K", lambda K, _: _pulled(shifted(K))),
        claim("J in place of its transpose", lambda K, _: _series(K, lambda at, w: _product(at.jacobian(), w))),
        claim("alternating signs", lambda K, _: _series(K, lambda at, w: -at.state_transposed(w))),
        claim("the last power alone", lambda K, _: _pulled(last_power(K))),
        claim("minus the gradient", lambda K, _: _series(K, lambda at, w: at.state_transposed(w), first=-1.0)),
    )


def _phantom_faults() -> tuple[AdjointClaim, ...]:
    def claim(name: str, gradient: Callable[[int, float], Gradient]) -> AdjointClaim:
        return AdjointClaim(name, "phantom_truncation", gradient)

    return (
        claim("factor lambda left out before the sum", lambda K, a: _series(K, _relaxed(1 - a, a))),
        claim("steps not relaxed, only scaled", lambda K, a: _series(K, _relaxed(0.0, 1.0), first=a)),
        claim("lambda and 1 - lambda exchanged", lambda K, a: _phantom(K, 1 - a)),
        claim("one relaxed step fewer", lambda K, a: _series(K - 1, _relaxed(1 - a, a), first=a)),
        claim("old state forgotten: lambda G alone", lambda K, a: _series(K, _relaxed(0.0, a), first=a)),
    )


def _implicit_faults() -> tuple[AdjointClaim, ...]:
    def claim(name: str, gradient: Gradient) -> AdjointClaim:
        return AdjointClaim(name, "residual_bound", lambda *_: gradient)

    def at_the_start(G: Operator, inputs: Inputs, y: Tensor, v: Tensor, wrt: int) -> Tensor:
        return _implicit(1, 1.0)(G, inputs, torch.zeros_like(y), v, wrt)

    return (
        claim("state detached, only the last step seen", _one_step(1, 1.0)),
        claim("I + J^T solved", _solve(lambda J: _identity(J) + J.mT)),
        claim("J^T - I solved", _solve(lambda J: J.mT - _identity(J))),
        claim("transpose forgotten in the solve", _solve(lambda J: _identity(J) - J)),
        claim("a batch mate's Jacobian", _solve(lambda J: _identity(J) - J.mT.roll(1, dims=0))),
        claim("Jacobian at the starting state", at_the_start),
    )


def _one_step_faults() -> tuple[AdjointClaim, ...]:
    def claim(name: str, adjoint: Callable[[Pullback, Tensor], Tensor]) -> AdjointClaim:
        return AdjointClaim(name, "deviation", lambda *_: _pulled(adjoint))

    return (
        claim("minus the direction", lambda _, v: -v),
        claim("the Jacobian term alone", lambda at, v: at.state_transposed(v)),
        claim("one term subtracted", lambda at, v: v - at.state_transposed(v)),
        claim("a batch mate's loss gradient", lambda _, v: v.roll(1, dims=0)),
        claim("signs of the loss gradient", lambda _, v: v.sign()),
        claim("half the loss gradient", lambda _, v: v / 2),
    )


BROKEN_ADJOINTS: tuple[AdjointClaim, ...] = (
    *_neumann_faults(),
    *_phantom_faults(),
    *_implicit_faults(),
    *_one_step_faults(),
)
"""Every broken gradient; each is held to an inequality that it violates."""


def condition_of(matrix: Tensor) -> Tensor:
    """Condition numbers in the Euclidean norm.

    Args:
        matrix: shape `(batch, n, p)`.

    Returns:
        Shape `(batch,)`.
    """
    s = torch.linalg.svdvals(matrix)
    return s[:, 0] / s[:, -1]


@dataclass(frozen=True)
class ThresholdClaim:
    """A claimed largest `|d_yG|` below which the Jacobian-free direction descends.

    Args:
        name: what was changed.
        threshold: from `M`, shape `(batch, n, p)`, to the claim, shape `(batch,)`.
    """

    name: str
    threshold: Callable[[Tensor], Tensor]


def _diagonal_condition(M: Tensor) -> Tensor:
    lengths = M.square().sum(dim=2)
    return lengths.amax(dim=1) / lengths.amin(dim=1)


def _mean_condition(M: Tensor) -> Tensor:
    s = torch.linalg.svdvals(M).square()
    return s[:, 0] / s.mean(dim=1)


BROKEN_THRESHOLDS: tuple[ThresholdClaim, ...] = (
    ThresholdClaim("contraction alone", lambda M: torch.ones(M.shape[0], dtype=M.dtype)),
    ThresholdClaim("cond(M) for cond(M M^T)", lambda M: threshold(condition_of(M))),
    ThresholdClaim("lengths of the rows of M", lambda M: threshold(_diagonal_condition(M))),
    ThresholdClaim("mean in place of the smallest eigenvalue", lambda M: threshold(_mean_condition(M))),
    ThresholdClaim("2 / sqrt(1 + kappa)", lambda M: 2 / (1 + condition_of(M) ** 2).sqrt()),
    ThresholdClaim("root of the threshold", lambda M: threshold(condition_of(M) ** 2).sqrt()),
)
"""Every broken threshold; just below each of them some Jacobian and some loss make the direction ascend."""
