"""Transformers of recurrent depth: one core, iterated on a latent state for as long as a question needs."""

from __future__ import annotations

from eqtheory.learned.recurrent_depth._cache import Cache
from eqtheory.learned.recurrent_depth._decoding import Decoded, decode
from eqtheory.learned.recurrent_depth._exit_distances import ExitDistances, exit_distances
from eqtheory.learned.recurrent_depth._exits import (
    ExitRule,
    FixedSteps,
    Look,
    OutputDivergence,
    StateChange,
    SteadyAnswer,
)
from eqtheory.learned.recurrent_depth._explicit import ExplicitTransformer
from eqtheory.learned.recurrent_depth._model import LatentOperator, RecurrentDepthTransformer
from eqtheory.learned.recurrent_depth._prompt import Prompt, left_padded
from eqtheory.learned.recurrent_depth._size import BlockSize, RecurrentDepthSize

__all__ = [
    "BlockSize",
    "Cache",
    "Decoded",
    "ExitDistances",
    "ExitRule",
    "ExplicitTransformer",
    "FixedSteps",
    "LatentOperator",
    "Look",
    "OutputDivergence",
    "Prompt",
    "RecurrentDepthSize",
    "RecurrentDepthTransformer",
    "StateChange",
    "SteadyAnswer",
    "decode",
    "exit_distances",
    "left_padded",
]
