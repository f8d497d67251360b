r"""Linear programs `min c . y, A y (<= or =) b, l <= y <= u` as one input of an implicit model: a batch of tensors.

`A` is kept as its non-zeros, `entries[k]` at `(rows[k], columns[k])`, so that what can be perturbed is what is there. Every tensor
has the batch as its first axis; the floating-point ones, `(A, b, c, l, u)`, are the coordinates of the input. Programs of different
shapes become one by `block_diagonal`.

**No bound.** Solvers refuse inputs that are not finite, rightly. Infinite bounds are therefore kept as the largest finite number of
the type, which clips nothing; `lower` and `upper` give them as infinities.

**Identity.** `ids` travel with the instances, so that a program and its perturbed copy are paired by name and not by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.nests import take
from eqtheory.validate import require_finite

__all__ = ["LinearProgram", "block_diagonal"]


@dataclass(frozen=True, eq=False)
class LinearProgram:
    """A batch of linear programs with equally many rows, variables and non-zeros.

    Args:
        entries: non-zeros of `A`, shape `(batch, nnz)`.
        rows: their rows, integers of the same shape.
        columns: their columns, the same shape.
        b: right sides, shape `(batch, m)`.
        equality: which rows are equations, booleans of shape `(batch, m)`; the others are `<=`.
        c: costs, shape `(batch, n)`.
        l: lower bounds, shape `(batch, n)`; minus infinity where there is none.
        u: upper bounds, shape `(batch, n)`; infinity where there is none.
        ids: one integer per instance, all different; numbered from 0 by default.

    Raises:
        ShapeError: shapes do not fit.
        InputError: wrong types, `l > u`, an index outside, or an entry given twice.
        NonFiniteError: a NaN, or an infinity that is no bound.

    Theorem: T12.

    Example:
        >>> program = LinearProgram.from_dense(
        ...     torch.tensor([[[1.0, 1.0]]]), b=torch.ones(1, 1), c=torch.tensor([[1.0, 2.0]]), l=torch.zeros(1, 2), u=torch.ones(1, 2)
        ... )
        >>> program.times(torch.tensor([[0.25, 0.5]]))
        tensor([[0.7500]])
    """

    entries: Tensor
    rows: Tensor
    columns: Tensor
    b: Tensor
    equality: Tensor
    c: Tensor
    l: Tensor  # noqa: E741  (the symbol of the statement)
    u: Tensor
    ids: Tensor = field(default=cast("Tensor", None))

    def __post_init__(self) -> None:
        _check_kinds(self)
        if self.ids is None:
            object.__setattr__(self, "ids", torch.arange(self.c.shape[0], device=self.c.device))
        _check_shapes(self)
        _check_values(self)
        largest = torch.finfo(self.c.dtype).max
        for name in ("l", "u"):
            object.__setattr__(self, name, getattr(self, name).clamp(-largest, largest))

    @staticmethod
    def from_dense(
        A: Tensor,
        *,
        b: Tensor,
        c: Tensor,
        l: Tensor,  # noqa: E741
        u: Tensor,
        equality: Tensor | None = None,
        pattern: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> LinearProgram:
        """Take the non-zeros of dense matrices.

        Args:
            A: shape `(batch, m, n)`.
            b: shape `(batch, m)`.
            c: shape `(batch, n)`.
            l: shape `(batch, n)`.
            u: shape `(batch, n)`.
            equality: which rows are equations; none by default.
            pattern: which entries count as non-zeros, booleans of the shape of `A`; those that are not 0 by default.
            ids: one integer per instance.

        Returns:
            The programs.

        Raises:
            ShapeError: instances with different numbers of non-zeros.
        """
        if not isinstance(A, Tensor) or A.ndim != 3:
            came = f"shape {tuple(A.shape)}" if isinstance(A, Tensor) else type(A).__name__
            raise ShapeError("A", came, "(batch, m, n)", "use .unsqueeze(0) for one program")
        kept = A != 0 if pattern is None else pattern
        counts = kept.flatten(1).sum(dim=1)
        if bool((counts != counts[0]).any()):
            came = f"{int(counts.min())} to {int(counts.max())} non-zeros"
            remedy = "pass pattern=..., or make one program of them with block_diagonal"
            raise ShapeError("A", came, "equally many non-zeros in every instance", remedy)
        _, rows, columns = kept.nonzero(as_tuple=True)
        batch = A.shape[0]
        return LinearProgram(
            entries=A[kept].reshape(batch, -1),
            rows=rows.reshape(batch, -1),
            columns=columns.reshape(batch, -1),
            b=b,
            equality=torch.zeros_like(b, dtype=torch.bool) if equality is None else equality,
            c=c,
            l=l,
            u=u,
            ids=cast("Tensor", ids),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of instances, rows and variables."""
        return self.b.shape[0], self.b.shape[1], self.c.shape[1]

    @property
    def lower(self) -> Tensor:
        """Lower bounds, minus infinity where there is none; shape `(batch, n)`."""
        return torch.where(self.l <= -torch.finfo(self.l.dtype).max, -torch.inf, self.l)

    @property
    def upper(self) -> Tensor:
        """Upper bounds, infinity where there is none; shape `(batch, n)`."""
        return torch.where(self.u >= torch.finfo(self.u.dtype).max, torch.inf, self.u)

    def dense(self) -> Tensor:
        """Write the matrices out.

        Returns:
            Shape `(batch, m, n)`.
        """
        batch, m, n = self.shape
        flat = self.entries.new_zeros(batch, m * n)
        return flat.scatter(1, self.rows * n + self.columns, self.entries).reshape(batch, m, n)

    def times(self, y: Tensor) -> Tensor:
        """Apply the matrices.

        Args:
            y: shape `(batch, n)`.

        Returns:
            `A y`, shape `(batch, m)`. Cost: two operations per non-zero.
        """
        return torch.zeros_like(self.b).scatter_add(1, self.rows, self.entries * y.gather(1, self.columns))

    def transposed(self, p: Tensor) -> Tensor:
        """Apply the transposes.

        Args:
            p: shape `(batch, m)`.

        Returns:
            `A^T p`, shape `(batch, n)`.
        """
        return torch.zeros_like(self.c).scatter_add(1, self.columns, self.entries * p.gather(1, self.rows))

    def projected(self, p: Tensor) -> Tensor:
        """Project dual states: multipliers of inequalities are not negative.

        Args:
            p: shape `(batch, m)`.

        Returns:
            The nearest admissible multipliers, the shape of `p`.
        """
        return torch.where(self.equality, p, p.clamp_min(0.0))

    def select(self, ids: Tensor) -> LinearProgram:
        """Pick instances by their ids.

        Args:
            ids: shape `(k,)`.

        Returns:
            Those instances, in that order.

        Raises:
            InputError: an id that is not here.
        """
        found = (ids.unsqueeze(1) == self.ids.unsqueeze(0)).long()
        missing = ids[found.sum(dim=1) == 0]
        if missing.numel():
            raise InputError("ids", str(missing.tolist()[:5]), "ids of these instances", "compare with program.ids")
        return take(self, found.argmax(dim=1), self.shape[0])


def _check_kinds(program: LinearProgram) -> None:
    for name in ("entries", "b", "c", "l", "u"):
        value: Any = getattr(program, name)
        if not isinstance(value, Tensor) or not value.dtype.is_floating_point or value.ndim != 2:
            came = f"{value.dtype}, {value.ndim} axes" if isinstance(value, Tensor) else type(value).__name__
            raise InputError(name, came, "a floating-point tensor (batch, length)", "use torch.as_tensor(...)")
    kinds = {getattr(program, name).dtype for name in ("entries", "b", "c", "l", "u")}
    if len(kinds) > 1:
        raise InputError("entries, b, c, l, u", ", ".join(sorted(map(str, kinds))), "one type", "convert with .to(...)")
    for name, wanted in (("rows", torch.int64), ("columns", torch.int64), ("equality", torch.bool)):
        value = getattr(program, name)
        if not isinstance(value, Tensor) or value.dtype is not wanted:
            came = str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(name, came, f"a tensor of {wanted}", f"convert with .to({wanted})")


def _check_shapes(program: LinearProgram) -> None:
    batch, n = program.c.shape
    m, nnz = program.b.shape[1], program.entries.shape[1]
    wanted = {
        "entries": (batch, nnz),
        "rows": (batch, nnz),
        "columns": (batch, nnz),
        "b": (batch, m),
        "equality": (batch, m),
        "l": (batch, n),
        "u": (batch, n),
        "ids": (batch,),
    }
    for name, shape in wanted.items():
        if tuple(getattr(program, name).shape) != shape:
            raise ShapeError(name, f"shape {tuple(getattr(program, name).shape)}", str(shape), "batch axis first")
    if batch == 0 or n == 0:
        raise ShapeError("c", f"shape {(batch, n)}", "at least one instance and one variable", "skip the call")


def _check_values(program: LinearProgram) -> None:
    _, m, n = program.shape
    for name in ("entries", "b", "c"):
        require_finite(name, getattr(program, name), "repair it; only bounds may be infinite")
    for name, wrong in (("l", torch.inf), ("u", -torch.inf)):
        value = getattr(program, name)
        if bool((torch.isnan(value) | (value == wrong)).any()):
            raise NonFiniteError(name, f"a NaN or {wrong}", "numbers, or infinity away from the variable", "repair it")
    crossing = (program.l > program.u).nonzero()
    if crossing.numel():
        i, j = crossing[0].tolist()
        came = f"l = {float(program.l[i, j])} > u = {float(program.u[i, j])} at instance {i}, variable {j}"
        raise InputError("l", came, "l <= u", "a program whose bounds cross has no feasible point")
    if program.rows.numel():
        inside = (program.rows >= 0) & (program.rows < m) & (program.columns >= 0) & (program.columns < n)
        if not bool(inside.all()):
            raise InputError("rows, columns", "an index outside", f"0 <= row < {m}, 0 <= column < {n}", "count from 0")
        places = (program.rows * n + program.columns).sort(dim=1).values
        if bool((places[:, 1:] == places[:, :-1]).any()):
            raise InputError("rows, columns", "an entry given twice", "every entry once", "add the two up")
    ordered = program.ids.sort().values
    if bool((ordered[1:] == ordered[:-1]).any()):
        raise InputError("ids", "an id that stands for two instances", "ids that differ", "pass torch.arange(batch)")


def block_diagonal(programs: Sequence[LinearProgram]) -> LinearProgram:
    """Make one program of many, of any shapes: its solution is theirs, one after the other.

    Args:
        programs: batches of any sizes.

    Returns:
        A batch of one with id 0.

    Raises:
        ShapeError: nothing came.

    Example:
        >>> one = LinearProgram.from_dense(
        ...     torch.ones(2, 1, 2), b=torch.ones(2, 1), c=torch.ones(2, 2), l=torch.zeros(2, 2), u=torch.ones(2, 2)
        ... )
        >>> block_diagonal([one, one]).shape
        (1, 4, 8)
    """
    if not programs:
        raise ShapeError("programs", "none", "at least one program", "skip the call")
    rows, columns, down, right = [], [], 0, 0
    for program in programs:
        batch, m, n = program.shape
        step = torch.arange(batch, device=program.rows.device).unsqueeze(1)
        rows.append((program.rows + step * m + down).reshape(1, -1))
        columns.append((program.columns + step * n + right).reshape(1, -1))
        down, right = down + batch * m, right + batch * n

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(program, name).reshape(1, -1) for program in programs], dim=1)

    return LinearProgram(
        entries=joined("entries"),
        rows=torch.cat(rows, dim=1),
        columns=torch.cat(columns, dim=1),
        b=joined("b"),
        equality=joined("equality"),
        c=joined("c"),
        l=joined("l"),
        u=joined("u"),
    )
