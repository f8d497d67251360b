"""Solve an adjoint equation, judge the answer, and replace it where the caller chose to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound
from eqtheory.errors import AdjointError
from eqtheory.gradients._equations import LinearEquation, dense
from eqtheory.gradients._expansion import seen_to_expand
from eqtheory.gradients._report import AdjointLog, AdjointReport, AdjointWarning, OnAdjointFailure, Replacement
from eqtheory.nests import spread
from eqtheory.norms import Euclidean
from eqtheory.roundoff import gamma, unit_roundoff
from eqtheory.solvers import Company, Gauge, OnFailure, Picard, Solver, Stop, fixed_point
from eqtheory.validate import require_finite

__all__ = ["AdjointSettings", "euclidean", "expansion", "finite_cotangent", "judged", "solve_linear"]

_TERMS = 64
"""Partial sums among which the best one is looked for."""


@dataclass(frozen=True)
class AdjointSettings:
    """What is the same for every adjoint of one gradient.

    Args:
        solver: of the linear equation.
        stop: when a sample's equation is solved.
        on_failure: what to do where it is not.
        expects_contraction: whether an eigenvalue of modulus one or more counts as a failure.
        exact_up_to: largest dimension of the state at which a dense matrix may stand in.
    """

    solver: Solver[Any]
    stop: Stop
    on_failure: OnAdjointFailure
    expects_contraction: bool
    exact_up_to: int


def finite_cotangent(b: Tensor, *, transposed: bool) -> None:
    """Refuse a right-hand side that would make everything NaN.

    Args:
        b: shape of the states.
        transposed: whether it belongs to the adjoint equation.

    Raises:
        NonFiniteError: it is not finite.
    """
    name = "the gradient of the loss" if transposed else "the tangent of G"
    require_finite(name, b, "repair what is computed from the fixed point")


def euclidean(b: Tensor) -> Gauge:
    """Measures right-hand sides and solutions, half precision in float32.

    Args:
        b: right-hand side.

    Returns:
        The Euclidean gauge of its space.
    """
    return Gauge(Euclidean(), b, certified=False)


def solve_linear(equation: LinearEquation, start: Tensor, settings: AdjointSettings, log: AdjointLog) -> Tensor:
    """Solve the equation and do what the settings say where that failed.

    Args:
        equation: the linear equation.
        start: where to start.
        settings: how.
        log: receives the report.

    Returns:
        The solution, shape of the states.

    Raises:
        AdjointError: it is not known, or its operator expands, and the settings say so.
        NonFiniteError: the right-hand side is not finite.
    """
    b = equation.inputs[0]
    finite_cotangent(b, transposed=equation.transposed)
    solution = fixed_point(
        equation, equation.inputs, start, solver=settings.solver, stop=settings.stop, on_failure=OnFailure.RETURN
    )
    # An excited eigenvalue of modulus one or more would have kept Picard's iteration from converging.
    evident = solution.error_bound is not None or isinstance(settings.solver, Picard)
    looked_at = solution.converged & (settings.expects_contraction and not evident)
    expanding, radius = expansion(equation, solution.value, looked_at)
    report = AdjointReport(
        status=solution.status,
        residual=solution.residual,
        size=euclidean(b)(b),
        evaluations=solution.evaluations,
        error_bound=solution.error_bound,
        expanding=expanding,
        radius=radius,
        replacement=torch.zeros_like(solution.status),
        method=type(settings.solver).__name__,
    )
    return judged(equation, solution.value, report, settings, log)


def judged(
    equation: LinearEquation, value: Tensor, report: AdjointReport, settings: AdjointSettings, log: AdjointLog
) -> Tensor:
    """Accept a solution, or do what the settings say.

    Args:
        equation: the linear equation.
        value: its solution, shape of the states.
        report: what is known of it.
        settings: what to do.
        log: receives the report.

    Returns:
        The solution that is used.

    Raises:
        AdjointError: as the settings say, or where nothing can replace it.
    """
    failures = report.failures()
    if failures and settings.on_failure is OnAdjointFailure.RAISE:
        log.reports.append(report)
        raise AdjointError(failures, report)
    if failures and settings.on_failure is OnAdjointFailure.FALL_BACK:
        value, report = _replaced(equation, value, report, settings)
        names = sorted({Replacement(code).name.lower() for code in report.replacement.tolist() if code})
        failures = f"{failures.split('; the ')[0]}; replaced by: {', '.join(names) or 'nothing'}"
    log.reports.append(report)
    if failures:
        warnings.warn(failures, AdjointWarning, stacklevel=2)
    return value


def expansion(equation: LinearEquation, value: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Look for eigenvalues of modulus one or more, closely where the solve has given reason to suspect them.

    Args:
        equation: the linear equation, after it was solved.
        value: the solution, shape of the states.
        where: samples to look at, shape `(batch,)`.

    Returns:
        Samples seen to expand, and the largest modulus seen, float64; each of shape `(batch,)`.
    """
    b, y, x = equation.inputs
    none = torch.zeros_like(where)
    radius = torch.zeros(len(where), dtype=torch.float64, device=where.device)
    wanted = where & equation.witnesses.suspected().to(where.device) & (b.reshape(len(b), -1) != 0).any(dim=1)
    if not bool(wanted.any()):
        return none, radius
    rows = wanted.nonzero().squeeze(1)
    if len(rows) < len(b) and equation.compacts:
        company = Company(equation, euclidean(b), equation.inputs, len(b), fixed=False)
        if company.cut(wanted, value, equation(value, equation.inputs)) is not None:
            _, *part = company.x
            found, size = seen_to_expand(lambda w: equation.product(w, *part), value.index_select(0, rows))
            return none.index_copy(0, rows, found), radius.index_copy(0, rows, size)
    found, size = seen_to_expand(lambda w: equation.product(w, y, x), value)
    return found & wanted, torch.where(wanted, size, 0.0)


def _replaced(
    equation: LinearEquation, value: Tensor, report: AdjointReport, settings: AdjointSettings
) -> tuple[Tensor, AdjointReport]:
    """Put something better in the place of what failed, and say what it is."""
    b, y, x = equation.inputs
    product = lambda w: equation.product(w, y, x)  # noqa: E731
    if b[0].numel() <= settings.exact_up_to:
        again, found, code = ~report.sound, _by_matrix(product, b), Replacement.DENSE
    else:  # what solves the equation is better than any partial sum, though its operator expands
        again, found, code = ~report.solved, _best_partial_sum(product, b), Replacement.PARTIAL_SUM
    value = torch.where(spread(again, b), found, value)
    gauge = euclidean(b)
    residual = gauge.distance(b + product(value), value)  # type: ignore[no-untyped-call]
    # A partial sum has to be nearer than nothing at all; a dense solve has to solve.
    solves = (
        _solves(residual, report.size, gauge(value), settings.stop, b)
        if code is Replacement.DENSE
        else residual < report.size
    )
    unknown = again & ~solves
    if bool(unknown.any()):
        message = (
            f"adjoint of {len(b)} samples: {int(unknown.sum())} can not be replaced either ({code.name.lower()}); I - dG/dy is "
            "singular or not finite there, so the fixed point has no derivative"
        )
        raise AdjointError(message, report)
    changed = replace(
        report,
        residual=torch.where(again, residual, report.residual),
        replacement=torch.where(again, code.value, report.replacement.long()).to(torch.int8),
        error_bound=_without(report.error_bound, again),
    )
    return value, changed


def _solves(residual: Tensor, size: Tensor, found: Tensor, stop: Stop, b: Tensor) -> Tensor:
    """Whether a dense solution stands up to its own residual `b + A w - w`, shape `(batch,)`.

    Beyond the stop test it is granted what rounding does to the residual where `A` is no larger than one: `n + 2` roundings an entry in the
    type of the norms, and four in that of the states, of `|b| + 2 |w|`. Where a solution is larger than `|b| / sqrt(u)`, half of its
    digits are lost to that, and `I - A` counts as singular.

    Returns:
        Samples that are solved.
    """
    unit = unit_roundoff(b.dtype)
    grant = (gamma(b[0].numel() + 2, residual.dtype) + 4 * unit) * (size + 2 * found)
    resolved = found <= size / sqrt(unit)
    return (residual <= stop.rtol * size + stop.atol + grant) & resolved


def _without(bound: Bound | None, samples: Tensor) -> Bound | None:
    return None if bound is None else replace(bound, value=torch.where(samples, torch.inf, bound.value))


def _by_matrix(product: Any, b: Tensor) -> Tensor:
    """Solve `(I - A) w = b` with the matrix of `A`, in float64; not finite where it is singular or not finite."""
    A = dense(product, b).double()
    n = A.shape[1]
    matrix = torch.eye(n, dtype=A.dtype, device=A.device) - A
    finite = torch.isfinite(matrix).all(dim=(1, 2))
    matrix = torch.where(finite[:, None, None], matrix, torch.eye(n, dtype=A.dtype, device=A.device))
    found, _ = torch.linalg.solve_ex(matrix, b.reshape(len(b), n, 1).double())
    w = torch.where(finite[:, None], found.squeeze(2), torch.nan)
    return w.reshape(b.shape).to(b.dtype)


def _best_partial_sum(product: Any, b: Tensor) -> Tensor:
    """Of the partial sums of the Neumann series, the one whose residual, the next term, is smallest."""
    gauge = euclidean(b)
    term, total, best, least = b, b, b, torch.full_like(gauge(b), torch.inf)
    for _ in range(_TERMS):
        term = product(term)
        size = gauge(term)
        better = size < least
        best = torch.where(spread(better, b), total, best)
        least = torch.where(better, size, least)
        total = total + term
    return best
