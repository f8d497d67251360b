"""What a file in MPS format says, and the program it stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch

from eqtheory.bounds import Bound, Bracket, Side
from eqtheory.constructions import LinearProgram

__all__ = ["MpsProblem"]

_INF = float("inf")


@dataclass
class MpsProblem:
    """What a file says: `min` or `max` of `cost . y + offset` with `row_lower <= A y <= row_upper`, `lower <= y <= upper`.

    Args:
        name: the problem's name.
        rows: names of the rows without the free ones, in order.
        columns: names of the variables, in order.
        entries: non-zeros by `(row, column)`.
        row_lower: one per row.
        row_upper: one per row.
        cost: one per variable.
        lower: one per variable.
        upper: one per variable.
        offset: constant of the objective.
        maximise: whether the objective is to be made large.
        integers: how many variables are declared integer; only the relaxation is read.
        opened: how many lower bounds a negative upper bound dropped.
    """

    name: str = ""
    rows: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    entries: dict[tuple[int, int], float] = field(default_factory=dict)
    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    offset: float = 0.0
    maximise: bool = False
    integers: int = 0
    opened: int = 0

    def program(self) -> LinearProgram:
        """Bring it to `min c . y, A y (<= or =) b`: `>=` is turned round, a range becomes two rows, costs of a maximum change sign.

        Returns:
            A batch of one, in float64.
        """
        by_row: dict[int, list[tuple[int, float]]] = {}
        for (i, j), value in self.entries.items():
            if value != 0:
                by_row.setdefault(i, []).append((j, value))
        rows: list[int] = []
        columns: list[int] = []
        values: list[float] = []
        right: list[float] = []
        equality: list[bool] = []

        def add(i: int, sign: float, b: float, *, equal: bool) -> None:
            for j, value in by_row.get(i, []):
                rows.append(len(right))
                columns.append(j)
                values.append(sign * value)
            right.append(sign * b)
            equality.append(equal)

        for i, (low, high) in enumerate(zip(self.row_lower, self.row_upper, strict=True)):
            if low == high:
                add(i, 1.0, high, equal=True)
                continue
            if high < _INF:
                add(i, 1.0, high, equal=False)
            if low > -_INF:
                add(i, -1.0, low, equal=False)

        def row(values: list[float]) -> torch.Tensor:
            return torch.tensor([values], dtype=torch.float64)

        sign = -1.0 if self.maximise else 1.0
        return LinearProgram(
            entries=row(values),
            rows=torch.tensor([rows], dtype=torch.int64),
            columns=torch.tensor([columns], dtype=torch.int64),
            b=row(right),
            equality=torch.tensor([equality], dtype=torch.bool),
            c=row([sign * c for c in self.cost]),
            l=row(self.lower),
            u=row(self.upper),
        )

    def bracket(self, of_program: Bracket) -> Bracket:
        """Turn a bracket of the program's optimal value into one of the file's.

        Args:
            of_program: both sides for `program`.

        Returns:
            Both sides with the file's sign and constant, which exchanges them for a maximum; the sum is rounded outwards.
        """

        def moved(bound: Bound, side: Side) -> Bound:
            away = -math.inf if side is Side.LOWER else math.inf
            return replace(bound, value=math.nextafter(self.value(bound.value), away), side=side)

        low, high = of_program.lower, of_program.upper
        if self.maximise:
            low, high = high, low
        return Bracket(moved(low, Side.LOWER), moved(high, Side.UPPER))

    def value(self, cost: float) -> float:
        """Turn a value of `program` into one of the file's objective.

        Args:
            cost: `c . y` of the program.

        Returns:
            The objective, with its sign and constant.
        """
        return (-cost if self.maximise else cost) + self.offset
