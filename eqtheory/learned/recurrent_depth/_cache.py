r"""Keys and values of the tokens that were read already, so that a new token costs one place and not a whole sentence.

Attention is causal: what a place computes in iteration `r` depends on the places before it in iteration `r` alone. So the core keeps keys
and values of every iteration apart, and a new place in its iteration `r` is shown those of iteration `r`; then decoding with the cache
computes what a pass over the whole sentence computes. A place whose iteration was stopped by an exit rule is at rest from then on: its
last keys and values stand for all later iterations. Prelude and coda are passed once and keep one pair a block.

Memory: `(prelude + core * iterations + coda) * 2 * batch * length * width` numbers.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from eqtheory.learned.recurrent_depth._size import RecurrentDepthSize

__all__ = ["Cache"]

Pair = tuple[Tensor, Tensor]


@final
class Cache:
    """Keys and values of one batch of sentences.

    Args:
        size: of the model.
        batch: how many sentences.
        places: how many places there is room for.
        iterations: the most iterations of any place.
        like: a state, for type and device.
    """

    def __init__(self, size: RecurrentDepthSize, batch: int, places: int, iterations: int, like: Tensor) -> None:
        shape = (batch, size.block.heads, places, size.block.head)
        self.length = 0
        """Places that are filled."""
        self._once = like.new_zeros((size.prelude + size.coda, 2, *shape))
        self._core = like.new_zeros((size.core, 2, iterations, *shape))
        self._prelude = size.prelude

    def prelude(self, block: int) -> Pair:
        """What a block of the prelude has seen.

        Args:
            block: its number.

        Returns:
            Keys and values, each `(batch, heads, length, head)`.
        """
        keys, values = self._once[block, :, :, :, : self.length]
        return keys, values

    def coda(self, block: int) -> Pair:
        """What a block of the coda has seen.

        Args:
            block: its number.

        Returns:
            Keys and values, each `(batch, heads, length, head)`.
        """
        return self.prelude(self._prelude + block)

    def core(self, block: int, iteration: int) -> Pair:
        """What a block of the core has seen in one iteration.

        Args:
            block: its number.
            iteration: from 0.

        Returns:
            Keys and values, each `(batch, heads, length, head)`.
        """
        keys, values = self._core[block, :, iteration, :, :, : self.length]
        return keys, values

    def keep_prelude(self, block: int, pair: Pair) -> None:
        """Keep what a block of the prelude made of new places; they count from `advance` on.

        Args:
            block: its number.
            pair: keys and values, each `(batch, heads, new, head)`.
        """
        stop = self.length + pair[0].shape[2]
        self._once[block, 0, :, :, self.length : stop], self._once[block, 1, :, :, self.length : stop] = pair

    def keep_coda(self, block: int, pair: Pair) -> None:
        """Keep what a block of the coda made of new places.

        Args:
            block: its number.
            pair: keys and values, each `(batch, heads, new, head)`.
        """
        self.keep_prelude(self._prelude + block, pair)

    def keep_core(self, block: int, iteration: int, pair: Pair) -> None:
        """Keep what a block of the core made of new places in one iteration.

        Args:
            block: its number.
            iteration: from 0.
            pair: keys and values, each `(batch, heads, new, head)`.
        """
        stop = self.length + pair[0].shape[2]
        for part in (0, 1):
            self._core[block, part, iteration, :, :, self.length : stop] = pair[part]

    def advance(self, new: int, used: Tensor) -> None:
        """Count new places in, at rest after the iterations they took.

        Args:
            new: how many.
            used: iterations that each sentence's new places took, at least 1, int64, shape `(batch,)`.
        """
        stop, iterations = self.length + new, self._core.shape[2]
        added = self._core[:, :, :, :, :, self.length : stop]
        slot = torch.arange(iterations, device=used.device)[:, None].minimum(used[None, :] - 1)
        sentence = torch.arange(len(used), device=used.device).expand_as(slot)
        added.copy_(added[:, :, slot, sentence])
        self.length = stop
