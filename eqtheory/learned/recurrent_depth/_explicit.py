"""Explicit transformers to compare with: every block has weights of its own and is applied once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from eqtheory.learned.recurrent_depth._block import Block, RootMeanSquareNorm, initialise
from eqtheory.learned.recurrent_depth._geometry import geometry_of
from eqtheory.learned.recurrent_depth._prompt import checked_tokens
from eqtheory.learned.recurrent_depth._size import BlockSize, RecurrentDepthSize
from eqtheory.validate import count

__all__ = ["ExplicitTransformer"]


@final
class ExplicitTransformer(nn.Module):
    """A plain transformer of the same blocks.

    Args:
        vocabulary: number of tokens.
        block: size of every block.
        depth: number of blocks.
        generator: where the initial weights come from; torch's own state where `None`.

    Example:
        >>> import torch
        >>> from eqtheory.learned.recurrent_depth import ExplicitTransformer, RecurrentDepthSize
        >>> model = ExplicitTransformer.of_same_depth(RecurrentDepthSize(11), steps=4)
        >>> len(model.blocks), model(torch.tensor([[3, 1, 4]])).shape
        (6, torch.Size([1, 3, 11]))
    """

    def __init__(
        self, vocabulary: int, block: BlockSize, depth: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        count("depth", depth, "pass at least one block")
        self.block, self.vocabulary = block, count("vocabulary", vocabulary, "pass the number of tokens")
        self.table = nn.Embedding(vocabulary, block.width)
        self.blocks = nn.ModuleList(Block(block) for _ in range(depth))
        self.output_norm = RootMeanSquareNorm(block.width)
        self.head = nn.Linear(block.width, vocabulary, bias=False)
        initialise(self, generator)

    @classmethod
    def of_same_parameters(
        cls, size: RecurrentDepthSize, *, generator: torch.Generator | None = None
    ) -> ExplicitTransformer:
        """Build the explicit model with as many blocks and as many parameters as a recurrent one.

        The parameters of the injection and of the state's norm, `2 width^2 + width`, go to the feed-forward layers, rounded up: at most
        `3 width` a block more.

        Args:
            size: of the recurrent model.
            generator: where the initial weights come from.

        Returns:
            The explicit model, never smaller than the recurrent one.
        """
        more = math.ceil((2 * size.block.width + 1) / (3 * size.blocks))
        block = replace(size.block, feedforward=size.block.feedforward + more)
        return cls(size.vocabulary, block, size.blocks, generator=generator)

    @classmethod
    def of_same_depth(
        cls, size: RecurrentDepthSize, steps: int, *, generator: torch.Generator | None = None
    ) -> ExplicitTransformer:
        """Build the explicit model through which a token passes as many blocks as through a recurrent one.

        Args:
            size: of the recurrent model.
            steps: its iterations.
            generator: where the initial weights come from.

        Returns:
            The explicit model.
        """
        return cls(size.vocabulary, size.block, size.depth(steps), generator=generator)

    def forward(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """Logits of the next token.

        Args:
            tokens: int64, shape `(batch, length)`.
            visible: which places hold tokens, booleans of that shape; all where `None`.

        Returns:
            Shape `(batch, length, vocabulary)`; at places without a token they mean nothing.
        """
        visible = checked_tokens(tokens, visible, self.vocabulary)
        x: Tensor = self.table(tokens)
        where = geometry_of(visible, self.block, x.dtype)
        for block in self.blocks:
            x, _ = block(x, where)
        return self.head(self.output_norm(x))
