"""What it costs to turn a table into a certified operator. Times are reported; what is asserted is that the result is right."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import VerdictKind
from eqtheory.constructions import ExactBalls, SlopeMajorant, TableRelaxation, adaptive_relaxation, certify_budget
from eqtheory.targets import SampleTable, from_samples

pytest.importorskip("pytest_benchmark")


def table(rows: int) -> SampleTable:
    """A map with steep and flat regions on points of R^10, a few percent of which lie within distance 1 of each other."""
    g = torch.Generator().manual_seed(rows)
    points = 0.3 * torch.randn(rows, 10, generator=g, dtype=torch.float64)
    return from_samples(points, 0.2 * torch.sin(9 * points[:, 0]) * torch.exp(3 * points[:, 1]))


def radii_of_one_point(data: SampleTable, i: int, m: Tensor) -> tuple[float, float]:
    """Both radii of one point from the definition of the majorant `m`, trying every distance and every `1/(1 + m)`."""
    d = data.input_norm.pairwise(data.inputs[i : i + 1], data.inputs)[0]
    found = []
    for height in (1 + m, 1 + data.output_norm(data.values)):
        candidates = torch.cat([d[(d > 0) & (d < 1)], 1 / height, torch.ones(1, dtype=torch.float64)])
        highest = torch.stack([height[d < r].amax() for r in candidates.tolist()])
        # A candidate 1/h meets its own condition up to the two roundings of r h.
        found.append(float(candidates[candidates * highest <= 1 + 4 * 2.0**-53].max()))
    return found[0], found[1]


@pytest.mark.benchmark(group="construction of 10,000 rows in R^10")
def test_majorant_of_ten_thousand_rows(benchmark: Any) -> None:
    data = table(10_000)
    G: TableRelaxation = benchmark.pedantic(
        lambda: adaptive_relaxation(data, table_radii=SlopeMajorant()), rounds=1, iterations=1
    )
    assert bool(((G.eps > 0) & (G.rho <= G.sigma) & (G.sigma <= 1)).all())
    for i in (0, 5_000, 9_999):
        # m on the ball of radius 1 is all that a radius of point i can depend on.
        near = (data.input_norm.pairwise(data.inputs[i : i + 1], data.inputs)[0] < 1).nonzero().flatten()
        m = torch.zeros(10_000, dtype=torch.float64)
        for z in near.tolist():
            d = data.input_norm.pairwise(data.inputs[z : z + 1], data.inputs)[0]
            gaps = (data.values - data.values[z]).abs()
            m[z] = data.values[z].abs() + torch.where((d > 0) & (d < 1), gaps / d.clamp_min(1e-300), 0.0).amax()
        rho, sigma = radii_of_one_point(data, i, m)
        assert float(G.rho[i]) == pytest.approx(rho, rel=1e-14)
        assert float(G.sigma[i]) == pytest.approx(sigma, rel=1e-14)


@pytest.mark.benchmark(group="construction of 442 rows in R^10")
@pytest.mark.parametrize("radii", [ExactBalls(), SlopeMajorant()], ids=["exact balls", "majorant"])
def test_radii_of_442_rows(benchmark: Any, radii: ExactBalls | SlopeMajorant) -> None:
    data = table(442)
    G: TableRelaxation = benchmark.pedantic(
        lambda: adaptive_relaxation(data, table_radii=radii), rounds=3, iterations=1, warmup_rounds=1
    )
    assert G.certify().verdict.kind is VerdictKind.PROVED
    for i in (0, 220, 441):
        sizes = data.output_norm(data.values)
        d = data.input_norm.pairwise(data.inputs, data.inputs)
        slopes = (data.values.unsqueeze(1) - data.values).abs() / torch.where(d > 0, d, torch.inf)
        order = d[i].argsort()
        # By the definition of the balls: members are added one after the other.
        best = 0.0
        if isinstance(radii, SlopeMajorant):
            best, _ = radii_of_one_point(data, i, sizes + torch.where(d < 1, slopes, 0.0).amax(dim=1))
        else:
            for k in range(1, 443):
                inside = order[:k]
                h = 1 + float(sizes[inside].max()) + float(slopes[inside][:, inside].max())
                outer = float(d[i, order[k]]) if k < 442 else 1.0
                best = max(best, min(1.0, outer, 1 / h))
                if 1 / h <= float(d[i, order[k - 1]]):
                    break
        assert float(G.rho[i]) == pytest.approx(best, rel=1e-14)


@pytest.mark.benchmark(group="certificate of 442 rows in R^10")
def test_certificate_of_442_rows(benchmark: Any) -> None:
    G = adaptive_relaxation(table(442))
    certificate = benchmark.pedantic(G.certify, rounds=3, iterations=1, warmup_rounds=1)
    assert certificate.verdict.kind is VerdictKind.PROVED
    assert certificate.pairs == certificate.exact_pairs == 442 * 441 // 2
    # Claims just above and just below the smallest budget these steps have are told apart.
    offset = G.eps * G.table.values
    d = G.table.input_norm.pairwise(G.table.inputs, G.table.inputs).fill_diagonal_(torch.inf)
    least = float((((G.eps.unsqueeze(1) - G.eps).abs() + (offset.unsqueeze(1) - offset).abs()) / d).max())
    assert certificate.verdict.worst_margin == pytest.approx(1 - least / 2, rel=1e-9)
    assert Fraction(least) < 2
    assert certify_budget(G.table, G.eps, least * (1 + 1e-12)).verdict.kind is VerdictKind.PROVED
    assert certify_budget(G.table, G.eps, least * (1 - 1e-12)).verdict.kind is VerdictKind.REFUTED
