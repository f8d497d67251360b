"""Energy, enstrophy, and whether what a force puts in is what viscosity takes out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from eqtheory.constructions import GalerkinTorus

__all__ = ["Balance", "energy_balance"]


@dataclass(frozen=True)
class Balance:
    """Averages over the torus, shape `(batch,)` each.

    Args:
        energy: mean of `|u|^2 / 2`.
        enstrophy: mean of `w^2 / 2`.
        dissipation: `nu` times the mean of `w^2`.
        work: mean of `f . u`.
    """

    energy: Tensor
    enstrophy: Tensor
    dissipation: Tensor
    work: Tensor

    @property
    def defect(self) -> Tensor:
        """`|dissipation - work|` relative to the dissipation."""
        return (self.dissipation - self.work).abs() / self.dissipation


def energy_balance(torus: GalerkinTorus, c: Tensor, g: Tensor, viscosity: Tensor) -> Balance:
    """Take the averages of flows.

    Args:
        torus: the truncated space.
        c: coordinates of vorticities, shape `(batch, n)`.
        g: coordinates of curls of forces.
        viscosity: shape `(batch,)`.

    Returns:
        The averages. For a steady flow the mean of `f . u`, which is that of `g psi`, equals the dissipation.
    """
    squares = c.square()
    enstrophy = squares.sum(dim=1) / 2
    energy = (squares / torus.squared).sum(dim=1) / 2
    work = (g * c / torus.squared).sum(dim=1)
    return Balance(energy, enstrophy, 2 * viscosity * enstrophy, work)
