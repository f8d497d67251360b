"""The fixed-point loop: evaluate once, judge every sample, step.

One evaluation of `G` a step. The state that is returned is one at which `G` was evaluated, so its residual and its error bound
cost nothing more. A sample that leaves keeps its state: `torch.where` holds it while its batch mates go on, and nothing it does
reaches them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound
from eqtheory.errors import InputError, SolverError
from eqtheory.operators import ImplicitOperator, as_operator
from eqtheory.solvers._certificate import Certificate
from eqtheory.solvers._inputs import first_value, refuse_gradients, starting_states
from eqtheory.solvers._ledger import Anchor, Ledger
from eqtheory.solvers._measure import Gauge, rows, spread
from eqtheory.solvers._picard import Picard
from eqtheory.solvers._solution import Recorder, Solution
from eqtheory.solvers._solver import Solver
from eqtheory.solvers._status import ConvergenceWarning, OnFailure
from eqtheory.solvers._stop import Quantity, Stop

__all__ = ["certify", "fixed_point"]

_PICARD = Picard()
_STOP = Stop()
_CHECK_EVERY_ON_ACCELERATORS = 8
"""A look from the host drains the queue of an accelerator; every eighth step the wait is small beside the work."""
_DECLARE = "declare it, for example with FunctionOperator(G, regularity=Regularity.declared(mu=0.9, L0=1.0, L1=0.0))"


def fixed_point(
    G: ImplicitOperator | Callable[[Tensor, Any], Tensor],
    x: Any,
    y0: Tensor | None = None,
    *,
    solver: Solver[Any] = _PICARD,
    stop: Stop = _STOP,
    on_failure: OnFailure = OnFailure.RAISE,
    trace: bool = False,
    iterates: bool = False,
) -> Solution:
    """Solve `y = G(y, x)` for every sample of a batch.

    A sample's result does not depend on its batch mates as long as `G` has that property (matrix products of BLAS do not have
    it to the last bit). No gradient is carried.

    Args:
        G: an operator, a plain function or a module of signature `(y, x) -> y` that does not overwrite `y`.
        x: inputs, a tensor with the batch first or a nest of tensors (tuple, list, mapping, dataclass); finite.
        y0: starting states, shape `(batch, ...)`; by default the operator's `initial_state(x)`.
        solver: chooses the steps; `Picard()` by default.
        stop: when a sample is done; `Stop()` by default, a relative residual of 1e-6.
        on_failure: what to do when a sample does not converge; `OnFailure.RAISE` by default.
        trace: keep the residuals of every step.
        iterates: keep the states of every step as well.

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
    for name, came, wanted in (("solver", solver, Solver), ("stop", stop, Stop), ("on_failure", on_failure, OnFailure)):
        if not isinstance(came, wanted):
            shown = came.__name__ if isinstance(came, type) else repr(came)
            example = {"solver": "Picard()", "stop": "Stop(rtol=1e-6)", "on_failure": "OnFailure.RAISE"}[name]
            raise InputError(name, shown, f"a {wanted.__name__}", f"pass for example {name}={example}")
    operator = as_operator(G)
    y = starting_states(operator, x, y0)
    refuse_gradients(G, operator, x, y0)
    gauge = Gauge(operator.norm, y, certified=operator.regularity is not None)
    certificate = _certificate(operator, x, y, gauge, stop)
    g = first_value(operator, x, y).contiguous()
    every = stop.check_every or (1 if y.device.type == "cpu" else _CHECK_EVERY_ON_ACCELERATORS)
    ledger = Ledger(stop, gauge, certificate, y, prompt=every == 1)
    recorder = Recorder(residuals=trace or iterates, iterates=iterates)
    with torch.no_grad():
        solution = _iterate(operator, x, y, g, solver, ledger, recorder, every)
    failures = solution.failures()
    if failures and on_failure is OnFailure.RAISE:
        raise SolverError(failures, solution)
    if failures and on_failure is OnFailure.WARN:
        warnings.warn(failures, ConvergenceWarning, stacklevel=2)
    return solution


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


def _iterate(
    operator: ImplicitOperator,
    x: Any,
    y: Tensor,
    g: Tensor,
    solver: Solver[Any],
    ledger: Ledger,
    recorder: Recorder,
    every: int,
) -> Solution:
    state, anchor, last = solver.init(y), Anchor(), ledger.stop.max_steps
    t = 0
    while True:
        reading = ledger.read(y, g)
        ledger.judge(t, reading)
        if (seen := anchor.look(t, y)) is not None:
            ledger.judge_return(t, reading, y, *seen)
        if recorder.wanted:
            recorder.add(ledger.current(reading), y)
        if t == last or (t % every == 0 and ledger.idle()):
            break
        proposal, state = solver.step(state, y, g, ledger.active)
        y = _advance(y, proposal, g, ledger)
        g = operator(y, x).contiguous()
        t += 1
    ledger.close(t, reading)
    certificate = ledger.certificate
    return Solution(
        value=y,
        status=ledger.status,
        steps=ledger.steps,
        residual=ledger.residual,
        error_bound=None if certificate is None else certificate.bound(ledger.residual, ledger.gauge(y)),
        evaluations=ledger.steps + 1,
        calls=t + 1,
        trace=recorder.trace(),
    )


def _advance(y: Tensor, proposal: Tensor, g: Tensor, ledger: Ledger) -> Tensor:
    """Move the samples that are still iterated; the operator's value stands in for a proposal that is not finite."""
    if proposal is not g:
        finite = torch.isfinite(torch.linalg.vector_norm(rows(proposal), ord=torch.inf, dim=1))
        proposal = torch.where(spread(finite, g), proposal, g)
    return proposal if ledger.untouched else torch.where(spread(ledger.active, y), proposal, y)
