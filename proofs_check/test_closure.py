"""T15 under attack: encoders, cascades, and compositions and sums of represented maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from hypothesis import given, target
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.constructions import ExactRelaxation, RadiusProduct, SquaredRadius
from eqtheory.norms import BlockSum, Norm, Sum, Sup
from eqtheory.operators import Cascade, Encoded, FunctionOperator, Regularity
from eqtheory.roundoff import gamma
from eqtheory.targets import (
    Composition,
    ExpMap,
    LambertWMap,
    RationalTable,
    ReciprocalMap,
    SquareMap,
    TanMap,
    Target,
    TargetSum,
)
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.theorems.closure import cascade_contraction, encoded_budget, max_of
from proofs_check import controls, relaxations
from proofs_check.instances import MANY, generator

BATCH = 1024
COMPOSITES: tuple[Target, ...] = (
    Composition(ExpMap(), LambertWMap()),
    Composition(SquareMap(), TanMap()),
    Composition(SquareMap(), Composition(SquareMap(), ReciprocalMap())),
    TargetSum(ReciprocalMap(), Composition(SquareMap(), ReciprocalMap())),
    TargetSum(TanMap(), TanMap()),
)


@dataclass(frozen=True)
class Parts:
    """Random cascades `G1 = m1 Q1 f(y1)`, `G2 = m2 Q2 f(y2) + l Q3 f(y1)` with two states each."""

    m1: Tensor
    m2: Tensor
    coupling: Tensor
    before: tuple[Tensor, Tensor]
    after: tuple[Tensor, Tensor]
    norm: Norm


def draw(seed: int, n: int, norm: Norm) -> Parts:
    g = generator(seed)
    m1, m2 = 1 - 10.0 ** (-4 * torch.rand(2, BATCH, generator=g, dtype=torch.float64)) * 0.95
    coupling = 10.0 ** (6 * torch.rand(BATCH, generator=g, dtype=torch.float64) - 3)

    def nonexpansive(v: Tensor) -> Tensor:
        # A permutation with signs, then clipping: 1-Lipschitz in sup and l1 alike.
        return (v.roll(1, dims=1) * torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0)).clamp(-5, 5)

    scale = 10.0 ** (4 * torch.rand(4, BATCH, 1, generator=g, dtype=torch.float64) - 2)
    a1, a2, b1, b2 = scale * torch.randn(4, BATCH, n, generator=g, dtype=torch.float64)
    # A quarter moves only one of the two states: there the factor is attained on an axis.
    kind = (torch.arange(BATCH) % 4).unsqueeze(1)
    b1, b2 = torch.where(kind == 1, a1, b1), torch.where(kind == 2, a2, b2)
    first = [m1.unsqueeze(1) * nonexpansive(v) for v in (a1, b1)]
    second = [
        m2.unsqueeze(1) * nonexpansive(v) + coupling.unsqueeze(1) * nonexpansive(u) for v, u in ((a2, a1), (b2, b1))
    ]
    return Parts(
        m1,
        m2,
        coupling,
        (norm.distance(a1, b1), norm.distance(a2, b2)),
        (norm.distance(first[0], first[1]), norm.distance(second[0], second[1])),
        norm,
    )


def slack_of(p: Parts) -> Tensor:
    """Five roundings per entry of quantities of size at most (m2 + l) 5 n, weighted by theta = (1 - m1)/(2 l) <= 1/(2 l)."""
    return gamma(64, torch.float64) * (1 + 5 / p.coupling + sum(p.before) + p.before[1] / p.coupling)


def sides_of(p: Parts, theta: Tensor | None = None, factor: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The cascade's inequality, honest by default, with another weight or factor where a fault is planted."""
    if theta is None and factor is None:
        return cascade_contraction.sides(
            after1=p.after[0],
            after2=p.after[1],
            before1=p.before[0],
            before2=p.before[1],
            m1=p.m1,
            m2=p.m2,
            coupling=p.coupling,
        )
    weight = (1 - p.m1) / (2 * p.coupling) if theta is None else theta
    rate = torch.maximum((1 + p.m1) / 2, p.m2) if factor is None else factor
    return p.after[0] + weight * p.after[1], rate * (p.before[0] + weight * p.before[1])


@pytest.mark.theorem("T15", part="holds")
def test_cascades_hold(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([Sup(), Sum()]))
    def attack(seed: int, n: int, norm: Norm) -> None:
        p = draw(seed, n, norm)
        margins = relative_margin(sides_of(p), slack_of(p))
        witness = "m1 = {}, m2 = {}, l = {}"
        worst = settle(
            evidence,
            Kind.SAMPLED,
            "cascade_contraction",
            margins,
            instances=BATCH,
            witness=lambda i: witness.format(float(p.m1[i]), float(p.m2[i]), float(p.coupling[i])),
        )
        evidence.regimes({"factor near 1": int((p.m1 > 0.999).sum()), "strong coupling": int((p.coupling > 100).sum())})
        target(-worst)

    attack()
    evidence.require_regimes("factor near 1", "strong coupling")


@pytest.mark.theorem("T15", part="holds")
def test_the_library_combinators_carry_these_constants(evidence: Recorder) -> None:
    """`Cascade` and `Encoded` of the library, applied as operators."""
    m1, m2, coupling, lipschitz = 0.9, 0.7, 30.0, 3.0
    first = FunctionOperator(
        lambda y, x: m1 * y.sin() + x,
        initial_state=torch.zeros_like,
        regularity=Regularity.declared(mu=m1, L0=1.0, L1=0.0, state_norm=Sup(), input_metric=Sup()),
    )
    second = FunctionOperator(
        lambda y, u: m2 * y.cos() + coupling * u.sin(),
        initial_state=torch.zeros_like,
        regularity=Regularity.declared(mu=m2, L0=coupling, L1=0.0, state_norm=Sup(), input_metric=Sup()),
    )
    G = Cascade(first, second, sizes=(3, 3))
    assert G.regularity is not None
    assert isinstance(G.norm, BlockSum)
    slope = Bound(lipschitz, Side.UPPER, "argument", Evidence.DECLARED)
    code = Encoded(first, lambda x: lipschitz * x.sin(), lipschitz=slope)
    assert code.regularity is not None

    @given(st.integers(0, 2**32))
    def attack(seed: int) -> None:
        g = generator(seed)
        y, z = 10 * torch.randn(2, BATCH, 6, generator=g, dtype=torch.float64)
        x, u = torch.randn(2, BATCH, 3, generator=g, dtype=torch.float64)
        assert G.regularity is not None
        assert code.regularity is not None
        moved = G.norm.distance(G(y, x), G(z, x))
        margins = relative_margin(
            (moved, G.regularity.mu.at(x) * G.norm.distance(y, z)), gamma(64, torch.float64) * 100
        )
        settle(
            evidence,
            Kind.SAMPLED,
            "Cascade: contraction",
            margins,
            instances=BATCH,
            witness=lambda i: f"y = {y[i].tolist()}, z = {z[i].tolist()}",
        )
        # Both sides are formed from the base operator's constants by the theorem and from the combinator's own declaration.
        gap = Sup().distance(code(y[:, :3], x), code(y[:, :3], u))
        sides = encoded_budget.sides(
            gap=gap, state_norm=Sup()(y[:, :3]), delta=Sup().distance(x, u), L0=1.0, L1=0.0, lipschitz=lipschitz
        )
        settle(
            evidence,
            Kind.SAMPLED,
            "Encoded: budget",
            relative_margin(sides, gamma(64, torch.float64) * 20),
            instances=BATCH,
            witness=lambda i: f"x = {x[i].tolist()}",
        )
        assert (code.regularity.L0.value, code.regularity.L1.value) == (3.0, 0.0)

    attack()


@pytest.mark.theorem("T15", part="holds")
@pytest.mark.parametrize("represented", COMPOSITES, ids=lambda t: t.name)
@pytest.mark.parametrize("scale", [1.0, 1e-2])
def test_compositions_and_sums_hold(evidence: Recorder, represented: Target, scale: float) -> None:
    for seed in range(3):
        relaxations.attack_target(evidence, represented, RadiusProduct(), scale, seed)


@pytest.mark.theorem("T15", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    factor = st.fractions(min_value=Fraction(1, 100), max_value=Fraction(99, 100), max_denominator=100)
    positive = st.fractions(min_value=Fraction(1, 100), max_value=100, max_denominator=100)

    @MANY
    @given(factor, factor, positive, positive)
    def equality(m1: Fraction, m2: Fraction, coupling: Fraction, size: Fraction) -> None:
        # On the first axis the factor is (1 + m1)/2, on the second m2: whichever is larger is attained.
        axes = (
            ({"after1": m1 * size, "after2": coupling * size, "before1": size, "before2": Fraction(0)}, (1 + m1) / 2),
            ({"after1": Fraction(0), "after2": m2 * size, "before1": Fraction(0), "before2": size}, m2),
        )
        for moved, rate in axes:
            lhs, rhs = cascade_contraction.sides(m1=m1, m2=m2, coupling=coupling, **moved)
            assert lhs <= rhs
            if rate == max_of((1 + m1) / 2, m2):
                assert lhs == rhs
                evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="cascade_contraction")
                evidence.caught("cascade factor 1% smaller", (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened")
        # E(x) = e x on G = y/2 + x: the encoded operator moves by exactly e d.
        lhs, rhs = encoded_budget.sides(
            gap=coupling * size, state_norm=Fraction(5), delta=size, L0=1, L1=0, lipschitz=coupling
        )
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="encoded_budget")
        evidence.caught("encoded budget 1% smaller", (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened")

    equality()


@pytest.mark.theorem("T15", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.no_contraction(evidence)
    controls.not_locally_lipschitz(evidence)
    # m2 = 1: the second state of G = (y1/2, y2 + y1) never forgets where it started.
    y, z = (Fraction(1), Fraction(0)), (Fraction(1), Fraction(7))
    for _ in range(50):
        y, z = (y[0] / 2, y[1] + y[0]), (z[0] / 2, z[1] + z[0])
    assert z[1] - y[1] == 7
    evidence.control("N2", "cascade with m2 = 1: two starts stay 7 apart for ever")
    # An encoder that is not locally Lipschitz: y* = 2 sqrt|x| has slope 2^(k+1) between 0 and 4^-k.
    slopes = [2 * Fraction(1, 2**k) / Fraction(1, 4**k) for k in (5, 10, 20)]
    assert slopes == [2**6, 2**11, 2**21]
    evidence.control(
        "N4", "encoder sqrt|x| before G = y/2 + x: slopes 2^6, 2^11, 2^21 between 0 and 4^-5, 4^-10, 4^-20"
    )


CASCADE_FAULTS: dict[str, Callable[[Parts], tuple[Tensor, Tensor]]] = {
    "theta = 1": lambda p: sides_of(p, theta=torch.ones_like(p.m1)),
    "theta twice as large": lambda p: sides_of(
        p, theta=(1 - p.m1) / p.coupling, factor=torch.maximum((1 + p.m1) / 2, p.m2)
    ),
    "factor max(m1, m2)": lambda p: sides_of(p, factor=torch.maximum(p.m1, p.m2)),
    "factor m1 m2": lambda p: sides_of(p, factor=p.m1 * p.m2),
    "coupling left out": lambda p: sides_of(p, theta=(1 - p.m1) / 2),
}


@pytest.mark.theorem("T15", part="rejects")
@pytest.mark.parametrize("name", CASCADE_FAULTS)
def test_rejects(evidence: Recorder, name: str) -> None:
    worst = float("inf")
    for n in (1, 3):
        p = draw(5, n, Sup())
        lhs, rhs = CASCADE_FAULTS[name](p)
        worst = min(worst, float(relative_margin((lhs, rhs), slack_of(p) * (1 + 1e3 * ("theta = 1" in name))).min()))
    evidence.caught(name, worst)


@pytest.mark.theorem("T15", part="rejects")
def test_rejects_wrong_encoders_and_sums(evidence: Recorder) -> None:
    g = generator(3)
    x, u = torch.randn(2, BATCH, generator=g, dtype=torch.float64)
    gap = (3 * torch.sin(x) - 3 * torch.sin(u)).abs()
    for name, lipschitz in (
        ("encoder's constant left out", 1.0),
        ("encoder's constant off by half", 1.5),
        ("square root of the encoder's constant", 3**0.5),
    ):
        sides = encoded_budget.sides(
            gap=gap, state_norm=torch.zeros_like(x), delta=(x - u).abs(), L0=1.0, L1=0.0, lipschitz=lipschitz
        )
        evidence.caught(name, float(relative_margin(sides, 1e-12).min()))
    # Adding two operators in one state adds their factors: 0.9 + 0.7 does not contract, whatever the sum of the fixed points is.
    y, z = torch.randn(2, BATCH, generator=g, dtype=torch.float64)
    sides = ((0.9 * y + 0.7 * y - 0.9 * z - 0.7 * z).abs(), 0.9 * (y - z).abs())
    evidence.caught("sum of two operators in one state", float(relative_margin(sides, 1e-12).min()))


@pytest.mark.theorem("T15", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Compositions and sums of rational tables, represented with any budget; cascades in rational vectors."""
    tables = relaxations.rational_tables()
    scales = st.fractions(min_value=Fraction(1, 1000), max_value=1, max_denominator=1000)

    @MANY
    @given(tables, scales, st.integers(-5, 5))
    def attack(table: RationalTable, scale: Fraction, factor: int) -> None:
        def derived(F: Callable[[tuple[Fraction, ...]], tuple[Fraction, ...]]) -> RationalTable:
            return RationalTable(table.distances, tuple(F(v) for v in table.values), table.output_norm)

        composed = derived(lambda v: tuple(a * a - factor for a in v))
        added = derived(lambda v: tuple(a + abs(a) * factor for a in v))
        for result in (composed, added):
            relaxations.record_exact(evidence, ExactRelaxation(result, rule=SquaredRadius(), scale=scale))

    attack()
    vector = st.lists(st.fractions(min_value=-3, max_value=3, max_denominator=9), min_size=2, max_size=2)
    factor = st.fractions(min_value=0, max_value=Fraction(99, 100), max_denominator=100)
    coupling = st.fractions(min_value=Fraction(1, 100), max_value=100, max_denominator=100)

    @MANY
    @given(vector, vector, vector, vector, factor, factor, coupling)
    def cascades(
        a1: list[Fraction],
        a2: list[Fraction],
        b1: list[Fraction],
        b2: list[Fraction],
        m1: Fraction,
        m2: Fraction,
        k: Fraction,
    ) -> None:
        norm = Sup()

        def first(v: list[Fraction]) -> list[Fraction]:
            return [m1 * abs(v[1]), -m1 * v[0]]

        def second(v: list[Fraction], u: list[Fraction]) -> list[Fraction]:
            return [m2 * v[1] + k * abs(u[0]), -m2 * v[0] + k * u[1]]

        def distance(v: list[Fraction], w: list[Fraction]) -> Fraction:
            return norm.exact([p - q for p, q in zip(v, w, strict=True)])

        lhs, rhs = cascade_contraction.sides(
            after1=distance(first(a1), first(b1)),
            after2=distance(second(a2, a1), second(b2, b1)),
            before1=distance(a1, b1),
            before2=distance(a2, b2),
            m1=m1,
            m2=m2,
            coupling=k,
        )
        evidence.record(Kind.EXACT, instances=1, worst_margin=exact_margin((lhs, rhs)), quantity="cascade_contraction")

    cascades()
