"""The fixed point as a function that can be differentiated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.gradients._autocast import Remembered
from eqtheory.gradients._captured import Captured
from eqtheory.gradients._flat_equations import Original, Outcome
from eqtheory.gradients._gradient import Equilibrium, Gradient
from eqtheory.gradients._implicit import Implicit
from eqtheory.gradients._report import AdjointLog
from eqtheory.gradients._surrogate import refused, surrogate
from eqtheory.gradients._tangents import carries_tangent, tangents_possible, without_derivatives
from eqtheory.gradients._transforms import transformed, under_transforms
from eqtheory.nests import tensors
from eqtheory.operators import FunctionOperator, ImplicitOperator, as_operator
from eqtheory.solvers import OnFailure, Packed, Picard, Solution, Solver, Status, Stop, Watcher
from eqtheory.solvers import fixed_point as solve

__all__ = ["fixed_point"]

_IMPLICIT = Implicit()
_PICARD = Picard()
_STOP = Stop()


def fixed_point(
    G: ImplicitOperator | Callable[[Any, Any], Any],
    x: Any,
    y0: Tensor | tuple[Tensor, ...] | Solution | None = None,
    *,
    gradient: Gradient = _IMPLICIT,
    solver: Solver[Any] = _PICARD,
    stop: Stop = _STOP,
    fallback: Sequence[Solver[Any]] = (),
    on_failure: OnFailure = OnFailure.RAISE,
    trace: bool = False,
    iterates: bool = False,
    progress: Watcher | None = None,
) -> Solution:
    """Solve `y = G(y, x)` for every sample of a batch, with derivatives.

    The solve itself runs without autograd. Where anything `G` depends on requires a gradient or carries a forward tangent, be it an
    input, a parameter or a captured tensor, the value carries the derivative that `gradient` says. Nothing else of the solution does.

    Args:
        G: an operator, a plain function or a module of signature `(y, x) -> y` that does not overwrite `y`.
        x: inputs, a tensor with the batch first or a nest of tensors (tuple, list, mapping, dataclass); finite.
        y0: starting states, a tuple of them, or an earlier `Solution`; see `eqtheory.solvers.fixed_point`.
        gradient: how derivatives are formed; `Implicit()` by default.
        solver: chooses the steps; `Picard()` by default.
        stop: when a sample is done; `Stop()` by default, a relative residual of 1e-6.
        fallback: solvers for the samples that fail.
        on_failure: what to do when a sample does not converge; `OnFailure.RAISE` by default.
        trace: keep the residuals of every step.
        iterates: keep the states of every step as well.
        progress: told how far the solve is.

    Returns:
        The `Solution`. Its `adjoint` collects a report of every backward pass. Under `vmap` its fields have the mapped axis too, and
        it has no error bound, trace or memory.

    Raises:
        SolverError: a sample did not converge and `on_failure` is `RAISE`; the solution is attached.
        InputError: unusable arguments; with the subclasses `ShapeError` and `NonFiniteError`.
        GradientUnavailableError: from a derivative, where it can not be had; never a zero in its place.
        AdjointError: from a derivative, where the adjoint could not be solved.

    Theorem: T1, T9.

    Example:
        >>> import torch
        >>> x = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> y = fixed_point(lambda y, x: 0.5 * y.tanh() + x, x, torch.zeros(2)).value
        >>> y.sum().backward()
        >>> x.grad
        tensor([1.1102, 1.0137])
    """
    _check(gradient, y0, fallback)
    options: dict[str, Any] = {"solver": solver, "stop": stop, "fallback": fallback, "on_failure": on_failure}
    if transformed():
        if trace or iterates or progress is not None or isinstance(y0, Solution):
            came = "a trace, a watcher or an earlier solution"
            raise InputError("fixed_point under torch.func", came, "none of them", "leave them out")
        return _inside(G, x, y0, gradient, options)
    options |= {"trace": trace, "iterates": iterates, "progress": progress}
    operator, start = _operator_and_start(G, x, y0)
    given = y0 if isinstance(y0, Solution) else start
    solution = without_derivatives(lambda: solve(operator, x, given, **options))
    acting = Packed(operator, start) if isinstance(start, tuple) else operator
    value = _one(acting, solution.value)
    if not _wanted(G, acting, x, start if gradient.uses_start else (), value):
        return solution
    log = AdjointLog()
    bad = solution.status == Status.NON_FINITE.value
    if bool(bad.any()):
        why = (
            f"{int(bad.sum())} of {len(bad)} samples are not finite, and so would be every gradient; solve again for the others, "
            "x[solution.converged], or see solution.failures()"
        )
        attached = refused(value, [acting(value, x)], why)
    else:
        longest = int(solution.steps.max()) if len(bad) else 0
        attached = gradient.attach(
            Equilibrium(acting, x, value, solution.steps, longest, solver, _one(acting, start), log)
        )
    return replace(solution, value=_many(acting, attached), adjoint=log)


def _inside(G: Any, x: Any, y0: Any, gradient: Gradient, options: dict[str, Any]) -> Solution:
    """The same under a transform of `torch.func`, where the solve has to be a function of everything it depends on."""
    operator, start = _operator_and_start(G, x, y0)
    acting = operator
    if isinstance(start, tuple):  # its checks look at numbers, which mapped tensors do not show
        acting = Packed(
            operator, tuple(torch.zeros(part.shape, dtype=part.dtype, device=part.device) for part in start)
        )
    first, log, calls, longest = _one(acting, start).detach(), AdjointLog(), 0, 0

    def run(function: Any, inputs: Any, at: Tensor) -> Outcome:
        nonlocal calls, longest
        plain = FunctionOperator(function, regularity=operator.regularity if inputs is not None else None)
        plain.compacts = False
        found = solve(plain, () if inputs is None else inputs, at, **options)
        calls, longest = found.calls, max(longest, int(found.steps.max()) if len(found.steps) else 0)
        return found.value, found.status, found.steps, found.residual, found.evaluations

    whole = FunctionOperator(acting)
    whole.compacts = False  # a mapped axis lies in the batch
    how = gradient.rule(whole, log)
    equation = Original(acting, x, Captured(G), run, how)
    value, status, steps, residual, evaluations = under_transforms(equation, first)
    if how is None:
        value = gradient.attach(
            Equilibrium(acting, x, value.detach(), steps, longest, options["solver"], _one(acting, start), log)
        )
    elif not gradient.exact:
        value = surrogate(value.detach(), value)
    return Solution(_many(acting, value), status, steps, residual, None, evaluations, calls, adjoint=log)


def _check(gradient: Any, y0: Any, fallback: Sequence[Any]) -> None:
    if not isinstance(gradient, Gradient):
        shown = gradient.__name__ if isinstance(gradient, type) else repr(gradient)
        raise InputError("gradient", shown, "a Gradient", "pass for example gradient=Implicit()")
    if gradient.uses_start and (fallback or isinstance(y0, Solution)):
        came = "fallback solvers" if fallback else "an earlier solution as y0"
        raise InputError("gradient", f"{gradient} with {came}", "one solve from its start", "use Implicit()")


def _operator_and_start(G: Any, x: Any, y0: Any) -> tuple[ImplicitOperator, Any]:
    """The operator as it is to be evaluated whenever it is, and where the solve starts."""
    operator = as_operator(G)
    start = y0.value if isinstance(y0, Solution) else operator.initial_state(x) if y0 is None else y0
    device = next((t.device.type for _, t in tensors(start)), "cpu")
    return (Remembered(operator, device) if torch.is_autocast_enabled(device) else operator), start


def _one(acting: ImplicitOperator, state: Any) -> Tensor:
    return acting.pack(state) if isinstance(acting, Packed) else state


def _many(acting: ImplicitOperator, state: Tensor) -> Any:
    return acting.unpack(state) if isinstance(acting, Packed) else state


def _wanted(G: Any, acting: ImplicitOperator, x: Any, start: Any, value: Tensor) -> bool:
    """Whether anything that the fixed point depends on carries a derivative; where only an evaluation can tell, one is made."""
    recorded, dual = torch.is_grad_enabled(), tangents_possible()
    if not (recorded or dual):
        return False
    known = [t for _, t in tensors((x, start))]
    for module in (G, getattr(G, "function", None)):
        if isinstance(module, torch.nn.Module):
            known += list(module.parameters())
    if (recorded and any(t.requires_grad for t in known)) or (dual and carries_tangent(known)):
        return True
    z = acting(value, x)
    return z.requires_grad or carries_tangent(z)
