r"""Lipschitz constant of a formula on a box: the supremum of the operator norm of its symbolic Jacobian, enclosed.

A box is convex, so a continuous map whose generalized Jacobians have norms at most `L` there is `L`-Lipschitz (N9 shows that convexity
is needed; a jump or a pole inside the box is one more way to fail, so continuity is proved on every part). Conversely the norm of the
Jacobian where the map is continuously differentiable is a lower bound.

Over a part with midpoint `m` and half-widths `r`, let `J(m)` be the Jacobian and `D_k` enclose its derivative in coordinate `k`, with
midpoints `C_k` and radii `R_k`. Then `J(x) = J(m) + sum_k t_k D_k` with `|t_k| <= r_k`, and a norm is convex, so

    |J(x)| <= max_{t_k = +-r_k} |J(m) + sum_k t_k C_k| + |sum_k r_k R_k|,

which errs by `O(r^2)`. At kinks the bound is taken side by side: the hull of matrices has no larger norm than the matrices.

References:
    F. H. Clarke, Optimization and Nonsmooth Analysis, Wiley 1983, Proposition 2.6.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bracket
from eqtheory.errors import InputError
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound, operator_norm
from eqtheory.lipschitz.formulas._branch_and_bound import Found, Seen, maximize
from eqtheory.lipschitz.formulas._formulas import Box, Formulas, Values
from eqtheory.lipschitz.formulas._intervals import EVERYTHING, Interval, sum_up
from eqtheory.lipschitz.formulas._supremum import (
    Ends,
    at_point,
    blind_points,
    bracket_of,
    face_of,
    half_widths,
    midpoint,
    prepared,
)
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.roundoff import gamma, unit_roundoff

__all__ = ["formula_lipschitz"]

_CORNERS = 6
"""Coordinates up to which all corners are run through; beyond, the norms of the terms are added."""
_SYMBOLIC = ("derivatives and trigonometric identities as sympy finds them",)
_SHORTEN = 300
"""Operations up to which sympy is asked for a shorter form; beyond, it takes longer than the search."""
_COARSE = 0.02
_TINY = 2.0**-1000
"""Far above what products of float64 numbers lose where they underflow, `2^-1075` each."""


def formula_lipschitz(
    expressions: Any,
    box: Mapping[Any, tuple[Any, Any]],
    *,
    norm: Norm | None = None,
    output_norm: Norm | None = None,
    rtol: float = 1e-6,
    max_boxes: int = 100_000,
) -> Bracket:
    """Enclose the Lipschitz constant of a map that is given by formulas, on a box.

    Args:
        expressions: one sympy expression, or a sequence of them, one per component of the map; see `supremum` for what they may hold.
        box: for every symbol a pair `(low, high)`, taken exactly. The symbols in this order are the components of the argument; one
            whose ends agree is a constant.
        norm: norm of the arguments: l2 (the default), l1 or sup.
        output_norm: norm of the values; `norm` by default.
        rtol: relative gap at which the search ends.
        max_boxes: boxes after which it ends in any case, with the wider bracket it has then.

    Returns:
        Proved bounds. The upper one is infinite where slopes are unbounded, and where the map is not proved to be continuous: at poles,
        at jumps, at the border of its domain, and where a `Piecewise` changes branches. Cost: as `supremum`, with all second derivatives.

    Raises:
        InputError: an unsupported function or norm, a symbol without a range, or an unusable box.
        MissingDependencyError: python-flint is not installed.

    Theorem: N9.

    Example:
        >>> import sympy
        >>> x = sympy.Symbol("x")
        >>> found = formula_lipschitz(sympy.tanh(100 * x), {x: (-1, 1)})
        >>> print(f"{found.lower.value:.4f} {found.upper.value:.4f}")
        100.0000 100.0000
    """
    chosen = norm or Euclidean()
    out = output_norm or chosen
    for name, one in (("norm", chosen), ("output_norm", out)):
        if not isinstance(one, Euclidean | Sum | Sup):
            raise InputError(name, str(getattr(one, "name", one)), "l2, l1 or sup", "pass Euclidean(), Sum() or Sup()")
    matrix_norm_upper_bound(torch.ones(1, 1), chosen, output_norm=out)  # refuses a pair without a formula
    several = isinstance(expressions, Sequence) and not isinstance(expressions, str)
    listed = list(expressions) if several else [expressions]
    if not listed:
        raise InputError("expressions", "an empty sequence", "at least one formula", "pass the components of the map")
    written, symbols, ends = prepared(listed, box, rtol=rtol, max_boxes=max_boxes)
    free = [k for k, (low, high) in enumerate(ends) if low.low < high.high and low != high]
    label = chosen.name if out.name == chosen.name else f"{chosen.name} to {out.name}"
    if not free:
        return bracket_of(
            Found(0.0, 0.0, 0, settled=True), "Jacobian", "a single point", norm=label, assumptions=_SYMBOLIC
        )
    slopes = _Slopes(written, symbols, free, ends, (chosen, out))
    root = tuple(Interval(low.low, high.high) for low, high in ends)
    found = maximize(slopes, root, rtol=rtol, max_boxes=max_boxes)
    # No slope is negative: where nothing could be evaluated, zero is a lower bound.
    known = Found(max(found.lower, 0.0), max(found.upper, 0.0), found.boxes, found.settled)
    return bracket_of(
        known, "norm of the Jacobian", "norm of the Jacobian at a point of the box", norm=label, assumptions=_SYMBOLIC
    )


class _Slopes:
    """The operator norm of the Jacobian."""

    def __init__(
        self, written: list[Any], symbols: list[Any], free: list[int], ends: Ends, norms: tuple[Norm, Norm]
    ) -> None:
        self.formulas, self.free, self.ends, self.norms = Formulas(symbols), free, ends, norms
        self.shape = (len(written), len(free))
        self.values = [self.formulas.entry(e) for e in written]
        jacobian = [e.diff(symbols[k]) for e in written for k in free]
        self.entries = [self.formulas.entry(e) for e in jacobian]
        self.last = max(*self.values, *self.entries)
        self.square = self._square(jacobian, [symbols[k] for k in free])
        self.changes = [[self.formulas.entry(e.diff(symbols[k])) for e in jacobian] for k in free]

    def _square(self, jacobian: list[Any], symbols: list[Any]) -> tuple[int, list[int]] | None:
        """Compile the square of the Euclidean norm of a gradient or a velocity, shortened, with its derivatives.

        Returns:
            Their entries; `None` for other norms, for matrices, and where there are kinks.
        """
        import sympy

        from eqtheory.lipschitz.formulas._kinks import Branch

        euclidean = all(isinstance(n, Euclidean) for n in self.norms) and min(self.shape) == 1 < max(self.shape)
        total = sympy.Add(*[e**2 for e in jacobian])
        if not euclidean or total.has(Branch, sympy.Piecewise):
            return None
        if sympy.count_ops(total) <= _SHORTEN:
            total = min((total, sympy.trigsimp(total)), key=sympy.count_ops)
        return self.formulas.entry(total), [self.formulas.entry(total.diff(s)) for s in symbols]

    def above(self, box: Box) -> Seen:
        """Bound the norm of the Jacobian over a box.

        Args:
            box: a part of the root box.

        Returns:
            See `Seen`.
        """
        values = self.formulas.run(box)
        if not all((f := values[k]) is not None and f.continuous for k in self.values):
            return Seen(math.inf, box, points=blind_points(box))
        cases = [self._bound(run, sides, box) for sides, run in self.formulas.cases(box, values)]
        return max(cases, key=lambda seen: seen.upper)

    def _bound(self, run: Values, sides: Mapping[int, bool], box: Box) -> Seen:
        """Bound over a box, all undecided kinks on one side.

        Returns:
            See `Seen`.
        """
        entries = [run[k] or EVERYTHING for k in self.entries]
        if not all(e.finite for e in entries):
            return Seen(math.inf, box, points=blind_points(box))
        if all(e.continuous for e in entries):
            bounds = self._by_square if self.square is not None else self._by_corners
            if (seen := bounds(run, sides, box)) is not None:
                return seen
        return Seen(self._natural(entries), box, points=blind_points(box))

    def _natural(self, entries: list[Interval]) -> float:
        return self._norm(torch.tensor([[e.magnitude for e in entries]], dtype=torch.float64))

    def _by_square(self, run: Values, sides: Mapping[int, bool], box: Box) -> Seen | None:
        """Bound the square of the norm as the values of a formula are bounded.

        Returns:
            See `Seen`; `None` where its derivatives are not known.
        """
        square, slopes = self.square or (0, [])
        here, changes = run[square], [run[k] or EVERYTHING for k in slopes]
        if here is None or not here.continuous or not all(d.finite for d in changes):
            return None
        middle, face, corner = midpoint(box), list(box), list(midpoint(box))
        for k, d in zip(self.free, changes, strict=True):
            face[k] = face_of(box[k], [d])
            corner[k] = box[k].high if d.low + d.high > 0 else box[k].low
        if tuple(face) != box:
            return self._bound(self.formulas.run(tuple(face), sides), sides, tuple(face))
        radii = half_widths(box, middle)
        centre = self.formulas.run(tuple(Interval(t, t) for t in middle), sides, upto=square)[square] or EVERYTHING
        linear = sum_up(centre.high, [(radii[k], d.magnitude) for k, d in zip(self.free, changes, strict=True)])
        weights = [0.0] * len(box)
        for k, d in zip(self.free, changes, strict=True):
            weights[k] = radii[k] * d.magnitude
        upper = math.nextafter(math.sqrt(max(min(here.high, linear), 0.0)), math.inf)
        points = ((math.sqrt(max(centre.high, 0.0)), middle), (math.sqrt(max(linear, 0.0)), tuple(corner)))
        return Seen(upper, box, tuple(weights), points)

    def _by_corners(self, run: Values, sides: Mapping[int, bool], box: Box) -> Seen | None:
        """The bound of the header, or the natural one where that is smaller.

        Returns:
            See `Seen`; `None` where the derivatives of the Jacobian are not known.
        """
        changes = [[run[k] or EVERYTHING for k in row] for row in self.changes]
        middle = midpoint(box)
        radii = half_widths(box, middle)
        centre = self._jacobian(tuple(Interval(t, t) for t in middle), sides)
        if centre is None or not all(d.finite for row in changes for d in row):
            return None
        linear, rest, corner = self._convex(centre, changes, [radii[k] for k in self.free])
        upper = math.nextafter(linear + rest, math.inf)
        if rest > _COARSE * linear:  # elsewhere the natural bound is the wider one
            upper = min(upper, self._natural([run[k] or EVERYTHING for k in self.entries]))
        point, weights = list(middle), [0.0] * len(box)
        for k, high, row in zip(self.free, corner, changes, strict=True):
            point[k] = box[k].high if high else box[k].low
            weights[k] = radii[k] * max(d.magnitude for d in row)
        size = self._norm(_middle_and_radius([centre])[0])
        return Seen(upper, box, tuple(weights), ((size, middle), (linear, tuple(point))))

    def _convex(
        self, centre: list[Interval], changes: list[list[Interval]], radii: list[float]
    ) -> tuple[float, float, list[bool]]:
        """The two terms of the header's bound.

        Returns:
            The terms, and the corner at which the norm of the linear part is largest.
        """
        r = torch.tensor(radii, dtype=torch.float64).unsqueeze(1)
        (m, m_radius), (c, c_radius) = _middle_and_radius([centre]), _middle_and_radius(changes)
        n = len(radii)
        spread = m_radius + (r * c_radius).sum(0, keepdim=True)
        size = m.abs() + (r * c.abs()).sum(0, keepdim=True)
        # `2 n + 2` roundings in the linear part, as many in the radii; products that underflow lose less than `_TINY` together.
        radius = (spread + gamma(2 * n + 2, torch.float64) * size) * (1 + gamma(2 * n + 4, torch.float64)) + _TINY
        if n <= _CORNERS:
            signs = torch.tensor(list(product((1.0, -1.0), repeat=n)), dtype=torch.float64)
            norms = self._norms(m + signs @ (r * c))
            best = int(norms.argmax())
            return float(norms[best]), self._norm(radius), [sign > 0 for sign in signs[best].tolist()]
        linear = self._norms(torch.cat([m, r * c.abs()])).sum() * (1 + gamma(n + 2, torch.float64))
        return float(linear), self._norm(radius), [True] * n

    def _jacobian(self, point: Box, sides: Mapping[int, bool]) -> list[Interval] | None:
        run = self.formulas.run(point, sides, upto=self.last)
        entries = [run[k] for k in self.entries]
        found = [e for e in entries if e is not None and e.finite]
        return found if len(found) == len(entries) else None

    def _norms(self, flat: Tensor) -> Tensor:
        if self.shape == (1, 1):
            return flat.abs().squeeze(1)
        return matrix_norm_upper_bound(flat.reshape(-1, *self.shape), self.norms[0], output_norm=self.norms[1])

    def _norm(self, flat: Tensor) -> float:
        return float(self._norms(flat)[0])

    def below(self, point: tuple[float, ...]) -> float:
        """Norm of the Jacobian at a point, from below, where the map is continuously differentiable around it.

        Args:
            point: coordinates in the root box.

        Returns:
            A lower bound of the Lipschitz constant.
        """
        run = self.formulas.run(at_point(point, self.ends), upto=self.last)
        if not all((f := run[k]) is not None and f.continuous for k in (*self.values, *self.entries)):
            return -math.inf
        entries = [e for k in self.entries if (e := run[k]) is not None and e.finite]
        if len(entries) < len(self.entries):
            return -math.inf
        if self.shape == (1, 1):
            return entries[0].mignitude
        middle, radius = _middle_and_radius([entries])
        bracket = operator_norm(middle.reshape(self.shape), norm=self.norms[0], output_norm=self.norms[1])
        return math.nextafter(float(bracket.lower.value) - self._norm(radius), -math.inf)


def _middle_and_radius(rows: list[list[Interval]]) -> tuple[Tensor, Tensor]:
    """Midpoints of intervals, and radii that cover them.

    Returns:
        Two tensors of shape `(rows, entries)`.
    """
    low = torch.tensor([[e.low for e in row] for row in rows], dtype=torch.float64)
    high = torch.tensor([[e.high for e in row] for row in rows], dtype=torch.float64)
    middle = (0.5 * low + 0.5 * high).clamp(low, high)
    # A difference of floating-point numbers is rounded once, and exact where it is subnormal.
    return middle, torch.maximum(high - middle, middle - low) * (1 + 4 * unit_roundoff(torch.float64))
