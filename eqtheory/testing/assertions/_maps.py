"""Is this map Lipschitz, locally Lipschitz, monotone? Pairs of points against the claim."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Verdict
from eqtheory.errors import InputError
from eqtheory.nests import spread
from eqtheory.norms import Euclidean, Metric, Norm
from eqtheory.targets import Target
from eqtheory.testing.assertions._comparison import Comparison, claimed, compared, settled
from eqtheory.testing.assertions._evaluation import apart, assumed, image, row, states_of
from eqtheory.validate import batch_of, count

__all__ = ["assert_lipschitz", "assert_locally_lipschitz", "assert_monotone"]

Map = Callable[[Tensor], Tensor]


def _errors(function: Map, norm: Norm, x: Tensor, out: Tensor, declared: Map | None) -> Tensor:
    if declared is not None:
        return declared(x)
    return function.evaluation_error(x) if isinstance(function, Target) else assumed(norm, out, x)


def _slopes(
    function: Map, points: tuple[Tensor, ...], bound: Tensor, metric: Metric, norm: Norm, declared: Map | None
) -> list[Comparison]:
    values = [image(function, x) for x in points]
    errors = [_errors(function, norm, x, out, declared) for x, out in zip(points, values, strict=True)]
    found = []
    for i, j in combinations(range(len(points)), 2):
        delta, gap = apart(metric, points[i], points[j]), apart(norm, values[i], values[j])

        def witness(k: int, i: int = i, j: int = j, delta: Tensor = delta, gap: Tensor = gap) -> str:
            slope, claim = float(gap[k] / delta[k]), float(bound[k])
            pair = f"x = {row(points[i], k)}, x' = {row(points[j], k)}"
            return f"{pair}: slope {slope:.6g}, claimed {claim:.6g}, excess {slope - claim:.3g}"

        # A slope of twice the claim, or of one more, is what should be noticed for certain.
        right = bound.to(delta) * delta
        entries = max(points[0][0].numel(), values[0][0].numel())
        found.append(compared((gap, right), delta, errors[i] + errors[j], right + delta, entries, witness))
    return found


def assert_lipschitz(
    function: Map,
    *points: Tensor,
    bound: Any,
    input_metric: Metric | None = None,
    output_norm: Norm | None = None,
    evaluation_error: Map | None = None,
) -> Verdict:
    """Assert `|F(x) - F(x')| <= bound d(x,x')` on pairs, up to rounding.

    Args:
        function: the map, of one batched argument.
        points: two or more batches of points; every two of them are compared row by row.
        bound: the claim: a number, one for each row, a bound, or a callable of the first batch.
        input_metric: that of a target by default, else Euclidean.
        output_norm: that of a target by default, else Euclidean.
        evaluation_error: bound on it, for each point; that of a target by default, else the assumption in the package's header.

    Returns:
        `not refuted`, with the number of pairs that decide, and the worst relative margin.

    Example:
        >>> import torch
        >>> x, z = torch.zeros(3).double(), torch.tensor([1e-3, 1.0, 50.0]).double()
        >>> assert_lipschitz(torch.sin, x, z, bound=1.0).trials
        3
    """
    batch = states_of(points, "points", 2)
    metric, norm = _norms(function, input_metric, output_norm)
    claim = claimed("bound", bound, points[0], batch)
    return settled(
        "lipschitz", _slopes(function, points, claim, metric, norm, evaluation_error), "|F(x) - F(x')| <= L d(x,x')"
    )


def _norms(function: Map, input_metric: Metric | None, output_norm: Norm | None) -> tuple[Metric, Norm]:
    if isinstance(function, Target):
        return input_metric or function.input_norm, output_norm or function.output_norm
    return input_metric or Euclidean(), output_norm or Euclidean()


def _ball_pairs(
    x: Tensor, radius: Tensor, norm: Norm, tangent: Map, contains: Map, g: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Two points of each open ball; the second of every other pair is drawn towards the first, by a factor down to 1e-6."""
    n = x.shape[0]

    def uniform() -> Tensor:
        return torch.rand(n, generator=g, dtype=torch.float64, device=g.device).to(x)

    def point() -> Tensor:
        v = tangent(torch.randn(x.shape, generator=g, dtype=torch.float64, device=g.device).to(x))
        length = norm(v)
        return x + spread((1 - 2.0**-10) * radius * uniform() / torch.where(length > 0, length, 1.0), x) * v

    first, second = point(), point()
    share = torch.where(torch.arange(n, device=x.device) % 2 == 0, 1.0, 10.0 ** (-6 * uniform()))
    second = first + spread(share, x) * (second - first)
    # Outside the domain the centre stands in: pairs of two centres are left out later.
    first = torch.where(spread(contains(first), x), first, x)
    return first, torch.where(spread(contains(second), x), second, x)


def assert_locally_lipschitz(
    function: Map,
    x: Tensor,
    *,
    radius: float | Tensor,
    generator: torch.Generator,
    bound: Any = None,
    pairs: int = 32,
    contains: Map | None = None,
    input_norm: Norm | None = None,
    output_norm: Norm | None = None,
    evaluation_error: Map | None = None,
) -> Verdict:
    """Assert `|F(z) - F(z')| <= bound(x) |z - z'|` on pairs of each open ball `B(x, radius)`, up to rounding.

    Args:
        function: the map, of one batched argument.
        x: centres, shape `(batch, ...)`.
        radius: of the balls, one or one for each centre.
        generator: source of randomness.
        bound: the claim: a number, one for each centre, or a callable of the centres; a target's proved bound on the ball by
            default.
        pairs: pairs drawn in each ball.
        contains: which points lie in the domain, shape `(batch,)`; a target's own by default, else all.
        input_norm: that of a target by default, else Euclidean.
        output_norm: that of a target by default, else Euclidean.
        evaluation_error: see `assert_lipschitz`.

    Returns:
        `not refuted`, with the number of pairs that decide, and the worst relative margin.

    Raises:
        InputError: in its kinds: no claim, a radius that is not positive, NaN.

    Example:
        >>> import torch
        >>> from eqtheory.targets import ReciprocalMap
        >>> g, x = torch.Generator().manual_seed(0), torch.tensor([0.5, 1.0]).double()
        >>> assert_locally_lipschitz(ReciprocalMap(), x, radius=0.25, generator=g).kind.value
        'not refuted'
    """
    batch = batch_of("x", x).shape[0]
    count("pairs", pairs, "pass for example pairs=32")
    radii = claimed("radius", radius, x, batch).to(x)
    if not bool((radii > 0).all() and radii.isfinite().all()):
        raise InputError("radius", str(float(radii.min())), "finite radii > 0", "pass for example radius=0.1")
    tangent: Map = lambda v: v  # noqa: E731  (one of two)
    inside: Map = contains or (lambda z: torch.ones(z.shape[0], dtype=torch.bool, device=z.device))
    norm = input_norm or Euclidean()
    if isinstance(function, Target):
        tangent, inside, norm = function.tangent, contains or function.contains, input_norm or function.input_norm
        bound = function.ball_bounds(x, radii)[1] if bound is None else bound
    if bound is None:
        raise InputError("bound", "None", "a Lipschitz constant on each ball", "pass a number or a callable of x")
    claim = claimed("bound", bound, x, batch)
    of_values = _norms(function, norm, output_norm)[1]
    found = []
    for _ in range(pairs):
        points = _ball_pairs(x, radii, norm, tangent, inside, generator)
        found += _slopes(function, points, claim, norm, of_values, evaluation_error)
    return settled("locally Lipschitz", found, "|F(z) - F(z')| <= L(x) |z - z'|, on pairs of balls")


def _inner(a: Tensor, b: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return ((a.double() - b.double()) * (v.double() - w.double())).reshape(len(v), -1).sum(dim=1)


def assert_monotone(
    function: Map, *points: Tensor, modulus: float = 0.0, evaluation_error: Map | None = None
) -> Verdict:
    """Assert `<F(v) - F(w), v - w> >= m |v - w|^2` on pairs, up to rounding.

    Compared as `|F(v) - F(w)| |v - w| - <F(v) - F(w), v - w>  <=  |F(v) - F(w)| |v - w| - m |v - w|^2`, whose left side is never
    negative.

    Args:
        function: the map, of one batched argument, with values of the argument's shape.
        points: two or more batches of points.
        modulus: the claimed strong monotonicity `m`, 0 or more.
        evaluation_error: bound on it, for each point, in the Euclidean norm; the assumption in the package's header by default.

    Returns:
        `not refuted`, with the number of pairs that decide, and the worst relative margin.

    Raises:
        Refuted: a smaller modulus on a pair, or values of another shape or type than the points.

    Example:
        >>> import torch
        >>> v, w = torch.zeros(1, 2).double(), torch.ones(1, 2).double()
        >>> assert_monotone(lambda v: 2 * v, v, w, modulus=2.0).trials
        1
    """
    states_of(points, "points", 2)
    claim = float(claimed("modulus", modulus, points[0], 1)[0])
    norm, values = Euclidean(), [image(function, v, keeps_shape=True) for v in points]
    errors = [_errors(function, norm, v, out, evaluation_error) for v, out in zip(points, values, strict=True)]
    found = []
    for i, j in combinations(range(len(points)), 2):
        delta, gap = apart(norm, points[i], points[j]), apart(norm, values[i], values[j])
        inner = _inner(values[i], values[j], points[i], points[j])

        def witness(k: int, i: int = i, j: int = j, delta: Tensor = delta, inner: Tensor = inner) -> str:
            pair = f"v = {row(points[i], k)}, w = {row(points[j], k)}"
            seen = float(inner[k] / delta[k] ** 2)
            return f"{pair}: modulus {seen:.6g}, claimed {claim:.6g}, short by {claim - seen:.3g}"

        product, entries = gap * delta, points[0][0].numel()
        # Products round relative to |F(v) - F(w)| |v - w|; an evaluation error is multiplied by the distance, on both sides.
        slack = 2 * (errors[i] + errors[j]) * delta + 4 * torch.finfo(delta.dtype).eps * (entries + 8) * product
        sides = (product - inner, product - claim * delta**2)
        found.append(compared(sides, delta, slack, (1 + claim) * delta**2, entries, witness))
    return settled("monotone", found, "<F(v) - F(w), v - w> >= m |v - w|^2, on pairs")
