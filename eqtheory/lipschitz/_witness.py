"""What a search for steepness returns: a lower bound and the points that prove it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import NonFiniteError, ShapeError
from eqtheory.lipschitz._precision import watched
from eqtheory.norms import Norm
from eqtheory.roundoff import Rounding, gamma, unit_roundoff

__all__ = [
    "ASSUMED_ROUNDINGS",
    "Map",
    "Witnessed",
    "certified_slopes",
    "labelled",
    "slope_parts",
    "values_of",
    "watched_values",
]

Map = Callable[[Tensor], Tensor]
"""Points `(batch, ...)` to values `(batch, ...)`, each sample by itself."""

ASSUMED_ROUNDINGS = 64.0
"""Evaluations are taken to err by at most so many unit roundoffs of value and argument, unless something better is known."""


@dataclass(frozen=True, eq=False)
class Witnessed:
    """A lower bound per sample, with the points that prove it.

    Args:
        bound: side `LOWER`; its value has shape `(batch,)`.
        a: first points of the pairs, or the points where a derivative was taken, shape `(batch, ...)`.
        b: second points of the pairs; `None` where a derivative was taken.
        direction: unit vectors along which the derivative is that large; `None` for pairs.
        parameters: what the map was held fixed at, if anything.
        residual: `|J^T J v - s^2 v| / s` of a singular pair, shape `(batch,)`; how far the search was from a stationary point, and no
            bound on what was missed. `None` where no iteration was involved.
        evaluations: evaluations and products, for the whole batch.
    """

    bound: Bound
    a: Tensor
    b: Tensor | None = None
    direction: Tensor | None = None
    parameters: Any = None
    residual: Tensor | None = None
    evaluations: int = 0

    @property
    def values(self) -> Tensor:
        """The bound of every sample, shape `(batch,)`."""
        return self.bound.value

    def worst(self) -> Bound:
        """The largest of the batch: a lower bound on the Lipschitz constant over any convex set that holds the points."""
        return replace(self.bound, value=float(self.values.max()))

    def at(self, index: int) -> str:
        """Say what one sample shows.

        Args:
            index: which one.

        Returns:
            One line.
        """
        shown = f"slope {float(self.values[index]):.6g}"
        gap = 0.0 if self.b is None else float(torch.linalg.vector_norm(self.b[index] - self.a[index]))
        if gap == 0:
            return f"{shown} at {_short(self.a[index])}"
        return f"{shown} between {_short(self.a[index])} and a point {gap:.3g} away"


def _short(t: Tensor) -> str:
    text = " ".join(str([round(v, 6) for v in t.reshape(-1)[:6].tolist()]).split())
    return text if t.numel() <= 6 else f"{text[:-1]}, ... {t.numel()} numbers]"


def labelled(value: Any, method: str, norm: Norm, output_norm: Norm, *assumptions: str) -> Bound:
    """A lower bound.

    Args:
        value: a number or one per sample.
        method: how it was found.
        norm: norm on the arguments.
        output_norm: norm on the values.
        assumptions: what it rests on.

    Returns:
        The bound, labelled.
    """
    name = norm.name if norm.name == output_norm.name else f"{norm.name} to {output_norm.name}"
    return Bound(value, Side.LOWER, method, Evidence.PROVED, name, tuple(assumptions))


def values_of(function: Map, x: Tensor, name: str = "function") -> Tensor:
    """Evaluate without a graph, and look at what comes back.

    Args:
        function: the map.
        x: points, shape `(batch, ...)`.
        name: how the caller calls the map.

    Returns:
        Values, shape `(batch, ...)`, finite.
    """
    return watched_values(function, x, name)[0]


def watched_values(function: Map, x: Tensor, name: str = "function") -> tuple[Tensor, float]:
    """Evaluate without a graph, and look at what comes back and how it was rounded.

    Args:
        function: the map.
        x: points, shape `(batch, ...)`.
        name: how the caller calls the map.

    Returns:
        Values, shape `(batch, ...)`, finite, and the unit roundoff of the coarsest type inside.

    Raises:
        ShapeError: no tensor with the same batch axis comes back.
        NonFiniteError: a NaN or an infinity comes back; the message says at which sample.
    """
    with torch.no_grad():
        value, unit = watched(function, x)
    if not isinstance(value, Tensor) or value.ndim == 0 or value.shape[0] != x.shape[0]:
        came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ShapeError(f"{name}(x)", came, f"({x.shape[0]}, ...)", "a map acts on a batch, one sample at a time")
    finite = torch.isfinite(value).reshape(value.shape[0], -1).all(dim=1)
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise NonFiniteError(
            f"{name}(x)",
            f"a NaN or an infinity at sample {first}, x = {_short(x[first])}",
            "finite values",
            "restrict the samples",
        )
    return value, unit


def certified_slopes(
    values_a: Tensor,
    values_b: Tensor,
    a: Tensor,
    b: Tensor,
    norm: Norm,
    output_norm: Norm,
    rounding: Rounding | None,
    magnitude: Tensor | None = None,
    *,
    unit: float,
) -> Tensor:
    """Slopes of pairs less what rounding can account for.

    `|f(a) - f(b)| >= |fl f(a) - fl f(b)| - e(a) - e(b)`, with `e` the evaluation errors: rounding alone has given slopes of 15 to maps of
    slope 1 between points close to each other, and the more so where a narrower type is used inside. Values and points are converted to
    the wider of their types first, which is exact; a declared error counts in units of the coarsest type.

    Args:
        values_a: `f(a)`, shape `(batch, ...)`.
        values_b: `f(b)`.
        a: first points.
        b: second points.
        norm: norm on the arguments.
        output_norm: norm on the values.
        rounding: evaluation errors; where `None`, `ASSUMED_ROUNDINGS` unit roundoffs of `|f| + magnitude`.
        magnitude: size of the terms inside an evaluation, shape `(batch,)`; that of the points where `None`. Terms larger than this that
            cancel inside are not covered.
        unit: unit roundoff of the coarsest type that an evaluation uses, as `watched` returns it.

    Returns:
        Shape `(batch,)`; zero where nothing is left, or where the points coincide.
    """
    gap, error, distance = slope_parts(values_a, values_b, a, b, norm, output_norm, rounding, magnitude, unit=unit)
    found = (gap - error).clamp_min(0) / torch.where(distance > 0, distance, 1.0)
    found = torch.where(distance > 0, found, 0.0)
    return found if found.dtype == a.dtype else (found * (1 - 2 * unit_roundoff(a.dtype))).to(a.dtype)


def slope_parts(
    values_a: Tensor,
    values_b: Tensor,
    a: Tensor,
    b: Tensor,
    norm: Norm,
    output_norm: Norm,
    rounding: Rounding | None,
    magnitude: Tensor | None = None,
    *,
    unit: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """What `certified_slopes` is made of.

    Args:
        values_a: `f(a)`, shape `(batch, ...)`.
        values_b: `f(b)`.
        a: first points.
        b: second points.
        norm: norm on the arguments.
        output_norm: norm on the values.
        rounding: evaluation errors, or `None`.
        magnitude: size of the terms inside an evaluation.
        unit: unit roundoff of the coarsest type that an evaluation uses.

    Returns:
        The gap between the values, rounded down; the evaluation errors of both; the distance between the points, rounded up.
    """
    wide = torch.promote_types(torch.promote_types(a.dtype, values_a.dtype), torch.float32)
    values_a, values_b, a, b = (t.to(wide) for t in (values_a, values_b, a, b))
    sizes = output_norm(values_a), output_norm(values_b)
    if rounding is not None:
        # A declaration speaks of the state, which an image may be smaller than.
        states = (torch.maximum(size, norm(t)) for size, t in zip(sizes, (a, b), strict=True))
        first, second = (rounding.error(size, t) for size, t in zip(states, (a, b), strict=True))
        error = (first + second) * max(unit / unit_roundoff(wide), 1.0)
    else:
        inside = torch.maximum(norm(a), norm(b)) if magnitude is None else magnitude.to(wide)
        error = ASSUMED_ROUNDINGS * unit * (sizes[0] + sizes[1] + 2 * inside)
    count = max(a[0].numel(), values_a[0].numel()) + 4
    loss = gamma(4 * count, wide) if 4 * count * unit_roundoff(wide) < 0.5 else 0.5
    return output_norm(values_b - values_a) * (1 - loss), error, norm(b - a) * (1 + loss)
