"""Wrong bounds on gradients of a fixed point: each changes one thing in an inequality of T9, and honest gradients violate it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eqtheory.theorems.implicit_gradient import (
    certificate,
    gradient_certificate,
    jacobian_bound,
    neumann_truncation,
    phantom_truncation,
)

__all__ = ["BROKEN_ADJOINT_BOUNDS", "BoundClaim"]


@dataclass(frozen=True)
class BoundClaim:
    """An inequality with one thing changed.

    Args:
        name: what was changed.
        about: name of the inequality it is made of, with the same quantities.
        sides: the two sides it claims to be in order.
    """

    name: str
    about: str
    sides: Callable[..., tuple[Any, Any]]


BROKEN_ADJOINT_BOUNDS: tuple[BoundClaim, ...] = (
    BoundClaim(
        "1/(1 - mu) left out of the Jacobian bound",
        "jacobian_bound",
        lambda *, derivative_norm, input_norm, **_: (derivative_norm, input_norm),
    ),
    BoundClaim(
        "mu off by 1% in the Jacobian bound",
        "jacobian_bound",
        lambda *, mu, **q: jacobian_bound.sides(mu=0.99 * mu, **q),
    ),
    BoundClaim(
        "1/(1 - mu) left out of the Neumann bound",
        "neumann_truncation",
        lambda *, error, mu, cotangent_norm, terms: (error, mu**terms * cotangent_norm),
    ),
    BoundClaim(
        "Neumann bound one term ahead",
        "neumann_truncation",
        lambda *, terms, **q: neumann_truncation.sides(terms=terms + 1, **q),
    ),
    BoundClaim(
        "mu off by 1% in the Neumann bound",
        "neumann_truncation",
        lambda *, mu, **q: neumann_truncation.sides(mu=0.99 * mu, **q),
    ),
    BoundClaim(
        "lambda mu for the factor of a relaxed step",
        "phantom_truncation",
        lambda *, error, mu, relaxation, cotangent_norm, steps: (
            error,
            (relaxation * mu) ** steps / (1 - mu) * cotangent_norm,
        ),
    ),
    BoundClaim(
        "phantom bound as if not relaxed",
        "phantom_truncation",
        lambda *, relaxation, **q: phantom_truncation.sides(relaxation=0 * relaxation + 1, **q),
    ),
    BoundClaim(
        "phantom bound one step ahead",
        "phantom_truncation",
        lambda *, steps, **q: phantom_truncation.sides(steps=steps + 1, **q),
    ),
    BoundClaim(
        "the adjoint's residual taken for its error",
        "residual_bound",
        lambda *, error, residual, **_: (error, residual),
    ),
    BoundClaim(
        "certificate without alpha", "certificate", lambda *, alpha, **q: certificate.sides(alpha=0 * alpha, **q)
    ),
    BoundClaim("certificate without beta", "certificate", lambda *, beta, **q: certificate.sides(beta=0 * beta, **q)),
    BoundClaim("certificate without 1/(1 - mu)", "certificate", lambda *, mu, **q: certificate.sides(mu=0 * mu, **q)),
    BoundClaim(
        "certificate with the state's residual for its error",
        "certificate",
        lambda *, mu, state_error, **q: certificate.sides(mu=mu, state_error=(1 - mu) * state_error, **q),
    ),
    BoundClaim(
        "backward pass: the adjoint's residual left out",
        "gradient_certificate",
        lambda *, adjoint_residual, **q: gradient_certificate.sides(adjoint_residual=0 * adjoint_residual, **q),
    ),
    BoundClaim(
        "backward pass: the state's error left out",
        "gradient_certificate",
        lambda *, state_error, **q: gradient_certificate.sides(state_error=0 * state_error, **q),
    ),
    BoundClaim(
        "backward pass: alpha left out",
        "gradient_certificate",
        lambda *, alpha, **q: gradient_certificate.sides(alpha=0 * alpha, **q),
    ),
)
"""Every broken bound; each is violated by honest gradients."""
