"""How far from the fixed point a state is where an exit rule fires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.learned.recurrent_depth._exits import ExitRule, Look
from eqtheory.learned.recurrent_depth._model import RecurrentDepthTransformer
from eqtheory.learned.recurrent_depth._prompt import Prompt

__all__ = ["ExitDistances", "exit_distances"]


@final
@dataclass(frozen=True, eq=False)
class ExitDistances:
    """What a rule stopped at, sentence by sentence.

    Args:
        steps: iterations until the rule fired, int64, shape `(batch,)`.
        distance: `|y_t - y*| / |y*|` of the last place's state then, `y*` its state after many more iterations, shape `(batch,)`.
        change: what the rule could see, `|y_t - y_{t-1}| / |y_t|`, shape `(batch,)`.
        residual: `|G(y*, x) - y*| / |y*|` of whole sentences: where it is not small, `y*` is no fixed point and the distance means nothing.
        answers: the likeliest token then, int64, shape `(batch,)`.
        agrees: whether that is the likeliest one in the end, booleans, shape `(batch,)`.
    """

    steps: Tensor
    distance: Tensor
    change: Tensor
    residual: Tensor
    answers: Tensor
    agrees: Tensor


@torch.no_grad()
def exit_distances(model: RecurrentDepthTransformer, x: Prompt, rule: ExitRule, *, settled: int) -> ExitDistances:
    """Compare states where a rule fires with those after many more iterations.

    Args:
        model: the transformer.
        x: embedded prompts, padded on the left where they differ in length.
        rule: the rule; it judges the last place.
        settled: iterations after which states are taken for the fixed point, more than the rule's `max_steps`.

    Returns:
        Distances, estimates in as far as the last states are fixed points up to `residual`.

    Raises:
        InputError: too few iterations, or sentences that do not end in the last place.

    Theorem: T1.
    """
    if not settled > rule.max_steps:
        raise InputError(
            "settled", str(settled), f"more than max_steps = {rule.max_steps}", "iterate on beyond the rule"
        )
    if not bool(x.visible[:, -1].all()):
        raise InputError("x", "sentences that end before the last place", "a token there", "pad on the left")
    G = model.operator()
    y = G.initial_state(x)
    batch = len(y)
    done = torch.zeros(batch, dtype=torch.bool, device=y.device)
    steps = torch.full((batch,), rule.max_steps, dtype=torch.int64, device=y.device)
    kept, change = torch.zeros_like(y[:, -1]), y.new_zeros(batch)
    answer = at_exit = steady = torch.zeros_like(steps)
    logits: Tensor | None = None
    before: Tensor | None = None
    for t in range(1, rule.max_steps + 1):
        after = G(y, x)
        last = after[:, -1]
        moved = (last - y[:, -1]).norm(dim=-1) / last.norm(dim=-1).clamp_min(torch.finfo(y.dtype).tiny)
        y = after
        before, logits = logits, model.read(y, x.visible)[:, -1]
        guess = logits.argmax(dim=-1)
        steady = torch.where(guess == (answer if t > 1 else -1), steady + 1, 1)
        answer = guess
        fired = (rule.fires(Look(t, moved, logits, before, steady)) | (t == rule.max_steps)) & ~done
        kept = torch.where(fired[:, None], last, kept)
        change = torch.where(fired, moved, change)
        steps = torch.where(fired, t, steps)
        at_exit = torch.where(fired, answer, at_exit)
        done = done | fired
    for _ in range(settled - rule.max_steps):
        y = G(y, x)
    size = y[:, -1].norm(dim=-1)
    residual = (G(y, x) - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)
    final = model.read(y, x.visible)[:, -1].argmax(dim=-1)
    return ExitDistances(steps, (kept - y[:, -1]).norm(dim=-1) / size, change, residual, at_exit, at_exit == final)
