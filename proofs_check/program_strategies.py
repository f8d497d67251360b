"""Rational linear programs to attack T12 with: one row of rational norm, and optimal bases that are not degenerate."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import strategies as st

from eqtheory.theorems.linear_programming import averaged_step
from proofs_check.rational import product, solve, transposed
from proofs_check.rational_programs import Program, root_above, squared

__all__ = ["POSITIVE", "SMALL", "averaging", "basic_solution", "scalar_pairs", "solved_bases"]

F = Fraction
SMALL = st.fractions(min_value=-3, max_value=3, max_denominator=6)
POSITIVE = st.fractions(min_value=F(1, 8), max_value=4, max_denominator=8)
ROWS = st.sampled_from(
    [(F(5), [3, 4]), (F(3), [1, 2, 2]), (F(7), [2, 3, 6]), (F(9), [1, 4, 8]), (F(2), [2]), (F(0), [0, 0])]
)


@st.composite
def scalar_pairs(draw: st.DrawFn) -> tuple[Program, Program, Fraction, Fraction]:
    """Two programs with one row of rational norm, and bounds on their norms and on their boxes."""
    (norm, row), (other_norm, other_row) = draw(ROWS), draw(ROWS)
    n = min(len(row), len(other_row))
    if n < len(row) or n < len(other_row):
        other_norm, other_row = norm, [-v for v in row]
        n = len(row)
    vectors = st.lists(SMALL, min_size=n, max_size=n)
    made = []
    for entries in (row, other_row):
        ends = [sorted(pair) for pair in zip(draw(vectors), draw(vectors), strict=True)]
        made.append(
            Program(
                [[F(v) for v in entries]],
                [draw(SMALL)],
                [True],
                draw(vectors),
                [e[0] for e in ends],
                [e[1] for e in ends],
            )
        )
    equal = draw(st.booleans())
    first, second = (replace(program, equality=[equal]) for program in made)
    radius = max(
        root_above(squared([max(abs(v), abs(w)) for v, w in zip(q.l, q.u, strict=True)])) for q in (first, second)
    )
    return first, second, max(norm, other_norm), radius


def averaging(
    program: Program,
    y: list[Fraction],
    p: list[Fraction],
    z: list[Fraction],
    q: list[Fraction],
    tau: Fraction,
    sigma: Fraction,
) -> tuple[Fraction, Fraction]:
    """Both sides of `averaged_step` in rationals."""

    def minus(v: list[Fraction], w: list[Fraction]) -> list[Fraction]:
        return [s - t for s, t in zip(v, w, strict=True)]

    (y1, p1), (z1, q1) = program.primal_dual_step(y, p, tau, sigma), program.primal_dual_step(z, q, tau, sigma)

    def norm(v: list[Fraction], w: list[Fraction]) -> Fraction:
        return program.step_norm_squared(v, w, tau, sigma)

    residual = norm(minus(minus(y, y1), minus(z, z1)), minus(minus(p, p1), minus(q, q1)))
    image, gap = norm(minus(y1, z1), minus(p1, q1)), norm(minus(y, z), minus(p, q))
    return averaged_step.sides(image_squared=image, residual_squared=residual, gap_squared=gap)


@st.composite
def solved_bases(draw: st.DrawFn, m: int = 2, n: int = 4) -> tuple[Program, Program]:
    """Two programs: the first with the basis of its first `m` columns optimal and not degenerate, the second near it."""
    entries = st.lists(SMALL, min_size=n, max_size=n)
    A = draw(st.lists(entries, min_size=m, max_size=m))
    for i in range(m):  # a diagonal that dominates makes the basis invertible
        A[i][i] = 1 + sum((abs(A[i][j]) for j in range(m) if j != i), F(0))
    y = [*draw(st.lists(POSITIVE, min_size=m, max_size=m)), *[F(0)] * (n - m)]
    p = draw(st.lists(SMALL, min_size=m, max_size=m))
    prices = [*[F(0)] * m, *draw(st.lists(POSITIVE, min_size=n - m, max_size=n - m))]
    c = [r - s for r, s in zip(prices, product(transposed(A), p), strict=True)]
    first = Program(A, product(A, y), [True] * m, c, [F(0)] * n, [F(100)] * n)
    scale = draw(st.sampled_from([F(1), F(1, 10), F(1, 1000)]))

    def shaken(v: list[Fraction]) -> list[Fraction]:
        return [s + scale * draw(SMALL) / 10 for s in v]

    return first, Program([shaken(row) for row in A], shaken(first.b), first.equality, shaken(c), first.l, first.u)


def basic_solution(program: Program, m: int) -> tuple[list[Fraction], list[Fraction]] | None:
    """Point and multipliers of the basis of the first `m` columns, where it is optimal and not degenerate."""
    square = [row[:m] for row in program.A]
    if square[0][0] * square[1][1] == square[0][1] * square[1][0]:
        return None
    y = [*solve(square, program.b), *[F(0)] * (len(program.c) - m)]
    p = solve(transposed(square), [-v for v in program.c[:m]])
    prices = [c + s for c, s in zip(program.c, product(transposed(program.A), p), strict=True)]
    strict = all(0 < v < 100 for v in y[:m]) and all(r > 0 for r in prices[m:])
    return (y, p) if strict else None
