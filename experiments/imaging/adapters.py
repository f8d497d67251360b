"""Denoisers and physics of deepinv as prior steps and linear maps, so that they can be solved with, differentiated and audited.

Only the interface is used (`denoiser(x, sigma)`, `physics.A`, `A_adjoint`, `prox_l2`), so anything of that interface will do and
deepinv itself is not imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.constructions import LinearMap
from eqtheory.errors import InputError, NotBoundedError
from eqtheory.norms import Euclidean

__all__ = ["PhysicsMap", "denoiser_step"]


def denoiser_step(denoiser: Callable[[Tensor, float], Tensor], level: float) -> Callable[[Tensor], Tensor]:
    """Use a denoiser of deepinv at one noise level as a prior step.

    Args:
        denoiser: called as `denoiser(image, level)`.
        level: noise level in the units of the image.

    Returns:
        A map from images to images.

    Raises:
        InputError: it cannot be called.
    """
    if not callable(denoiser):
        raise InputError("denoiser", type(denoiser).__name__, "a callable (image, level) -> image", "pass the model")
    return lambda image: denoiser(image, level)


@final
class PhysicsMap(LinearMap):
    """Linear physics of deepinv as a linear map.

    `(A^T A + beta I)^{-1} v` is the proximal map of the data term at zero data, `prox_l2(v, 0, 1/beta) / beta`: in closed form for
    decomposable physics, by conjugate gradients else, and what those leave is not accounted for in proofs.

    Args:
        physics: has `A`, `A_adjoint` and `prox_l2(z, y, gamma)`.
        norm: an upper bound on `|A|`, where one is known; deepinv's own `compute_norm` is a power iteration and proves none.
        smallest: a lower bound on the smallest singular value.

    Raises:
        InputError: methods are missing.
    """

    def __init__(self, physics: Any, *, norm: float | None = None, smallest: float = 0.0) -> None:
        missing = [name for name in ("A", "A_adjoint", "prox_l2") if not callable(getattr(physics, name, None))]
        if missing:
            raise InputError(
                "physics",
                f"{type(physics).__name__} without {', '.join(missing)}",
                "a linear physics",
                "pass LinearPhysics",
            )
        self.physics, self._norm, self._smallest = physics, norm, smallest

    @property
    def norm(self) -> Bound:
        """What was declared.

        Raises:
            NotBoundedError: nothing was.
        """
        if self._norm is None:
            raise NotBoundedError(
                "|A|", "no bound is known of this physics", "declare one: PhysicsMap(physics, norm=...)"
            )
        return Bound(self._norm, Side.UPPER, "declared for the physics", Evidence.DECLARED, Euclidean().name)

    @property
    def smallest(self) -> Bound:
        """What was declared; zero where nothing was."""
        evidence = Evidence.PROVED if self._smallest == 0 else Evidence.DECLARED
        return Bound(self._smallest, Side.LOWER, "declared for the physics", evidence, Euclidean().name)

    def __call__(self, y: Tensor) -> Tensor:
        """`A y`."""
        return self.physics.A(y)

    def adjoint(self, x: Tensor) -> Tensor:
        """Apply the adjoint.

        Args:
            x: observations.

        Returns:
            `A^T x`.
        """
        return self.physics.A_adjoint(x)

    def solve(self, v: Tensor, beta: float | Tensor) -> Tensor:
        """Solve `(A^T A + beta I) u = v`.

        Args:
            v: right sides.
            beta: positive.

        Returns:
            `u`.
        """
        return self.physics.prox_l2(v, torch.zeros_like(self.physics.A(v)), 1 / beta) / beta
