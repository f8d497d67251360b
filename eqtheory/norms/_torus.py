"""Averaged Sobolev norms of fields on a torus: vorticity, velocity and force of a flow are measured in one family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.norms._norm import Norm
from eqtheory.validate import positive

__all__ = ["TorusSobolev"]


@final
@dataclass(frozen=True)
class TorusSobolev(Norm):
    r"""`(sum_k |k|^{2 s} |w_k|^2)^{1/2}` over the Fourier coefficients of a field on `[0, 2 pi / a] x [0, 2 pi]`.

    Wave vectors are `k = (a m, n)`, coefficients are averages over the torus, and the mean counts with weight 1. Order 0 is the
    root mean square. For a divergence-free velocity `u` with vorticity `w` and a force with curl `g`,
    `|grad u|` is the norm of `w` of order 0, and the dual norm of the force the norm of `g` of order -2.

    Args:
        order: the exponent `s`.
        aspect: `a`, the ratio of the periods in y and x.

    Raises:
        InputError: the aspect is not a finite positive number.

    Example:
        >>> import torch
        >>> y = 2 * torch.pi * torch.arange(8, dtype=torch.float64) / 8
        >>> float(TorusSobolev(-2)(torch.cos(2 * y).expand(1, 8, 8)))
        0.1767766952966369
    """

    order: float = 0.0
    aspect: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        positive("aspect", self.aspect)
        if not self.name:
            object.__setattr__(self, "name", f"averaged Sobolev norm of order {self.order:g}")

    def __call__(self, v: Tensor) -> Tensor:
        """Norm of each field: shape `(batch, x, y)` to `(batch,)`."""
        rows = self._spectrum(v).flatten(1)
        return torch.linalg.vector_norm(rows, dim=1)

    def _spectrum(self, v: Tensor) -> Tensor:
        """Weighted coefficients of half the spectrum, those that stand for two scaled by the root of two."""
        if v.ndim != 3:
            raise ShapeError("v", f"shape {tuple(v.shape)}", "(batch, x, y)", "pass a batch of fields on the grid")
        if not v.dtype.is_floating_point:
            raise InputError("v", f"dtype {v.dtype}", "a floating-point tensor", "convert with .double()")
        nx, ny = v.shape[1:]
        # Unscaled transforms of one single field round differently from those of two or more.
        found = torch.fft.rfft2(v, norm="forward")
        kx = self.aspect * torch.fft.fftfreq(nx, 1 / nx, dtype=v.dtype, device=v.device)
        ky = torch.arange(ny // 2 + 1, dtype=v.dtype, device=v.device)
        squared = kx.square().unsqueeze(1) + ky.square()
        weight = torch.where(squared > 0, squared, 1.0) ** (self.order / 2)
        twice = (ky > 0) & (2 * ky < ny)
        return found * (weight * (1.0 + twice.to(v.dtype)).sqrt())
