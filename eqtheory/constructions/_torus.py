r"""Flows on a periodic rectangle in a Fourier-Galerkin truncation whose nonlinearity is exact.

Divergence-free velocities without mean on `[0, 2 pi / a] x [0, 2 pi]` are given by their vorticity `w = d_x u_2 - d_y u_1`: with
`-Laplace psi = w` the velocity is `(d_y psi, -d_x psi)`. Wave vectors are `k = (a m, n)`, norms are averages, and

    |grad u|^2 = mean(w^2),        |f|_{V'} = |g|_{order -2} for a force with curl g,

so that the root mean square of the vorticity is the norm of `V` of T11.

**Truncation.** On a grid of `N` points a side all modes with `3 |m| < N` are kept. The product of two kept fields has modes up to
`2 N / 3`, and what the grid folds back lands outside the kept ones: projected products are convolutions without any error but
rounding (the two-thirds rule, Orszag 1971). The truncated nonlinearity then inherits `<(u.grad) v, v> = 0` exactly.

**Coordinates.** One real vector a field, `sqrt(2) (Re w_k, Im w_k)` over half of the modes: its Euclidean length is the root mean
square of the field.

**Every sample by itself.** On some grids the inverse transform of one single field rounds differently from those of two or more, so one
is never alone there; forward transforms differ only where they are not scaled.

References:
    Orszag, On the elimination of aliasing in finite-difference schemes by filtering high-wavenumber components, J. Atmos. Sci. 28
    (1971); Temam, Navier-Stokes Equations and Nonlinear Functional Analysis, 2nd ed., SIAM 1995, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.validate import batch_of, positive

__all__ = ["GalerkinTorus"]

_ROUNDINGS_OF_A_MEAN = 64
"""Roundings granted to the mean of a force relative to its largest value; a pairwise sum of 2^n numbers has n."""


@final
@dataclass(frozen=True)
class GalerkinTorus:
    """The truncated space of flows on a grid, its transforms and its products.

    Args:
        shape: points in x and y, even and at least 4 each.
        aspect: `a`; the torus is `2 pi / a` long and `2 pi` high.

    Raises:
        InputError: an odd or too small grid, or an aspect that is not positive.

    Theorem: T11.

    Example:
        >>> torus = GalerkinTorus((16, 16))
        >>> torus.cutoff, torus.dimension
        ((5, 5), 120)
    """

    shape: tuple[int, int]
    aspect: float = 1.0

    def __post_init__(self) -> None:
        positive("aspect", self.aspect)
        for points in self.shape:
            if points < 4 or points % 2:
                needed = "an even number of points, at least 4, in each direction"
                raise InputError("shape", str(tuple(self.shape)), needed, "pass for example shape=(64, 64)")

    @property
    def cutoff(self) -> tuple[int, int]:
        """Largest kept `|m|` and `|n|`: the largest integers below a third of the points."""
        return (self.shape[0] - 1) // 3, (self.shape[1] - 1) // 3

    @property
    def dimension(self) -> int:
        """Number of real coordinates."""
        return (2 * self.cutoff[0] + 1) * (2 * self.cutoff[1] + 1) - 1

    @cached_property
    def modes(self) -> Tensor:
        """Half of the kept modes `(m, n)`, one of each pair `k, -k`; shape `(dimension / 2, 2)`, integers."""
        m, n = self.cutoff
        return torch.tensor([(i, j) for j in range(n + 1) for i in range(-m, m + 1) if j > 0 or i > 0])

    @cached_property
    def squared(self) -> Tensor:
        """`|k|^2` of every real coordinate, shape `(dimension,)`."""
        k = self.modes.double() * torch.tensor([self.aspect, 1.0], dtype=torch.float64)
        return k.square().sum(dim=1).repeat(2)

    @cached_property
    def _k(self) -> tuple[Tensor, Tensor]:
        k = self.modes.double()
        return self.aspect * k[:, 0], k[:, 1]

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Flat places of the modes in a half spectrum; which lie on its axis; the places of their mirror images."""
        m, n = self.modes[:, 0], self.modes[:, 1]
        width = self.shape[1] // 2 + 1
        axis = (n == 0).nonzero().squeeze(1)
        return (m % self.shape[0]) * width + n, axis, (-m[axis] % self.shape[0]) * width

    def complex_of(self, c: Tensor) -> Tensor:
        """Fourier coefficients from real coordinates.

        Args:
            c: shape `(batch, dimension)`.

        Returns:
            Shape `(batch, dimension / 2)`, in the order of `modes`.
        """
        half = c.shape[-1] // 2
        return torch.complex(c[..., :half], c[..., half:]) * 0.5**0.5

    def real_of(self, z: Tensor) -> Tensor:
        """Real coordinates from Fourier coefficients.

        Args:
            z: shape `(batch, dimension / 2)`.

        Returns:
            Shape `(batch, dimension)`.
        """
        return torch.cat([z.real, z.imag], dim=-1) * 2.0**0.5

    def synthesis(self, z: Tensor) -> Tensor:
        """Fields on the grid from Fourier coefficients.

        Args:
            z: shape `(..., dimension / 2)`.

        Returns:
            Shape `(..., x, y)`.
        """
        flat = z.reshape(-1, z.shape[-1])
        at, axis, mirrored = self._places
        nx, ny = self.shape
        rows = flat.expand(2, -1) if flat.shape[0] == 1 else flat
        spectrum = rows.new_zeros(rows.shape[0], nx * (ny // 2 + 1))
        spectrum[:, at] = rows
        spectrum[:, mirrored] = rows[:, axis].conj()
        field = torch.fft.irfft2(spectrum.reshape(-1, nx, ny // 2 + 1), s=self.shape, norm="forward")
        return field[: flat.shape[0]].reshape(*z.shape[:-1], nx, ny)

    def analysis(self, field: Tensor) -> Tensor:
        """Kept Fourier coefficients of fields: the projection on the truncated space.

        Args:
            field: shape `(..., x, y)`.

        Returns:
            Shape `(..., dimension / 2)`.
        """
        flat = field.reshape(-1, *self.shape)
        spectrum = torch.fft.rfft2(flat, norm="forward").flatten(1)
        return spectrum[:, self._places[0]].reshape(*field.shape[:-2], -1)

    def coordinates(self, field: Tensor) -> Tensor:
        """Real coordinates of the projection of fields.

        Args:
            field: shape `(batch, x, y)`.

        Returns:
            Shape `(batch, dimension)`; the Euclidean length is the root mean square of the projected field.
        """
        return self.real_of(self.analysis(field))

    def field(self, c: Tensor) -> Tensor:
        """Fields of real coordinates.

        Args:
            c: shape `(batch, dimension)`.

        Returns:
            Shape `(batch, x, y)`.
        """
        return self.synthesis(self.complex_of(c))

    def velocity(self, z: Tensor) -> Tensor:
        """Velocities of vorticities, both as Fourier coefficients: `u_k = i (k_y, -k_x) w_k / |k|^2`.

        Args:
            z: shape `(batch, dimension / 2)`.

        Returns:
            Shape `(batch, 2, dimension / 2)`.
        """
        kx, ky = self._k
        psi = z / self.squared[: z.shape[-1]]
        return torch.stack([1j * ky * psi, -1j * kx * psi], dim=-2)

    def advection(self, u: Tensor, v: Tensor) -> Tensor:
        r"""Curl of the projected `(u . grad) v` for velocities on the grid.

        As `u` is divergence-free, `(u.grad) v = div (u (x) v)`, and the curl is
        `d_xx (u_1 v_2) - d_yy (u_2 v_1) + d_xy (u_2 v_2 - u_1 v_1)`.

        Args:
            u: advecting velocities of the truncated space, shape `(batch, 2, x, y)`.
            v: advected velocities.

        Returns:
            Fourier coefficients of the curl, shape `(batch, dimension / 2)`.
        """
        kx, ky = self._k
        products = torch.stack([u[:, 0] * v[:, 1], u[:, 1] * v[:, 0], u[:, 1] * v[:, 1] - u[:, 0] * v[:, 0]], dim=1)
        a, b, d = self.analysis(products).unbind(dim=1)
        return ky * ky * b - kx * kx * a - kx * ky * d

    def self_advection(self, z: Tensor) -> Tensor:
        """Curl of the projected `(u . grad) u`, which is the projected `u . grad w`.

        Args:
            z: Fourier coefficients of the vorticity, shape `(batch, dimension / 2)`.

        Returns:
            Fourier coefficients, shape `(batch, dimension / 2)`.
        """
        kx, ky = self._k
        u = self.synthesis(self.velocity(z))
        products = torch.stack([u[:, 0] * u[:, 1], u[:, 1].square() - u[:, 0].square()], dim=1)
        shear, normal = self.analysis(products).unbind(dim=1)
        return (ky * ky - kx * kx) * shear - kx * ky * normal

    def forces(self, name: str, g: Tensor) -> Tensor:
        """Require curls of forces: float64, on this grid, finite and without mean.

        Args:
            name: name of the argument, for the message.
            g: shape `(batch, x, y)`.

        Returns:
            `g`, unchanged.

        Raises:
            InputError: another type, or a mean that is not zero to rounding; with the subclass `NonFiniteError` for a NaN.
            ShapeError: another grid, or an odd one.
        """
        if isinstance(g, Tensor) and g.ndim == 3 and any(points % 2 for points in g.shape[1:]):
            needed = "an even number of points in each direction"
            raise ShapeError(name, f"a grid of {g.shape[1]} x {g.shape[2]} points", needed, "sample the force again")
        batch_of(name, g, trailing=self.shape)
        if g.dtype != torch.float64:
            raise InputError(name, f"dtype {g.dtype}", "torch.float64", "convert with .double()")
        mean, size = g.mean(dim=(1, 2)).abs(), g.abs().amax(dim=(1, 2))
        uneven = mean > _ROUNDINGS_OF_A_MEAN * torch.finfo(g.dtype).eps * size
        if bool(uneven.any()):
            at = int(uneven.nonzero()[0])
            came = f"mean {float(g[at].mean()):.3g} at sample {at}"
            raise InputError(name, came, "forces with mean zero", "subtract g.mean(dim=(1, 2), keepdim=True)")
        return g
