"""T9a under attack: the threshold from both sides, the component along the gradient, and the angle."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
import sympy
from hypothesis import given, target
from hypothesis import strategies as st

from eqtheory.constructions import least_descent
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import BROKEN_ADJOINTS, BROKEN_THRESHOLDS
from eqtheory.testing.zoo.adjoints import ThresholdClaim, condition_of
from eqtheory.theorems.jacobian_free import alignment, below_threshold, deviation, threshold
from proofs_check import controls, rational
from proofs_check.adjoints import under_attack
from proofs_check.instances import MANY
from proofs_check.models import LINEAR, WORST, Models, compared, draw, measured, pairs, worst_models

BROKEN = {claim.name: claim for claim in BROKEN_ADJOINTS if claim.about == "deviation"}


@pytest.mark.theorem("T9a", part="holds")
def test_holds(evidence: Recorder) -> None:
    @given(
        st.integers(0, 2**32),
        st.integers(1, 4),
        st.integers(0, 2),
        st.one_of(st.floats(0.001, 0.999), st.floats(0.9, 0.999)),
        st.sampled_from([0.3, 1.0, 3.0, 6.0]),
        st.integers(-60, 60),
    )
    def attack(seed: int, n: int, extra: int, gamma: float, decades: float, exponent: int) -> None:
        models = draw(seed, n, extra, gamma, decades, 10.0**exponent, batch=2560)
        worst, slack_regimes = 1.0, Counter[str]()
        for free, exact in pairs():
            for name, sides, slack in compared(models, free, exact):
                slack_regimes[f"{name}: slack below 0.1%"] += int((slack < 1e-3 * sides[1]).sum())
                margins = relative_margin(sides, slack)
                about = f"{name}: {free.name} against {exact.name}"
                worst = min(
                    worst,
                    settle(evidence, Kind.SAMPLED, about, margins, instances=len(models), witness=models.describe),
                )
        limits = threshold(models.condition)
        regimes = Counter(models.labels)
        regimes["below the threshold"] = int((limits > gamma).sum())
        regimes["above the threshold"] = int((limits < gamma).sum())
        regimes["condition above 1e4"] = int((models.condition > 1e4).sum())
        regimes["condition below 2"] = int((models.condition < 2).sum())
        regimes["scale above 1e20"] = len(models) * (exponent > 20)
        regimes["scale below 1e-20"] = len(models) * (exponent < -20)
        regimes.update(slack_regimes)
        evidence.regimes(regimes)
        target(-worst)

    attack()
    evidence.require_regimes(
        *LINEAR,
        *WORST,
        "below the threshold",
        "above the threshold",
        "condition above 1e4",
        "condition below 2",
        "scale above 1e20",
        "scale below 1e-20",
        *(f"{name}: slack below 0.1%" for name in ("deviation", "alignment", "below_threshold")),
    )


def plane(
    p: Fraction, q: Fraction, J: list[list[Fraction]], v: list[Fraction]
) -> tuple[list[Fraction], list[Fraction]]:
    """Exact gradient and Jacobian-free direction for `M = diag(p, q)`."""
    w = rational.solve(rational.identity_minus(rational.transposed(J)), v)
    return [p * w[0], q * w[1]], [p * v[0], q * v[1]]


def along(p: Fraction, q: Fraction, gamma: Fraction) -> Fraction:
    """`<g,d>/|g|^2` at the instance of least descent: `w = (q, p)`, `J^T = gamma (p, q)(q, p)^T/(p^2 + q^2)`."""
    share = gamma / (p * p + q * q)
    J = [[share * q * p, share * q * q], [share * p * p, share * p * q]]
    v = [q - gamma * p, p - gamma * q]
    g, d = plane(p, q, J, v)
    assert g == [p * q, p * q]
    return rational.inner(g, d) / rational.inner(g, g)


@pytest.mark.theorem("T9a", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    positive = st.integers(1, 40)
    unit = st.fractions(min_value=Fraction(1, 50), max_value=Fraction(49, 50), max_denominator=50)

    @MANY
    @given(positive, positive, unit, unit)
    def equality(first: int, second: int, gamma: Fraction, t: Fraction) -> None:
        p, q = Fraction(max(first, second)), Fraction(min(first, second))
        kappa, limit = (p / q) ** 2, 2 * p * q / (p * p + q * q)
        lhs, rhs = deviation.sides(shortfall=1 - along(p, q, gamma), gamma=gamma, kappa=kappa)
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="deviation")
        evidence.caught("deviation 1% smaller", (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened")
        w, cosine = [-t, Fraction(1)], (1 - t * t) / (1 + t * t)
        v = [cosine * t, cosine]
        J = [[(b - c) * a / (1 + t * t) for b, c in zip(w, v, strict=True)] for a in w]
        g, d = plane(p, q, J, v)
        # Both have the entries -+pt and q, up to a factor, so the product of their lengths is rational.
        gap = 1 - rational.inner(g, d) / (cosine * rational.inner(g, g))
        lhs, rhs = alignment.sides(gap=gap, kappa=kappa, half_tangent=t)
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="alignment")
        evidence.caught("alignment 1% smaller", (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened")
        # The threshold, seen from 1% below and from 1% above, where it leaves room below 1; on it <g,d> vanishes.
        lhs, rhs = below_threshold.sides(gamma=limit, kappa=kappa)
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="below_threshold")
        if p != q:
            assert along(p, q, limit) == 0
        assert along(p, q, Fraction(99, 100) * limit) == Fraction(1, 100)
        above = Fraction(101, 100) * limit
        if above < 1:
            assert below_threshold.margin(gamma=above, kappa=kappa) < 0
            evidence.caught("threshold 1% larger", along(p, q, above), kind="tightened")

    equality()


@pytest.mark.theorem("T9a", part="sharp")
@pytest.mark.parametrize("condition", [2.0, 10.0, 1e3])
def test_gradients_change_from_descent_to_ascent_at_the_threshold(evidence: Recorder, condition: float) -> None:
    """At the worst instance the computed direction descends 1% below the threshold, and ascends 1% above it."""
    limit = float(threshold(condition))
    for free, exact in pairs():
        for share in (0.99, 1.01):
            models = worst_models(share * limit, [condition**0.5, 1.0, 1.0])
            found = measured(models, free, exact)
            # <g,d>/|g|^2 is 1 - share exactly.
            assert bool(((found.shortfall - share).abs() <= found.moved).all())
            assert float(found.moved.max()) < 1e-3
            about = f"below_threshold: {free.name} against {exact.name}, kappa = {condition:g}"
            if share < 1:
                worst = float((1 - found.shortfall - found.moved).min())
                evidence.record(Kind.SAMPLED, instances=64, worst_margin=worst, quantity=about)
            else:
                evidence.caught(
                    f"threshold 1% larger at kappa = {condition:g}", float((1 - found.shortfall).max()), "tightened"
                )


@pytest.mark.theorem("T9a", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.column_rank(evidence)


@pytest.mark.theorem("T9a", part="rejects")
@pytest.mark.parametrize("name", BROKEN)
def test_rejects_directions(evidence: Recorder, name: str) -> None:
    worst = float("inf")
    for gamma in (0.05, 0.5):
        models = draw(5, 3, 1, gamma, 1.0, 1.0, batch=600)
        for exact in under_attack("residual_bound"):
            for _, sides, slack in compared(models, BROKEN[name], exact):
                worst = min(worst, float(relative_margin(sides, slack).min()))
    evidence.caught(name, worst)


def just_below(claim: ThresholdClaim, models: Models) -> float:
    """Smallest `<g,d>/|g|^2` at the worst instances 1% below a claimed threshold, or just below 1 where it claims more."""
    smallest = float("inf")
    for M in models.M.unsqueeze(1).unbind():
        case = least_descent(M, min(0.99 * float(claim.threshold(M)), 0.999))
        g, d = ((M * q.unsqueeze(2)).sum(dim=1) for q in (case.adjoint, case.cotangent))
        smallest = min(smallest, float((g * d).sum() / g.square().sum()))
    return smallest


@pytest.mark.theorem("T9a", part="rejects")
@pytest.mark.parametrize("claim", BROKEN_THRESHOLDS, ids=lambda c: c.name)
def test_rejects_thresholds(evidence: Recorder, claim: ThresholdClaim) -> None:
    evidence.caught(claim.name, just_below(claim, draw(7, 3, 1, 0.5, 1.0, 1.0, batch=60)))


@pytest.mark.theorem("T9a", part="rejects")
def test_does_not_reject_the_threshold(evidence: Recorder) -> None:
    models = draw(7, 3, 1, 0.5, 1.0, 1.0, batch=60)
    honest = ThresholdClaim("threshold", lambda M: threshold(condition_of(M) ** 2))
    margin = just_below(honest, models)
    assert abs(margin - 0.01) < 1e-9
    published = ThresholdClaim("1 / kappa", lambda M: condition_of(M) ** -2.0)
    assert just_below(published, models) > 0.01
    evidence.record(Kind.SAMPLED, instances=60, worst_margin=margin, quantity="below_threshold: honest threshold")


@pytest.mark.theorem("T9a", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Rational models in the plane: `J` is `gamma` times a reflection or a product of unit vectors, `M` has its singular values."""
    tangent = st.fractions(min_value=-1, max_value=1, max_denominator=20)
    unit = st.fractions(min_value=Fraction(1, 50), max_value=Fraction(49, 50), max_denominator=50)
    value = st.integers(1, 30)

    def direction(t: Fraction) -> list[Fraction]:
        return [(1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)]

    @MANY
    @given(st.lists(tangent, min_size=5, max_size=5), value, value, unit, st.booleans())
    def attack(turns: list[Fraction], first: int, second: int, gamma: Fraction, reflection: bool) -> None:  # noqa: FBT001
        a, b, u, r, v = (direction(t) for t in turns)
        rotation = [[r[0], -r[1]], [r[1], r[0]]]
        M = [[entry * s for entry in row] for row, s in zip(rotation, (Fraction(first), Fraction(second)), strict=True)]
        M = [
            rational.product(rational.transposed(M), [u[0], -u[1]]),
            rational.product(rational.transposed(M), [u[1], u[0]]),
        ]
        J = [[gamma * p * q for q in b] for p in a]
        if reflection:
            J = [[gamma * a[0], gamma * a[1]], [gamma * a[1], -gamma * a[0]]]
        w = rational.solve(rational.identity_minus(rational.transposed(J)), v)
        g, d = (rational.product(rational.transposed(M), q) for q in (w, v))
        shortfall = 1 - rational.inner(g, d) / rational.inner(g, g)
        kappa = Fraction(max(first, second), min(first, second)) ** 2
        margin = exact_margin(deviation.sides(shortfall=shortfall, gamma=gamma, kappa=kappa))
        evidence.record(Kind.EXACT, instances=1, worst_margin=margin, quantity="deviation")
        if below_threshold.margin(gamma=gamma, kappa=kappa) > 0:
            evidence.record(
                Kind.EXACT, instances=1, worst_margin=1 - max(shortfall, Fraction(0)), quantity="below_threshold"
            )
        if kappa > 1:
            # The published condition kappa <= 1/gamma lies strictly inside.
            sides = below_threshold.sides(gamma=1 / kappa, kappa=kappa)
            assert sides[0] < sides[1]

    attack()


@pytest.mark.theorem("T9a", part="exact")
def test_symbolic(evidence: Recorder) -> None:
    """The identities of the proof, for all arguments."""
    k, t, p, q = sympy.symbols("kappa t p q", positive=True)
    r, s = sympy.symbols("r s", real=True)
    x, y, h, a, b = sympy.symbols("x y h a b", real=True)
    gamma, kantorovich = 2 * t / (1 + t**2), (1 + k) ** 2 * (k * x**2 + y**2) ** 2
    limit, condition = below_threshold.sides(gamma=gamma, kappa=k)[::-1]
    plane_form = a * sympy.cos(r) * sympy.cos(s) + b * sympy.sin(r) * sympy.sin(s)
    identities = {
        "below_threshold: 4 kappa - (1 + kappa)^2 gamma^2 = 4 (kappa - t^2)(1 - kappa t^2)/(1 + t^2)^2 at gamma = 2t/(1 + t^2)": limit
        - condition
        - 4 * (k - t**2) * (1 - k * t**2) / (1 + t**2) ** 2,
        "deviation: Kantorovich in the plane, (1 + k)^2 <w,Pw>^2 - 4k |w|^2 |Pw|^2 = (k - 1)^2 (k x^2 - y^2)^2": kantorovich
        - 4 * k * (x**2 + y**2) * (k**2 * x**2 + y**2)
        - (k - 1) ** 2 * (k * x**2 - y**2) ** 2,
        "deviation: (a - h)(h - b) = (a + b) h - h^2 - a b, eigenvalue by eigenvalue": (a - h) * (h - b)
        - ((a + b) * h - h**2 - a * b),
        "alignment: <w,Pv> = (a + b)/2 cos(r - s) + (a - b)/2 cos(r + s) for unit w, v at angles r, s": sympy.expand_trig(
            plane_form - (a + b) / 2 * sympy.cos(r - s) - (a - b) / 2 * sympy.cos(r + s)
        ),
        "alignment: |Aw| |Av| sin(Phi) = p q sin(phi) for A = diag(p, q)": sympy.expand_trig(
            p * q * (sympy.cos(r) * sympy.sin(s) - sympy.sin(r) * sympy.cos(s)) - p * q * sympy.sin(s - r)
        ),
        "alignment: ((k + 1) cos(phi) - (k - 1)) / sin(phi) = (1 - k t^2)/t at t = tan(phi/2)": (
            (k + 1) * (1 - t**2) - (k - 1) * (1 + t**2)
        )
        / (2 * t)
        - (1 - k * t**2) / t,
    }
    for statement, difference in identities.items():
        assert sympy.simplify(sympy.expand(difference)) == 0, statement
        quantity = statement.split(":")[0]
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=quantity, proved=statement)
