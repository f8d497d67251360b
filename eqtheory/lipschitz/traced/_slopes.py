r"""How steep a value is in the arguments, and between which limits its entries lie.

Let `v = c + sum_k N_k z_k`, and let a change of one argument of norm `delta` change `z_k` by at most `s_k delta`. Then

    l2:  |dv|^2 = sum_kl dz_k^T N_k^T N_l dz_l <= delta^2 sum_kl s_k s_l |N_k^T N_l|_2,
    sup: |dv_i| <= delta sum_k s_k sum_j |N_k|_ij,
    l1:  |dv| <= delta sum_k s_k |N_k|_1.

None is above the triangle inequality `sum_k s_k |N_k|`. Parts that reach different entries have `N_k^T N_l = 0` and add up as
in Pythagoras in l2, and only the largest counts in sup. Of entries, `c_i + sum_j (N_ij)_+ hi - (N_ij)_- lo` is the upper
limit.

Where a matrix would have more than `limit` rows or columns, norms of single steps are multiplied along paths instead, for the
leaves concerned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from eqtheory.errors import NotBoundedError
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound
from eqtheory.lipschitz.traced._values import (
    Interval,
    Leaf,
    Value,
    allowance,
    constant_of,
    leaves_of,
    matrix_of,
    path_gain,
)
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.roundoff import gamma

__all__ = ["EVERYWHERE", "Scope", "rounded_up"]

EVERYWHERE: Interval = (-math.inf, math.inf)
_CROSS_TERMS = 12  # beyond so many parts the mixed products of the l2 rule are no longer formed


def rounded_up(value: float, operations: int = 16) -> float:
    """A number that so many roundings cannot have taken below the exact one.

    Args:
        value: computed in float64, not negative.
        operations: roundings.

    Returns:
        The number, raised.
    """
    return value * (1 + gamma(operations, torch.float64))


@dataclass(eq=False)
class Scope:
    """What one walk over a graph knows.

    Args:
        norm: l2, l1 or sup.
        arguments: how many arguments there are.
        limit: longest side of a matrix that is formed.
    """

    norm: Norm
    arguments: int
    limit: int
    assumptions: set[str] = field(default_factory=set)
    made: int = 0
    known_slopes: dict[Value, tuple[float, ...]] = field(default_factory=dict)
    known_limits: dict[Value, Interval] = field(default_factory=dict)

    def next(self) -> int:
        """Number of the next value."""
        self.made += 1
        return self.made

    def of_norm(self, *, l2: float, l1: float, sup: float) -> float:
        """The constant that belongs to the norm in use.

        Args:
            l2: in l2.
            l1: in l1.
            sup: in sup.

        Returns:
            One of the three.
        """
        return l2 if isinstance(self.norm, Euclidean) else l1 if isinstance(self.norm, Sum) else sup

    def slopes(self, value: Value) -> tuple[float, ...]:
        """Lipschitz constants of a value in every argument, from above.

        Args:
            value: the value.

        Returns:
            One number per argument, finite.

        Raises:
            NotBoundedError: a constant is not a finite number.
        """
        if value not in self.known_slopes:
            found = value.slopes if isinstance(value, Leaf) else self._slopes(value)
            if not all(math.isfinite(s) for s in found):
                raise NotBoundedError("the program", f"slopes of {found} in its arguments", "use smaller weights")
            self.known_slopes[value] = found
        return self.known_slopes[value]

    def limits(self, value: Value) -> Interval:
        """An interval that holds every entry of a value.

        Args:
            value: the value.

        Returns:
            The interval; infinite where nothing is known.
        """
        if value not in self.known_limits:
            self.known_limits[value] = value.limits() if isinstance(value, Leaf) else self._limits(value)
        return self.known_limits[value]

    def largest(self, value: Value) -> float:
        """Largest absolute entry of a value, from above.

        Args:
            value: the value.

        Returns:
            The number; infinite where nothing is known.
        """
        return max(map(abs, self.limits(value)))

    def _small_enough(self, value: Value, leaves: list[Leaf]) -> bool:
        return all(math.prod(v.shape) <= self.limit for v in (value, *leaves))

    def _slopes(self, value: Value) -> tuple[float, ...]:
        leaves = leaves_of(value)
        small = [k for k in leaves if self._small_enough(value, [k])]
        if not small:
            return tuple(self._along_paths(value, leaves, a, tight=True) for a in range(self.arguments))
        parts = [(_real(matrix_of(value, k), self.norm), allowance(value, k, self.norm)) for k in small]
        table: _Rows | _Pairs = _Rows(parts) if isinstance(self.norm, Sup) else _Pairs(parts, self.norm)
        large = [k for k in leaves if k not in small]
        found = []
        for a in range(self.arguments):
            exact = table.slope([k.slopes[a] for k in small])
            if (
                large
            ):  # the triangle inequality between the leaves that have matrices and those that are too long for one
                exact = rounded_up(exact + self._along_paths(value, large, a, tight=True))
            found.append(min(exact, self._along_paths(value, leaves, a, tight=False)))
        return tuple(found)

    def _along_paths(self, value: Value, leaves: list[Leaf], argument: int, *, tight: bool) -> float:
        return path_gain(value, {k: k.slopes[argument] for k in leaves}, self.norm, tight=tight)

    def _limits(self, value: Value) -> Interval:
        leaves = leaves_of(value)
        if value.is_complex or not self._small_enough(value, leaves):
            return EVERYWHERE
        c = constant_of(value).reshape(-1)
        if not bool(torch.isfinite(c).all()) or any(k.is_complex for k in leaves):
            return EVERYWHERE
        low, high, slack = c.clone(), c.clone(), gamma(4 * self.made, torch.float64) * c.abs()
        for k in leaves:
            N, error = matrix_of(value, k), allowance(value, k, Sup())
            if N.is_complex():
                return EVERYWHERE
            lo, hi = self.limits(k)
            up, down = N.clamp_min(0).sum(1), (-N).clamp_min(0).sum(1)
            high = high + _times(up, hi) - _times(down, lo)
            low = low + _times(up, lo) - _times(down, hi)
            size = max(abs(lo), abs(hi))
            exactly = len(leaves) == 1 and isinstance(value, Leaf)
            reach = (
                torch.zeros_like(up) if exactly else (gamma(2 * N.shape[1] + 8, torch.float64) * (up + down) + error)
            )
            slack = slack + _times(reach, size)
        high, low = high + slack * (1 + 1e-9), low - slack * (1 + 1e-9)
        if bool(torch.isnan(low).any()) or bool(torch.isnan(high).any()):
            return EVERYWHERE
        return float(low.amin()), float(high.amax())


def _times(weights: Tensor, number: float) -> Tensor:
    """Non-negative weights times a number that may be infinite; an entry that does not count adds nothing.

    Returns:
        The shape of the weights.
    """
    return torch.where(weights > 0, weights * number, 0.0)


def _real(N: Tensor, norm: Norm) -> Tensor:
    """Real and imaginary parts below each other: the same images in l2. Moduli: the same sums in l1 and sup.

    Returns:
        A real matrix.
    """
    if not N.is_complex():
        return N
    if isinstance(norm, Euclidean):
        return torch.cat([N.real, N.imag])
    return N.abs() * (1 + gamma(4, torch.float64))


def _frobenius(A: Tensor) -> float:
    """Root of the sum of squares, scaled so that none underflows that counts.

    Returns:
        The norm, up to rounding.
    """
    peak = A.abs().amax()
    return float(peak * (A / peak).square().sum().sqrt()) if bool(peak > 0) else 0.0


class _Rows:
    """The rule of sup: sums of rows, added up with the slopes of the leaves."""

    def __init__(self, parts: list[tuple[Tensor, float]]) -> None:
        self.rows = [N.abs().sum(1) * (1 + gamma(N.shape[1] + 1, torch.float64)) + error for N, error in parts]

    def slope(self, sizes: list[float]) -> float:
        """Largest row for these slopes of the leaves.

        Args:
            sizes: slope of each leaf.

        Returns:
            The slope of the value.
        """
        total = torch.stack([s * row for s, row in zip(sizes, self.rows, strict=True)]).sum(0)
        return rounded_up(float(total.amax()), 2 * len(sizes) + 2)


class _Pairs:
    """The rules of l1 and l2: norms of the parts and, in l2, of their mixed products."""

    def __init__(self, parts: list[tuple[Tensor, float]], norm: Norm) -> None:
        self.norms = [rounded_up(float(matrix_norm_upper_bound(N, norm)) + error) for N, error in parts]
        self.mixed: dict[tuple[int, int], float] = {}
        if isinstance(norm, Sum):
            return
        for k, (N, e) in enumerate(parts):
            for j, (M, f) in enumerate(parts[:k]):
                product = self.norms[k] * self.norms[j]
                if len(parts) > _CROSS_TERMS or product == 0.0:
                    self.mixed[k, j] = product
                    continue
                C = N.T @ M
                # The product errs by gamma_m |N|_F |M|_F, the matrices by what they were granted.
                rounding = gamma(N.shape[0] + 4, torch.float64) * _frobenius(N) * _frobenius(M)
                lost = rounded_up(rounding + e * self.norms[j] + f * self.norms[k])
                size = rounded_up(_frobenius(C), C.numel() + 8)
                if size > 1e-12 * product:  # else it is rounding, and the Frobenius norm will do
                    size = float(matrix_norm_upper_bound(C, norm))
                self.mixed[k, j] = min(product, size + lost)

    def slope(self, sizes: list[float]) -> float:
        """Slope of the value for these slopes of the leaves.

        Args:
            sizes: slope of each leaf.

        Returns:
            The slope of the value.
        """
        scaled = [s * n for s, n in zip(sizes, self.norms, strict=True)]
        if not self.mixed:
            return rounded_up(math.fsum(scaled))
        cross = math.fsum(2 * sizes[k] * sizes[j] * size for (k, j), size in self.mixed.items())
        return rounded_up(math.sqrt(math.fsum(s * s for s in scaled) + cross))
