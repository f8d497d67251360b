"""Jacobians and losses at which the Jacobian-free direction does worst: they attain the bounds, for any shape, batch and type."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from eqtheory.constructions import WorstInstance, least_cosine, least_descent
from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from eqtheory.roundoff import gamma as rounding

BOTH = pytest.mark.parametrize("worst", [least_descent, least_cosine])
Worst = Callable[[Tensor, float], WorstInstance]


def matrices(n: int, p: int, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> Tensor:
    g = torch.Generator().manual_seed(10 * n + p)
    return scale * torch.randn(20, n, p, generator=g, dtype=torch.float64).to(dtype)


def product(A: Tensor, v: Tensor) -> Tensor:
    return (A @ v.unsqueeze(2)).squeeze(2)


def condition(M: Tensor) -> Tensor:
    s = torch.linalg.svdvals(M)
    return (s[:, 0] / s[:, -1]) ** 2


@BOTH
@pytest.mark.parametrize("gamma", [1e-6, 0.3, 0.999])
@pytest.mark.parametrize(("n", "p"), [(1, 1), (1, 3), (2, 2), (3, 5)])
def test_the_jacobian_has_the_norm_and_the_adjoint_is_the_adjoint(worst: Worst, gamma: float, n: int, p: int) -> None:
    case = worst(matrices(n, p), gamma)
    assert case.jacobian.shape == (20, n, n)
    assert case.cotangent.shape == case.adjoint.shape == (20, n)
    slack = rounding(100, torch.float64)
    norms = torch.linalg.matrix_norm(case.jacobian, ord=2)
    # At gamma = 1e-6 the least-cosine Jacobian is a difference of vectors of length 1.
    assert bool(((norms - gamma).abs() <= slack).all())
    left = case.adjoint - product(case.jacobian.mT, case.adjoint)
    assert bool(((left - case.cotangent).abs() <= slack * case.adjoint.abs().amax()).all())
    assert bool((torch.linalg.svdvals(case.jacobian)[:, 1:] <= slack).all())


@pytest.mark.parametrize("gamma", [1e-3, 0.3, 0.9])
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize(("n", "p"), [(1, 3), (2, 2), (3, 5)])
def test_both_bounds_are_attained_at_any_scale(gamma: float, scale: float, n: int, p: int) -> None:
    M = matrices(n, p)
    kappa = condition(M)
    slack = rounding(1000, torch.float64) * kappa
    shortfall, gap = [], []
    for worst in (least_descent, least_cosine):
        case = worst(scale * M, gamma)
        g, d = product(M.mT, case.adjoint), product(M.mT, case.cotangent)
        shortfall.append(1 - (g * d).sum(dim=1) / g.square().sum(dim=1))
        gap.append(1 - torch.nn.functional.cosine_similarity(g, d))
    expected = gamma * (1 + kappa) / (2 * kappa.sqrt())
    assert bool(((shortfall[0] - expected).abs() <= slack).all())
    t = math.tan(math.asin(gamma) / 2)
    expected = 2 * kappa * t * t / (1 + kappa * t * t) if n > 1 else torch.zeros_like(kappa)
    assert bool(((gap[1] - expected).abs() <= slack).all())
    # Each is worst in its own respect.
    assert bool((shortfall[1] <= shortfall[0] + slack).all())
    assert bool((gap[0] <= gap[1] + slack).all())


@BOTH
def test_random_jacobians_of_the_same_norm_do_no_worse(worst: Worst) -> None:
    M, gamma = matrices(3, 4), 0.4
    case = worst(M, gamma)
    g = torch.Generator().manual_seed(3)
    least = torch.full((20,), math.inf, dtype=torch.float64)

    def measure(v: Tensor, w: Tensor) -> Tensor:
        exact, free = product(M.mT, w), product(M.mT, v)
        if worst is least_cosine:
            return torch.nn.functional.cosine_similarity(exact, free)
        return (exact * free).sum(dim=1) / exact.square().sum(dim=1)

    for _ in range(200):
        J = torch.randn(20, 3, 3, generator=g, dtype=torch.float64)
        J = gamma * J / torch.linalg.matrix_norm(J, ord=2).reshape(-1, 1, 1)
        w = torch.randn(20, 3, generator=g, dtype=torch.float64)
        least = torch.minimum(least, measure(w - product(J.mT, w), w))
    assert bool((measure(case.cotangent, case.adjoint) < least).all())


@BOTH
def test_single_precision_and_independence_of_batch_mates(worst: Worst) -> None:
    M = matrices(2, 3, torch.float32)
    whole, alone = worst(M, 0.5), worst(M[3:4], 0.5)
    assert whole.jacobian.dtype is torch.float32
    assert torch.equal(whole.jacobian[3:4], alone.jacobian)
    assert torch.equal(whole.cotangent[3:4], alone.cotangent)


@BOTH
def test_unusable_arguments_are_refused(worst: Worst) -> None:
    M = matrices(2, 3)
    tall = (
        r"M: got shape \(20, 3, 2\), needed \(batch, n, p\) with n <= p; full row rank needs a parameter for every row"
    )
    with pytest.raises(ShapeError, match=tall):
        worst(M.mT, 0.5)
    with pytest.raises(ShapeError, match="M: got shape"):
        worst(M[0], 0.5)
    M[4, 1] = 2 * M[4, 0]
    deficient = r"singular values of M: got .* at sample 4, needed full row rank; the smallest is zero to rounding"
    with pytest.raises(DomainError, match=deficient):
        worst(M, 0.5)
    with pytest.raises(DomainError, match="at sample 0, needed full row rank"):
        worst(torch.zeros(1, 1, 1), 0.5)
    for gamma in (0.0, 1.0, -0.5, math.nan):
        with pytest.raises(InputError, match=f"gamma: got {gamma}, needed 0 < gamma < 1"):
            worst(matrices(2, 3), gamma)
    M[0, 0, 0] = math.nan
    with pytest.raises(NonFiniteError, match="M: got nan"):
        worst(M, 0.5)
