r"""Lipschitz constants of any torch map, from above, by a walk over the program that computes it.

The map is traced for one sample into elementary tensor operations. Every operation has a rule that is proved where it stands,
and what has no rule is refused by name. Affine pieces between two activations are bounded as one matrix, whatever they are
made of: linear layers, convolutions with any padding, transforms, residual sums, steps of gradient descent.

Definitions: `traced_lipschitz` bounds `sup |f(.., a, ..) - f(.., a', ..)| / |a - a'|` over all values of the argument `a` and
of all others (inside `ranges`, where given).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import InputError, NotBoundedError, ShapeError
from eqtheory.lipschitz.traced._call import is_dependent
from eqtheory.lipschitz.traced._slopes import EVERYWHERE, Scope
from eqtheory.lipschitz.traced._values import Interval, Leaf
from eqtheory.lipschitz.traced._walk import graph_of, walk
from eqtheory.norms import Euclidean, Norm, Sum, Sup, Weighted
from eqtheory.operators import ImplicitOperator, Regularity, as_operator
from eqtheory.validate import batch_of, count

__all__ = ["traced_lipschitz", "traced_regularity"]

_METHOD = "walk over the traced graph"
_ASSUMED = (
    "exact arithmetic",
    "the traced program is the operator (no hidden Python state)",
    "constants of the program are those computed in float64",
)


def traced_lipschitz(
    function: Callable[..., Tensor],
    arguments: Sequence[Tensor],
    *,
    norm: Norm | None = None,
    wrt: int | Sequence[int] | None = None,
    ranges: Sequence[Interval | None] | None = None,
    exact_up_to: int = 2048,
) -> tuple[Bound, ...]:
    """Bound the Lipschitz constants of a map from above, one for each argument.

    Parameters and buffers of modules are constants; batch normalisation and dropout have to be in evaluation mode. For a map that is
    affine, or an activation of an affine map, the bound is the constant itself wherever the activation is steepest somewhere.

    Args:
        function: any function or module that maps tensors to one tensor by operations of torch.
        arguments: examples for one sample, first axis 1; only shapes, types and devices matter.
        norm: on arguments and values: l2, l1, sup, or one of them `Weighted`; Euclidean by default.
        wrt: which arguments to move; all by default. The others take any value too, and stay.
        ranges: for each argument an interval `(low, high)` that holds its entries, or None; products of two values need them.
        exact_up_to: longest side of a matrix that is formed; beyond it norms of single operations are multiplied.

    Returns:
        One proved upper bound for each argument in `wrt`. Cost: for every piece between activations one matrix of `n` columns, by
        `n` evaluations in batches, and `O(n^3)` for its norm in l2.

    Raises:
        NotBoundedError: an operation of the program has no rule, or its slope is not bounded.
        InputError: no such norm, argument or range.
        ShapeError: not one sample, or weights of another shape.
        NonFiniteError: a constant is NaN or infinite.

    Example:
        >>> import torch
        >>> A = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        >>> y, x = torch.zeros(1, 2), torch.zeros(1, 2)
        >>> in_y, in_x = traced_lipschitz(lambda y, x: y - 0.1 * (y @ A.T - x) @ A, (y, x))
        >>> round(in_y.value, 6), round(in_x.value, 6)
        (0.9, 0.3)
    """
    _require_arguments(arguments)
    chosen = norm or Euclidean()
    moved = _places(wrt, len(arguments))
    weights = chosen.weights if isinstance(chosen, Weighted) else None
    map_ = function if weights is None else _in_units(function, dict.fromkeys(moved, weights), weights)
    boxes = ranges if weights is None else _boxes_in_units(ranges, moved, weights)
    slopes, assumptions = _slopes(map_, arguments, _plain(chosen), moved, boxes, exact_up_to)
    return tuple(Bound(s, Side.UPPER, _METHOD, Evidence.PROVED, chosen.name, (*_ASSUMED, *assumptions)) for s in slopes)


def traced_regularity(
    operator: ImplicitOperator | Callable[[Tensor, Tensor], Tensor],
    y: Tensor,
    x: Tensor,
    *,
    norm: Norm | None = None,
    ranges: tuple[Interval | None, Interval | None] | None = None,
    exact_up_to: int = 2048,
) -> Regularity:
    """Prove that an operator is regular: a contraction factor, and a budget with `L1 = 0`.

    Args:
        operator: maps a state and an input to a state.
        y: an example of a state of one sample, first axis 1.
        x: an example of its input.
        norm: on states: l2, l1, sup, or one of them `Weighted`; Euclidean by default. Inputs are measured without weights.
        ranges: intervals that hold the entries of states and of inputs, or None.
        exact_up_to: as for `traced_lipschitz`.

    Returns:
        The regularity, proved: `mu` is uniform over inputs and `L0` over states.

    Raises:
        NotBoundedError: an operation has no rule, or the slope in the input grows with the state without bound.
        InputError: the bound of `mu` is not below 1; `traced_lipschitz` shows it.
        ShapeError: not one sample.
        NonFiniteError: a constant is NaN or infinite.

    Example:
        >>> import torch
        >>> found = traced_regularity(lambda y, x: 0.5 * torch.tanh(y) + x, torch.zeros(1, 3), torch.zeros(1, 3))
        >>> round(found.mu.value, 9), round(found.L0.value, 9), found.L1.value
        (0.5, 1.0, 0.0)
    """
    _require_arguments((y, x))
    G = as_operator(operator)
    chosen = norm or Euclidean()
    plain = _plain(chosen)

    def map_(state: Tensor, given: Tensor) -> Tensor:
        return G(state, given)

    weighted = _in_units(map_, {0: chosen.weights}, chosen.weights) if isinstance(chosen, Weighted) else map_
    boxes = _boxes_in_units(ranges, (0,), chosen.weights) if isinstance(chosen, Weighted) else ranges
    (mu, L0), assumptions = _slopes(weighted, (y, x), plain, (0, 1), boxes, exact_up_to)

    def bound(value: float) -> Bound:
        return Bound(value, Side.UPPER, _METHOD, Evidence.PROVED, chosen.name, (*_ASSUMED, *assumptions))

    return Regularity(bound(mu), bound(L0), bound(0.0), chosen, plain)


def _slopes(
    function: Callable[..., Tensor],
    arguments: Sequence[Tensor],
    norm: Norm,
    moved: Sequence[int],
    ranges: Sequence[Interval | None] | None,
    exact_up_to: int,
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Trace, walk, and read off the slopes.

    Returns:
        Slopes in the moved arguments, and what they rest on beyond exact arithmetic.

    Raises:
        NotBoundedError: the result is complex or no tensor.
    """
    limits = _boxes(ranges, len(arguments))
    scope = Scope(norm, len(moved), count("exact_up_to", exact_up_to, "pass for example 2048"))
    leaves = []
    for k, argument in enumerate(arguments):
        slopes = tuple(1.0 if k == place else 0.0 for place in moved)
        leaves.append(Leaf(scope.next(), tuple(argument.shape), slopes, _always(limits[k])))
    result = walk(graph_of(function, arguments), scope, leaves)
    found = (0.0,) * len(moved) if isinstance(result, Tensor) or not is_dependent(result) else scope.slopes(result)
    inside = [f"entries of argument {k} in [{a:g}, {b:g}]" for k, (a, b) in enumerate(limits) if (a, b) != EVERYWHERE]
    return found, (*sorted(scope.assumptions), *inside)


def _always(interval: Interval) -> Callable[[], Interval]:
    return lambda: interval


def _require_arguments(arguments: Sequence[Tensor]) -> None:
    if not isinstance(arguments, (tuple, list)) or not arguments:
        raise InputError("arguments", type(arguments).__name__, "a tuple of tensors", "pass (y,) or (y, x)")
    for k, argument in enumerate(arguments):
        batch_of(f"arguments[{k}]", argument)
        if argument.shape[0] != 1:
            raise ShapeError(
                f"arguments[{k}]", f"a batch of {argument.shape[0]}", "one sample, first axis 1", "pass y[:1], x[:1]"
            )


def _places(wrt: int | Sequence[int] | None, n: int) -> tuple[int, ...]:
    places = tuple(range(n)) if wrt is None else (wrt,) if isinstance(wrt, int) else tuple(wrt)
    if not places or len(set(places)) < len(places) or not all(0 <= k < n for k in places):
        raise InputError("wrt", str(wrt), f"different places from 0 to {n - 1}", "pass wrt=0 for the first argument")
    return places


def _boxes(ranges: Sequence[Interval | None] | None, n: int) -> list[Interval]:
    given = [None] * n if ranges is None else list(ranges)
    if len(given) != n:
        raise InputError("ranges", f"{len(given)} intervals", f"{n}, one per argument", "pass None where there is none")
    boxes = [EVERYWHERE if r is None else (float(r[0]), float(r[1])) for r in given]
    for low, high in boxes:
        if math.isnan(low) or math.isnan(high) or low > high:
            raise InputError("ranges", f"({low}, {high})", "low <= high", "pass for example (-1.0, 1.0)")
    return boxes


def _boxes_in_units(
    ranges: Sequence[Interval | None] | None, moved: Sequence[int], weights: Tensor
) -> list[Interval | None] | None:
    """Intervals that hold the entries in the units of the weights.

    Returns:
        An interval per argument, those of the arguments that are not weighted as they are.
    """
    if ranges is None:
        return None
    least, most = float(weights.min()), float(weights.max())

    def scaled(box: Interval) -> Interval:
        low, high = box
        return min(low * least, low * most), max(high * least, high * most)

    return [scaled(r) if r is not None and k in moved else r for k, r in enumerate(ranges)]


def _plain(norm: Norm) -> Norm:
    """The norm without its weights.

    Returns:
        l2, l1 or sup.

    Raises:
        InputError: another norm.
    """
    inner = norm.norm if isinstance(norm, Weighted) else norm
    if not isinstance(inner, (Euclidean, Sum, Sup)):
        raise InputError("norm", norm.name, "a norm that rules are known for", "use Euclidean(), Sum() or Sup()")
    return inner


def _in_units(function: Callable[..., Tensor], inner: dict[int, Tensor], outer: Tensor) -> Callable[..., Tensor]:
    """A map between weighted norms is `w f(a / w)` between plain ones.

    Returns:
        The function in the units of its weights.
    """

    def scaled(t: Tensor, weights: Tensor, *, up: bool) -> Tensor:
        if t.shape[1:] != weights.shape:
            raise ShapeError(
                "norm", f"weights of shape {tuple(weights.shape)}", f"{tuple(t.shape[1:])}", "one weight per entry"
            )
        return t * weights.to(t) if up else t / weights.to(t)

    def map_(*arguments: Any) -> Tensor:
        plain = [scaled(a, inner[k], up=False) if k in inner else a for k, a in enumerate(arguments)]
        found = function(*plain)
        if not isinstance(found, Tensor):
            raise NotBoundedError("the output", f"a {type(found).__name__}", "return one tensor")
        return scaled(found, outer, up=True)

    return map_
