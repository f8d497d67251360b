"""Small linear programs for tests, written by hand or drawn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from eqtheory.constructions import LinearProgram

INF = float("inf")


def program(A: Any, b: Any, c: Any, l: Any, u: Any, equality: Any = None, **rest: Any) -> LinearProgram:  # noqa: E741
    """One program from nested lists."""

    def row(v: Any) -> Tensor:
        return torch.tensor([v], dtype=torch.float64)

    equal = None if equality is None else torch.tensor([equality])
    return LinearProgram.from_dense(row(A), b=row(b), c=row(c), l=row(l), u=row(u), equality=equal, **rest)


def two_variables() -> LinearProgram:
    """`min y1 + 2 y2, y1 + y2 = 1, 0 <= y <= 1`: solution (1, 0)."""
    return program([[1, 1]], [1], [1, 2], [0, 0], [1, 1], [True])


def drawn(generator: Generator, batch: int = 5, m: int = 3, n: int = 6) -> LinearProgram:
    """Random programs with a common pattern of non-zeros, feasible by construction."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    A = normal(batch, m, n)
    pattern = (torch.arange(m)[:, None] + torch.arange(n)) % 3 > 0
    y = normal(batch, n)
    equality = torch.arange(m).expand(batch, m) % 2 == 0
    A = A * pattern
    b = (A @ y.unsqueeze(2)).squeeze(2) + torch.where(equality, 0.0, normal(batch, m).abs())
    width = normal(batch, n).abs() + 0.1
    return LinearProgram.from_dense(
        A, b=b, c=normal(batch, n), l=y - width, u=y + width, equality=equality, pattern=pattern.expand_as(A)
    )
