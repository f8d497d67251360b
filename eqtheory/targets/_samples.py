"""Real data as a locally Lipschitz map: any finite table is one, on a finite metric space.

A point of a finite metric space is its index. `indices_of` turns rows into indices. Every map on a finite space is locally
Lipschitz, so what the theory says about tables are its statements about pairs.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from eqtheory.norms import Euclidean, Metric, Norm
from eqtheory.roundoff import gamma
from eqtheory.targets._rational import RationalTable
from eqtheory.validate import batch_of

__all__ = ["SampleTable", "from_samples"]

_BLOCK_ENTRIES = 1 << 22
"""Entries of one block of a distance matrix: 32 MB in float64, so memory stays bounded whatever the table's length."""


@final
class SampleTable(Metric):
    """A finite table `(inputs, values)` as a map between metric spaces; also the metric on its indices.

    Args:
        inputs: shape `(n, ...)`, one row per point, floating point.
        values: shape `(n, ...)`; `(n,)` for scalar values.
        input_norm: norm that measures inputs.
        output_norm: norm that measures values.

    Raises:
        NonFiniteError: NaN or infinity in either tensor, or a row whose norm overflows.
        ShapeError: empty, or different numbers of rows.
        InputError: two equal rows with different values, so the table is not a map.
    """

    def __init__(self, inputs: Tensor, values: Tensor, *, input_norm: Norm, output_norm: Norm) -> None:
        # Copies: what is built from the table must not change when the caller's tensors do.
        self.inputs = batch_of("inputs", inputs).detach().clone()
        self.values = batch_of("values", values).detach().clone()
        if inputs.shape[0] != values.shape[0]:
            raise ShapeError(
                "values", f"{values.shape[0]} rows", f"{inputs.shape[0]} rows, one per input", "align the table"
            )
        if inputs.dtype != values.dtype or inputs.device != values.device:
            raise InputError(
                "values",
                f"{values.dtype} on {values.device}",
                f"{inputs.dtype} on {inputs.device}",
                "convert one of them",
            )
        for name, rows, norm in (("inputs", inputs, input_norm), ("values", values, output_norm)):
            size = norm(rows)
            if not bool(torch.isfinite(size).all()):
                i = int((~torch.isfinite(size)).nonzero()[0])
                raise NonFiniteError(
                    name, f"row {i}, whose {norm.name} norm overflows", "finite norms", "rescale the table"
                )
        self.input_norm = input_norm
        self.output_norm = output_norm
        self.name = f"{input_norm.name} distance of the table's rows"
        self._refuse_two_values()

    def _refuse_two_values(self) -> None:
        # Lexicographic uniqueness finds equal rows in O(n log n) without any distance.
        flat = self.inputs.reshape(len(self), -1) + 0.0  # -0.0 and 0.0 are one number
        _, group = torch.unique(flat, dim=0, return_inverse=True)
        values = self.values.reshape(len(self), -1)
        first = torch.full((int(group.max()) + 1,), len(self), dtype=torch.long, device=group.device)
        first = first.scatter_reduce(0, group, torch.arange(len(self), device=group.device), "amin")
        differs = (values != values[first[group]]).any(dim=1)
        if bool(differs.any()):
            i = int(differs.nonzero()[0])
            j = int(first[group[i]])
            raise InputError(
                "values",
                f"rows {j} and {i} have equal inputs but values {values[j].tolist()} and {values[i].tolist()}",
                "one value per point",
                "drop one of the two rows or average them",
            )

    def __len__(self) -> int:
        return self.inputs.shape[0]

    @property
    def points(self) -> Tensor:
        """Indices of all points, shape `(n,)`: pass them as the operator's input."""
        return torch.arange(len(self), device=self.inputs.device)

    def check_indices(self, name: str, index: Any) -> Tensor:
        """Require a non-empty batch of valid indices.

        Args:
            name: name of the argument, for the message.
            index: what came.

        Returns:
            `index`, unchanged.

        Raises:
            InputError: not an integer tensor.
            ShapeError: not one-dimensional, or empty.
            DomainError: an index out of range.
        """
        if not isinstance(index, Tensor) or index.dtype not in (torch.int64, torch.int32):
            came = str(index.dtype) if isinstance(index, Tensor) else type(index).__name__
            raise InputError(name, came, "an integer tensor of indices", "pass table.points or table.indices_of(rows)")
        if index.ndim != 1 or index.numel() == 0:
            raise ShapeError(
                name, f"shape {tuple(index.shape)}", "(batch,), not empty", "pass a one-dimensional tensor"
            )
        low, high = (int(v) for v in torch.aminmax(index))
        if low < 0 or high >= len(self):
            bad = low if low < 0 else high
            raise DomainError(name, f"index {bad}", f"0 <= index < {len(self)}", "the map is defined on the table only")
        return index

    def __call__(self, index: Tensor) -> Tensor:
        """Look values up.

        Args:
            index: integer tensor, shape `(batch,)`.

        Returns:
            Values, shape `(batch, ...)`.
        """
        return self.values[self.check_indices("index", index)]

    def indices_of(self, rows: Tensor) -> Tensor:
        """Find rows in the table, exactly.

        Args:
            rows: shape `(batch, ...)`, the trailing shape of the inputs.

        Returns:
            Index of the first equal row, shape `(batch,)`.

        Raises:
            DomainError: a row is not in the table.
        """
        batch_of("rows", rows, trailing=tuple(self.inputs.shape[1:]))
        both = torch.cat([self.inputs, rows.to(self.inputs)]).reshape(len(self) + rows.shape[0], -1) + 0.0
        _, group = torch.unique(both, dim=0, return_inverse=True)
        first = torch.full((int(group.max()) + 1,), len(self), dtype=torch.long, device=group.device)
        first = first.scatter_reduce(0, group[: len(self)], self.points, "amin")
        found = first[group[len(self) :]]
        missing = found == len(self)
        if bool(missing.any()):
            i = int(missing.nonzero()[0])
            raise DomainError(
                "rows", f"row {i} = {rows[i].tolist()}", "rows of the table", "the map is defined on the table only"
            )
        return found

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance between points given by their indices.

        Args:
            a: indices, shape `(batch,)`.
            b: indices, shape `(batch,)`.

        Returns:
            Tensor of shape `(batch,)`.
        """
        first, second = self.check_indices("a", a), self.check_indices("b", b)
        return self.input_norm.distance(self.inputs[first], self.inputs[second])

    def blocks(self) -> list[slice]:
        """Split the points so that one block against all others stays small in memory.

        Returns:
            Consecutive slices that cover the table.
        """
        size = max(1, _BLOCK_ENTRIES // len(self))
        return [slice(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def standardised(self) -> SampleTable:
        """Give every input column and every value column mean zero and unit variance; constant columns become zero.

        Returns:
            A new table.
        """

        def scale(t: Tensor) -> Tensor:
            centred = t - t.mean(dim=0)
            spread = centred.square().mean(dim=0).sqrt()
            # A constant column leaves only the rounding of its mean, at most gamma_n of its size: that is no spread.
            varies = spread > gamma(len(self), t.dtype) * t.abs().amax(dim=0)
            return torch.where(varies, centred / torch.where(varies, spread, 1.0), 0.0)

        return SampleTable(
            scale(self.inputs), scale(self.values), input_norm=self.input_norm, output_norm=self.output_norm
        )

    def rational(self) -> RationalTable:
        """Take every stored number as the rational it is.

        Returns:
            The same table in exact arithmetic.

        Raises:
            InputError: the norms leave the rationals (Euclidean on more than one coordinate).
        """
        return RationalTable.of_points(
            self.inputs.reshape(len(self), -1).tolist(),
            self.values.reshape(len(self), -1).tolist(),
            input_norm=self.input_norm,
            output_norm=self.output_norm,
        )


def from_samples(
    inputs: Any, values: Any, *, input_norm: Norm | None = None, output_norm: Norm | None = None
) -> SampleTable:
    """Make a map from a table of data: row `i` of `inputs` goes to row `i` of `values`.

    Args:
        inputs: array or tensor, shape `(n, ...)`.
        values: array or tensor, shape `(n, ...)`; `(n,)` for scalars. Integers become float64.
        input_norm: norm that measures inputs; Euclidean by default.
        output_norm: norm that measures values; Euclidean by default.

    Returns:
        The table as a map on a finite metric space.

    Example:
        >>> table = from_samples([[0.0, 0.0], [3.0, 4.0]], [1.0, 2.0])
        >>> table.distance(table.points[:1], table.points[1:])
        tensor([5.], dtype=torch.float64)
    """

    def tensor(name: str, data: Any) -> Tensor:
        array = data if isinstance(data, Tensor) else _array(name, data)
        # Straight to float64: torch would take Python floats through float32.
        out = array if isinstance(array, Tensor) else torch.from_numpy(array.copy())
        if out.is_complex():
            raise InputError(name, str(out.dtype), "real numbers", "split real and imaginary parts")
        return out.double()

    return SampleTable(
        tensor("inputs", inputs),
        tensor("values", values),
        input_norm=input_norm or Euclidean(),
        output_norm=output_norm or Euclidean(),
    )


def _array(name: str, data: Any) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(data)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biufc":
        raise InputError(name, type(data).__name__, "a rectangular array of numbers", "convert text and dates first")
    return array if array.dtype.kind == "c" else array.astype(np.float64)
