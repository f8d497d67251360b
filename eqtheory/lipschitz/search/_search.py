r"""Looking for the steepest place of a map `F(y, p)` in `y`: over the points, and over what the map depends on besides.

Three ways to climb, since each is blind where another one sees:

- **pairs**, `log |F(y + h, p) - F(y, p)| - log |h|` over `(y, h, p)`: needs one derivative, works across kinks and for
  piecewise linear maps, whose Jacobians are constant nearly everywhere;
- **points**, `log |dF/dy(y, p) v|` over `(y, p)` and, by products with the transpose, over `v`: sees slopes of regions far
  smaller than any distance between samples, as long as something of them is felt outside;
- **halving** of segments: needs no derivative, and finds jumps.

What comes back is a lower bound with its witness. That nothing steeper was found proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Generator, Tensor

from eqtheory.errors import NonFiniteError, ShapeError
from eqtheory.lipschitz._copies import copied, on_copies
from eqtheory.lipschitz._region import Everywhere, Region
from eqtheory.lipschitz._witness import Witnessed, labelled
from eqtheory.lipschitz.search._climb import climb
from eqtheory.lipschitz.search._jacobian_norm import local_norms
from eqtheory.lipschitz.search._kinks import Nearby
from eqtheory.lipschitz.search._pairs import halve, pair_lower_bound, random_directions
from eqtheory.nests import spread
from eqtheory.norms import Euclidean, Norm, rows_of
from eqtheory.operators import Linearization
from eqtheory.roundoff import Rounding
from eqtheory.validate import batch_of, count

__all__ = ["Search", "steepest"]

ParametricMap = Callable[[Tensor, Tensor], Tensor]
"""Points `(batch, ...)` and parameters `(batch, k)` to values."""

_REACHES = (1.0, 0.1, 1e-2, 1e-4)
"""Lengths of the first pairs, as parts of the spread of the points."""

_HALVINGS = 40
_AROUND = tuple(10.0**-k for k in range(1, 18, 2))
"""Lengths of pairs around points where a derivative was large, relative to `max(1, |y|)`: some places are steep only very close by."""


@final
@dataclass(frozen=True)
class Search:
    """Where and how long to look.

    Args:
        region: where points may go.
        parameter_region: where parameters may go.
        norm: norm on the points.
        output_norm: norm on the values; `norm` where `None`.
        rounding: evaluation errors; 64 unit roundoffs of value and magnitude where `None`.
        magnitude: size of the terms inside an evaluation at points and parameters, shape `(batch,)`; the sum of their norms where `None`.
        steps: of each ascent.
        rounds: alternations between places and directions.
        kept: how many of the best starts are climbed from.
        separation: pairs are never closer than this.
    """

    region: Region = field(default_factory=Everywhere)
    parameter_region: Region = field(default_factory=Everywhere)
    norm: Norm = field(default_factory=Euclidean)
    output_norm: Norm | None = None
    rounding: Rounding | None = None
    magnitude: Callable[[Tensor, Tensor], Tensor] | None = None
    steps: int = 60
    rounds: int = 6
    kept: int = 32
    separation: float = 1e-9

    def __post_init__(self) -> None:
        for name in ("steps", "rounds", "kept"):
            count(name, getattr(self, name), f"pass for example {name}=32")

    @property
    def out(self) -> Norm:
        """The norm on the values."""
        return self.output_norm or self.norm

    def terms(self, y: Tensor, p: Tensor) -> Tensor:
        """Size of the terms inside an evaluation.

        Args:
            y: points, shape `(batch, ...)`.
            p: parameters, shape `(batch, k)`.

        Returns:
            Shape `(batch,)`.
        """
        if self.magnitude is not None:
            return self.magnitude(y, p)
        return self.norm(y) + (Euclidean()(p).to(y.dtype) if p.shape[1] else 0.0)


def steepest(
    function: ParametricMap, y: Tensor, p: Tensor | None = None, *, search: Search | None = None, generator: Generator
) -> Witnessed:
    """Look for the steepest place, from samples, by all three ways.

    Args:
        function: the map; each sample by itself.
        y: points to start from, shape `(batch, ...)`; those outside the region are moved to the nearest points of it first.
        p: parameters, shape `(batch, k)`, moved into their region likewise; none where `None`.
        search: where and how long to look.
        generator: of the first pairs.

    Returns:
        One row per place found, the steepest first: lower bounds on the Lipschitz constant in `y` over the region, uniformly in `p`.

    Raises:
        ShapeError: not one row of parameters a point.
        NonFiniteError: the map is finite at no sample; those at which it is not are left out.
    """
    if torch.is_inference_mode_enabled():  # nothing is differentiated there
        with torch.inference_mode(mode=False):
            start = None if p is None else p.clone()
            return steepest(function, y.clone(), start, search=search, generator=generator)
    how = search or Search()
    batch_of("y", y)
    parameters = y.new_zeros(y.shape[0], 0) if p is None else p
    if parameters.ndim != 2 or parameters.shape[0] != y.shape[0]:
        raise ShapeError(
            "p", f"shape {tuple(parameters.shape)}", f"({y.shape[0]}, k)", "pass one row of parameters a point"
        )
    function = on_copies(function)
    # Slopes of pairs speak of a region that holds both ends.
    y, parameters = how.region.project(copied(y.detach())), how.parameter_region.project(copied(parameters.detach()))
    usable = _finite_at(function, y, parameters)
    y, parameters = y[usable], parameters[usable]
    starts = _paired(function, y, parameters, how, generator)
    found = [starts, _climbed_pairs(function, starts, how), *_climbed_points(function, y, parameters, how)]
    together = _best(found, how)
    halved = _halved(function, together, how)
    return _best([together, halved], how)


def _paired(function: ParametricMap, y: Tensor, p: Tensor, how: Search, generator: Generator) -> Witnessed:
    """Pairs of each sample: with the sample after it, and with points at several distances.

    Returns:
        All pairs, `(1 + len(_REACHES)) * batch` of them.
    """
    size = how.norm(y - y.mean(dim=0, keepdim=True)).amax().clamp_min(how.separation)
    ends = [y.roll(1, dims=0)]
    for reach in _REACHES:
        away = random_directions(y.shape[0], tuple(y.shape[1:]), generator=generator, dtype=y.dtype).to(y.device)
        ends.append(how.region.project(y + reach * size * away))
    b = torch.cat(ends)
    a, q = y.repeat(len(ends), *[1] * (y.ndim - 1)), p.repeat(len(ends), 1)
    return _measured_pairs(function, a, b, q, how)


def _measured_pairs(function: ParametricMap, a: Tensor, b: Tensor, p: Tensor, how: Search) -> Witnessed:
    """Slopes of pairs; pairs whose values are not finite, or which have met, count as flat.

    Returns:
        One row per pair.
    """
    with torch.no_grad():
        ends = torch.stack([function(a, p), function(b, p)])
    usable = torch.isfinite(ends).reshape(2, a.shape[0], -1).all(dim=2).all(dim=0) & (how.norm(b - a) >= how.separation)
    b = torch.where(spread(usable, b), b, a)

    def safe(t: Tensor) -> Tensor:
        value = function(t, p)
        return torch.where(spread(usable, value), value, 0.0)

    found = pair_lower_bound(
        safe, a, b, norm=how.norm, output_norm=how.out, rounding=how.rounding, magnitude=how.terms(a, p)
    )
    return replace(found, parameters=p)


def _climbed_pairs(function: ParametricMap, starts: Witnessed, how: Search) -> Witnessed:
    best = _best([starts], how)
    a, b, p = best.a, best.b, best.parameters
    if b is None:  # never: starts are pairs
        return best
    shape, n = a.shape, a[0].numel()

    def parts(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return z[:, :n].reshape(-1, *shape[1:]), z[:, n : 2 * n].reshape(-1, *shape[1:]), z[:, 2 * n :]

    def height(z: Tensor) -> Tensor:
        at, to, q = parts(z)
        gap, length = how.out(function(to, q) - function(at, q)), how.norm(to - at)
        usable = (gap > 0) & (length > 0)
        return torch.where(
            usable, torch.where(usable, gap, 1.0).log() - torch.where(usable, length, 1.0).log(), -torch.inf
        )

    def project(z: Tensor) -> Tensor:
        at, to, q = parts(z)
        at, to = how.region.project(at), how.region.project(to)
        length = how.norm(to - at)
        stretch = torch.where(length > 0, (how.separation / torch.where(length > 0, length, 1.0)).clamp_min(1.0), 1.0)
        to = how.region.project(at + spread(stretch, to) * (to - at))
        return torch.cat([rows_of(at), rows_of(to), how.parameter_region.project(q)], dim=1)

    start = torch.cat([rows_of(a), rows_of(b), p], dim=1)
    try:
        place, _ = climb(height, start, project=project, first_step=how.norm(b - a), steps=how.steps)
    except (RuntimeError, NotImplementedError):  # no derivative, so nowhere to climb
        return best
    at, to, q = parts(place)
    return _measured_pairs(function, at, to, q, how)


def _climbed_points(function: ParametricMap, y: Tensor, p: Tensor, how: Search) -> list[Witnessed]:
    """Ascent on the norm of the derivative; nothing where the map has none.

    Returns:
        Rows where derivatives were taken, and pairs around them.
    """
    try:
        first = _local(function, y, p, how)
    except (RuntimeError, NotImplementedError):
        return []
    order = first.values.nan_to_num(nan=-1.0).argsort(descending=True)[: how.kept]
    y, p, n = y[order], p[order], y[0].numel()
    shape = y.shape
    size = how.norm(y - y.mean(dim=0, keepdim=True)).amax().clamp_min(how.separation).expand(y.shape[0])
    found = []
    for _ in range(how.rounds):
        local, u = _local_pair(function, y, p, how)
        found.append(local)

        def height(z: Tensor, u: Tensor = u, v: Tensor | None = local.direction) -> Tensor:
            # |J^T u| in l2, <u, J v> elsewhere: at most |J| for unit vectors, and it takes reverse differentiation only.
            at, q = z[:, :n].reshape(-1, *shape[1:]), z[:, n:]
            value = function(at, q)
            if not value.requires_grad:
                return value.new_full((value.shape[0],), -torch.inf)
            (pulled,) = torch.autograd.grad((u * value).sum(), at, create_graph=True)
            along = None if isinstance(how.norm, Euclidean) else v
            grown = how.norm(pulled) if along is None else rows_of(pulled * along).sum(dim=1)
            return torch.where(grown > 0, torch.where(grown > 0, grown, 1.0).log(), -torch.inf)

        def project(z: Tensor) -> Tensor:
            at = how.region.project(z[:, :n].reshape(-1, *shape[1:]))
            return torch.cat([rows_of(at), how.parameter_region.project(z[:, n:])], dim=1)

        joint = torch.cat([rows_of(y), p], dim=1)
        try:
            place, _ = climb(height, joint, project=project, first_step=size / 4, steps=how.steps)
        except (RuntimeError, NotImplementedError):
            break
        if torch.equal(place, joint):
            break
        y, p = place[:, :n].reshape(shape), place[:, n:]
    found.append(_local_pair(function, y, p, how)[0])
    found += [_around(function, place, how) for place in (found[0], found[-1])]
    return found


def _local_pair(function: ParametricMap, y: Tensor, p: Tensor, how: Search) -> tuple[Witnessed, Tensor]:
    """Norms of derivatives, with the directions on which they are large and the functionals that measure the images.

    Returns:
        The norms, and functionals of the shape of the values.
    """
    local = _local(function, y, p, how)
    v = local.direction if local.direction is not None else _direction(function, y, p, how)
    image = Linearization(lambda t, _: function(t, p), y, None).push(v)
    image = torch.where(torch.isfinite(image), image, 0.0)
    return replace(local, parameters=p, direction=v), how.out.subgradient(image)


def _local(function: ParametricMap, y: Tensor, p: Tensor, how: Search) -> Witnessed:
    near = Nearby(how.norm, how.out, how.rounding, how.terms(y, p), how.region.project)
    return local_norms(lambda t: function(t, p), y, how.norm, how.out, max_iterations=12, near=near)


def _direction(function: ParametricMap, y: Tensor, p: Tensor, how: Search) -> Tensor:
    """A direction for norms whose Jacobian was written down: the one on which it is largest in l2.

    Returns:
        Vectors of norm 1, the shape of `y`.
    """
    found = local_norms(lambda t: function(t, p), y, Euclidean(), Euclidean(), max_iterations=12).direction
    v = torch.ones_like(y) if found is None else found
    return v / spread(how.norm(v), v)


def _around(function: ParametricMap, local: Witnessed, how: Search) -> Witnessed:
    """A derivative is a limit of slopes: pairs along the direction, long enough that rounding does not matter.

    Returns:
        Pairs.
    """
    y, v, p = local.a, local.direction, local.parameters
    if v is None:
        return local
    size = how.norm(y).clamp_min(1.0)
    a = torch.cat([y for _ in _AROUND])
    b = torch.cat([how.region.project(y + length * spread(size, y) * v) for length in _AROUND])
    return _measured_pairs(function, a, b, p.repeat(len(_AROUND), 1), how)


def _halved(function: ParametricMap, found: Witnessed, how: Search) -> Witnessed:
    if found.b is None:
        return found
    p = found.parameters

    def evaluate(t: Tensor) -> Tensor:
        with torch.no_grad():
            return function(t, p)

    values, a, b = halve(
        evaluate,
        found.a,
        found.b,
        _HALVINGS,
        how.separation,
        how.norm,
        how.out,
        rounding=how.rounding,
        magnitude=how.terms(found.a, p),
    )
    return replace(found, bound=replace(found.bound, value=values), a=a, b=b, evaluations=_HALVINGS + 2)


def _finite_at(function: ParametricMap, y: Tensor, p: Tensor) -> Tensor:
    """Which samples have finite values.

    Returns:
        Booleans, shape `(batch,)`.

    Raises:
        NonFiniteError: none has.
    """
    with torch.no_grad():
        value = function(y, p)
    good = torch.isfinite(rows_of(value)).all(dim=1)
    if not bool(good.any()):
        raise NonFiniteError("function(y, p)", "no finite value at any sample", "finite values", "restrict the samples")
    return good


def _best(found: list[Witnessed], how: Search) -> Witnessed:
    """The steepest rows of several results, pairs and points apart; points become pairs that coincide.

    Returns:
        At most `kept` pairs and as many points, the steepest first.
    """
    values = torch.cat([w.values for w in found]).nan_to_num(nan=0.0)
    a = torch.cat([w.a for w in found])
    b = torch.cat([w.a if w.b is None else w.b for w in found])
    p = torch.cat([w.parameters for w in found])
    order = values.argsort(descending=True)
    pairs = (rows_of(a) != rows_of(b)).any(dim=1)[order]
    rank = torch.where(pairs, pairs.cumsum(0), (~pairs).cumsum(0))
    order = order[rank <= how.kept]
    bound = labelled(values[order], "search by pairs, points and halving", how.norm, how.out, *_assumptions(found))
    return Witnessed(bound, a[order], b[order], parameters=p[order], evaluations=sum(w.evaluations for w in found))


def _assumptions(found: list[Witnessed]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for w in found for text in w.bound.assumptions))
