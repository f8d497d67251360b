"""Evaluating something under test: arguments that are refused, results that are refuted, and how far rounding moved them.

A slope of two computed values is off by up to `(e1 + e2) / distance`, `e` the evaluation errors: for close pairs rounding alone
gives any slope. Errors are taken, in this order, from what the caller declares, from what the operator declares, and from this
*assumption*: each entry of the result has passed through at most `8 (n + d) + 64` successive roundings of terms no larger than
state, input and result, `n` and `d` the entries of one state and one input, and through the like of at most 512, since roundings of
long sums average out; in half precision, whose sums are formed in single precision, through at most 8. An operator that cancels
larger terms inside has to declare its rounding.

Whatever type results have, they are compared in double precision, where differences of narrower ones neither overflow nor round by
anything that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.nests import map_tensors, tensors
from eqtheory.norms import Euclidean, Metric, Norm
from eqtheory.operators import ImplicitOperator, Regularity
from eqtheory.roundoff import Rounding, gamma, unit_roundoff
from eqtheory.testing.evidence import Refuted
from eqtheory.validate import all_finite, batch_of, require_finite

__all__ = [
    "Operator",
    "apart",
    "applied",
    "assumed",
    "error_of",
    "image",
    "inputs_of",
    "norm_of",
    "regularity_of",
    "row",
    "states_of",
]

_MOST = 512
_SHARE = 0.03
"""More than this part of a value is never granted to rounding, or a check of half precision could not fail."""

Operator = ImplicitOperator | Callable[[Tensor, Any], Tensor]


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
    where = lambda i: f"y = {row(y, i)}, x = {row(x, i)}"  # noqa: E731
    return _state("G(y, x)", out, tuple(y.shape), y.dtype, where, exactly=True)


def image(function: Callable[[Tensor], Tensor], x: Tensor, *, keeps_shape: bool = False) -> Tensor:
    """Evaluate a map of one argument once, on a copy.

    Args:
        function: the map.
        x: points, shape `(batch, ...)`.
        keeps_shape: whether values have to have the shape of the points.

    Returns:
        Its values, batch axis first.

    Raises:
        Refuted: no tensor with a value for each point, another shape where it has to be kept, or entries that are not finite.
    """
    with torch.no_grad():
        out = function(x.clone())
    shape = tuple(x.shape) if keeps_shape else (x.shape[0],)
    return _state("F(x)", out, shape, x.dtype, lambda i: f"x = {row(x, i)}", exactly=keeps_shape)


def _state(
    name: str, out: Any, shape: tuple[int, ...], dtype: torch.dtype, where: Callable[[int], str], *, exactly: bool
) -> Tensor:
    """The result if it is one: `shape` is its shape, or what that has to begin with."""
    if not isinstance(out, Tensor) or tuple(out.shape[: len(shape)]) != shape or (exactly and out.ndim != len(shape)):
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


def apart(metric: Metric, a: Tensor, b: Tensor) -> Tensor:
    """How far corresponding samples are from each other.

    Args:
        metric: what measures.
        a: samples, batch axis first.
        b: others of the same shape.

    Returns:
        Shape `(batch,)`, in double precision where samples are of a floating-point type.
    """
    return metric.distance(_wide(a), _wide(b))


def _wide(t: Tensor) -> Tensor:
    return t.double() if t.dtype.is_floating_point else t


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
    size = norm(_wide(out))
    unit = norm(torch.ones_like(_wide(out)))
    for argument in given:
        for _, t in tensors(argument):
            if t.ndim and t.shape[0] == batch and t.dtype.is_floating_point:
                entries += t[0].numel()
                size = size + unit * t.detach().abs().reshape(batch, -1).amax(dim=1).to(size)
    roundings = min(8 * entries + 64, _MOST, max(8, int(_SHARE / unit_roundoff(out.dtype))))
    return gamma(roundings, out.dtype) * size


def norm_of(operator: Operator, norm: Norm | None) -> Norm:
    """The norm of the states: given, declared, or Euclidean.

    Args:
        operator: the operator; a module may have a layer that is called `norm`, which is none.
        norm: what was given.

    Returns:
        The norm.
    """
    declared = getattr(operator, "norm", None)
    return norm or (declared if isinstance(declared, Norm) else Euclidean())


def regularity_of(operator: Operator) -> Regularity | None:
    """What the operator declares.

    Args:
        operator: the operator.

    Returns:
        Its constants, if it declares any.
    """
    declared = getattr(operator, "regularity", None)
    return declared if isinstance(declared, Regularity) else None


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
    regularity = regularity_of(operator)
    # What was declared in one norm says nothing in another.
    declared = regularity.rounding if regularity is not None and regularity.state_norm == norm else None
    known = rounding or declared
    if known is None:
        return assumed(norm, out, y, x)
    # Stated in roundoffs of the type in use, which is that of the states.
    return known.error(norm(_wide(y)), x) * (unit_roundoff(y.dtype) / unit_roundoff(torch.float64))


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
