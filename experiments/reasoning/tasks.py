r"""Tasks with exact answers, whose difficulty is a number of steps that have to be done one after the other.

A sentence is a question. Its answer is asked for at its last places: after `j` steps of the chain the place `j` is to say the state of the
chain, so a sentence of `k` steps holds the questions of fewer steps too, and the last place the answer proper. No state is ever
shown: every place is told the next step only.

- **Pointer chasing** (p-hop): a permutation `f` of the nodes as edges `(v, f(v))` in random order, one token an edge, a node `s`, and `k`
  times the token *hop*. The state is `f^j(s)`.
- **Composition in S5**: `k` transpositions of five things, out of all ten. The state is their product, one of 120 permutations. S5 is not
  solvable, so words in it are complete for NC1 and can not be told by a fixed number of attention layers unless TC0 = NC1.
- **Modular arithmetic**: a digit and `k` tokens `+a` or `*a` modulo a prime, `a != 0`. The state is the value so far.

References:
    Sanford, Hsu, Telgarsky, Transformers, parallel computation, and logarithmic depth, ICML 2024 (pointer chasing); Barrington,
    Bounded-width polynomial-size branching programs recognize exactly those languages in NC1, 1989 (S5); Merrill, Petty, Sabharwal, The
    illusion of state in state-space models, ICML 2024 (states of words as labels).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import final

import torch
from torch import Generator, Tensor

from eqtheory.errors import InputError
from eqtheory.validate import count

__all__ = ["NOT_ASKED", "TASKS", "Chain", "ModularArithmetic", "PointerChasing", "Questions", "SymmetricGroup"]


NOT_ASKED = -1
"""In the place of an answer, where nothing is asked for."""


@final
@dataclass(frozen=True, eq=False)
class Questions:
    """Sentences with the tokens that are asked for.

    Args:
        tokens: int64, shape `(questions, length)`.
        visible: which places hold tokens, booleans, the same shape; padding stands on the left.
        answers: the token that each place is to say, int64, the same shape; `NOT_ASKED` where nothing is asked for.
        written: whether the answer proper is all of these, as in text, and not the last one alone.
    """

    tokens: Tensor
    visible: Tensor
    answers: Tensor
    written: bool = False

    @classmethod
    def of_chain(cls, tokens: Tensor, states: Tensor) -> Questions:
        """Ask for the state of a chain after every step.

        Args:
            tokens: int64, shape `(questions, length)`.
            states: tokens of the states, int64, shape `(questions, steps)`, of the last places.

        Returns:
            The questions.
        """
        answers = torch.full_like(tokens, NOT_ASKED)
        answers[:, tokens.shape[1] - states.shape[1] :] = states
        return cls(tokens, torch.ones_like(tokens, dtype=torch.bool), answers)

    @property
    def asked(self) -> Tensor:
        """Where something is asked for, booleans, shape `(questions, length)`."""
        return self.answers != NOT_ASKED

    def right(self, logits: Tensor) -> Tensor:
        """Say which answers proper are right.

        Args:
            logits: shape `(questions, length, vocabulary)`.

        Returns:
            Booleans, shape `(questions,)`.
        """
        if self.written:
            return self.all_right(logits)
        return logits[:, -1].argmax(dim=-1) == self.answers[:, -1]

    def all_right(self, logits: Tensor) -> Tensor:
        """Say where everything that was asked for is right.

        Where answers are the tokens that follow, greedy decoding writes exactly these sentences: as long as it is right it sees what
        stands here.

        Args:
            logits: shape `(questions, length, vocabulary)`.

        Returns:
            Booleans, shape `(questions,)`.
        """
        return ((logits.argmax(dim=-1) == self.answers) | ~self.asked).all(dim=1)


class Chain(ABC):
    """A task: how questions are drawn, and what their answers are."""

    vocabulary: int
    """Number of tokens, those of answers among them."""

    @abstractmethod
    def draw(self, questions: int, steps: int, generator: Generator) -> Questions:
        """Draw questions.

        Args:
            questions: how many.
            steps: of the chain.
            generator: source of randomness.

        Returns:
            The questions with exact answers.
        """


@final
class PointerChasing(Chain):
    """Follow a permutation: edges in random order, a node, hops.

    Args:
        nodes: how many.
    """

    def __init__(self, nodes: int = 8) -> None:
        self.nodes = count("nodes", nodes, "pass for example nodes=8")
        self.hop = nodes * nodes + nodes
        self.vocabulary = self.hop + 1

    def draw(self, questions: int, steps: int, generator: Generator) -> Questions:
        """Draw questions.

        Args:
            questions: how many.
            steps: hops.
            generator: source of randomness.

        Returns:
            Sentences of `nodes + 1 + steps` tokens: edge `(u, v)` is token `u nodes + v`, node `v` is token `nodes^2 + v`.
        """
        n = self.nodes
        follow = torch.rand(questions, n, generator=generator).argsort(dim=1)
        shuffled = torch.rand(questions, n, generator=generator).argsort(dim=1)
        edges = shuffled * n + follow.gather(1, shuffled)
        here = torch.randint(n, (questions, 1), generator=generator)
        start, answers = here, []
        for _ in range(steps):
            here = follow.gather(1, here)
            answers.append(here)
        hops = torch.full((questions, steps), self.hop)
        return Questions.of_chain(torch.cat([edges, n * n + start, hops], dim=1), n * n + torch.cat(answers, dim=1))


@final
class SymmetricGroup(Chain):
    """Multiply transpositions of five things."""

    def __init__(self) -> None:
        self.elements = list(permutations(range(5)))
        index = {element: k for k, element in enumerate(self.elements)}
        swaps = []
        for a, b in combinations(range(5), 2):
            swap = list(range(5))
            swap[a], swap[b] = b, a
            swaps.append(swap)
        # `after[g, s]`: first g, then s.
        self.after = torch.tensor([[index[tuple(swap[i] for i in g)] for swap in swaps] for g in self.elements])
        self.letters = len(swaps)
        self.vocabulary = self.letters + len(self.elements)

    def draw(self, questions: int, steps: int, generator: Generator) -> Questions:
        """Draw questions.

        Args:
            questions: how many.
            steps: transpositions.
            generator: source of randomness.

        Returns:
            Sentences of `steps` tokens; the answers are tokens `10 + index` of the product in `elements`.
        """
        word = torch.randint(self.letters, (questions, steps), generator=generator)
        here, answers = torch.zeros(questions, dtype=torch.int64), []
        for letter in word.T:
            here = self.after[here, letter]
            answers.append(self.letters + here)
        return Questions.of_chain(word, torch.stack(answers, dim=1))


@final
class ModularArithmetic(Chain):
    """Add and multiply modulo a prime.

    Args:
        modulus: the prime.

    Raises:
        InputError: not a prime, modulo which a factor could wipe a value out.
    """

    def __init__(self, modulus: int = 7) -> None:
        self.modulus = count("modulus", modulus, "pass for example modulus=7")
        if modulus < 2 or any(modulus % k == 0 for k in range(2, modulus)):
            raise InputError("modulus", str(modulus), "a prime", "pass for example modulus=7")
        self.vocabulary = modulus + 2 * (modulus - 1)

    def draw(self, questions: int, steps: int, generator: Generator) -> Questions:
        """Draw questions.

        Args:
            questions: how many.
            steps: operations.
            generator: source of randomness.

        Returns:
            Sentences of `1 + steps` tokens: values are tokens `0..p-1`, then come `+1..+(p-1)`, then `*1..*(p-1)`.
        """
        p = self.modulus
        here = torch.randint(p, (questions,), generator=generator)
        times = torch.randint(2, (questions, steps), generator=generator)
        number = torch.randint(1, p, (questions, steps), generator=generator)
        start, answers = here, []
        for k in range(steps):
            here = torch.where(times[:, k] == 1, here * number[:, k], here + number[:, k]) % p
            answers.append(here)
        operations = p + times * (p - 1) + number - 1
        return Questions.of_chain(torch.cat([start[:, None], operations], dim=1), torch.stack(answers, dim=1))


TASKS: dict[str, type[Chain]] = {
    "pointer_chasing": PointerChasing,
    "symmetric_group": SymmetricGroup,
    "modular_arithmetic": ModularArithmetic,
}
"""The tasks by name."""
