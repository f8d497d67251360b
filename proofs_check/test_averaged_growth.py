"""T4b under attack: iterations that average states and images, and signed weights under Markov's inequality."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
import sympy
import torch
from hypothesis import given, target
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.roundoff import gamma
from eqtheory.solvers import Halpern, KrasnoselskiiMann, Solver
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import BrokenBound, broken_bounds
from eqtheory.theorems.averaged_growth import averaged_growth, averaged_step, signed_growth
from proofs_check import controls
from proofs_check.bound_parts import Comparison, rejects
from proofs_check.growths import KINDS, Growth, affine, draw_growth
from proofs_check.instances import MANY, generator

STEPS = 8
WRONG = broken_bounds("T4b")
HONEST = {bound.name: bound.sides for bound in (averaged_step, averaged_growth, signed_growth)}
Weights = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""Step number to `(a, b)`, weights of the states and of the images of all iterates so far, which sum to 1."""


def relaxed(t: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Krasnoselskii and Mann with a relaxation of its own at every step."""
    a, b = torch.zeros(2, t + 1, dtype=torch.float64)
    eps = torch.rand((), generator=g, dtype=torch.float64)
    a[t], b[t] = 1 - eps, eps
    return a, b


def anchored(t: int, _: torch.Generator) -> tuple[Tensor, Tensor]:
    """Halpern."""
    a, b = torch.zeros(2, t + 1, dtype=torch.float64)
    a[0], b[t] = 1 / (t + 2), 1 - 1 / (t + 2)
    return a, b


def mixed(t: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """All states and all images so far, with random weights, most of them small."""
    w = torch.rand(2, t + 1, generator=g, dtype=torch.float64) ** 4 + 1e-12
    a, b = w / w.sum()
    return a, b


AVERAGES: dict[str, Weights] = {"relaxed": relaxed, "anchored": anchored, "mixed": mixed}


def comparisons(G: Growth, weights: Weights, g: torch.Generator) -> Iterator[Comparison]:
    """Quantities of both forms along an averaged iteration."""
    states, images = [G.start], [G(G.start)]
    slopes, sizes, total = [G.slopes(G.start)], [G.sizes(G.start)], 0.0
    for t in range(STEPS):
        a, b = weights(t, g)
        y = sum(p * v for p, v in zip(a, states, strict=True)) + sum(p * v for p, v in zip(b, images, strict=True))
        assert isinstance(y, Tensor)
        total = total + float(b.sum())
        after = G.slopes(y)

        def mean(w: Tensor, of: list[Tensor]) -> Tensor:
            return (w.unsqueeze(1) * torch.stack(of)).sum(dim=0)

        largest = torch.stack([*sizes, G.sizes(y)]).amax(dim=0)
        # Weights that sum to 1 carry the errors of what they average, and add t + 3 roundings of their own.
        slack = 2 * G.slope_slack(largest, 2 * t + 4) + gamma(4 * t + 16, torch.float64) * torch.stack(slopes).sum(
            dim=0
        )
        quantities = {
            "slope_after": after,
            "kept": mean(a, slopes),
            "moved": mean(b, slopes),
            "weight": b.sum(),
            "weighted_size": mean(b, sizes),
            "mu": G.m,
            "L0": G.L0,
            "L1": G.L1,
        }
        yield "averaged_step", quantities, slack
        whole = {"slope": after, "start_slope": slopes[0], "total_weight": total, "L0": G.L0, "L1": G.L1}
        yield "averaged_growth", {**whole, "size": torch.stack(sizes).amax(dim=0)}, slack
        states.append(y)
        images.append(G(y))
        slopes.append(after)
        sizes.append(G.sizes(y))


def signed(mu: Tensor, weight: float) -> Iterator[Comparison]:
    """Chebyshev's weights, and one over-relaxed step, on `mu y + x` for one factor each; slopes follow the same recursion."""
    before, slope = torch.zeros_like(mu), torch.ones_like(mu)
    one = torch.ones_like(mu)
    for t in range(1, 2 * STEPS):
        # Values up to t^2 and a recursion whose errors grow no faster than its slopes.
        yield (
            "signed_growth",
            {"slope": slope, "steps": t, "L0": one, "amplification": one},
            gamma(8 * t, mu.dtype) * t**2 * one,
        )
        before, slope = slope, 2 * (mu * slope + 1) - before
    # r_1(z) = 1 - w + w z: its maximum on [-1,1] is 2 w - 1 at z = -1.
    yield (
        "signed_growth",
        {"slope": weight * one, "steps": 1, "L0": one, "amplification": 2 * weight - 1},
        gamma(4, mu.dtype) * weight * one,
    )


@pytest.mark.theorem("T4b", part="holds")
@pytest.mark.parametrize("name", AVERAGES)
def test_holds(evidence: Recorder, name: str) -> None:
    @given(st.integers(0, 2**32), st.integers(2, 4), st.integers(1, 2))
    def attack(seed: int, points: int, dimension: int) -> None:
        G = draw_growth(batch=240, points=points, dimension=dimension, g=generator(seed))
        worst: dict[str, Tensor] = {}
        for about, quantities, slack in comparisons(G, AVERAGES[name], generator(seed + 1)):
            margins = relative_margin(HONEST[about](**quantities), slack)
            worst[about] = torch.minimum(worst.get(about, margins), margins)
        found = [
            settle(evidence, Kind.SAMPLED, f"{about}: {name}", margins, instances=len(G), witness=G.describe)
            for about, margins in worst.items()
        ]
        evidence.regimes(G.counts())
        target(-min(found))

    attack()
    evidence.require_regimes(*KINDS, "factor exactly one")


@pytest.mark.theorem("T4b", part="holds")
def test_holds_for_signed_weights(evidence: Recorder) -> None:
    """Chebyshev's weights on `A y + x c`, `A` symmetric of norm up to 1: slopes in the Euclidean norm stay below `t^2 |c|`."""

    @given(st.integers(0, 2**32), st.integers(1, 4))
    def attack(seed: int, n: int) -> None:
        g = generator(seed)
        batch = 256
        frame = torch.linalg.qr(torch.randn(batch, n, n, generator=g, dtype=torch.float64)).Q
        values = 2 * torch.rand(batch, n, generator=g, dtype=torch.float64) - 1
        values[:, 0] = 1 - 10.0 ** (-8 * torch.rand(batch, generator=g, dtype=torch.float64))
        c = torch.randn(batch, n, generator=g, dtype=torch.float64)
        # In the eigenvectors' coordinates the slope of y_t is a vector with one recursion per eigenvalue.
        along = (frame.mT @ c.unsqueeze(-1)).squeeze(-1)
        before, slope = torch.zeros_like(along), along
        L0 = torch.linalg.vector_norm(along, dim=1)
        worst = torch.ones(batch, dtype=torch.float64)
        for t in range(1, 40):
            norm = torch.linalg.vector_norm(slope, dim=1)
            slack = gamma(16 * t, torch.float64) * t**2 * L0
            sides = signed_growth.sides(slope=norm, steps=t, L0=L0, amplification=1.0)
            worst = torch.minimum(worst, relative_margin(sides, slack))
            before, slope = slope, 2 * (values * slope + along) - before
        settle(
            evidence,
            Kind.SAMPLED,
            "signed_growth: Chebyshev",
            worst,
            instances=batch,
            witness=lambda i: f"eigenvalues {values[i].tolist()}, c = {along[i].tolist()}",
        )

    attack()


def steps_of(solver: Solver[Any], mu: float, L0: float, count: int) -> list[float]:
    """Slopes of the iterates of a solver of the library on `mu y + L0 x`, from 0; exact up to rounding."""
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    y = torch.zeros_like(x)
    state, found = solver.init(y), []
    for _ in range(count):
        y, state = solver.step(state, y, mu * y + L0 * x, torch.ones(2, dtype=torch.bool))
        found.append(float(y[1] - y[0]))
    return found


@pytest.mark.theorem("T4b", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    unit = st.fractions(min_value=0, max_value=1, max_denominator=30)

    @MANY
    @given(st.lists(unit, min_size=1, max_size=6), unit, st.fractions(min_value=Fraction(1, 9), max_value=9), unit)
    def equality(relaxations: list[Fraction], start: Fraction, L0: Fraction, mu: Fraction) -> None:
        # Krasnoselskii and Mann at mu = 1: the total is attained.
        slope, total = start, Fraction(0)
        for eps in relaxations:
            slope, total = (1 - eps) * slope + eps * (slope + L0), total + eps
            lhs, rhs = averaged_growth.sides(slope=slope, start_slope=start, total_weight=total, size=0, L0=L0, L1=0)
            assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="averaged_growth")
        if total:
            tighter = (lhs, start + L0 * total * Fraction(99, 100))
            evidence.caught("weight of the images 1% smaller", exact_margin(tighter), kind="tightened")
        # Any non-negative weights at any mu: the step is attained; here Halpern's and a mean over all iterates so far.
        for weights in (lambda t: ([Fraction(1, t + 2)] + [0] * t, [0] * t + [1 - Fraction(1, t + 2)]), uniform):
            slopes = [start]
            for t in range(4):
                a, b = weights(t)
                kept, moved = (sum(p * v for p, v in zip(w, slopes, strict=True)) for w in (a, b))
                after = kept + sum(p * (mu * v + L0) for p, v in zip(b, slopes, strict=True))
                lhs, rhs = averaged_step.sides(
                    slope_after=after, kept=kept, moved=moved, weight=sum(b), weighted_size=0, mu=mu, L0=L0, L1=0
                )
                assert lhs == rhs
                slopes.append(Fraction(after))
            evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="averaged_step")
            evidence.caught("step 1% smaller", exact_margin((lhs, Fraction(99, 100) * rhs)), kind="tightened")

    equality()
    # The library's own solvers: the slopes of Krasnoselskii-Mann at mu = 1 are 0.25 t exactly, Halpern's stay below Picard's.
    assert steps_of(KrasnoselskiiMann(0.25), 1.0, 1.0, 6) == [0.25 * t for t in range(1, 7)]
    anchored_slopes = steps_of(Halpern(restart=None), 1.0, 1.0, 6)
    assert all(slope < t for t, slope in enumerate(anchored_slopes, start=1))


def uniform(t: int) -> tuple[list[Fraction], list[Fraction]]:
    """The mean of all states and all images so far."""
    return [Fraction(1, 2 * t + 2)] * (t + 1), [Fraction(1, 2 * t + 2)] * (t + 1)


@pytest.mark.theorem("T4b", part="sharp")
def test_sharp_signed(evidence: Recorder) -> None:
    """`y_{t+1} = 2 G(y_t) - y_{t-1}` at `mu = 1` has slope `t^2 L0` exactly, and approaches it as `mu -> 1`."""
    for mu in (Fraction(1), 1 - Fraction(1, 10**9)):
        before, slope = Fraction(0), Fraction(1)
        for t in range(1, 31):
            lhs, rhs = signed_growth.sides(slope=slope, steps=t, L0=Fraction(1), amplification=1)
            assert rhs * (1 - Fraction(1, 10**6)) <= lhs <= rhs
            assert mu < 1 or lhs == rhs
            evidence.record(Kind.EXACT, instances=1, worst_margin=exact_margin((lhs, rhs)), quantity="signed_growth")
            evidence.caught("t^2 1% smaller", exact_margin((lhs, Fraction(99, 100) * rhs)), kind="tightened")
            before, slope = slope, 2 * (mu * slope + 1) - before


@pytest.mark.theorem("T4b", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.adaptive_weights(evidence)
    # Signed weights under the bound for averages: Chebyshev's weights of the images sum to 2 t - 1, and t^2 is more.
    for t in range(2, 8):
        assert averaged_growth.margin(slope=t * t, start_slope=0, total_weight=2 * t - 1, size=0, L0=1, L1=0) < 0
    # Signed weights without any bound on their polynomial buy any slope in one step: y_1 = -999 y_0 + 1000 G(y_0).
    assert signed_growth.margin(slope=1000, steps=1, L0=1, amplification=1) < 0
    assert signed_growth.margin(slope=1000, steps=1, L0=1, amplification=1999) >= 0


@pytest.mark.theorem("T4b", part="rejects")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_rejects(evidence: Recorder, wrong: BrokenBound) -> None:
    def all_of() -> Iterator[Comparison]:
        steep = draw_growth(batch=96, points=3, dimension=2, g=generator(5))
        for G in (affine(1.0, 1.0, 0.0), affine(1.0, 1.0, 3.0), affine(0.9, 1.0, 2.0), steep):
            for weights in AVERAGES.values():
                yield from comparisons(G, weights, generator(3))
        yield from signed(torch.tensor([1.0, 0.999], dtype=torch.float64), 1000.0)

    rejects(evidence, wrong, HONEST, all_of())


@pytest.mark.theorem("T4b", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Rational scalar operators under random rational averages of all states and images so far."""
    factor = st.fractions(min_value=-1, max_value=1, max_denominator=8)
    number = st.fractions(min_value=-4, max_value=4, max_denominator=8)
    rows = st.dictionaries(number, st.tuples(factor, number, number), min_size=2, max_size=3)

    @MANY
    @given(rows, st.lists(st.integers(0, 9), min_size=24, max_size=24))
    def attack(table: dict[Fraction, tuple[Fraction, Fraction, Fraction]], drawn: list[int]) -> None:
        x = list(table)
        A, b, y = (list(column) for column in zip(*table.values(), strict=True))

        def lip(values: list[Fraction]) -> Fraction:
            return max(abs(values[i] - values[j]) / abs(x[i] - x[j]) for i in range(len(x)) for j in range(i))

        L0, L1, m = lip(b), lip(A), max(map(abs, A))
        states, slopes, sizes, total = [y], [lip(y)], [max(map(abs, y))], Fraction(0)
        for t in range(3):
            raw = [*drawn[8 * t : 8 * t + t + 1], *drawn[8 * t + 4 : 8 * t + 5 + t]]
            raw[-1] += 1
            weights = [Fraction(w, sum(raw)) for w in raw]
            kept, moved = weights[: t + 1], weights[t + 1 :]
            images = [[p * v + q for p, v, q in zip(A, s, b, strict=True)] for s in states]
            new = [
                sum((w * s[i] for w, s in zip(kept, states, strict=True)), Fraction(0))
                + sum((w * s[i] for w, s in zip(moved, images, strict=True)), Fraction(0))
                for i in range(len(x))
            ]
            total += sum(moved)
            step = averaged_step.sides(
                slope_after=lip(new),
                kept=sum(w * v for w, v in zip(kept, slopes, strict=True)),
                moved=sum(w * v for w, v in zip(moved, slopes, strict=True)),
                weight=sum(moved),
                weighted_size=sum(w * v for w, v in zip(moved, sizes, strict=True)),
                mu=m,
                L0=L0,
                L1=L1,
            )
            whole = averaged_growth.sides(
                slope=lip(new), start_slope=slopes[0], total_weight=total, size=max(sizes), L0=L0, L1=L1
            )
            for name, sides in (("averaged_step", step), ("averaged_growth", whole)):
                evidence.record(Kind.EXACT, instances=1, worst_margin=exact_margin(sides), quantity=name)
            states.append(new)
            slopes.append(lip(new))
            sizes.append(max(map(abs, new)))

    attack()


@pytest.mark.theorem("T4b", part="exact")
def test_exact_identities(evidence: Recorder) -> None:
    """Chebyshev's recursion at `mu = 1` gives `t^2` for all t, and its error polynomials are `T_t` with `T_t'(1) = t^2`."""
    t = sympy.Symbol("t", integer=True, positive=True)
    statement = "s_{t+1} = 2 (s_t + 1) - s_{t-1}, s_0 = 0, s_1 = 1 is solved by t^2"
    assert sympy.expand((t + 1) ** 2 - (2 * (t**2 + 1) - (t - 1) ** 2)) == 0
    evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="Chebyshev slope", proved=statement)
    z = sympy.Symbol("z")
    for k in range(1, 9):
        polynomial = sympy.chebyshevt(k, z)
        assert sympy.diff(polynomial, z).subs(z, 1) == k * k
        # q(z) = (1 - T_k(z))/(1 - z) is a polynomial with q(1) = T_k'(1), the slope bought at mu = 1.
        q = sympy.cancel((1 - polynomial) / (1 - z))
        assert sympy.limit(q, z, 1) == k * k
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="signed_growth: T_t")
