"""One pass over new places: prelude, iterations until the rule has fired for every sentence, coda. Everything goes through the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.learned.recurrent_depth._cache import Cache
from eqtheory.learned.recurrent_depth._exits import ExitRule, Look
from eqtheory.learned.recurrent_depth._geometry import Geometry
from eqtheory.learned.recurrent_depth._model import RecurrentDepthTransformer

__all__ = ["Thought", "think"]


@final
@dataclass(frozen=True, eq=False)
class Thought:
    """What came of the last place of every sentence.

    Args:
        logits: of the next token, shape `(batch, vocabulary)`.
        steps: iterations until the rule fired, int64, shape `(batch,)`.
        change: relative size of every step, shape `(batch, max_steps)`; after the exit the last one stands.
        guesses: the likeliest token after every iteration, int64, the same shape, after the exit the last one; `None` where outputs
            were not looked at.
    """

    logits: Tensor
    steps: Tensor
    change: Tensor
    guesses: Tensor | None


def think(
    model: RecurrentDepthTransformer, tokens: Tensor, visible: Tensor, cache: Cache, rule: ExitRule, *, traced: bool
) -> Thought:
    """Read new tokens and think about the last one until the rule fires.

    All new places of a sentence are iterated together and come to rest together, when the rule fires at the last of them.

    Args:
        model: the transformer.
        tokens: the new ones, int64, shape `(batch, new)`.
        visible: which places hold tokens, old and new ones, booleans, shape `(batch, cache.length + new)`.
        cache: of the places before; the new ones are added.
        rule: when to stop.
        traced: whether to look at outputs even where the rule does not.

    Returns:
        What came of it.
    """
    new = tokens.shape[1]
    x: Tensor = model.table(tokens)
    where = model.geometry(visible, x, new)
    for index, block in enumerate(model.prelude):
        x, pair = block(x, where, cache.prelude(index))
        cache.keep_prelude(index, pair)
    embedded = x * where.visible
    y = torch.zeros_like(embedded)
    done = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    steps = torch.full((len(tokens),), rule.max_steps, dtype=torch.int64, device=tokens.device)
    reads = traced or rule.reads
    logits: Tensor | None = None
    before: Tensor | None = None
    steady = torch.zeros_like(steps)
    change = y.new_zeros(len(tokens))
    changes: list[Tensor] = []
    guesses: list[Tensor] = []
    for t in range(1, rule.max_steps + 1):
        after = _iterate(model, y, embedded, where, cache, t - 1)
        last = after[:, -1]
        moved = (last - y[:, -1]).norm(dim=-1) / last.norm(dim=-1).clamp_min(torch.finfo(last.dtype).tiny)
        y = torch.where(done[:, None, None], y, after)
        change = torch.where(done, change, moved)
        changes.append(change)
        if reads:
            before, logits = logits, _read(model, y, where, cache, keep=False)
            guesses.append(logits.argmax(dim=-1))
            same = t > 1 and guesses[-1] == guesses[-2]
            steady = torch.where(torch.as_tensor(same, device=done.device), steady + 1, 1)
        fired = rule.fires(Look(t, change, logits, before, steady)) & ~done
        steps = torch.where(fired, t, steps)
        done = done | fired
        if bool(done.all()):
            break
    said = _read(model, y, where, cache, keep=True)
    cache.advance(new, steps)
    return Thought(said, steps, _filled(changes, rule.max_steps), _filled(guesses, rule.max_steps) if reads else None)


def _iterate(
    model: RecurrentDepthTransformer, y: Tensor, embedded: Tensor, where: Geometry, cache: Cache, iteration: int
) -> Tensor:
    h: Tensor = model.inject(torch.cat([y, embedded], dim=-1))
    for index, block in enumerate(model.core):
        h, pair = block(h, where, cache.core(index, iteration))
        cache.keep_core(index, iteration, pair)
    return model.state_norm(h) * where.visible


def _read(model: RecurrentDepthTransformer, y: Tensor, where: Geometry, cache: Cache, *, keep: bool) -> Tensor:
    for index, block in enumerate(model.coda):
        y, pair = block(y, where, cache.coda(index))
        if keep:
            cache.keep_coda(index, pair)
    return model.head(model.output_norm(y[:, -1]))


def _filled(columns: list[Tensor], wanted: int) -> Tensor:
    """Columns, the last one repeated up to the wanted number.

    Returns:
        Shape `(batch, wanted)`.
    """
    return torch.stack([*columns, *[columns[-1]] * (wanted - len(columns))], dim=1)
