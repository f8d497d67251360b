r"""Read linear programs in MPS format, as they were written on cards.

**Rows.** `E`, `L`, `G` stand for `=`, `<=`, `>=`; the first `N` row is the objective, further ones are free and say nothing. A
range `R` on a row with right side `b` makes it `[b, b + |R|]` (G), `[b - |R|, b]` (L), and for E `[b, b + R]` or `[b + R, b]` by
its sign. A right side of the objective is *minus* its constant.

**Bounds.** Without any, `0 <= y`. `UP` with a negative number and no lower bound given drops the lower bound to minus infinity, as most
codes read it (HiGHS keeps 0 and finds no feasible point); how often that happened is counted. With `UP` zero the lower bound stays zero.

**Cards.** Names may hold blanks where fields stand in their columns; a line whose words do not come out is read by columns.

References:
    The format is that of IBM's MPSX/370 manual; the reading of negative upper bounds follows the usual one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eqtheory.errors import InputError
from experiments.linear_programming.problem import MpsProblem

__all__ = ["read_mps"]

_INF = float("inf")
_SECTIONS = {"NAME", "ROWS", "COLUMNS", "RHS", "RANGES", "BOUNDS", "ENDATA", "OBJSENSE", "OBJSENS", "OBJECT"}
_FIELDS = ((1, 3), (4, 12), (14, 22), (24, 36), (39, 47), (49, 61))
_VALUED = {"UP", "LO", "FX", "UI", "LI"}


@dataclass
class _Reader:
    """What has been read so far."""

    found: MpsProblem = field(default_factory=MpsProblem)
    objective: str | None = None
    row_index: dict[str, int] = field(default_factory=dict)
    column_index: dict[str, int] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    free: set[str] = field(default_factory=set)
    right: dict[int, float] = field(default_factory=dict)
    ranges: dict[int, float] = field(default_factory=dict)
    bounded_below: set[int] = field(default_factory=set)
    integer: bool = False

    def row(self, words: list[str]) -> None:
        if len(words) != 2:
            message = f"{len(words)} fields where a kind and a name are needed"
            raise ValueError(message)
        kind, name = words[0].upper(), words[1]
        if name in self.row_index or name in self.free or name == self.objective:
            message = f"row {name} is declared twice"
            raise ValueError(message)
        if kind == "N":
            if self.objective is None:
                self.objective = name
            else:
                self.free.add(name)
        elif kind in ("E", "L", "G"):
            self.row_index[name] = len(self.kinds)
            self.kinds.append(kind)
            self.found.rows.append(name)
        else:
            message = f"unknown kind of row {kind}"
            raise ValueError(message)

    def column(self, words: list[str]) -> None:
        if len(words) >= 3 and words[1].strip("'") == "MARKER":
            self.integer = words[2].strip("'") == "INTORG"
            return
        problem, pairs = self.found, _pairs(words[1:])
        j = self.column_index.setdefault(words[0], len(problem.columns))
        if j == len(problem.columns):
            problem.columns.append(words[0])
            problem.cost.append(0.0)
            problem.lower.append(0.0)
            problem.upper.append(_INF)
            problem.integers += self.integer
        for name, value in pairs:
            if name == self.objective:
                problem.cost[j] += value
            elif name not in self.free:
                at = (self._known(name), j)
                if at in problem.entries:
                    message = f"entry {name}, {words[0]} is given twice"
                    raise ValueError(message)
                problem.entries[at] = value

    def right_side(self, words: list[str]) -> None:
        for name, value in _pairs(words if len(words) % 2 == 0 else words[1:]):
            if name == self.objective:
                self.found.offset = -value
            elif name not in self.free:
                self.right[self._known(name)] = value

    def range(self, words: list[str]) -> None:
        for name, value in _pairs(words if len(words) % 2 == 0 else words[1:]):
            if name not in self.free:
                self.ranges[self._known(name)] = value

    def bound(self, words: list[str]) -> None:
        kind = words[0].upper()
        valued = kind in _VALUED
        expected = 4 if valued else 3
        if len(words) > expected + (not valued):  # kinds without a value may carry one all the same
            message = f"{len(words)} fields where {expected} are needed"
            raise ValueError(message)
        rest = words[1:] if len(words) < expected else words[2:]  # the name of the set may be missing
        name = rest[0]
        if name not in self.column_index:
            message = f"unknown column {name}"
            raise ValueError(message)
        j, problem = self.column_index[name], self.found
        value = _number(rest[1]) if valued else 0.0
        if kind in ("LO", "LI", "FX"):
            problem.lower[j] = value
            self.bounded_below.add(j)
        if kind in ("UP", "UI", "FX"):
            problem.upper[j] = value
            if kind != "FX" and value < 0 and j not in self.bounded_below:
                problem.lower[j] = -_INF
                problem.opened += 1
        if kind in ("MI", "FR"):
            problem.lower[j] = -_INF
            self.bounded_below.add(j)
        if kind in ("PL", "FR"):
            problem.upper[j] = _INF
        if kind == "BV":
            problem.lower[j], problem.upper[j] = 0.0, 1.0
            self.bounded_below.add(j)
        if kind not in _VALUED | {"MI", "FR", "PL", "BV"}:
            message = f"bounds of kind {kind} are not those of a linear program"
            raise ValueError(message)

    def finish(self) -> MpsProblem:
        for i, kind in enumerate(self.kinds):
            b, size = self.right.get(i, 0.0), self.ranges.get(i)
            low, high = (-_INF if kind == "L" else b), (_INF if kind == "G" else b)
            if size is not None:
                if kind == "L" or (kind == "E" and size < 0):
                    low = b - abs(size)
                else:
                    high = b + abs(size)
            self.found.row_lower.append(low)
            self.found.row_upper.append(high)
        return self.found

    def _known(self, name: str) -> int:
        if name not in self.row_index:
            message = f"unknown row {name}"
            raise ValueError(message)
        return self.row_index[name]


def _number(text: str) -> float:
    value = float(text.replace("D", "E").replace("d", "e"))
    if value != value:
        message = "NaN is no number"
        raise ValueError(message)
    if abs(value) >= 1e30:  # the codes of the field write infinity so
        return _INF if value > 0 else -_INF
    return value


def _pairs(words: list[str]) -> list[tuple[str, float]]:
    if not words or len(words) % 2:
        message = f"{len(words)} fields where pairs of a name and a number are needed"
        raise ValueError(message)
    return [(words[k], _number(words[k + 1])) for k in range(0, len(words), 2)]


def _cards(line: str) -> list[str]:
    return [part for part in (line[a:b].strip() for a, b in _FIELDS) if part]


def read_mps(path: Path | str) -> MpsProblem:
    """Read a file.

    Args:
        path: an MPS file, with fields in columns or separated by blanks.

    Returns:
        The problem.

    Raises:
        InputError: the file cannot be read as MPS; the message has the line.
    """
    reader, section = _Reader(), ""
    takers = {
        "ROWS": reader.row,
        "COLUMNS": reader.column,
        "RHS": reader.right_side,
        "RANGES": reader.range,
        "BOUNDS": reader.bound,
    }
    with Path(path).open(encoding="latin-1") as lines:
        for count, raw in enumerate(lines, start=1):
            line = raw.rstrip()
            if not line or line.startswith("*"):
                continue
            words = line.split()
            if not line[0].isspace() and words[0].upper() in _SECTIONS:
                section = words[0].upper()
                if section == "NAME":
                    reader.found.name = " ".join(words[1:2])
                elif section.startswith("OBJSENS") and len(words) > 1:
                    reader.found.maximise = words[1].upper().startswith("MAX")
                elif section == "ENDATA":
                    return reader.finish()
                continue
            if not line[0].isspace() and len(words) == 1:
                where = f"{Path(path).name}, line {count}"
                needed = "sections of a linear program"
                raise InputError("path", f"{where}: section {words[0]}", needed, "only linear programs can be read")
            if section.startswith("OBJSENS"):
                reader.found.maximise = words[0].upper().startswith("MAX")
                continue
            _take(takers, section, line, words, where=f"{Path(path).name}, line {count}")
    raise InputError("path", Path(path).name, "an MPS file that ends in ENDATA", "the file is cut off, or no MPS file")


def _take(
    takers: Mapping[str, Callable[[list[str]], None]], section: str, line: str, words: list[str], *, where: str
) -> None:
    if section not in takers:
        raise InputError("path", f"{where}: {line.strip()!r}", "a section such as ROWS first", "check the file")
    try:
        takers[section](words)
    except (ValueError, IndexError) as blank:
        # Names with blanks: the columns of the cards decide.
        try:
            takers[section](_cards(line))
        except (ValueError, IndexError):
            raise InputError("path", f"{where}: {line.strip()!r}", "a card of that section", str(blank)) from blank
