"""T6a under attack: what is admissible, what is fastest, and the certificates of both."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eqtheory.bounds import VerdictKind
from eqtheory.constructions import (
    adaptive_relaxation,
    exact_greatest_schedule,
    fastest_schedule,
    greatest_on_line,
    greatest_schedule,
)
from eqtheory.errors import InputError
from eqtheory.norms import Norm, Sum, Sup
from eqtheory.roundoff import gamma
from eqtheory.targets import RationalTable, from_samples
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.finite_spaces import METRIC_REGIMES, VALUE_REGIMES, draw_finite_spaces
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import BROKEN_SCHEDULES, ScheduleClaim
from eqtheory.theorems.fastest_schedule import pair_cap, schedule_offset, schedule_optimality, schedule_step
from proofs_check import controls, schedules
from proofs_check.instances import MANY, generator

FEW = settings(max_examples=max(1, settings().max_examples // 4))
"""For linear programs, of which one instance needs some tens."""


@pytest.mark.theorem("T6a", part="holds")
def test_holds_for_admissible_schedules(evidence: Recorder) -> None:
    """T3b's steps are admissible for (2, 2): caps, both halves, and the upper bound from random multipliers."""

    @given(st.integers(0, 2**32), st.integers(2, 5), st.integers(1, 2), st.sampled_from([Sup(), Sum()]))
    def attack(seed: int, points: int, dimension: int, norm: Norm) -> None:
        g = generator(seed)
        spaces = draw_finite_spaces(batch=192, points=points, dimension=dimension, norm=norm, generator=g)
        rho, sigma = spaces.radii()
        eps, budget = rho * sigma, 2.0
        d, sizes, values = spaces.distances, spaces.sizes, spaces.values
        step_gap = (eps.unsqueeze(2) - eps.unsqueeze(1)).abs()
        offset = eps.unsqueeze(-1) * values
        # Radii pass through at most 16 roundings, offsets through 4 more.
        unit = gamma(24, eps.dtype)
        spread, wide = (t.unsqueeze(2) + t.unsqueeze(1) for t in (eps, eps * sizes))
        cap = pair_cap.sides(
            eps_other=eps.unsqueeze(1),
            value_gap=spaces.gaps(values),
            value_norm=sizes.unsqueeze(2),
            delta=d,
            L0=budget,
            L1=budget,
        )
        margins = {
            "schedule_step": relative_margin(schedule_step.sides(gap=step_gap, delta=d, L1=budget), unit * spread),
            "schedule_offset": relative_margin(
                schedule_offset.sides(gap=spaces.gaps(offset), delta=d, L0=budget), unit * wide
            ),
            "pair_cap": relative_margin(
                cap, unit * eps.unsqueeze(1) * (sizes.unsqueeze(2) + sizes.unsqueeze(1)) + unit * cap[1]
            ),
        }
        # Any multipliers: antisymmetric a and w on the pairs, nu in the simplex. The dual of sup is l1 and the other way round.
        size = 10.0 ** (4 * torch.rand(len(spaces), 1, 1, generator=g, dtype=torch.float64) - 3)
        a = size * torch.randn(d.shape, generator=g, dtype=torch.float64).tril(-1)
        w = size.unsqueeze(-1) * torch.randn((*d.shape, dimension), generator=g, dtype=torch.float64)
        w = w * torch.ones_like(d).tril(-1).unsqueeze(-1) / (1 + sizes.amax(dim=1)).reshape(-1, 1, 1, 1)
        dual = w.abs().sum(dim=-1) if isinstance(norm, Sup) else w.abs().amax(dim=-1)
        nu = torch.rand(eps.shape, generator=g, dtype=torch.float64) + 1e-3
        nu = nu / nu.sum(dim=1, keepdim=True)
        net = (a - a.mT).sum(dim=2) + ((w - w.transpose(1, 2)).sum(dim=2) * values).sum(dim=-1)
        price = ((a.abs() + dual) * budget * d).sum(dim=(1, 2))
        leftover = (nu - net).clamp_min(0).sum(dim=1)
        total = (a.abs().sum(dim=(1, 2)) + (dual.sum(dim=2) * sizes).sum(dim=1) + 1 + price) * points
        margins["schedule_optimality"] = relative_margin(
            schedule_optimality.sides(slowest=eps.amin(dim=1), price=price, leftover=leftover),
            gamma(64, eps.dtype) * total,
        )
        for name, found in margins.items():
            per_space = found.reshape(len(spaces), -1).amin(dim=1)
            settle(evidence, Kind.SAMPLED, name, per_space, instances=len(spaces), witness=spaces.describe)
        evidence.regimes(spaces.regime_counts())

    attack()
    evidence.require_regimes(*METRIC_REGIMES, *VALUE_REGIMES)


@pytest.mark.theorem("T6a", part="holds")
@pytest.mark.parametrize(("norm", "length"), schedules.NORMS, ids=lambda v: getattr(v, "name", str(v)))
def test_holds_for_the_fastest_schedule(evidence: Recorder, norm: Norm, length: int) -> None:
    """The stored steps are admissible by exact arithmetic, and no schedule has a minimum larger by more than a billionth."""

    @FEW
    @given(
        st.integers(0, 2**32), st.integers(2, 9), st.sampled_from([(2.0, 2.0), (0.5, 3.0), (1.0, 0.0), (4.0, 0.125)])
    )
    def attack(seed: int, points: int, budget: tuple[float, float]) -> None:
        table = schedules.random_table(norm, length, points, generator(seed))
        G = fastest_schedule(table, *budget)
        certificate = G.certify()
        assert certificate.verdict.kind is VerdictKind.PROVED
        evidence.record(
            Kind.EXACT, instances=1, worst_margin=certificate.verdict.worst_margin, quantity=f"budget: {norm.name}"
        )
        assert torch.equal(G(table.values, table.points), table.values)
        assert G.slowest is not None
        low, high = G.slowest.lower.value, G.slowest.upper.value
        # Violations below 1e-9, the floor of the second stage and the repair together; see their constants.
        assert low <= high <= low * (1 + 1e-7)
        evidence.record(
            Kind.SAMPLED, instances=1, worst_margin=1 - low / high, quantity=f"schedule_optimality: {norm.name}"
        )
        if budget == (2.0, 2.0):
            assert float(adaptive_relaxation(table).eps.min()) <= high

    attack()


@pytest.mark.theorem("T6a", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    unit = st.fractions(min_value=Fraction(1, 60), max_value=1, max_denominator=60)
    positive = st.fractions(min_value=Fraction(1, 6), max_value=6, max_denominator=6)

    @MANY
    @given(
        st.sets(unit, min_size=2, max_size=5), st.fractions(min_value=Fraction(1, 9), max_value=1, max_denominator=9)
    )
    def reciprocal(points: set[Fraction], eta: Fraction) -> None:
        # 1/x with budget (0, eta): every pair caps the step at eta x, and T7's relaxation is the greatest schedule.
        x = sorted(points)
        table = RationalTable.of_points(x, [1 / v for v in x])
        eps = tuple(eta * v for v in x)
        assert tuple(greatest_on_line(x, [1 / v for v in x], Fraction(0), eta)) == eps
        assert exact_greatest_schedule(table, 0, eta) == eps
        for i, a in enumerate(x):
            for b in x[:i]:
                for one, other in ((a, b), (b, a)):
                    gap = abs(1 / one - 1 / other)
                    cap = {"value_gap": gap, "value_norm": 1 / other, "delta": abs(one - other), "L0": 0, "L1": eta}
                    lhs, rhs = pair_cap.sides(eps_other=eta * one, **cap)
                    assert lhs == rhs
                    evidence.caught("cap 1% smaller", exact_margin((lhs, Fraction(99, 100) * rhs)), kind="tightened")
                lhs, rhs = schedule_step.sides(gap=eta * abs(a - b), delta=abs(a - b), L1=eta)
                assert lhs == rhs
                evidence.caught("L1 1% smaller", exact_margin((lhs, Fraction(99, 100) * rhs)), kind="tightened")
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="pair_cap")
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="schedule_step")

    reciprocal()

    @MANY
    @given(positive, positive, positive)
    def opposite(M: Fraction, delta: Fraction, L0: Fraction) -> None:
        # F = (M, -M): the multiplier w = 1/(2M) on the pair proves min eps <= L0 d/(2M), and equal steps attain it.
        step = L0 * delta / (2 * M)
        if step > 1:
            return
        lhs, rhs = schedule_optimality.sides(slowest=step, price=1 / (2 * M) * L0 * delta, leftover=Fraction(0))
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="schedule_optimality")
        evidence.caught("optimum 1% smaller", exact_margin((lhs, Fraction(99, 100) * rhs)), kind="tightened")
        lhs, rhs = schedule_offset.sides(gap=2 * step * M, delta=delta, L0=L0)
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="schedule_offset")
        evidence.caught("L0 1% smaller", exact_margin((lhs, Fraction(99, 100) * rhs)), kind="tightened")

    opposite()


@pytest.mark.theorem("T6a", part="sharp")
def test_sharp_as_computed(evidence: Recorder) -> None:
    """The library finds both sharp instances, and the rates of T3b on tanh(100 x) that theory predicts."""
    G = fastest_schedule(from_samples([0.0, 0.5], [3.0, -3.0]), 2.0, 2.0)
    assert float(G.eps.min()) == pytest.approx(1 / 6, rel=2e-8)
    x = torch.linspace(0.05, 1, 20, dtype=torch.float64)
    near = greatest_schedule(from_samples(x, 1 / x), 1e-4, 0.5)
    # With L0 = 1e-4 in place of 0 the caps are 0.5 x + 1e-4 at most.
    assert float((near.eps - 0.5 * x).abs().max()) <= 1e-4
    grid = torch.linspace(-1, 1, 401, dtype=torch.float64)
    steep = from_samples(grid, torch.tanh(100 * grid))
    best = fastest_schedule(steep, 2.0, 2.0)
    t3b = float(adaptive_relaxation(steep).eps.min())
    assert best.slowest is not None
    # T2 at the origin: at most 2 d/|F(d) - F(0)| for neighbours at distance d = 1/200.
    cap = 2 * 0.005 / float(torch.tanh(torch.tensor(0.5).double()))
    assert t3b < best.slowest.lower.value <= cap * (1 + 1e-12)
    margin = 1 - best.slowest.lower.value / cap
    evidence.record(Kind.SAMPLED, instances=1, worst_margin=margin, quantity="pair_cap: tanh(100 x), smallest step")


@pytest.mark.theorem("T6a", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.not_locally_lipschitz(evidence)
    smallest = []
    for levels in (2, 4, 8, 12):
        points = [Fraction(0), *(Fraction(1, 4**k) for k in reversed(range(levels + 1)))]
        values = [Fraction(0), *(Fraction(1, 2**k) for k in reversed(range(levels + 1)))]
        smallest.append(min(greatest_on_line(points, values, Fraction(2), Fraction(2))))
        assert smallest[-1] <= Fraction(4, 2**levels)  # T2: (2 + 2 |F|) over a slope of 2^levels at least
    shown = ", ".join(f"{float(s):.3g}" for s in smallest)
    evidence.control("N4", f"sqrt|x| on ever finer sets: the smallest step of the greatest schedule is {shown}")
    # L0 = 0 with values of two signs: eps_1 + eps_2 <= 0, no positive schedule; the library refuses such a budget.
    assert schedule_offset.margin(gap=Fraction(1, 10**9) * 2, delta=1, L0=0) < 0
    with pytest.raises(InputError, match="L0: got 0, needed L0 > 0"):
        fastest_schedule(from_samples([0.0, 1.0], [1.0, -1.0]), 0, 1.0)


@pytest.mark.theorem("T6a", part="hypothesis_needed")
def test_the_sum_of_steps_is_no_objective(evidence: Recorder) -> None:
    """F = (100, -200), d = L0 = L1 = 1: the linear program that maximises the sum sets a step to 0; the largest minimum is 1/300."""
    from scipy.optimize import linprog

    rows = np.array([[1, -1], [-1, 1], [100, 200], [-100, -200]], dtype=float)
    found = linprog([-1, -1], A_ub=rows, b_ub=np.ones(4), bounds=[(0, 1)] * 2, method="highs")
    assert found.x == pytest.approx([0.01, 0.0], abs=1e-12)
    G = fastest_schedule(from_samples([0.0, 1.0], [100.0, -200.0]), 1.0, 1.0)
    assert float(G.eps.min()) == pytest.approx(1 / 300, rel=2e-8)
    evidence.caught("sum of steps maximised: slowest step 0 against 1/300", float(found.x.min() - 1 / 300) * 300)


def line_margin(claim: ScheduleClaim, x: list[Fraction], F: list[Fraction], L0: Fraction, L1: Fraction) -> Fraction:
    """What is worst about a claim on one line: a pair, a step outside (0, 1], or a smallest step that could be larger."""
    eps = claim.steps(x, F, L0, L1)
    table = RationalTable.of_points(x, F)
    worst = min(schedules.pair_margins(table, tuple(eps), L0, L1).values())
    if min(eps) <= 0:
        return Fraction(-1)
    if min(F) >= 0:
        best = min(greatest_on_line(x, F, L0, L1))
        worst = min(worst, min(eps) / best - 1)
    return min(worst, 1 - max(eps))


@pytest.mark.theorem("T6a", part="rejects")
@pytest.mark.parametrize("claim", BROKEN_SCHEDULES, ids=lambda c: c.name)
def test_rejects(evidence: Recorder, claim: ScheduleClaim) -> None:
    Q = Fraction
    one = [
        ([Q(0), Q(1, 10), Q(2, 10), Q(3, 10)], [Q(1), Q(100), Q(1), Q(100)]),
        ([Q(0), Q(1, 3), Q(1), Q(2)], [Q(9), Q(1), Q(0), Q(50)]),
        ([Q(0), Q(1, 100)], [Q(1), Q(101, 100)]),
        ([Q(0), Q(1, 4), Q(1, 2)], [Q(0), Q(0), Q(1)]),
    ]
    both = [([Q(0), Q(1)], [Q(100), Q(-200)]), ([Q(0), Q(1, 2)], [Q(1), Q(-1)])]
    honest = ScheduleClaim("greatest", greatest_on_line)
    assert min(line_margin(honest, x, F, Q(1), Q(1)) for x, F in one) >= 0
    worst = min(line_margin(claim, x, F, Q(1), Q(1)) for x, F in (both if claim.two_signs else one))
    evidence.caught(claim.name, worst)


@pytest.mark.theorem("T6a", part="exact")
def test_exact_on_the_line(evidence: Recorder) -> None:
    """Two sweeps give what policy iteration over all pairs gives; every step is 1 or meets a bound; T3b's steps are not larger."""

    @MANY
    @given(schedules.lines, schedules.budgets)
    def attack(rows: dict[Fraction, Fraction], budget: tuple[Fraction, Fraction]) -> None:
        x, F = list(rows), list(rows.values())
        table = RationalTable.of_points(x, F)
        eps = tuple(greatest_on_line(x, F, *budget))
        assert eps == exact_greatest_schedule(table, *budget)
        for name, margin in schedules.pair_margins(table, eps, *budget).items():
            evidence.record(Kind.EXACT, instances=1, worst_margin=margin, quantity=f"{name}: line")
        assert all(schedules.tight(table, eps, i, *budget) for i in range(len(x)))
        two = tuple(greatest_on_line(x, F, Fraction(2), Fraction(2)))
        assert all(a <= b for a, b in zip(schedules.t3b_steps(table), two, strict=True))

    attack()


@pytest.mark.theorem("T6a", part="exact")
def test_exact_in_the_plane(evidence: Recorder) -> None:
    @MANY
    @given(schedules.planes(), schedules.budgets)
    def attack(table: RationalTable, budget: tuple[Fraction, Fraction]) -> None:
        eps = exact_greatest_schedule(table, *budget)
        for name, margin in schedules.pair_margins(table, eps, *budget).items():
            evidence.record(Kind.EXACT, instances=1, worst_margin=margin, quantity=f"{name}: plane")
        assert all(schedules.tight(table, eps, i, *budget) for i in range(len(table)))
        # The largest of it and any other admissible schedule is itself: here the constant min(1, L0 / lip F).
        slope = table.lipschitz_constant()
        constant = min(Fraction(1), budget[0] / slope) if slope else Fraction(1)
        assert all(constant <= e for e in eps)

    attack()
