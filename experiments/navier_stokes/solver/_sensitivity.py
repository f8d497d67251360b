r"""How the flow answers to a change of its force: the tangent map, its transpose, and its largest singular value.

Differentiating `F(w(g); g) = 0` gives `F'(w) dw = dg`. In root mean squares of vorticity and of the curl of the force, the local
Lipschitz constant of the solution map is `|F'(w)^{-1}|`. For any change of vorticity `h`,

    |h| / |F' h| <= |F'^{-1}|,

whoever proposed `h`: a lower bound that costs one product. The proposal comes from the eigenvectors of `F'^T F'` on a small truncation
and is improved by power iteration with `F'^{-1} F'^{-T}` on the whole; how little the last round changed says how sharp the bound is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from experiments.navier_stokes.solver._levels import inner_torus
from experiments.navier_stokes.solver._linearized import Linearization, dense_jacobian, prolong
from experiments.navier_stokes.solver._refinement import Preconditioner, solve_linear

__all__ = ["Sensitivity", "TangentMap", "local_lipschitz"]

_BLOCK = 8.0
_LOOSE = 1e-6
"""Relative residual of proposals: what they lack enters the quotient in second order."""


@dataclass(frozen=True)
class TangentMap:
    """The derivative of the solution map at flows, force to vorticity.

    Args:
        at: the linearised equation.
        preconditioner: of the same flows.
    """

    at: Linearization
    preconditioner: Preconditioner

    @staticmethod
    def of(torus: GalerkinTorus, c: Tensor, viscosity: Tensor) -> TangentMap:
        """Linearise the solution map.

        Args:
            torus: the truncated space.
            c: coordinates of steady flows, shape `(batch, n)`.
            viscosity: shape `(batch,)`.

        Returns:
            The map.
        """
        block = inner_torus(torus, _BLOCK)
        return TangentMap(Linearization.at(torus, c, viscosity), Preconditioner.at(torus, block, c, viscosity))

    def apply(self, dg: Tensor, *, tolerance: float = 1e-13) -> Tensor:
        """Change of vorticity for a change of the curl of the force.

        Args:
            dg: coordinates, shape `(batch, n)`.
            tolerance: relative residual of the preconditioned equation.

        Returns:
            Coordinates, shape `(batch, n)`.
        """
        return solve_linear(self.at, self.preconditioner, dg, tolerance=tolerance)[0]

    def transposed(self, dw: Tensor, *, tolerance: float = 1e-13) -> Tensor:
        """The transposed map: gradients in vorticity to gradients in the curl of the force.

        Args:
            dw: coordinates, shape `(batch, n)`.
            tolerance: relative residual of the preconditioned equation.

        Returns:
            Coordinates, shape `(batch, n)`.
        """
        return solve_linear(self.at, self.preconditioner, dw, transposed=True, tolerance=tolerance)[0]


@dataclass(frozen=True)
class Sensitivity:
    """Local Lipschitz constants of the solution map.

    Args:
        value: lower bounds, in root mean squares, shape `(batch,)`.
        changed: relative change in the last round of power iteration; how sharp they are, an estimate.
        force: unit changes of the curl of the force that attain them, coordinates.
        response: what they do to the vorticity, coordinates.
    """

    value: Tensor
    changed: Tensor
    force: Tensor
    response: Tensor


def local_lipschitz(torus: GalerkinTorus, c: Tensor, viscosity: Tensor, *, rounds: int = 2) -> Sensitivity:
    """Largest singular values of the tangent map.

    Args:
        torus: the truncated space.
        c: coordinates of steady flows, shape `(batch, n)`.
        viscosity: shape `(batch,)`.
        rounds: of power iteration on the whole truncation.

    Returns:
        The constants with the directions that attain them.
    """
    block = inner_torus(torus, _BLOCK)
    matrix = dense_jacobian(torus, c, viscosity, block)
    response = prolong(block, torus, torch.linalg.eigh(matrix.mT @ matrix)[1][:, :, 0])
    tangent = TangentMap.of(torus, c, viscosity)
    force, value = _measured(tangent, response)
    changed = torch.zeros_like(value)
    for _ in range(rounds):
        response = tangent.apply(tangent.transposed(response, tolerance=_LOOSE), tolerance=_LOOSE)
        before = value
        force, value = _measured(tangent, response)
        changed = (value - before).abs() / value
    length = torch.linalg.vector_norm(force, dim=1, keepdim=True)
    return Sensitivity(value, changed, force / length, response / length)


def _measured(tangent: TangentMap, response: Tensor) -> tuple[Tensor, Tensor]:
    """The force that a response belongs to, and the quotient of their sizes."""
    force = tangent.at.apply(response)
    return force, torch.linalg.vector_norm(response, dim=1) / torch.linalg.vector_norm(force, dim=1)
