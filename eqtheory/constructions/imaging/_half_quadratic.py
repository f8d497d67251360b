r"""Half-quadratic splitting of `|x - A y|^2 / 2` plus a prior, as an implicit operator (T10).

**Which minimiser it finds.** Write `y = (A^T A + beta I)^{-1} (A^T x + beta z)`, that is `A^T (A y - x) = beta (z - y)`, and let the prior
step be `z = prox_c(y) = (y + c P y) / (1 + c)`, that is `z - y = -c / (1 + c) (y - P y)`. At a fixed point both hold, so

    A^T (A y - x) + beta c / (1 + c) (y - P y) = 0,

which is the stationarity of `|x - A y|^2 / 2 + alpha dist^2(y, M) / 2` for `alpha = beta c / (1 + c)`. Solved for `c`:
`c = alpha / (beta - alpha)`, which needs `beta > alpha`. In terms of a penalty `alpha~` with `c = alpha~ / beta`:
`alpha~ = alpha beta / (beta - alpha)`.
For convex `M` stationary points are minimisers: the decoded fixed point is `F_alpha` exactly, not only as `beta` grows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound
from eqtheory.constructions.imaging._linear_map import LinearMap, Scalar, scalar_value
from eqtheory.constructions.imaging._proximal_gradient import check_parts, mapped, prior_lipschitz
from eqtheory.constructions.imaging._regular import half_quadratic_regularity, usable_lipschitz
from eqtheory.constructions.imaging._sets import ConstraintSet, ProximalStep
from eqtheory.errors import InputError
from eqtheory.norms import same_shape
from eqtheory.operators import ImplicitOperator, OncePerInput, Regularity
from eqtheory.validate import batch_of, positive

__all__ = ["HalfQuadraticSplitting", "hqs"]


@final
class HalfQuadraticSplitting(ImplicitOperator):
    """`G(z, x) = prior((A^T A + beta I)^{-1} (A^T x + beta z))`; `decode` turns its fixed point into the image.

    Constants are attached where a Lipschitz constant `p` of the prior step is known, that is for the proximal step of a convex set and
    where one is declared, and where they make a contraction: `mu = p beta / (sigma_min^2 + beta)`, `L0 <= p / (2 sqrt(beta))`, `L1 = 0`.
    They follow `beta` when it is trained.

    Args:
        linear_map: the forward map `A`.
        prior_step: any callable or module from states to states, such as a `ProximalStep` or a denoiser.
        beta: coupling, positive; a number, or a tensor without axes, which may be trained.
        lipschitz: a Lipschitz constant of the prior step, where one is known.

    Raises:
        InputError: a coupling that is not positive, a prior step that cannot be called, or a lower bound as a constant.

    Theorem: T10.

    Example:
        >>> from eqtheory.constructions import Box, DenseMap, ProximalStep
        >>> A = DenseMap(torch.diag(torch.tensor([1.0, 0.5])))
        >>> G = HalfQuadraticSplitting(A, ProximalStep(Box(0.0, 1.0), 0.5), 0.25)
        >>> round(G.regularity.mu.value, 6)
        0.5
        >>> G(torch.zeros(1, 2), torch.ones(1, 2))
        tensor([[0.8000, 1.0000]])
    """

    def __init__(
        self,
        linear_map: LinearMap,
        prior_step: Callable[[Tensor], Tensor],
        beta: Scalar,
        *,
        lipschitz: Bound | None = None,
    ) -> None:
        check_parts(linear_map, prior_step)
        scalar_value("beta", beta)
        self.linear_map, self.prior_step, self.beta = linear_map, prior_step, beta
        self.lipschitz = usable_lipschitz(lipschitz)
        self._adjoint = OncePerInput(self._checked_adjoint)

    @property
    def regularity(self) -> Regularity | None:  # type: ignore[override]  # follows the coupling, so it is not kept
        """The constants at the present coupling, `None` where none are known or nothing contracts."""
        p = prior_lipschitz(self.prior_step, self.lipschitz)
        return None if p is None else half_quadratic_regularity(self.linear_map, p, scalar_value("beta", self.beta))

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        return mapped(self.prior_step, self.decode(y, x))

    def decode(self, z: Tensor, x: Tensor) -> Tensor:
        """Find the image that belongs to a state.

        Args:
            z: states, batch axis first.
            x: observations, batch axis first.

        Returns:
            `y = (A^T A + beta I)^{-1} (A^T x + beta z)`, the shape of `z`.
        """
        pulled = self._adjoint(x)
        same_shape("z, A^T x", z, pulled)
        return self.linear_map.solve(pulled + self.beta * z, self.beta)

    def initial_state(self, x: Tensor) -> Tensor:
        """Start from zero, after checking the observations.

        Args:
            x: observations, batch axis first.

        Returns:
            Zeros in the state space.
        """
        return torch.zeros_like(self._adjoint(x))

    def _checked_adjoint(self, x: Tensor) -> Tensor:
        return self.linear_map.adjoint(batch_of("x", x))


def hqs(linear_map: LinearMap, constraint: ConstraintSet, alpha: float, beta: float) -> HalfQuadraticSplitting:
    """Half-quadratic splitting whose decoded fixed point, for a convex set, is `F_alpha` exactly.

    `F_alpha(x) = argmin |x - A y|^2 / 2 + alpha dist^2(y, M) / 2`: the prior step is `prox` with
    `c = alpha~ / beta = alpha / (beta - alpha)`.

    Args:
        linear_map: the forward map `A`.
        constraint: the set `M`.
        alpha: weight of the set, positive.
        beta: coupling, above `alpha`.

    Returns:
        The operator; contractive where `A` has no null space and the set is convex.

    Raises:
        InputError: `beta` not above `alpha`, or numbers that are not positive.

    Theorem: T10.

    Example:
        >>> from eqtheory.constructions import DenseMap, Subspace
        >>> from eqtheory.gradients import fixed_point
        >>> x = torch.tensor([[4.0, 4.0]])
        >>> G = hqs(DenseMap(torch.eye(2)), Subspace(torch.tensor([[1.0], [0.0]])), alpha=3.0, beta=4.0)
        >>> G.decode(fixed_point(G, x).value, x).round(decimals=4)
        tensor([[4., 1.]])
    """
    weight, coupling = positive("alpha", alpha), positive("beta", beta)
    if not coupling > weight:
        raise InputError("beta", str(beta), f"beta > alpha = {alpha}", "pass for example beta = 2 * alpha")
    return HalfQuadraticSplitting(linear_map, ProximalStep(constraint, weight / (coupling - weight)), coupling)
