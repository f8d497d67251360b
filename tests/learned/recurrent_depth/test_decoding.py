"""Decoding: with the cache as without, in company as alone, and the faults that would break either are caught."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory.errors import InputError, NonFiniteError
from eqtheory.learned.recurrent_depth import (
    BlockSize,
    Cache,
    Decoded,
    ExitRule,
    FixedSteps,
    OutputDivergence,
    RecurrentDepthSize,
    RecurrentDepthTransformer,
    StateChange,
    SteadyAnswer,
    decode,
)
from eqtheory.learned.recurrent_depth import _geometry as geometry
from eqtheory.learned.recurrent_depth import _model as models

SIZE = RecurrentDepthSize(13, BlockSize(16, 2, 24), prelude=1, core=2, coda=1)
PROMPTS = [[1, 2, 3, 4, 5, 6, 7], [8], [9, 10, 11], [3, 1, 4, 1, 5]]
RULES = [FixedSteps(5), StateChange(9, below=0.3), OutputDivergence(9, below=0.02), SteadyAnswer(9, patience=3)]


def small(seed: int = 0, size: RecurrentDepthSize = SIZE) -> RecurrentDepthTransformer:
    model = RecurrentDepthTransformer(size, generator=torch.Generator().manual_seed(seed)).double()
    with torch.no_grad():  # so that states come to rest, some sooner than others
        model.inject.weight[:, : size.block.width] *= 0.4
    return model.requires_grad_(requires_grad=False)


def over_whole_sentences(model: RecurrentDepthTransformer, prompt: list[int], steps: int, new: int) -> list[int]:
    """What decoding means: a pass over the whole sentence for every token."""
    sentence = list(prompt)
    for _ in range(new):
        logits = model(torch.tensor([sentence]), steps=steps)
        sentence.append(int(logits[0, -1].argmax()))
    return sentence[len(prompt) :]


def agree(together: Decoded, alone: list[Decoded]) -> bool:
    """Whether tokens and iterations in company are those alone; ties within rounding would be told by the margins."""
    assert float(together.margins.min()) > 1e-9
    return all(
        torch.equal(together.tokens[k], one.tokens[0]) and torch.equal(together.steps[k], one.steps[0])
        for k, one in enumerate(alone)
    )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("sizes", [(1, 1, 1), (0, 2, 0), (2, 1, 0), (0, 1, 2)])
def test_the_cache_computes_what_passes_over_whole_sentences_compute(sizes: tuple[int, int, int], seed: int) -> None:
    model = small(seed, RecurrentDepthSize(13, SIZE.block, *sizes))
    found = decode(model, PROMPTS, FixedSteps(4), new=4)
    assert found.tokens.tolist() == [over_whole_sentences(model, prompt, 4, 4) for prompt in PROMPTS]


@pytest.mark.parametrize("rule", RULES)
def test_sentences_in_company_are_decoded_as_if_alone(rule: ExitRule) -> None:
    model = small()
    together = decode(model, PROMPTS, rule, new=4, traced=True)
    alone = [decode(model, [prompt], rule, new=4, traced=True) for prompt in PROMPTS]
    assert agree(together, alone)
    for k, one in enumerate(alone):
        assert torch.allclose(together.change[k], one.change[0], rtol=1e-9, atol=1e-12)
        assert together.guesses is not None
        assert one.guesses is not None
        assert torch.equal(together.guesses[k], one.guesses[0])


def test_rules_stop_different_tokens_after_different_numbers_of_iterations() -> None:
    found = decode(small(), PROMPTS, StateChange(20, below=0.05), new=4)
    assert int(found.steps.min()) < int(found.steps[found.steps < 20].max())
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    stopped = found.change[rows, columns, found.steps - 1] <= 0.05
    assert torch.equal(stopped, found.steps < 20)
    assert bool((found.change[rows, columns, found.steps - 2] > 0.05).all())


def test_traces_say_what_would_have_been_decoded() -> None:
    model = small()
    found = decode(model, PROMPTS, FixedSteps(6), new=1, traced=True)
    assert found.guesses is not None
    for t in range(1, 7):
        assert found.guesses[:, 0, t - 1].tolist() == decode(model, PROMPTS, FixedSteps(t), new=1).tokens[:, 0].tolist()
    assert decode(model, PROMPTS, FixedSteps(6), new=1).guesses is None


def test_sentences_end_at_their_end_token() -> None:
    model = small()
    free = decode(model, PROMPTS, FixedSteps(4), new=8)
    end = int(free.tokens[0, 2])
    found = decode(model, PROMPTS, FixedSteps(4), new=8, end=end)
    for k, sentence in enumerate(found.sentences()):
        whole = free.tokens[k].tolist()
        assert sentence == (whole[: whole.index(end) + 1] if end in whole else whole)
        assert found.tokens[k, len(sentence) :].tolist() == [end] * (found.tokens.shape[1] - len(sentence))
        assert bool((found.steps[k, len(sentence) :] == 0).all())


def test_what_can_not_be_decoded_is_refused_with_advice() -> None:
    model = small()
    with pytest.raises(InputError, match="prompts: got an empty sentence at index 1, needed at least one token"):
        decode(model, [[1], []], FixedSteps(2), new=1)
    with pytest.raises(InputError, match="prompts: got no sentence"):
        decode(model, [], FixedSteps(2), new=1)
    with pytest.raises(InputError, match="tokens: got tokens from 1 to 13, needed 0 <= token < 13"):
        decode(model, [[1, 13]], FixedSteps(2), new=1)
    with pytest.raises(InputError, match="new: got 0"):
        decode(model, [[1]], FixedSteps(2), new=0)
    with pytest.raises(InputError, match="end: got 13, needed 0 <= end < 13"):
        decode(model, [[1]], FixedSteps(2), new=1, end=13)
    model.head.weight[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="model: got logits with a NaN or an infinity"):
        decode(model, [[1]], FixedSteps(2), new=1)


# Planted faults: each is one line that goes wrong easily, and each is seen by the comparison above it.


def differs_from_whole_sentences(model: RecurrentDepthTransformer) -> bool:
    found = decode(model, PROMPTS, FixedSteps(4), new=4)
    return found.tokens.tolist() != [over_whole_sentences(model, prompt, 4, 4) for prompt in PROMPTS]


def test_a_mask_that_forgets_the_padding_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = geometry.geometry_of

    def wrong(visible: Tensor, *rest: object, **options: object) -> geometry.Geometry:
        return right(torch.ones_like(visible), *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "geometry_of", wrong)
    assert not agree(
        decode(small(), PROMPTS, FixedSteps(4), new=4),
        [decode(small(), [prompt], FixedSteps(4), new=4) for prompt in PROMPTS],
    )


def test_a_mask_that_sees_the_future_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = geometry.geometry_of

    def wrong(visible: Tensor, *rest: object, **options: object) -> geometry.Geometry:
        found = right(visible, *rest, **options)  # type: ignore[arg-type]
        allowed = visible[:, None, None, :].expand_as(found.allowed)
        return geometry.Geometry(found.cos, found.sin, allowed, found.visible)

    monkeypatch.setattr(models, "geometry_of", wrong)
    assert differs_from_whole_sentences(small())


def test_positions_that_count_the_padding_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = geometry.geometry_of

    def wrong(visible: Tensor, *rest: object, **options: object) -> geometry.Geometry:
        found = right(visible, *rest, **options)  # type: ignore[arg-type]
        counted = right(torch.ones_like(visible), *rest, **options)  # type: ignore[arg-type]
        late = 2 if found.cos.shape[2] == 1 else 1  # the first new place is one too far
        return geometry.Geometry(counted.cos * late - found.cos * (late - 1), found.sin, found.allowed, found.visible)

    monkeypatch.setattr(models, "geometry_of", wrong)
    assert differs_from_whole_sentences(small())


def test_a_cache_that_is_off_by_one_iteration_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Cache.core
    monkeypatch.setattr(Cache, "core", lambda self, block, iteration: right(self, block, max(0, iteration - 1)))
    assert differs_from_whole_sentences(small())


def test_a_cache_that_is_off_by_one_place_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Cache.core

    def wrong(self: Cache, block: int, iteration: int) -> tuple[Tensor, Tensor]:
        keys, values = right(self, block, iteration)
        return keys.roll(1, dims=2), values

    monkeypatch.setattr(Cache, "core", wrong)
    assert differs_from_whole_sentences(small())


def test_a_cache_that_forgets_who_is_at_rest_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Cache.advance
    rule = StateChange(20, below=0.05)
    monkeypatch.setattr(Cache, "advance", lambda self, new, used: right(self, new, torch.full_like(used, 20)))
    together = decode(small(), PROMPTS, rule, new=4)
    monkeypatch.setattr(Cache, "advance", right)
    assert not agree(together, [decode(small(), [prompt], rule, new=4) for prompt in PROMPTS])
