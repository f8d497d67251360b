"""T9 under attack: the derivative of the fixed point, truncated and relaxed adjoints, and what certifies them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import sympy
import torch
from hypothesis import given, target
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import BROKEN_ADJOINTS, BROKEN_BOUNDS
from eqtheory.theorems.implicit_gradient import (
    certificate,
    gradient_certificate,
    jacobian_bound,
    neumann_truncation,
    phantom_truncation,
    residual_bound,
)
from proofs_check import controls, rational
from proofs_check.adjoints import METHODS, compared, draw, of_gradient, under_attack
from proofs_check.instances import MANY, SHAPES
from proofs_check.layers import NORMS, Layers, Pair

Sides = Callable[..., tuple[Any, Any]]
HONEST: dict[str, Sides] = {
    bound.name: bound.sides
    for bound in (
        jacobian_bound,
        neumann_truncation,
        phantom_truncation,
        residual_bound,
        certificate,
        gradient_certificate,
    )
}
BROKEN = {claim.name: claim for claim in BROKEN_ADJOINTS if claim.about in METHODS}

WRONG = {bound.name: bound for bound in BROKEN_BOUNDS}


@pytest.mark.theorem("T9", part="holds")
def test_holds(evidence: Recorder) -> None:
    few_or_many = st.one_of(st.integers(1, 4), st.integers(5, 40))

    @given(
        st.integers(0, 2**32),
        st.integers(1, 4),
        st.floats(0.5, 7),
        st.integers(-6, 6),
        st.integers(-60, 60),
        st.sampled_from(list(NORMS)),
        few_or_many,
        st.floats(0.01, 1),
    )
    def attack(
        seed: int, dimension: int, nearness: float, exponent: int, of_v: int, norm: str, steps: int, relaxation: float
    ) -> None:
        G, v, guess, elsewhere = draw(seed, dimension, nearness, exponent, of_v, norm, batch=3072)
        worst, slack_regimes = 1.0, Counter[str]()
        for inequality, about, quantities, slack in compared(G, v, guess, elsewhere, steps, relaxation):
            sides = HONEST[inequality](**quantities)
            margins = relative_margin(sides, slack)
            slack_regimes[f"{inequality}: slack below 0.1%"] += int((slack < 1e-3 * sides[1]).sum())
            name = f"{inequality}: {about}"
            worst = min(worst, settle(evidence, Kind.SAMPLED, name, margins, instances=len(G), witness=G.describe))
        regimes = {f"in {norm}": len(G), "one term": len(G) * (steps == 1), "20 terms or more": len(G) * (steps >= 20)}
        regimes |= {"|v| above 1e20": len(G) * (of_v > 20), "|v| below 1e-20": len(G) * (of_v < -20)}
        regimes |= {"states above 1e3": len(G) * (exponent > 3), "states below 1e-3": len(G) * (exponent < -3)}
        evidence.regimes({**G.counts(), **regimes, **slack_regimes})
        target(-worst)

    attack()
    evidence.require_regimes(
        *SHAPES,
        "mu above 0.999",
        "mu below 0.5",
        *(f"in {norm}" for norm in NORMS),
        "one term",
        "20 terms or more",
        "|v| above 1e20",
        "|v| below 1e-20",
        "states above 1e3",
        "states below 1e-3",
        *(f"{name}: slack below 0.1%" for name in HONEST),
    )


@pytest.mark.theorem("T9", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    """Scalar affine operators attain four bounds, a quadratic one the certificate."""
    unit = st.fractions(min_value=Fraction(1, 100), max_value=Fraction(99, 100), max_denominator=100)
    signed = st.fractions(max_denominator=100)

    @MANY
    @given(unit, unit, signed, signed, signed, unit, unit)
    def equality(
        mu: Fraction, a: Fraction, b: Fraction, v: Fraction, guess: Fraction, alpha: Fraction, beta: Fraction
    ) -> None:
        true = v / (1 - mu)
        found: list[tuple[str, dict[str, Any]]] = [
            ("jacobian_bound", {"derivative_norm": abs(b / (1 - mu)), "input_norm": abs(b), "mu": mu}),
            ("residual_bound", {"error": abs(guess - true), "mu": mu, "residual": abs(v + mu * guess - guess)}),
        ]
        for K in range(1, 6):
            size = {"mu": mu, "cotangent_norm": abs(v)}
            series = sum((mu**k * v for k in range(K)), Fraction(0))
            found.append(("neumann_truncation", {"error": abs(series - true), "terms": K, **size}))
            relaxed = a * sum(((1 - a + a * mu) ** k * v for k in range(K)), Fraction(0))
            quantities = {"error": abs(relaxed - true), "steps": K, "relaxation": a, **size}
            found.append(("phantom_truncation", quantities))
        # G(y,x) = j y + alpha y^2/2 + (|b| + beta y) x at x = y* = 0, seen from e > 0 where J = mu.
        e = mu / (2 * alpha)
        j = mu - alpha * e
        known = {"alpha": alpha, "beta": beta, "state_error": e, "derivative_norm": abs(b) / (1 - j)}
        error = (abs(b) + beta * e) / (1 - mu) - known["derivative_norm"]
        found.append(("certificate", {"error": error, "mu": mu, **known}))
        # An adjoint that is too large has a negative residual, and all errors have one sign.
        adjoint, residual = abs(v), -abs(guess)
        error = (abs(b) + beta * e) * adjoint - known["derivative_norm"] * (residual + (1 - mu) * adjoint)
        known |= {"adjoint_norm": adjoint, "adjoint_residual": abs(residual)}
        found.append(("gradient_certificate", {"error": error, **known}))
        for name, values in found:
            lhs, rhs = HONEST[name](**values)
            assert lhs == rhs, f"{name} is not attained at {values}"
            evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=name)
            if rhs:
                evidence.caught(f"{name} 1% smaller", (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened")

    equality()


def linear(A: Tensor, mu: float, norm: str) -> Layers:
    """`G(y) = A y + p` alone, in float64."""
    zero = torch.zeros(A.shape[:2], dtype=torch.float64)
    inputs = (zero, zero, A, 0 * A, 0 * A, zero, zero[:, 0])
    return Layers(inputs, zero[:, 0] + mu, zero, ("linear",) * len(A), NORMS[norm])


@pytest.mark.theorem("T9", part="sharp")
@pytest.mark.parametrize("about", ["neumann_truncation", "phantom_truncation"])
def test_gradients_attain_their_bounds(evidence: Recorder, about: str) -> None:
    """At `mu = lambda = 1/2` floating point is exact, and the computed adjoint errs by the bound to the last bit."""
    scalar, v = linear(torch.full((1, 1, 1), 0.5, dtype=torch.float64), 0.5, "l2"), torch.full((1, 1), 3.0).double()
    for claim in under_attack(about):
        for steps in range(1, 9):
            inequality, _, quantities, _ = of_gradient(scalar, v, steps, 0.5, claim)
            lhs, rhs = HONEST[inequality](**quantities)
            assert torch.equal(lhs, rhs), f"{claim.name} does not attain its bound after {steps} steps"
            evidence.record(
                Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=f"{about}: {claim.name}, computed"
            )


@pytest.mark.theorem("T9", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.adjoint_without_contraction(evidence)


def rejection_cases() -> Iterator[tuple[Layers, Tensor, Tensor, Tensor]]:
    for dimension in (1, 3):
        for norm in NORMS:
            yield draw(5, dimension, 1.5, 0, 0, norm, batch=300)


@pytest.mark.theorem("T9", part="rejects")
@pytest.mark.parametrize("name", BROKEN)
def test_rejects_gradients(evidence: Recorder, name: str) -> None:
    worst = float("inf")
    for G, v, _, _ in rejection_cases():
        for steps in (1, 3):
            inequality, _, quantities, slack = of_gradient(G, v, steps, 0.8, BROKEN[name])
            worst = min(worst, float(relative_margin(HONEST[inequality](**quantities), slack).min()))
    evidence.caught(name, worst)


@pytest.mark.theorem("T9", part="rejects")
@pytest.mark.parametrize("name", WRONG)
def test_rejects_bounds(evidence: Recorder, name: str) -> None:
    bound = WRONG[name]
    worst = float("inf")
    for G, v, guess, elsewhere in rejection_cases():
        for inequality, _, quantities, slack in compared(G, v, guess, elsewhere, 3, 0.8):
            if inequality == bound.about:
                worst = min(worst, float(relative_margin(bound.sides(**quantities), slack).min()))
    evidence.caught(name, worst)


@pytest.mark.theorem("T9", part="rejects")
def test_rejects_the_norm_of_the_state_for_the_adjoint(evidence: Recorder) -> None:
    # J^T has the norm of J in the dual norm only. At these the dual norm attains the bound and the norm of the states misses it.
    half = 0.5
    for norm, A, v in (("sup", [[half, 0.0], [half, 0.0]], [1.0, 1.0]), ("l1", [[half, half], [0.0, 0.0]], [1.0, 0.0])):
        G = linear(torch.tensor([A], dtype=torch.float64), half, norm)
        cotangent = torch.tensor([v], dtype=torch.float64)
        for claim in under_attack("neumann_truncation"):
            inequality, _, quantities, _ = of_gradient(G, cotangent, 1, 1.0, claim)
            lhs, rhs = HONEST[inequality](**quantities)
            assert torch.equal(lhs, rhs)
            states = Pair(G.pair.norm, G.pair.norm)
            inequality, _, quantities, _ = of_gradient(replace(G, pair=states), cotangent, 1, 1.0, claim)
            lhs, rhs = HONEST[inequality](**quantities)
            evidence.caught(f"adjoints measured in the {norm} norm of the states", float((rhs - lhs) / rhs))


@pytest.mark.theorem("T9", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Rational affine operators of dimension 3, states in the sup norm and adjoints in its dual, the sum."""
    entries = st.fractions(min_value=-1, max_value=1, max_denominator=12)

    @MANY
    @given(
        st.lists(entries, min_size=9, max_size=9),
        st.lists(entries, min_size=9, max_size=9),
        st.lists(entries, min_size=6, max_size=6),
        st.fractions(min_value=Fraction(1, 20), max_value=1, max_denominator=20),
    )
    def attack(of_A: list[Fraction], of_B: list[Fraction], rest: list[Fraction], a: Fraction) -> None:
        raw, B = rational.rows(of_A, 3), rational.rows(of_B, 3)
        # Scale to a factor below one, so that nothing drawn is thrown away.
        J = [[entry / (rational.sup_norm(raw) + Fraction(1, 20)) for entry in row] for row in raw]
        mu, v, guess = rational.sup_norm(J), rest[:3], rest[3:]
        Jt = rational.transposed(J)
        true = rational.solve(rational.identity_minus(Jt), v)
        found: list[tuple[str, dict[str, Any]]] = []
        derivative = rational.transposed([rational.solve(rational.identity_minus(J), c) for c in zip(*B, strict=True)])
        sizes = {"derivative_norm": rational.sup_norm(derivative), "input_norm": rational.sup_norm(B), "mu": mu}
        found.append(("jacobian_bound", sizes))
        residual = [p + q - r for p, q, r in zip(v, rational.product(Jt, guess), guess, strict=True)]
        error = rational.sum_distance(guess, true)
        found.append(("residual_bound", {"error": error, "mu": mu, "residual": sum(map(abs, residual))}))
        size: dict[str, Any] = {"mu": mu, "cotangent_norm": sum(map(abs, v), Fraction(0))}
        plain, relaxed = list(v), [a * p for p in v]
        for K in range(1, 4):
            found.append(("neumann_truncation", {"error": rational.sum_distance(plain, true), "terms": K, **size}))
            error = rational.sum_distance(relaxed, true)
            found.append(("phantom_truncation", {"error": error, "steps": K, "relaxation": a, **size}))
            plain = [p + q for p, q in zip(v, rational.product(Jt, plain), strict=True)]
            image = rational.product(Jt, relaxed)
            relaxed = [a * p + (1 - a) * q + a * r for p, q, r in zip(v, relaxed, image, strict=True)]
        margins: dict[str, list[Fraction]] = {}
        for name, quantities in found:
            margins.setdefault(name, []).append(exact_margin(HONEST[name](**quantities)))
        for name, values in margins.items():
            evidence.record(Kind.EXACT, instances=1, worst_margin=min(values), quantity=name)

    attack()


@pytest.mark.theorem("T9", part="exact")
def test_certificate_exact(evidence: Recorder) -> None:
    """Rational quadratic operators of any signs, `G(y,x) = j y + a y^2/2 + (b + c y) x` near `x = y* = 0`."""
    slope = st.fractions(min_value=Fraction(-19, 20), max_value=Fraction(19, 20), max_denominator=20)
    signed = st.fractions(min_value=-10, max_value=10, max_denominator=20)

    @MANY
    @given(slope, slope, signed, signed, st.fractions(min_value=Fraction(1, 100), max_value=10, max_denominator=100))
    def attack(here: Fraction, there: Fraction, b: Fraction, c: Fraction, e: Fraction) -> None:
        # J runs linearly from `here` at the fixed point 0 to `there` at the state e.
        a = (there - here) / e
        true, computed = b / (1 - here), (b + c * e) / (1 - there)
        known = {"error": abs(computed - true), "mu": max(abs(here), abs(there)), "alpha": abs(a), "beta": abs(c)}
        margins = [
            exact_margin(certificate.sides(state_error=e, derivative_norm=abs(size), **known))
            for size in (true, computed)
        ]
        evidence.record(Kind.EXACT, instances=1, worst_margin=min(margins), quantity="certificate")

    attack()


def formula(G: sympy.Matrix, y: sympy.Matrix, x: sympy.Matrix, solution: sympy.Matrix) -> sympy.Matrix:
    """`(I - d_yG)^-1 d_xG` at the fixed point, in symbols."""
    at = dict(zip(y, solution, strict=True))
    J, B = G.jacobian(y).subs(at), G.jacobian(x).subs(at)
    return (sympy.eye(len(y)) - J).inv() * B


@pytest.mark.theorem("T9", part="exact")
def test_symbolic(evidence: Recorder) -> None:
    """Derivatives of known fixed points, and the identities of the proof, for all arguments."""
    x, y, eta, a = sympy.symbols("x y eta lambda", real=True)
    F, eps = sympy.Function("F")(x), sympy.Function("epsilon")(x)
    known = {
        "Dy* for y - eta (x y - 1)": (y - eta * (x * y - 1), 1 / x),
        "Dy* for y + eps(x) (F(x) - y), any smooth F and eps > 0": (y + eps * (F - y), F),
    }
    for statement, (G, solution) in known.items():
        assert sympy.simplify(G.subs(y, solution) - solution) == 0
        found = formula(sympy.Matrix([G]), sympy.Matrix([y]), sympy.Matrix([x]), sympy.Matrix([solution]))[0]
        assert sympy.simplify(found - sympy.diff(solution, x)) == 0
        evidence.record(
            Kind.EXACT,
            instances=1,
            worst_margin=Fraction(0),
            quantity="derivative formula",
            proved=f"formula = {statement}",
        )
    eye, w = sympy.eye(2), sympy.Matrix(sympy.symbols("w:2", real=True))
    J, other, D, moved = (sympy.Matrix(2, 2, sympy.symbols(f"{name}:4", real=True)) for name in ("J", "H", "D", "E"))
    T, v = (1 - a) * eye + a * J.T, (eye - J.T) * w
    for K in range(1, 5):
        series = sum((a * T**k * v for k in range(K)), sympy.zeros(2, 1))
        assert (w - series - T**K * w).expand() == sympy.zeros(2, 1)
    # D and `moved` are the derivatives at two states, so their right-hand sides are B = (I - J) D and (I - H) E.
    change = (eye - other) * moved - (eye - J) * D
    first = (eye - other) * (moved - D) - (change + (other - J) * D)
    second = (eye - J) * (moved - D) - (change + (other - J) * moved)
    assert first.expand() == second.expand() == sympy.zeros(2)
    s = sympy.Matrix(sympy.symbols("s:2", real=True))
    B, there = (
        (eye - J) * D,
        (eye - other) * moved,
    )  # at the fixed point and at the other state, where w has the residual s
    backward = there.T * w - D.T * (s + w - other.T * w) - ((there - B).T * w + D.T * ((other - J).T * w - s))
    assert backward.expand() == sympy.zeros(2, 1)
    for quantity, statement in (
        ("phantom_truncation", "2 x 2, K <= 4: w - lambda sum of T^k (I - J^T) w over k < K = T^K w"),
        ("certificate", "2 x 2: (I - J^)(D^ - D) = B^ - B + (J^ - J) D and (I - J)(D^ - D) = B^ - B + (J^ - J) D^"),
        (
            "gradient_certificate",
            "2 x 2: B^^T w^ - D^T v = (B^ - B)^T w^ + D^T ((J^ - J)^T w^ - s), s = v + J^^T w^ - w^",
        ),
    ):
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=quantity, proved=statement)
