"""The adaptive relaxation in rational arithmetic: nothing is rounded, so an inequality either holds or does not.

This is a second, independent computation of the radii: it walks the balls of the definition one by one, where the tensor
version uses closed forms. The two are tested against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import final

from eqtheory.bounds import Verdict, VerdictKind
from eqtheory.constructions._relaxation import check_scale
from eqtheory.constructions._rules import RadiusProduct, RelaxationRule
from eqtheory.errors import DomainError, ShapeError
from eqtheory.targets import RationalTable
from eqtheory.theorems.sufficiency import BUDGET, joint_budget

__all__ = ["ExactRelaxation", "exact_radii"]

Vector = tuple[Fraction, ...]
Height = Callable[[Fraction, Fraction], Fraction]


def _with_slope(size: Fraction, slope: Fraction) -> Fraction:
    return 1 + size + slope


def _size_only(size: Fraction, slope: Fraction) -> Fraction:  # noqa: ARG001  (same signature as the other height)
    return 1 + size


def exact_radii(table: RationalTable, i: int) -> tuple[Fraction, Fraction]:
    """Both radii at one point, from their definition.

    Args:
        table: the map.
        i: index of the point.

    Returns:
        `rho` and `sigma` as rationals.
    """
    return radius_of(table, i, _with_slope), radius_of(table, i, _size_only)


def radius_of(table: RationalTable, i: int, height: Height) -> Fraction:
    """Largest `r` in `(0, 1]` with `r height(sup|F|, lip F) <= 1` on the open ball of radius `r`.

    On `(inner, outer]` the ball is constant, so the supremum there is `min(1, outer, 1/height)` if that exceeds `inner`; the
    walk ends at the first ball whose own height already forbids radii up to its outer end.

    Args:
        table: the map.
        i: index of the centre.
        height: what has to be tame, from the size and the slope of the map on the ball.

    Returns:
        The radius as a rational.
    """
    members: list[int] = []
    size, slope, best = Fraction(0), Fraction(0), Fraction(0)
    for inner, new, outer in table.balls(i):
        if inner >= 1:
            break
        for j in new:
            size = max(size, table.size(j))
            slope = max([slope, *(table.slope(j, k) for k in members)])
            members.append(j)
        limit = 1 / height(size, slope)
        end = Fraction(1) if outer is None else min(Fraction(1), outer)
        if limit > inner:
            best = min(limit, end)
        if limit <= end:
            break
    return best


@final
class ExactRelaxation:
    """`G(y, i) = (1 - eps_i) y + eps_i F_i` on rational vectors.

    Args:
        table: the map.
        rule: how the step follows from the radii; `RadiusProduct()` by default.
        scale: the factor `c` of T3a, a rational in `(0, 1]`.

    Example:
        >>> table = RationalTable.of_points([0, "1/2"], [1, -1])
        >>> G = ExactRelaxation(table)
        >>> G.eps, G(table.values[0], 0) == table.values[0]
        ((Fraction(1, 4), Fraction(1, 4)), True)
    """

    def __init__(self, table: RationalTable, *, rule: RelaxationRule | None = None, scale: Fraction | int = 1) -> None:
        self.table = table
        self.rule = rule or RadiusProduct()
        self.scale = Fraction(check_scale(scale))
        self.radii = tuple(exact_radii(table, i) for i in range(len(table)))
        self.eps = tuple(self.scale * self.rule(rho, sigma) for rho, sigma in self.radii)

    @property
    def budget(self) -> Fraction:
        """The common value of `L0` and `L1`."""
        return BUDGET * self.scale

    def mu(self, i: int) -> Fraction:
        """Contraction factor at a point.

        Args:
            i: index of the point.

        Returns:
            `1 - eps_i`.
        """
        return 1 - self.eps[i]

    def __call__(self, y: Sequence[Fraction], i: int) -> Vector:
        if not 0 <= i < len(self.table):
            raise DomainError("i", str(i), f"0 <= i < {len(self.table)}", "the map is defined on the table only")
        value, eps = self.table.values[i], self.eps[i]
        if len(y) != len(value):
            raise ShapeError("y", f"{len(y)} entries", f"{len(value)} entries", "pass a state of the values' length")
        return tuple(a + eps * (b - a) for a, b in zip(y, value, strict=True))

    def iterate(self, y: Sequence[Fraction], i: int, steps: int) -> Vector:
        """Apply the operator repeatedly.

        Args:
            y: the first state.
            i: index of the point.
            steps: how often.

        Returns:
            The last state, exactly.
        """
        state = tuple(y)
        for _ in range(steps):
            state = self(state, i)
        return state

    def certify(self) -> Verdict:
        """Decide the joint budget on every pair.

        Returns:
            `proved`, or `refuted` with the violating pair; a single point is proved with zero pairs.
        """
        n, worst, witness = len(self.table), Fraction(1), None
        offsets = [tuple(e * v for v in value) for e, value in zip(self.eps, self.table.values, strict=True)]
        for i in range(n):
            for j in range(i):
                gap = self.table.output_norm.exact([a - b for a, b in zip(offsets[i], offsets[j], strict=True)])
                lhs, rhs = joint_budget.sides(
                    step_gap=abs(self.eps[i] - self.eps[j]),
                    offset_gap=gap,
                    delta=self.table.distances[i][j],
                    scale=self.scale,
                )
                margin = 1 - lhs / rhs if rhs else Fraction(0) if lhs == 0 else Fraction(-1)
                if margin < worst:
                    worst, witness = margin, f"points {j} and {i}"
        kind = VerdictKind.REFUTED if worst < 0 else VerdictKind.PROVED
        return Verdict(kind, n * (n - 1) // 2, float(worst), "rational arithmetic", witness if worst < 0 else None)
