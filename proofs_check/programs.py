"""Random linear programs, many at a time, and what is claimed of the two operators on them; for the check of T12.

Programs with a known answer are drawn backwards: multipliers and a point first, then the data that make them optimal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqtheory.constructions import LinearProgram, PrimalDual, ProgramPart, RegularisedDual, part_distances
from eqtheory.lipschitz import matrix_norm_upper_bound
from eqtheory.norms import Euclidean
from eqtheory.roundoff import gamma
from eqtheory.testing.margins import relative_margin
from eqtheory.theorems.linear_programming import (
    averaged_step,
    dual_contraction,
    dual_simplicity,
    regularisation_error,
)

__all__ = [
    "REGIMES",
    "DualClaim",
    "StepClaim",
    "draw_programs",
    "dual_margins",
    "honest_dual",
    "honest_step",
    "step_margins",
]

REGIMES = ("free", "clipped", "mixed", "parallel rows", "contradicting rows", "fixed variables")
BATCH = 6 * 32
STEPS = 800
Margins = Iterator[tuple[str, Tensor, Callable[[int], str]]]


def normal(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def draw_programs(g: torch.Generator, m: int, n: int, size: float) -> LinearProgram:
    """One sixth of the batch of each regime; norms of the matrices up to `size`, three decades of bounds."""
    A = normal(g, BATCH, m, n)
    regime = torch.arange(BATCH) % len(REGIMES)
    if m > 1:
        twin = (regime == 3) | (regime == 4)
        A[twin, 1] = A[twin, 0]
    A = A / matrix_norm_upper_bound(A, Euclidean()).reshape(-1, 1, 1)
    share = torch.rand(BATCH, 1, 1, generator=g, dtype=torch.float64)
    A = A * size * torch.where(share < 0.5, 1 - 1e-9, share)
    middle = normal(g, BATCH, n)
    half = 10.0 ** (3 * torch.rand(BATCH, n, generator=g, dtype=torch.float64) - 1.5)
    half = torch.where((regime == 0).unsqueeze(1), 100 * half, half)
    half = torch.where((regime == 5).unsqueeze(1) & (torch.rand(BATCH, n, generator=g) < 0.5), 0.0, half)
    c = normal(g, BATCH, n) * torch.where(regime == 1, 100.0, torch.where(regime == 0, 0.1, 1.0)).unsqueeze(1)
    b = normal(g, BATCH, m)
    equality = torch.rand(BATCH, m, generator=g) < 0.5
    if m > 1:
        equality[regime == 4, :2] = True
        b[regime == 4, 1] = b[regime == 4, 0] + 1
    return LinearProgram.from_dense(
        A, b=b, c=c, l=middle - half, u=middle + half, equality=equality, pattern=torch.ones_like(A, dtype=torch.bool)
    )


def moved(program: LinearProgram, g: torch.Generator) -> LinearProgram:
    """The same programs with some of their five parts moved, by steps of many sizes."""
    step = 10.0 ** (-6 * torch.rand(BATCH, 1, generator=g, dtype=torch.float64))
    parts = {}
    for part in ProgramPart:
        value = getattr(program, part.value)
        direction = normal(g, *value.shape)
        direction = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True)
        chosen = torch.rand(BATCH, 1, generator=g) < 0.6
        parts[part.value] = value + torch.where(chosen, step * direction, 0.0)
    parts["l"], parts["u"] = (
        torch.minimum(parts["l"], program.u),
        torch.maximum(parts["u"], torch.minimum(parts["l"], program.u)),
    )
    return replace(program, **parts)


def norms(program: LinearProgram) -> Tensor:
    return matrix_norm_upper_bound(program.dense(), Euclidean())


def radii(program: LinearProgram) -> Tensor:
    return torch.linalg.vector_norm(torch.maximum(program.l.abs(), program.u.abs()), dim=1)


@dataclass(frozen=True)
class DualClaim:
    """A dual step with the constants claimed for it."""

    name: str
    step: Callable[[Tensor, LinearProgram], Tensor]
    decode: Callable[[Tensor, LinearProgram], Tensor]
    mu: Callable[[LinearProgram], Tensor]
    L0: float
    L1: float
    G: RegularisedDual
    error_factor: float = 1.0


def honest_dual(G: RegularisedDual) -> DualClaim:
    declared = G.regularity
    assert declared is not None
    return DualClaim("as declared", G, G.decode, declared.mu.at, declared.L0.value, declared.L1.value, G)


def parameters(g: torch.Generator, program: LinearProgram, other: LinearProgram) -> RegularisedDual:
    """Weights over two decades, and steps up to the longest that is allowed."""
    a = float(torch.maximum(norms(program), norms(other)).max()) * (1 + 1e-9)
    D = float(torch.maximum(radii(program), radii(other)).max()) * (1 + 1e-9)
    draws = torch.rand(3, generator=g, dtype=torch.float64).tolist()
    lam = 10.0 ** (2 * draws[0] - 1)
    delta = a * a / lam * 10.0 ** (2 * draws[1] - 1.5)
    longest = 2 / (a * a / lam + delta)
    return RegularisedDual(size=a, radius=D, lam=lam, delta=delta, tau=longest * (0.2 + 0.79 * draws[2]))


def dual_margins(
    g: torch.Generator, m: int, n: int, size: float, claim_of: Callable[[RegularisedDual], DualClaim]
) -> Margins:
    """(R1), (R2) and the error of the second regularisation at random and hostile states and pairs."""
    program = draw_programs(g, m, n, size)
    other = moved(program, g)
    G = parameters(g, program, other)
    claim = claim_of(G)
    scale = 10.0 ** (4 * torch.rand(BATCH, 1, generator=g, dtype=torch.float64) - 2)
    p, q = scale * normal(g, BATCH, m), scale * normal(g, BATCH, m)
    near = (torch.arange(BATCH) // 6 % 2 == 0).unsqueeze(1)
    q = torch.where(near, p + 1e-4 * scale * normal(g, BATCH, m), q)
    length = torch.linalg.vector_norm
    # Sums of at most m + n terms; the decoded point is rounded by what stands inside it, over lam.
    terms = length(program.c, dim=1) + G.size * torch.maximum(length(p, dim=1), length(q, dim=1))
    magnitude = (
        length(p, dim=1)
        + length(q, dim=1)
        + G.tau * (G.size * G.radius + length(program.b, dim=1) + G.size / G.lam * terms)
    )
    slack = 4 * gamma(2 * (m + n) + 16, torch.float64) * (magnitude + 1)

    def witness(i: int) -> str:
        return f"{claim.name}: instance {i} ({REGIMES[i % 6]}), m = {m}, n = {n}, lam = {G.lam}, delta = {G.delta}, tau = {G.tau}"

    after = length(claim.step(p, program) - claim.step(q, program), dim=1)
    before = length(p - q, dim=1)
    yield "dual_contraction, as declared", relative_margin((after, claim.mu(program) * before), slack), witness
    formula = dual_contraction.sides(
        gap_after=after, gap_before=before, tau=G.tau, lam=G.lam, delta=G.delta, norm=norms(program)
    )
    yield "dual_contraction", relative_margin(formula, slack), witness
    gap = length(claim.step(p, program) - claim.step(p, other), dim=1)
    distance = part_distances(program, other).amax(dim=1)
    budget = (claim.L0 + claim.L1 * length(p, dim=1)) * distance
    yield "dual_simplicity, as declared", relative_margin((gap, budget), slack), witness
    spread = (2 + 1 / G.lam**2) ** 0.5
    sides = dual_simplicity.sides(
        gap=gap,
        moved=distance,
        multiplier_norm=length(p, dim=1),
        tau=G.tau,
        lam=G.lam,
        size=G.size,
        radius=G.radius,
        spread=spread,
    )
    yield "dual_simplicity", relative_margin(sides, slack), witness
    yield "regularisation_error", _second_regularisation(g, claim, program, p), witness


def _second_regularisation(g: torch.Generator, claim: DualClaim, program: LinearProgram, p: Tensor) -> Tensor:
    """Distance to the minimiser for `delta = 0`, with multipliers known because the right side is made for them."""
    G = claim.G
    known = program.projected(p)
    point = torch.clamp(-(program.c + program.transposed(known)) / G.lam, program.l, program.u)
    room = torch.where(program.equality | (known > 0), 0.0, normal(g, *p.shape).abs())
    program = replace(program, b=program.times(point) + room)
    state = torch.zeros_like(p)
    for _ in range(STEPS):
        state = claim.step(state, program)
    residual = torch.linalg.vector_norm(claim.step(state, program) - state, dim=1)
    mu = claim.mu(program)
    size = torch.linalg.vector_norm(known, dim=1)
    grain = gamma(2 * sum(program.shape[1:]) + 16, torch.float64)
    magnitude = size + G.radius * (1 + G.size) + torch.linalg.vector_norm(program.c, dim=1) + 1
    # Distance of the state from the fixed point (T1, with the evaluation error), and what the decoder makes of it.
    off = (residual + 4 * grain * magnitude * (1 + G.size / G.lam)) / (1 - mu).clamp_min(1e-12)
    off = (G.size / G.lam * off + 4 * grain * magnitude / G.lam).nan_to_num(torch.inf)
    gap = torch.linalg.vector_norm(claim.decode(state, program) - point, dim=1).nan_to_num(1e300)
    known_gap = (gap - off).clamp_min(0.0)
    left, right = regularisation_error.sides(
        gap_squared=known_gap.square(), lam=G.lam, delta=G.delta, multiplier_squared=size.square()
    )
    # Slack was taken off the gap; what remains are four roundings of the two sides.
    return relative_margin((left, claim.error_factor * right * (1 + 1e-15 * 8)), 1e-300)


@dataclass(frozen=True)
class StepClaim:
    """A primal-dual step that is claimed to average, with the norm it averages in."""

    name: str
    step: Callable[[Tensor, LinearProgram], Tensor]
    G: PrimalDual


def honest_step(G: PrimalDual) -> StepClaim:
    return StepClaim("as built", G, G)


def _solved_program(g: torch.Generator, program: LinearProgram) -> tuple[LinearProgram, Tensor]:
    """Costs and right sides for which a drawn pair is optimal."""
    _, m, n = program.shape
    where = torch.randint(0, 3, (BATCH, n), generator=g)
    inner = program.l + (program.u - program.l) * torch.rand(BATCH, n, generator=g, dtype=torch.float64)
    y = torch.where(where == 0, inner, torch.where(where == 1, program.l, program.u))
    prices = normal(g, BATCH, n).abs()
    prices = torch.where(where == 0, 0.0, torch.where(where == 1, prices, -prices))
    p = program.projected(normal(g, BATCH, m))
    room = torch.where(program.equality | (p > 0), 0.0, normal(g, BATCH, m).abs())
    solved = replace(program, c=prices - program.transposed(p), b=program.times(y) + room)
    return solved, torch.cat([y, p], dim=1)


def step_margins(
    g: torch.Generator, m: int, n: int, size: float, claim_of: Callable[[PrimalDual], StepClaim]
) -> Margins:
    """Averaging between random states, and towards a known pair of solutions."""
    program, solution = _solved_program(g, draw_programs(g, m, n, size))
    weight = float(10.0 ** (2 * torch.rand(1, generator=g, dtype=torch.float64) - 1))
    G = PrimalDual(size=float(norms(program).max()) * (1 + 1e-9), weight=weight)
    claim = claim_of(G)
    scale = 10.0 ** (3 * torch.rand(BATCH, 1, generator=g, dtype=torch.float64) - 1)
    z, w = scale * normal(g, BATCH, n + m), scale * normal(g, BATCH, n + m)

    def witness(i: int) -> str:
        return f"{claim.name}: instance {i} ({REGIMES[i % 6]}), m = {m}, n = {n}, weight = {weight}"

    tau, sigma = G.steps
    length = torch.linalg.vector_norm
    for name, second, image in (
        ("averaged_step", w, claim.step(w, program)),
        ("averaged_step, towards a solution", solution, solution),
    ):
        first = claim.step(z, program)
        sides = averaged_step.sides(
            image_squared=G.squared_norm(first - image, program),
            residual_squared=G.squared_norm((z - first) - (second - image), program),
            gap_squared=G.squared_norm(z - second, program),
        )
        # Squares of states that were rounded by what they are made of; P has norm at most 2 max(1/tau, 1/sigma).
        largest = length(z, dim=1) + length(second, dim=1) + length(solution, dim=1) + radii(program)
        largest = largest + (tau + sigma) * (length(program.c, dim=1) + length(program.b, dim=1) + G.size * largest)
        slack = 64 * gamma(2 * (m + n) + 16, torch.float64) * largest.square() * max(1 / tau, 1 / sigma)
        # Sides can be negative by rounding only.
        yield name, relative_margin((sides[0].clamp_min(0.0), sides[1].clamp_min(0.0)), slack), witness
