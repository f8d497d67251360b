"""Targets made from targets: one after the other, and sums (T15: locally Lipschitz maps are closed under both)."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.bounds import Side
from eqtheory.errors import InputError
from eqtheory.norms import Euclidean
from eqtheory.operators import OncePerInput
from eqtheory.targets._arithmetic import U
from eqtheory.targets._base import Target

__all__ = ["Composition", "TargetSum"]


def _jacobian_norm(target: Target, x: Tensor) -> Tensor:
    """Spectral norm of the derivative."""
    # It is the local modulus of a C1 map between Euclidean spaces at points with a convex neighbourhood in the domain, since
    # differences of nearby values are integrals of the derivative.
    with torch.enable_grad():
        point = x.detach().clone().requires_grad_()
        value = target(point).flatten(1) if target.output_shape else target(point).unsqueeze(1)
        rows = [
            torch.autograd.grad(value[:, j].sum(), point, retain_graph=True)[0].reshape(x.shape[0], -1)
            for j in range(value.shape[1])
        ]
    return torch.linalg.matrix_norm(torch.stack(rows, dim=1), ord=2)


def _euclidean(*targets: Target) -> bool:
    return all(isinstance(norm, Euclidean) for t in targets for norm in (t.input_norm, t.output_norm))


@final
class Composition(Target):
    """`F2(F1(x))`, defined where `F1(x)` lies in the domain of `F2`.

    With the bounds `(s1, l1)` of `F1` on `B(x,r)`: `F1` maps that ball into the ball of radius `l1 r` around `F1(x)`, so `s2` and
    `l2` of the outer map on the latter give `sup = s2` and `lip = l1 l2`. They are monotone: `l1' r' <= l1 (r - d)` and `F1`
    moves the centre by at most `l1 d`. Since `F1(x)` is computed, its evaluation error is added to the radius; a point whose
    image may lie outside the outer domain within that error counts as outside.

    In Euclidean norms `local_modulus` is the exact norm of the derivative. Otherwise it is the product of the two moduli, an
    upper bound, as `modulus_side` says.

    Args:
        outer: `F2`.
        inner: `F1`, whose values have the shape and norm of the inputs of `F2`.

    Raises:
        InputError: the two do not fit.

    Example:
        >>> import torch
        >>> from eqtheory.targets import LogMap, ReciprocalMap
        >>> Composition(LogMap(), ReciprocalMap())(torch.ones(1))
        tensor([0.])
    """

    def __init__(self, outer: Target, inner: Target) -> None:
        if outer.input_shape != inner.output_shape or outer.input_norm != inner.output_norm:
            came = f"values of shape {inner.output_shape} in {inner.output_norm.name}"
            needed = f"shape {outer.input_shape} in {outer.input_norm.name}, the inputs of {outer.name}"
            raise InputError("inner", came, needed, "choose the same dimension and norm for both")
        self.outer, self.inner = outer, inner
        # The image is asked for once per input, so what the outer map remembers about it stays valid from ball to ball.
        self._middle = OncePerInput(inner)
        self.name = f"{outer.name} of {inner.name}"
        self.formula = f"({outer.formula}) after ({inner.formula})"
        self.domain = f"{inner.domain}, with a value in the outer domain: {outer.domain}"
        self.remedy = f"{inner.remedy}; or: {outer.remedy}"
        self.input_norm, self.output_norm = inner.input_norm, outer.output_norm
        self.input_shape, self.output_shape = inner.input_shape, outer.output_shape
        self.evaluation_ulps = 1.0  # the error scale below is the whole bound
        self.bound_ulps = outer.bound_ulps + inner.bound_ulps
        self.modulus_side = Side.EXACT if _euclidean(outer, inner) else Side.UPPER

    def _contains(self, x: Tensor) -> Tensor:
        inside = self.inner.contains(x)
        rows = inside.nonzero().flatten()
        if rows.numel():
            middle = self.inner(x[rows])
            found = self.outer.contains(middle)
            kept = rows[found]
            inside = torch.zeros_like(inside)
            if kept.numel():
                radius = 2 * self.inner.evaluation_error(x[kept])
                inside[kept] = torch.isfinite(self.outer.ball_bounds(middle[found], radius)[1])
        return inside

    def _value(self, x: Tensor) -> Tensor:
        return self.outer(self._middle(x))

    def _error_scale(self, x: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002  (the outer map is asked at its own input)
        # |fl F2(y~) - F2(y)| <= error of F2 at y~ + lip(F2; B(y~, |y~ - y|)) |y~ - y|, in roundoffs.
        middle, moved = self._middle(x), self.inner.evaluation_error(x)
        slope = self.outer.ball_bounds(middle, 2 * moved)[1]
        return (self.outer.evaluation_error(middle) + slope * moved) / U

    def _modulus(self, x: Tensor) -> Tensor:
        if self.modulus_side is Side.EXACT:
            return _jacobian_norm(self, x)
        return self.inner.local_modulus(x) * self.outer.local_modulus(self._middle(x))

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        _, inner_lip = self.inner.ball_bounds(x, r)
        radius = inner_lip * r + self.inner.evaluation_error(x)
        known = torch.isfinite(radius)
        sup, lip = self.outer.ball_bounds(self._middle(x), torch.where(known, radius, torch.ones_like(radius)))
        infinite = torch.full_like(r, torch.inf)
        lip = torch.where(inner_lip == 0, torch.zeros_like(lip), lip * inner_lip)
        return torch.where(known, sup, infinite), torch.where(known, lip, infinite)

    def _tangent(self, v: Tensor) -> Tensor:
        return self.inner.tangent(v)

    def _draw(self, n: int, generator: Generator) -> Tensor:
        return self.inner.sample(n, generator=generator)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:  # noqa: ARG002  (the parts bring their expressions)
        # Where a value of the inner table is an entry of the outer one.
        return tuple(
            (x, z) for x, y in self.inner.exact_values() for middle, z in self.outer.exact_values() if y == middle
        )

    def _reference(self, mp: Any, x: Any) -> Any:  # noqa: ARG002  (the parts bring their precision)
        return self.outer.reference(self.inner.reference(x))

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.approach(depth)


@final
class TargetSum(Target):
    """`F1(x) + F2(x)` on the intersection of the two domains, which should be one and the same.

    Bounds add, and so does monotonicity; where the slopes of the two maps cancel, they stay above the slopes of the sum however
    small the ball. In Euclidean norms `local_modulus` is the norm of the derivative, up to rounding relative to the two moduli;
    otherwise it is their sum, an upper bound, as `modulus_side` says.

    Args:
        first: `F1`; samples are drawn from its domain.
        second: `F2`, with the same shapes and norms.

    Raises:
        InputError: shapes or norms differ.
    """

    def __init__(self, first: Target, second: Target) -> None:
        for what in ("input_shape", "output_shape", "input_norm", "output_norm"):
            a, b = getattr(first, what), getattr(second, what)
            if a != b:
                raise InputError(
                    "second", f"{what} {b}", f"{what} {a}, that of {first.name}", "add maps between the same spaces"
                )
        self.first, self.second = first, second
        self.name = f"{first.name} + {second.name}"
        self.formula = f"({first.formula}) + ({second.formula})"
        self.domain = first.domain if first.domain == second.domain else f"{first.domain}, and {second.domain}"
        self.remedy = first.remedy
        self.input_norm, self.output_norm = first.input_norm, first.output_norm
        self.input_shape, self.output_shape = first.input_shape, first.output_shape
        self.evaluation_ulps = 1.0  # the error scale below is the whole bound
        self.bound_ulps = 2 + max(first.bound_ulps, second.bound_ulps)
        self.modulus_side = Side.EXACT if _euclidean(first, second) else Side.UPPER

    def _contains(self, x: Tensor) -> Tensor:
        return self.first.contains(x) & self.second.contains(x)

    def _value(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)

    def _error_scale(self, x: Tensor, value: Tensor) -> Tensor:
        both = self.first.evaluation_error(x) + self.second.evaluation_error(x)
        return (1 + 4 * U) * both / U + 2 * self.output_norm(value)

    def _modulus(self, x: Tensor) -> Tensor:
        if self.modulus_side is Side.EXACT:
            return _jacobian_norm(self, x)
        return self.first.local_modulus(x) + self.second.local_modulus(x)

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        (sup_a, lip_a), (sup_b, lip_b) = self.first.ball_bounds(x, r), self.second.ball_bounds(x, r)
        return sup_a + sup_b, lip_a + lip_b

    def _tangent(self, v: Tensor) -> Tensor:
        return self.first.tangent(v)

    def _draw(self, n: int, generator: Generator) -> Tensor:
        return self.first.sample(n, generator=generator)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:  # noqa: ARG002  (the parts bring their expressions)
        # At the points that both tables hold.
        def added(a: Any, b: Any) -> Any:
            return tuple(added(p, q) for p, q in zip(a, b, strict=True)) if isinstance(a, tuple) else a + b

        return tuple(
            (x, added(y, w)) for x, y in self.first.exact_values() for z, w in self.second.exact_values() if x == z
        )

    def _reference(self, mp: Any, x: Any) -> Any:  # noqa: ARG002  (the parts bring their precision)
        def added(a: Any, b: Any) -> Any:
            return [added(p, q) for p, q in zip(a, b, strict=True)] if isinstance(a, list) else a + b

        return added(self.first.reference(x), self.second.reference(x))

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        (x, z), (v, w) = self.first.approach(depth), self.second.approach(depth)
        return torch.cat([x, v]), torch.cat([z, w])
