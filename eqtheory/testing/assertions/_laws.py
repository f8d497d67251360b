"""Does this operator keep the laws of `ImplicitOperator`, and is this state a fixed point of it?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Verdict, VerdictKind
from eqtheory.errors import InputError
from eqtheory.nests import map_tensors, take, tensors
from eqtheory.norms import Norm
from eqtheory.roundoff import Rounding
from eqtheory.testing.assertions._comparison import claimed
from eqtheory.testing.assertions._evaluation import Operator, apart, applied, error_of, inputs_of, norm_of, row
from eqtheory.testing.evidence import Refuted
from eqtheory.testing.margins import relative_margin
from eqtheory.validate import batch_of, count

__all__ = ["assert_batch_independent", "assert_deterministic", "assert_fixed_point"]

_SINGLES = 8
"""Samples that are evaluated alone."""


def assert_fixed_point(operator: Operator, x: Any, y: Tensor, tol: Any, *, norm: Norm | None = None) -> Verdict:
    """Assert `|G(y,x) - y| <= tol` for every sample. By T1 the error is at most `tol / (1 - mu)` where `G` contracts.

    Args:
        operator: anything callable as `G(y, x)`.
        x: inputs, batch axis first.
        y: states, shape `(batch, ...)`.
        tol: a number, or one for each sample; no rounding is granted beyond it.
        norm: of the states; the declared one, else Euclidean.

    Returns:
        `not refuted`, with the number of samples and the worst relative margin.

    Raises:
        Refuted: a residual exceeds the tolerance; carries the sample.

    Example:
        >>> import torch
        >>> x = torch.ones(1, 2).double()
        >>> assert_fixed_point(lambda y, x: 0.5 * y + x, x, 2 * x, tol=1e-12).worst_margin
        1.0
    """
    batch = batch_of("y", y).shape[0]
    inputs_of(x, batch)
    chosen = norm_of(operator, norm)
    allowed = claimed("tol", tol, x, batch).to(y.device)
    residual = apart(chosen, applied(operator, y, x), y)
    margins = relative_margin((residual, allowed))
    worst = int(margins.argmin())
    if float(margins[worst]) < 0:
        where = f"sample {worst}: y = {row(y, worst)}, x = {row(x, worst)}"
        seen = f"residual {float(residual[worst]):.6g}, allowed {float(allowed[worst]):.6g}"
        raise Refuted("fixed point", float(margins[worst]), f"{where}: {seen}")
    return Verdict(VerdictKind.NOT_REFUTED, batch, float(margins[worst]), "|G(y,x) - y| <= tol")


def assert_deterministic(operator: Operator, x: Any, y: Tensor, *, repeats: int = 3) -> Verdict:
    """Assert that equal arguments give equal results, to the last bit, and stay as they were.

    Between two evaluations the operator sees other arguments (the same rows in reverse), so that hidden state shows.

    Args:
        operator: anything callable as `G(y, x)`.
        x: inputs, batch axis first.
        y: states, shape `(batch, ...)`.
        repeats: further evaluations, at least 1.

    Returns:
        `not refuted`, with the number of repetitions.

    Raises:
        Refuted: results differ, or an argument was modified; carries the first sample.

    Example:
        >>> import torch
        >>> y = torch.ones(1, 2).double()
        >>> assert_deterministic(lambda y, x: 0.5 * y + x, y, y).trials
        3
    """
    batch = batch_of("y", y).shape[0]
    inputs_of(x, batch)
    count("repeats", repeats, "pass for example repeats=3")
    first = applied(operator, y, x).clone()
    _leaves_alone(operator, x, y)
    backwards = torch.arange(batch - 1, -1, -1, device=y.device)
    for k in range(repeats):
        applied(operator, y.index_select(0, backwards), take(x, backwards, batch))
        again = applied(operator, y, x)
        differs = (again != first).reshape(batch, -1).any(dim=1)
        if bool(differs.any()):
            i = int(differs.nonzero()[0])
            where = f"sample {i}, repetition {k + 1}: y = {row(y, i)}, x = {row(x, i)}"
            raise Refuted("deterministic", -torch.inf, f"{where}: {row(first, i)}, then {row(again, i)}")
    return Verdict(VerdictKind.NOT_REFUTED, repeats, 0.0, "equal arguments, equal results, bit by bit")


def _leaves_alone(operator: Operator, x: Any, y: Tensor) -> None:
    """Refute an operator that writes into its arguments."""
    given_y, given_x = y.clone(), map_tensors(torch.clone, x)
    with torch.no_grad():
        operator(given_y, given_x)
    before, after = [("y", y), *tensors(x)], [("y", given_y), *tensors(given_x)]
    for (name, kept), (_, now) in zip(before, after, strict=True):
        if kept.shape != now.shape:
            text = f"shape {tuple(kept.shape)} became {tuple(now.shape)}"
        elif torch.equal(kept, now):
            continue
        elif kept.ndim == 0:  # shared by all samples
            text = f"{kept.item()} became {now.item()}"
        else:
            i = int((kept != now).reshape(kept.shape[0], -1).any(dim=1).nonzero()[0])
            text = f"{row(kept, i)} became {row(now, i)}"
        raise Refuted("arguments untouched", -torch.inf, f"{name}: {text} in place")


def _groups(batch: int) -> list[tuple[str, list[int]]]:
    """Other companies for the same samples: reversed, each half, some alone."""
    half = batch // 2
    found = [("in reverse order", list(range(batch - 1, -1, -1)))]
    found += [("in the first half", list(range(half))), ("in the second half", list(range(half, batch)))]
    return found + [("alone", [i]) for i in range(0, batch, max(1, batch // _SINGLES))]


def assert_batch_independent(
    operator: Operator,
    x: Any,
    y: Tensor,
    *,
    norm: Norm | None = None,
    rounding: Rounding | None = None,
    bitwise: bool = False,
) -> Verdict:
    """Assert that a sample's result does not depend on its batch mates: reversed, in halves, alone.

    Args:
        operator: anything callable as `G(y, x)`.
        x: inputs, batch axis first; tensors of another length are shared.
        y: two or more states, shape `(batch, ...)`.
        norm: of the states; the declared one, else Euclidean.
        rounding: evaluation error; matrix products may round differently in another batch. Declared, else assumed (see the
            package's header).
        bitwise: whether the last bit counts, as where a solver may cut the batch and must not show it.

    Returns:
        `not refuted`, with the number of comparisons and the worst relative margin.

    Raises:
        InputError: fewer than two states, which have no company to lose.
        Refuted: a result depends on the company; carries the sample.

    Example:
        >>> import torch
        >>> y = torch.ones(4, 2).double()
        >>> assert_batch_independent(lambda y, x: 0.5 * y + x, y, y, bitwise=True).worst_margin
        0.0
    """
    batch = batch_of("y", y).shape[0]
    if batch < 2:
        raise InputError("y", f"{batch} state", "at least two states", "a sample needs mates to depend on")
    inputs_of(x, batch)
    chosen = norm_of(operator, norm)
    whole = applied(operator, y, x)
    errors = error_of(operator, chosen, y, x, whole, rounding)
    worst, trials = torch.inf, 0
    for company, members in _groups(batch):
        index = torch.tensor(members, device=y.device)
        part = applied(operator, y.index_select(0, index), take(x, index, batch))
        gap = apart(chosen, part, whole.index_select(0, index))
        # Both evaluations may err.
        margins = relative_margin((gap, torch.zeros_like(gap)), 0.0 if bitwise else 2 * errors.index_select(0, index))
        k = int(margins.argmin())
        if float(margins[k]) < 0:
            i = members[k]
            seen = f"{row(whole, i)} with all {batch}, {row(part, k)} {company}"
            raise Refuted(
                "batch independence", float(margins[k]), f"sample {i}: y = {row(y, i)}, x = {row(x, i)}: {seen}"
            )
        worst, trials = min(worst, float(margins[k])), trials + len(members)
    return Verdict(VerdictKind.NOT_REFUTED, trials, worst, "the same samples in other company")
