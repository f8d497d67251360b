"""T9 under attack: the derivative of the fixed point, truncated and relaxed adjoints, and what certifies them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, target
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.roundoff import tolerance
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import BROKEN_ADJOINT_BOUNDS, BROKEN_ADJOINTS
from eqtheory.theorems.implicit_gradient import (
    certificate,
    gradient_certificate,
    jacobian_bound,
    neumann_truncation,
    phantom_truncation,
    residual_bound,
)
from proofs_check import controls, rational
from proofs_check.adjoint_parts import identities, known_derivatives, of_affine
from proofs_check.adjoints import METHODS, compared, draw, of_a_loose_backward_pass, of_gradient, under_attack
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

WRONG = {bound.name: bound for bound in BROKEN_ADJOINT_BOUNDS}


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
        G, v, guess, elsewhere = draw(seed, dimension, nearness, exponent, of_v, norm, batch=1024)
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


def taylor(G: Layers, direction: Tensor, other: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """`|y*(x + h) - y*(x) - Dy* h| <= H |h|^2 / 2` with a Lipschitz constant `H` of `Dy*`, and slack.

    `y*` has slopes of at most `l = (mu |C| + |E|)/(1 - mu)`, so `y* + C x` moves by at most `(l + |C|) |h|`, which moves `J` and `B` by
    `alpha` and `alpha |C|` times that; by the proof of the certificate `H = alpha (l + |C|)^2 / (1 - mu)`. Where that is zero the
    fixed point is affine in `x`. The step is such that the second order is a hundredth of `|Dy* h|` or so.
    """
    norm, of, room = G.pair.norm, G.pair.of, 1 - G.mu
    moves = (G.mu * of(G.inputs[3]) + of(G.inputs[4])) / room + of(G.inputs[3])
    H = G.alpha * moves**2 / room
    h = direction * (0.01 / (1 + H / moves) / norm(direction)).unsqueeze(1)
    D = G.derivative(G.solution) if other is None else other
    error = norm.distance(G.solved(h) - G.solution, (D * h.unsqueeze(1)).sum(dim=2))
    # Two fixed points, each with n + 8 roundings of terms of three sizes over 1 - mu (T14), and the solve for the derivative.
    slack = 8 * tolerance(G.size, G.dimension + 8, 1 / room) + G.slack(
        G.dimension * (of(G.inputs[3]) + of(G.inputs[4])) * norm(h)
    )
    return error, H * norm(h) ** 2 / 2, slack


@pytest.mark.theorem("T9", part="holds")
def test_the_formula_is_the_derivative(evidence: Recorder) -> None:
    """Fixed points of moved inputs, solved for anew, follow the formula up to a proved second order."""

    @given(st.integers(0, 2**32), st.integers(1, 4), st.floats(0.5, 3), st.sampled_from(list(NORMS)))
    def attack(seed: int, dimension: int, nearness: float, norm: str) -> None:
        G, _, guess, _ = draw(seed, dimension, nearness, 0, 0, norm, batch=1024)
        error, second, slack = taylor(G, guess)
        margins = relative_margin((error, second), slack)
        settle(evidence, Kind.SAMPLED, "derivative formula", margins, instances=len(G), witness=G.describe)

    attack()
    G, _, guess, _ = draw(1, 3, 1.5, 0, 0, "l2", batch=600)
    wrong = {
        "derivative transposed": G.derivative(G.solution).mT,
        "derivative of one step": G.derivatives(G.solution)[1],
    }
    for name, other in wrong.items():
        error, second, slack = taylor(G, guess, other)
        evidence.caught(name, float(relative_margin((error, second), slack).min()))


@pytest.mark.theorem("T9", part="holds")
def test_a_loose_backward_pass_is_certified_by_what_it_computed(evidence: Recorder) -> None:
    """Neither the state nor the adjoint is solved for well; the certificate knows, from residuals and constants."""

    @given(st.integers(0, 2**32), st.integers(1, 4), st.floats(0.5, 2), st.sampled_from(list(NORMS)))
    def attack(seed: int, dimension: int, nearness: float, norm: str) -> None:
        G, v, _, _ = draw(seed, dimension, nearness, 0, 0, norm, batch=384)
        inequality, about, quantities, slack = of_a_loose_backward_pass(G, v)
        margins = relative_margin(HONEST[inequality](**quantities), slack)
        name = f"{inequality}: {about}"
        settle(evidence, Kind.SAMPLED, name, margins, instances=len(G), witness=G.describe)

    attack()


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
    entries = st.integers(-12, 12).map(lambda k: Fraction(k, 12))

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
        margins: dict[str, list[Fraction]] = {}
        for name, quantities in of_affine(J, B, rest[:3], rest[3:], a):
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


@pytest.mark.theorem("T9", part="exact")
def test_symbolic(evidence: Recorder) -> None:
    """Derivatives of known fixed points, and the identities of the proof, for all arguments."""
    for statement, difference in known_derivatives():
        assert difference == 0 * difference, statement
        proved = f"(I - d_yG) Dy* = d_xG for {statement}"
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="derivative formula", proved=proved)
    for quantity, statement, difference in identities():
        assert difference.expand() == 0 * difference, statement
        proved = f"2 x 2: {statement}"
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=quantity, proved=proved)
