"""Random flows and forces on a torus, and every statement of T11 as margins; for the check of T11."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from eqtheory.errors import SolverError
from eqtheory.roundoff import gamma
from eqtheory.solvers import OnFailure, Stop, fixed_point
from eqtheory.testing.margins import relative_margin
from eqtheory.testing.zoo.flows import FlowClaim, advection_form
from eqtheory.theorems import contraction, simplicity
from eqtheory.theorems.navier_stokes import energy, size, stability, trilinear

__all__ = ["BATCH", "SHAPES", "TORI", "flows", "margins_of", "steepest_triple"]

BATCH = 24
TORI = (
    GalerkinTorus((16, 16)),
    GalerkinTorus((14, 20), 0.5),
    GalerkinTorus((20, 12), 1.7),
    GalerkinTorus((12, 16), 0.25),
)
SHAPES = ("rough", "smooth", "one shell", "two modes")
_SOLVED = 6400
"""Unit roundoffs of the right-hand side to which Oseen's system is known to be solved."""

Found = tuple[str, Tensor, Callable[[int], str]]


def flows(torus: GalerkinTorus, shape: str, count: int, g: torch.Generator) -> Tensor:
    """Vorticities of unit root mean square, as coordinates."""
    c = torch.randn(count, torus.dimension, generator=g, dtype=torch.float64)
    if shape == "smooth":
        c = c / torus.squared**1.5
    elif shape == "one shell":
        shells = torch.unique(torus.squared)
        chosen = shells[torch.randint(len(shells), (count,), generator=g)]
        c = torch.where(torus.squared == chosen.unsqueeze(1), c, 0.0)
    elif shape == "two modes":
        half = torus.dimension // 2
        kept = torch.zeros(count, half, dtype=torch.bool)
        kept.scatter_(1, torch.randint(half, (count, 2), generator=g), 1)
        c = torch.where(kept.repeat(1, 2), c, 0.0)
    return c / torch.linalg.vector_norm(c, dim=1, keepdim=True)


def _mixed(torus: GalerkinTorus, g: torch.Generator) -> Tensor:
    return torch.cat([flows(torus, shape, BATCH // len(SHAPES), g) for shape in SHAPES])


def _largest_speed(torus: GalerkinTorus, w: Tensor) -> Tensor:
    """`sum |u_k|`, at least the largest speed."""
    z = torus.complex_of(torus.coordinates(w)).abs()
    return 2 * (z / torus.squared[: z.shape[1]].sqrt()).sum(dim=1)


def _unit(torus: GalerkinTorus) -> float:
    """Relative rounding of a chain of transforms and products.

    A transform of `n` points errs by `log2(n)` times 8 roundings in the root mean square (Higham 2002, Theorem 24.2); at most eight
    stand in a row, with as many products.
    """
    return gamma(64 + 64 * math.ceil(math.log2(torus.shape[0] * torus.shape[1])), torch.float64)


@lru_cache(maxsize=8)
def steepest_triple(torus: GalerkinTorus, rounds: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Flows that make the form large: maximised in one after the other, each step exactly, as the form is linear in each."""
    g = torch.Generator().manual_seed(1)
    triple = [flows(torus, "smooth", 32, g) for _ in range(3)]
    for step in range(3 * rounds):
        at = step % 3
        parts = [c.detach() for c in triple]
        parts[at].requires_grad_()
        value = advection_form(torus, *(torus.field(c) for c in parts)).sum()
        (slope,) = torch.autograd.grad(value, parts[at])
        triple[at] = slope / torch.linalg.vector_norm(slope, dim=1, keepdim=True)
    u, v, w = (torus.field(c) for c in triple)
    best = int(advection_form(torus, u, v, w).abs().argmax())
    return u[best : best + 1], v[best : best + 1], w[best : best + 1]


def _form_margins(claim: FlowClaim, g: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    torus, norm = claim.torus, claim.state_norm
    u, v, w = (torus.field(_mixed(torus, g)) for _ in range(3))
    hard = steepest_triple(torus)
    u, v, w = (torch.cat([a, b]) for a, b in zip((u, v, w), hard, strict=True))
    slack = _unit(torus) * _largest_speed(torus, u) * _largest_speed(torus, v)
    sides = trilinear.sides(form=claim.form(u, v, w), u=norm(u), v=norm(v), w=norm(w), c=claim.constant)
    yield "trilinear", relative_margin(sides, slack * norm(w))
    yield "energy", relative_margin(energy.sides(form=claim.form(u, v, v)), slack * norm(v))


def _step_margins(claim: FlowClaim, g: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    torus, nu, norm = claim.torus, claim.viscosity, claim.state_norm
    radius = claim.force / nu
    decades = 10.0 ** (2 * torch.rand(BATCH, 1, generator=g, dtype=torch.float64) - 1)
    a = _mixed(torus, g) * decades * radius
    near = 10.0 ** (-5 * torch.rand(BATCH, 1, generator=g, dtype=torch.float64))
    b = a + near * _mixed(torus, g) * radius
    # One hostile pair: a flow far outside of the ball, and the change that it turns most.
    turning, turned, _ = (torus.coordinates(t)[0] for t in steepest_triple(torus))
    a[-1], b[-1] = 10 * radius * turned, 10 * radius * turned + 1e-3 * radius * turning
    y, z = torus.field(a), torus.field(b)
    # Forces of the largest size, and pairs of them near and far. |f|_{V'} = |A^{-1} g|.
    p = _mixed(torus, g) * claim.force
    q = p + 2 * near * _mixed(torus, g) * claim.force
    q = q * (claim.force / torch.linalg.vector_norm(q, dim=1, keepdim=True))
    shrink = 1 - 1e-12
    f, other = (torus.field(c * torus.squared * shrink) for c in (p, q))
    stepped = claim.step(y, f)
    speed = _largest_speed(torus, y) + _largest_speed(torus, z)
    fast = speed * (_largest_speed(torus, stepped) + speed.clamp(max=2 * radius * torus.dimension**0.5))
    slack = _unit(torus) * (fast / nu + norm(stepped)) + gamma(2 * _SOLVED, torch.float64) * radius
    gap = norm.distance(stepped, claim.step(z, f))
    yield (
        "contraction",
        relative_margin(contraction.sides(gap_after=gap, gap_before=norm.distance(y, z), mu=claim.mu), slack),
    )
    moved = norm.distance(stepped, claim.step(y, other))
    delta = claim.force_norm.distance(f, other)
    sides = simplicity.sides(gap=moved, state_norm=norm(y), delta=delta, L0=claim.budget, L1=0.0)
    yield "simplicity", relative_margin(sides, slack)
    yield from _flow_margins(claim, f, other, slack)


def _flow_margins(claim: FlowClaim, f: Tensor, other: Tensor, slack: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The fixed points: they solve the equation, are bounded, and depend on the force as the theorem says."""
    torus, nu, norm = claim.torus, claim.viscosity, claim.state_norm
    stop = Stop(rtol=1e-13, max_steps=400)
    ends = [fixed_point(claim.step, x, torch.zeros_like(x), stop=stop, on_failure=OnFailure.RETURN) for x in (f, other)]
    u, v = (end.value for end in ends)
    # T1: a residual r leaves an error of r / (1 - mu); evaluations err by the slack.
    error = torch.stack([end.residual for end in ends]).amax(dim=0) / math.sqrt(torus.shape[0] * torus.shape[1])
    room = (error.to(slack) + slack) / (1 - claim.mu)
    symbol = torus.squared[: torus.dimension // 2]
    turned = torus.self_advection(torus.analysis(u))
    miss = norm(u - torus.synthesis((torus.analysis(f) - turned) / (nu * symbol)))
    yield "fixed point", relative_margin((miss, 0 * miss), 3 * room)
    force = claim.force_norm(f)
    yield "size", relative_margin(size.sides(solution=norm(u), force=force, viscosity=nu), room)
    sides = stability.sides(
        gap=norm.distance(u, v),
        force_gap=claim.force_norm.distance(f, other),
        force=claim.force,
        viscosity=nu,
        c=claim.constant,
    )
    yield "stability", relative_margin(sides, 2 * room)


def margins_of(claim: FlowClaim, g: torch.Generator) -> Iterator[Found]:
    """Margins of every statement, with witnesses; a step that cannot be taken at all violates the first law of operators."""

    def witness(i: int) -> str:
        torus = claim.torus
        return f"{claim.name}, grid {torus.shape}, aspect {torus.aspect}, nu = {claim.viscosity}, F0 = {claim.force}, sample {i}"

    try:
        for name, margins in (*_form_margins(claim, g), *_step_margins(claim, g)):
            yield name, margins, witness
    except SolverError:
        yield "solved", torch.tensor([-1.0]), witness
