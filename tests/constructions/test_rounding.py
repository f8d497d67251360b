"""Declared rounding bounds the difference between what an operator computes and what it is, and is not far above it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor

from eqtheory.constructions import MatrixInverse, Reciprocal, TwoSidedReciprocal, adaptive_relaxation
from eqtheory.norms import Euclidean, Norm, Spectral, Sum, Sup
from eqtheory.operators import ImplicitOperator
from eqtheory.roundoff import Rounding
from eqtheory.targets import CATALOGUE, SampleTable, Target

NARROW = [torch.float32, torch.bfloat16, torch.float16]
HIGHER_ORDER = 1 + 1e-6
"""Declarations are of first order in u; with at most 64 roundings the rest is 64 u of them, below 1e-5 even in float32."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rounding_of(G: ImplicitOperator) -> Rounding:
    assert G.regularity is not None
    assert G.regularity.rounding is not None
    return G.regularity.rounding


def used(G: ImplicitOperator, y: Tensor, x: Any, errors: list[float], rounding: Rounding | None = None) -> Tensor:
    """Share of the declared rounding that an evaluation used up, per sample; above 1 the declaration is false."""
    declared = (rounding or rounding_of(G)).error(G.norm(y), x).double()
    return torch.tensor(errors, dtype=torch.float64) / declared


# The reciprocals, against rational arithmetic on the stored numbers.

FORMULAS: dict[str, tuple[Callable[[float], ImplicitOperator], Callable[[Fraction, Fraction, Fraction], Fraction]]] = {
    "one-sided": (Reciprocal, lambda y, x, eta: y - eta * (x * y - 1)),
    "two-sided": (TwoSidedReciprocal, lambda y, x, eta: y - eta * x * (x * y - 1)),
}


def reciprocal_errors(
    name: str, eta: float, dtype: torch.dtype
) -> tuple[ImplicitOperator, Tensor, Tensor, list[float]]:
    build, formula = FORMULAS[name]
    G = build(eta)
    x = (10.0 ** (-2 * torch.rand(2000, generator=seeded(1), dtype=torch.float64))).to(dtype)
    x[:500] = (1 - 0.05 * torch.rand(500, generator=seeded(2), dtype=torch.float64)).to(dtype)
    size = 10.0 ** (4 * torch.rand(2000, generator=seeded(3), dtype=torch.float64) - 2)
    y = (size * torch.randn(2000, generator=seeded(4), dtype=torch.float64)).to(dtype)
    found = G(y, x)
    exact = [formula(Fraction(a), Fraction(b), Fraction(eta)) for a, b in zip(y.tolist(), x.tolist(), strict=True)]
    return G, y, x, [float(abs(Fraction(f) - e)) for f, e in zip(found.tolist(), exact, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float64, *NARROW])
@pytest.mark.parametrize("eta", [0.1, 0.7, 0.999])
@pytest.mark.parametrize("name", FORMULAS)
def test_reciprocals_round_no_more_than_declared(name: str, eta: float, dtype: torch.dtype) -> None:
    G, y, x, errors = reciprocal_errors(name, eta, dtype)
    share = used(G, y, x, errors)
    # bfloat16 has u = 2^-8: products of its roundings matter, and so does underflow of float16.
    beyond_first_order = 1 + 8 * torch.finfo(dtype).eps
    assert float(share.max()) <= beyond_first_order
    assert float(share.max()) > 0.1  # nor is it an empty promise


def test_a_declaration_ten_times_too_small_is_caught() -> None:
    G, y, x, errors = reciprocal_errors("one-sided", 0.7, torch.float64)
    honest = rounding_of(G)
    small = Rounding(relative=honest.relative / 10, constant=honest.constant / 10)
    assert float(used(G, y, x, errors, small).max()) > 1


# The matrix inverse, narrow types against float64 and float64 against rationals.


def matrices(n: int, count: int) -> tuple[Tensor, Tensor]:
    g = seeded(5)
    raw = torch.randn(count, n, n, generator=g, dtype=torch.float64)
    raw[: count // 2] = raw[: count // 2].abs()  # positive entries: no cancellation helps
    A = 0.999 * raw / torch.linalg.matrix_norm(raw, ord=2).reshape(-1, 1, 1)
    A = A + 1e-3 * torch.eye(n, dtype=torch.float64) * (torch.linalg.svdvals(A)[:, -1] < 1e-3).reshape(-1, 1, 1)
    size = 10.0 ** (4 * torch.rand(count, 1, 1, generator=g, dtype=torch.float64) - 2)
    return A, size * torch.randn(count, n, n, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("norm", [Spectral(), Euclidean()], ids=lambda n: n.name)
@pytest.mark.parametrize("n", [1, 2, 8, 32])
def test_matrix_products_in_float32_round_no_more_than_declared(norm: Norm, n: int) -> None:
    wide, states = matrices(n, 200)
    A, y = wide.float(), states.float()
    G = MatrixInverse(0.7, norm=norm)
    # float64 errs 2^29 times less, which does not show in the comparison.
    exact = y.double() - 0.7 * (A.double().mT @ (A.double() @ y.double() - torch.eye(n, dtype=torch.float64)))
    share = used(G, y, A, norm.distance(G(y, A).double(), exact).tolist())
    assert float(share.max()) <= HIGHER_ORDER


def rational_product(a: list[list[Fraction]], b: list[list[Fraction]]) -> list[list[Fraction]]:
    return [
        [sum((p * q for p, q in zip(row, col, strict=True)), Fraction(0)) for col in zip(*b, strict=True)] for row in a
    ]


@pytest.mark.parametrize("norm", [Spectral(), Euclidean()], ids=lambda n: n.name)
@pytest.mark.parametrize("n", [1, 3])
def test_matrix_products_in_float64_round_no_more_than_declared(norm: Norm, n: int) -> None:
    A, y = matrices(n, 60)
    eta, G = Fraction(0.7), MatrixInverse(0.7, norm=norm)
    found, gaps = G(y, A), []
    for i in range(60):
        a, b, f = ([[Fraction(v) for v in row] for row in t[i].tolist()] for t in (A, y, found))
        r = [[v - (j == k) for k, v in enumerate(row)] for j, row in enumerate(rational_product(a, b))]
        change = rational_product([list(col) for col in zip(*a, strict=True)], r)
        gaps.append([[float(f[j][k] - b[j][k] + eta * change[j][k]) for k in range(n)] for j in range(n)])
    share = used(G, y, A, norm(torch.tensor(gaps, dtype=torch.float64)).tolist())
    assert float(share.max()) <= HIGHER_ORDER
    assert float(share.max()) > 1e-3


# Adaptive relaxations: the step is what it is; the value and the arithmetic around it round.


@pytest.mark.parametrize("norm", [Sup(), Sum()], ids=lambda n: n.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_relaxations_of_tables_round_no_more_than_declared(norm: Norm, dtype: torch.dtype, scale: float) -> None:
    g = seeded(6)
    size = 10.0 ** (4 * torch.rand(200, 1, generator=g, dtype=torch.float64) - 2)
    values = (size * torch.randn(200, 3, generator=g, dtype=torch.float64)).to(dtype)
    points = (100 * torch.rand(200, 1, generator=g, dtype=torch.float64)).to(dtype)
    table = SampleTable(points, values, input_norm=Sup(), output_norm=norm)
    G = adaptive_relaxation(table, scale=scale)
    x, y = table.points, values * (1 + 0.5 * torch.randn(200, 3, generator=g, dtype=torch.float64).to(dtype))
    y[::2] = 0.0  # where nothing but the value rounds
    found, eps, errors = G(y, x).tolist(), G.step(x).tolist(), []
    for f, e, a, v in zip(found, eps, y.tolist(), values.tolist(), strict=True):
        exact = [Fraction(p) + Fraction(e) * (Fraction(q) - Fraction(p)) for p, q in zip(a, v, strict=True)]
        errors.append(float(norm.exact([Fraction(p) - q for p, q in zip(f, exact, strict=True)])))
    share = used(G, y, x, errors)
    assert float(share.max()) <= HIGHER_ORDER
    assert float(share.max()) > 0.05


def leaves(value: Any) -> list[Any]:
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list | tuple) else [value]


def relaxation_errors(target: Target, dtype: torch.dtype) -> tuple[ImplicitOperator, Tensor, Tensor, list[float]]:
    """Errors of one evaluation against the 50-digit reference of the map."""
    x = target.sample(8, generator=seeded(7), dtype=dtype)
    G = adaptive_relaxation(target)
    F = target(x)
    y = F * (1 + 0.5 * torch.randn(F.shape, generator=seeded(8), dtype=torch.float64).to(dtype))
    y[::2] = 0.0  # where nothing but the value rounds
    found, eps, gaps = G(y, x), G.step(x), []
    with mpmath.workdps(100):
        for i in range(8):
            step = mpmath.mpf(float(eps[i]))
            value = leaves(target.reference(x[i]))
            state, result = y[i].double().flatten().tolist(), found[i].double().flatten().tolist()
            gaps.append(
                [float(mpmath.mpf(r) - (s + step * (v - s))) for r, s, v in zip(result, state, value, strict=True)]
            )
    gap = torch.tensor(gaps, dtype=torch.float64).reshape(8, *target.output_shape)
    return G, y, x, target.output_norm(gap).tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("target", CATALOGUE, ids=lambda t: t.name)
def test_relaxations_of_known_maps_round_no_more_than_declared(target: Target, dtype: torch.dtype) -> None:
    G, y, x, errors = relaxation_errors(target, dtype)
    assert float(used(G, y, x, errors).max()) <= HIGHER_ORDER


def test_a_declaration_without_the_state_or_without_the_value_is_caught() -> None:
    G, y, x, errors = relaxation_errors(CATALOGUE[0], torch.float64)
    honest = rounding_of(G)
    for part in (Rounding(relative=0.0, constant=honest.constant), Rounding(relative=honest.relative)):
        share = used(G, y, x, errors, part).nan_to_num(0.0)  # 0/0 where nothing rounds and nothing is declared
        assert float(share.max()) > 1
