"""Greedy decoding of many prompts at once, with a trace of every token's iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError, NonFiniteError
from eqtheory.learned.recurrent_depth._cache import Cache
from eqtheory.learned.recurrent_depth._exits import ExitRule
from eqtheory.learned.recurrent_depth._model import RecurrentDepthTransformer
from eqtheory.learned.recurrent_depth._prompt import checked_tokens, left_padded
from eqtheory.learned.recurrent_depth._thinking import Thought, think
from eqtheory.validate import all_finite, count

__all__ = ["Decoded", "decode"]


@final
@dataclass(frozen=True, eq=False)
class Decoded:
    """What was decoded, and how long each token was thought about.

    Args:
        tokens: int64, shape `(batch, new)`; from a sentence's end on, its end token or zero.
        lengths: how many tokens belong to each sentence, its end token included, int64, shape `(batch,)`.
        steps: iterations of every token, int64, shape `(batch, new)`; zero behind the end of a sentence.
        change: relative size of every step of the state, shape `(batch, new, max_steps)`; after the exit the last one stands.
        guesses: what would have been decoded after every iteration, int64, shape `(batch, new, max_steps)`; `None` where outputs
            were not looked at.
        margins: by how much the logit of each token exceeds the next one, shape `(batch, new)`: rounding below half of it changes nothing.
    """

    tokens: Tensor
    lengths: Tensor
    steps: Tensor
    change: Tensor
    guesses: Tensor | None
    margins: Tensor

    def sentences(self) -> list[list[int]]:
        """The tokens of each sentence.

        Returns:
            As many lists as there were prompts.
        """
        rows = zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)
        return [row[:length] for row, length in rows]


@torch.no_grad()
def decode(
    model: RecurrentDepthTransformer,
    prompts: Sequence[Sequence[int]],
    rule: ExitRule,
    *,
    new: int,
    end: int | None = None,
    traced: bool = False,
) -> Decoded:
    """Decode the likeliest token again and again.

    Sentences are padded on the left and masked, so each is decoded as if it were alone, up to rounding. At a fixed number of iterations
    the tokens are those of passes over whole sentences; where a rule stops some tokens earlier, these are at rest for later ones.

    Args:
        model: the transformer.
        prompts: tokens of each prompt, at least one.
        rule: when to stop iterating on a token; `FixedSteps(t)` takes `t` iterations for all.
        new: how many tokens to decode at most.
        end: the token that ends a sentence.
        traced: whether to keep what would have been decoded after every iteration.

    Returns:
        Tokens and traces. Cost: for every token one place through prelude and coda and at most `rule.max_steps` times through the core;
        memory as `Cache` says.

    Raises:
        InputError: an empty prompt, a token outside the vocabulary, or no token to decode.
        NonFiniteError: the model's outputs are not finite.

    Example:
        >>> import torch
        >>> from eqtheory.learned.recurrent_depth import FixedSteps, RecurrentDepthSize, RecurrentDepthTransformer
        >>> model = RecurrentDepthTransformer(RecurrentDepthSize(11), generator=torch.Generator().manual_seed(0))
        >>> found = decode(model, [[3, 1, 4], [1, 5]], FixedSteps(4), new=2)
        >>> found.tokens.shape, found.steps.tolist()
        (torch.Size([2, 2]), [[4, 4], [4, 4]])
    """
    count("new", new, "decode at least one token")
    if end is not None and not 0 <= end < model.size.vocabulary:
        raise InputError("end", str(end), f"0 <= end < {model.size.vocabulary}", "pass the token that ends a sentence")
    tokens, visible = left_padded(prompts)
    checked_tokens(tokens, visible, model.size.vocabulary)
    weight = model.head.weight
    tokens, visible = tokens.to(weight.device), visible.to(weight.device)
    batch, length = tokens.shape
    # The last token is decoded and never read.
    cache = Cache(model.size, batch, length + new - 1, rule.max_steps, weight)
    ended = torch.zeros(batch, dtype=torch.bool, device=weight.device)
    lengths = torch.zeros(batch, dtype=torch.int64, device=weight.device)
    filler = 0 if end is None else end
    found: list[Tensor] = []
    margins: list[Tensor] = []
    thoughts: list[Thought] = []
    used: list[Tensor] = []
    for _ in range(new):
        thought = think(model, tokens, visible, cache, rule, traced=traced)
        if not all_finite(thought.logits):
            came, remedy = "logits with a NaN or an infinity", "look at the model's parameters"
            raise NonFiniteError("model", came, "finite outputs", remedy)
        best = thought.logits.topk(2, dim=-1).values
        token = torch.where(ended, filler, thought.logits.argmax(dim=-1))
        found.append(token)
        margins.append(best[:, 0] - best[:, 1])
        thoughts.append(thought)
        used.append(torch.where(ended, 0, thought.steps))
        lengths = lengths + (~ended).long()
        if end is not None:
            ended = ended | (token == end)
        if bool(ended.all()):
            break
        tokens = token[:, None]
        visible = torch.cat([visible, torch.ones_like(visible[:, :1])], dim=1)
    guesses = [thought.guesses for thought in thoughts if thought.guesses is not None]
    return Decoded(
        torch.stack(found, dim=1),
        lengths,
        torch.stack(used, dim=1),
        torch.stack([thought.change for thought in thoughts], dim=1),
        torch.stack(guesses, dim=1) if guesses else None,
        torch.stack(margins, dim=1),
    )
