"""T12 under attack: bases in rationals, the regularised dual with every constant attained, the primal-dual step, and N6."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, target
from hypothesis import strategies as st

from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, settle
from eqtheory.theorems.linear_programming import (
    basis_change,
    basis_stability,
    dual_contraction,
    dual_simplicity,
    exact_regularisation,
    regularisation_error,
)
from proofs_check import programs
from proofs_check.instances import MANY, generator
from proofs_check.program_strategies import (
    POSITIVE,
    SMALL,
    averaging,
    basic_solution,
    scalar_pairs,
    solved_bases,
)
from proofs_check.rational import inner, product, solve, sup_norm, transposed
from proofs_check.rational_programs import (
    Program,
    clip,
    root_above,
    scalar_dual_fixed_point,
    simplex_minimiser,
    squared,
)
from proofs_check.wrong_programs import WRONG_DUALS, WRONG_STEPS

F = Fraction
SHAPES = st.sampled_from([(1, 1), (1, 4), (3, 5), (5, 3)])


@pytest.mark.theorem("T12", part="holds")
def test_the_regularised_dual_holds(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), SHAPES, st.floats(-2, 2))
    def attack(seed: int, shape: tuple[int, int], decade: float) -> None:
        worst = 1.0
        for name, margins, witness in programs.dual_margins(
            generator(seed), *shape, 10.0**decade, programs.honest_dual
        ):
            worst = min(worst, settle(evidence, Kind.SAMPLED, name, margins, instances=programs.BATCH, witness=witness))
        evidence.regimes(dict.fromkeys(programs.REGIMES, programs.BATCH // 6))
        target(-worst)

    attack()
    evidence.require_regimes(*programs.REGIMES)


@pytest.mark.theorem("T12", part="holds")
def test_the_primal_dual_step_averages(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), SHAPES, st.floats(-2, 2))
    def attack(seed: int, shape: tuple[int, int], decade: float) -> None:
        for name, margins, witness in programs.step_margins(
            generator(seed), *shape, 10.0**decade, programs.honest_step
        ):
            settle(evidence, Kind.SAMPLED, name, margins, instances=programs.BATCH, witness=witness)

    attack()


def record(evidence: Recorder, name: str, sides: tuple[Fraction, Fraction], *, attained: bool = False) -> None:
    """Record an exact comparison, and that a bound 1% smaller would be refused where it is attained."""
    margin = exact_margin(sides)
    assert margin >= 0, (name, sides)
    if attained:
        assert sides[0] == sides[1], (name, sides)
        if sides[1]:
            evidence.caught(name, exact_margin((sides[0], F(99, 100) * sides[1])), kind="tightened")
    evidence.record(Kind.EXACT, instances=1, worst_margin=margin, quantity=name)


@pytest.mark.theorem("T12", part="sharp")
def test_sharp_regularised_dual(evidence: Recorder) -> None:
    lam, a = F(2), F(3)
    w = [F(1, 3), F(2, 3), F(2, 3)]
    wide = F(10**6)
    # Contraction: free along the row, and clipped.
    free = Program([[a * v for v in w]], [F(1)], [True], [F(0)] * 3, [-wide] * 3, [wide] * 3)
    fixed = Program([[a * v for v in w]], [F(1)], [True], [F(0)] * 3, [F(1)] * 3, [F(1)] * 3)
    for tau, delta in ((F(1, 5), F(1, 2)), (F(2, 5), F(1, 4))):
        for program in (free, fixed):
            p, q = F(2), F(-1)
            gap = abs(program.dual_step([p], lam, delta, tau)[0] - program.dual_step([q], lam, delta, tau)[0])
            factor = abs(1 - tau * (a * a / lam + delta)) if program is free else abs(1 - tau * delta)
            assert gap == factor * abs(p - q)
            sides = dual_contraction.sides(gap_after=gap, gap_before=abs(p - q), tau=tau, lam=lam, delta=delta, norm=a)
            if sides[0] == sides[1]:
                record(evidence, f"dual_contraction, {'free' if program is free else 'clipped'}", sides, attained=True)
    _budget_in_the_limit(evidence)


def _budget_in_the_limit(evidence: Recorder) -> None:
    """`L0` with ever smaller moves and `L1` with ever larger multipliers; both are suprema that no pair attains."""
    lam, a, tau, delta, spread = F(2), F(3), F(1, 8), F(1, 4), F(3, 2)
    w = [F(1, 3), F(2, 3), F(2, 3)]
    # y = -5 w; the first variable is free, the second wants down and is stopped by l, the third wants up and is stopped by u. All five
    # parts move by d, so that all terms of the difference have one sign; the boxes are as narrow as that allows.
    d, far = F(1, 10**8), F(10**6)
    y = [-5 * v for v in w]
    low, high = [y[0] - d, y[1], y[2] - d], [F(0), F(0), y[2]]
    here = Program([[(a - d) * v for v in w]], [F(0)], [True], [-lam * y[0], far, -far], low, high)
    there = Program(
        [[a * v for v in w]],
        [d],
        [True],
        [-lam * y[0] + d, far, -far],
        [low[0], low[1] - d, low[2]],
        [*high[:2], high[2] - d],
    )
    radius = root_above(squared([v - d for v in y]))
    # One row of one entry carries all of L1.
    p, reach = F(10**6), d * F(10**6) / lam
    one = Program([[a]], [F(0)], [True], [-a * p], [-reach], [reach])
    two = replace(one, A=[[a - d]])
    for name, first, second, state, size, close in (
        ("L0", here, there, F(0), radius, F(1, 10**6)),
        ("L1", one, two, p, reach, F(1, 10**4)),
    ):
        gap = abs(first.dual_step([state], lam, delta, tau)[0] - second.dual_step([state], lam, delta, tau)[0])
        sides = dual_simplicity.sides(
            gap=gap, moved=d, multiplier_norm=state, tau=tau, lam=lam, size=a, radius=size, spread=spread
        )
        assert (1 - close) * sides[1] <= sides[0] <= sides[1], (name, float(sides[0] / sides[1]))
        evidence.record(Kind.EXACT, instances=1, worst_margin=exact_margin(sides), quantity=f"dual_simplicity, {name}")
        evidence.caught(f"{name} 1% smaller", exact_margin((sides[0], F(99, 100) * sides[1])), kind="tightened")


@pytest.mark.theorem("T12", part="sharp")
def test_sharp_regularisation_bases_and_steps(evidence: Recorder) -> None:
    wide = F(10**6)
    # lam delta = 1, A = 1, no bound in reach: p_delta = p_0 / 2.
    for lam in (F(1, 3), F(1), F(7)):
        program = Program([[F(1)]], [F(2)], [True], [F(1)], [-wide], [wide])
        known = -(program.c[0] + lam * program.b[0])
        state = scalar_dual_fixed_point(program, lam, 1 / lam)
        assert state == known / 2
        gap = squared([program.decode([state], lam)[0] - program.decode([known], lam)[0]])
        sides = regularisation_error.sides(gap_squared=gap, lam=lam, delta=1 / lam, multiplier_squared=known**2)
        record(evidence, "regularisation_error", sides, attained=True)
    # Diagonal bases: the last variable moves by the largest factor.
    A, B = [[F(2), F(0)], [F(0), F(1, 4)]], [[F(2), F(0)], [F(0), F(1, 8)]]
    b, shifted = [F(2), F(1)], [F(2), F(2)]
    y, z = solve(A, b), solve(B, shifted)
    gap, size = max(abs(v - s) for v, s in zip(y, z, strict=True)), max(map(abs, y))
    sides = basis_stability.sides(gap=gap, inverse_norm=F(8), right_moved=F(1), matrix_moved=F(1, 8), size=size)
    record(evidence, "basis_stability", sides, attained=True)
    # Equations without bounds: the step is linear and averaging is an equality.
    program = Program([[F(1), F(2)], [F(-1), F(1)]], [F(1), F(3)], [True] * 2, [F(1), F(-2)], [-wide] * 2, [wide] * 2)
    record(
        evidence,
        "averaged_step",
        averaging(program, [F(1), F(2)], [F(3), F(-1)], [F(0), F(5)], [F(2), F(2)], F(1, 4), F(1, 3)),
        attained=True,
    )
    # min eps y1 over the simplex: exact up to lam = eps, and not beyond.
    for eps in (F(1), F(1, 10), F(1, 10**6)):
        y, v = [F(0), F(1)], [F(1), F(0)]
        gain = inner(y, [p - q for p, q in zip(y, v, strict=True)])
        record(
            evidence,
            "exact_regularisation",
            exact_regularisation.sides(lam=eps, norm_gain=gain, cost_gain=eps),
            attained=True,
        )
        assert simplex_minimiser([eps, F(0)], eps) == y
        beyond = simplex_minimiser([eps, F(0)], 2 * eps)
        assert beyond == [F(1, 4), F(3, 4)]


@pytest.mark.theorem("T12", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    def solution(c: Fraction) -> Fraction:
        """Least-norm solution of `min c y, 0 <= y <= 1`, from its regularised form, which is exact for `lam <= |c|`."""
        return clip(-c / (abs(c) or F(1)), F(0), F(1))

    slopes = []
    for h in (F(1, 10), F(1, 1000), F(1, 10**6)):
        assert [solution(-h), solution(F(0)), solution(h)] == [F(1), F(0), F(0)]
        slopes.append((solution(-h) - solution(F(0))) / h)
        # Away from 0 the basis does not change, and costs move nothing.
        assert solution(h) == solution(2 * h)
    assert slopes == [10, 1000, 10**6]
    evidence.control("N6", f"slopes {', '.join(map(str, slopes))} of the pairs (-h, 0); constant on either side")
    # delta = 0, clipped: the step adds tau (A y - b) whatever p is; two multipliers keep their distance, and there is no fixed point.
    box = Program([[F(1)]], [F(2)], [True], [F(0)], [F(0)], [F(1)])
    p = [F(-10)]
    for _ in range(20):
        here = box.dual_step(p, F(1), F(0), F(1, 2))
        assert here[0] - p[0] == F(-1, 2)
        p = here
    apart = box.dual_step([F(-10)], F(1), F(0), F(1, 2))[0] - box.dual_step([F(-20)], F(1), F(0), F(1, 2))[0]
    assert apart == 10
    evidence.control(
        "N2", "delta = 0 on an infeasible program, clipped: p - 1/2 at every step, and pairs keep their distance"
    )
    # With delta > 0 even that program has its fixed point: p = (1 - 2)/delta.
    assert box.dual_step([F(-4)], F(1), F(1, 4), F(1, 2)) == [F(-4)]


@pytest.mark.theorem("T12", part="rejects")
@pytest.mark.parametrize("name", WRONG_DUALS)
def test_rejects_duals(evidence: Recorder, name: str) -> None:
    claim = WRONG_DUALS[name]
    worst = 1.0
    for seed in range(2):
        for shape, decade in (((1, 1), 0.0), ((3, 5), 1.0), ((1, 4), -1.0)):
            for _, margins, _ in programs.dual_margins(generator(seed), *shape, 10.0**decade, claim):
                worst = min(worst, float(margins.min()))
    evidence.caught(name, max(worst, -1e300))


@pytest.mark.theorem("T12", part="rejects")
@pytest.mark.parametrize("name", WRONG_STEPS)
def test_rejects_steps(evidence: Recorder, name: str) -> None:
    claim = WRONG_STEPS[name]
    worst = 1.0
    for seed in range(4):
        for _, margins, _ in programs.step_margins(generator(seed), 3, 5, 1.0, claim):
            worst = min(worst, float(margins.min()))
    evidence.caught(f"primal-dual step: {name}", max(worst, -1e300))


@pytest.mark.theorem("T12", part="exact")
def test_exact_regularised_dual(evidence: Recorder) -> None:
    @MANY
    @given(
        scalar_pairs(),
        SMALL,
        SMALL,
        POSITIVE,
        POSITIVE,
        st.fractions(min_value=F(1, 10), max_value=F(19, 10), max_denominator=10),
    )
    def attack(pair: Any, p: Fraction, q: Fraction, lam: Fraction, delta: Fraction, length: Fraction) -> None:
        first, second, size, radius = pair
        norm = root_above(squared(first.A[0]))
        tau = length / (size**2 / lam + delta)
        after = abs(first.dual_step([p], lam, delta, tau)[0] - first.dual_step([q], lam, delta, tau)[0])
        record(
            evidence,
            "dual_contraction",
            dual_contraction.sides(gap_after=after, gap_before=abs(p - q), tau=tau, lam=lam, delta=delta, norm=norm),
        )
        parts = [
            (first.A[0], second.A[0]),
            (first.b, second.b),
            (first.c, second.c),
            (first.l, second.l),
            (first.u, second.u),
        ]
        moved = max(root_above(squared([v - w for v, w in zip(*part, strict=True)])) for part in parts)
        gap = abs(first.dual_step([p], lam, delta, tau)[0] - second.dual_step([p], lam, delta, tau)[0])
        sides = dual_simplicity.sides(
            gap=gap,
            moved=moved,
            multiplier_norm=abs(p),
            tau=tau,
            lam=lam,
            size=size,
            radius=radius,
            spread=root_above(2 + 1 / lam**2),
        )
        record(evidence, "dual_simplicity", sides)
        # A right side for which the multiplier p (made admissible) is the one for delta = 0; then the fixed point, exactly.
        known = first.project([p])
        point = first.decode(known, lam)
        made = replace(first, b=product(first.A, point))
        state = scalar_dual_fixed_point(made, lam, delta)
        assert made.dual_step([state], lam, delta, tau) == [state]
        gap = squared([v - w for v, w in zip(made.decode([state], lam), point, strict=True)])
        record(
            evidence,
            "regularisation_error",
            regularisation_error.sides(gap_squared=gap, lam=lam, delta=delta, multiplier_squared=known[0] ** 2),
        )

    attack()


@pytest.mark.theorem("T12", part="exact")
def test_exact_primal_dual_step(evidence: Recorder) -> None:
    @MANY
    @given(st.data(), st.sampled_from([(1, 1), (1, 2), (2, 2), (2, 3)]))
    def attack(data: st.DataObject, shape: tuple[int, int]) -> None:
        m, n = shape
        rows, columns = st.lists(SMALL, min_size=m, max_size=m), st.lists(SMALL, min_size=n, max_size=n)
        A = data.draw(st.lists(columns, min_size=m, max_size=m))
        ends = [sorted(pair) for pair in zip(data.draw(columns), data.draw(columns), strict=True)]
        equality = data.draw(st.lists(st.booleans(), min_size=m, max_size=m))
        program = Program(A, data.draw(rows), equality, data.draw(columns), [e[0] for e in ends], [e[1] for e in ends])
        frobenius = sum((squared(row) for row in A), F(0))
        tau = data.draw(POSITIVE)
        sigma = F(99, 100) / (tau * (frobenius or 1))  # the Frobenius norm is no smaller than the spectral one
        states = (data.draw(columns), data.draw(rows), data.draw(columns), data.draw(rows))
        record(evidence, "averaged_step", averaging(program, *states, tau, sigma))

    attack()


@pytest.mark.theorem("T12", part="exact")
def test_exact_bases(evidence: Recorder) -> None:
    seen = {"the basis stays": 0, "another basis": 0}

    @MANY
    @given(solved_bases())
    def attack(pair: tuple[Program, Program]) -> None:
        first, second = pair
        m = len(first.b)
        here, there = basic_solution(first, m), basic_solution(second, m)
        assert here is not None
        seen["the basis stays" if there else "another basis"] += 1
        for program, found in ((first, here), (second, there)):
            if found:  # feasible, and worth what its multipliers prove: optimal, without any search
                assert program.feasible(found[0])
                assert inner(program.c, found[0]) == program.dual_value(found[1])
        if there is None:
            return
        y, z = here[0], there[0]
        change = [v - w for v, w in zip(z, y, strict=True)]
        rows = [[v - w for v, w in zip(*pair, strict=True)] for pair in zip(second.A, first.A, strict=True)]
        wanted = [v - w - s for v, w, s in zip(second.b, first.b, product(rows, y), strict=True)]
        residual = max(abs(v - w) for v, w in zip(product(second.A, change), wanted, strict=True))
        record(evidence, "basis_change", basis_change.sides(residual=residual), attained=True)
        square = [row[:m] for row in second.A]
        inverse = transposed([solve(square, [F(i == k) for i in range(m)]) for k in range(m)])
        sides = basis_stability.sides(
            gap=max(map(abs, change)),
            inverse_norm=sup_norm(inverse),
            right_moved=max(abs(v - w) for v, w in zip(second.b, first.b, strict=True)),
            matrix_moved=sup_norm([row[:m] for row in rows]),
            size=max(map(abs, y)),
        )
        record(evidence, "basis_stability", sides)
        # Costs alone, while the basis stays, move nothing.
        costs = basic_solution(replace(first, c=second.c), m)
        assert costs is None or costs[0] == y

    attack()
    evidence.regimes(seen)
    evidence.require_regimes("the basis stays", "another basis")


@pytest.mark.theorem("T12", part="exact")
def test_exact_regularisation_on_simplices_and_boxes(evidence: Recorder) -> None:
    @MANY
    @given(st.lists(SMALL, min_size=2, max_size=5), POSITIVE, st.booleans())
    def simplex(c: list[Fraction], share: Fraction, tie: bool) -> None:  # noqa: FBT001  (drawn)
        c = [*c, min(c)] if tie else c
        best = min(c)
        face = [k for k, v in enumerate(c) if v == best]
        y = [F(1, len(face)) if k in face else F(0) for k in range(len(c))]
        others = [
            (v - best, inner(y, y)) for k, v in enumerate(c) if k not in face
        ]  # <y, y - e_k> = |y|^2 off the face
        limit = min((cost / gain for cost, gain in others), default=None)
        for lam in [share, *([limit, 2 * limit, limit * F(1001, 1000)] if limit else [])]:
            exact = simplex_minimiser(c, lam) == y
            assert exact == (limit is None or lam <= limit)
            if exact:
                for cost, gain in others:
                    record(
                        evidence,
                        "exact_regularisation",
                        exact_regularisation.sides(lam=lam, norm_gain=gain, cost_gain=cost),
                    )

    @MANY
    @given(SMALL, SMALL, SMALL, POSITIVE)
    def box(c: Fraction, one: Fraction, two: Fraction, lam: Fraction) -> None:
        low, high = min(one, two), max(one, two)
        y = clip(F(0), low, high) if c == 0 else low if c > 0 else high
        gains = [(y * (y - v), c * (v - y)) for v in (low, high)]
        exact = clip(-c / lam, low, high) == y
        assert exact == all(lam * gain <= cost for gain, cost in gains)

    simplex()
    box()
