"""Solve an adjoint equation, judge the answer, and replace it where the caller chose to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound
from eqtheory.errors import AdjointError, NonFiniteError
from eqtheory.gradients._equations import LinearEquation, dense
from eqtheory.gradients._expansion import seen_to_expand
from eqtheory.gradients._report import AdjointLog, AdjointReport, AdjointWarning, OnAdjointFailure, Replacement
from eqtheory.nests import take
from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers import OnFailure, Picard, Solver, Stop, fixed_point
from eqtheory.validate import all_finite

__all__ = ["AdjointSettings", "expansion", "finite_cotangent", "judged", "solve_linear"]

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


def finite_cotangent(v: Tensor, name: str) -> None:
    """Refuse a right-hand side that would make everything NaN.

    Args:
        v: shape of the states.
        name: what it is.

    Raises:
        NonFiniteError: it is not finite.
    """
    if not all_finite(v):
        where = tuple((~torch.isfinite(v)).nonzero()[0].tolist())
        raise NonFiniteError(
            name,
            f"a NaN or an infinity at index {where}",
            "finite numbers",
            "repair what is computed from the fixed point",
        )


def solve_linear(
    equation: LinearEquation, start: Tensor, settings: AdjointSettings, log: AdjointLog, what: str
) -> Tensor:
    """Solve the equation and do what the settings say where that failed.

    Args:
        equation: the linear equation.
        start: where to start.
        settings: how.
        log: receives the report.
        what: `adjoint` or `tangent`.

    Returns:
        The solution, shape of the states.

    Raises:
        AdjointError: it is not known, or its operator expands, and the settings say so.
        NonFiniteError: the right-hand side is not finite.
    """
    b = equation.inputs[0]
    finite_cotangent(b, "the gradient of the loss" if what == "adjoint" else "the tangent of G")
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
        size=torch.linalg.vector_norm(b.reshape(len(b), -1).to(solution.residual.dtype), dim=1),
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
    part = take((y, x), rows, len(b))
    if len(rows) == len(b) or not _separable(equation, value, rows, part):
        found, size = seen_to_expand(lambda w: equation.product(w, y, x), value)
        return found & wanted, torch.where(wanted, size, 0.0)
    found, size = seen_to_expand(lambda w: equation.product(w, *part), value.index_select(0, rows))
    return none.index_copy(0, rows, found), radius.index_copy(0, rows, size)


def _separable(equation: LinearEquation, value: Tensor, rows: Tensor, part: Any) -> bool:
    """Whether a product of some samples is what it is in the whole batch, as it is not where an operator couples or captures its batch."""
    if not equation.compacts:
        return False
    whole = equation.product(value, *equation.inputs[1:]).index_select(0, rows).reshape(len(rows), -1)
    try:
        alone = equation.product(value.index_select(0, rows), *part).reshape(len(rows), -1)
    except Exception:  # noqa: BLE001  (whatever an operator says to a part of its batch, it was fine with the whole)
        return False
    if alone.shape != whole.shape:
        return False
    size = torch.linalg.vector_norm(value.index_select(0, rows).reshape(len(rows), -1), dim=1)
    gap, image = (torch.linalg.vector_norm(t, dim=1) for t in (alone - whole, whole))
    return bool((gap <= unit_roundoff(value.dtype) ** 0.5 * (image + size)).all())


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
    flat = again.reshape(-1, *[1] * (b.ndim - 1))
    value = torch.where(flat, found, value)
    rest = (b + product(value) - value).reshape(len(b), -1)  # type: ignore[no-untyped-call]
    residual = torch.linalg.vector_norm(rest.to(report.residual.dtype), dim=1)
    unknown = again & ~(residual < report.size)
    # A dense solve has to solve; a partial sum has to be nearer than nothing at all.
    if code is Replacement.DENSE:
        unknown = again & ~(residual <= max(settings.stop.rtol, 1e-3) * report.size + settings.stop.atol)
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
    term, total = b, b
    best, least = b, torch.full((len(b),), torch.inf, device=b.device, dtype=torch.float64)
    for _ in range(_TERMS):
        term = product(term)
        size = torch.linalg.vector_norm(term.reshape(len(b), -1).double(), dim=1)
        better = size < least
        best = torch.where(better.reshape(-1, *[1] * (b.ndim - 1)), total, best)
        least = torch.where(better, size, least)
        total = total + term
    return best
