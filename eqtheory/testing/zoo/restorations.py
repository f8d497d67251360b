"""Wrong ways of restoring an image: each changes one thing in one of the two operators of T10.

A claim builds an operator on a state and a decoder from states to images, and says that the decoded fixed point is `F_alpha`. Honest
claims and broken ones go through the same check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from eqtheory.constructions import ConstraintSet, LinearMap, hqs, pgd

__all__ = ["BROKEN_RESTORATIONS", "HONEST_RESTORATIONS", "Restoration", "RestorationClaim"]

Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Restoration:
    """What is to be minimised, and the parameters of the two operators.

    Args:
        linear_map: the observation `A`, of square shape where a claim mistakes it for its adjoint.
        constraint: the set `M`.
        alpha: weight of the set.
        gamma: step size of the proximal gradient.
        beta: coupling of the splitting, above `alpha`.
    """

    linear_map: LinearMap
    constraint: ConstraintSet
    alpha: float
    gamma: float
    beta: float


@dataclass(frozen=True)
class RestorationClaim:
    """An operator and a decoder, with what is claimed of them.

    Args:
        name: what was changed, or which operator it is.
        family: which of the two operators it claims to be.
        build: from the problem to the operator and the decoder, both of `(state, x)`.
        contracts: whether its iteration settles, so that its fixed point can be looked at.
    """

    name: str
    family: Literal["proximal gradient", "half-quadratic splitting"]
    build: Callable[[Restoration], tuple[Step, Step]]
    contracts: bool = True


def _image(y: Tensor, _: Tensor) -> Tensor:
    return y


def _honest_gradient(p: Restoration) -> tuple[Step, Step]:
    return pgd(p.linear_map, p.constraint, p.alpha, p.gamma), _image


def _honest_splitting(p: Restoration) -> tuple[Step, Step]:
    G = hqs(p.linear_map, p.constraint, p.alpha, p.beta)
    return G, G.decode


HONEST_RESTORATIONS = (
    RestorationClaim("proximal gradient", "proximal gradient", _honest_gradient),
    RestorationClaim("half-quadratic splitting", "half-quadratic splitting", _honest_splitting),
)
"""The two operators of T10 as the library builds them."""


def _gradient(
    name: str,
    *,
    pull: Callable[[LinearMap, Tensor, Tensor], Tensor] = lambda A, y, x: A.adjoint(A(y) - x),
    step: Callable[[Restoration], float] = lambda p: p.gamma,
    prior: Callable[[Restoration, Tensor], Tensor] = lambda p, z: p.constraint.prox(z, p.gamma * p.alpha),
    contracts: bool = True,
) -> RestorationClaim:
    def build(p: Restoration) -> tuple[Step, Step]:
        return lambda y, x: prior(p, y - step(p) * pull(p.linear_map, y, x)), _image

    return RestorationClaim(name, "proximal gradient", build, contracts)


def _splitting(
    name: str,
    *,
    c: Callable[[Restoration], float] = lambda p: p.alpha / (p.beta - p.alpha),
    decode: Callable[[Restoration, Tensor, Tensor], Tensor] | None = None,
    look: Callable[[Restoration, Tensor, Tensor], Tensor] | None = None,
) -> RestorationClaim:
    def honest(p: Restoration, z: Tensor, x: Tensor) -> Tensor:
        return p.linear_map.solve(p.linear_map.adjoint(x) + p.beta * z, p.beta)

    inner = decode or honest
    outer = look or inner

    def build(p: Restoration) -> tuple[Step, Step]:
        return lambda z, x: p.constraint.prox(inner(p, z, x), c(p)), lambda z, x: outer(p, z, x)

    return RestorationClaim(name, "half-quadratic splitting", build)


BROKEN_RESTORATIONS: tuple[RestorationClaim, ...] = (
    _gradient("convolved again instead of correlated", pull=lambda A, y, x: A(A(y) - x)),
    _gradient("residual not pulled back", pull=lambda A, y, x: A(y) - x),
    _gradient("observation not pulled back", pull=lambda A, y, x: A.normal(y) - x),
    _gradient("prox weighted by alpha, not gamma alpha", prior=lambda p, z: p.constraint.prox(z, p.alpha)),
    _gradient("projection in place of the proximal step", prior=lambda p, z: p.constraint.project(z)),
    _gradient(
        "reflection in place of the projection",
        prior=lambda p, z: (z + p.gamma * p.alpha * (2 * p.constraint.project(z) - z)) / (1 + p.gamma * p.alpha),
    ),
    _gradient("half the step in the data term only", step=lambda p: p.gamma / 2),
    _gradient("step beyond 2/|A|^2", step=lambda p: 2.2 / float(p.linear_map.norm.value) ** 2, contracts=False),
    _splitting("alpha~ = alpha", c=lambda p: p.alpha / p.beta),
    _splitting("alpha~ = alpha beta/(beta + alpha)", c=lambda p: p.alpha / (p.beta + p.alpha)),
    _splitting("alpha~ not divided by beta", c=lambda p: p.alpha * p.beta / (p.beta - p.alpha)),
    _splitting("state taken for the image", look=lambda _, z, __: z),
    _splitting(
        "observation convolved instead of correlated",
        decode=lambda p, z, x: p.linear_map.solve(p.linear_map(x) + p.beta * z, p.beta),
    ),
    _splitting(
        "coupling twice as strong in the inverse",
        decode=lambda p, z, x: p.linear_map.solve(p.linear_map.adjoint(x) + p.beta * z, 2 * p.beta),
    ),
    _splitting(
        "coupling forgotten on the right",
        decode=lambda p, z, x: p.linear_map.solve(p.linear_map.adjoint(x) + z, p.beta),
    ),
)
"""Every one restores something else, or nothing."""
