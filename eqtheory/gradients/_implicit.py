"""The derivative of the implicit function theorem, by one linear solve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.gradients._equations import LinearEquation
from eqtheory.gradients._gradient import Gradient, euclidean_factor, surely_contracts
from eqtheory.gradients._reattach import AdjointRule
from eqtheory.gradients._report import AdjointLog, OnAdjointFailure
from eqtheory.gradients._solve import AdjointSettings, solve_linear
from eqtheory.operators import ImplicitOperator
from eqtheory.operators._linearization import Linearization
from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers import AndersonTGS, Solver, Stop

__all__ = ["AdjointMemory", "Implicit", "adjoint_stop"]

_SOLVER = AndersonTGS(3)


@final
class AdjointMemory:
    """The last adjoint, from which the next one of the same shape starts.

    It saves products where successive backward passes ask for nearly the same thing: the same samples in the same order with
    parameters that have moved a little. The result differs from one without memory by no more than the tolerance.
    """

    def __init__(self) -> None:
        self._last: Tensor | None = None

    def fits(self, v: Tensor) -> bool:
        """Whether there is an adjoint to start from.

        Args:
            v: right-hand side.

        Returns:
            True where shape, type and device are those of the last one.
        """
        last = self._last
        return last is not None and (last.shape, last.dtype, last.device) == (v.shape, v.dtype, v.device)

    def start(self, v: Tensor) -> Tensor:
        """Where to start.

        Args:
            v: right-hand side.

        Returns:
            The last adjoint, or `v` where that has another shape, type or device.
        """
        return self._last if self._last is not None and self.fits(v) else v

    def keep(self, w: Tensor) -> None:
        """Remember.

        Args:
            w: an adjoint.
        """
        self._last = w.detach() if bool(torch.isfinite(w).all()) else None


@final
@dataclass(frozen=True)
class Implicit(Gradient):
    """Differentiate the equation that the fixed point solves, not the way to it: exact, in memory that no step adds to.

    `Dy* = (I - dG/dy)^{-1} dG/dx`. The backward pass solves `w = v + (dG/dy)^T w` with any solver of the engine, sample by sample, and
    takes `w` to the inputs, parameters and captured tensors by one more product. Second and higher derivatives, forward
    tangents and `torch.func` are carried. The derivative belongs to the state that was returned: a forward residual adds an
    error of its own (T9's certificate).

    Memory: one evaluation's graph. Time: one evaluation, and as many products, each about as expensive as an evaluation or two, as
    the adjoint solver needs.

    Args:
        solver: of the adjoint equation.
        stop: when a sample's adjoint is solved; by default a relative residual of two thirds of the type's digits, `u^(2/3)`:
            2e-11 in float64, 1.5e-5 in float32.
        on_failure: what to do where it is not solved, or the operator is seen to expand.
        expects_contraction: whether `dG/dy` with an eigenvalue of modulus one or more, as far as that can be seen, counts as a failure
            although the equation is solved. The gradient is then that of a fixed point which Picard's iteration leaves.
        exact_up_to: largest dimension of the state in which `FALL_BACK` builds a dense matrix.
        memory: starts every adjoint from the last one.

    Raises:
        InputError: an argument of another type.

    Theorem: T9.

    Example:
        >>> import torch, eqtheory as eq
        >>> x = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
        >>> y = eq.fixed_point(lambda y, x: 0.5 * y + x, x, torch.zeros_like(x), gradient=Implicit()).value
        >>> torch.autograd.grad(y.sum(), x)[0]
        tensor([2.], dtype=torch.float64)
    """

    solver: Solver[Any] = _SOLVER
    stop: Stop | None = None
    on_failure: OnAdjointFailure = OnAdjointFailure.RAISE
    expects_contraction: bool = True
    exact_up_to: int = 256
    memory: AdjointMemory | None = None

    def __post_init__(self) -> None:
        wanted: list[tuple[str, Any, type, str]] = [
            ("solver", self.solver, Solver, "AndersonTGS(3)"),
            ("on_failure", self.on_failure, OnAdjointFailure, "OnAdjointFailure.RAISE"),
        ]
        wanted += [("stop", self.stop, Stop, "Stop(rtol=1e-6)")] if self.stop is not None else []
        wanted += [("memory", self.memory, AdjointMemory, "AdjointMemory()")] if self.memory is not None else []
        for name, came, kind, example in wanted:
            if not isinstance(came, kind):
                shown = came.__name__ if isinstance(came, type) else repr(came)
                raise InputError(name, shown, f"a {kind.__name__}", f"pass for example {name}={example}")
        if not (isinstance(self.exact_up_to, int) and self.exact_up_to >= 0):
            raise InputError("exact_up_to", str(self.exact_up_to), "an integer >= 0", "pass exact_up_to=256")

    def rule(self, operator: ImplicitOperator, log: AdjointLog) -> AdjointRule:
        """Solve with the engine.

        Args:
            operator: what is known of the operator.
            log: receives the reports.

        Returns:
            The rule.
        """
        return _Engine(self, operator, log)


def adjoint_stop(dtype: torch.dtype) -> Stop:
    """The stop test of an adjoint where none was chosen: two thirds of the digits.

    Args:
        dtype: of the states.

    Returns:
        A relative residual of `u^(2/3)`.
    """
    return Stop(rtol=unit_roundoff(dtype) ** (2 / 3))


@final
class _Engine(AdjointRule):
    """The linear equations by the solvers of the engine."""

    def __init__(self, gradient: Implicit, operator: ImplicitOperator, log: AdjointLog) -> None:
        self._gradient, self._operator, self._log = gradient, operator, log

    def adjoint(self, jacobian: Linearization, v: Tensor) -> Tensor:
        memory = self._gradient.memory
        w = self._solve(jacobian, v, transposed=True, start=v if memory is None else memory.start(v))
        if memory is not None:
            memory.keep(w)
        return w

    def tangent(self, jacobian: Linearization, dz: Tensor) -> Tensor:
        return self._solve(jacobian, dz, transposed=False, start=dz)

    def _solve(self, jacobian: Linearization, b: Tensor, *, transposed: bool, start: Tensor) -> Tensor:
        chosen = self._gradient
        equation = LinearEquation(
            jacobian,
            b,
            transposed=transposed,
            compacts=self._operator.compacts,
            mu=euclidean_factor(self._operator),
            cleared=transposed and chosen.memory is not None and chosen.memory.fits(b),
        )
        settings = AdjointSettings(
            chosen.solver,
            chosen.stop or adjoint_stop(b.dtype),
            chosen.on_failure,
            chosen.expects_contraction and not surely_contracts(self._operator),
            chosen.exact_up_to,
        )
        return solve_linear(equation, start, settings, self._log)
