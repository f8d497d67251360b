r"""The steady equation in coordinates, its derivative, and the transpose of that.

    F(w) = nu A w + u . grad w - g = 0,         A = -Laplace,

for the vorticity `w` and the curl `g` of the force, projected on the modes of a `GalerkinTorus`. With `u_h` the velocity of `h`,

    F'(w) h   = nu A h + div (u h + w u_h),
    F'(w)^T q = nu A q - div (u q) - A^{-1} (d_x (w d_y q) - d_y (w d_x q)),

the second by `<div (u h), q> = -<h, u . grad q>` and `u_h = (d_y, -d_x) A^{-1} h`. Both are exact on the truncation, since products
are, so one is the transpose of the other to rounding. The dense matrix has the entries

    (k x j) (1/|k - j|^2 - 1/|j|^2) w_{k-j} + nu |k|^2 [k = j],        k x j = k_x j_y - k_y j_x.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus

__all__ = ["Linearization", "cut", "dense_energy_form", "dense_jacobian", "prolong", "residual", "spread"]


def _wavenumbers(torus: GalerkinTorus) -> tuple[Tensor, Tensor]:
    k = torus.modes.double()
    return torus.aspect * k[:, 0], k[:, 1]


def residual(torus: GalerkinTorus, c: Tensor, g: Tensor, viscosity: Tensor) -> Tensor:
    """Evaluate `F(w)` in coordinates.

    Args:
        torus: the truncated space.
        c: coordinates of vorticities, shape `(batch, n)`.
        g: coordinates of curls of forces.
        viscosity: `nu`, shape `(batch,)`.

    Returns:
        Shape `(batch, n)`.
    """
    turned = torus.real_of(torus.self_advection(torus.complex_of(c)))
    return viscosity.unsqueeze(1) * torus.squared * c + turned - g


@dataclass(frozen=True)
class Linearization:
    """Products with the derivative at flows, and with its transpose.

    Args:
        torus: the truncated space.
        viscosity: shape `(batch,)`.
        velocity: `u` on the grid, shape `(batch, 2, x, y)`.
        vorticity: `w` on the grid, shape `(batch, 1, x, y)`.
    """

    torus: GalerkinTorus
    viscosity: Tensor
    velocity: Tensor
    vorticity: Tensor

    @staticmethod
    def at(torus: GalerkinTorus, c: Tensor, viscosity: Tensor) -> Linearization:
        """Linearise at flows.

        Args:
            torus: the truncated space.
            c: coordinates of vorticities, shape `(batch, n)`.
            viscosity: shape `(batch,)`.

        Returns:
            The linearisation.
        """
        z = torus.complex_of(c)
        fields = torus.synthesis(torch.cat([torus.velocity(z), z.unsqueeze(1)], dim=1))
        return Linearization(torus, viscosity, fields[:, :2], fields[:, 2:])

    def apply(self, h: Tensor) -> Tensor:
        """Multiply by the derivative.

        Args:
            h: coordinates of directions, shape `(batch, n)`.

        Returns:
            Shape `(batch, n)`.
        """
        torus = self.torus
        z = torus.complex_of(h)
        fields = torus.synthesis(torch.cat([torus.velocity(z), z.unsqueeze(1)], dim=1))
        flux = torus.analysis(self.velocity * fields[:, 2:] + self.vorticity * fields[:, :2])
        kx, ky = _wavenumbers(torus)
        turned = 1j * kx * flux[:, 0] + 1j * ky * flux[:, 1]
        return self.viscosity.unsqueeze(1) * torus.squared * h + torus.real_of(turned)

    def transposed(self, q: Tensor) -> Tensor:
        """Multiply by the transpose of the derivative.

        Args:
            q: coordinates, shape `(batch, n)`.

        Returns:
            Shape `(batch, n)`.
        """
        torus = self.torus
        kx, ky = _wavenumbers(torus)
        z = torus.complex_of(q)
        fields = torus.synthesis(torch.stack([1j * kx * z, 1j * ky * z, z], dim=1))
        products = torch.cat([self.velocity * fields[:, 2:], self.vorticity * fields[:, :2]], dim=1)
        a, b, wx, wy = torus.analysis(products).unbind(dim=1)
        squared = torus.squared[: z.shape[1]]
        turned = -(1j * kx * a + 1j * ky * b) - (1j * kx * wy - 1j * ky * wx) / squared
        return self.viscosity.unsqueeze(1) * torus.squared * q + torus.real_of(turned)


@lru_cache(maxsize=32)
def _shared(fine: GalerkinTorus, coarse: GalerkinTorus) -> tuple[Tensor, Tensor]:
    """Places of the coarse modes among the fine ones, twice: of real parts, and of both parts."""
    at = {tuple(k): i for i, k in enumerate(fine.modes.tolist())}
    half = torch.tensor([at[tuple(k)] for k in coarse.modes.tolist()])
    return half, torch.cat([half, half + fine.dimension // 2])


def cut(fine: GalerkinTorus, coarse: GalerkinTorus, c: Tensor) -> Tensor:
    """Coordinates of the coarse modes.

    Args:
        fine: the space of `c`.
        coarse: a space inside of it.
        c: shape `(..., fine.dimension)`.

    Returns:
        Shape `(..., coarse.dimension)`.
    """
    return c[..., _shared(fine, coarse)[1]]


def prolong(coarse: GalerkinTorus, fine: GalerkinTorus, c: Tensor) -> Tensor:
    """Coordinates in the fine space, zero in the modes that are new.

    Args:
        coarse: the space of `c`.
        fine: a space around it.
        c: shape `(..., coarse.dimension)`.

    Returns:
        Shape `(..., fine.dimension)`.
    """
    out = c.new_zeros(*c.shape[:-1], fine.dimension)
    out[..., _shared(fine, coarse)[1]] = c
    return out


def spread(torus: GalerkinTorus, c: Tensor, reach: tuple[int, int]) -> Tensor:
    """All Fourier coefficients with `|m| <= reach[0]`, `|n| <= reach[1]`, zero where none is kept.

    Args:
        torus: the space of `c`.
        c: shape `(batch, n)`.
        reach: the largest wave numbers.

    Returns:
        Shape `(batch, 2 reach[0] + 1, 2 reach[1] + 1)`, the mean in the middle.
    """
    z, modes = torus.complex_of(c), torus.modes
    inside = (modes[:, 0].abs() <= reach[0]) & (modes[:, 1].abs() <= reach[1])
    m, n = modes[inside, 0], modes[inside, 1]
    out = z.new_zeros(c.shape[0], 2 * reach[0] + 1, 2 * reach[1] + 1)
    out[:, reach[0] + m, reach[1] + n] = z[:, inside]
    out[:, reach[0] - m, reach[1] - n] = z[:, inside].conj()
    return out


@lru_cache(maxsize=32)
def _gather(coarse: GalerkinTorus, *, form: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For `j` and for `-j`: flat places of `k - j` in the spread spectrum, and the factor of that coefficient."""
    reach = (2 * coarse.cutoff[0], 2 * coarse.cutoff[1])
    found: list[Tensor] = []
    k = coarse.modes.unsqueeze(1)
    for j in (coarse.modes.unsqueeze(0), -coarse.modes.unsqueeze(0)):
        p = k - j
        scale = torch.tensor([coarse.aspect, 1.0], dtype=torch.float64)
        kk, jj, pp = k.double() * scale, j.double() * scale, p.double() * scale
        cross = kk[..., 0] * jj[..., 1] - kk[..., 1] * jj[..., 0]
        j2, p2 = jj.square().sum(dim=2), pp.square().sum(dim=2)
        p2 = torch.where(p2 > 0, p2, torch.inf)
        if form:
            # d = sum_j of amplitude e_j advects u: curl (j x p)(k . p)/(|j|^2 |p|^2) h_j w_p with h_j = |j| e_j, paired with e_k / |k|;
            # j x p = j x k = -k x j.
            k2 = kk.square().sum(dim=2)
            factor = -cross * (kk * pp).sum(dim=2) / (p2 * j2.sqrt() * k2.sqrt())
        else:
            factor = cross * (1 / p2 - 1 / j2)
            factor = torch.where(torch.isinf(p2), 0.0, factor)
        found += [(p[..., 0] + reach[0]) * (2 * reach[1] + 1) + p[..., 1] + reach[1], factor]
    return found[0], found[1], found[2], found[3]


def _dense(torus: GalerkinTorus, c: Tensor, coarse: GalerkinTorus, *, form: bool) -> Tensor:
    reach = (2 * coarse.cutoff[0], 2 * coarse.cutoff[1])
    w = spread(torus, c, reach).flatten(1)
    at, factor, mirrored_at, mirrored = _gather(coarse, form=form)
    h, n = coarse.dimension // 2, coarse.dimension
    same, crossed = w[:, at] * factor, w[:, mirrored_at] * mirrored
    out = c.new_empty(c.shape[0], n, n)
    # z_k = sum_j (M_kj z_j + M_k,-j conj(z_j)), split in real and imaginary parts.
    out[:, :h, :h] = same.real + crossed.real
    out[:, :h, h:] = crossed.imag - same.imag
    out[:, h:, :h] = same.imag + crossed.imag
    out[:, h:, h:] = same.real - crossed.real
    return out


def dense_jacobian(torus: GalerkinTorus, c: Tensor, viscosity: Tensor, coarse: GalerkinTorus) -> Tensor:
    """The derivative at flows of a fine space, restricted to the modes of a coarse one.

    Args:
        torus: the space of the flows.
        c: coordinates of vorticities, shape `(batch, n)`.
        viscosity: shape `(batch,)`.
        coarse: a space inside of it, or the space itself.

    Returns:
        Shape `(batch, n, n)` with `n = coarse.dimension`.
    """
    out = _dense(torus, c, coarse, form=False)
    out.diagonal(dim1=1, dim2=2).add_(viscosity.unsqueeze(1) * coarse.squared)
    return out


def dense_energy_form(torus: GalerkinTorus, c: Tensor, viscosity: Tensor, coarse: GalerkinTorus) -> Tensor:
    """The symmetric matrix of `nu |grad d|^2 + <(d.grad) u, d>` in L2-orthonormal velocities of a coarse space.

    Args:
        torus: the space of the flows.
        c: coordinates of vorticities, shape `(batch, n)`.
        viscosity: shape `(batch,)`.
        coarse: a space inside of it, or the space itself.

    Returns:
        Shape `(batch, n, n)` with `n = coarse.dimension`.
    """
    out = _dense(torus, c, coarse, form=True)
    out = (out + out.mT) / 2
    out.diagonal(dim1=1, dim2=2).add_(viscosity.unsqueeze(1) * coarse.squared)
    return out
