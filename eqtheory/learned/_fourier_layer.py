r"""An affine map of periodic fields that commutes with shifts: what Fourier neural operators are made of, with its true norm.

On fields `z` with `c` channels over a periodic rectangle the layer is

    z -> W z + R z + b,

`W` mixing channels at every point, `R` multiplying the Fourier coefficients with `|m|, |n| <= M` by a matrix `R_k` each. Coefficients do
not depend on the grid, so neither does the layer on fields that the grid resolves: it is one map, sampled anywhere.

**Real fields.** Coefficients at `-k` are the conjugates of those at `k`, and half of them, `n >= 0`, are stored. On `n > 0` the map has the
blocks `R_k` at `k` and `conj R_k` at `-k`. On `n = 0` both `k` and `-k` are stored, and the inverse transform keeps
`(R_k + conj R_{-k}) / 2`: what is antisymmetric there does nothing. Grids have more than `2 M` points a side, so that no kept mode is
its own alias; the Nyquist modes of even grids are not kept.

**Norm.** With `H_k` the block that acts, the linear part has the blocks `W + H_k` on kept modes and `W` on all others, and transforms are
unitary up to a factor: its norm from l2 to l2 is

    max( max_k |W + H_k|_2, |W|_2 ),

exactly (`eqtheory.lipschitz.fourier_multiplier_norm`; on a grid of `2 M + 1` points a side there are no others, and `|W|` drops
out). The norm of the weights reshaped to one matrix is neither an upper nor a lower bound on it.

**Control.** With `largest_norm = s` every block is scaled to `A min(1, s / |A|_2)` before it is used, `W` included: the norm is at most
`s`, to rounding, for all values of the parameters, and blocks below `s` stay as they are.

References:
    Li et al. 2021, Fourier Neural Operator for Parametric Partial Differential Equations, ICLR (the layer).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from eqtheory.bounds import Bracket
from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz import fourier_multiplier_norm
from eqtheory.validate import count, positive, require_finite

__all__ = ["FourierKernel", "FourierLayer"]


@final
@dataclass(frozen=True)
class FourierKernel:
    """The maps of a layer at its present parameters, to be applied many times.

    Args:
        multiplier: `H_k`, shape `(2 M + 1, M + 1, out, into)`, complex; the first axis is `m = 0..M, -M..-1`.
        mixing: `W`, shape `(out, into)`.
        bias: shape `(out,)`.
    """

    multiplier: Tensor
    mixing: Tensor
    bias: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        """Apply the layer.

        Args:
            z: fields, shape `(batch, into, x, y)`, more than `2 M` points in each direction.

        Returns:
            Fields, shape `(batch, out, x, y)`.

        Raises:
            ShapeError: no samples, other channels, other axes, or a grid that does not hold the modes.
            InputError: fields of another dtype than the layer.
        """
        rows, columns, out, into = self.multiplier.shape
        self.require(z)
        nx, ny = z.shape[-2:]
        kept = torch.fft.rfft2(z)[..., :columns]
        top, bottom = kept[..., :columns, :], kept[..., nx - columns + 1 :, :]
        kept = torch.cat([top, bottom], dim=-2).flatten(2).permute(2, 1, 0)  # modes, into, batch
        found = _product(self.multiplier.reshape(rows * columns, out, into), kept)
        found = found.permute(2, 1, 0).reshape(-1, out, rows, columns)
        middle = found.new_zeros(len(found), out, nx - rows, columns)
        half = torch.cat([found[..., :columns, :], middle, found[..., columns:, :]], dim=-2)
        waves = torch.fft.irfft2(nn.functional.pad(half, (0, ny // 2 + 1 - columns)), s=(nx, ny))
        mixed = torch.matmul(self.mixing, z.flatten(2)).reshape(-1, out, nx, ny)
        return waves + mixed + self.bias[:, None, None]

    def require(self, z: Tensor) -> None:
        """Check that fields can be arguments.

        Args:
            z: fields.

        Raises:
            ShapeError: no samples, other channels, other axes, or a grid that does not hold the modes.
            InputError: fields of another dtype than the layer.
        """
        rows, into = self.multiplier.shape[0], self.multiplier.shape[3]
        if z.ndim != 4 or z.shape[1] != into or not len(z):
            raise ShapeError(
                "z", f"shape {tuple(z.shape)}", f"(batch, {into}, x, y), batch > 0", "put the channels second"
            )
        if z.dtype != self.mixing.dtype:
            raise InputError("z", str(z.dtype), f"{self.mixing.dtype}, as the weights", "convert one of both")
        if min(z.shape[-2:]) < rows:
            came = f"a grid of {z.shape[-2]} x {z.shape[-1]} points"
            raise ShapeError(
                "z", came, f"at least {rows} points in each direction", "refine the grid or keep fewer modes"
            )


@final
class FourierLayer(nn.Module):
    """The layer's parameters: real numbers, so that `.double()` and every optimiser work on them.

    Args:
        into: channels of the argument.
        out: channels of the result.
        modes: `M`; the modes with `|m|, |n| <= M` have a matrix each.
        largest_norm: `s`, bound on the true norm of the linear part; none by default.
        generator: where the initial weights come from; torch's own state if not given.

    Raises:
        InputError: channels or modes below one, or a bound that is not positive.

    Example:
        >>> import torch
        >>> layer = FourierLayer(2, 3, modes=4, largest_norm=0.5, generator=torch.Generator().manual_seed(0)).double()
        >>> layer(torch.zeros(1, 2, 16, 24).double()).shape
        torch.Size([1, 3, 16, 24])
        >>> layer.norm().upper.value <= 0.5 * (1 + 1e-9)
        True
    """

    def __init__(
        self,
        into: int,
        out: int,
        modes: int,
        *,
        largest_norm: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        count("into", into, "pass the channels of the argument")
        count("out", out, "pass the channels of the result")
        self.modes = count("modes", modes, "keep at least the modes of wave number one")
        self.largest_norm = None if largest_norm is None else positive("largest_norm", largest_norm)
        scale = 0.5 * into**-0.5  # the largest singular values of W and of the blocks are then about one
        shape = (2 * modes + 1, modes + 1, out, into)
        self.weight = nn.Parameter(0.5 * scale * torch.randn(*shape, 2, generator=generator))
        self.mixing = nn.Parameter(scale * torch.randn(out, into, generator=generator))
        self.bias = nn.Parameter(torch.zeros(out))

    def kernel(self) -> FourierKernel:
        """Form the maps at the present parameters; differentiable in them.

        Returns:
            The maps, within the bound on the norm.

        Raises:
            NonFiniteError: a weight is NaN or infinite.
        """
        for name, weight in self.named_parameters():
            require_finite(name, weight, "go back to weights before the training diverged")
        full = torch.view_as_complex(self.weight)
        axis = full[:, :1]
        mirrored = axis.flip(0).roll(1, 0).conj()
        multiplier = torch.cat([(axis + mirrored) / 2, full[:, 1:]], dim=1)
        mixing: Tensor = self.mixing
        if self.largest_norm is not None:
            blocks = _limited(multiplier + mixing, self.largest_norm)
            mixing = _limited(mixing, self.largest_norm)
            multiplier = blocks - mixing
        return FourierKernel(multiplier, mixing, self.bias)

    def norm(self, size: tuple[int, int] | None = None) -> Bracket:
        """Bracket the norm of the linear part, from l2 to l2.

        Args:
            size: the grid; by default one with modes beyond the kept ones, which gives the norm on all such grids.

        Returns:
            Both sides proved, about 1e-12 apart relatively.

        Raises:
            ShapeError: a size that is not two numbers, or a grid that does not hold the modes.
            NonFiniteError: a weight is NaN or infinite.
        """
        grid = (2 * self.modes + 3, 2 * self.modes + 3) if size is None else size
        if len(grid) != 2:
            raise ShapeError("size", str(grid), "points in two directions", "pass for example size=(64, 64)")
        kernel = self.kernel()
        kernel.require(kernel.mixing.new_zeros(1, kernel.mixing.shape[1], *grid))
        columns = self.modes + 1
        full = kernel.mixing.detach().to(torch.complex128)[:, :, None, None].repeat(1, 1, grid[0], grid[1] // 2 + 1)
        blocks = kernel.multiplier.detach().to(torch.complex128).permute(2, 3, 0, 1)
        full[..., :columns, :columns] += blocks[:, :, :columns]
        full[..., grid[0] - self.modes :, :columns] += blocks[:, :, columns:]
        return fourier_multiplier_norm(full, grid)

    def forward(self, z: Tensor) -> Tensor:
        """Apply the layer.

        Args:
            z: fields, shape `(batch, into, x, y)`, more than `2 modes` points in each direction.

        Returns:
            Fields, shape `(batch, out, x, y)`.

        Raises:
            ShapeError: no samples, other channels, other axes, or a grid that does not hold the modes.
            InputError: fields of another dtype than the layer.
            NonFiniteError: a weight is NaN or infinite.
        """
        return self.kernel()(z)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Batched products of complex matrices as one of real ones, `[Re, -Im; Im, Re] [Re; Im]`, which is several times faster on a CPU.

    Returns:
        `a @ b`.
    """
    top, bottom = torch.cat([a.real, -a.imag], dim=2), torch.cat([a.imag, a.real], dim=2)
    both = torch.bmm(torch.cat([top, bottom], dim=1), torch.cat([b.real, b.imag], dim=1))
    real, imag = both.chunk(2, dim=1)
    return torch.complex(real, imag)


def _limited(blocks: Tensor, largest: float) -> Tensor:
    """Scale matrices down to a largest singular value.

    Returns:
        Matrices of the same shape.
    """
    size = torch.linalg.matrix_norm(blocks, ord=2, keepdim=True)
    return blocks * (largest / size.clamp(min=largest))
