"""What is known about a map that is locally, but not globally, Lipschitz.

A *target* is a map `F : X -> Y` between normed spaces together with its domain, its local modulus
`lip F(x) = lim_{r -> 0} lip(F; B(x,r))`, proved bounds on every open ball `B(x,r)`, exact values, and hostile inputs. By T3 it is
the fixed-point map of a regular operator; `1 + sup + lip` from `ball_bounds` is a majorant from which that operator is built.

Values are computed in float64 and rounded once to the type of the input, so one error analysis serves every precision.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.operators import OncePerInput
from eqtheory.roundoff import unit_roundoff
from eqtheory.targets._arithmetic import U
from eqtheory.targets._checks import outwards, radii_of, require_finite, whole
from eqtheory.targets._domains import normal
from eqtheory.targets._exact import precise, to_precise, to_tensor
from eqtheory.targets._hooks import TargetHooks
from eqtheory.validate import batch_of, inside, positive

__all__ = ["Target"]

_REDRAWS = 64
"""Rounds of redrawing samples that rounding to a narrow type pushed out of the domain."""

_DEPTHS = 512
"""Depths `2^-k` at which a steep pair is looked for: down to 1e-154, whose square is still a normal number."""


class Target(TargetHooks):
    """A locally Lipschitz map with everything known about it.

    Laws, for all `x` in the domain and `r > 0`:

    - `ball_bounds(x, r)` bounds `|F|` and the slopes of **all** pairs in `B(x,r)`, also of pairs in different components;
    - it is monotone: `r' <= r - d(x,x')` implies `ball_bounds(x',r') <= ball_bounds(x,r)`, up to rounding;
    - it is finite for small `r`, never NaN, and infinite where nothing finite is known;
    - `local_modulus(x) <= lip` of every ball, with equality in the limit `r -> 0` (except in combinations whose slopes cancel);
    - a sample's result does not depend on its batch mates.

    Example:
        >>> from eqtheory.targets import ReciprocalMap
        >>> x, r = torch.tensor([0.5]), torch.tensor([0.25])
        >>> [round(float(bound), 5) for bound in ReciprocalMap().ball_bounds(x, r)]
        [4.0, 16.0]
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.formula}>"

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate the map.

        Args:
            x: points of the domain, shape `(batch, *input_shape)`, any floating-point type.

        Returns:
            `F(x)`, shape `(batch, *output_shape)`, the type of `x`.

        Raises:
            InputError: in its kinds: a point outside the domain, NaN, infinity, wrong shapes, a value too large for the type.
        """
        value = self._value(self._checked("x", x)).to(x.dtype)
        require_finite(x, value)
        return value

    def contains(self, x: Tensor) -> Tensor:
        """Say which points lie in the domain, as far as float64 can tell.

        Args:
            x: finite points, shape `(batch, *input_shape)`.

        Returns:
            Booleans, shape `(batch,)`; where rounding leaves it open (a matrix that may be singular) the answer is no.
        """
        with torch.no_grad():
            return self._contains(batch_of("x", x, trailing=self.input_shape).double())

    def sample(self, n: int, *, generator: Generator, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw points of the domain, most of them where the map is steep or large.

        Args:
            n: number of points, at least 1.
            generator: source of randomness; its device is the device of the result.
            dtype: type of the result.

        Returns:
            Shape `(n, *input_shape)`, every point in the domain and with a finite value in `dtype`.

        Raises:
            InputError: `n < 1`, or `dtype` is too narrow to hold enough points of the domain.
        """
        if n < 1:
            raise InputError("n", str(n), "n >= 1", "ask for at least one point")
        unit_roundoff(dtype)  # refuses types that are not floating point
        with torch.no_grad():
            out = self._draw(n, generator).to(dtype)
            for _ in range(_REDRAWS):
                bad = ~self._usable(out)
                if not bool(bad.any()):
                    return out
                out = torch.where(
                    bad.reshape(-1, *[1] * len(self.input_shape)), self._draw(n, generator).to(dtype), out
                )
        raise InputError("dtype", str(dtype), f"a type that holds points of {self.domain}", "use torch.float64")

    def directions(self, x: Tensor, *, generator: Generator) -> Tensor:
        """Draw one direction per point, along which the domain extends.

        Args:
            x: points of the domain, shape `(batch, *input_shape)`.
            generator: source of randomness, on the device of `x`.

        Returns:
            Vectors of unit `input_norm`, like `x`.
        """
        v = self.tangent(normal(tuple(self._checked("x", x).shape), generator))
        return (v / self.input_norm(v).reshape(-1, *[1] * (v.ndim - 1))).to(x.dtype)

    def tangent(self, v: Tensor) -> Tensor:
        """Project vectors onto the subspace in which the domain is open.

        Args:
            v: vectors, shape `(batch, *input_shape)`.

        Returns:
            The nearest vectors along which the domain extends: `v` itself, or its symmetric part where `X` holds symmetric matrices.
        """
        return self._tangent(batch_of("v", v, trailing=self.input_shape))

    def local_modulus(self, x: Tensor) -> Tensor:
        """Evaluate the local Lipschitz modulus `lim_{r -> 0} lip(F; B(x,r))`.

        Args:
            x: points of the domain, shape `(batch, *input_shape)`.

        Returns:
            Shape `(batch,)`, the type of `x`; see `modulus_side`.
        """
        with torch.no_grad():
            return self._modulus(self._checked("x", x)).to(x.dtype)

    def ball_bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        """Bound the map and its slopes on open balls.

        Args:
            x: centres, points of the domain, shape `(batch, *input_shape)`.
            r: radii in `input_norm`, shape `(batch,)`, positive and finite.

        Returns:
            Upper bounds on `sup |F|` and on the Lipschitz constant over `B(x,r)` intersected with the domain, each of shape
            `(batch,)` in the type of `x`; plus infinity where nothing finite is known, never NaN.

        Raises:
            InputError: in its kinds: a centre outside the domain, a radius that is not positive, NaN, infinity, wrong shapes.
        """
        with torch.no_grad():
            centre = self._checked("x", x)
            sup, lip = self._bounds(centre, radii_of(r, centre.shape[0]))
            return outwards(sup, self.bound_ulps, x.dtype), outwards(lip, self.bound_ulps, x.dtype)

    def evaluation_error(self, x: Tensor) -> Tensor:
        """Bound the error of a computed value.

        Args:
            x: points of the domain, shape `(batch, *input_shape)`.

        Returns:
            Bound on the output norm of `F(x) as computed - F(x)`, shape `(batch,)`, the type of `x`.
        """
        with torch.no_grad():
            point = self._checked("x", x)
            value = self._value(point)
            # Below the normal range rounding is absolute.
            error = U * self.evaluation_ulps * self._error_scale(point, value) + torch.finfo(x.dtype).tiny
            if x.dtype != torch.float64:
                # Rounding the float64 value to the type of x adds one roundoff of that type; the sum is rounded upwards.
                u = unit_roundoff(x.dtype)
                error = (1 + 4 * u) * (error + u * (error + self.output_norm(value)))
            return error.to(x.dtype)

    def exact_values(self) -> tuple[tuple[Any, Any], ...]:
        """List a few values in closed form.

        Returns:
            Pairs `(x, F(x))` of `sympy` expressions, or nested tuples of them for vectors and matrices.
        """
        import sympy

        return self._exact(sympy)

    def reference(self, x: Any) -> Any:
        """Evaluate the map at one point in high precision, by code that shares nothing with `__call__`.

        Args:
            x: one point without batch axis: a tensor of shape `input_shape` (taken exactly), or a `sympy`, `mpmath` or Python
                number, or nested tuples of them.

        Returns:
            `mpmath` number or nested list of them, at least 50 correct digits.

        Raises:
            DomainError: the point lies outside the domain.
            ShapeError: `x` has a batch axis or a wrong shape.
        """
        rounded = to_tensor(x)
        if tuple(rounded.shape) != self.input_shape:
            raise ShapeError(
                "x", f"shape {tuple(rounded.shape)}", f"one sample of shape {self.input_shape}", "pass x[i]"
            )
        self._checked("x", rounded.unsqueeze(0))
        with precise() as mp:
            return self._reference(mp, to_precise(x))

    def approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """List pairs of unbounded slope, most of them close to the singular set.

        Args:
            depth: numbers in `(0, 1]`, shape `(k,)`; the slope tends to infinity as they go to zero.

        Returns:
            Pairs `(x, x')` of points of the domain, float64; at most `k`, since depths that float64 cannot resolve are left out.

        Raises:
            InputError: a depth outside `(0, 1]`.
        """
        with torch.no_grad():
            depth = batch_of("depth", depth, trailing=()).double()
            if not bool(((depth > 0) & (depth <= 1)).all()):
                raise InputError("depth", str(float(depth.min())), "0 < depth <= 1", "halve repeatedly, starting at 1")
            x, z = self._approach(depth)
            keep = whole(torch.isfinite(x) & torch.isfinite(z))
            x, z = x[keep], z[keep]
            keep = self._usable(x) & self._usable(z)
            x, z = x[keep], z[keep]
            apart = self.input_norm(x - z) > 0
            return x[apart], z[apart]

    def steep_pair(self, slope: float) -> tuple[Tensor, Tensor]:
        """Find a pair that is steeper than asked: the witness that the map is not globally Lipschitz.

        Args:
            slope: a positive number.

        Returns:
            Batches `(x, x')` of one point each, float64, with `|F(x) - F(x')| > slope d(x,x')`. The inequality holds for the
            map itself, since the evaluation error of both values is taken off first.

        Raises:
            InputError: no pair that float64 can represent is as steep.
        """
        positive("slope", slope)
        x, z, slopes = self._ladder
        steep = (slopes > slope).nonzero()
        if not steep.shape[0]:
            best = f"{float(slopes.max()):.3g}" if slopes.numel() else "none"
            raise InputError(
                "slope", str(slope), f"a slope that some float64 pair reaches (best: {best})", "ask for less"
            )
        first = int(steep[0])
        return x[first : first + 1].clone(), z[first : first + 1].clone()

    @cached_property
    def _ladder(self) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs at falling depths, and lower bounds on their slopes."""
        x, z = self.approach(torch.pow(0.5, torch.arange(_DEPTHS, dtype=torch.float64)))
        if not x.shape[0]:
            return x, z, x.new_zeros(0)
        rise = self.output_norm(self._value(x) - self._value(z)) - self.evaluation_error(x) - self.evaluation_error(z)
        # Rounding of the differences, of the norms and of the quotient: fewer than 64 roundings for the shapes used here.
        return x, z, rise / self.input_norm(x - z) * (1 - 64 * U)

    @cached_property
    def _membership(self) -> OncePerInput[Tensor]:
        return OncePerInput(self._contains)

    def _checked(self, argument: str, x: Tensor) -> Tensor:
        point = batch_of(argument, x, trailing=self.input_shape).double()
        with torch.no_grad():
            inside(argument, x, self._membership(point), self.domain, self.remedy)
        return point

    def _usable(self, x: Tensor) -> Tensor:
        """Finite points of the domain whose value is finite in the type of `x`."""
        finite = whole(torch.isfinite(x))
        point = x.double()
        usable = torch.zeros_like(finite)
        rows = finite.nonzero().flatten()
        rows = rows[self._contains(point[rows])] if rows.numel() else rows
        if rows.numel():
            value = self._value(point[rows]).to(x.dtype)
            usable[rows] = whole(torch.isfinite(value))
        return usable
