"""Wrong adaptive relaxations: each changes one thing in the construction of T3, T3a or T3b.

A claim is a step, a contraction factor and a budget on finite spaces. Honest claims and broken ones go through the same check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.constructions import RadiusProduct, RelaxationRule, SquaredRadius
from eqtheory.testing.finite_spaces import FiniteBatch

__all__ = ["BROKEN_RELAXATIONS", "RelaxationClaim", "honest_claim"]

Step = Callable[[FiniteBatch], Tensor]


def _exact_mu(eps: Tensor) -> Tensor:
    return 1 - eps


def _offset_of_step(eps: Tensor) -> Tensor:
    return eps


@dataclass(frozen=True)
class RelaxationClaim:
    """A relaxation `G = (1 - eps) y + weight F` with what is claimed of it.

    Args:
        name: what was changed, or the name of the theorem.
        theorem: identifier of the theorem it claims to satisfy.
        step: maps a batch of spaces to `eps`, shape `(batch, n)`.
        mu: claimed contraction factor from the step.
        weight: factor of `F`; equal to the step where the fixed point is right.
        scale: the claimed budget is `2 scale`.
    """

    name: str
    theorem: str
    step: Step
    mu: Callable[[Tensor], Tensor] = _exact_mu
    weight: Callable[[Tensor], Tensor] = _offset_of_step
    scale: float = 1.0


def honest_claim(theorem: str, rule: RelaxationRule, *, scale: float = 1.0) -> RelaxationClaim:
    """The construction as the theorem states it.

    Args:
        theorem: identifier.
        rule: the step.
        scale: the factor `c` of T3a.

    Returns:
        The claim.
    """
    return RelaxationClaim(theorem, theorem, lambda s: scale * rule(*s.radii()), scale=scale)


def _rho(space: FiniteBatch) -> Tensor:
    return space.radii()[0]


def _sigma(space: FiniteBatch) -> Tensor:
    return space.radii()[1]


def _no_sup(space: FiniteBatch) -> Tensor:
    return space.radii_from(torch.zeros_like(space.sizes), space.slopes())[0] ** 2


def _half_ball(space: FiniteBatch) -> Tensor:
    # B(x, r/2) holds the points at distance below r/2: the same as the ball of radius r for doubled distances.
    return space.radii_from(space.sizes, space.slopes(), distances=2 * space.distances)[0] ** 2


def _no_one(space: FiniteBatch) -> Tensor:
    # Without the 1 the condition reads `r times (sup + lip) at most 1`: the honest one for sizes smaller by 1.
    sizes = (space.sizes - 1).clamp_min(-1 + 1e-12)
    return space.radii_from(sizes, space.slopes())[0].clamp_max(1.0) ** 2


def _centre_size(space: FiniteBatch) -> Tensor:
    # |F| at the centre only, and only the slopes of pairs with the centre.
    to_centre = space.slopes()
    tame = 1 / (1 + space.sizes.unsqueeze(2) + to_centre)
    rho = torch.maximum(space.distances, tame).amin(dim=2).clamp_max(1.0)
    return rho.sqrt() * rho.sqrt()


def _mean_size(space: FiniteBatch) -> Tensor:
    mean = space.sizes.mean(dim=1, keepdim=True).expand_as(space.sizes)
    slope = space.slopes().mean(dim=(1, 2), keepdim=True).expand_as(space.slopes())
    return space.radii_from(mean, slope)[0] ** 2


def _t3() -> tuple[RelaxationClaim, ...]:
    def claim(name: str, step: Step) -> RelaxationClaim:
        return RelaxationClaim(name, "T3", step)

    return (
        claim("eps = rho", _rho),
        claim("eps = rho^1.5", lambda s: _rho(s) ** 1.5),
        claim("h without its sup term", _no_sup),
        claim("h without its Lipschitz term", lambda s: _sigma(s) ** 2),
        claim("half the ball", _half_ball),
        claim("h without the 1", _no_one),
        claim("means instead of suprema", _mean_size),
        RelaxationClaim("mu off by 1%", "T3", lambda s: _rho(s) ** 2, mu=lambda eps: 0.99 * (1 - eps)),
        RelaxationClaim("constant step", "T3", lambda s: torch.full_like(s.sizes, 0.5)),
        RelaxationClaim("F weighted by rho instead of rho^2", "T3", lambda s: _rho(s) ** 2, weight=torch.sqrt),
    )


def _t3a() -> tuple[RelaxationClaim, ...]:
    c = 0.125
    honest = SquaredRadius()

    def step(s: FiniteBatch) -> Tensor:
        return honest(*s.radii())

    return (
        RelaxationClaim("budget 2 c^2 claimed for the step c eps", "T3a", lambda s: c * step(s), scale=c * c),
        RelaxationClaim("step sqrt(c) eps with budget 2 c", "T3a", lambda s: c**0.5 * step(s), scale=c),
        RelaxationClaim("F keeps its full weight", "T3a", lambda s: c * step(s), weight=lambda e: e / c, scale=c),
        RelaxationClaim("mu claimed as 1 - eps", "T3a", lambda s: c * step(s), mu=lambda e: 1 - e / c, scale=c),
        RelaxationClaim("scaled step without the Lipschitz term", "T3a", lambda s: c * _sigma(s) ** 2, scale=c),
    )


def _t3b() -> tuple[RelaxationClaim, ...]:
    honest = RadiusProduct()

    def claim(name: str, step: Step) -> RelaxationClaim:
        return RelaxationClaim(name, "T3b", step)

    return (
        claim("eps = sigma^2", lambda s: _sigma(s) ** 2),
        claim("eps = rho, without sigma", _rho),
        claim("eps = sqrt(rho) sigma", lambda s: _rho(s).sqrt() * _sigma(s)),
        claim("eps = rho sqrt(sigma)", lambda s: _rho(s) * _sigma(s).sqrt()),
        claim("centre and its own slopes only", lambda s: _centre_size(s) * _sigma(s).sqrt()),
        RelaxationClaim("mu off by 1%", "T3b", lambda s: honest(*s.radii()), mu=lambda eps: 0.99 * (1 - eps)),
    )


BROKEN_RELAXATIONS: tuple[RelaxationClaim, ...] = (*_t3(), *_t3a(), *_t3b())
"""Every broken relaxation; each claims a budget of `2 scale` that it does not have."""
