"""Evaluating something under test: arguments that are refused, results that are refuted, and how far rounding moved them.

A slope of two computed values is off by up to `(e1 + e2) / distance`, `e` the evaluation errors: for close pairs rounding alone
gives any slope. Errors are taken, in this order, from what the caller declares, from what the operator declares, and from this
*assumption*: each entry of the result has passed through at most `8 (n + d) + 64` successive roundings of terms no larger than
state, input and result, `n` and `d` the entries of one state and one input. An operator that cancels larger terms inside has to
declare its rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound, LocalBound, Verdict, VerdictKind
from eqtheory.errors import InputError, ShapeError
from eqtheory.nests import map_tensors, tensors
from eqtheory.norms import Norm
from eqtheory.operators import ImplicitOperator
from eqtheory.roundoff import Rounding, gamma
from eqtheory.testing.evidence import EvidenceError, Refuted
from eqtheory.testing.margins import relative_margin
from eqtheory.validate import all_finite, batch_of, require_finite

__all__ = [
    "Comparison",
    "Operator",
    "applied",
    "assumed",
    "claimed",
    "compared",
    "error_of",
    "image",
    "inputs_of",
    "row",
    "settled",
    "states_of",
]

Operator = ImplicitOperator | Callable[[Tensor, Any], Tensor]

Comparison = tuple[Tensor, Tensor, Callable[[int], str]]
"""Margins, which of them decide something, and the witness at an index; one entry for each pair."""


def inputs_of(x: Any, batch: int, name: str = "x") -> Any:
    """Require inputs that are finite and, if they are one tensor, have a row for each state.

    Args:
        x: a tensor or a nest of tensors.
        batch: number of states.
        name: of the argument.

    Returns:
        `x`, unchanged.

    Raises:
        ShapeError: a tensor of another batch.
    """
    for where, t in tensors(x, name):
        require_finite(where, t, "remove or repair that sample")
    if isinstance(x, Tensor) and (x.ndim == 0 or x.shape[0] != batch):
        raise ShapeError(
            name, f"shape {tuple(x.shape)}", f"a batch axis of {batch}, one input a state", "pass as many as states"
        )
    return x


def applied(operator: Operator, y: Tensor, x: Any) -> Tensor:
    """Evaluate once, on copies, and refute what is no state.

    Args:
        operator: anything callable as `G(y, x)`.
        y: states, shape `(batch, ...)`.
        x: inputs.

    Returns:
        The new states.

    Raises:
        Refuted: another shape or type than the state's, or entries that are not finite.
    """
    with torch.no_grad():
        out = operator(y.clone(), map_tensors(torch.clone, x))
    return _state("G(y, x)", out, tuple(y.shape), y.dtype, lambda i: f"y = {row(y, i)}, x = {row(x, i)}")


def image(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Evaluate a map of one argument once, on a copy.

    Args:
        function: the map.
        x: points, shape `(batch, ...)`.

    Returns:
        Its values, batch axis first.

    Raises:
        Refuted: no tensor with a value for each point, or entries that are not finite.
    """
    with torch.no_grad():
        out = function(x.clone())
    return _state("F(x)", out, (x.shape[0],), x.dtype, lambda i: f"x = {row(x, i)}")


def _state(name: str, out: Any, shape: tuple[int, ...], dtype: torch.dtype, where: Callable[[int], str]) -> Tensor:
    """The result if it is one: `shape` is what its shape has to begin with."""
    if (
        not isinstance(out, Tensor)
        or tuple(out.shape[: len(shape)]) != shape
        or (name[0] == "G" and out.ndim != len(shape))
    ):
        came = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise Refuted("shape", -torch.inf, f"{name} of {came} where {shape} is needed; {where(0)}")
    if out.dtype != dtype:
        raise Refuted("dtype", -torch.inf, f"{name} of {out.dtype} from {dtype}; {where(0)}")
    if not all_finite(out):
        first = int((~torch.isfinite(out)).reshape(shape[0], -1).any(dim=1).nonzero()[0])
        raise Refuted("finite values", -torch.inf, f"{name} = {row(out, first)} at {where(first)}")
    return out


def row(x: Any, index: int) -> str:
    """One row of a nest, for a witness.

    Args:
        x: a tensor or a nest of them.
        index: which row.

    Returns:
        Its numbers, all digits.
    """
    if isinstance(x, Tensor):
        return str(x[index].tolist())
    parts = [f"{name} = {t[index].tolist()}" for name, t in tensors(x) if t.ndim and t.shape[0] > index]
    return f"({', '.join(parts)})"


def assumed(norm: Norm, out: Tensor, *given: Any) -> Tensor:
    """Evaluation error under the assumption of the header.

    Args:
        norm: of the result.
        out: the result, shape `(batch, ...)`.
        given: the arguments.

    Returns:
        Shape `(batch,)`.
    """
    batch, entries = out.shape[0], out[0].numel()
    size = norm(out)
    unit = norm(torch.ones_like(out))
    for argument in given:
        for _, t in tensors(argument):
            if t.ndim and t.shape[0] == batch and t.dtype.is_floating_point:
                entries += t[0].numel()
                size = size + unit * t.detach().abs().reshape(batch, -1).amax(dim=1).to(out.dtype)
    return gamma(8 * entries + 64, out.dtype) * size


def error_of(operator: Operator, norm: Norm, y: Tensor, x: Any, out: Tensor, rounding: Rounding | None) -> Tensor:
    """Evaluation error of an operator: declared, or assumed.

    Args:
        operator: the operator.
        norm: of its states.
        y: states.
        x: inputs.
        out: its result there.
        rounding: what the caller declares.

    Returns:
        Shape `(batch,)`.
    """
    regularity = getattr(operator, "regularity", None)
    known = rounding or (regularity.rounding if regularity is not None else None)
    if known is None:
        return assumed(norm, out, y, x)
    return known.error(norm(y), x)


def claimed(name: str, value: Any, x: Any, batch: int, *, below: float = torch.inf) -> Tensor:
    """A claimed constant, for each row.

    Args:
        name: of the claim.
        value: a number, a tensor of shape `(batch,)`, a bound, or a callable of the inputs.
        x: the inputs.
        batch: number of rows.
        below: what it has to stay below.

    Returns:
        Shape `(batch,)`, float64.

    Raises:
        InputError: negative, NaN, or not below that.
        ShapeError: neither one number nor one for each row.
    """
    if isinstance(value, (Bound, LocalBound)):
        value = value.at(x)
    elif callable(value):
        value = value(x)
    found = value.detach().double() if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)
    if found.ndim and tuple(found.shape) != (batch,):
        raise ShapeError(name, f"shape {tuple(found.shape)}", f"one number, or ({batch},)", "pass one a sample")
    if not bool(((found >= 0) & (found < below)).all() if below < torch.inf else (found >= 0).all()):
        worst = float(found.flatten()[int((~((found >= 0) & (found < below))).flatten().nonzero()[0])])
        limit = f" < {below:g}" if below < torch.inf else ""
        raise InputError(
            name, str(worst), f"0 <= {name}{limit}", "other claims have assertions of their own: assert_lipschitz"
        )
    return found.expand(batch)


def compared(
    sides: tuple[Tensor, Tensor],
    distance: Tensor,
    errors: Tensor,
    room: Tensor,
    entries: int,
    witness: Callable[[int], str],
) -> Comparison:
    """Margins of `lhs <= rhs` on pairs, and which of them can be decided.

    Differences and norms round relative to themselves; a pair *decides* if rounding does not fill its room, the violation that
    would be noticed for certain.

    Args:
        sides: left and right side, shape `(batch,)`.
        distance: of the points; pairs without any are left out.
        errors: sum of the evaluation errors, in the units of the sides.
        room: what a violation of interest exceeds the right side by.
        entries: of one state, for the rounding of a norm.
        witness: describes a row.

    Returns:
        The comparison.
    """
    lhs, rhs = sides[0].double(), sides[1].double()
    own = gamma(entries + 8, sides[0].dtype)
    slack = errors.double() + own * (lhs.abs() + torch.where(rhs.isfinite(), rhs.abs(), 0.0))
    apart = distance > 0
    margins = torch.where(
        apart, relative_margin((torch.where(apart, lhs, 0.0), torch.where(apart, rhs, 1.0)), slack), 1.0
    )
    return margins, apart & (slack < room), witness


def settled(quantity: str, comparisons: list[Comparison], method: str) -> Verdict:
    """Refuse to go on at a negative margin or where nothing was decided.

    Args:
        quantity: the inequality.
        comparisons: what was compared.
        method: for the verdict.

    Returns:
        `not refuted`, with the number of pairs that decide and the worst margin of all.

    Raises:
        Refuted: a negative margin, with its witness.
        EvidenceError: no pair decides anything.
    """
    worst, decided = torch.inf, 0
    for margins, decisive, witness in comparisons:
        index = int(margins.argmin())
        if float(margins[index]) < 0:
            raise Refuted(quantity, float(margins[index]), witness(index))
        worst, decided = min(worst, float(margins.min())), decided + int(decisive.sum())
    if not decided:
        message = f"{quantity}: no pair decides: points coincide, or are so close that rounding explains any slope; spread them"
        raise EvidenceError(message)
    return Verdict(VerdictKind.NOT_REFUTED, decided, worst, method)


def states_of(states: tuple[Tensor, ...], name: str, least: int) -> int:
    """Require enough batches of one shape and type.

    Args:
        states: the batches.
        name: of the argument.
        least: how many are needed.

    Returns:
        Their number of rows.

    Raises:
        InputError: too few.
        ShapeError: of different shapes or types.
    """
    if len(states) < least:
        raise InputError(
            name, f"{len(states)} batches", f"at least {least}", "pairs are made of two batches, row by row"
        )
    for i, t in enumerate(states):
        batch_of(f"{name}[{i}]", t)
        if t.shape != states[0].shape or t.dtype != states[0].dtype:
            raise ShapeError(
                f"{name}[{i}]",
                f"shape {tuple(t.shape)} of {t.dtype}",
                f"{tuple(states[0].shape)} of {states[0].dtype}, as the first",
                "pairs are made row by row",
            )
    return states[0].shape[0]
