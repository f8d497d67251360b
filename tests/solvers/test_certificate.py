"""T1's bound in floating point: never below the true error, and not far above it where T1 is an equality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.constructions import MatrixInverse
from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import Euclidean, Norm, Spectral, Sup
from eqtheory.operators import FunctionOperator, Regularity
from eqtheory.roundoff import Rounding, unit_roundoff
from eqtheory.solvers import Anderson, Certificate, OnFailure, Picard, Quantity, Stop, certify, fixed_point
from eqtheory.solvers._measure import Gauge
from tests.problems import PROBLEMS, SHARP, Problem, problem

FLOATS = [torch.float64, torch.float32]
dtypes = pytest.mark.parametrize("dtype", FLOATS, ids=str)
SIZES = [10.0**-k for k in range(-3, 19)]
"""Distances from the equilibrium, relative to it: from far away down to below every rounding floor."""


def states(p: Problem) -> tuple[Problem, Tensor]:
    """The problem repeated once per size, and states at these distances from its equilibria, in its dtype."""
    g = torch.Generator().manual_seed(5)
    k, rows = len(SIZES), len(p.x)
    repeated = replace(
        p,
        x=p.x.repeat(k, *[1] * (p.x.ndim - 1)),
        y_star=p.y_star.repeat(k, *[1] * (p.y_star.ndim - 1)),
        y_star_rest=p.y_star_rest.repeat(k, *[1] * (p.y_star.ndim - 1)),
        mu=p.mu.repeat(k),
    )
    size = torch.tensor(SIZES, dtype=torch.float64).repeat_interleave(rows).reshape(-1, *[1] * (p.x.ndim - 1))
    direction = torch.randn(repeated.y_star.shape, generator=g, dtype=torch.float64)
    return repeated, (repeated.y_star + size * direction * (repeated.y_star.abs() + 0.1)).to(p.x.dtype)


def bounds_the_error(bound: Tensor, error: Tensor) -> None:
    assert bool((error <= bound).all()), f"{int((error > bound).sum())} of {error.numel()} errors above their bound"


@dtypes
@pytest.mark.parametrize("name", PROBLEMS)
def test_bound_holds_at_every_state(name: str, dtype: torch.dtype) -> None:
    p, y = states(problem(name, dtype))
    bounds_the_error(certify(p.operator, p.x, y).value, p.error(y))


@pytest.mark.parametrize("name", ["linear 0.5", "linear 0.9", "multiple", "rotation", "tanh", "relu", "jordan"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_bound_holds_in_half_precision(name: str, dtype: torch.dtype) -> None:
    p = problem(name, dtype)
    stop = Stop(rtol=0.0, max_steps=60)
    for solver in (Picard(), Anderson()):
        s = fixed_point(p.operator, p.x, p.y0, solver=solver, stop=stop, on_failure=OnFailure.RETURN)
        assert s.value.dtype is dtype
        assert s.residual.dtype is torch.float32
        assert bool(torch.isfinite(s.error_bound.value).all())
        bounds_the_error(s.error_bound.value, p.error(s.value))


@dtypes
@pytest.mark.parametrize("solver", [Picard(), Anderson()], ids=["picard", "anderson"])
@pytest.mark.parametrize("name", [name for name in PROBLEMS if name != "linear 0.999"])
def test_bound_holds_where_a_solver_ends_at_the_rounding_floor(name: str, solver: Any, dtype: torch.dtype) -> None:
    p = problem(name, dtype)
    stop = Stop(rtol=0.0, max_steps=5000)
    s = fixed_point(p.operator, p.x, p.y0, solver=solver, stop=stop, on_failure=OnFailure.RETURN)
    bounds_the_error(s.error_bound.value, p.error(s.value))
    # And it is no looser than twice the floor the operator's own declaration implies, plus what the residual still is.
    declared = p.operator.regularity.rounding.error(p.operator.norm(s.value), p.x).double()
    assert bool((s.error_bound.value <= 2 * (declared + s.residual.double()) / (1 - p.mu)).all())


@dtypes
@pytest.mark.parametrize("name", SHARP)
def test_bound_is_attained(name: str, dtype: torch.dtype) -> None:
    """On `G = mu y + b` bound and error are equal, up to evaluation errors and the slack for rounding."""
    p, y = states(problem(name, dtype))
    bound, error = certify(p.operator, p.x, y).value, p.error(y)
    u = unit_roundoff(dtype)
    evaluation = p.operator.regularity.rounding.error(p.operator.norm(y), p.x).double() / (1 - p.mu)
    # Relative slack: 18 roundings of a norm of one entry, `mu` raised by 16 u, and the residual's own evaluation error,
    # which can make it too large by as much as the certificate allows for its being too small.
    allowed = error * (1 + 40 * u + 16 * u / (1 - p.mu)) + 2.1 * evaluation
    assert bool((bound <= allowed * (1 + 40 * u)).all())
    far = error > 1e3 * evaluation
    assert int(far.sum()) >= 10
    assert bool((bound[far] <= 1.01 * error[far]).all())


WRONG: dict[str, Callable[[Bound, Tensor, Problem], Tensor]] = {
    "the residual dressed up as an error": lambda _, residual, p: residual,
    "1/(1 - mu) removed": lambda bound, _, p: bound.value * (1 - p.mu),
    "mu two percent too small": lambda bound, _, p: bound.value * (1 - p.mu) / (1 - 0.98 * p.mu),
}


@pytest.mark.parametrize("name", SHARP)
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_bounds_are_rejected(wrong: Callable[..., Tensor], name: str) -> None:
    p, y = states(problem(name, torch.float64))
    residual = p.operator.norm(p.operator(y, p.x) - y)
    with pytest.raises(AssertionError, match="above their bound"):
        bounds_the_error(wrong(certify(p.operator, p.x, y), residual, p), p.error(y))


@pytest.mark.parametrize("name", ["linear 0.9", "linear 0.99", "linear 0.999", "rotation", "multiple"])
def test_a_bound_without_evaluation_error_is_rejected(name: str) -> None:
    """At a fixed point of the rounded operator the residual is zero and the error is not."""
    p = problem(name, torch.float32)
    stop = Stop(rtol=0.0, max_steps=20_000)
    s = fixed_point(p.operator, p.x, p.y0, stop=stop, solver=Anderson(), on_failure=OnFailure.RETURN)
    with pytest.raises(AssertionError, match="above their bound"):
        bounds_the_error(s.residual.double() / (1 - p.mu), p.error(s.value))


def operator(mu: Any, **regularity: Any) -> FunctionOperator:
    bound = mu if isinstance(mu, (Bound, LocalBound)) else Bound(mu, Side.UPPER, "argument", Evidence.DECLARED)
    plain = Bound(1.0, Side.UPPER, "argument", Evidence.DECLARED)
    constants = Regularity(bound, plain, plain, regularity.pop("norm", Euclidean()), Euclidean(), **regularity)
    return FunctionOperator(lambda y, x: 0.5 * y + x, regularity=constants)


X = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)


def test_samples_without_contraction_have_an_infinite_bound() -> None:
    mu = LocalBound(
        lambda x: torch.tensor([0.5, 1.0, torch.nan], dtype=torch.float64), Side.UPPER, "argument", Evidence.DECLARED
    )
    bound = certify(operator(mu), X, 0 * X)
    torch.testing.assert_close(bound.value, torch.tensor([2.0, torch.inf, torch.inf], dtype=torch.float64))


def test_mu_may_be_a_rational_a_number_or_one_per_sample() -> None:
    for mu in (Fraction(1, 2), 0.5, torch.tensor(0.5), torch.tensor([0.5, 0.5, 0.5])):
        torch.testing.assert_close(certify(operator(mu), X, 0 * X).value, 2 * X, atol=0.0, rtol=1e-5)
    with pytest.raises(ShapeError, match=r"^mu\(x\): got shape \(2,\), needed one number or shape \(3,\); return one"):
        certify(operator(torch.tensor([0.5, 0.5])), X, 0 * X)


def test_labels_are_inherited() -> None:
    declared = certify(operator(0.5), X, X)
    assert (declared.side, declared.evidence, declared.method) == (Side.UPPER, Evidence.DECLARED, "T1 residual bound")
    assert declared.assumptions == ("G is evaluated exactly (its regularity declares no rounding)",)
    assert declared.norm == "l2"
    proved = Bound(0.5, Side.EXACT, "T7", Evidence.PROVED, assumptions=("x is positive",))
    bound = certify(operator(proved, norm=Sup()), X, X)
    assert (bound.side, bound.evidence, bound.norm) == (Side.UPPER, Evidence.PROVED, "sup")
    assert bound.assumptions[0] == "x is positive"
    estimated = Bound(0.5, Side.ESTIMATE, "pairs", Evidence.ESTIMATED)
    assert certify(operator(estimated), X, X).side is Side.ESTIMATE
    p = problem("tanh", torch.float64)
    assert certify(p.operator, p.x, p.y0).assumptions == ()


def test_no_mu_means_no_bound() -> None:
    G = FunctionOperator(lambda y, x: 0.5 * y + x)
    assert fixed_point(G, X, 0 * X).error_bound is None
    with pytest.raises(InputError, match=r"^G: got an operator without regularity, needed a known mu; declare it"):
        certify(G, X, X)
    with pytest.raises(InputError, match=r"^G: got an operator without regularity, needed a proved or declared mu"):
        fixed_point(G, X, 0 * X, stop=Stop(of=Quantity.CERTIFIED_ERROR))


def test_a_certified_stop_refuses_an_estimate() -> None:
    G = operator(Bound(0.5, Side.ESTIMATE, "pairs", Evidence.ESTIMATED))
    with pytest.raises(
        InputError, match=r"^G: got an operator whose mu is an estimate, needed a proved or declared mu"
    ):
        fixed_point(G, X, 0 * X, stop=Stop(of=Quantity.CERTIFIED_ERROR))


@pytest.mark.parametrize(
    "name", ["linear 0.9", "linear 0.99", "multiple", "shift", "tanh", "relu", "jordan", "reciprocal"]
)
def test_a_certified_stop_delivers_its_accuracy(name: str) -> None:
    p = problem(name, torch.float64)
    stop = Stop(rtol=1e-6, of=Quantity.CERTIFIED_ERROR, max_steps=5000)
    s = fixed_point(p.operator, p.x, p.y0, stop=stop)
    allowed = 1e-6 * p.operator.norm(s.value)
    assert bool((s.error_bound.value <= allowed).all())
    bounds_the_error(allowed, p.error(s.value))


def test_a_residual_stop_does_not_deliver_that_accuracy() -> None:
    """A relative residual of 1e-3 at mu = 0.999 leaves half of the solution missing; only the certificate says so."""
    constants = replace(Regularity.declared(mu=0.999, L0=1.0, L1=0.0), rounding=Rounding(2.0, 1.0))
    G = FunctionOperator(lambda y, x: 0.999 * y + x, regularity=constants)
    s = fixed_point(G, X, 0 * X, stop=Stop(rtol=1e-3))
    error = 1000 - s.value
    assert bool((error > 400).all())
    assert bool((s.error_bound.value >= error).all())
    assert bool((s.error_bound.value <= 1.001 * error).all())


def test_spectral_norms_are_certified() -> None:
    g = torch.Generator().manual_seed(0)
    A = torch.randn(3, 4, 4, generator=g, dtype=torch.float64)
    A = A / (1.01 * torch.linalg.matrix_norm(A, ord=2)).reshape(-1, 1, 1)
    s = fixed_point(MatrixInverse(), A, solver=Anderson(), stop=Stop(rtol=1e-9, max_steps=20_000))
    error = Spectral()(s.value - torch.linalg.inv(A))
    assert s.error_bound.norm == "spectral"
    assert bool((error <= s.error_bound.value).all())


@pytest.mark.parametrize(
    ("dtype", "n", "measured"),
    [
        (torch.bfloat16, 10, torch.float32),
        (torch.float32, 1000, torch.float32),
        (torch.float32, 2_000_000, torch.float64),
        (torch.float64, 2_000_000, torch.float64),
    ],
    ids=str,
)
def test_norms_are_measured_where_they_can_be(dtype: torch.dtype, n: int, measured: torch.dtype) -> None:
    gauge = Gauge(Euclidean(), torch.zeros(1, n, dtype=dtype), certified=True)
    assert gauge.dtype is measured
    assert 1 < gauge.inflation < 1.2
    if n == 2_000_000:  # without a certificate nothing rests on the last digits
        assert Gauge(Euclidean(), torch.zeros(1, n, dtype=dtype), certified=False).dtype is dtype


@pytest.mark.parametrize("n", [3, 100, 3000])
def test_rounding_of_the_norm_is_covered(n: int) -> None:
    """`G = y/2` is exact, so what separates bound and error is only how the norm was rounded: down, half of the time."""
    constants = replace(Regularity.declared(mu=0.5, L0=1.0, L1=0.0), rounding=Rounding(0.0))
    y = torch.rand(200, n, generator=torch.Generator().manual_seed(n))
    bound = certify(FunctionOperator(lambda y, x: 0.5 * y, regularity=constants), y, y).value
    error = Euclidean()(y.double())
    bounds_the_error(bound, error)
    assert bool((bound <= (1 + (2 * n + 60) * 2.0**-23) * error).all())
    with pytest.raises(AssertionError, match="above their bound"):
        bounds_the_error(2 * Euclidean()(0.5 * y).double(), error)


class Careless(Norm):
    """Squares without looking."""

    name = "careless"

    def __call__(self, v: Tensor) -> Tensor:
        return v.square().sum(dim=1).sqrt()


def test_underflow_cannot_hide_a_residual() -> None:
    """Entries of 1e-30 may square to zero in float32: then the computed norm is zero and the bound is not."""
    y = torch.full((1, 4), 1e-30)
    gauge = Gauge(Careless(), y, certified=True)
    assert float(gauge(y)) == 0
    certificate = Certificate(operator(0.5, norm=Careless()).regularity, y, y, gauge)
    assert float(certificate.error(gauge(y), gauge(y))) > 4e-30
