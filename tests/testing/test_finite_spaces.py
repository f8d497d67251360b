"""The generator of hostile spaces draws metrics, maps and every regime it names, the same ones each time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eqtheory.constructions import exact_ball_radii
from eqtheory.errors import InputError
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.testing.finite_spaces import METRIC_REGIMES, VALUE_REGIMES, FiniteBatch, draw_finite_spaces

NORMS: tuple[Norm, ...] = (Euclidean(), Sup(), Sum())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(
    seed: int = 1, *, batch: int = 144, points: int = 5, dimension: int = 2, norm: Norm | None = None
) -> FiniteBatch:
    return draw_finite_spaces(
        batch=batch, points=points, dimension=dimension, norm=norm or Sup(), generator=seeded(seed)
    )


def axioms_broken(d: Tensor) -> list[str]:
    """Names of the metric axioms that fail beyond rounding."""
    detour = (d.unsqueeze(3) + d.unsqueeze(1)).amin(dim=2)  # shortest way through a third point
    # Euclidean distances round 5 times, relative to each of the three.
    checks = {
        "zero on the diagonal": bool((d.diagonal(dim1=1, dim2=2) == 0).all()),
        "not negative": bool((d >= 0).all()),
        "symmetric": bool((d == d.mT).all()),
        "triangle inequality": bool((d <= detour * (1 + 16 * 2.0**-53)).all()),
    }
    return [name for name, holds in checks.items() if not holds]


@pytest.mark.parametrize("regime", METRIC_REGIMES)
@pytest.mark.parametrize("points", [1, 2, 7])
def test_every_metric_regime_obeys_the_axioms(regime: str, points: int) -> None:
    d = METRIC_REGIMES[regime](seeded(2), 200, points)
    assert d.shape == (200, points, points)
    assert d.dtype is torch.float64
    assert axioms_broken(d) == []


@pytest.mark.parametrize(
    ("damage", "axiom"),
    [
        (lambda d: d + torch.eye(4), "zero on the diagonal"),
        (lambda d: -d, "not negative"),
        (lambda d: d.triu(), "symmetric"),
        (lambda d: d.square(), "triangle inequality"),
    ],
)
def test_what_is_no_metric_breaks_an_axiom(damage: object, axiom: str) -> None:
    assert axiom in axioms_broken(damage(METRIC_REGIMES["line"](seeded(3), 50, 4)))  # type: ignore[operator]


def scale_of(regime: str) -> tuple[float, float]:
    d = METRIC_REGIMES[regime](seeded(4), 500, 6)
    positive = d[d > 0]
    return float(positive.min()), float(positive.max())


def test_regimes_are_what_their_names_say() -> None:
    assert scale_of("tiny distances")[1] <= 2e-6
    assert scale_of("huge distances")[1] > 1e6
    low, high = scale_of("distances around 1")
    assert 0.75 < low < 1 < high < 1.5
    clusters = METRIC_REGIMES["two clusters"](seeded(5), 100, 6)
    assert bool(((clusters < 0.2) | (clusters > 4.8)).all())
    words = METRIC_REGIMES["ultrametric"](seeded(6), 100, 6)
    assert set(words.unique().tolist()) <= {0.0, *(2.0 ** (1 - k) for k in range(6))}
    assert bool(
        (words <= torch.maximum(words.unsqueeze(3), words.unsqueeze(1)).amin(dim=2)).all()
    )  # the strong inequality
    assert bool((words == 0).sum() > 600)  # words coincide, so pseudometrics are drawn as well
    geometric = METRIC_REGIMES["geometric sequence"](seeded(7), 50, 5)
    steps = geometric[:, range(4), range(1, 5)]
    ratio = steps[:, 1:] / steps[:, :-1]
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-9)


@pytest.mark.parametrize("regime", VALUE_REGIMES)
def test_value_regimes_are_what_their_names_say(regime: str) -> None:
    d = METRIC_REGIMES["line"](seeded(8), 100, 5)
    values = VALUE_REGIMES[regime](seeded(9), d, 3)
    assert values.shape == (100, 5, 3)
    assert bool(torch.isfinite(values).all())
    sizes = Sup()(values.flatten(0, 1))
    if regime == "large values":
        assert float(sizes.median()) > 1e5
    if regime == "mixed magnitudes":
        assert float(sizes.max() / sizes.min()) > 1e4
    if regime == "zero or large":
        assert set(values.unique().tolist()) == {0.0, 10.0}
    if regime == "constant slope":
        space = FiniteBatch(d, values, Sup())
        steepest = space.slopes().flatten(1).amax(dim=1)
        to_first = space.slopes()[:, 0].amax(dim=1)
        assert torch.allclose(steepest, to_first, rtol=1e-12)
    if regime == "alternating at the critical distance":
        assert bool((values[:, ::2] > 0).all())
        assert bool((values[:, 1::2] < 0).all())


def test_every_combination_is_drawn_and_counted() -> None:
    combinations = {f"{m} / {v}" for m in METRIC_REGIMES for v in VALUE_REGIMES}
    for batch in (48, 50, 144):
        spaces = draw(batch=batch)
        assert len(spaces) == len(spaces.regimes) == batch
        assert set(spaces.regimes) == combinations
        counts = spaces.regime_counts()
        assert set(counts) == {*METRIC_REGIMES, *VALUE_REGIMES}
        assert sum(counts[m] for m in METRIC_REGIMES) == sum(counts[v] for v in VALUE_REGIMES) == batch
        assert min(counts.values()) > 0


def test_labels_belong_to_their_spaces() -> None:
    spaces = draw()
    for regime, check in (
        ("tiny distances", lambda d: d < 1e-5),
        ("distances around 1", lambda d: (d == 0) | (d > 0.7)),
    ):
        mine = [i for i, label in enumerate(spaces.regimes) if label.startswith(regime)]
        assert bool(check(spaces.distances[mine]).all())
        assert spaces.describe(mine[0]).startswith(f"{regime} / ")


@pytest.mark.parametrize("norm", NORMS, ids=lambda n: n.name)
def test_coinciding_points_carry_one_value(norm: Norm) -> None:
    spaces = draw(batch=480, points=8, norm=norm)
    same = (spaces.distances == 0) & ~torch.eye(8, dtype=torch.bool)
    assert int(same.sum()) > 20
    assert bool((spaces.gaps(spaces.values)[same] == 0).all())
    assert bool(torch.isfinite(spaces.slopes()).all())


def test_the_same_generator_state_draws_the_same_spaces() -> None:
    a, b, c = draw(1), draw(1), draw(2)
    assert torch.equal(a.distances, b.distances)
    assert torch.equal(a.values, b.values)
    assert not torch.equal(a.values, c.values)


@pytest.mark.parametrize("norm", NORMS, ids=lambda n: n.name)
def test_sizes_gaps_and_slopes_are_those_of_single_spaces(norm: Norm) -> None:
    spaces = draw(norm=norm, points=4)
    slopes, radii = spaces.slopes(), spaces.radii()
    for b in (0, 50, 143):
        values, distances = spaces.values[b], spaces.distances[b]
        assert torch.equal(spaces.sizes[b], norm(values))
        for i in range(4):
            gap = norm(values[i] - values)
            expected = torch.where(distances[i] > 0, gap / torch.where(distances[i] > 0, distances[i], 1.0), 0.0)
            assert torch.equal(slopes[b, i], expected)
        alone = exact_ball_radii(distances, norm(values).expand(4, 4), slopes[b].expand(4, 4, 4))
        assert torch.equal(radii[0][b], alone[0])
        assert torch.equal(radii[1][b], alone[1])


def test_radii_from_other_parts_are_how_wrong_constructions_are_made() -> None:
    spaces = draw()
    assert torch.equal(spaces.radii_from(spaces.sizes, spaces.slopes())[0], spaces.radii()[0])
    blind = spaces.radii_from(spaces.sizes, torch.zeros_like(spaces.slopes()))
    assert torch.equal(blind[0], spaces.radii()[1])  # without slopes rho is sigma
    wide = spaces.radii_from(spaces.sizes, spaces.slopes(), distances=2 * spaces.distances)[0]
    assert bool((wide >= spaces.radii()[0]).all())
    assert bool((wide > spaces.radii()[0]).any())


def test_a_space_without_a_label_is_described_all_the_same() -> None:
    one = FiniteBatch(torch.zeros(1, 1, 1), torch.full((1, 1, 1), 2.0), Sup())
    assert one.describe(0) == "given; d = [[0.0]]; F = [[2.0]]"


@pytest.mark.parametrize("batch", [0, 1, 47])
def test_a_batch_that_cannot_hold_all_combinations_is_refused(batch: int) -> None:
    with pytest.raises(InputError) as caught:
        draw(batch=batch)
    assert str(caught.value) == (f"batch: got {batch}, needed at least 48; every combination of regimes is drawn")
