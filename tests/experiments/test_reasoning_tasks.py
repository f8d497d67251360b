"""Questions of the reasoning experiment: answers are exact, lengths are steps, and seeds decide everything."""

from __future__ import annotations

import sys

import pytest
import torch

from eqtheory.errors import InputError, MissingDependencyError
from experiments.common.checkpoints import random_generator
from experiments.reasoning.tasks import NOT_ASKED, TASKS, ModularArithmetic, PointerChasing, Questions, SymmetricGroup
from experiments.reasoning.texts import TextTask, decoded, encoded
from experiments.reasoning.training import length_at, task_of


@pytest.mark.parametrize("name", list(TASKS))
def test_questions_are_of_the_length_that_was_asked_for_and_seeds_decide(name: str) -> None:
    task = TASKS[name]()
    one, two, other = (task.draw(20, 5, random_generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.tokens, two.tokens)
    assert torch.equal(one.answers, two.answers)
    assert not torch.equal(one.tokens, other.tokens)
    assert one.asked.sum(dim=1).tolist() == [5] * 20
    assert bool(one.asked[:, -5:].all())
    assert bool(one.visible.all())
    assert 0 <= int(one.tokens.min()) <= int(one.tokens.max()) < task.vocabulary
    assert int(one.answers.max()) < task.vocabulary


def test_pointers_are_followed() -> None:
    task = PointerChasing(6)
    asked = task.draw(30, 7, random_generator(3))
    for sentence, answers in zip(asked.tokens.tolist(), asked.answers.tolist(), strict=True):
        follow = dict(divmod(edge, 6) for edge in sentence[:6])
        assert sorted(follow) == sorted(follow.values()) == list(range(6))
        here = sentence[6] - 36
        assert sentence[7:] == [task.hop] * 7
        for answer in answers[7:]:
            here = follow[here]
            assert answer - 36 == here


def test_permutations_are_multiplied() -> None:
    task = SymmetricGroup()
    asked = task.draw(30, 6, random_generator(4))
    swaps = [(a, b) for a in range(5) for b in range(a + 1, 5)]
    for word, answers in zip(asked.tokens.tolist(), asked.answers.tolist(), strict=True):
        things = list(range(5))
        for letter, answer in zip(word, answers, strict=True):
            a, b = swaps[letter]
            # First what was done so far, then the swap: it acts on the values.
            things = [b if i == a else a if i == b else i for i in things]
            assert list(task.elements[answer - 10]) == things
    # Not commutative: the order matters.
    assert int(task.after[task.after[0, 0], 1]) != int(task.after[task.after[0, 1], 0])


def test_values_are_computed() -> None:
    task = ModularArithmetic(7)
    asked = task.draw(30, 6, random_generator(5))
    for sentence, answers in zip(asked.tokens.tolist(), asked.answers.tolist(), strict=True):
        value = sentence[0]
        for token, answer in zip(sentence[1:], answers[1:], strict=True):
            operation = token - 7
            value = (value + operation + 1) % 7 if operation < 6 else value * (operation - 5) % 7
            assert answer == value
    with pytest.raises(InputError, match="modulus: got 9, needed a prime"):
        ModularArithmetic(9)


def test_answers_are_judged_at_the_last_place_or_as_a_whole() -> None:
    tokens, visible = torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool)
    answers = torch.tensor([[NOT_ASKED, 1, 2], [NOT_ASKED, 1, 2]])
    logits = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2], [0, 0, 2]]), 3).double()
    chain, text = Questions(tokens, visible, answers), Questions(tokens, visible, answers, written=True)
    assert chain.right(logits).tolist() == [True, True]
    assert chain.all_right(logits).tolist() == text.right(logits).tolist() == [True, False]


def test_chains_grow_in_training() -> None:
    stage = {"steps": 100, "length": 8, "ramp": 0.5}
    lengths = [length_at(step, stage) for step in range(100)]
    assert lengths[0] == 2
    assert lengths == sorted(lengths)
    assert sorted(set(lengths)) == list(range(2, 9))
    assert lengths[50:] == [8] * 50
    assert {length_at(step, {**stage, "length": 1}) for step in range(100)} == {1}


def test_unknown_tasks_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="task: got 'riddles', needed one of pointer_chasing"):
        task_of("riddles")
    with pytest.raises(InputError, match="name: got 'riddles', needed one of chain_sum, spell_backward"):
        TextTask("riddles")


def test_texts_are_tokens_and_back() -> None:
    text = " ~4 - 11 = #"
    assert decoded([*encoded(text), 0, 17]) == text
    assert min(encoded(text)) == 1
    assert max(encoded(text)) == 95
    with pytest.raises(InputError, match="text: got 'é', needed printable characters"):
        encoded("née")


def test_without_the_library_texts_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'eqtheory\[reasoning\]'"):
        TextTask("chain_sum")


@pytest.mark.parametrize("name", ["chain_sum", "spell_backward"])
def test_texts_of_the_library_are_asked_and_answered(name: str) -> None:
    pytest.importorskip("reasoning_gym")
    task = TextTask(name)
    one, two = (task.draw(6, 4, random_generator(3)) for _ in range(2))
    assert torch.equal(one.tokens, two.tokens)
    pairs = task.pairs(6, 4, random_generator(3))
    for row, (question, answer) in enumerate(pairs):
        if name == "spell_backward":
            assert answer == question[::-1]
        else:
            assert eval(question.removesuffix("=")) == int(answer)
        sentence = one.tokens[row][one.visible[row]].tolist()
        start = len(task.prompt(question))
        assert sentence[:start] == task.prompt(question)
        assert decoded(sentence[start:]) == answer
        assert decoded(one.answers[row][one.asked[row]].tolist()) == answer
        assert int(one.answers[row, -1]) == task.end
