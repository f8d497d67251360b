"""One check for every adaptive relaxation, honest or broken: T3, T3a and T3b differ in the step and the scale only.

On a finite space `G(y, i) = (1 - eps_i) y + w_i F_i` is examined completely: the joint budget over all pairs decides (R2) for all
states at once, (R1) is `1 - eps <= mu`, and the fixed point is right iff `w = eps`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.constructions import ExactRelaxation, RelaxationRule, TargetRelaxation, adaptive_relaxation
from eqtheory.norms import Norm, Sum, Sup
from eqtheory.roundoff import gamma
from eqtheory.targets import RationalTable, SampleTable, Target
from eqtheory.testing.evidence import Kind, Recorder, Refuted
from eqtheory.testing.finite_spaces import METRIC_REGIMES, VALUE_REGIMES, FiniteBatch, draw_finite_spaces
from eqtheory.testing.margins import relative_margin, settle
from eqtheory.testing.zoo.relaxations import RelaxationClaim
from eqtheory.theorems import contraction, simplicity
from eqtheory.theorems.sufficiency import joint_budget, step_radius
from proofs_check.instances import generator

__all__ = [
    "REGIMES",
    "attack_claim",
    "attack_radii",
    "attack_target",
    "from_tensor",
    "hostile_spaces",
    "margins_of",
    "rational_tables",
    "real_tables",
    "record_exact",
    "sharp_offset_table",
    "sharp_step_table",
]

REGIMES = (*METRIC_REGIMES, *VALUE_REGIMES)


def _spread(t: Tensor) -> Tensor:
    return t.unsqueeze(2) + t.unsqueeze(1)


def margins_of(claim: RelaxationClaim, spaces: FiniteBatch) -> Iterator[tuple[str, Tensor]]:
    """All margins of one claim on a batch of spaces, shape `(batch, ...)` each.

    A step has passed through at most 16 roundings (slopes, reciprocal, product), an offset through 4 more; differences of
    two of them inherit that relative to the summands. Nothing else is granted.
    """
    eps = claim.step(spaces)
    weight = claim.weight(eps)
    offset = weight.unsqueeze(-1) * spaces.values
    size = weight * spaces.sizes
    slack = gamma(24, eps.dtype) * (_spread(eps) + 2 * _spread(size))
    sides = joint_budget.sides(
        step_gap=(eps.unsqueeze(2) - eps.unsqueeze(1)).abs(),
        offset_gap=spaces.gaps(offset),
        delta=spaces.distances,
        scale=claim.scale,
    )
    yield "joint_budget", relative_margin(sides, slack)
    unit = torch.ones_like(eps)
    yield (
        "contraction",
        relative_margin(
            contraction.sides(gap_after=1 - eps, gap_before=unit, mu=claim.mu(eps)), gamma(4, eps.dtype) * unit
        ),
    )
    # The fixed point is w/eps F; where F = 0 any weight is right.
    miss = (weight / eps - 1).abs() * (spaces.sizes > 0)
    yield "fixed point", relative_margin((miss, torch.zeros_like(miss)), gamma(8, eps.dtype))


def attack_claim(evidence: Recorder, claim: RelaxationClaim, spaces: FiniteBatch) -> float:
    """Put an honest claim through the check and record it.

    Returns:
        The worst margin.
    """
    found = dict(margins_of(claim, spaces))
    for name, radius in zip(("rho", "sigma"), spaces.radii(), strict=True):
        sides = step_radius.sides(gap=(radius.unsqueeze(2) - radius.unsqueeze(1)).abs(), delta=spaces.distances)
        found[f"step_radius: {name}"] = relative_margin(sides, gamma(16, radius.dtype) * _spread(radius))
    for quantity, margins in found.items():
        # The witness is the space in which the worst of all its pairs or points lies.
        worst_in_space = margins.flatten(1).amin(dim=1)
        settle(evidence, Kind.SAMPLED, quantity, worst_in_space, instances=len(spaces), witness=spaces.describe)
    evidence.regimes(spaces.regime_counts())
    return min(float(margins.min()) for margins in found.values())


def hostile_spaces() -> Iterator[FiniteBatch]:
    """A fixed set of spaces on which wrong constructions are known to show."""
    for norm in (Sup(), Sum()):
        for points in (2, 3, 5, 7):
            for dimension in (1, 2):
                yield draw_finite_spaces(
                    batch=480, points=points, dimension=dimension, norm=norm, generator=generator(points)
                )
    # One steep pair among calm points, which averages wash out.
    calm = RationalTable.of_points([0, "2/7", 10, 20, 30, 40, 50], [3, -3, 0, 0, 0, 0, 0])
    for table in (sharp_step_table(Fraction(1, 1000)), sharp_offset_table(10**4), calm):
        yield FiniteBatch(
            torch.tensor([[[float(d) for d in row] for row in table.distances]], dtype=torch.float64),
            torch.tensor([[[float(v) for v in value] for value in table.values]], dtype=torch.float64),
            Sup(),
        )


def sharp_step_table(delta: Fraction) -> RationalTable:
    """`X = {0, delta, 1}`, `F = (0, 0, 10)`: `lip rho = 1` and `lip eps = 2 - delta`."""
    return RationalTable.of_points([0, delta, 1], [0, 0, 10])


def sharp_offset_table(M: int) -> RationalTable:
    """`X = {0, 1/(1+M)}`, `F = (M, -M)`: `lip(eps F) = 2M/(1+M)`."""
    return RationalTable.of_points([0, Fraction(1, 1 + M)], [M, -M])


def rational_tables() -> st.SearchStrategy[RationalTable]:
    """Rational maps on rational points of the plane (sup or l1), with clustered and spread coordinates."""
    coordinate = st.one_of(
        st.fractions(min_value=-2, max_value=2, max_denominator=12),
        st.integers(1, 200).map(lambda k: Fraction(1, k)),
    )
    value = st.one_of(
        st.fractions(min_value=-3, max_value=3, max_denominator=12),
        st.integers(-500, 500).map(Fraction),
    )

    def build(data: tuple[dict[tuple[Fraction, Fraction], tuple[Fraction, Fraction]], Norm, Norm]) -> RationalTable:
        rows, of_points, of_values = data
        return RationalTable.of_points(list(rows), list(rows.values()), input_norm=of_points, output_norm=of_values)

    rows = st.dictionaries(st.tuples(coordinate, coordinate), st.tuples(value, value), min_size=1, max_size=6)
    norms = st.sampled_from([Sup(), Sum()])
    return st.tuples(rows, norms, norms).map(build)


def record_exact(evidence: Recorder, G: ExactRelaxation) -> None:
    """Decide one rational construction completely: all pairs, contraction, fixed point, and a few iterates.

    Raises:
        Refuted: a pair violates the budget.
    """
    verdict = G.certify()
    if verdict.witness is not None:
        raise Refuted("joint_budget", verdict.worst_margin, f"{verdict.witness} of {G.table}")
    evidence.record(Kind.EXACT, instances=1, worst_margin=verdict.worst_margin, quantity="joint_budget")
    zero = [Fraction(0)] * len(G.table.values[0])
    for i in range(len(G.table)):
        assert G(G.table.values[i], i) == G.table.values[i]
        assert 0 <= G.mu(i) < 1
        third = G.iterate(zero, i, 3)
        assert third == tuple((1 - G.mu(i) ** 3) * v for v in G.table.values[i])


def attack_target(
    evidence: Recorder, represented: Target, rule: RelaxationRule, scale: float, seed: int, count: int = 256
) -> float:
    """(R2) and the fixed point of the relaxation of a catalogued map, at hostile pairs and states.

    Pairs come from the map's own sampler (which seeks singularities) and from moves of one point by 10^-10 to 1. Rounding: the
    radii are 1-Lipschitz, so an input off by `u |x|` moves the step by at most `2 u |x|`, and a relative error in the bounds on
    balls is, by monotonicity of `r h(r)`, no larger in the radius.

    Returns:
        The worst margin.
    """
    g = generator(seed)
    G = adaptive_relaxation(represented, rule=rule, scale=scale)
    a = represented.sample(count, generator=g)
    b = represented.sample(count, generator=g)
    shape = (-1, *[1] * (a.ndim - 1))
    # Half of the pairs are close: b replaced by a point between a and b, where that lies in the domain.
    share = 10.0 ** (-10 * torch.rand(count, generator=g, dtype=torch.float64)).reshape(shape)
    between = a + share * (b - a)
    near = represented.contains(between) & (torch.arange(count) % 2 == 0)
    b = torch.where(near.reshape(shape), between, b)
    value = represented(a)
    size = represented.output_norm(value)
    y = torch.randn(value.shape, generator=g, dtype=torch.float64) * 10.0 ** (
        4 * torch.rand(count, generator=g, dtype=torch.float64) - 2
    ).reshape(-1, *[1] * (value.ndim - 1))
    y = torch.where((torch.arange(count) % 4 == 1).reshape(-1, *[1] * (value.ndim - 1)), -value, y)
    norm, metric = represented.output_norm, represented.input_norm
    # The step: 1-Lipschitz radii, so an input off by u |x| costs 2 u |x|; bounds on balls are raised by 64 u and round a few
    # times more.
    unit = gamma(160, torch.float64)
    state = norm(y)
    step = G.step(a) + G.step(b)
    errors = G.step(a) * represented.evaluation_error(a) + G.step(b) * represented.evaluation_error(b)
    weights = G.step(a) * size + G.step(b) * norm(represented(b))
    slack = unit * ((1 + state) * (step + metric(a) + metric(b)) + weights + state) + errors
    L = G.budget
    sides = simplicity.sides(
        gap=norm.distance(G(y, a), G(y, b)), state_norm=state, delta=metric.distance(a, b), L0=L, L1=L
    )
    margins = relative_margin(sides, slack)

    def witness(i: int) -> str:
        return f"{represented.name} at x = {a[i].tolist()}, x' = {b[i].tolist()}, y = {y[i].tolist()}"

    worst = settle(evidence, Kind.SAMPLED, f"simplicity: {represented.name}", margins, instances=count, witness=witness)
    assert torch.equal(G(value, a), value), f"the fixed point of {represented.name} is not its value"
    attack_radii(evidence, represented, G, a, g)
    return worst


def attack_radii(evidence: Recorder, represented: Target, G: TargetRelaxation, a: Tensor, g: torch.Generator) -> None:
    """What the proof needs of the radii, at points inside the ball: `rho` is 1-Lipschitz, and the map is tame there.

    Tame means `rho (1 + |F(z)| + |F(x) - F(z)| / d(x,z)) <= 1` for every `z` in `B(x, rho)`; halved or doubled radii, a bound
    without its slope or without its size show here, whatever the budget forgives.
    """
    rho, _ = G.radii(a)
    norm, metric = represented.output_norm, represented.input_norm
    shape = (-1, *[1] * (a.ndim - 1))
    share = 0.05 + 0.9 * torch.rand(len(a), generator=g, dtype=torch.float64)
    z = a + (share * rho).reshape(shape) * represented.directions(a, generator=g)
    # Steps below the spacing of numbers at x lead nowhere else.
    usable = represented.contains(z) & (metric.distance(a, z) > 1e-6 * rho) & (rho > 1e-9 * metric(a))
    if not bool(usable.any()):
        return
    a, z, rho = a[usable], z[usable], rho[usable]
    there, _ = G.radii(z)
    d = metric.distance(a, z)
    # The inputs are rounded relative to themselves, which moves a 1-Lipschitz radius by as much; bounds are raised by 64 u.
    slack = gamma(256, torch.float64) * (rho + there + metric(a) + metric(z))

    def witness(i: int) -> str:
        return f"{represented.name} at x = {a[i].tolist()}, z = {z[i].tolist()}, rho = {float(rho[i])}"

    lipschitz = relative_margin(step_radius.sides(gap=(rho - there).abs(), delta=d), slack)
    settle(evidence, Kind.SAMPLED, f"step_radius: {represented.name}", lipschitz, instances=len(a), witness=witness)
    slope = norm.distance(represented(a), represented(z)) / d
    error = (represented.evaluation_error(a) + represented.evaluation_error(z)) / d + slope * gamma(
        64, torch.float64
    ) * metric(a) / d
    tame = rho * (1 + norm(represented(z)) + slope)
    margins = relative_margin((tame, torch.ones_like(tame)), rho * error + gamma(256, torch.float64))
    settle(evidence, Kind.SAMPLED, f"tame on the ball: {represented.name}", margins, instances=len(a), witness=witness)


def from_tensor(x: Tensor, values: Tensor) -> SampleTable:
    """A scalar map on points of the line as a table."""
    return SampleTable(x.unsqueeze(1), values, input_norm=Sup(), output_norm=Sup())


def real_tables() -> dict[str, SampleTable]:
    """Tables of real data that ship inside scikit-learn, standardised."""
    from sklearn import datasets

    from eqtheory.targets import from_samples

    found = {}
    for name in ("diabetes", "wine", "breast_cancer", "linnerud"):
        data = getattr(datasets, f"load_{name}")()
        found[name] = from_samples(data.data, data.target, output_norm=Sup()).standardised()
    return found
