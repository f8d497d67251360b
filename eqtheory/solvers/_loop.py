"""The entry to every solve: check what came, run the solver, and the next one where it failed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound
from eqtheory.errors import InputError, SolverError
from eqtheory.operators import ImplicitOperator, as_operator
from eqtheory.solvers._certificate import Certificate
from eqtheory.solvers._inputs import first_value, refuse_gradients, starting_states
from eqtheory.solvers._ledger import Ledger
from eqtheory.solvers._measure import Gauge
from eqtheory.solvers._packing import Packed
from eqtheory.solvers._picard import Picard
from eqtheory.solvers._progress import Watcher
from eqtheory.solvers._run import Run
from eqtheory.solvers._sequence import counted_on, followed_by, restart
from eqtheory.solvers._solution import Memory, Recorder, Solution, Trace
from eqtheory.solvers._solver import Solver
from eqtheory.solvers._status import ConvergenceWarning, OnFailure
from eqtheory.solvers._stop import Quantity, Stop

__all__ = ["certify", "fixed_point"]

_PICARD = Picard()
_STOP = Stop()
_CHECK_EVERY_ON_ACCELERATORS = 8
"""A look from the host drains the queue of an accelerator; every eighth step the wait is small beside the work."""
_DECLARE = "declare it, for example with FunctionOperator(G, regularity=Regularity.declared(mu=0.9, L0=1.0, L1=0.0))"


@dataclass(frozen=True)
class _Setting:
    """What is the same for every attempt of one call."""

    operator: ImplicitOperator
    x: Any
    stop: Stop
    gauge: Gauge
    certificate: Certificate | None
    every: int
    progress: Watcher | None
    trace: bool
    iterates: bool

    def ledger(self, y: Tensor) -> Ledger:
        """An account in which every sample is iterated."""
        return Ledger(self.stop, self.gauge, self.certificate, y, prompt=self.every == 1)


def fixed_point(
    G: ImplicitOperator | Callable[[Any, Any], Any],
    x: Any,
    y0: Tensor | tuple[Tensor, ...] | Solution | None = None,
    *,
    solver: Solver[Any] = _PICARD,
    stop: Stop = _STOP,
    fallback: Sequence[Solver[Any]] = (),
    on_failure: OnFailure = OnFailure.RAISE,
    trace: bool = False,
    iterates: bool = False,
    progress: Watcher | None = None,
) -> Solution:
    """Solve `y = G(y, x)` for every sample of a batch.

    A sample's result does not depend on its batch mates as long as `G` has that property (matrix products of BLAS do not have
    it to the last bit). Samples that have converged are not moved, and once enough of them have, no longer computed. No
    gradient is carried; `eqtheory.fixed_point` takes the same arguments and carries it.

    Args:
        G: an operator, a plain function or a module of signature `(y, x) -> y` that does not overwrite `y`.
        x: inputs, a tensor with the batch first or a nest of tensors (tuple, list, mapping, dataclass); finite.
        y0: starting states, shape `(batch, ...)`; or a tuple of such tensors, which `G` then takes and returns; or the
            `Solution` of an earlier solve, which is resumed: its values are the start, an equal solver goes on with its memory
            of the samples that ran out of steps, and steps and evaluations count on. By default the operator's
            `initial_state(x)`.
        solver: chooses the steps; `Picard()` by default.
        stop: when a sample is done; `Stop()` by default, a relative residual of 1e-6.
        fallback: solvers for the samples that fail, each for what those before it left; samples that diverged or became
            non-finite start again from `y0`, the others go on from where they stand. Each may take `max_steps`.
        on_failure: what to do when a sample does not converge; `OnFailure.RAISE` by default.
        trace: keep the residuals of every step.
        iterates: keep the states of every step as well.
        progress: told how far the solve is, for example `ProgressBar()`.

    Returns:
        The `Solution`.

    Raises:
        SolverError: a sample did not converge and `on_failure` is `RAISE`; the solution is attached.
        InputError: unusable arguments, or a certified stop without a proved or declared `mu`; with the subclasses
            `ShapeError` and `NonFiniteError`.
        GradientUnavailableError: autograd is on and an input, the start or a parameter requires a gradient.

    Theorem: T1.

    Example:
        >>> import torch
        >>> G = lambda y, x: 0.5 * y + x
        >>> print(fixed_point(G, torch.tensor([1.0, -2.0]), torch.zeros(2), stop=Stop(rtol=1e-3)))
        2 samples: 2 converged; residual <= 0.00391, evaluations 10..10
    """
    attempts = (solver, *fallback)
    _check_types(attempts, stop, on_failure, progress)
    operator = as_operator(G)
    start = y0.value if isinstance(y0, Solution) else operator.initial_state(x) if y0 is None else y0
    refuse_gradients(G, operator, x, start)
    packed = Packed(operator, start) if isinstance(start, tuple) else None
    y = starting_states(x, start if packed is None else packed.pack(tuple(start)))
    gauge = Gauge(operator.norm, y, certified=operator.regularity is not None)
    certificate = _certificate(operator, x, y, gauge, stop)
    acting = packed or operator
    g = first_value(acting, x, y).contiguous()
    every = stop.check_every or (1 if y.device.type == "cpu" else _CHECK_EVERY_ON_ACCELERATORS)
    setting = _Setting(acting, x, stop, gauge, certificate, every, progress, trace or iterates, iterates)
    try:
        with torch.no_grad():
            solution = _pursue(setting, attempts, y, g, y0.memory if isinstance(y0, Solution) else None)
    finally:
        if progress is not None:
            progress.close()
    if isinstance(y0, Solution):
        solution = counted_on(y0, solution)
    if packed is not None:
        solution = _unpacked(solution, packed)
    failures = solution.failures()
    if failures and on_failure is OnFailure.RAISE:
        raise SolverError(failures, solution)
    if failures and on_failure is OnFailure.WARN:
        warnings.warn(failures, ConvergenceWarning, stacklevel=2)
    return solution


def _pursue(
    setting: _Setting, attempts: tuple[Solver[Any], ...], y: Tensor, g: Tensor, memory: Memory | None
) -> Solution:
    """Let one solver after the other work on the samples that those before it left."""
    solution = _attempt(setting, attempts[0], setting.ledger(y), y, g, memory)
    for number, solver in enumerate(attempts[1:], start=1):
        again = ~solution.converged
        if not bool(again.any()):
            break
        at, ledger = restart(solution, y), setting.ledger(y)
        ledger.exclude(solution, again)
        value = setting.operator(at, setting.x).contiguous()
        solution = followed_by(solution, _attempt(setting, solver, ledger, at, value, None), again, number)
    return solution


def _attempt(
    setting: _Setting, solver: Solver[Any], ledger: Ledger, y: Tensor, g: Tensor, memory: Memory | None
) -> Solution:
    recorder = Recorder(residuals=setting.trace, iterates=setting.iterates)
    run = Run(
        setting.operator,
        setting.x,
        y,
        g,
        solver,
        ledger,
        setting.gauge,
        recorder,
        every=setting.every,
        watcher=setting.progress,
        memory=memory,
    )
    return run.solve()


def _unpacked(solution: Solution, packed: Packed) -> Solution:
    """Give values and iterates of tuple states the form the operator knows."""
    trace = solution.trace
    if trace is not None and trace.iterates is not None:
        trace = Trace(trace.residuals, packed.unpack(trace.iterates))
    return replace(solution, value=packed.unpack(solution.value), trace=trace)


def _check_types(attempts: tuple[Any, ...], stop: Stop, on_failure: OnFailure, progress: Watcher | None) -> None:
    """Refuse classes in the place of objects, and objects in the wrong place."""
    wanted: list[tuple[str, Any, type, str]] = [("solver", attempts[0], Solver, "Picard()")]
    wanted += [(f"fallback[{i}]", came, Solver, "(KrasnoselskiiMann(0.5),)") for i, came in enumerate(attempts[1:])]
    wanted += [("stop", stop, Stop, "Stop(rtol=1e-6)"), ("on_failure", on_failure, OnFailure, "OnFailure.RAISE")]
    if progress is not None:
        wanted += [("progress", progress, Watcher, "ProgressBar()")]
    for name, came, kind, example in wanted:
        if not isinstance(came, kind):
            shown = came.__name__ if isinstance(came, type) else repr(came)
            raise InputError(name, shown, f"a {kind.__name__}", f"pass for example {name.split('[')[0]}={example}")


def certify(G: ImplicitOperator, x: Any, y: Tensor) -> Bound:
    """Bound the distance of any states to the fixed points, whoever produced them, with one evaluation.

    Args:
        G: an operator with a `mu`.
        x: inputs.
        y: states, shape `(batch, ...)`.

    Returns:
        T1's residual bound, a tensor of shape `(batch,)` inside a `Bound`.

    Raises:
        InputError: the operator declares no `mu`.

    Theorem: T1.

    Example:
        >>> from eqtheory.operators import FunctionOperator, Regularity
        >>> constants = Regularity.declared(mu=0.5, L0=1.0, L1=0.0)
        >>> G = FunctionOperator(lambda y, x: 0.5 * y + x, regularity=constants)
        >>> round(certify(G, torch.ones(1), torch.zeros(1)).value.item(), 4)
        2.0
    """
    bound = fixed_point(G, x, y, stop=Stop(max_steps=0), on_failure=OnFailure.RETURN).error_bound
    if bound is None:
        raise InputError("G", "an operator without regularity", "a known mu", _DECLARE)
    return bound


@torch.no_grad()
def _certificate(operator: ImplicitOperator, x: Any, y: Tensor, gauge: Gauge, stop: Stop) -> Certificate | None:
    regularity = operator.regularity
    certificate = None if regularity is None else Certificate(regularity, x, y, gauge)
    if stop.of is Quantity.CERTIFIED_ERROR:
        needed = "a proved or declared mu, which a certified error needs"
        if certificate is None:
            raise InputError("G", "an operator without regularity", needed, _DECLARE)
        if not certificate.guaranteed:
            raise InputError("G", "an operator whose mu is an estimate", needed, "stop at Quantity.RESIDUAL instead")
    return certificate
