"""Nests of tensors: walking and mapping them, taking rows of every tensor that carries the batch, putting rows back, masks of rows.

A nest is a tensor, or a tuple, list, mapping or dataclass of nests. Anything else is no tensor and stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, final

import torch
from torch import Tensor

__all__ = ["Raveled", "map_tensors", "merge", "spread", "take", "tensors"]

T = TypeVar("T")


def tensors(x: Any, name: str = "x") -> Iterator[tuple[str, Tensor]]:
    """Walk a nest of tensors.

    Args:
        x: a tensor, or a tuple, list, mapping or dataclass of nests; anything else holds no tensor.
        name: how the caller calls it.

    Yields:
        Where each tensor stands, and the tensor.
    """
    if isinstance(x, Tensor):
        yield name, x
    elif isinstance(x, Mapping):
        for key, part in x.items():
            yield from tensors(part, f"{name}[{key!r}]")
    elif isinstance(x, (tuple, list)):
        for index, part in enumerate(x):
            yield from tensors(part, f"{name}[{index}]")
    elif is_dataclass(x) and not isinstance(x, type):
        for field in fields(x):
            yield from tensors(getattr(x, field.name), f"{name}.{field.name}")


def map_tensors(function: Callable[[Tensor], Tensor], nest: T) -> T:
    """Apply a function to every tensor of a nest.

    Args:
        function: maps a tensor to a tensor.
        nest: a tensor, or a tuple, list, mapping or dataclass of nests; anything else is returned as it is.

    Returns:
        A nest of the same structure.
    """

    def walk(part: Any) -> Any:
        if isinstance(part, Tensor):
            return function(part)
        if isinstance(part, tuple):
            made = [walk(entry) for entry in part]
            return type(part)(*made) if hasattr(part, "_fields") else tuple(made)
        if isinstance(part, list):
            return [walk(entry) for entry in part]
        if isinstance(part, Mapping):
            return _remade(part, {key: walk(entry) for key, entry in part.items()})
        if is_dataclass(part) and not isinstance(part, type):
            return _rebuilt(part, {f.name: walk(getattr(part, f.name)) for f in fields(part)})
        return part

    return walk(nest)


def _remade(part: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """A mapping of the same type with other values; a dict keeps what else it knows, such as its default factory."""
    if type(part) is dict:
        return values
    if isinstance(part, dict):
        made = copy(part)
        made.update(values)
        return made
    return type(part)(values)  # type: ignore[call-arg]


def _rebuilt(part: Any, values: dict[str, Any]) -> Any:
    """A dataclass with other values; its own checks ran when it was made, and rows of it need no second look."""
    made = object.__new__(type(part))
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def take(nest: T, keep: Tensor, batch: int) -> T:
    """Select samples.

    Args:
        nest: tensors whose first axis is the batch; tensors of another length are shared by all samples and stay whole.
        keep: indices of the samples, shape `(k,)`.
        batch: number of samples in `nest`.

    Returns:
        A nest of the same structure.
    """
    return map_tensors(lambda t: t.index_select(0, keep) if t.ndim and t.shape[0] == batch else t, nest)


def merge(fresh: Any, part: Any, index: Tensor, batch: int) -> Any:
    """Put the rows of a part into a whole.

    Args:
        fresh: a nest for the whole batch; supplies the rows that `part` lacks.
        part: a nest of the same kind for the samples `index`; its tuples may be longer than those of `fresh`.
        index: where the rows of `part` belong, shape `(k,)`.
        batch: number of samples of the whole.

    Returns:
        A nest of the structure of `part`. Where `fresh` has no tensor of the same trailing shape, rows are zero.
    """
    if isinstance(part, Tensor):
        if part.ndim == 0 or part.shape[0] != index.shape[0]:
            return part
        alike = isinstance(fresh, Tensor) and fresh.shape[1:] == part.shape[1:] and fresh.dtype == part.dtype
        whole = fresh if alike else part.new_zeros((batch, *part.shape[1:]))
        return torch.index_copy(whole, 0, index, part)
    if isinstance(part, tuple):
        known = fresh if isinstance(fresh, tuple) else ()
        padded = [*known, *[None] * (len(part) - len(known))]
        return tuple(merge(f, p, index, batch) for f, p in zip(padded, part, strict=False))
    if is_dataclass(part) and not isinstance(part, type):
        named = {f.name: merge(getattr(fresh, f.name, None), getattr(part, f.name), index, batch) for f in fields(part)}
        return _rebuilt(part, named)
    return part


def spread(mask: Tensor, like: Tensor) -> Tensor:
    """Give a per-sample tensor the number of axes of a state.

    Args:
        mask: shape `(batch,)`.
        like: shape `(batch, ...)`.

    Returns:
        Shape `(batch, 1, ...)`.
    """
    return mask.reshape(-1, *[1] * (like.ndim - 1))


@final
class Raveled:
    """A nest read as one vector per sample: the floating-point tensors that carry the batch, one after the other.

    Everything else (shared weights, indices, masks) is no coordinate and stays what it is.

    Args:
        nest: the pattern.
        batch: number of samples.

    Example:
        >>> pattern = Raveled((torch.zeros(2, 3), torch.ones(2)), batch=2)
        >>> pattern.flat((torch.zeros(2, 3), torch.ones(2))).shape
        torch.Size([2, 4])
    """

    def __init__(self, nest: Any, batch: int) -> None:
        self.pattern, self.batch = nest, batch
        self._shapes = [(t.shape[1:], t.dtype) for _, t in tensors(nest) if self._counts(t)]

    @property
    def length(self) -> int:
        """Coordinates of one sample."""
        return sum(shape.numel() for shape, _ in self._shapes)

    def flat(self, nest: Any) -> Tensor:
        """Write a nest as vectors.

        Args:
            nest: of the structure of the pattern.

        Returns:
            Shape `(batch, length)`, the widest type among its parts.
        """
        parts = [t.reshape(self.batch, -1) for _, t in tensors(nest) if self._counts(t)]
        return torch.cat(parts, dim=1) if parts else torch.zeros(self.batch, 0)

    def nest(self, flat: Tensor, rows: Tensor | None = None) -> Any:
        """Read vectors as a nest.

        Args:
            flat: shape `(k, length)`.
            rows: which sample of the pattern each row belongs to, shape `(k,)`; each its own where `None`.

        Returns:
            A nest of the structure of the pattern with `k` samples.
        """
        pieces = iter(torch.split(flat, [shape.numel() for shape, _ in self._shapes], dim=1))
        kinds = iter(self._shapes)

        def fill(t: Tensor) -> Tensor:
            if self._counts(t):
                shape, dtype = next(kinds)
                return next(pieces).reshape(flat.shape[0], *shape).to(dtype)
            return t if rows is None or not (t.ndim and t.shape[0] == self.batch) else t.index_select(0, rows)

        return map_tensors(fill, self.pattern)

    def _counts(self, t: Tensor) -> bool:
        return bool(t.ndim and t.shape[0] == self.batch and t.dtype.is_floating_point)
