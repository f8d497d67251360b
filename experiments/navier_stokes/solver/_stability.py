r"""Do small disturbances of a steady flow die out, and is it the only one?

**Linear stability.** Disturbances obey `dh/dt = -F'(w) h`, so a flow is linearly stable where all eigenvalues of `-F'(w)` have negative
real part. They are computed by dense QR on the modes of a small truncation and again on a larger one, until the leading one
moves by less than a thousandth of its distance to the imaginary axis. Eigenvalues of matrices that are not normal have no error
bound here: they are estimates.

**Energy stability** (Serrin 1959). For the difference `d` of a steady flow `v` and a given `u` with residual `r`, testing the difference of
their equations with `d` leaves

    nu |grad d|^2 + <(d.grad) u, d> = -<r, d>,

since `<(u.grad) d, d> = <(d.grad) d, d> = 0`. If the quadratic form on the left is at least `m |d|^2` with `m > 0`, every steady flow
of this force in the truncation lies within `|r| / m` of `u` in L2: the given flow is the only one, to that distance, for forces far
beyond T11's. The form is split into low modes, whose matrix is diagonalised, and high ones: `<(d.grad) u, d>` is at most `s |d|^2`
with the largest strain `s <= sum |w_k| / 2`, so that

    m >= least eigenvalue of [[l, -s], [-s, nu k_H^2 - s]],

`l` that of the low block and `k_H` the least wave number beyond it.

References:
    Serrin, On the stability of viscous fluid motions, Arch. Rational Mech. Anal. 3 (1959).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from eqtheory.roundoff import gamma
from experiments.navier_stokes.solver._levels import inner_torus, levels_of
from experiments.navier_stokes.solver._linearized import dense_energy_form, dense_jacobian

__all__ = ["Growth", "energy_margin", "growth_rates"]

_SETTLED = 1e-3


@dataclass(frozen=True)
class Growth:
    """Leading eigenvalues of `-F'`: estimates.

    Args:
        leading: the eigenvalues of largest real part, complex, shape `(batch, count)`, in falling order.
        moved: how far the leading real part moved from the truncation before, shape `(batch,)`.
        settled: whether that is less than a thousandth of its size, or nothing was truncated.
    """

    leading: Tensor
    moved: Tensor
    settled: Tensor

    @property
    def stable(self) -> Tensor:
        """Samples whose leading eigenvalue has settled on the left of the imaginary axis, shape `(batch,)`."""
        return self.settled & (self.leading[:, 0].real < 0)


def growth_rates(
    torus: GalerkinTorus, c: Tensor, viscosity: Tensor, *, count: int = 4, most: int = 2000, exact: bool = False
) -> Growth:
    """Estimate the leading eigenvalues of small disturbances.

    Args:
        torus: the truncated space.
        c: coordinates of vorticities, shape `(batch, n)`.
        viscosity: shape `(batch,)`.
        count: how many eigenvalues.
        most: largest dimension of a dense matrix; samples that have not settled below it stay unsettled.
        exact: use the whole space at once.

    Returns:
        The eigenvalues.
    """
    rows = len(c)
    leading = torch.zeros(rows, count, dtype=torch.complex128)
    moved = torch.full((rows,), torch.inf, dtype=torch.float64)
    settled = torch.zeros(rows, dtype=torch.bool)
    pending = torch.arange(rows)
    levels = (torus,) if exact else tuple(level for level in levels_of(torus) if level.dimension <= most)
    for number, level in enumerate(levels):
        if not len(pending):
            break
        values = _leading(torus, c[pending], viscosity[pending], level, count)
        if number:
            moved[pending] = (values[:, 0].real - leading[pending, 0].real).abs()
        leading[pending] = values
        whole = level.dimension == torus.dimension
        settled[pending] = (moved[pending] <= _SETTLED * values[:, 0].real.abs()) | whole
        pending = pending[~settled[pending]]
    return Growth(leading, moved, settled)


def _leading(torus: GalerkinTorus, c: Tensor, viscosity: Tensor, level: GalerkinTorus, count: int) -> Tensor:
    # The matrix over nu: eigenvalues of size one whatever the viscosity.
    values = torch.linalg.eigvals(-dense_jacobian(torus, c, viscosity, level) / viscosity.reshape(-1, 1, 1))
    order = values.real.argsort(dim=1, descending=True, stable=True)[:, :count]
    return values.gather(1, order) * viscosity.unsqueeze(1)


def energy_margin(torus: GalerkinTorus, c: Tensor, viscosity: Tensor, *, wavenumber: float = 10.0) -> Tensor:
    """A lower bound on `nu |grad d|^2 + <(d.grad) u, d>` over differences with `|d| = 1`.

    Args:
        torus: the truncated space.
        c: coordinates of vorticities, shape `(batch, n)`.
        viscosity: shape `(batch,)`.
        wavenumber: modes up to this one are diagonalised.

    Returns:
        Shape `(batch,)`; where it is positive, no other steady flow exists in the truncation.
    """
    low = inner_torus(torus, wavenumber)
    form = dense_energy_form(torus, c, viscosity, low)
    size = torch.linalg.matrix_norm(form)
    # Entries err by a few roundings of terms no larger than the largest; the eigenvalues of a symmetric matrix by n^2 u |Q| at most
    # (Higham 2002, with the modest factor of the QR algorithm taken as n).
    least = torch.linalg.eigvalsh(form)[:, 0] - gamma(64 * low.dimension, form.dtype) * size
    if low.dimension == torus.dimension:
        return least
    inside = (torus.modes.abs() <= torch.tensor(low.cutoff)).all(dim=1).repeat(2)
    beyond = torus.squared[~inside].amin()
    strain = torus.complex_of(c).abs().sum(dim=1)  # both halves of the modes, each counted with one half
    high = viscosity * beyond - strain
    middle, half = (least + high) / 2, (least - high) / 2
    return middle - torch.hypot(half, strain)
