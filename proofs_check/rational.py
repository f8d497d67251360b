"""Small linear algebra on rationals, where nothing is rounded."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

__all__ = ["identity_minus", "inner", "product", "rows", "solve", "sum_distance", "sup_norm", "transposed"]

Vector = Sequence[Fraction]
Matrix = Sequence[Vector]


def rows(entries: Vector, n: int) -> list[list[Fraction]]:
    """Cut a list of entries into rows of length `n`."""
    return [list(entries[k : k + n]) for k in range(0, len(entries), n)]


def transposed(A: Matrix) -> list[list[Fraction]]:
    """Columns for rows."""
    return [list(column) for column in zip(*A, strict=True)]


def identity_minus(A: Matrix) -> list[list[Fraction]]:
    """`I - A`."""
    return [[(i == k) - entry for k, entry in enumerate(row)] for i, row in enumerate(A)]


def inner(v: Vector, w: Vector) -> Fraction:
    """`<v, w>`."""
    return sum((p * q for p, q in zip(v, w, strict=True)), Fraction(0))


def product(A: Matrix, v: Vector) -> list[Fraction]:
    """`A v`."""
    return [inner(row, v) for row in A]


def sup_norm(A: Matrix) -> Fraction:
    """Operator norm between sup norms: the largest sum of a row."""
    return max(sum(map(abs, row), Fraction(0)) for row in A)


def sum_distance(v: Vector, w: Vector) -> Fraction:
    """Sum of the absolute differences."""
    return sum((abs(p - q) for p, q in zip(v, w, strict=True)), Fraction(0))


def solve(A: Matrix, v: Vector) -> list[Fraction]:
    """The solution of `A w = v` by elimination, `A` being invertible."""
    left = [[*row, right] for row, right in zip(A, v, strict=True)]
    n = len(left)
    for k in range(n):
        pivot = next(i for i in range(k, n) if left[i][k] != 0)
        left[k], left[pivot] = left[pivot], left[k]
        left[k] = [entry / left[k][k] for entry in left[k]]
        for i in range(n):
            if i != k:
                left[i] = [p - left[i][k] * q for p, q in zip(left[i], left[k], strict=True)]
    return [row[n] for row in left]
