"""Proximal gradient descent on `|x - A y|^2 / 2` plus a prior, as an implicit operator (T10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound
from eqtheory.constructions.imaging._linear_map import LinearMap, Scalar, scalar_value
from eqtheory.constructions.imaging._regular import proximal_gradient_regularity, usable_lipschitz
from eqtheory.constructions.imaging._sets import ConstraintSet, ProximalStep
from eqtheory.errors import InputError
from eqtheory.norms import same_shape
from eqtheory.operators import ImplicitOperator, OncePerInput, Regularity
from eqtheory.validate import batch_of, positive

__all__ = ["ProximalGradient", "check_parts", "mapped", "pgd", "prior_lipschitz"]


@final
class ProximalGradient(ImplicitOperator):
    """`G(y, x) = prior(y - gamma A^T (A y - x))`.

    Constants are attached where a Lipschitz constant of the prior step is known, that is for the proximal step of a convex set and
    where one is declared, and where they make a contraction: `mu = p max |1 - gamma sigma^2|`, `L0 = p gamma |A|`, `L1 = 0`. They
    follow `gamma` when it is trained.

    Args:
        linear_map: the forward map `A`.
        prior_step: any callable or module from states to states, such as a `ProximalStep` or a denoiser.
        gamma: step size, positive; a number, or a tensor without axes, which may be trained.
        lipschitz: a Lipschitz constant of the prior step, where one is known.

    Raises:
        InputError: a step size that is not positive, a prior step that cannot be called, or a lower bound as a constant.

    Theorem: T10.

    Example:
        >>> from eqtheory.constructions import Box, DenseMap, ProximalStep
        >>> A = DenseMap(torch.diag(torch.tensor([1.0, 0.5])))
        >>> G = ProximalGradient(A, ProximalStep(Box(0.0, 1.0), 0.5), 1.0)
        >>> round(G.regularity.mu.value, 6)
        0.75
        >>> G(torch.zeros(1, 2), torch.ones(1, 2))
        tensor([[1.0000, 0.5000]])
    """

    def __init__(
        self,
        linear_map: LinearMap,
        prior_step: Callable[[Tensor], Tensor],
        gamma: Scalar,
        *,
        lipschitz: Bound | None = None,
    ) -> None:
        check_parts(linear_map, prior_step)
        scalar_value("gamma", gamma)
        self.linear_map, self.prior_step, self.gamma = linear_map, prior_step, gamma
        self.lipschitz = usable_lipschitz(lipschitz)
        self._adjoint = OncePerInput(self._checked_adjoint)

    @property
    def regularity(self) -> Regularity | None:  # type: ignore[override]  # follows the step size, so it is not kept
        """The constants at the present step size, `None` where none are known or nothing contracts."""
        p = prior_lipschitz(self.prior_step, self.lipschitz)
        return (
            None if p is None else proximal_gradient_regularity(self.linear_map, p, scalar_value("gamma", self.gamma))
        )

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        pulled = self._adjoint(x)
        same_shape("y, A^T x", y, pulled)
        moved = y - self.gamma * (self.linear_map.normal(y) - pulled)
        return mapped(self.prior_step, moved)

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


def check_parts(linear_map: LinearMap, prior_step: Callable[[Tensor], Tensor]) -> None:
    """Require a linear map and something that can be called.

    Args:
        linear_map: the forward map.
        prior_step: from states to states.

    Raises:
        InputError: one of them is not.
    """
    if not isinstance(linear_map, LinearMap):
        raise InputError("linear_map", type(linear_map).__name__, "a LinearMap", "pass CircularBlur or DenseMap")
    if not callable(prior_step):
        came = type(prior_step).__name__
        raise InputError("prior_step", came, "a callable of the state", "pass ProximalStep(...) or a module")


def mapped(prior_step: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Apply a prior step and refuse what is no state.

    Args:
        prior_step: from states to states.
        z: states.

    Returns:
        The new states.

    Raises:
        InputError: no tensor, or one of another type, as under autocast.
    """
    out = prior_step(z)
    if not isinstance(out, Tensor) or out.dtype != z.dtype:
        came = f"dtype {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
        raise InputError("prior_step(z)", came, f"a tensor of the state's dtype {z.dtype}", "convert with .to(z.dtype)")
    same_shape("prior_step(z), z", out, z)
    return out


def prior_lipschitz(prior_step: Callable[[Tensor], Tensor], declared: Bound | None) -> Bound | None:
    """Find what is known of the prior step.

    Args:
        prior_step: from states to states.
        declared: what the user knows.

    Returns:
        `declared`, else what a proximal step says of itself, else `None`.
    """
    if declared is not None:
        return declared
    return prior_step.lipschitz if isinstance(prior_step, ProximalStep) else None


def pgd(linear_map: LinearMap, constraint: ConstraintSet, alpha: float, gamma: float) -> ProximalGradient:
    """Proximal gradient descent whose fixed point, for a convex set, is `F_alpha`.

    `F_alpha(x) = argmin |x - A y|^2 / 2 + alpha dist^2(y, M) / 2`: the prior step is `prox` with `c = gamma alpha`. For a set that is
    not convex fixed points are stationary points.

    Args:
        linear_map: the forward map `A`.
        constraint: the set `M`.
        alpha: weight of the set, positive.
        gamma: step size, `0 < gamma < 2 / |A|^2`.

    Returns:
        The operator; contractive where `A` has no null space and the set is convex.

    Raises:
        InputError: a step of `2 / |A|^2` or more, or numbers that are not positive.

    Theorem: T10.

    Example:
        >>> from eqtheory.constructions import DenseMap, Subspace
        >>> from eqtheory.gradients import fixed_point
        >>> G = pgd(DenseMap(torch.eye(2)), Subspace(torch.tensor([[1.0], [0.0]])), alpha=3.0, gamma=1.0)
        >>> fixed_point(G, torch.tensor([[4.0, 4.0]])).value  # (I + 3 (I - P))^{-1} x
        tensor([[4., 1.]])
    """
    weight, step = positive("alpha", alpha), positive("gamma", gamma)
    size = float(linear_map.norm.value)
    if not step * size * size < 2:
        raise InputError("gamma", str(gamma), f"0 < gamma < 2 / |A|^2 = {2 / size**2:.6g}", "pass gamma = 1 / |A|^2")
    return ProximalGradient(linear_map, ProximalStep(constraint, step * weight), step)
