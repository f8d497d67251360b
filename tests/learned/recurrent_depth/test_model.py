"""The recurrent-depth transformer: its sizes, laws, derivatives, and the operator that the rest of the library takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from eqtheory.errors import InputError, ShapeError
from eqtheory.gradients import Implicit, Phantom
from eqtheory.learned.recurrent_depth import (
    BlockSize,
    ExplicitTransformer,
    Prompt,
    RecurrentDepthSize,
    RecurrentDepthTransformer,
    StateChange,
    exit_distances,
)
from eqtheory.learned.recurrent_depth._geometry import geometry_of, rotate
from eqtheory.lipschitz import curve
from eqtheory.solvers import Picard, Stop, fixed_point

SIZE = RecurrentDepthSize(11, BlockSize(16, 2, 24), prelude=1, core=2, coda=1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def contracting(factor: float = 0.2) -> RecurrentDepthTransformer:
    """A model whose core forgets its state quickly."""
    model = RecurrentDepthTransformer(SIZE, generator=seeded(0)).double()
    with torch.no_grad():
        model.inject.weight[:, : SIZE.block.width] *= factor
    return model


def tokens(seed: int = 1, rows: int = 3, length: int = 5) -> Tensor:
    return torch.randint(11, (rows, length), generator=seeded(seed))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (0, 2, 0), (2, 3, 1)])
def test_parameters_are_counted_and_the_explicit_model_has_as_many(sizes: tuple[int, int, int]) -> None:
    size = RecurrentDepthSize(11, BlockSize(16, 2, 24), *sizes)
    counted = sum(p.numel() for p in RecurrentDepthTransformer(size).parameters())
    assert counted == size.parameters
    explicit = ExplicitTransformer.of_same_parameters(size)
    assert counted <= sum(p.numel() for p in explicit.parameters()) <= counted + 3 * 16 * size.blocks
    deep = ExplicitTransformer.of_same_depth(size, 5)
    assert len(deep.blocks) == size.depth(5) == sizes[0] + 5 * sizes[1] + sizes[2]


def test_weights_come_from_the_generator_alone() -> None:
    one, two, other = (RecurrentDepthTransformer(SIZE, generator=seeded(s)).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_products_of_rotated_vectors_depend_on_the_distance_of_places_alone() -> None:
    size = BlockSize(16, 1, 16, rotated=0.5)
    q, k = (torch.randn(16, generator=seeded(s), dtype=torch.float64) for s in (0, 1))
    where = geometry_of(torch.ones(1, 50, dtype=torch.bool), size, torch.float64)
    turned_q, turned_k = (rotate(v.expand(1, 1, 50, 16), where)[0, 0] for v in (q, k))
    products = turned_q @ turned_k.T
    for distance in (0, 1, 7, 30):
        along = products.diagonal(-distance)
        assert torch.allclose(along, along[:1].expand_as(along), rtol=1e-12, atol=1e-12)
    assert torch.allclose(products[0, 0], q @ k, rtol=1e-12)
    assert not torch.allclose(products[1, 0], products[0, 0], rtol=1e-3)
    assert torch.equal(turned_q[:, size.turned :], q[size.turned :].expand(50, -1))
    none = geometry_of(torch.ones(1, 3, dtype=torch.bool), BlockSize(16, 1, 16, rotated=0.0), torch.float64)
    assert torch.equal(rotate(q.expand(1, 1, 3, 16), none), q.expand(1, 1, 3, 16))


def test_places_do_not_see_later_ones() -> None:
    model, sentence = contracting().requires_grad_(requires_grad=False), tokens()
    other = sentence.clone()
    other[:, 3:] = (other[:, 3:] + 1) % 11
    before, after = model(sentence, steps=4), model(other, steps=4)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:], rtol=1e-3)
    explicit = ExplicitTransformer.of_same_depth(SIZE, 2, generator=seeded(0)).requires_grad_(requires_grad=False)
    assert torch.allclose(explicit(sentence)[:, :3], explicit(other)[:, :3])


@pytest.mark.parametrize("left", [True, False])
def test_padding_changes_nothing(left: bool) -> None:
    model, sentence = contracting().requires_grad_(requires_grad=False), tokens()
    alone = model(sentence, steps=4)
    junk, hidden = tokens(2, 3, 4), torch.zeros(3, 4, dtype=torch.bool)
    seen = torch.ones_like(sentence, dtype=torch.bool)
    parts = ((junk, sentence), (hidden, seen)) if left else ((sentence, junk), (seen, hidden))
    padded, visible = (torch.cat(pair, dim=1) for pair in parts)
    found = model(padded, visible, steps=4)[visible].reshape(alone.shape)
    assert torch.allclose(found, alone, rtol=1e-10, atol=1e-12)
    x = model.embed(padded, visible)
    assert bool((model.latent(x, 3)[~visible] == 0).all())
    explicit = (
        ExplicitTransformer.of_same_depth(SIZE, 2, generator=seeded(0)).double().requires_grad_(requires_grad=False)
    )
    assert torch.allclose(explicit(padded, visible)[visible].reshape(alone.shape), explicit(sentence), rtol=1e-10)


def test_the_prompt_is_injected_in_every_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    model = contracting().requires_grad_(requires_grad=False)
    one, two = model.embed(tokens(1)), model.embed(tokens(2))

    def apart(steps: int) -> float:
        return float((model.latent(one, steps) - model.latent(two, steps)).norm())

    assert apart(40) > 1.0
    # The fault: a prompt that is forgotten leaves one answer for all.
    right = model.step
    monkeypatch.setattr(model, "step", lambda y, embedded, where: right(y, torch.zeros_like(embedded), where))
    assert apart(40) == 0.0


def test_the_operator_is_the_core_and_starts_at_zero() -> None:
    model = contracting().requires_grad_(requires_grad=False)
    x, G = model.embed(tokens()), model.operator()
    y = G.initial_state(x)
    assert bool((y == 0).all())
    for _ in range(3):
        y = G(y, x)
    assert torch.equal(y, model.latent(x, 3))
    with pytest.raises(InputError, match=r"x: got Tensor, needed a Prompt; pass model.embed"):
        G(y, x.embedded)
    with pytest.raises(ShapeError, match=r"y: got shape \(3, 4, 16\), needed that of the embedded prompt"):
        G(y[:, :4], x)


def test_solvers_and_curves_take_the_operator() -> None:
    model = contracting().requires_grad_(requires_grad=False)
    x, G = model.embed(tokens()), model.operator()
    found = fixed_point(G, x, solver=Picard(), stop=Stop(rtol=1e-10, max_steps=60))
    assert bool(found.converged.all())
    assert torch.allclose(found.value, model.latent(x, 60), rtol=1e-8, atol=1e-8)
    slopes = curve(G, x, 8, block=2, other_starts=[model.start(x, scale=1.0, generator=seeded(5))])
    assert slopes.lower[0].tolist() == [0.0] * 3
    assert float(slopes.worst()[-1]) > float(slopes.worst()[1]) * 0.5 > 0
    assert torch.allclose(slopes.lower[-1], slopes.lower[-2], rtol=1e-3)  # T5b: levelled off


def test_slopes_of_the_curve_are_those_of_pairs() -> None:
    model = contracting().requires_grad_(requires_grad=False)
    x = model.embed(tokens(rows=1))
    v = torch.randn(x.embedded.shape, generator=seeded(3), dtype=torch.float64)
    v = v / v.norm()
    h = 1e-6
    ends = [model.latent(Prompt(x.embedded + sign * h * v, x.visible), 4) for sign in (1, -1)]
    along = float((ends[0] - ends[1]).norm()) / (2 * h)
    found = curve(model.operator(), x, 4, block=v.reshape(1, -1))
    assert float(found.lower[-1, 0]) == pytest.approx(along, rel=1e-6)


def test_derivatives_go_through_the_last_iterations_alone() -> None:
    model = contracting(0.5)
    x = model.embed(tokens())
    weight = model.inject.weight
    direction = torch.randn(x.embedded.shape, generator=seeded(7), dtype=torch.float64)

    def slope(y: Tensor) -> Tensor:
        return torch.autograd.grad((y * direction).sum(), weight, retain_graph=True)[0]

    cut, whole = slope(model.latent(x, 7, through=2)), slope(model.latent(x, 7))
    assert torch.allclose(cut, slope(model.latent(x, 2, y0=model.latent(x, 5).detach())), rtol=1e-12)
    assert not torch.allclose(cut, whole, rtol=1e-3)


def test_equilibrium_gradients_are_those_of_many_iterations() -> None:
    model = contracting()
    sentence = tokens(rows=1, length=2)
    weight = model.inject.weight
    direction = torch.randn(1, 2, 16, generator=seeded(7), dtype=torch.float64)
    stop = Stop(rtol=1e-11, max_steps=60)
    exact = model.equilibrium(model.embed(sentence), stop=stop, solver=Picard(), gradient=Implicit())
    cheap = model.equilibrium(model.embed(sentence), stop=stop, solver=Picard(), gradient=Phantom(15, 1.0))
    long = model.latent(model.embed(sentence), 30)
    expected = torch.autograd.grad((long * direction).sum(), weight)[0]
    for found in (exact, cheap):
        assert torch.allclose(
            torch.autograd.grad((found.value * direction).sum(), weight)[0], expected, rtol=1e-5, atol=1e-8
        )


def test_distances_at_exits_are_those_to_the_fixed_point() -> None:
    model = contracting(0.5).requires_grad_(requires_grad=False)
    x = model.embed(tokens())
    found = exit_distances(model, x, StateChange(20, below=0.1), settled=60)
    end = model.latent(x, 60)[:, -1]
    for k, t in enumerate(found.steps.tolist()):
        at = model.latent(x, t)[k, -1]
        assert float(found.distance[k]) == pytest.approx(float((at - end[k]).norm() / end[k].norm()), rel=1e-9)
        assert int(found.answers[k]) == int(model(tokens(), steps=t)[k, -1].argmax())
    assert float(found.change.max()) <= 0.1
    with pytest.raises(InputError, match="settled: got 30, needed more than max_steps = 30"):
        exit_distances(model, x, StateChange(30), settled=30)
    with pytest.raises(InputError, match="x: got sentences that end before the last place"):
        exit_distances(model, Prompt(x.embedded, x.visible.clone().fill_(value=False)), StateChange(3), settled=9)


def test_what_can_not_be_read_is_refused_with_advice() -> None:
    model = contracting()
    with pytest.raises(ShapeError, match=r"tokens: got shape \(3,\), needed \(batch, length\)"):
        model(torch.tensor([1, 2, 3]))
    with pytest.raises(InputError, match=r"tokens: got dtype torch.float32, needed int64"):
        model(torch.zeros(1, 2))
    with pytest.raises(ShapeError, match="visible: got shape"):
        model(tokens(), torch.ones(3, 4, dtype=torch.bool))
    with pytest.raises(InputError, match=r"visible: got dtype torch.int64, needed booleans"):
        model(tokens(), torch.ones(3, 5, dtype=torch.int64))
    with pytest.raises(InputError, match="steps: got 0"):
        model(tokens(), steps=0)
    with pytest.raises(InputError, match="heads: got 3, needed a divisor of the width 16"):
        BlockSize(16, 3)
    with pytest.raises(InputError, match=r"rotated: got 1\.5"):
        BlockSize(16, 2, rotated=1.5)
    with pytest.raises(InputError, match="core: got 0"):
        RecurrentDepthSize(11, core=0)
    with pytest.raises(InputError, match="prelude: got -1"):
        RecurrentDepthSize(11, prelude=-1)
    with pytest.raises(InputError, match="depth: got 0"):
        ExplicitTransformer(11, SIZE.block, 0)


def test_it_is_a_module_of_the_usual_kind() -> None:
    model = RecurrentDepthTransformer(SIZE, generator=seeded(0))
    assert isinstance(model, nn.Module)
    again = RecurrentDepthTransformer(SIZE, generator=seeded(1))
    again.load_state_dict(model.state_dict())
    assert torch.equal(model(tokens(), steps=2), again(tokens(), steps=2))
