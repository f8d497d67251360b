"""The radii from their definition and nothing else: a third computation, against which the library's two are tested.

`rho(x) = sup{r in (0, 1] : r h(x, r) <= 1}` with `h(x, r) = 1 + max |F| + max slope` over the open ball `d(x, z) < r`. The ball,
hence `h`, is constant for `r` in `(a, b]` between neighbouring distances, so the supremum is attained at a distance, at 1 or at
`1/h` of some ball; all of them are tried, and each trial walks all pairs of its ball: O(n^4) for all points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from hypothesis import strategies as st

from eqtheory.norms import Norm, Sum, Sup
from eqtheory.targets import RationalTable

Height = Callable[[Sequence[int]], Fraction]


def sizes_and_slopes(table: RationalTable) -> tuple[list[Fraction], list[list[Fraction]]]:
    """Norms of values and slopes of pairs, by their formulas."""
    norm = max if isinstance(table.output_norm, Sup) else sum
    n = len(table.values)
    sizes = [norm(abs(v) for v in value) for value in table.values]
    slopes = [[Fraction(0)] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            if table.distances[i][j] > 0:
                gap = norm(abs(a - b) for a, b in zip(table.values[i], table.values[j], strict=True))
                slopes[i][j] = gap / table.distances[i][j]
    return sizes, slopes


def supremum(distances: Sequence[Fraction], height: Height) -> Fraction:
    """Largest `r` in `(0, 1]` with `r height(ball of radius r) <= 1`."""

    def ball(r: Fraction) -> list[int]:
        return [z for z, d in enumerate(distances) if d < r]

    ends = sorted({d for d in distances if 0 < d < 1} | {Fraction(1)})
    candidates = {*ends, *(1 / height(ball(r)) for r in ends)}
    return max(r for r in candidates if 0 < r <= 1 and r * height(ball(r)) <= 1)


def radii_by_definition(table: RationalTable) -> list[tuple[Fraction, Fraction]]:
    """`rho` and `sigma` at every point."""
    sizes, slopes = sizes_and_slopes(table)

    def tame(members: Sequence[int]) -> Fraction:
        return 1 + max(sizes[z] for z in members) + max(slopes[z][w] for z in members for w in members)

    def small(members: Sequence[int]) -> Fraction:
        return 1 + max(sizes[z] for z in members)

    return [(supremum(row, tame), supremum(row, small)) for row in table.distances]


def majorant_by_definition(table: RationalTable) -> list[Fraction]:
    """`rho` for `H(x, r) = 1 + max_{z in B(x, r)} m(z)`, `m(z) = |F(z)| + max{slope(z, w) : d(z, w) < 1}`."""
    sizes, slopes = sizes_and_slopes(table)
    n = len(sizes)
    m = [sizes[z] + max(slopes[z][w] for w in range(n) if table.distances[z][w] < 1) for z in range(n)]
    return [supremum(row, lambda members: 1 + max(m[z] for z in members)) for row in table.distances]


def rational_tables(max_size: int = 6) -> st.SearchStrategy[RationalTable]:
    """Rational maps on rational points of the plane, clustered and spread; equal distances and coinciding radii are common."""
    coordinate = st.one_of(
        st.integers(-4, 4).map(lambda k: Fraction(k, 4)), st.integers(1, 60).map(lambda k: Fraction(1, k))
    )
    value = st.one_of(st.integers(-6, 6).map(lambda k: Fraction(k, 2)), st.integers(-300, 300).map(Fraction))

    def build(rows: dict[tuple[Fraction, ...], tuple[Fraction, ...]], points: Norm, values: Norm) -> RationalTable:
        return RationalTable.of_points(list(rows), list(rows.values()), input_norm=points, output_norm=values)

    rows = st.dictionaries(st.tuples(coordinate, coordinate), st.tuples(value, value), min_size=1, max_size=max_size)
    norm = st.sampled_from([Sup(), Sum()])
    return st.builds(build, rows, norm, norm)


def metric_tables(max_size: int = 5) -> st.SearchStrategy[RationalTable]:
    """Scalar maps on metrics that no points of a plane realise: any symmetric matrix with entries in [1/2, 1] is a metric."""

    def build(n: int, entries: list[int], values: list[int]) -> RationalTable:
        d = [[Fraction(0)] * n for _ in range(n)]
        pairs = [(i, j) for i in range(n) for j in range(i)]
        for (i, j), e in zip(pairs, entries, strict=False):
            d[i][j] = d[j][i] = Fraction(6 + e, 12)
        return RationalTable.of_distances(d, [Fraction(v, 3) for v in values[:n]])

    pairs = max_size * (max_size - 1) // 2
    return st.builds(
        build,
        st.integers(1, max_size),
        st.lists(st.integers(0, 6), min_size=pairs, max_size=pairs),
        st.lists(st.integers(-30, 30), min_size=max_size, max_size=max_size),
    )
