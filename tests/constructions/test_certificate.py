"""The certificate decides every pair exactly: it proves honest relaxations and names the pair that breaks a planted one."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import VerdictKind
from eqtheory.constructions import (
    BudgetCertificate,
    ExactBalls,
    RadiusProduct,
    RelaxationRule,
    SlopeMajorant,
    SquaredRadius,
    adaptive_relaxation,
    certify_budget,
)
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.norms import Euclidean, Norm, Spectral, Sum, Sup
from eqtheory.targets import SampleTable, from_samples

NORMS: tuple[Norm, ...] = (Euclidean(), Sup(), Sum())
PROVED, REFUTED = VerdictKind.PROVED, VerdictKind.REFUTED


def tensor(*entries: object) -> Tensor:
    return torch.tensor(entries, dtype=torch.float64)


def table_of(
    inputs: Tensor, values: Tensor, input_norm: Norm | None = None, output_norm: Norm | None = None
) -> SampleTable:
    return SampleTable(inputs, values, input_norm=input_norm or Sup(), output_norm=output_norm or Sup())


def random_table(seed: int, n: int, input_norm: Norm, output_norm: Norm, width: int) -> SampleTable:
    g = torch.Generator().manual_seed(seed)
    points = torch.rand(n, 3, generator=g, dtype=torch.float64)
    steep = 10.0 ** (3 * torch.rand(n, 1, generator=g, dtype=torch.float64) - 1)
    return table_of(points, steep * torch.randn(n, width, generator=g, dtype=torch.float64), input_norm, output_norm)


@pytest.mark.parametrize("input_norm", NORMS, ids=lambda n: n.name)
@pytest.mark.parametrize("output_norm", NORMS, ids=lambda n: n.name)
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("rule", [SquaredRadius(), RadiusProduct()], ids=lambda r: r.theorem)
def test_honest_relaxations_are_proved(input_norm: Norm, output_norm: Norm, width: int, rule: RelaxationRule) -> None:
    table = random_table(1, 40, input_norm, output_norm, width)
    for radii in (ExactBalls(), SlopeMajorant()):
        for scale in (1.0, 0.125):
            certificate = adaptive_relaxation(table, rule=rule, scale=scale, table_radii=radii).certify()
            assert certificate.verdict.kind is PROVED
            assert certificate.budget == 2 * scale
            assert certificate.pairs == certificate.exact_pairs == certificate.verdict.trials == 780
            # Only Euclidean vectors need the two halves apart.
            assert certificate.joint == (width == 1 or not isinstance(output_norm, Euclidean))
            assert 0 <= certificate.verdict.worst_margin < 1


@pytest.mark.parametrize("input_norm", NORMS, ids=lambda n: n.name)
@pytest.mark.parametrize("M", [9, 99, 9999])
def test_the_sharp_instance_is_proved_with_its_own_margin(input_norm: Norm, M: int) -> None:
    # X = {0, 1/(1+M)}, F = (M, -M): lip(eps F) = 2M/(1+M), so the relative margin is 1/(1+M) up to the rounding of 1/(1+M).
    G = adaptive_relaxation(table_of(tensor(0.0, 1 / (1 + M)), tensor(M, -M), input_norm))
    certificate = G.certify()
    assert certificate.verdict.kind is PROVED
    assert certificate.verdict.worst_margin == pytest.approx(1 / (1 + M), rel=1e-9)


def sharp_pairs(count: int, M: float, input_norm: Norm) -> SampleTable:
    """The sharp instance `count` times over, far apart, on a line through the space."""
    starts = 100.0 * torch.arange(count, dtype=torch.float64)
    line = torch.stack([starts, starts + 1 / (1 + M)], dim=1).flatten()
    return table_of(line.unsqueeze(1) * tensor(1.0, 0.0), tensor(M, -M).repeat(count), input_norm)


@pytest.mark.parametrize("input_norm", NORMS, ids=lambda n: n.name)
@pytest.mark.parametrize("row", [0, 7, 19])
def test_one_step_half_again_as_long_is_refuted_at_its_own_pair(input_norm: Norm, row: int) -> None:
    # (5M/2 + 1/2)/(1+M)^2 against 2/(1+M): broken for M > 3, by a factor of about 5/4.
    table = sharp_pairs(10, 99.0, input_norm)
    G = adaptive_relaxation(table)
    assert G.certify().verdict.kind is PROVED
    eps = G.eps.clone()
    eps[row] *= 1.5
    verdict = certify_budget(table, eps, 2.0).verdict
    assert verdict.kind is REFUTED
    assert verdict.witness == f"points {row | 1} and {row & ~1}"
    assert verdict.worst_margin == pytest.approx(1 - (2.5 * 99 + 0.5) / 200, rel=1e-9)


@pytest.mark.parametrize("M", [10.0, 1000.0])
def test_the_radius_in_place_of_its_square_is_refuted(M: float) -> None:
    table = sharp_pairs(4, M, Sup())
    G = adaptive_relaxation(table)
    verdict = certify_budget(table, G.rho, 2.0).verdict
    assert verdict.kind is REFUTED
    assert verdict.witness == "points 1 and 0"
    assert verdict.worst_margin == pytest.approx(1 - M, rel=1e-9)  # 2 M/(1+M) against 2/(1+M)


@pytest.mark.parametrize("scale", [0.5, 1e-3])
def test_a_scaled_step_does_not_earn_the_square_of_the_scale(scale: float) -> None:
    G = adaptive_relaxation(sharp_pairs(2, 99.0, Sup()), scale=scale)
    assert certify_budget(G.table, G.eps, 2 * scale).verdict.kind is PROVED
    assert certify_budget(G.table, G.eps, 2 * scale * scale).verdict.kind is REFUTED


def pair_at_the_boundary(input_norm: Norm, output_norm: Norm) -> tuple[SampleTable, Tensor]:
    """Two points whose budget is attained exactly: `|eps F - eps' F'| = 2 d` with equal steps of 1/2, all numbers dyadic."""
    points = tensor([0.0, 0.0], [3.0, 4.0])
    distance = {"l2": 5.0, "sup": 4.0, "l1": 7.0}[input_norm.name]
    unit = {"l2": tensor(1.0, 0.0), "sup": tensor(1.0, 0.5), "l1": tensor(0.25, 0.75)}[output_norm.name]
    values = torch.stack([torch.zeros(2, dtype=torch.float64), 4 * distance * unit])
    return table_of(points, values, input_norm, output_norm), tensor(0.5, 0.5)


@pytest.mark.parametrize("input_norm", NORMS, ids=lambda n: n.name)
@pytest.mark.parametrize("output_norm", NORMS, ids=lambda n: n.name)
def test_one_unit_in_the_last_place_decides(input_norm: Norm, output_norm: Norm) -> None:
    table, eps = pair_at_the_boundary(input_norm, output_norm)
    attained = certify_budget(table, eps, 2.0)
    assert attained.verdict.kind is PROVED
    assert attained.verdict.worst_margin == 0.0
    beyond = table.values.clone()
    beyond[1, 0] = math.nextafter(float(beyond[1, 0]), math.inf)
    broken = certify_budget(table_of(table.inputs, beyond, input_norm, output_norm), eps, 2.0)
    assert broken.verdict.kind is REFUTED
    assert broken.verdict.witness == "points 1 and 0"
    assert -1e-15 < broken.verdict.worst_margin < 0
    # One unit less claimed is refuted too, one more is proved with a margin that rounds to something positive.
    assert certify_budget(table, eps, math.nextafter(2.0, 0.0)).verdict.kind is REFUTED
    assert certify_budget(table, eps, math.nextafter(2.0, 3.0)).verdict.kind is PROVED


def test_the_witness_violates_the_budget_in_rational_arithmetic() -> None:
    table = random_table(2, 30, Sum(), Sup(), 2)
    eps = adaptive_relaxation(table).eps.sqrt()
    verdict = certify_budget(table, eps, 2.0).verdict
    assert verdict.kind is REFUTED
    i, j = (int(word) for word in str(verdict.witness).split() if word.isdigit())
    exact = table.rational()
    step = [Fraction(e) for e in eps.tolist()]
    gap = max(abs(step[i] * a - step[j] * b) for a, b in zip(exact.values[i], exact.values[j], strict=True))
    ratio = (abs(step[i] - step[j]) + gap) / (2 * exact.distances[i][j])
    assert ratio > 1
    assert verdict.worst_margin == pytest.approx(float(1 - ratio), rel=1e-12)


def test_the_two_halves_of_euclidean_vectors_are_both_decided() -> None:
    points = tensor([0.0], [1.0])
    values = tensor([0.0, 0.0], [0.0, 0.0])
    table = table_of(points, values, output_norm=Euclidean())
    assert certify_budget(table, tensor(1.0, 0.5), 0.5).verdict.kind is PROVED
    assert certify_budget(table, tensor(1.0, 0.25), 0.5).verdict.kind is REFUTED  # by the steps alone
    table = table_of(points, tensor([3.0, 4.0], [-3.0, -4.0]), output_norm=Euclidean())
    assert certify_budget(table, tensor(0.05, 0.05), 0.5).verdict.kind is REFUTED  # 1 against 1/2, by the offsets alone


def test_matrices_are_measured_as_flat_vectors() -> None:
    g = torch.Generator().manual_seed(3)
    points = torch.rand(20, 2, 2, generator=g, dtype=torch.float64)
    values = torch.randn(20, 2, 3, generator=g, dtype=torch.float64)
    for norm in NORMS:
        assert adaptive_relaxation(table_of(points, values, norm, norm)).certify().verdict.kind is PROVED


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1.0, 1e150])
def test_no_size_is_too_small_or_too_large_for_integers(size: float) -> None:
    table = table_of(tensor(0.0, size), tensor(0.0, 4.0 * size))
    assert certify_budget(table, tensor(0.5, 0.5), 2.0).verdict.worst_margin == 0.0
    assert certify_budget(table, tensor(0.5, 0.5), 1.5).verdict.kind is REFUTED


@pytest.mark.parametrize("input_norm", [Sup(), Euclidean()], ids=lambda n: n.name)
def test_a_violation_of_any_size_is_reported(input_norm: Norm) -> None:
    # The ratio of the sides exceeds the largest float.
    table = table_of(tensor(0.0, 1e-200), tensor(0.0, 1e150), input_norm)
    verdict = certify_budget(table, tensor(1.0, 1.0), 2.0).verdict
    assert verdict.kind is REFUTED
    assert verdict.worst_margin < -1e300


def test_points_closer_than_the_rounding_of_their_radii_are_refuted_and_not_passed_over() -> None:
    # 1 - delta rounds to 1 - 2^-53, so in floating point the radius moves by more than the points do. The declared budget says
    # what it assumes, and the certificate of the stored numbers sees it.
    G = adaptive_relaxation(table_of(tensor(0.0, 0.6 * 2.0**-53, 1.0), tensor(0.0, 0.0, 10.0)))
    assert G.certify().verdict.kind is REFUTED
    assert G.regularity is not None
    assert G.regularity.L1.assumptions == ("steps as in exact arithmetic; certify() decides those that are stored",)


@pytest.mark.parametrize(
    ("certificate", "text"),
    [
        (
            certify_budget(from_samples([0.0, 1.0], [1.0, -1.0]), torch.tensor([0.25, 0.25]).double(), 2.0),
            "|G(y,x) - G(y,x')| <= 2 max(1,|y|) d on all 1 pairs: "
            "proved (1 cases, smallest margin 0.75; exact integer comparison of the stored numbers)",
        ),
        (
            certify_budget(from_samples([0.0, 1.0], [[4.0, 4.0], [0.0, 0.0]]), torch.tensor([0.5, 1.0]).double(), 0.5),
            "L0 = L1 = 0.5 on all 1 pairs: refuted (witness: points 1 and 0; "
            "margin -4.66; exact integer comparison of the stored numbers)",
        ),
    ],
)
def test_a_certificate_says_which_form_it_decided(certificate: BudgetCertificate, text: str) -> None:
    assert str(certificate) == text


# What cannot be certified.

PAIR = table_of(tensor(0.0, 1.0), tensor(0.0, 1.0))


@pytest.mark.parametrize(
    ("eps", "kind", "message"),
    [
        (tensor(0.5), InputError, "eps: got 1 steps, needed 2, one per point; pass one relaxation per row"),
        (tensor(0.5, 0.5, 0.5), InputError, "eps: got 3 steps, needed 2, one per point"),
        (tensor(0.0, 0.5), InputError, "eps: got 0.0 .. 0.5, needed 0 < eps <= 1; clip the steps"),
        (tensor(0.5, 1.5), InputError, "eps: got 0.5 .. 1.5, needed 0 < eps <= 1; clip the steps"),
        (tensor(0.5, math.nan), NonFiniteError, "eps: got nan at index (1,), needed finite numbers"),
        (tensor([0.5], [0.5]), ShapeError, "eps: got shape (2, 1), needed (batch)"),
        (torch.tensor([1, 1]), InputError, "eps: got dtype torch.int64, needed a floating-point tensor"),
        ([0.5, 0.5], InputError, "eps: got list, needed a torch.Tensor"),
    ],
)
def test_steps_that_are_no_relaxation_are_refused(eps: Tensor, kind: type[InputError], message: str) -> None:
    with pytest.raises(kind) as caught:
        certify_budget(PAIR, eps, 2.0)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("budget", [-1.0, math.nan, math.inf])
def test_a_budget_that_is_no_lipschitz_constant_is_refused(budget: float) -> None:
    with pytest.raises(InputError, match=f"budget: got {budget}, needed"):
        certify_budget(PAIR, tensor(1.0, 1.0), budget)


def test_a_norm_without_exact_arithmetic_is_refused() -> None:
    matrices = torch.eye(2, dtype=torch.float64) * tensor(1.0, 2.0).reshape(2, 1, 1)
    for table in (
        table_of(matrices, tensor(0.0, 1.0), Spectral()),
        table_of(tensor(0.0, 1.0), matrices, None, Spectral()),
    ):
        with pytest.raises(InputError, match="norm: got spectral, needed l2, sup or l1; measure the table in one of"):
            certify_budget(table, tensor(0.1, 0.1), 2.0)


def test_a_single_point_has_nothing_to_certify() -> None:
    G = adaptive_relaxation(table_of(tensor(0.0), tensor(3.0)))
    with pytest.raises(
        ShapeError, match=r"table: got one point, needed at least two points; a single point has no pairs"
    ):
        G.certify()
