"""Tasks of reasoning-gym as texts, read and written character by character.

Questions come with a sentence that is the same every time; what stands behind its last colon is the question of this one. The difficulty is
again a number of steps: terms of a sum, letters of a word. Drawn by the other library from seeds that are drawn here, so that equal
seeds give equal questions as long as its version is the same.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Generator

from eqtheory.errors import InputError, MissingDependencyError
from eqtheory.learned.recurrent_depth import left_padded
from experiments.reasoning.tasks import NOT_ASKED, Chain, Questions

__all__ = ["GENERATORS", "TextTask", "decoded", "encoded"]

GENERATORS: dict[str, dict[str, str]] = {
    "chain_sum": {"steps": "terms", "min": "min_terms", "max": "max_terms"},
    "spell_backward": {"steps": "letters", "min": "min_word_len", "max": "max_word_len"},
}
"""The generators that are used: what their steps are, and the settings that fix their number."""
_FIXED: dict[str, dict[str, Any]] = {"chain_sum": {"min_digits": 1, "max_digits": 1}, "spell_backward": {}}
_END, _FIRST, _COUNT = 0, 32, 95
_ASK = _COUNT + 1


def encoded(text: str) -> list[int]:
    """Turn printable characters into tokens 1 to 95.

    Args:
        text: of ASCII.

    Returns:
        Its tokens.

    Raises:
        InputError: another character.
    """
    strange = [c for c in text if not _FIRST <= ord(c) < _FIRST + _COUNT]
    if strange:
        raise InputError("text", repr(strange[0]), "printable characters of ASCII", "use generators that keep to them")
    return [ord(c) - _FIRST + 1 for c in text]


def decoded(tokens: list[int]) -> str:
    """Turn tokens into characters, up to the end.

    Args:
        tokens: as `encoded` makes them, perhaps with an end.

    Returns:
        The text.
    """
    text = tokens[: tokens.index(_END)] if _END in tokens else tokens
    return "".join(chr(t + _FIRST - 1) if 1 <= t <= _COUNT else "?" for t in text)


@final
class TextTask(Chain):
    """One generator of reasoning-gym.

    Args:
        name: of the generator, one of `GENERATORS`.

    Raises:
        InputError: another one.
        MissingDependencyError: reasoning-gym is not installed.
    """

    end = _END
    """The token that ends an answer."""

    def __init__(self, name: str) -> None:
        if name not in GENERATORS:
            raise InputError("name", repr(name), f"one of {', '.join(GENERATORS)}", "add its settings to GENERATORS")
        try:
            import reasoning_gym
        except ImportError:
            raise MissingDependencyError("reasoning_gym", "reasoning") from None
        self._library: Any = reasoning_gym
        self.name = name
        self.vocabulary = _ASK + 1

    def pairs(self, questions: int, steps: int, generator: Generator) -> list[tuple[str, str]]:
        """Draw questions and answers as texts.

        Args:
            questions: how many.
            steps: terms or letters.
            generator: source of the library's seed.

        Returns:
            Pairs of question and answer.
        """
        known, seed = GENERATORS[self.name], int(torch.randint(2**31, (), generator=generator))
        settings = {known["min"]: steps, known["max"]: steps, **_FIXED[self.name]}
        drawn = self._library.create_dataset(self.name, size=questions, seed=seed, **settings)
        return [(item["question"].rpartition(": ")[2], str(item["answer"])) for item in drawn]

    def prompt(self, question: str) -> list[int]:
        """Return the tokens from which an answer is decoded.

        Args:
            question: its text.

        Returns:
            Tokens.
        """
        return [*encoded(question), _ASK]

    def draw(self, questions: int, steps: int, generator: Generator) -> Questions:
        """Draw questions.

        Args:
            questions: how many.
            steps: terms or letters.
            generator: source of the library's seed.

        Returns:
            Sentences, padded on the left: the question, a token that asks, the answer; its characters and its end are asked for.
        """
        sentences, places = [], []
        for question, answer in self.pairs(questions, steps, generator):
            asked, said = self.prompt(question), encoded(answer)
            sentences.append([*asked, *said])
            places.append([NOT_ASKED] * (len(asked) - 1) + [*said, _END])
        tokens, visible = left_padded(sentences)
        answers, _ = left_padded(places)
        return Questions(tokens, visible, answers.masked_fill(~visible, NOT_ASKED), written=True)
