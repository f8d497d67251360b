"""Large tables go through a floating-point filter first; it may only ever settle pairs that integers would settle alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import VerdictKind
from eqtheory.constructions import (
    BudgetCertificate,
    ExactBalls,
    _certificate,
    _measured_pairs,
    adaptive_relaxation,
    certify_budget,
)
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.targets import SampleTable, _samples

NORMS: tuple[Norm, ...] = (Euclidean(), Sup(), Sum())
PROVED, REFUTED = VerdictKind.PROVED, VerdictKind.REFUTED
N = 1001  # 500,500 pairs: one more row than goes through integers entirely


def table_of(
    inputs: Tensor, values: Tensor, input_norm: Norm | None = None, output_norm: Norm | None = None
) -> SampleTable:
    return SampleTable(inputs, values, input_norm=input_norm or Sup(), output_norm=output_norm or Sup())


Both = Callable[..., tuple[BudgetCertificate, BudgetCertificate]]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Both:
    """Certify along both paths, whatever the size of the table."""

    def certify(table: SampleTable, eps: Tensor, budget: float = 2.0) -> tuple[BudgetCertificate, BudgetCertificate]:
        monkeypatch.setattr(_certificate, "_ALL_EXACT_PAIRS", 0)
        filtered = certify_budget(table, eps, budget)
        monkeypatch.setattr(_certificate, "_ALL_EXACT_PAIRS", len(table) ** 2)
        return filtered, certify_budget(table, eps, budget)

    return certify


def agree(filtered: BudgetCertificate, exact: BudgetCertificate) -> bool:
    a, b = filtered.verdict, exact.verdict
    same = a.kind is b.kind and a.witness == b.witness and filtered.pairs == exact.pairs == exact.exact_pairs
    # What the filter reports for settled pairs is a lower bound of their margin; for the others it is the exact one.
    return same and a.worst_margin <= b.worst_margin and a.worst_margin >= b.worst_margin - 1e-12


def random_table(seed: int, input_norm: Norm, output_norm: Norm, width: int) -> tuple[SampleTable, Tensor]:
    g = torch.Generator().manual_seed(seed)
    points = torch.rand(40, 3, generator=g, dtype=torch.float64)
    steep = 10.0 ** (4 * torch.rand(40, 1, generator=g, dtype=torch.float64) - 2)
    values = steep * torch.randn(40, width, generator=g, dtype=torch.float64)
    table = table_of(points, values, input_norm, output_norm)
    eps = adaptive_relaxation(table).eps
    return table, eps * 10.0 ** (0.5 * (seed % 4) * torch.rand(40, generator=g, dtype=torch.float64))


@pytest.mark.parametrize("input_norm", NORMS, ids=lambda n: n.name)
@pytest.mark.parametrize("output_norm", NORMS, ids=lambda n: n.name)
@pytest.mark.parametrize("width", [1, 2])
def test_both_paths_agree(both: Both, input_norm: Norm, output_norm: Norm, width: int) -> None:
    kinds = set()
    for seed in range(8):
        table, eps = random_table(seed, input_norm, output_norm, width)
        filtered, exact = both(table, eps.clamp_max(1.0))
        if (
            isinstance(output_norm, Euclidean) and width > 1
        ):  # the filter decides the joint form, which is the stronger one
            assert filtered.verdict.kind is exact.verdict.kind
        else:
            assert agree(filtered, exact)
        assert filtered.exact_pairs <= exact.exact_pairs
        kinds.add(exact.verdict.kind)
    assert kinds == {PROVED, REFUTED}


@pytest.mark.parametrize("entries", [1, 100, 333])
def test_blocks_of_rows_change_neither_path(both: Both, entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_samples, "_BLOCK_ENTRIES", entries)
    for first, second in ((0, 1), (20, 29), (3, 28)):
        table, eps = attained(30, first, second), torch.full((30,), 0.5, dtype=torch.float64)
        assert len(table.blocks()) > 2
        assert [c.verdict.worst_margin for c in both(table, eps)] == [0.0, 0.0]
        for certificate in both(table, eps, 1.9):
            assert certificate.verdict.witness == f"points {second} and {first}"


def test_the_filter_settles_all_but_the_close_pairs(both: Both) -> None:
    table, eps = random_table(0, Sup(), Sup(), 1)
    filtered, _ = both(table, eps)
    assert filtered.exact_pairs == 0


def attained(count: int, first: int, second: int) -> SampleTable:
    """One pair with `|eps F - eps' F'| = 2 d` exactly at steps 1/2; all others are far away with value 0."""
    points = 1000.0 * torch.arange(count, dtype=torch.float64)
    points[second] = points[first] + 3.0
    values = torch.zeros(count, dtype=torch.float64)
    values[second] = 12.0
    return table_of(points, values)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (500, 999), (1, 1000)])
def test_a_pair_broken_by_one_unit_in_the_last_place_is_found_among_half_a_million(first: int, second: int) -> None:
    table, eps = attained(N, first, second), torch.full((N,), 0.5, dtype=torch.float64)
    certificate = certify_budget(table, eps, 2.0)
    assert certificate.pairs == N * (N - 1) // 2
    assert certificate.exact_pairs == 1  # the attained one; all others have room
    assert certificate.verdict.kind is PROVED
    assert certificate.verdict.worst_margin == 0.0
    values = table.values.clone()
    values[second] = math.nextafter(12.0, 13.0)
    broken = certify_budget(table_of(table.inputs, values), eps, 2.0)
    assert broken.verdict.kind is REFUTED
    assert broken.verdict.witness == f"points {second} and {first}"
    assert -1e-15 < broken.verdict.worst_margin < 0


def test_a_large_honest_table_is_proved_and_a_planted_step_refuted() -> None:
    g = torch.Generator().manual_seed(1)
    starts = 10.0 * torch.arange(N // 2 + 1, dtype=torch.float64)
    M = 50.0
    points = torch.stack([starts, starts + 1 / (1 + M)], dim=1).flatten()[:N]
    values = torch.tensor([M, -M], dtype=torch.float64).repeat(N // 2 + 1)[:N]
    order = torch.randperm(N, generator=g)
    table = table_of(points[order], values[order])
    G = adaptive_relaxation(table, table_radii=ExactBalls())
    assert G.certify().verdict.kind is PROVED
    eps = G.eps.clone()
    eps[700] *= 1.5
    partner = int((order == (int(order[700]) ^ 1)).nonzero()[0])
    verdict = certify_budget(table, eps, 2.0).verdict
    assert verdict.kind is REFUTED
    assert verdict.witness == f"points {max(700, partner)} and {min(700, partner)}"


def near_the_boundary(seed: int, share: float) -> list[tuple[SampleTable, Tensor, float]]:
    """Constant steps, and claims that the steepest pair meets up to the given share, on either side."""
    g = torch.Generator().manual_seed(seed)
    eps, found = torch.full((30,), 0.5, dtype=torch.float64), []
    for input_norm in NORMS:
        points = torch.rand(30, 2, generator=g, dtype=torch.float64)
        table = table_of(points, torch.rand(30, generator=g, dtype=torch.float64), input_norm)
        apart = input_norm.pairwise(points, points).fill_diagonal_(torch.inf)
        attained = 0.5 * float((table.output_norm.pairwise(table.values, table.values) / apart).max())
        found += [(table, eps, attained * factor) for factor in (1 - share, 1.0, 1 + share)]
    return found


@pytest.mark.parametrize("share", [1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-9])
def test_near_the_boundary_the_filter_leaves_the_decision_to_integers(both: Both, share: float) -> None:
    kinds = set()
    for seed in range(3):
        for table, eps, claimed in near_the_boundary(seed, share):
            filtered, exact = both(table, eps, claimed)
            assert agree(filtered, exact)
            kinds.add(exact.verdict.kind)
    assert kinds == {PROVED, REFUTED}


def test_a_filter_without_slack_would_be_caught(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_measured_pairs, "gamma", lambda operations, dtype: 0.0)
    cases = [case for seed in range(10) for case in near_the_boundary(seed, 1e-16)]
    assert not all(agree(*both(*case)) for case in cases)


# Where floating point leaves its range or its precision, the filter has to step back.


@pytest.mark.parametrize("output_norm", NORMS, ids=lambda n: n.name)
def test_violations_whose_squares_underflow_are_found(both: Both, output_norm: Norm) -> None:
    # |F_7| = 1e-165 at distance 1e-175 from its neighbour: slope 1e10, but (1e-165)^2 is 0 in float64.
    points = 1e-175 * torch.arange(20, dtype=torch.float64)
    values = torch.zeros(20, 2, dtype=torch.float64)
    values[7] = 1e-165
    filtered, exact = both(table_of(points, values, Sup(), output_norm), torch.ones(20, dtype=torch.float64))
    assert exact.verdict.kind is REFUTED
    assert filtered.verdict.kind is REFUTED


@pytest.mark.parametrize("input_norm", NORMS, ids=lambda n: n.name)
def test_violations_among_distances_that_overflow_are_found(both: Both, input_norm: Norm) -> None:
    points = 1e160 * torch.arange(20, dtype=torch.float64).unsqueeze(1).expand(20, 2).contiguous()
    values = torch.zeros(20, dtype=torch.float64)
    values[7] = 1e170
    filtered, exact = both(table_of(points, values, input_norm), torch.ones(20, dtype=torch.float64))
    assert exact.verdict.kind is REFUTED
    assert filtered.verdict.kind is REFUTED


@pytest.mark.parametrize("steps", [torch.float32, torch.float64])
def test_tables_of_a_narrow_type_are_decided_for_the_numbers_they_hold(both: Both, steps: torch.dtype) -> None:
    # The distance 4 - 1e-8 rounds up to 4 in float32, and the change of eps F lies between 2 (4 - 1e-8) and 8.
    points = torch.tensor([1e-8, 4.0], dtype=torch.float32)
    table = table_of(points, torch.tensor([0.0, 16.0], dtype=torch.float32))
    eps = torch.tensor([0.5, 0.5 - 1e-10], dtype=steps)
    lhs = abs(Fraction(float(eps[0])) - Fraction(float(eps[1]))) + 16 * Fraction(float(eps[1]))
    assert lhs > 2 * (4 - Fraction(float(points[0])))
    filtered, exact = both(table, eps)
    assert exact.verdict.kind is REFUTED
    assert filtered.verdict.kind is REFUTED
