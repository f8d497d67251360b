"""The MPS reader: every kind of row, range and bound; brackets of maxima; lines that cannot be read are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.errors import InputError
from experiments.linear_programming.mps import read_mps

INF = float("inf")
EVERYTHING = """* a comment
NAME          TEST
OBJSENSE
    MAX
ROWS
 N  COST
 L  LIM1
 G  LIM2
 E  EQ1
 E  EQ2
 N  FREEROW
 L  LIM3
COLUMNS
    X1        COST         1.0   LIM1         1.0
    X1        LIM2         1.0   FREEROW      3.0
    X2        COST         2.0   LIM1         1.0
    X2        EQ1         -1.0   EQ2          2.5
    MARK0000  'MARKER'                 'INTORG'
    X3        COST        -1.0   EQ1          1.0
    X3        LIM3         1.5
    MARK0001  'MARKER'                 'INTEND'
    X4        EQ2          1.0   LIM3        -1.0
    X5        LIM1         1.0
    X6        LIM1         1.0D0
RHS
    RHS       COST        -7.0   LIM1         4.0
    RHS       LIM2         1.0   EQ1          7.0
    RHS       LIM3         2.0   FREEROW      9.0
RANGES
    RNG       LIM1         2.5   LIM2         3.0
    RNG       EQ1          2.0   EQ2         -1.5
BOUNDS
 UP BND       X1           4.0
 LO BND       X2          -1.0
 UP BND       X2           1.0
 UP BND       X3          -2.0
 FR BND       X4
 MI BND       X5
 UP BND       X5          -3.0
 FX BND       X6           1e-1
ENDATA
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "test.mps"
    path.write_text(text)
    return path


def test_every_kind_of_row_range_and_bound(tmp_path: Path) -> None:
    q = read_mps(written(tmp_path, EVERYTHING))
    assert (q.name, q.maximise, q.offset, q.integers, q.opened) == ("TEST", True, 7.0, 1, 1)
    assert q.rows == ["LIM1", "LIM2", "EQ1", "EQ2", "LIM3"]
    assert q.columns == ["X1", "X2", "X3", "X4", "X5", "X6"]
    assert q.cost == [1, 2, -1, 0, 0, 0]
    # L: [b - |R|, b], G: [b, b + |R|], E with R > 0: [b, b + R], E with R < 0: [b + R, b].
    assert list(zip(q.row_lower, q.row_upper, strict=True)) == [(1.5, 4), (1, 4), (7, 9), (-1.5, 0), (-INF, 2)]
    assert q.lower == [0, -1, -INF, -INF, -INF, 0.1]
    assert q.upper == [4, 1, -2, INF, -3, 0.1]
    assert q.entries[3, 1] == 2.5
    assert len(q.entries) == 11


def test_the_program_has_two_rows_for_a_range_and_costs_of_a_minimum(tmp_path: Path) -> None:
    q = read_mps(written(tmp_path, EVERYTHING))
    x = q.program()
    assert x.shape == (1, 9, 6)
    assert x.b.tolist() == [[4, -1.5, 4, -1, 9, -7, 0, 1.5, 2]]
    assert not bool(x.equality.any())
    assert x.c.tolist() == [[-1, -2, 1, 0, 0, 0]]
    assert x.dense()[0, :2].tolist() == [[1, 1, 0, 0, 1, 1], [-1, -1, 0, 0, -1, -1]]
    assert q.value(-5.0) == 12.0


def test_brackets_of_a_maximum_change_sides(tmp_path: Path) -> None:
    q = read_mps(written(tmp_path, EVERYTHING))
    low = Bound(-5.0, Side.LOWER, "weak duality", Evidence.PROVED, assumptions=("below",))
    high = Bound(-4.0, Side.UPPER, "weak duality", Evidence.PROVED)
    turned = q.bracket(Bracket(low, high))
    assert turned.lower.value <= 11.0 <= turned.lower.value + 1e-14
    assert turned.upper.value >= 12.0 >= turned.upper.value - 1e-14
    assert turned.upper.assumptions == ("below",)


def test_names_with_blanks_are_read_by_columns(tmp_path: Path) -> None:
    text = (
        "NAME          BLANKS\nROWS\n N  COST\n L  LIM 1\nCOLUMNS\n"
        "    X 1       COST               1.0   LIM 1              2.0\nRHS\n    RHS       LIM 1              4.0\n"
        "BOUNDS\n UP BND       X 1                9.0\nENDATA\n"
    )
    q = read_mps(written(tmp_path, text))
    assert (q.rows, q.columns, q.row_upper, q.entries) == (["LIM 1"], ["X 1"], [4.0], {(0, 0): 2.0})
    assert q.upper == [9.0]


def test_sets_without_names_and_equal_rows(tmp_path: Path) -> None:
    text = "NAME\nROWS\n N C\n E R\nCOLUMNS\n X C 1 R 1\nRHS\n R 3\nBOUNDS\n UP X 5\nENDATA\n"
    q = read_mps(written(tmp_path, text))
    assert (q.row_lower, q.row_upper, q.upper) == ([3.0], [3.0], [5.0])
    assert q.program().equality.tolist() == [[True]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    X4        EQ2          1.0   LIM3", "    X4        EQ9          1.0   LIM3", "line 22.*unknown row EQ9"),
        (" FR BND       X4", " SC BND       X4", "line 37.*bounds of kind SC"),
        (" FR BND       X4", " FR BND       X9", "unknown column X9"),
        ("LIM1         1.0\n    X1        LIM2", "LIM1         one\n    X1        LIM2", "line 14"),
        (" L  LIM3", " Q  LIM3", "unknown kind of row Q"),
        (" L  LIM3", " L  LIM1", "row LIM1 is declared twice"),
        ("ENDATA\n", "", "needed an MPS file that ends in ENDATA"),
        (
            "    X5        LIM1         1.0\n",
            "    X5        LIM1         1.0\n    X5        LIM1         1.0\n",
            "given twice",
        ),
        ("BOUNDS\n", "QUADOBJ\n", "line 32: section QUADOBJ, needed sections of a linear program"),
        ("LIM1         2.5", "LIM1         nan", "NaN is no number"),
        ("NAME          TEST\n", "NAME          TEST\n 1 2 3\n", "needed a section such as ROWS first"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in EVERYTHING
    with pytest.raises(InputError, match=message):
        read_mps(written(tmp_path, EVERYTHING.replace(old, new, 1)))
