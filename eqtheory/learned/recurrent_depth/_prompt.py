"""What the recurrent state is told in every iteration: the prompt, embedded by the prelude."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError

__all__ = ["Prompt", "checked_tokens", "left_padded"]


@final
@dataclass(frozen=True, eq=False)
class Prompt:
    """Embedded prompts, one batch of them.

    Args:
        embedded: what the prelude made of the tokens, shape `(batch, length, width)`, zero where there is no token.
        visible: which places hold tokens, booleans, shape `(batch, length)`.
    """

    embedded: Tensor
    visible: Tensor


def left_padded(sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Put sentences of different lengths into one batch that ends in one column.

    Args:
        sentences: tokens, at least one a sentence.

    Returns:
        Tokens, int64, shape `(batch, length)`, and which places hold any, booleans of that shape.

    Raises:
        InputError: no sentence, or an empty one.
    """
    empty = [index for index, sentence in enumerate(sentences) if len(sentence) == 0]
    if not sentences or empty:
        came = f"an empty sentence at index {empty[0]}" if empty else "no sentence"
        raise InputError(
            "prompts", came, "at least one token in every prompt", "begin prompts with a token of their own"
        )
    length = max(map(len, sentences))
    tokens = torch.zeros(len(sentences), length, dtype=torch.int64)
    visible = torch.zeros(len(sentences), length, dtype=torch.bool)
    for row, sentence in enumerate(sentences):
        tokens[row, length - len(sentence) :] = torch.as_tensor(list(sentence), dtype=torch.int64)
        visible[row, length - len(sentence) :] = True
    return tokens, visible


def checked_tokens(tokens: Tensor, visible: Tensor | None, vocabulary: int) -> Tensor:
    """Check tokens and their mask.

    Args:
        tokens: int64, shape `(batch, length)`.
        visible: booleans of that shape; all where `None`.
        vocabulary: number of tokens.

    Returns:
        The mask.

    Raises:
        ShapeError: not one row a sentence, no place at all, or a mask of another shape.
        InputError: a token outside the vocabulary, tokens that are no integers, or a mask that is no mask.
    """
    if tokens.ndim != 2 or tokens.numel() == 0:
        raise ShapeError(
            "tokens", f"shape {tuple(tokens.shape)}", "(batch, length), not empty", "pass one row a sentence"
        )
    if tokens.dtype is not torch.int64:
        raise InputError("tokens", f"dtype {tokens.dtype}", "int64", "convert with .long()")
    if bool(((tokens < 0) | (tokens >= vocabulary)).any()):
        came = f"tokens from {int(tokens.min())} to {int(tokens.max())}"
        raise InputError("tokens", came, f"0 <= token < {vocabulary}", "build the model with a larger vocabulary")
    if visible is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    if visible.shape != tokens.shape:
        raise ShapeError(
            "visible", f"shape {tuple(visible.shape)}", f"that of tokens, {tuple(tokens.shape)}", "mask places"
        )
    if visible.dtype is not torch.bool:
        raise InputError("visible", f"dtype {visible.dtype}", "booleans", "convert with .bool()")
    return visible
