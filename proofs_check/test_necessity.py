"""T2 under attack: the slope of a fixed-point map between any two inputs, from the operator's constants alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, target
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.norms import Euclidean, Norm, Spectral, Sup
from eqtheory.roundoff import gamma, unit_roundoff
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.finite_spaces import draw_finite_spaces
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.theorems.necessity import local_rate, pairwise_slope
from proofs_check import controls
from proofs_check.instances import MANY, generator

BATCH = 512


@dataclass(frozen=True)
class Pairs:
    """Pairs of inputs of one regular operator, with everything T2 speaks about."""

    family: str
    gap: Tensor
    norm_a: Tensor
    norm_b: Tensor
    mu_a: Tensor
    mu_b: Tensor
    delta: Tensor
    L0: Tensor | float
    L1: Tensor | float
    ulps: Tensor | float

    def slack(self) -> Tensor:
        """The gap is a difference of two values of relative error `ulps u`, and `1 - mu` may have lost `u / (1 - mu)`."""
        values = unit_roundoff(torch.float64) * (self.ulps + 4) * (self.norm_a + self.norm_b)
        rhs = (self.L0 + self.L1 * self.norm_a) / (1 - self.mu_b) * self.delta
        return values + gamma(16, torch.float64) / (1 - self.mu_b) * rhs

    def describe(self, index: int) -> str:
        i = index % self.gap.shape[0]
        parts = {
            k: float(torch.as_tensor(v).expand_as(self.gap)[i])
            for k, v in self.__dict__.items()
            if k not in ("family", "ulps")
        }
        return f"{self.family}: {parts}"


def spread(shape: tuple[int, ...], decades: float, g: torch.Generator) -> Tensor:
    """Log-uniform numbers in `(10^-decades, 1)`."""
    return 10.0 ** (-decades * torch.rand(shape, generator=g, dtype=torch.float64))


def reciprocals(g: torch.Generator) -> Iterator[Pairs]:
    eta = 0.01 + 0.98 * torch.rand(BATCH, generator=g, dtype=torch.float64)
    a, b = spread((BATCH,), 4, g), spread((BATCH,), 4, g)
    b = torch.where(torch.arange(BATCH) % 3 == 0, a * (1 - 0.1 * b), b)
    yield Pairs(
        "1/x on (0,1]",
        (1 / a - 1 / b).abs(),
        mu_a=1 - eta * a,
        mu_b=1 - eta * b,
        delta=(a - b).abs(),
        L0=0.0,
        L1=eta,
        norm_a=1 / a,
        norm_b=1 / b,
        ulps=2.0,
    )
    sign = torch.where(torch.rand(BATCH, generator=g) < 0.5, -1.0, 1.0).double()
    yield Pairs(
        "1/x across 0",
        (1 / a - sign / b).abs(),
        mu_a=1 - eta * a * a,
        mu_b=1 - eta * b * b,
        delta=(a - sign * b).abs(),
        L0=eta,
        L1=2 * eta,
        norm_a=1 / a,
        norm_b=1 / b,
        ulps=2.0,
    )


def inverses(g: torch.Generator, n: int, norm: Norm) -> Iterator[Pairs]:
    count = BATCH // 4
    left, right = (torch.linalg.qr(torch.randn(2, count, n, n, generator=g, dtype=torch.float64)).Q for _ in range(2))
    values = spread((2, count, n), 2, g)
    A, B = (left * values.unsqueeze(-2)) @ right
    B = torch.where((torch.arange(count) % 2 == 0).reshape(-1, 1, 1), B, 0.9 * A + 0.1 * B)
    inverse_a, inverse_b = torch.linalg.inv(A), torch.linalg.inv(B)
    least_a, least_b = torch.linalg.svdvals(A)[:, -1], torch.linalg.svdvals(B)[:, -1]
    yield Pairs(
        f"inverse, {norm.name}",
        norm.distance(inverse_a, inverse_b),
        norm(inverse_a),
        norm(inverse_b),
        1 - least_a**2,
        1 - least_b**2,
        norm.distance(A, B),
        1.0,
        2.0,
        # The inverse is computed with relative error about n cond(A) u, and |A| <= 1.
        ulps=20 * n / torch.minimum(least_a, least_b),
    )


def moving_factors(g: torch.Generator) -> Iterator[Pairs]:
    """`G = m(x) y + L0 s(x)` with `m = m0 (1 + sin x)/2`, `s = sin`: `L1 = m0/2`, `mu(x) = m(x)`, `y* = L0 s / (1 - m)`."""
    m0 = 1 - spread((BATCH,), 3, g) * 0.9
    L0 = 10.0 ** (4 * torch.rand(BATCH, generator=g, dtype=torch.float64) - 2)
    a = 20 * torch.rand(BATCH, generator=g, dtype=torch.float64) - 10
    b = a + spread((BATCH,), 6, g)
    mu_a, mu_b = m0 * (1 + a.sin()) / 2, m0 * (1 + b.sin()) / 2
    y_a, y_b = L0 * a.sin() / (1 - mu_a), L0 * b.sin() / (1 - mu_b)
    condition = 1 / (1 - torch.maximum(mu_a, mu_b))
    yield Pairs(
        "moving factor",
        (y_a - y_b).abs(),
        y_a.abs(),
        y_b.abs(),
        mu_a,
        mu_b,
        (a - b).abs(),
        L0,
        m0 / 2,
        ulps=16 * condition,
    )


def tables(g: torch.Generator, points: int, norm: Norm) -> Iterator[Pairs]:
    spaces = draw_finite_spaces(batch=96, points=points, dimension=2, norm=norm, generator=g)
    rho, sigma = spaces.radii()
    mu, size = 1 - rho * sigma, spaces.sizes
    i, j = torch.triu_indices(points, points, 1)
    # Steps below the spacing of numbers at 1 leave a factor of 1, for which the bound says nothing.
    apart = (spaces.distances[:, i, j] > 0) & (mu[:, j] < 1) & (mu[:, i] < 1)
    gaps = spaces.gaps(spaces.values)
    yield Pairs(
        f"table, {norm.name}",
        gap=gaps[:, i, j][apart],
        norm_a=size[:, i][apart],
        norm_b=size[:, j][apart],
        mu_a=mu[:, i][apart],
        mu_b=mu[:, j][apart],
        delta=spaces.distances[:, i, j][apart],
        L0=2.0,
        L1=2.0,
        ulps=8.0,
    )


def families(g: torch.Generator) -> Iterator[Pairs]:
    yield from reciprocals(g)
    yield from moving_factors(g)
    for n in (2, 4):
        yield from inverses(g, n, Spectral())
        yield from inverses(g, n, Euclidean())
    yield from tables(g, 5, Sup())
    yield from tables(g, 5, Euclidean())


def sides(p: Pairs) -> tuple[Any, Any]:
    return pairwise_slope.sides(gap=p.gap, state_norm=p.norm_a, mu_other=p.mu_b, delta=p.delta, L0=p.L0, L1=p.L1)


WRONG: dict[str, Callable[[Pairs], tuple[Any, Any]]] = {
    "size and factor at the same input": lambda p: pairwise_slope.sides(
        gap=p.gap, state_norm=p.norm_a, mu_other=p.mu_a, delta=p.delta, L0=p.L0, L1=p.L1
    ),
    "L1 dropped": lambda p: pairwise_slope.sides(
        gap=p.gap, state_norm=p.norm_a, mu_other=p.mu_b, delta=p.delta, L0=p.L0, L1=0.0
    ),
    "L0 dropped": lambda p: pairwise_slope.sides(
        gap=p.gap, state_norm=p.norm_a, mu_other=p.mu_b, delta=p.delta, L0=0.0, L1=p.L1
    ),
    "1/(1 - mu) forgotten": lambda p: (p.gap, (p.L0 + p.L1 * p.norm_a) * p.delta),
    "mu off by 1%": lambda p: pairwise_slope.sides(
        gap=p.gap, state_norm=p.norm_a, mu_other=0.99 * p.mu_b, delta=p.delta, L0=p.L0, L1=p.L1
    ),
    "the smaller of the two states": lambda p: pairwise_slope.sides(
        gap=p.gap,
        state_norm=torch.minimum(p.norm_a, p.norm_b),
        mu_other=torch.minimum(p.mu_a, p.mu_b),
        delta=p.delta,
        L0=p.L0,
        L1=p.L1,
    ),
}


@pytest.mark.theorem("T2", part="holds")
def test_holds(evidence: Recorder) -> None:
    seen: set[str] = set()

    @given(st.integers(0, 2**32))
    def attack(seed: int) -> None:
        worst = 1.0
        for pairs in families(generator(seed)):
            margins = relative_margin(sides(pairs), pairs.slack())
            count = margins.shape[0]
            name = f"pairwise_slope: {pairs.family}"
            worst = min(worst, settle(evidence, Kind.SAMPLED, name, margins, instances=count, witness=pairs.describe))
            evidence.regimes({pairs.family: count, "mu above 0.999": int((pairs.mu_b > 0.999).sum())})
            seen.add(pairs.family)
        target(-worst)

    attack()
    evidence.require_regimes(*sorted(seen), "mu above 0.999")


@pytest.mark.theorem("T2", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    unit = st.fractions(min_value=Fraction(1, 1000), max_value=1, max_denominator=1000)

    @MANY
    @given(unit, unit, st.fractions(min_value=Fraction(1, 100), max_value=Fraction(99, 100), max_denominator=100))
    def equality(x: Fraction, other: Fraction, eta: Fraction) -> None:
        # 1/x attains the bound at every pair; where the two inputs coincide both sides are zero.
        quantities = {"state_norm": 1 / x, "mu_other": 1 - eta * other, "delta": abs(x - other), "L0": 0}
        lhs, rhs = pairwise_slope.sides(gap=abs(1 / x - 1 / other), L1=eta, **quantities)
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="pairwise_slope")
        rate = local_rate.sides(mu=1 - eta * x, local_modulus=1 / x**2, state_norm=1 / x, L0=0, L1=eta)
        assert rate[0] == rate[1]
        if x != other:
            tighter = pairwise_slope.sides(gap=abs(1 / x - 1 / other), L1=eta * Fraction(99, 100), **quantities)
            evidence.caught("pairwise_slope", (tighter[1] - tighter[0]) / tighter[1], kind="tightened")

    equality()


@pytest.mark.theorem("T2", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.pointwise_contraction_twin(evidence)
    controls.pointwise_contraction_balls(evidence)
    # Without (R2): G = (y + sqrt|x|)/2 contracts with mu = 1/2 everywhere, yet its fixed point sqrt|x| has slopes 2^k at 0.
    slopes = [Fraction(1, 2**k) / Fraction(1, 4**k) for k in range(1, 40)]
    assert all(later == 2 * earlier for earlier, later in pairwise(slopes))
    controls.not_locally_lipschitz(evidence)
    evidence.control(
        "N4", f"G = (y + sqrt|x|)/2 has mu = 1/2 and a fixed point of slope {float(slopes[-1]):.3g} between 0 and 4^-39"
    )


@pytest.mark.theorem("T2", part="rejects")
@pytest.mark.parametrize("name", WRONG)
def test_rejects(evidence: Recorder, name: str) -> None:
    worst = min(float(relative_margin(WRONG[name](p), p.slack()).min()) for p in families(generator(5)))
    evidence.caught(name, worst)


@pytest.mark.theorem("T2", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Rational points: both reciprocals, and an affine family with a moving factor."""
    nonzero = st.integers(1, 10**4).flatmap(lambda q: st.integers(1, q).map(lambda p: Fraction(p, q)))
    step = st.fractions(min_value=Fraction(1, 100), max_value=Fraction(99, 100), max_denominator=100)

    @MANY
    @given(nonzero, nonzero, st.sampled_from([-1, 1]), step)
    def attack(a: Fraction, size_b: Fraction, sign: int, eta: Fraction) -> None:
        b = sign * size_b
        cases = [
            ("two-sided reciprocal", 1 / a, 1 / b, 1 - eta * b * b, eta, 2 * eta),
            # G = (eta x/2) y + eta x: y* = eta x / (1 - eta x/2), simple with (eta, eta/2), contractive with eta |x| / 2.
            ("moving factor", eta * a / (1 - eta * a / 2), eta * b / (1 - eta * b / 2), eta * abs(b) / 2, eta, eta / 2),
        ]
        for name, at_a, at_b, mu, L0, L1 in cases:
            lhs, rhs = pairwise_slope.sides(
                gap=abs(at_a - at_b), state_norm=abs(at_a), mu_other=mu, delta=abs(a - b), L0=L0, L1=L1
            )
            margin = exact_margin((lhs, rhs))
            evidence.record(Kind.EXACT, instances=1, worst_margin=margin, quantity=f"pairwise_slope: {name}")

    attack()
