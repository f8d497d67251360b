"""Spectral radii and transient growth: brackets that hold for matrices far from normal, and that are close."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.errors import BoundOrderError, ShapeError
from eqtheory.lipschitz import _balancing, _spectrum, spectral_radius, transient_growth
from eqtheory.norms import Sum, Sup, Weighted


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(angle: float, size: float) -> Tensor:
    c, s = size * math.cos(angle), size * math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


KNOWN = {
    "rotation": (rotation(1.0, 0.9), 0.9, True),
    "quarter turn": (rotation(math.pi / 2, 0.999), 0.999, True),
    "sign change": (torch.diag(torch.tensor([-0.9, 0.5], dtype=torch.float64)), 0.9, True),
    "diagonal": (torch.diag(torch.tensor([0.99, 0.5], dtype=torch.float64)), 0.99, False),
    "Jordan block": (torch.tensor([[0.5, 100.0], [0.0, 0.5]], dtype=torch.float64), 0.5, False),
    "shift": (0.99 * torch.diag(torch.ones(7).double(), 1), 0.0, False),
    "zero": (torch.zeros(3, 3).double(), 0.0, False),
    "identity": (torch.eye(4).double(), 1.0, False),
    "huge": (1e200 * rotation(2.0, 1.0), 1e200, True),
    "tiny": (1e-200 * rotation(2.0, 1.0), 1e-200, True),
}


@pytest.mark.parametrize("name", KNOWN)
def test_brackets_hold_and_are_close(name: str) -> None:
    J, truth, oscillates = KNOWN[name]
    found = spectral_radius(J)
    assert float(found.bracket.lower.value) <= truth * (1 + 1e-12)
    assert float(found.bracket.upper.value) >= truth * (1 - 1e-12)
    assert float(found.bracket.upper.value) <= truth * (1 + 1e-3) + 1e-6 * float(J.abs().max() if truth == 0 else 0)
    if name != "shift":
        assert bool(found.oscillates) == oscillates


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 6), skew=st.sampled_from([0.0, 1.0, 100.0, 1e6]))
def test_brackets_hold_for_triangular_matrices_of_any_skewness(seed: int, n: int, skew: float) -> None:
    """The eigenvalues of a triangular matrix stand on its diagonal, exactly."""
    J = torch.diag(draw(seed, n)) + skew * torch.triu(draw(seed + 1, n, n), 1)
    truth = float(J.diagonal().abs().max())
    found = spectral_radius(J).bracket
    assert float(found.lower.value) <= truth * (1 + 1e-12)
    assert float(found.upper.value) >= truth * (1 - 1e-12)


def test_complex_pairs_are_reported() -> None:
    found = spectral_radius(torch.block_diag(rotation(0.7, 0.95), torch.tensor([[0.3]], dtype=torch.float64)))
    lead = found.eigenvalues[:2]
    assert torch.allclose(lead.abs(), torch.full((2,), 0.95).double())
    assert torch.allclose(lead.angle().abs(), torch.full((2,), 0.7).double())
    assert float(found.estimate.value) == pytest.approx(0.95)
    assert "estimate" in str(found.estimate)


def test_batches_are_looked_at_matrix_by_matrix() -> None:
    J = torch.stack(
        [rotation(1.0, 0.9), torch.eye(2).double(), torch.tensor([[0.5, 100.0], [0.0, 0.5]], dtype=torch.float64)]
    )
    together = spectral_radius(J).bracket.upper.value
    alone = torch.stack([spectral_radius(M).bracket.upper.value for M in J])
    assert torch.allclose(together, alone, rtol=1e-12)


@pytest.mark.parametrize("mu", [0.5, 0.9])
@pytest.mark.parametrize("coupling", [0.1, 10.0, 1e4])
def test_transient_growth_of_jordan_blocks(mu: float, coupling: float) -> None:
    """`J^t = mu^t I + t mu^(t-1) c N`: norms by a formula, and their peak over all times."""
    J = torch.tensor([[mu, coupling], [0.0, mu]], dtype=torch.float64)
    found = transient_growth(J, steps=400)
    t = torch.arange(2000).double()
    a, b = mu**t, t * mu ** (t - 1) * coupling
    norms = torch.sqrt((2 * a**2 + b**2 + torch.sqrt((2 * a**2 + b**2) ** 2 - 4 * a**4)) / 2)
    count = len(found.norms)
    assert bool((found.norms >= norms[:count] * (1 - 1e-9)).all())
    assert bool((found.lower <= norms[:count] * (1 + 1e-9)).all())
    assert float(found.peak.upper.value) == pytest.approx(float(norms.max()), rel=1e-6)
    assert float(found.peak.lower.value) == pytest.approx(float(norms.max()), rel=1e-6)


def test_contractions_never_grow_and_rotations_never_settle_below_one() -> None:
    assert float(transient_growth(0.9 * torch.eye(3).double()).peak.upper.value) == 1.0
    assert int(transient_growth(rotation(1.0, 0.9)).settled) == 1
    growing = transient_growth(rotation(1.0, 1.01), steps=50)
    assert int(growing.settled) == -1
    assert float(growing.peak.upper.value) == torch.inf
    assert float(growing.peak.lower.value) == pytest.approx(1.01**50, rel=1e-9)


def test_powers_that_leave_the_range_end_their_own_matrix_only() -> None:
    """Once a matrix that grows ended the whole batch with an error, one norm at a time."""
    together = torch.stack([3 * torch.eye(2), torch.tensor([[0.5, 100.0], [0.0, 0.5]])]).double()
    found = transient_growth(together, steps=1000)
    assert found.settled[0] == -1
    assert bool((found.norms[:300, 0] >= 3.0 ** torch.arange(300).double()).all())
    assert float(found.norms[-1, 0]) == torch.inf
    assert float(found.lower[-1, 0]) == 0.0
    assert float(found.peak.upper.value[0]) == torch.inf
    assert float(found.peak.lower.value[0]) > 1e150
    alone = transient_growth(together[1], steps=1000)
    assert int(found.settled[1]) == int(alone.settled)
    assert torch.equal(found.norms[: len(alone.norms), 1], alone.norms)
    assert float(found.peak.upper.value[1]) == float(alone.peak.upper.value)


def test_bounds_keep_no_graph() -> None:
    J = (0.1 * torch.eye(3)).requires_grad_()
    assert not spectral_radius(J).bracket.upper.value.requires_grad
    assert not transient_growth(J).peak.upper.value.requires_grad


@pytest.mark.parametrize("norm", [Sup(), Sum(), Weighted(torch.tensor([1.0, 1000.0], dtype=torch.float64))])
def test_growth_depends_on_the_norm(norm: object) -> None:
    J = torch.tensor([[0.5, 100.0], [0.0, 0.5]], dtype=torch.float64)
    peak = transient_growth(J, norm=norm).peak  # type: ignore[arg-type]
    if isinstance(norm, Weighted):
        assert float(peak.upper.value) == 1.0  # a contraction in this norm
    else:
        assert float(peak.upper.value) == pytest.approx(100.5, rel=1e-6)


def test_counting_traces_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: the lower side exceeds the upper one, and the bracket refuses it."""
    honest = _spectrum._root

    def doubled(value: Tensor, exponent: Tensor, k: float) -> Tensor:
        return honest(2 * value, exponent, k) if k == 1 else honest(value, exponent, k)

    monkeypatch.setattr(_spectrum, "_root", doubled)
    with pytest.raises(BoundOrderError, match=r"one of them is wrong"):
        spectral_radius(torch.eye(3, dtype=torch.float64))


def test_refusals() -> None:
    with pytest.raises(ShapeError, match=r"matrix: got shape \(2, 3\), needed a real \(\.\.\., n, n\)"):
        spectral_radius(torch.ones(2, 3))


def exact_radius_of_cycle(entries: list[float]) -> float:
    """A weighted cycle of `n` has the eigenvalues `(product)^(1/n)` times the roots of unity."""
    logs = [math.log2(abs(v)) for v in entries]
    return 2.0 ** (math.fsum(logs) / len(logs))


CYCLES = {
    "far apart": [1e-140, 1e140],
    "as far as it goes": [5e-324, 1.7e308],
    "so far that the upper bound was 0": [1e-300, 1e300],
    "four": [1e-250, 1e200, 1e-200, 1e250],
    "subnormal": [3e-310, 7e-320],
    "huge": [1.7e308, 1e308],
}


@pytest.mark.parametrize("name", CYCLES)
def test_entries_may_differ_by_the_range_of_the_type(name: str) -> None:
    entries = CYCLES[name]
    n = len(entries)
    J = torch.zeros(n, n).double()
    for i, v in enumerate(entries):
        J[i, (i + 1) % n] = v
    truth = exact_radius_of_cycle(entries)
    found = spectral_radius(J).bracket
    assert truth * (1 - 1e-5) <= float(found.lower.value) <= truth * (1 + 1e-12)
    assert truth * (1 - 1e-12) <= float(found.upper.value) <= truth * (1 + 1e-5)


@pytest.mark.parametrize(("scale", "least"), [(1e-310, 1e-310), (1e-320, 1e-320), (1e150, 1e150)])
def test_subnormal_matrices_have_no_radius_of_zero(scale: float, least: float) -> None:
    found = spectral_radius(torch.diag(torch.tensor([scale, scale / 100], dtype=torch.float64))).bracket
    assert float(found.lower.value) <= least <= float(found.upper.value)
    assert float(found.upper.value) <= least * (1 + 1e-3)


def test_strongly_skewed_triangular_matrices_are_bracketed_closely() -> None:
    """Upper sides were 4 and 170 times the truth: scaling can decouple a triangular matrix as far as the type reaches."""
    for n, skew in ((20, 100.0), (6, 1e6)):
        J = torch.diag(draw(5, n)) + skew * torch.triu(draw(6, n, n), 1)
        truth = float(J.diagonal().abs().max())
        assert truth * (1 - 1e-12) <= float(spectral_radius(J).bracket.upper.value) <= truth * (1 + 1e-3)


def test_a_power_that_has_cancelled_to_nothing_does_not_end_in_an_upper_bound_of_zero() -> None:
    """Errors that overflow became NaN, and NaN became 0: the Jordan block of size 10 had the bracket [0.9, 0]."""
    J = 0.9 * torch.eye(10).double() + 10 * torch.diag(torch.ones(9).double(), 1)
    for squarings in (24, 60):
        assert 0.9 <= float(spectral_radius(J, squarings=squarings).bracket.upper.value) <= 0.95
    shift = spectral_radius(torch.diag(torch.ones(99).double(), 1)).bracket
    assert 0 < float(shift.upper.value) < 1e-3


def test_radii_beyond_the_range_are_bracketed_by_its_end() -> None:
    found = spectral_radius(torch.full((5, 5), 1e308, dtype=torch.float64)).bracket
    assert float(found.lower.value) == torch.finfo(torch.float64).max
    assert float(found.upper.value) == torch.inf


def test_powers_of_two_are_exact() -> None:
    k = torch.arange(-1022, 1024)
    assert _balancing.power_of_two(k).tolist() == [math.ldexp(1.0, e) for e in k.tolist()]
    assert float(_balancing.scaled(torch.tensor(5e-324, dtype=torch.float64), torch.tensor(2097))) == 2.0**1023
