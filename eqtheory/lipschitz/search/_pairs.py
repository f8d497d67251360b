"""Lower bounds from pairs of points: any pair, perturbations in given directions or frequencies, and pairs that are halved.

`lip(f; S) >= |f(a) - f(b)| / |a - b|` for every pair of `S`, up to what rounding can account for, which is subtracted.

**Halving.** Let `m` be the midpoint of `a` and `b`. Since `|f(a) - f(b)| <= |f(a) - f(m)| + |f(m) - f(b)|` and both halves have
half the length, one of them is at least as steep as the whole. So slopes never fall when a segment is halved towards its
steeper half: at a jump they double every time, and where `f` is differentiable they tend to `|Df v|` at a point at which it is
at least the slope of the pair.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz._precision import watched
from eqtheory.lipschitz._witness import Map, Witnessed, certified_slopes, labelled, values_of, watched_values
from eqtheory.nests import spread
from eqtheory.norms import Euclidean, Norm, same_shape
from eqtheory.roundoff import Rounding
from eqtheory.validate import batch_of, count, positive

__all__ = [
    "frequency_direction",
    "halve",
    "halved_pairs",
    "pair_lower_bound",
    "perturbation_lower_bound",
    "random_directions",
    "rounding_assumption",
]


def rounding_assumption(rounding: Rounding | None) -> str:
    """What a slope of a pair rests on.

    Args:
        rounding: evaluation errors as declared, or `None`.

    Returns:
        One sentence.
    """
    if rounding is None:
        return "evaluations err by at most 64 unit roundoffs (of the coarsest type inside) of value and argument"
    return "evaluation errors as declared, in units of the coarsest type inside"


def pair_lower_bound(
    function: Map,
    a: Tensor,
    b: Tensor,
    *,
    norm: Norm | None = None,
    output_norm: Norm | None = None,
    rounding: Rounding | None = None,
    magnitude: Tensor | None = None,
) -> Witnessed:
    """Slopes of given pairs, one per sample.

    Args:
        function: the map.
        a: first points, shape `(batch, ...)`.
        b: second points, the same shape.
        norm: norm on the arguments; Euclidean by default.
        output_norm: norm on the values; `norm` by default.
        rounding: evaluation errors; 64 unit roundoffs of value and magnitude by default.
        magnitude: size of the terms inside an evaluation, shape `(batch,)`; that of the points by default.

    Returns:
        Lower bounds on the Lipschitz constant of every set that holds the pair. Cost: two evaluations.

    Raises:
        ShapeError: points or values do not match.
        NonFiniteError: a point or a value is not finite.

    Example:
        >>> import torch
        >>> found = pair_lower_bound(lambda x: 3 * x, torch.tensor([[0.0]]), torch.tensor([[2.0]]))
        >>> round(found.worst().value, 4)
        3.0
    """
    a = batch_of("a", a).detach()
    b = batch_of("b", b).detach()
    same_shape("a, b", a, b)
    chosen = norm or Euclidean()
    out = output_norm or chosen
    (values_a, unit_a), (values_b, unit_b) = watched_values(function, a), watched_values(function, b)
    unit = max(unit_a, unit_b)
    found = certified_slopes(values_a, values_b, a, b, chosen, out, rounding, magnitude, unit=unit)
    bound = labelled(found, "pairs of points", chosen, out, rounding_assumption(rounding))
    return Witnessed(bound, a, b, evaluations=2)


def perturbation_lower_bound(
    function: Map,
    x: Tensor,
    directions: Tensor,
    *,
    size: float,
    norm: Norm | None = None,
    output_norm: Norm | None = None,
    rounding: Rounding | None = None,
) -> Witnessed:
    """The largest slope between each point and the point moved along several directions.

    Args:
        function: the map.
        x: points, shape `(batch, ...)`.
        directions: shape `(k, ...)`, the same for all points; their lengths in `norm` do not matter.
        size: how far to move, in `norm`.
        norm: norm on the arguments; Euclidean by default.
        output_norm: norm on the values; `norm` by default.
        rounding: evaluation errors; 64 unit roundoffs of the value by default.

    Returns:
        Lower bounds, shape `(batch,)`, with the moved points. Cost: `k + 1` evaluations in two calls.

    Raises:
        ShapeError: directions do not have the shape of a point.
        InputError: `size` is not positive, or a direction is zero.
    """
    x = batch_of("x", x).detach()
    directions = batch_of("directions", directions).detach()
    positive("size", size)
    if directions.shape[1:] != x.shape[1:]:
        raise ShapeError(
            "directions", f"shape {tuple(directions.shape)}", f"(k, {', '.join(map(str, x.shape[1:]))})", "match x"
        )
    chosen = norm or Euclidean()
    out = output_norm or chosen
    lengths = chosen(directions)
    if not bool((lengths > 0).all()):
        raise InputError("directions", "a zero direction", "directions of positive length", "drop it")
    k, batch = directions.shape[0], x.shape[0]
    moves = size * directions.to(x) / spread(lengths.to(x), directions)
    moved = (x.unsqueeze(1) + moves.unsqueeze(0)).flatten(0, 1)
    (base, unit_x), (values, unit_moved) = watched_values(function, x), watched_values(function, moved)
    found = certified_slopes(
        base.repeat_interleave(k, 0),
        values,
        x.repeat_interleave(k, 0),
        moved,
        chosen,
        out,
        rounding,
        unit=max(unit_x, unit_moved),
    ).reshape(batch, k)
    best, which = found.max(dim=1)
    reached = moved.reshape(batch, k, *x.shape[1:])[torch.arange(batch, device=x.device), which]
    bound = labelled(best, f"perturbations of size {size:g}", chosen, out, rounding_assumption(rounding))
    return Witnessed(bound, x, reached, evaluations=k + 1)


def random_directions(
    k: int, shape: tuple[int, ...], *, generator: Generator, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Draw directions uniformly from the sphere.

    Args:
        k: how many.
        shape: of one point.
        generator: source of randomness; its device is the device of the result.
        dtype: type of the result.

    Returns:
        Shape `(k, *shape)`, Euclidean norm 1.
    """
    count("k", k, "ask for at least one direction")
    v = torch.randn((k, *shape), generator=generator, dtype=dtype, device=generator.device)
    return Euclidean().aligned(v)


def frequency_direction(frequency: tuple[int, ...], size: tuple[int, ...], *, phase: float = 0.0) -> Tensor:
    """A plane wave on a grid, the direction in which images are blurred most or least.

    Args:
        frequency: whole periods along each axis.
        size: points along each axis.
        phase: in radians.

    Returns:
        Shape `size`, float64, Euclidean norm 1.

    Raises:
        ShapeError: not one frequency per axis.
        InputError: the wave vanishes on the grid (a sine sampled at its zeros).
    """
    if len(frequency) != len(size):
        raise ShapeError("frequency", f"{len(frequency)} numbers", f"{len(size)}, one per axis", "match size")
    angle = torch.full(size, phase, dtype=torch.float64)
    for axis, (periods, points) in enumerate(zip(frequency, size, strict=True)):
        steps = torch.arange(points, dtype=torch.float64).reshape([-1 if a == axis else 1 for a in range(len(size))])
        angle = angle + 2 * math.pi * periods * steps / points
    wave = torch.cos(angle)
    length = float(torch.linalg.vector_norm(wave))
    if length < 1e-9 * math.sqrt(wave.numel()):
        raise InputError("phase", str(phase), "a wave that does not vanish on the grid", "shift the phase by pi / 2")
    return wave / length


def halved_pairs(
    function: Map,
    a: Tensor,
    b: Tensor,
    *,
    halvings: int = 40,
    separation: float = 0.0,
    norm: Norm | None = None,
    output_norm: Norm | None = None,
    rounding: Rounding | None = None,
) -> Witnessed:
    """Halve segments towards their steeper halves, and keep the steepest pair that rounding leaves standing.

    Args:
        function: the map, defined on the whole segments.
        a: first ends, shape `(batch, ...)`.
        b: second ends.
        halvings: how often; 40 takes a segment to 1e-12 of its length.
        separation: segments are not halved to less than this, in `norm`.
        norm: norm on the arguments; Euclidean by default.
        output_norm: norm on the values; `norm` by default.
        rounding: evaluation errors; 64 unit roundoffs of the value by default.

    Returns:
        Lower bounds, never below those of the pairs themselves. Cost: `halvings + 2` evaluations.

    Example:
        >>> import torch
        >>> jump = lambda x: (x > 0.3).to(x.dtype)
        >>> bool(halved_pairs(jump, torch.zeros(1, 1).double(), torch.ones(1, 1).double()).values > 1e9)
        True
    """
    a = batch_of("a", a).detach()
    b = batch_of("b", b).detach()
    same_shape("a, b", a, b)
    count("halvings", halvings, "pass for example halvings=40")
    chosen = norm or Euclidean()
    out = output_norm or chosen
    best, best_a, best_b = halve(
        lambda t: values_of(function, t), a, b, halvings, separation, chosen, out, rounding=rounding
    )
    bound = labelled(best, "halved segments", chosen, out, rounding_assumption(rounding))
    return Witnessed(bound, best_a, best_b, evaluations=halvings + 2)


def halve(
    evaluate: Map,
    a: Tensor,
    b: Tensor,
    halvings: int,
    separation: float,
    norm: Norm,
    output_norm: Norm,
    *,
    rounding: Rounding | None,
    magnitude: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The loop of `halved_pairs`; segments on which values are not finite are left as they are.

    Args:
        evaluate: the map, without a graph.
        a: first ends.
        b: second ends.
        halvings: how often.
        separation: least length.
        norm: norm on the arguments.
        output_norm: norm on the values.
        rounding: evaluation errors.
        magnitude: size of the terms inside an evaluation.

    Returns:
        The largest certified slopes, and the ends they belong to.
    """
    low, high, (f_low, unit_a), (f_high, unit_b) = a, b, watched(evaluate, a), watched(evaluate, b)
    unit = max(unit_a, unit_b)

    def slopes(f_low: Tensor, f_high: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return certified_slopes(f_low, f_high, low, high, norm, output_norm, rounding, magnitude, unit=unit)

    best, best_a, best_b = slopes(f_low, f_high, a, b).nan_to_num(nan=0.0), a, b
    for _ in range(halvings):
        middle = low + (high - low) / 2
        f_middle, seen = watched(evaluate, middle)
        unit = max(unit, seen)
        # The halves have the same length, so the larger gap is the steeper half.
        first = output_norm(f_middle - f_low) >= output_norm(f_high - f_middle)
        long = norm(high - low) >= 2 * separation
        up, down = first & long, ~first & long
        low, high = torch.where(spread(down, low), middle, low), torch.where(spread(up, high), middle, high)
        f_low = torch.where(spread(down, f_low), f_middle, f_low)
        f_high = torch.where(spread(up, f_high), f_middle, f_high)
        found = slopes(f_low, f_high, low, high)
        better = (found > best) & torch.isfinite(found)
        best = torch.where(better, found, best)
        best_a, best_b = torch.where(spread(better, a), low, best_a), torch.where(spread(better, b), high, best_b)
    return best, best_a, best_b
