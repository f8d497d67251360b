"""T10 under attack: both operators that restore an image, their constants, and the minimiser they have in common."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sympy
import torch
from hypothesis import given, target
from hypothesis import strategies as st

from eqtheory.constructions import DenseMap, Sphere, Subspace, hqs, pgd
from eqtheory.errors import InputError
from eqtheory.norms import Euclidean
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import (
    BROKEN_RESTORATIONS,
    HONEST_RESTORATIONS,
    BrokenBound,
    RestorationClaim,
    broken_bounds,
)
from eqtheory.theorems.imaging import (
    data_stability,
    half_quadratic_budget,
    half_quadratic_contraction,
    half_quadratic_simplicity,
    proximal_gradient_contraction,
    proximal_gradient_simplicity,
    proximal_step,
    stability,
    stationarity,
)
from proofs_check import controls
from proofs_check.instances import MANY, generator
from proofs_check.rational import inner, solve, transposed
from proofs_check.rational_restorations import rational_problem, sharp_instances, squared_comparisons
from proofs_check.restoration_controls import null_space, set_not_convex
from proofs_check.restorations import (
    BATCH,
    FORWARD,
    SETS,
    describe,
    draw_restoration,
    draw_states,
    operator_comparisons,
    proximal_comparisons,
    settled,
    settled_problem,
    skewed,
    unit_of,
)

WRONG = broken_bounds("T10")
HONEST = {
    bound.name: bound.sides
    for bound in (
        proximal_step,
        proximal_gradient_contraction,
        proximal_gradient_simplicity,
        half_quadratic_contraction,
        half_quadratic_simplicity,
        half_quadratic_budget,
        data_stability,
        stability,
    )
}
Q = Fraction
norm = Euclidean()


@pytest.mark.theorem("T10", part="holds")
@pytest.mark.parametrize("forward", FORWARD)
def test_holds(evidence: Recorder, forward: str) -> None:
    """(R1), (R2) and the proximal step at random problems, states and observations."""

    @given(st.integers(0, 2**32), st.sampled_from(SETS), st.integers(1, 6))
    def attack(seed: int, kind: str, n: int) -> None:
        g = generator(seed)
        p = draw_restoration(forward, kind, n, g)
        y, z, x, w = draw_states(p, g)
        worst = 1.0
        found = [c for claim in HONEST_RESTORATIONS for c in operator_comparisons(p, claim, y, z, x, w)]
        c = p.alpha * p.gamma
        found += [("proximal_step", *sides) for sides in proximal_comparisons(p.constraint, y, z, c)]
        found += [("proximal_step", *sides) for sides in proximal_comparisons(Sphere(1.0), y, z, c)]
        for name, quantities, slack in found:
            margins = relative_margin(HONEST[name](**quantities), slack)
            worst = min(
                worst,
                settle(
                    evidence,
                    Kind.SAMPLED,
                    name,
                    margins,
                    instances=BATCH,
                    witness=lambda _: describe(p, forward + kind),
                ),
            )
        evidence.regimes({forward: BATCH, kind: BATCH})
        target(-worst)

    attack()
    evidence.require_regimes(forward, *SETS)


@pytest.mark.theorem("T10", part="holds")
@pytest.mark.parametrize("forward", ["square", "tall", "blur"])
def test_both_restore_the_same_image(evidence: Recorder, forward: str) -> None:
    """Fixed points are stationary, agree, and are as stable as the theorem says."""

    @given(st.integers(0, 2**32), st.sampled_from(SETS), st.integers(1, 4))
    def attack(seed: int, kind: str, n: int) -> None:
        g = generator(seed)
        p = settled_problem(forward, kind, n, g)
        _, _, x, w = (t[:32] for t in draw_states(p, g))
        A, s = p.linear_map, float(p.linear_map.smallest.value)
        both = torch.cat((x, w))
        images, reach = [], []
        for claim in HONEST_RESTORATIONS:
            image, residual, explained = settled(p, claim, both, 1000)
            margins = relative_margin((stationarity.sides(residual=residual)[0], torch.zeros_like(residual)), explained)
            name = f"stationarity: {claim.name}"
            settle(evidence, Kind.SAMPLED, name, margins, instances=64, witness=lambda _: describe(p, forward + kind))
            # The slack stays far below what a wrong alpha would leave: the pull of the data itself, where there is any.
            assert bool((explained <= 1e-8 * (norm(A.adjoint(both)) + p.alpha * norm(image))).all())
            images.append(image)
            # The objective is s^2-strongly convex: an image is no further from the minimiser than its residual over s^2.
            reach.append((residual + explained) / s**2)
        gap, room = norm(images[0] - images[1]), reach[0] + reach[1]
        margins = relative_margin((gap, torch.zeros_like(gap)), room)
        settle(evidence, Kind.SAMPLED, "one minimiser", margins, instances=64, witness=lambda _: describe(p, kind))
        y, v = images[1][:32], images[1][32:]
        near = reach[1][:32] + reach[1][32:] + unit_of(p) * (norm(y) + norm(v))
        delta, N = norm(x - w), float(A.norm.value)
        for bound, sides, slack in (
            (stability, stability.sides(gap=norm(y - v), delta=delta, smallest=s), s * near),
            (data_stability, data_stability.sides(image_gap=norm(A(y) - A(v)), delta=delta), N * near),
        ):
            margins = relative_margin(sides, slack)
            settle(evidence, Kind.SAMPLED, bound.name, margins, instances=32, witness=lambda _: describe(p, kind))

    attack()


# Sharp.


HALF = [(Q(1, 3), Q(1, 2), Q(3, 2), Q(1, 3)), (Q(1, 4), Q(1, 5), Q(3), Q(9, 10)), (Q(2, 3), Q(2), Q(5, 2), Q(19, 20))]


@pytest.mark.theorem("T10", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    unit = st.fractions(min_value=Q(1, 20), max_value=Q(19, 20), max_denominator=20)

    @MANY
    @given(unit, unit, st.fractions(min_value=Q(1), max_value=4, max_denominator=9), unit)
    def equality(t: Fraction, small: Fraction, large: Fraction, share: Fraction) -> None:
        seen = set()
        for name, quantities in sharp_instances(t, small, large, share):
            lhs, rhs = HONEST[name](**quantities)
            assert lhs == rhs, name
            seen.add(name)
            evidence.record(Kind.EXACT, instances=1, worst_margin=Q(0), quantity=name)
            evidence.caught(f"{name} 1% smaller", exact_margin((lhs, Q(99, 100) * rhs)), kind="tightened")
        assert seen == set(HONEST)

    equality()


@pytest.mark.theorem("T10", part="sharp")
def test_declared_constants_are_attained(evidence: Recorder) -> None:
    """What the library declares is no larger than needed, up to what its proofs of norms grant to rounding."""
    A = DenseMap(torch.diag(torch.tensor([1.0, 0.5], dtype=torch.float64)))
    everything, zero = Subspace(torch.eye(2, dtype=torch.float64)), torch.zeros(1, 2, dtype=torch.float64)
    fine = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    coarse = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    for G, contracted, moved, L0 in (
        (pgd(A, everything, 1.0, 1.0), fine, coarse, 1.0),
        (hqs(A, everything, 0.125, 0.25), fine, fine, 1.0),
    ):
        r = G.regularity
        assert r is not None
        mu = float(norm(G(contracted, zero) - G(zero, zero)))
        slope = float(norm(G(zero, moved) - G(zero, zero)))
        declared = r.mu.at(zero)
        assert mu <= declared <= mu * (1 + 1e-10)
        assert slope <= r.L0.value <= slope * (1 + 1e-10)
        assert slope == pytest.approx(L0, rel=1e-15)
        evidence.record(Kind.SAMPLED, instances=2, worst_margin=1 - mu / declared, quantity="as declared")


# Hypotheses.


@pytest.mark.theorem("T10", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    evidence.control("N10", null_space(evidence))
    evidence.control("N11", set_not_convex(evidence))


@pytest.mark.theorem("T10", part="hypothesis_needed")
def test_the_step_is_bounded(evidence: Recorder) -> None:
    """N2: at `gamma = 2/N^2` and `A = 1` the proximal gradient is `-y + 2 x`."""
    controls.no_contraction(evidence)
    y, x = Q(5), Q(0)
    for _ in range(7):
        y = y - 2 * (y - x)
    assert y == -5
    with pytest.raises(InputError, match=r"gamma: got 2\.0, needed 0 < gamma < 2 / \|A\|\^2 = 2; pass gamma = 1"):
        pgd(DenseMap(torch.eye(1)), Subspace(torch.eye(1)), 1.0, 2.0)
    with pytest.raises(InputError, match=r"beta: got 1\.0, needed beta > alpha = 1\.0"):
        hqs(DenseMap(torch.eye(1)), Subspace(torch.eye(1)), 1.0, 1.0)
    evidence.control("N2", "gamma = 2/N^2, A = 1, M everything: y_7 = -y_0 exactly; such steps are refused by pgd")


# Rejects.


@pytest.mark.theorem("T10", part="rejects")
@pytest.mark.parametrize("claim", [*HONEST_RESTORATIONS, *BROKEN_RESTORATIONS], ids=lambda c: c.name)
def test_rejects(evidence: Recorder, claim: RestorationClaim) -> None:
    worst = 1.0
    for kind in ("subspace", "box"):
        p, g = skewed(kind), generator(7)
        y, z, x, w = draw_states(p, g)
        for name, quantities, slack in operator_comparisons(p, claim, y, z, x, w):
            if claim.contracts and claim in BROKEN_RESTORATIONS:
                break  # what it restores decides; some are as contractive as the honest ones
            worst = min(worst, float(relative_margin(HONEST[name](**quantities), slack).min()))
        if claim.contracts:
            _, residual, explained = settled(p, claim, x, 1000)
            sides = (stationarity.sides(residual=residual)[0], torch.zeros_like(residual))
            worst = min(worst, float(relative_margin(sides, explained).min()))
    if claim in HONEST_RESTORATIONS:
        # The same check lets the honest ones pass.
        evidence.record(Kind.SAMPLED, instances=2 * BATCH, worst_margin=worst, quantity=f"honest {claim.name}")
        assert worst >= 0
    else:
        evidence.caught(claim.name, worst)


@pytest.mark.theorem("T10", part="rejects")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_rejects_wrong_constants(evidence: Recorder, wrong: BrokenBound) -> None:
    margins = []
    for parameters in HALF:
        for name, quantities in sharp_instances(*parameters):
            if name == wrong.about:
                lhs, rhs = wrong.sides(**quantities)
                margins.append(exact_margin((Q(lhs), Q(rhs))))
    evidence.caught(wrong.name, min(margins))


# Exact.


@pytest.mark.theorem("T10", part="exact")
@pytest.mark.parametrize("kind", ["subspace", "box", "ball", "sphere"])
def test_exact(evidence: Recorder, kind: str) -> None:
    """Both operators have the stationary image as their fixed point, without rounding; the splitting decodes to it exactly."""
    unit = st.fractions(min_value=Q(1, 9), max_value=2, max_denominator=9)
    signed = st.fractions(min_value=-3, max_value=3, max_denominator=9)

    @MANY
    @given(unit, st.lists(unit, min_size=2, max_size=3), st.lists(signed, min_size=4, max_size=4), unit, unit, unit)
    def attack(
        t: Fraction, sigma: list[Fraction], at: list[Fraction], alpha: Fraction, share: Fraction, more: Fraction
    ) -> None:
        p = rational_problem(t, sigma, kind, Q(1))
        n = len(sigma)
        # Along a column of a rational rotation every multiple has a rational norm, as balls and spheres need.
        direction = transposed(p.Q)[n - 1]
        y = [at[3] * entry for entry in direction] if kind in ("ball", "sphere") else at[:n]
        if kind == "sphere" and at[3] == 0:
            return
        x = p.observation(y, alpha)
        pull = [alpha * (a - b) for a, b in zip(y, p.project(y), strict=True)]
        residual = [a + b for a, b in zip(p.gradient(y, x), pull, strict=True)]
        assert stationarity.sides(residual=inner(residual, residual)) == (0, 0)
        step, beta = share / 8 / max(sigma) ** 2, alpha + more
        if kind == "sphere" and at[3] ** 2 < 1:
            # y - gamma A^T (A y - x) = y + gamma alpha (1 - 1/|y|) y must not cross the centre, where the projection jumps.
            step = min(step, abs(at[3]) / (2 * alpha))
        assert p.pgd(y, x, alpha, step) == y
        z = p.prox(y, alpha / (beta - alpha))
        assert p.decode(z, x, beta) == y
        assert p.hqs(z, x, alpha, beta) == z
        evidence.record(Kind.EXACT, instances=1, worst_margin=Q(0), quantity=f"stationarity: {kind}")

    attack()


@pytest.mark.theorem("T10", part="exact")
def test_constants_in_rationals(evidence: Recorder) -> None:
    """(R1) and (R2) at rational states, squared; and the closed form for a subspace, also where `A` has a null space."""
    unit = st.fractions(min_value=Q(1, 9), max_value=2, max_denominator=9)
    vector = st.lists(st.fractions(min_value=-3, max_value=3, max_denominator=9), min_size=2, max_size=2)

    @MANY
    @given(
        unit, st.tuples(unit, unit), st.sampled_from(["subspace", "box"]), vector, vector, vector, vector, unit, unit
    )
    def attack(
        t: Fraction,
        sigma: tuple[Fraction, Fraction],
        kind: str,
        y: list[Fraction],
        z: list[Fraction],
        x: list[Fraction],
        w: list[Fraction],
        alpha: Fraction,
        share: Fraction,
    ) -> None:
        p = rational_problem(t, list(sigma), kind, Q(1))
        step, beta = share * Q(99, 100) / max(sigma) ** 2, alpha + share
        for name, lhs, rhs in squared_comparisons(p, (y, z), (x, w), alpha, step, beta):
            assert lhs <= rhs
            evidence.record(Kind.EXACT, instances=1, worst_margin=exact_margin((lhs, rhs)), quantity=name)

    attack()

    @MANY
    @given(unit, unit, unit, st.fractions(min_value=-3, max_value=3, max_denominator=9), unit)
    def subspace(t: Fraction, first: Fraction, alpha: Fraction, x: Fraction, share: Fraction) -> None:
        # A = (a, b) maps the plane to a line; M is the first axis, so ker A meets M in 0 only if a != 0.
        a, b = first, t
        pulled, normal = [a * x, b * x], [[a * a, a * b], [a * b, b * b + alpha]]
        y = solve(normal, pulled)  # (A^T A + alpha (I - P))^{-1} A^T x
        step = share / (2 * (a * a + b * b))
        moved = [u - step * (v * (a * y[0] + b * y[1] - x)) for u, v in zip(y, (a, b), strict=True)]
        assert [moved[0], moved[1] / (1 + step * alpha)] == y
        beta = alpha + share
        z = [y[0], y[1] / (1 + alpha / (beta - alpha))]
        left = [[a * a + beta, a * b], [a * b, b * b + beta]]
        assert solve(left, [u + beta * v for u, v in zip(pulled, z, strict=True)]) == y
        evidence.record(Kind.EXACT, instances=1, worst_margin=Q(0), quantity="subspace with a null space of A")

    subspace()


@pytest.mark.theorem("T10", part="exact")
def test_derivatives_by_computer_algebra(evidence: Recorder) -> None:
    """`DF = H^{-1} A^T`, because the stationarity condition has the derivatives `H` in `y` and `-A^T` in `x`."""
    for n in (2, 3):
        y = sympy.Matrix(sympy.symbols(f"y:{n}", real=True))
        x = sympy.Matrix(sympy.symbols(f"x:{n}", real=True))
        A = sympy.Matrix(n, n, sympy.symbols(f"a:{n * n}", real=True))
        alpha, s = sympy.symbols("alpha s", positive=True)
        size = sympy.sqrt(sum(entry**2 for entry in y))
        condition = A.T * (A * y - x) + alpha * (1 - s / size) * y
        H = A.T * A + alpha * ((1 - s / size) * sympy.eye(n) + s * y * y.T / size**3)
        assert (condition.jacobian(y) - H).applyfunc(sympy.simplify) == sympy.zeros(n)
        assert condition.jacobian(x) == -A.T
        # The part of the set has the eigenvalue 1 along y and 1 - s/|y| across it: H > 0 outside, and inside where A^T A makes up for it.
        part = (1 - s / size) * sympy.eye(n) + s * y * y.T / size**3
        assert (part * y - y).applyfunc(sympy.simplify) == sympy.zeros(n, 1)
        statement = (
            f"sphere and outside of the ball, {n} entries: DF = (A^T A + alpha [(1 - s/|y|) I + s y y^T/|y|^3])^-1 A^T"
        )
        evidence.record(Kind.EXACT, instances=1, worst_margin=Q(0), quantity="derivative", proved=statement)
    beta, r = sympy.symbols("beta r", positive=True)
    square = sympy.factor(1 / (4 * beta) - (r / (r**2 + beta)) ** 2)
    assert sympy.simplify(square - (r**2 - beta) ** 2 / (4 * beta * (r**2 + beta) ** 2)) == 0
    statement = (
        "1/(4 beta) - (r/(r^2 + beta))^2 = (r^2 - beta)^2/(4 beta (r^2 + beta)^2) >= 0, zero at r = sqrt(beta) only"
    )
    evidence.record(Kind.EXACT, instances=1, worst_margin=Q(0), quantity="half_quadratic_budget", proved=statement)
