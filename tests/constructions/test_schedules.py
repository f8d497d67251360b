"""Scheduled relaxations: certificates with two constants, repair, linear programs against brute force, refusals."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from eqtheory.bounds import VerdictKind
from eqtheory.constructions import (
    ScheduledRelaxation,
    adaptive_relaxation,
    certify_simplicity,
    compare_schedules,
    exact_greatest_schedule,
    fastest_schedule,
    greatest_on_line,
    greatest_schedule,
)
from eqtheory.constructions._cutting_planes import dual_vectors, pair_caps
from eqtheory.constructions._schedules import largest_ratio, repaired
from eqtheory.errors import InputError, ShapeError, SolverError
from eqtheory.norms import Euclidean, Norm, Spectral, Sum, Sup
from eqtheory.solvers import Stop, fixed_point
from eqtheory.targets import RationalTable, SampleTable, from_samples

PROVED, REFUTED = VerdictKind.PROVED, VerdictKind.REFUTED


def steep(n: int, length: int, norm: Norm, seed: int) -> SampleTable:
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 2, generator=g, dtype=torch.float64)
    values = 5 * torch.randn(n, length, generator=g, dtype=torch.float64)
    return from_samples(x, values[:, 0] if length == 1 else values, output_norm=norm)


def whole_program(table: SampleTable, L0: float, L1: float) -> float:
    """Largest minimum by one linear program over all pairs and all sign patterns (scalars, sup, l1)."""
    n, F = len(table), table.values.reshape(len(table), -1).numpy()
    k = F.shape[1]
    if k == 1 or isinstance(table.output_norm, Sup):
        duals = [s * np.eye(k)[c] for s in (1, -1) for c in range(k)]
    else:
        duals = [np.array(s, dtype=float) for s in product((1, -1), repeat=k)]
    rows, right = [], []
    d = table.input_norm.pairwise(table.inputs, table.inputs).numpy()
    for i in range(n):
        low = np.zeros(n + 1)
        low[i], low[n] = -1, 1
        rows.append(low)
        right.append(0.0)
        for j in range(n):
            if i == j:
                continue
            step = np.zeros(n + 1)
            step[i], step[j] = 1, -1
            rows.append(step)
            right.append(L1 * d[i, j])
            for u in duals:
                offset = np.zeros(n + 1)
                offset[i], offset[j] = u @ F[i], -u @ F[j]
                rows.append(offset)
                right.append(L0 * d[i, j])
    cost = np.zeros(n + 1)
    cost[n] = -1
    return -float(linprog(cost, A_ub=np.array(rows), b_ub=right, bounds=[(0, 1)] * (n + 1), method="highs").fun)


@pytest.mark.parametrize(("norm", "length"), [(Sup(), 1), (Sup(), 3), (Sum(), 2)], ids=["scalar", "sup", "l1"])
@pytest.mark.parametrize("budget", [(2.0, 2.0), (0.5, 3.0)])
def test_cutting_planes_find_what_the_whole_program_finds(norm: Norm, length: int, budget: tuple[float, float]) -> None:
    for seed in range(3):
        table = steep(7, length, norm, seed)
        G = fastest_schedule(table, *budget)
        assert G.slowest is not None
        whole = whole_program(table, *budget)
        assert G.slowest.lower.value == pytest.approx(whole, rel=1e-6)
        assert G.slowest.upper.value >= whole * (1 - 1e-6)


def test_euclidean_values_are_between_the_polyhedral_norms() -> None:
    for seed in range(3):
        by_norm = {}
        for norm in (Sum(), Euclidean(), Sup()):
            found = fastest_schedule(steep(8, 2, norm, seed), 1.0, 2.0).slowest
            assert found is not None
            by_norm[norm.name] = (found.lower.value, found.upper.value)
        assert by_norm["l1"][0] <= by_norm["l2"][1]
        assert by_norm["l2"][0] <= by_norm["sup"][1]


def test_the_total_is_minimal_among_schedules_that_keep_the_minimum() -> None:
    """Values of one sign have a greatest schedule, whose total is the smallest there is."""
    for seed in range(3):
        base = steep(9, 1, Sup(), seed)
        table = from_samples(base.inputs, base.values.abs() + 0.1)
        fastest, greatest = fastest_schedule(table, 2.0, 1.0), greatest_schedule(table, 2.0, 1.0)
        assert fastest.total == pytest.approx(greatest.total, rel=1e-6)
        assert bool((fastest.eps <= greatest.eps * (1 + 1e-7)).all())


def test_a_schedule_is_an_operator_that_solves() -> None:
    table = steep(12, 2, Euclidean(), 5)
    G = fastest_schedule(table, 2.0, 2.0)
    assert isinstance(G, ScheduledRelaxation)
    assert G.certify().verdict.kind is PROVED
    assert str(G.certify()).startswith("|G(y,x) - G(y,x')| <= (2 + 2 |y|) d on all 66 pairs: proved")
    assert torch.equal(G(table.values, table.points), table.values)
    assert G.regularity is not None
    assert torch.equal(G.regularity.mu.at(table.points), 1 - G.eps)
    assert (G.regularity.L0.value, G.regularity.L1.value) == (2.0, 2.0)
    solution = fixed_point(G, table.points, stop=Stop(rtol=1e-8, max_steps=20_000))
    assert solution.error_bound is not None
    assert bool((table.output_norm(solution.value - table.values) <= solution.error_bound.value).all())


@pytest.mark.parametrize(
    ("L0", "L1", "kind"), [(4.0, 0.25, PROVED), (3.99, 0.25, REFUTED), (4.0, 0.249, REFUTED), (1e9, 0.0, REFUTED)]
)
@pytest.mark.parametrize("inputs", [[0.0, 1.0], [[0.0, 0.0], [1.0, 0.0]]], ids=["line", "plane"])
def test_both_halves_are_decided_exactly(inputs: list[object], L0: float, L1: float, kind: VerdictKind) -> None:
    # eps = (1/2, 1/4), F = (4, -8): gaps 1/4 and 4 at distance 1.
    table = from_samples(inputs, [4.0, -8.0])
    found = certify_simplicity(table, torch.tensor([0.5, 0.25], dtype=torch.float64), L0, L1)
    assert found.verdict.kind is kind
    assert found.exact_pairs == found.pairs == 1


@pytest.mark.parametrize("norm", [Euclidean(), Sup(), Sum()], ids=lambda n: n.name)
def test_a_violation_in_the_last_digit_is_seen(norm: Norm) -> None:
    # |eps_1 F_1 - eps_2 F_2| = 5 in l2, 4 in sup, 7 in l1, at distance 1, once with one digit more.
    table = from_samples([[0.0, 0.0], [0.0, 1.0]], [[3.0, 4.0], [0.0, 0.0]], output_norm=norm)
    eps, size = torch.ones(2, dtype=torch.float64), float(norm(table.values)[0])
    assert certify_simplicity(table, eps, size, 0.0).verdict.kind is PROVED
    assert certify_simplicity(table, eps, math.nextafter(size, 0), 0.0).verdict.kind is REFUTED


def test_neighbours_on_the_line_decide_as_all_pairs_do() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(40, generator=g, dtype=torch.float64)
    F = torch.randn(40, generator=g, dtype=torch.float64).abs()
    flat = from_samples(x, F)
    tall = from_samples(torch.stack([x, torch.zeros_like(x)], dim=1), F)  # the same metric in the plane
    eps = greatest_schedule(flat, 1.0, 1.0).eps
    for factor, kind in ((1.0, PROVED), (1.0 + 1e-6, REFUTED)):
        tried = (eps * factor).clamp_max(1.0)
        assert {certify_simplicity(t, tried, 1.0, 1.0).verdict.kind for t in (flat, tall)} == {kind}


def test_large_tables_go_through_the_filter_and_are_decided_as_well() -> None:
    table = steep(1100, 1, Sup(), 3)
    table = from_samples(table.inputs, table.values.abs())
    G = greatest_schedule(table, 2.0, 2.0)
    found = G.certify()
    assert found.verdict.kind is PROVED
    assert found.exact_pairs < found.pairs
    worse = certify_simplicity(table, (G.eps * (1 + 1e-7)).clamp_max(1.0), 2.0, 2.0)
    assert worse.verdict.kind is REFUTED


def test_an_output_of_a_solver_is_repaired() -> None:
    table = steep(10, 2, Euclidean(), 1)
    good = fastest_schedule(table, 2.0, 2.0).eps
    slightly = good * (1 + 1e-9)
    assert certify_simplicity(table, slightly, 2.0, 2.0).verdict.kind is REFUTED
    mended = repaired(table, slightly, 2.0, 2.0)
    assert certify_simplicity(table, mended, 2.0, 2.0).verdict.kind is PROVED
    assert float((mended / good).min()) > 1 - 1e-12
    assert torch.equal(repaired(table, mended, 2.0, 2.0), mended)
    assert largest_ratio(table, mended, 2.0, 2.0)[0] <= 1


def test_points_closer_than_rounding_are_refused_by_name() -> None:
    near = math.nextafter(1.0, 2.0)
    with pytest.raises(InputError, match=r"table: got points [01] and [01], closer than the rounding of their steps"):
        repaired(from_samples([[1.0, 1e300], [near, 1e300]], [1.0, -1.0]), torch.ones(2).double(), 1e-300, 1.0)


@pytest.mark.parametrize("inputs", [[0.0, 1.0, 2.0], [[0.0, 0.0], [1.0, 0.0], [2.0, 1.0]]], ids=["line", "plane"])
def test_steps_that_are_lost_to_zero_are_refused(inputs: list[object]) -> None:
    """The largest minimum is about 1e-350, which no float64 holds: an operator with such steps would solve nothing."""
    table = from_samples(inputs, [1e150, -1e150, 3e150])
    with pytest.raises(
        InputError, match=r"L0: got 1e-200, which leaves a smallest step of 0, needed steps that can be"
    ):
        fastest_schedule(table, 1e-200, 0.0)
    with pytest.raises(InputError, match="leaves a smallest step of 0"):
        repaired(table, torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64), 1.0, 1.0)


def test_rows_that_overflow_are_refused_in_the_words_of_the_table() -> None:
    """A step of order 1 times a value of 1e150, over a budget of 1e-200."""
    table = from_samples([0.0, 1.0, 2.0], [1e150, -1e150, 3e150])
    with pytest.raises(InputError, match="table: got a pair whose row overflows, needed values, distances and budget"):
        fastest_schedule(table, 1e-200, 1.0)


def test_a_total_that_is_not_settled_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eqtheory.constructions._fastest_schedule._ROUNDS", 1)
    with pytest.raises(SolverError, match="1 rounds of tangents did not settle the smallest total of 9 steps"):
        fastest_schedule(steep(9, 2, Euclidean(), 0), 2.0, 2.0)


def test_repeated_points_get_one_step() -> None:
    table = from_samples([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], [3.0, -3.0, 3.0])
    eps = fastest_schedule(table, 2.0, 2.0).eps
    assert eps[0] == eps[2]
    assert float(eps.min()) == pytest.approx(1 / 3, rel=2e-8)
    assert fastest_schedule(from_samples([1.0], [7.0]), 2.0, 2.0).eps.tolist() == [1.0]
    with pytest.raises(ShapeError, match="table: got one point, needed at least two points"):
        fastest_schedule(from_samples([1.0], [7.0]), 2.0, 2.0).certify()


def test_without_L1_all_steps_are_the_same() -> None:
    table = steep(9, 2, Euclidean(), 4)
    G = fastest_schedule(table, 1.0, 0.0)
    assert len(set(G.eps.tolist())) == 1
    assert G.certify().verdict.kind is PROVED


@pytest.mark.parametrize("norm", [Euclidean(), Sup(), Sum()], ids=lambda n: n.name)
def test_dual_vectors_attain_the_norm(norm: Norm) -> None:
    v = torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u = dual_vectors(norm, v)
    assert torch.allclose((u * v).sum(dim=1), norm(v), rtol=1e-14)
    dual: Norm = {"l2": Euclidean(), "sup": Sum(), "l1": Sup()}[norm.name]  # type: ignore[assignment]
    assert torch.allclose(dual(u), torch.ones(50).double(), rtol=1e-14)
    assert torch.equal(dual_vectors(norm, torch.zeros(1, 3).double()), torch.zeros(1, 3).double())


def test_caps_bound_every_admissible_step() -> None:
    table = steep(20, 2, Euclidean(), 2)
    caps = pair_caps(table, 2.0, 2.0)
    assert bool((adaptive_relaxation(table).eps <= caps).all())
    assert bool((fastest_schedule(table, 2.0, 2.0).eps <= caps).all())


def test_the_greatest_schedule_agrees_with_its_exact_twins() -> None:
    g = torch.Generator().manual_seed(9)
    for dimension in (1, 2):
        x = torch.randint(0, 40, (6, dimension), generator=g).unique(dim=0).double() / 8
        F = torch.randint(0, 50, (len(x),), generator=g).double() / 4
        table = SampleTable(x, F, input_norm=Sup(), output_norm=Sup())
        exact = exact_greatest_schedule(table.rational(), Fraction(1, 2), Fraction(3, 4))
        found = greatest_schedule(table, 0.5, 0.75)
        assert float((found.eps - torch.tensor([float(e) for e in exact], dtype=torch.float64)).abs().max()) < 1e-13
        assert found.certify().verdict.kind is PROVED


def test_a_cycle_of_bounds_is_resolved_and_not_iterated() -> None:
    """Values 1 and 1 + 10^-6 at distance 10^-9 hand a bound back and forth a million times; policies need a few rounds."""
    table = RationalTable.of_points([0, Fraction(1, 10**9)], [1, 1 + Fraction(1, 10**6)])
    eps = exact_greatest_schedule(table, 1, 1)
    assert eps[1] == 2 * Fraction(1, 10**9) * 10**6  # (L0 + L1 F) d / (F' - F)
    assert eps == tuple(greatest_on_line([Fraction(0), Fraction(1, 10**9)], [1, 1 + Fraction(1, 10**6)], 1, 1))


@pytest.mark.parametrize("bits", [8, 20, 30, 40])
def test_the_upper_bound_holds_where_bounds_cycle_with_a_gain_close_to_one(bits: int) -> None:
    """Values 1 and 1 + 2^-bits so close that the cycle binds: `1 - g` loses digits, which the bound has to allow for."""
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        d = torch.rand(3, 2, generator=g, dtype=torch.float64) * 2.0**-bits / 16
        F = 1 + torch.rand(3, generator=g, dtype=torch.float64) * 2.0**-bits
        table = SampleTable(d, F, input_norm=Sup(), output_norm=Sup())
        exact = min(exact_greatest_schedule(table.rational(), 1, 1))
        found = greatest_schedule(table, 1.0, 1.0).slowest
        assert found is not None
        assert Fraction(found.lower.value) <= exact <= Fraction(found.upper.value)


def test_the_comparison_names_all_three() -> None:
    found = compare_schedules(steep(15, 2, Euclidean(), 6), scale=0.5)
    assert found.budget == 1.0
    assert found.smallest_squared <= found.smallest_product <= found.smallest_fastest * (1 + 1e-7)
    assert found.total_fastest <= found.total_product <= found.total_squared
    assert str(found).startswith("L0 = L1 = 1: min eps ")


def of(values: object = None, **parts: object) -> SampleTable:
    return from_samples([[0.0, 0.0], [1.0, 1.0]], values or [1.0, -1.0], **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fastest_schedule("table", 1, 1), "table: got str, needed a SampleTable"),
        (lambda: fastest_schedule(of(), 0.0, 1.0), r"L0: got 0\.0, needed L0 > 0; with L0 = 0 all"),
        (lambda: fastest_schedule(of(), 1.0, -1.0), r"L1: got -1\.0, needed a finite number >= 0"),
        (lambda: fastest_schedule(of(), math.nan, 1.0), "L0: got nan, needed a finite number >= 0"),
        (lambda: fastest_schedule(of(), 1.0, 1.0, time_limit=0.0), "time_limit: got 0.0"),
        (lambda: fastest_schedule(of(), 1.0, 1.0, time_limit=1e-9), "time_limit: got 1e-09 s, needed more time for 2"),
        (lambda: greatest_schedule(of(), 1.0, 1.0), r"table\.values: got values from -1\.0 to 1\.0, needed one sign"),
        (
            lambda: greatest_schedule(of([[1.0, 1.0], [2.0, 1.0]]), 1.0, 1.0),
            r"table\.values: got vectors of length 2, needed scalars; use fastest_schedule",
        ),
        (
            lambda: fastest_schedule(of([[[1.0]], [[2.0]]], output_norm=Spectral()), 1.0, 1.0),
            r"table\.output_norm: got spectral, needed l2, sup or l1",
        ),
        (lambda: certify_simplicity(of(), torch.ones(2).double(), -1.0, 1.0), r"L0: got -1\.0"),
    ],
)
def test_refusals_say_what_came_what_is_needed_and_what_to_do(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]


def test_single_precision_is_refused_since_its_certificate_would_not_be_of_the_steps_in_use() -> None:
    x = torch.tensor([[0.0], [1.0]])
    table = SampleTable(x, x[:, 0], input_norm=Sup(), output_norm=Sup())
    with pytest.raises(InputError, match=r"table: got torch\.float32, needed float64"):
        fastest_schedule(table, 1.0, 1.0)


def test_a_table_too_long_for_programs_is_sent_elsewhere() -> None:
    x = torch.arange(2001, dtype=torch.float64)
    with pytest.raises(
        InputError, match=r"table: got 2001 distinct points, needed at most 2000; use greatest_schedule"
    ):
        fastest_schedule(from_samples(x, torch.sin(x)), 1.0, 1.0)
    wide: Tensor = greatest_schedule(from_samples(x, torch.sin(x).abs()), 1.0, 1.0).eps
    assert wide.shape == (2001,)
