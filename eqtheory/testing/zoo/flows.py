"""Steps towards steady flows, honest and broken: each broken one changes one thing in the constructions of T11.

A claim is a step with a contraction factor and a budget, and a trilinear form with a constant, on one truncation. Honest claims
and broken ones go through the same check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus, OseenStep, StokesPicard
from eqtheory.norms import Norm, TorusSobolev
from eqtheory.theorems.navier_stokes import embedding_constant, operator_budget, oseen_factor, stokes_picard_factor

__all__ = ["FlowClaim", "advection_form", "broken_flows", "honest_flows"]

Step = Callable[[Tensor, Tensor], Tensor]
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class FlowClaim:
    """What is claimed of a step and of the nonlinearity behind it.

    Args:
        name: the construction, or what was changed in it.
        torus: the truncated space.
        viscosity: `nu`.
        force: bound on the forces it is claimed for.
        step: `(w, g) -> w`, vorticities and curls of forces on the grid.
        form: `(u, v, w) -> <(u.grad) v, w>` for vorticities.
        mu: claimed contraction factor.
        budget: claimed `L0`.
        constant: claimed bound on the form.
        state_norm: norm of vorticities.
        force_norm: metric of curls of forces.
    """

    name: str
    torus: GalerkinTorus
    viscosity: float
    force: float
    step: Step
    form: Form
    mu: float
    budget: float
    constant: float
    state_norm: Norm
    force_norm: Norm


def advection_form(torus: GalerkinTorus, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """`<(u.grad) v, w>` as the pairing of the curl of the advection with the stream function of `w`.

    Args:
        torus: the truncated space.
        u: vorticities of the advecting flows on the grid, shape `(batch, x, y)`.
        v: vorticities of the advected flows.
        w: vorticities of the flows it is paired with.

    Returns:
        Shape `(batch,)`.
    """
    a, b = (torus.synthesis(torus.velocity(torus.analysis(t))) for t in (u, v))
    turned = torus.real_of(torus.advection(a, b))
    return (turned * torus.coordinates(w) / torus.squared).sum(dim=1)


def honest_flows(torus: GalerkinTorus, viscosity: float, force: float) -> Iterator[FlowClaim]:
    """The two constructions, with the constants of the theorem.

    Args:
        torus: the truncated space.
        viscosity: `nu`.
        force: `F0` with `2 c F0 < nu^2`.

    Yields:
        Stokes-Picard, then Oseen.
    """
    c = embedding_constant(torus.aspect)
    base = FlowClaim(
        "Stokes-Picard",
        torus,
        viscosity,
        force,
        StokesPicard(torus, viscosity, force),
        lambda u, v, w: advection_form(torus, u, v, w),
        stokes_picard_factor(c, force, viscosity),
        operator_budget(viscosity),
        c,
        TorusSobolev(0.0, torus.aspect),
        TorusSobolev(-2.0, torus.aspect),
    )
    yield base
    yield replace(base, name="Oseen", step=OseenStep(torus, viscosity), mu=oseen_factor(c, force, viscosity))


def broken_flows(torus: GalerkinTorus, viscosity: float, force: float) -> Iterator[FlowClaim]:
    """One thing changed in each.

    Args:
        torus: the truncated space.
        viscosity: `nu`.
        force: `F0`.

    Yields:
        Claims that do not hold.
    """
    picard, oseen = honest_flows(torus, viscosity, force)
    symbol = torus.squared[: torus.dimension // 2]

    def explicit(z: Tensor, g: Tensor, sign: float = 1.0, viscous: float = 1.0) -> Tensor:
        """Stokes-Picard without the projection."""
        turned = torus.self_advection(z)
        return torus.synthesis((torus.analysis(g) - sign * turned) / (viscosity**viscous * symbol))

    def on_ball(w: Tensor, g: Tensor, sign: float) -> Tensor:
        size = picard.state_norm(w)
        radius = force / viscosity
        shrink = torch.where(size > radius, radius / torch.where(size > 0, size, 1.0), 1.0)
        return explicit(torus.analysis(w) * shrink.reshape(-1, 1), g, sign)

    yield replace(picard, name="no projection on the ball", step=lambda w, g: explicit(torus.analysis(w), g))
    yield replace(picard, name="wrong sign of the advection", step=lambda w, g: on_ball(w, g, -1.0))
    yield replace(
        picard, name="viscosity forgotten in Stokes", step=lambda w, g: explicit(torus.analysis(w), g, viscous=2.0)
    )
    yield replace(picard, name="transposed velocity", step=lambda w, g: _transposed(torus, viscosity, w, g))
    yield replace(
        oseen, name="vorticity advected instead of velocity", step=lambda w, g: _vorticity_step(torus, viscosity, w, g)
    )
    yield replace(oseen, name="one Picard step for Oseen's solve", step=lambda w, g: explicit(torus.analysis(w), g))
    for claim in (picard, oseen):
        yield replace(claim, name=f"{claim.name}: budget 1% smaller", budget=0.99 * claim.budget)
        yield replace(
            claim, name=f"{claim.name}: forces by one derivative more", force_norm=TorusSobolev(-3.0, torus.aspect)
        )
    yield replace(picard, name="a fifth of the constant", constant=0.2 * picard.constant)
    yield replace(picard, name="aliased products", form=lambda u, v, w: _folded_form(torus, u, v, w))
    yield replace(
        picard, name="divergence left in the velocity", form=lambda u, v, w: _unprojected_form(torus, u, v, w)
    )


def _transposed(torus: GalerkinTorus, viscosity: float, w: Tensor, g: Tensor) -> Tensor:
    """Velocity `(-d_x psi, d_y psi)`: the components exchanged, which is no rotation of the right one."""
    z = torus.analysis(w)
    u = torus.synthesis(torus.velocity(z)).flip(1)
    turned = torus.advection(u, torus.synthesis(torus.velocity(z)))
    symbol = torus.squared[: torus.dimension // 2]
    return torus.synthesis((torus.analysis(g) - turned) / (viscosity * symbol))


def _vorticity_step(torus: GalerkinTorus, viscosity: float, w: Tensor, g: Tensor) -> Tensor:
    """`nu A v + u . grad v = g` for the vorticity `v`: the same fixed points, but no bound on `|v|` in V."""
    kx = torus.aspect * torus.modes[:, 0].double()
    ky = torus.modes[:, 1].double()
    u = torus.synthesis(torus.velocity(torus.analysis(w)))
    n = torus.dimension
    basis = torch.eye(n, dtype=w.dtype)
    fields = torus.field(basis)
    columns = []
    for row in range(len(w)):
        flux = torus.analysis(u[row].unsqueeze(0) * fields.unsqueeze(1))
        columns.append(torus.real_of(1j * kx * flux[:, 0] + 1j * ky * flux[:, 1]).T)
    matrix = torch.stack(columns) + viscosity * torch.diag(torus.squared)
    return torus.field(torch.linalg.solve(matrix, torus.coordinates(g).unsqueeze(2)).squeeze(2))


def _folded_form(torus: GalerkinTorus, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """The average of `((u.grad) v) . w` over every second point, where kept modes reach past a third of the points."""
    kx = torus.aspect * torus.modes[:, 0].double()
    ky = torus.modes[:, 1].double()
    a, b, c = (torus.velocity(torus.analysis(t)) for t in (u, v, w))
    fields = torus.synthesis(torch.cat([a, 1j * kx * b, 1j * ky * b, c], dim=1))[..., ::2, ::2]
    a1, a2, bx, by, c_ = fields[:, :1], fields[:, 1:2], fields[:, 2:4], fields[:, 4:6], fields[:, 6:8]
    return ((a1 * bx + a2 * by) * c_).sum(dim=1).mean(dim=(1, 2))


def _unprojected_form(torus: GalerkinTorus, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """Advection by `u + grad psi`, a velocity that was not made free of divergence."""
    kx = torus.aspect * torus.modes[:, 0].double()
    ky = torus.modes[:, 1].double()
    z = torus.analysis(u)
    psi = z / torus.squared[: z.shape[1]]
    a = torus.velocity(z) + torch.stack([1j * kx * psi, 1j * ky * psi], dim=1)
    b, c = (torus.velocity(torus.analysis(t)) for t in (v, w))
    fields = torus.synthesis(torch.cat([a, 1j * kx * b, 1j * ky * b, c], dim=1))
    a1, a2, bx, by, c_ = fields[:, :1], fields[:, 1:2], fields[:, 2:4], fields[:, 4:6], fields[:, 6:8]
    return ((a1 * bx + a2 * by) * c_).sum(dim=1).mean(dim=(1, 2))
