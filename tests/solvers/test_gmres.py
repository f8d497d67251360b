"""Batched GMRES against dense solves: finite termination, singular and non-normal systems, each sample by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.solvers import _gmres
from eqtheory.solvers._gmres import KrylovSolution, gmres

UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24}


class System:
    """`A v` for the rows that need it, with a count for each; the others are answered with NaN, which must go nowhere."""

    def __init__(self, A: Tensor) -> None:
        self.A = A
        self.products = torch.zeros(len(A), dtype=torch.int64)

    def __call__(self, v: Tensor, needed: Tensor) -> Tensor:
        assert bool((v[~needed] == 0).all()), "a sample that has ended is asked for more"
        torch.testing.assert_close(v[needed].norm(dim=1), torch.ones_like(v[needed, 0]))
        self.products += needed
        product = (self.A * v.unsqueeze(1)).sum(dim=2)
        return torch.where(needed.unsqueeze(1), product, torch.nan)


def solve(
    A: Tensor, b: Tensor, tolerance: float = 1e-10, limit: int = 1000, wanted: Tensor | None = None
) -> tuple[KrylovSolution, Tensor]:
    system = System(A)
    wanted = torch.ones(len(b), dtype=torch.bool) if wanted is None else wanted
    targets = torch.full((len(b),), tolerance, dtype=torch.float64)
    return gmres(system, b, targets, wanted, limit=limit, unit=UNIT[b.dtype]), system.products


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def true_residual(A: Tensor, b: Tensor, z: Tensor) -> Tensor:
    return (b.double() - (A.double() @ z.double().unsqueeze(2)).squeeze(2)).norm(dim=1) / b.double().norm(dim=1)


def with_spectrum(values: Tensor, seed: int = 0) -> Tensor:
    basis = torch.linalg.qr(random(len(values), len(values), seed=seed))[0]
    return basis @ torch.diag(values) @ basis.T


def agrees_with_a_dense_solve() -> None:
    A = torch.eye(20, dtype=torch.float64) - random(6, 20, 20) / 4
    b = random(6, 20, seed=1) * torch.logspace(-9, 9, 6, dtype=torch.float64).unsqueeze(1)
    found, products = solve(A, b)
    exact = torch.linalg.solve(A, b)
    assert bool(((found.value - exact).norm(dim=1) <= 1e-8 * exact.norm(dim=1)).all())
    assert bool((true_residual(A, b, found.value) <= 1.1e-10).all())
    assert bool((products <= 20).all())


def terminates_after_as_many_products_as_eigenvalues() -> None:
    counts = [1, 2, 3, 5]
    values = torch.tensor([0.001, 1.9, 0.7, -0.3, 5.0], dtype=torch.float64)
    A = torch.stack([with_spectrum(values[:k].repeat(40)[:40]) for k in counts])
    b = random(4, 40, seed=2)
    found, products = solve(A, b, tolerance=1e-9)
    assert products.tolist() == counts
    assert bool((true_residual(A, b, found.value) <= 1e-9).all())


def reports_its_residual() -> None:
    """The recurrence is the truth: also with ill-conditioned bases in float32, and where the products run out."""
    for dtype, floor in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        A = torch.stack([with_spectrum(torch.logspace(-k, 0, 60, dtype=torch.float64)) for k in (1, 2, 3)]).to(dtype)
        b = random(3, 60, seed=3).to(dtype)
        for limit in (5, 20, 60):
            found, _ = solve(A, b, tolerance=1e-4, limit=limit)
            truth = true_residual(A, b, found.value)
            assert bool(((found.residual - truth).abs() <= 1e-3 * truth + floor).all())


def minimises_the_residual() -> None:
    """No combination of the Krylov vectors does better."""
    A, b = torch.eye(30, dtype=torch.float64) - random(1, 30, 30) / 4, random(1, 30, seed=4)
    for limit in (1, 4, 9):
        found, _ = solve(A, b, tolerance=0.0, limit=limit)
        powers = [b[0]]
        for _ in range(limit - 1):
            powers.append(A[0] @ powers[-1])
        K = torch.linalg.qr(torch.stack(powers, dim=1))[0]
        best = torch.linalg.lstsq(A[0] @ K, b[0].unsqueeze(1)).solution
        residual = (b[0] - (A[0] @ K @ best).squeeze(1)).norm() / b[0].norm()
        torch.testing.assert_close(found.residual[0], residual, rtol=1e-8, atol=1e-12)


def is_right_on_singular_systems() -> None:
    """Consistent ones are solved; of `diag(1, 0, ...)` with `b` in both parts only the first can be removed."""
    values = torch.tensor([1.0, 0.5, 2.0, 0.0, 0.0] * 4, dtype=torch.float64)
    A = torch.diag(values).unsqueeze(0)
    consistent = (values > 0).double().unsqueeze(0) * random(1, 20, seed=5)
    found, products = solve(A, consistent)
    assert int(products) == 3
    assert float(true_residual(A, consistent, found.value)) <= 1e-10
    b = random(1, 20, seed=6)
    found, products = solve(A, b, tolerance=1e-6)
    left = b[0, values == 0].norm() / b.norm()
    assert int(products) <= 5
    torch.testing.assert_close(found.residual[0], left, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(true_residual(A, b, found.value)[0], left, rtol=1e-6, atol=0.0)


def gives_up_on_a_nilpotent_operator() -> None:
    """`A e_1 = e_2, ..., A e_n = 0` never reaches `e_1`: the residual stays 1 and the value 0."""
    A = torch.diag(torch.ones(7, dtype=torch.float64), -1).unsqueeze(0)
    b = torch.eye(8, dtype=torch.float64)[:1]
    found, products = solve(A, b)
    assert int(products) == 8
    assert float(found.residual) == 1
    assert float(found.value.abs().max()) <= 1e-15


def solves_a_strongly_non_normal_system() -> None:
    """One Jordan block of size 8: the residual stays above 0.95 before the last product."""
    A = (0.2 * torch.eye(8, dtype=torch.float64) + torch.diag(torch.ones(7, dtype=torch.float64), 1)).unsqueeze(0)
    b = torch.eye(8, dtype=torch.float64)[7:]
    found, products = solve(A, b, tolerance=1e-6)
    assert int(products) == 8
    assert float(true_residual(A, b, found.value)) <= 1e-6


def samples_end_alone() -> None:
    """Each takes the products it needs; bits, counts and residuals are those of the sample by itself."""
    A = (
        torch.eye(70, dtype=torch.float64)
        - random(5, 70, 70) * torch.tensor([0.0, 0.01, 0.03, 0.06, 0.09]).double()[:, None, None]
    )
    b = random(5, 70, seed=7)
    for dtype in (torch.float64, torch.float32):
        M, right = A.to(dtype), b.to(dtype)
        together, products = solve(M, right, tolerance=1e-4)
        assert len(set(products.tolist())) == 5
        for i in range(5):
            for company in ([i], [i, (i + 1) % 5], [i, (i + 3) % 5, (i + 4) % 5]):
                other, count = solve(M[company], right[company], tolerance=1e-4)
                assert torch.equal(other.value[0], together.value[i])
                assert torch.equal(other.residual[0], together.residual[i])
                assert torch.equal(count[0], products[i])


def follows_a_change_of_scale() -> None:
    A, b = torch.eye(25, dtype=torch.float64) - random(2, 25, 25) / 5, random(2, 25, seed=8)
    plain, _ = solve(A, b)
    for scale in (2.0**-40, 2.0**37):
        scaled, _ = solve(A, scale * b)
        assert torch.equal(scaled.value / scale, plain.value)
        assert torch.equal(scaled.residual, plain.residual)


LAWS: list[Callable[[], None]] = [
    agrees_with_a_dense_solve,
    terminates_after_as_many_products_as_eigenvalues,
    reports_its_residual,
    minimises_the_residual,
    is_right_on_singular_systems,
    gives_up_on_a_nilpotent_operator,
    solves_a_strongly_non_normal_system,
    samples_end_alone,
    follows_a_change_of_scale,
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law: Callable[[], None]) -> None:
    law()


def _transposed(honest: Any) -> Any:
    def rotate(Q: Tensor, above: Tensor, below: Tensor) -> Any:
        turned, diagonal = honest(Q, above, below)
        return turned.transpose(1, 2).contiguous(), diagonal

    return rotate


FAULTS: list[tuple[Callable[[], None], str, Callable[[Any], Any]]] = [
    (agrees_with_a_dense_solve, "_rotate", _transposed),
    (minimises_the_residual, "dot", lambda honest: lambda a, b: 0.9 * honest(a, b)),
    (reports_its_residual, "dot", lambda honest: lambda a, b: honest(a, b) * (1 + 1e-3)),
    (terminates_after_as_many_products_as_eigenvalues, "_back_substituted", lambda _: lambda c, t: [-v for v in t]),
    (is_right_on_singular_systems, "_NOISE", lambda _: 0.0),
    (solves_a_strongly_non_normal_system, "_NOISE", lambda _: 1e15),
    (samples_end_alone, "dot", lambda honest: lambda a, b: honest(a, b) + 1e-9 * b.sum()),
    (follows_a_change_of_scale, "_unit", lambda honest: lambda w, length, where: honest(w, length + 1e-9, where)),
]


@pytest.mark.parametrize(("law", "name", "fault"), FAULTS, ids=[f"{a.__name__}-{b}" for a, b, _ in FAULTS])
def test_faults_are_caught(
    law: Callable[[], None], name: str, fault: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gmres, name, fault(getattr(_gmres, name)))
    with pytest.raises(AssertionError):
        law()


def test_products_are_only_taken_where_wanted() -> None:
    A, b = torch.eye(4, dtype=torch.float64).expand(4, 4, 4) * 2, torch.ones(4, 4, dtype=torch.float64)
    b[1], b[2] = 0.0, torch.inf
    found, products = solve(A, b, wanted=torch.tensor([True, True, True, False]))
    assert products.tolist() == [1, 0, 0, 0]
    assert found.value.tolist() == [[0.5] * 4, [0.0] * 4, [0.0] * 4, [0.0] * 4]
    assert found.finite.tolist() == [True, True, False, True]
    assert solve(A, b, wanted=torch.zeros(4, dtype=torch.bool))[1].tolist() == [0] * 4


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_product_that_is_not_finite_stays_with_its_sample(bad: float) -> None:
    A = torch.eye(12, dtype=torch.float64) - random(3, 12, 12) / 5
    b = random(3, 12, seed=9)
    honest, calls = System(A), []

    def broken(v: Tensor, needed: Tensor) -> Tensor:
        calls.append(1)
        w = honest(v, needed)
        if len(calls) == 3:
            w[1, 5] = bad
        return w

    every, targets = torch.ones(3, dtype=torch.bool), torch.full((3,), 1e-10, dtype=torch.float64)
    found = gmres(broken, b, targets, every, limit=12, unit=2.0**-53)
    good, _ = solve(A, b)
    assert found.finite.tolist() == [True, False, True]
    assert bool(torch.isfinite(found.value).all())
    assert int(honest.products[1]) == 3
    for i in (0, 2):
        assert torch.equal(found.value[i], good.value[i])


def test_the_host_looks_at_an_accelerator_once_in_eight_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed in vain meanwhile is neither counted nor used."""
    A, b = with_spectrum(torch.tensor([1.0, 2.0, 3.0] * 8, dtype=torch.float64)).expand(2, -1, -1), random(2, 24)
    prompt, products = solve(A, b)
    monkeypatch.setattr(_gmres, "host_sees", lambda _: False)
    calls = []
    system = System(A)

    def counted(v: Tensor, needed: Tensor) -> Tensor:
        calls.append(1)
        return system(v, needed)

    every, targets = torch.ones(2, dtype=torch.bool), torch.full((2,), 1e-10, dtype=torch.float64)
    late = gmres(counted, b, targets, every, limit=24, unit=2.0**-53)
    assert len(calls) == 8
    assert torch.equal(system.products, products)
    assert torch.equal(late.value, prompt.value)
