r"""When a token has been thought about enough: rules that end its iteration, and what each of them looks at.

None of them knows the distance to the fixed point: a small step is a small residual, and by T1 the distance can be `1/(1 - m)` times as
large where the core contracts by `m`, and anything where it does not. `exit_distances` measures that distance where a rule fires.

Theorem: T1.

References:
    Geiping et al. 2025, section 6.1 (steps of the state, divergence of successive outputs); Graves, Adaptive computation time, 2016.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.validate import count, positive

__all__ = ["ExitRule", "FixedSteps", "Look", "OutputDivergence", "StateChange", "SteadyAnswer"]


@final
@dataclass(frozen=True, eq=False)
class Look:
    """What a rule is shown after an iteration.

    Args:
        iteration: how many have been done, from 1.
        change: size of the last step relative to the state, `|y_t - y_{t-1}| / |y_t|`, shape `(batch,)`.
        logits: what the model would answer now, shape `(batch, vocabulary)`; `None` for rules that do not ask for it.
        before: what it would have answered one iteration earlier; `None` at the first one.
        steady: for how many iterations, this one included, the likeliest token has been the same, int64, shape `(batch,)`.
    """

    iteration: int
    change: Tensor
    logits: Tensor | None
    before: Tensor | None
    steady: Tensor


@dataclass(frozen=True)
class ExitRule(ABC):
    """When to stop iterating on a token.

    Laws: a sentence is judged by its own numbers; after `max_steps` iterations a token is left alone whatever the rule says.

    Args:
        max_steps: the most iterations.

    Raises:
        InputError: not an integer of at least 1.
    """

    max_steps: int

    def __post_init__(self) -> None:
        count("max_steps", self.max_steps, "pass for example max_steps=32")

    @property
    def reads(self) -> bool:
        """Whether the rule looks at outputs, which costs a pass of the coda an iteration."""
        return False

    @abstractmethod
    def fires(self, look: Look) -> Tensor:
        """Judge.

        Args:
            look: what is to be seen.

        Returns:
            Booleans, shape `(batch,)`.
        """


@final
@dataclass(frozen=True)
class FixedSteps(ExitRule):
    """Take `max_steps` iterations for every token.

    Args:
        max_steps: how many.

    Example:
        >>> FixedSteps(8).max_steps
        8
    """

    def fires(self, look: Look) -> Tensor:
        """Judge.

        Args:
            look: what is to be seen.

        Returns:
            True from the last iteration on.
        """
        return torch.full_like(look.steady, look.iteration >= self.max_steps, dtype=torch.bool)


@final
@dataclass(frozen=True)
class StateChange(ExitRule):
    """Stop when a step is short relative to the state.

    Args:
        max_steps: the most iterations.
        below: the longest relative step that counts as none.
    """

    below: float = 0.03

    def __post_init__(self) -> None:
        ExitRule.__post_init__(self)
        positive("below", self.below)

    def fires(self, look: Look) -> Tensor:
        """Judge.

        Args:
            look: what is to be seen.

        Returns:
            Which sentences have stopped moving.
        """
        return look.change <= self.below


@final
@dataclass(frozen=True)
class OutputDivergence(ExitRule):
    """Stop when the output distribution hardly changes: `KL(p_t | p_{t-1})` is small.

    Args:
        max_steps: the most iterations.
        below: the largest divergence that counts as none, in nats.
    """

    below: float = 5e-4

    def __post_init__(self) -> None:
        ExitRule.__post_init__(self)
        positive("below", self.below)

    @property
    def reads(self) -> bool:
        """It looks at outputs."""
        return True

    def fires(self, look: Look) -> Tensor:
        """Judge.

        Args:
            look: what is to be seen.

        Returns:
            Which sentences answer as they did before.

        Raises:
            InputError: no outputs were shown.
        """
        if look.logits is None:
            raise InputError("look.logits", "None", "outputs", "show them to rules whose `reads` is true")
        if look.before is None:
            return torch.zeros_like(look.steady, dtype=torch.bool)
        now, before = look.logits.log_softmax(dim=-1), look.before.log_softmax(dim=-1)
        return (now.exp() * (now - before)).sum(dim=-1) <= self.below


@final
@dataclass(frozen=True)
class SteadyAnswer(ExitRule):
    """Stop when the likeliest token has been the same for some iterations.

    Args:
        max_steps: the most iterations.
        patience: for how many.

    Raises:
        InputError: a patience below 2.
    """

    patience: int = 4

    def __post_init__(self) -> None:
        ExitRule.__post_init__(self)
        if not (isinstance(self.patience, int) and self.patience >= 2):
            raise InputError("patience", str(self.patience), "an integer >= 2", "pass for example patience=4")

    @property
    def reads(self) -> bool:
        """It looks at outputs."""
        return True

    def fires(self, look: Look) -> Tensor:
        """Judge.

        Args:
            look: what is to be seen.

        Returns:
            Which sentences have given one answer for that long.
        """
        return look.steady >= self.patience
