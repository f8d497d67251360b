"""States of an earlier step, kept for a question that is rarely asked."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Past", "picked"]


@dataclass(frozen=True)
class Past:
    """States and the operator's values there, of which later cuts of the batch leave some rows.

    Args:
        y: states.
        g: `G(y, x)`.
        index: the rows that are left, shape `(k,)`; `None` for all.
    """

    y: Tensor
    g: Tensor
    index: Tensor | None = None

    def rows(self, some: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pick some of the rows that are left.

        Args:
            some: which, ascending, shape `(k,)`; `None` for all.

        Returns:
            States and values, as `picked` returns them.
        """
        if some is None:
            return (self.y, self.g) if self.index is None else picked((self.y, self.g), self.index)
        return picked((self.y, self.g), some if self.index is None else self.index.index_select(0, some))

    def take(self, keep: Tensor) -> Past:
        """Let rows go.

        Args:
            keep: indices of those that are left, ascending, shape `(k,)`.

        Returns:
            The same states with fewer rows in use.
        """
        return Past(self.y, self.g, keep if self.index is None else self.index.index_select(0, keep))


def picked(parts: tuple[Tensor, Tensor], some: Tensor) -> tuple[Tensor, Tensor]:
    """Pick rows, a lone one twice: torch splits a lone long sum over its threads, which changes the last bits.

    Args:
        parts: two tensors of shape `(batch, ...)`.
        some: indices, ascending, shape `(k,)`.

    Returns:
        Tensors of shape `(k, ...)`, or `(2, ...)` where `k` is 1.
    """
    if len(some) == len(parts[0]):
        return parts
    index = some if len(some) > 1 else some.expand(2)
    return parts[0].index_select(0, index), parts[1].index_select(0, index)
