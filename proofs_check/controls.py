"""The negative controls: each drops one hypothesis and records that the conclusion fails as predicted."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import torch

from eqtheory.constructions import (
    ConstantRelaxation,
    ExactRelaxation,
    GalerkinTorus,
    OseenStep,
    SquaredRadius,
    adaptive_relaxation,
    exact_radii,
)
from eqtheory.solvers import Anderson, KrasnoselskiiMann, OnFailure, Picard, Status, Stop, fixed_point
from eqtheory.targets import RationalTable, ReciprocalMap
from eqtheory.testing.evidence import Recorder
from eqtheory.testing.zoo import advection_form, broken_flows
from eqtheory.testing.zoo.pointwise_contraction import TWIN_BUDGET, twin, twin_fixed_point, twin_mu, twin_slope_pair
from eqtheory.theorems import contraction, simplicity
from eqtheory.theorems.growth import linear_growth
from eqtheory.theorems.levelling_off import levelling_off, levelling_off_of_slopes
from eqtheory.theorems.navier_stokes import energy
from eqtheory.theorems.sufficiency import joint_budget
from proofs_check import rational

__all__ = [
    "adaptive_weights",
    "adjoint_without_contraction",
    "aliased_products",
    "column_rank",
    "constant_step",
    "exponent_below_two",
    "forces_beyond_smallness",
    "jacobian_without_convexity",
    "no_contraction",
    "not_locally_lipschitz",
    "pointwise_contraction_balls",
    "pointwise_contraction_twin",
]


def pointwise_contraction_twin(evidence: Recorder) -> None:
    """N1 in rationals: (R1) at every input, (R2) with a fixed budget, and slopes of the fixed point beyond any bound."""
    states = [Fraction(k, 3) for k in (-4, -2, -1, 0, 1, 2, 4)]
    inputs = [
        Fraction(0),
        *(Fraction(1, n) for n in (1, 2, 3, 5, 9, 40)),
        *(twin_slope_pair(n)[1] for n in (1, 2, 3, 5, 9, 40)),
    ]
    for x in inputs:
        assert twin(twin_fixed_point(x), x) == twin_fixed_point(x)
        assert twin_mu(x) < 1
        # States inside [-x, x] as well, where the factor is the slow one.
        for y in [*states, *(x * s for s in states)]:
            for z in [*states, *(x * s for s in states)]:
                gap = abs(twin(y, x) - twin(z, x))
                assert contraction.margin(gap_after=gap, gap_before=abs(y - z), mu=twin_mu(x)) >= 0
        for other in inputs:
            for y in [*states, *(x * s for s in states)]:
                gap = abs(twin(y, x) - twin(y, other))
                assert simplicity.margin(gap=gap, state_norm=abs(y), delta=abs(x - other), L0=TWIN_BUDGET, L1=0) >= 0
    slopes = []
    for n in (1, 2, 10, 100, 1000):
        a, b = twin_slope_pair(n)
        slopes.append(abs(twin_fixed_point(a) - twin_fixed_point(b)) / abs(a - b))
        # Half the predicted 3/x^2; T2 with a factor bounded away from 1 would bound all of these by one constant.
        assert slopes[-1] >= Fraction(3, 2) * n * n
        assert abs(twin_fixed_point(b)) <= b * b  # calm at 0: pairs with 0 cannot show it
    evidence.control(
        "N1", f"rational twin: slopes {', '.join(f'{float(s):.3g}' for s in slopes)} at x = 1, 1/2, 1/10, 1/100, 1/1000"
    )


def pointwise_contraction_balls(evidence: Recorder) -> None:
    """N1 with sin, in ball arithmetic: the budget on the whole interval by subdivision, and certified steep slopes.

    With `s = x^2`, `w = sin`, `v = cos` at `x^-3`, the derivative of `G` in `x` is, for `s <= 1/2`, `-2xy + 4x^3 w - 3v` inside
    `[-x, x]` and `+-(1/2 - 3s) + 4x^3 w - 3v` outside; for `s >= 1/2` it is `x w - 3v/(2s)` everywhere. Since
    `w^2 + v^2 = 1`, the waves contribute at most the root of the sum of squared coefficients.
    """
    from flint import arb, ctx

    ctx.prec = 200
    budget = arb("4.317")  # 1 + sqrt(11) = 4.31662...
    half = arb(1) / 2
    pieces = 4096
    for k in range(pieces):
        s = (arb(k) + arb(half, half)) / pieces  # the ball [k/pieces, (k+1)/pieces]
        if 2 * k < pieces:
            waves = (16 * s**3 + 9).sqrt()
            assert 2 * s + waves < budget
            assert abs(half - 3 * s) + waves < budget
        else:
            assert (s + arb(9) / (4 * s * s)).sqrt() < budget
    slopes = []
    for n in (10, 100, 1000):
        a = arb(1) / n
        b = 1 / (arb(n) + arb(1) / (12 * n * n))
        slope = abs((a**2 * (a**-3).sin() - b**2 * (b**-3).sin()) / (a - b))
        # Quarter of a radian of the wave lies between them, so the mean slope is a fixed part of 3/x^2.
        assert slope > arb(n) ** 2 / 4
        slopes.append(float(slope.mid()))
    steep = ", ".join(f"{value:.4g}" for value in slopes)
    evidence.control("N1", f"sin, balls of 200 bits: L0 <= 4.317 on [0, 1]; slopes {steep} at x = 1/10, 1/100, 1/1000")


def no_contraction(evidence: Recorder) -> None:
    """N2: no fixed point, an oscillation, and a rotation that only averaging resolves."""
    one = torch.ones(1, dtype=torch.float64)
    drift = fixed_point(
        lambda y, x: y + x, one, one, solver=Picard(), stop=Stop(max_steps=400), on_failure=OnFailure.RETURN
    )
    assert not bool(drift.converged.any())
    swing = fixed_point(
        lambda y, _: -y, one, one, solver=Picard(), stop=Stop(max_steps=400), on_failure=OnFailure.RETURN
    )
    assert swing.statuses[0] is Status.CYCLING
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    circling = fixed_point(
        lambda y, _: y @ turn.T, start, start, solver=Picard(), stop=Stop(max_steps=400), on_failure=OnFailure.RETURN
    )
    assert not bool(circling.converged.any())
    assert float(circling.value.square().sum()) == 1.0
    averaged = fixed_point(
        lambda y, _: y @ turn.T, start, start, solver=KrasnoselskiiMann(0.5), stop=Stop(rtol=0.0, atol=1e-10)
    )
    assert bool(averaged.converged.all())
    assert float(averaged.value.abs().max()) < 1e-9
    evidence.control(
        "N2",
        f"y + x: {drift.statuses[0].name} after {int(drift.steps[0])} steps; -y: {swing.statuses[0].name}; "
        f"quarter turn: Picard {circling.statuses[0].name} at distance 1, averaging reaches 0 in {int(averaged.steps[0])} steps",
    )


def constant_step(evidence: Recorder) -> None:
    """N3: no constant step is regular for 1/x, while the adaptive step of the same map is."""
    found = []
    for eps in (1e-3, 0.1, 1.0):
        for L0 in (1.0, 1e3, 1e6):
            verdict = ConstantRelaxation(ReciprocalMap(), eps).refute(L0)
            assert verdict.witness is not None
            found.append(verdict.worst_margin)
    adaptive = adaptive_relaxation(ReciprocalMap())
    assert adaptive.regularity is not None
    evidence.control(
        "N3", f"9 claims of a budget for eps = 0.001, 0.1, 1 on 1/x refuted; weakest violation {max(found):.3g}"
    )


def not_locally_lipschitz(evidence: Recorder) -> None:
    """N4: sqrt|x| and a jump; the radius at the bad point vanishes as the set is refined."""
    roots, jumps = [], []
    for levels in (2, 4, 8, 16):
        points = [Fraction(0), *(Fraction(1, 4**k) for k in range(levels + 1))]
        root = RationalTable.of_points(points, [Fraction(0), *(Fraction(1, 2**k) for k in range(levels + 1))])
        roots.append(exact_radii(root, 0)[0])
        sides = [Fraction(0), *(s * Fraction(1, 2**k) for k in range(levels + 1) for s in (-1, 1))]
        jump = RationalTable.of_points(sides, [int(x > 0) for x in sides])
        jumps.append(exact_radii(jump, 0)[0])
        # The construction on the finite set is still regular; what vanishes is the step, uniformly in nothing.
        assert ExactRelaxation(root).certify().witness is None
    for radii in (roots, jumps):
        assert all(later < earlier for earlier, later in pairwise(radii))
        assert radii[-1] < Fraction(1, 2000)
    evidence.control(
        "N4",
        f"rho(0) = {', '.join(f'{float(r):.3g}' for r in roots)} for sqrt|x|, {', '.join(f'{float(r):.3g}' for r in jumps)} for a jump",
    )


def exponent_below_two(evidence: Recorder) -> None:
    """N5: with eps = rho^p the offset has slope K exactly for p = 1, and grows without bound for every p below 2."""
    for K in (3, 30, 300):
        edge = Fraction(1, 1 + K)
        table = RationalTable.of_points([0, edge / 2, edge], [K, K, K + 1])
        rho = [exact_radii(table, i)[0] for i in range(3)]
        distance = table.distances
        slopes = [
            abs(rho[i] * table.values[i][0] - rho[j] * table.values[j][0]) / distance[i][j]
            for i in range(3)
            for j in range(i)
        ]
        assert max(slopes) == K
        honest = ExactRelaxation(table, rule=SquaredRadius())
        assert honest.certify().witness is None
        broken = joint_budget.margin(
            step_gap=abs(rho[0] - rho[1]), offset_gap=abs(rho[0] - rho[1]) * K, delta=distance[0][1]
        )
        assert broken < 0
    # p = 3/2 needs square roots: compare squares of the offsets' slopes at growing K, which grow like K.
    growth = []
    for K in (10, 10**3, 10**5):
        edge = Fraction(1, 1 + K)
        table = RationalTable.of_points([0, edge / 2, edge], [K, K, K + 1])
        a, b = exact_radii(table, 0)[0], exact_radii(table, 1)[0]
        growth.append(float(K * abs(float(a) ** 1.5 - float(b) ** 1.5) / float(edge / 2)))
    assert growth[0] < growth[1] < growth[2]
    evidence.control(
        "N5",
        f"lip(rho F) = K exactly at K = 3, 30, 300; p = 3/2: slopes {', '.join(f'{s:.3g}' for s in growth)} at K = 10, 1e3, 1e5",
    )


def adjoint_without_contraction(evidence: Recorder) -> None:
    """N7: a radius above 1 that the loss gradient excites makes the Neumann adjoint run away; a norm above 1 alone does not."""

    def errors(J: list[list[Fraction]], v: list[Fraction], terms: int) -> tuple[list[Fraction], list[Fraction]]:
        transpose = rational.transposed(J)
        true = rational.solve(rational.identity_minus(transpose), v)
        total, found = list(v), []
        for _ in range(terms):
            found.append(rational.sum_distance(total, true))
            total = [p + q for p, q in zip(v, rational.product(transpose, total), strict=True)]
        return true, found

    one, half, grown = Fraction(1), Fraction(1, 2), Fraction(11, 10)
    fast = [[grown, Fraction(0)], [Fraction(0), half]]
    _, excited = errors(fast, [one, one], 60)
    assert all(error == 10 * grown**K + 2 * half**K for K, error in enumerate(excited, start=1))
    assert all(later > earlier for earlier, later in pairwise(excited))
    _, spared = errors(fast, [Fraction(0), one], 60)
    assert all(error == 2 * half**K for K, error in enumerate(spared, start=1))
    # The square of this one is I/4, so its eigenvalues are +-1/2, while it maps a unit vector to one of length 10.
    large = [[Fraction(0), Fraction(10)], [Fraction(1, 40), Fraction(0)]]
    assert [rational.product(large, column) for column in rational.transposed(large)] == [[one / 4, 0], [0, one / 4]]
    assert rational.sup_norm(large) == 10
    true, calm = errors(large, [one, one], 60)
    for K, error in enumerate(calm, start=1):
        rest = rational.product(rational.transposed(large), true) if K % 2 else true
        assert error == Fraction(1, 4) ** (K // 2) * sum(map(abs, rest))
    assert calm[-1] < Fraction(1, 10**15)
    evidence.control(
        "N7",
        f"radius 1.1: the Neumann adjoint of K terms errs by 10 * 1.1^K + 2^(1-K) exactly, {float(excited[-1]):.4g} at K = 60; a loss "
        f"gradient that does not excite it: 2^(1-K); |J| = 10 with radius 1/2: {float(calm[-1]):.3g} at K = 60",
    )


def column_rank(evidence: Recorder) -> None:
    """N7: with full column rank but not full row rank the Jacobian-free direction ascends, however small `d_yG` is."""
    steepest = []
    for gamma in (Fraction(1, 2), Fraction(1, 10), Fraction(1, 1000)):
        M, J = [[Fraction(1)], [Fraction(0)]], [[Fraction(0), Fraction(0)], [gamma, Fraction(0)]]
        assert rational.inner([row[0] for row in M], [row[0] for row in M]) == 1  # M^T M = (1), condition number 1
        v = [Fraction(1), -2 / gamma]
        w = rational.solve(rational.identity_minus(rational.transposed(J)), v)
        exact, free = (rational.product(rational.transposed(M), q)[0] for q in (w, v))
        assert exact == -1
        assert free == 1
        steepest.append(exact * free / (exact * exact))
    # At the same v a second column makes the rank full, and then small Jacobians give descent.
    gamma, M = Fraction(1, 2), [[Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)]]
    v = [Fraction(1), Fraction(-4)]
    w = rational.solve([[Fraction(1), -gamma], [Fraction(0), Fraction(1)]], v)
    repaired = rational.inner(rational.product(M, w), rational.product(M, v))
    assert repaired > 0
    evidence.control(
        "N7",
        f"M = (1, 0)^T, d_yG = [[0, 0], [gamma, 0]], v = (1, -2/gamma): <g,d>/|g|^2 = {steepest[0]} at gamma = 1/2, 1/10, 1/1000; "
        f"with M = I the same v at gamma = 1/2 descends, <g,d> = {repaired}",
    )


def adaptive_weights(evidence: Recorder) -> None:
    """N8: Anderson's acceleration with one difference finds the slope of the fixed point after two evaluations.

    From `y_0 = 0`: `y_1 = L0 x`, residuals `f_0 = L0 x` and `f_1 = mu L0 x`, so the difference is `(mu - 1) L0 x`, its weight
    `mu / (mu - 1)`, and `y_2 = L0 x / (1 - mu)`: the weight is the same everywhere but was read off the iterates themselves.
    """
    found = []
    x = torch.tensor([0.5, 1.0], dtype=torch.float64)
    for mu, L0 in ((0.5, 1.0), (0.9, 2.0), (0.999, 1.0), (0.999999, 1.0)):
        solver, y = Anderson(memory=1), torch.zeros_like(x)
        state = solver.init(y)
        for _ in range(2):
            y, state = solver.step(state, y, mu * y + L0 * x, torch.ones(2, dtype=torch.bool))
        slope = float((y[1] - y[0]).abs() / 0.5)
        # The ridge of 1e-10 moves the weight mu/(1 - mu) by that factor, and rounding is smaller.
        assert abs(slope - L0 / (1 - mu)) <= 2e-10 * L0 / (1 - mu) ** 2
        assert linear_growth.margin(slope=slope, start_slope=0.0, steps=2, size=0.0, L0=L0, L1=0.0) < 0 or mu == 0.5
        found.append(f"{slope:.6g} at mu = {mu:g}, L0 = {L0:g}")
    # A slope of 1000 after two evaluations, by the library's own solve.
    solved = fixed_point(lambda y, x: 0.999 * y + x, x, torch.zeros_like(x), solver=Anderson(memory=1))
    assert bool(solved.converged.all())
    evidence.control(
        "N8",
        f"slopes after 2 evaluations: {', '.join(found)}; a solve ends after {int(solved.evaluations.max())} evaluations",
    )


def jacobian_without_convexity(evidence: Recorder) -> None:
    """N9: `G = (y + sign(x))/2` has Jacobian 0 in x and constants alpha = beta = 0, so the bound is 0; slopes move all the same."""
    slopes = []
    for h in (Fraction(1, 2), Fraction(1, 1000), Fraction(1, 10**9)):
        right = Fraction(0)  # the iterate at h; at -h it is the negative
        for t in range(1, 6):
            right = (right + 1) / 2
            bound = levelling_off.sides(
                jacobian_error=0,
                start_error=0,
                start_state_error=1,
                mu=Fraction(1, 2),
                alpha=0,
                beta=0,
                jacobian=0,
                steps=t,
            )[1]
            assert bound == 0  # Jacobians agree at every step, as the pointwise half of T5b says
            slope = 2 * right / (2 * h)
            assert slope == (1 - Fraction(1, 2**t)) / h
            assert levelling_off_of_slopes.margin(slope=slope, target_slope=1 / h, jacobian_bound=bound) < 0
        slopes.append(1 / h)
    evidence.control(
        "N9",
        f"sign(x): Jacobian bound 0, slopes after 5 steps off by 1/32 of {', '.join(f'{float(s):.3g}' for s in slopes)} "
        "on |x| >= 1/2, 1e-3, 1e-9",
    )


def forces_beyond_smallness(evidence: Recorder) -> None:
    """N12: Kolmogorov's flow at R = 4 on the torus of aspect 0.7 has a second steady state, of the published energy."""
    torus, reynolds = GalerkinTorus((16, 24), 0.7), 4.0
    x = (2 * torch.pi * torch.arange(16, dtype=torch.float64) / 16).reshape(1, 16, 1)
    y = 2 * torch.pi * torch.arange(24, dtype=torch.float64) / 24
    laminar = -torch.cos(y).expand(1, 16, 24).contiguous()
    force = laminar / reynolds
    G = OseenStep(torus, 1 / reynolds)
    assert G.regularity is not None
    factor = float(G.regularity.mu.at(force))
    assert factor > 10  # far from the theorem's condition
    assert float((G(laminar, force) - laminar).abs().max()) < 1e-14
    start = laminar + 0.05 * torch.cos(x) * (1 + torch.sin(y))
    stop = Stop(rtol=1e-10, max_steps=200)
    other = fixed_point(G, force, start, solver=Picard(), stop=stop, on_failure=OnFailure.RETURN)
    assert bool(other.converged.all())
    c, base = torus.coordinates(other.value), torus.coordinates(laminar)
    kinetic = float((c.square() / torus.squared).sum() / 2)
    # The reference has two resolutions of more modes; 5 x 15 modes are good for seven digits.
    assert abs(kinetic - 0.20727947314588) < 1e-8
    apart = torch.linalg.vector_norm(c - base)
    # A contraction with both as fixed points would bring them together.
    assert contraction.margin(gap_after=apart, gap_before=apart, mu=1 - 1e-9) < 0
    evidence.control(
        "N12",
        f"c F0/nu^2 = {factor:.3g}: two fixed points of one Oseen step, energies 0.25 and {kinetic:.9g}, {float(apart):.3g} apart in V",
    )


def aliased_products(evidence: Recorder) -> None:
    """N13: the average of `((u.grad) v) . v` over a grid that is too coarse is as large as the form can be, where exact ones vanish."""
    torus = GalerkinTorus((36, 36))  # modes up to 11; every second point is a grid of 18, a third of which is 6
    g = torch.Generator().manual_seed(5)
    c = torch.randn(2, 64, torus.dimension, generator=g, dtype=torch.float64)
    reach = torus.modes.abs().amax(dim=1).repeat(2)
    c = torch.where(reach < 9, c, 0.0)
    u, v = (torus.field(t / torch.linalg.vector_norm(t, dim=1, keepdim=True)) for t in c)
    broken = next(claim for claim in broken_flows(torus, 1.0, 0.1) if claim.name == "aliased products")
    folded, exact = broken.form(u, v, v).abs().max(), advection_form(torus, u, v, v).abs().max()
    size = advection_form(torus, u, v, u).abs().max()
    assert float(exact) < 1e-15 < 1e-1 * float(size) < float(folded)
    assert energy.margin(form=float(folded)) < 0
    evidence.control(
        "N13",
        f"<(u.grad) v, v> is {float(folded):.3g} on the coarse grid and {float(exact):.1g} without aliasing, where forms are of size "
        f"{float(size):.3g}",
    )
