"""On maps with known constants every lower bound is below the truth and every upper bound above it, and the good ones are close."""

from __future__ import annotations

import pytest
import torch

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.errors import BoundOrderError
from eqtheory.lipschitz import (
    Box,
    Everywhere,
    Search,
    exact_jacobian_norm,
    halved_pairs,
    jacobian_norm,
    pair_lower_bound,
    perturbation_lower_bound,
    random_directions,
    steepest,
)
from tests.lipschitz.known_maps import KNOWN, draw

EACH = pytest.mark.parametrize("name", KNOWN)
ROUNDED = 1 + 1e-9  # the closed forms above are good to ten digits


def test_there_are_thirty_of_them() -> None:
    assert len(KNOWN) >= 30


@EACH
def test_jacobian_norms_are_below_and_within_one_percent(name: str) -> None:
    known = KNOWN[name]
    for found in (
        jacobian_norm(known.function, known.points).worst(),
        exact_jacobian_norm(known.function, known.points),
    ):
        value = float(torch.as_tensor(found.value, dtype=torch.float64).max())
        assert found.side is Side.LOWER
        assert value <= known.truth * ROUNDED
        assert value >= 0.99 * known.truth


@EACH
def test_pairs_perturbations_and_searches_are_below(name: str) -> None:
    known = KNOWN[name]
    g = torch.Generator().manual_seed(3)
    centre = known.points
    noise = (
        draw(7, 16, *centre.shape[1:]).abs().clamp(max=2) / 2
        if known.low is None
        else torch.rand(16, *centre.shape[1:], generator=g).double()
    )
    low, high = (-1.0, 1.0) if known.low is None or known.high is None else (known.low, known.high)
    x = low + (high - low) * noise
    z = low + (high - low) * noise.flip(0)
    directions = random_directions(4, tuple(x.shape[1:]), generator=g)
    region = Everywhere() if known.low is None else Box(low, high)
    near = region.project(x + 1e-3)  # so that perturbations stay in the box
    found = [
        pair_lower_bound(known.function, x, z).worst(),
        halved_pairs(known.function, x, z).worst(),
        perturbation_lower_bound(known.function, 0.9 * near, directions, size=1e-2).worst(),
        steepest(
            lambda y, p: known.function(y), x, search=Search(region=region, steps=20, rounds=2, kept=8), generator=g
        ).worst(),
    ]
    for bound in found:
        assert bound.side is Side.LOWER
        assert 0 <= float(bound.value) <= known.truth * ROUNDED
    assert float(found[1].value) >= float(found[0].value) * (1 - 1e-9)


@EACH
def test_upper_bounds_are_above(name: str) -> None:
    known = KNOWN[name]
    assert known.uppers
    for kind, upper in known.uppers.items():
        assert upper() >= known.truth / ROUNDED, kind


@pytest.mark.parametrize("name", [n for n in KNOWN if n.startswith(("convolution", "Fourier", "graph"))])
def test_structured_upper_bounds_are_close(name: str) -> None:
    known = KNOWN[name]
    for kind, upper in known.uppers.items():
        assert upper() <= 1.05 * known.truth, kind


@EACH
def test_brackets_of_best_bounds_do_not_cross_and_wrong_ones_do(name: str) -> None:
    """Planted fault: an upper bound 2% below the truth crosses the Jacobian's lower bound, which is an error."""
    known = KNOWN[name]
    lower = jacobian_norm(known.function, known.points).worst()
    kind, upper = min(((k, u()) for k, u in known.uppers.items()), key=lambda pair: pair[1])
    Bracket(lower, Bound(upper * ROUNDED, Side.UPPER, kind, Evidence.PROVED, "l2"))
    with pytest.raises(BoundOrderError, match=r"one of them is wrong"):
        Bracket(lower, Bound(0.98 * known.truth, Side.UPPER, "wrong", Evidence.PROVED, "l2"))
