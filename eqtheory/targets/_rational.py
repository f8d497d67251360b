"""A finite metric space and a map on it in rational arithmetic, where no rounding happens at all.

Distances are rational for the sup and l1 metrics of rational points, and for any table of rational distances that obeys the
axioms. Floating-point numbers are rationals, so a table of measurements fits in here unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise as consecutive
from typing import Any, final

from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import Norm, Sup

__all__ = ["RationalTable"]

Vector = tuple[Fraction, ...]


def _vector(name: str, value: Any) -> Vector:
    parts = value if isinstance(value, (list, tuple)) else (value,)
    try:
        return tuple(Fraction(part) for part in parts)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            name, str(value)[:80], "finite rational numbers", "pass numbers or strings such as '1/3'"
        ) from error


@final
@dataclass(frozen=True)
class RationalTable:
    """A map from a finite metric space to rational vectors.

    Args:
        distances: square matrix of rationals.
        values: one rational vector per point.
        output_norm: a norm that is rational on the values: sup, l1, or any norm on scalars.

    Raises:
        InputError: the matrix is not a metric, or two points at distance zero have different values.
        ShapeError: the matrix is not square or does not match the values.

    Example:
        >>> table = RationalTable.of_points([[0], [1]], [0, 3])
        >>> table.lipschitz_constant()
        Fraction(3, 1)
    """

    distances: tuple[Vector, ...]
    values: tuple[Vector, ...]
    output_norm: Norm

    def __post_init__(self) -> None:
        n = len(self.values)
        if n == 0:
            raise ShapeError("values", "no points", "at least one point", "pass a non-empty table")
        if len(self.distances) != n or any(len(row) != n for row in self.distances):
            raise ShapeError("distances", f"{len(self.distances)} rows", f"a {n} x {n} matrix", "one row per point")
        if len({len(value) for value in self.values}) != 1:
            raise ShapeError("values", "vectors of different lengths", "one length", "pad or split the table")
        for i in range(n):
            for j in range(i + 1):
                d = self.distances[i][j]
                if d != self.distances[j][i] or d < 0 or (i == j and d != 0):
                    raise InputError(
                        "distances",
                        f"d[{i}][{j}] = {d}, d[{j}][{i}] = {self.distances[j][i]}",
                        "a metric",
                        "make it symmetric, zero on the diagonal, not negative",
                    )
                if d == 0 and self.values[i] != self.values[j]:
                    raise InputError(
                        "values",
                        f"points {j} and {i} coincide but have two values",
                        "a map",
                        "drop one of the two rows or average them",
                    )

    @staticmethod
    def of_points(
        points: Sequence[object],
        values: Sequence[object],
        *,
        input_norm: Norm | None = None,
        output_norm: Norm | None = None,
    ) -> RationalTable:
        """Build the table from coordinates.

        Args:
            points: one rational vector (or scalar) per point; anything `Fraction` accepts.
            values: one rational vector (or scalar) per point.
            input_norm: norm that measures the points; sup by default. It must be rational on rationals.
            output_norm: norm that measures the values; sup by default.

        Returns:
            The table with exact distances.

        Raises:
            ShapeError: points of different lengths.
        """
        norm = input_norm or Sup()
        rows = [_vector("points", p) for p in points]
        if len({len(row) for row in rows}) > 1:
            raise ShapeError("points", "vectors of different lengths", "one length", "pad or split the table")
        n = len(rows)
        zero = Fraction(0)
        matrix = [[zero] * n for _ in range(n)]
        for i in range(n):
            for j in range(i):
                d = norm.exact([a - b for a, b in zip(rows[i], rows[j], strict=True)])
                matrix[i][j] = matrix[j][i] = d
        return RationalTable(
            tuple(map(tuple, matrix)), tuple(_vector("values", v) for v in values), output_norm or Sup()
        )

    @staticmethod
    def of_distances(
        distances: Sequence[Sequence[object]], values: Sequence[object], *, output_norm: Norm | None = None
    ) -> RationalTable:
        """Build the table from a matrix of distances and check the triangle inequality.

        Args:
            distances: square symmetric matrix of numbers `Fraction` accepts.
            values: one rational vector (or scalar) per point.
            output_norm: norm that measures the values; sup by default.

        Returns:
            The table.

        Raises:
            InputError: the triangle inequality fails. Cost: cubic in the number of points.
        """
        matrix = tuple(_vector("distances", list(row)) for row in distances)
        table = RationalTable(matrix, tuple(_vector("values", v) for v in values), output_norm or Sup())
        n = len(table)
        for i in range(n):
            for j in range(n):
                for k in range(n):
                    if matrix[i][k] > matrix[i][j] + matrix[j][k]:
                        raise InputError(
                            "distances",
                            f"d[{i}][{k}] > d[{i}][{j}] + d[{j}][{k}]",
                            "a metric",
                            "use shortest-path distances",
                        )
        return table

    def __len__(self) -> int:
        return len(self.values)

    def size(self, i: int) -> Fraction:
        """Norm of one value.

        Args:
            i: index of the point.

        Returns:
            `|F(i)|`.
        """
        return self.output_norm.exact(self.values[i])

    def gap(self, i: int, j: int) -> Fraction:
        """Distance of two values.

        Args:
            i: index of one point.
            j: index of the other.

        Returns:
            `|F(i) - F(j)|`.
        """
        return self.output_norm.exact([a - b for a, b in zip(self.values[i], self.values[j], strict=True)])

    def slope(self, i: int, j: int) -> Fraction:
        """Slope of one pair; zero for coinciding points, which carry one value.

        Args:
            i: index of one point.
            j: index of the other.

        Returns:
            `|F(i) - F(j)| / d(i, j)`.
        """
        d = self.distances[i][j]
        return self.gap(i, j) / d if d else Fraction(0)

    def lipschitz_constant(self) -> Fraction:
        """Largest slope over all pairs: the Lipschitz constant itself, not a bound.

        Returns:
            `lip(F; X)`, zero for a single point.
        """
        n = len(self)
        return max((self.slope(i, j) for i in range(n) for j in range(i)), default=Fraction(0))

    def balls(self, i: int) -> list[tuple[Fraction, list[int], Fraction | None]]:
        """List the distinct open balls around a point.

        Args:
            i: index of the centre.

        Returns:
            Triples `(inner, new, outer)`: for every radius in `(inner, outer]` the open ball holds the points listed so far,
            `new` being those that joined at `inner`; `outer` is `None` for the last ball.
        """
        row = self.distances[i]
        order = sorted(range(len(self)), key=row.__getitem__)
        levels: list[tuple[Fraction, list[int]]] = []
        for j in order:
            if levels and levels[-1][0] == row[j]:
                levels[-1][1].append(j)
            else:
                levels.append((row[j], [j]))
        out: list[tuple[Fraction, list[int], Fraction | None]] = [
            (inner, new, outer) for (inner, new), (outer, _) in consecutive(levels)
        ]
        return [*out, (levels[-1][0], levels[-1][1], None)]
