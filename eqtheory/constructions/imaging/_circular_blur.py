r"""Blurring an image with periodic boundaries.

**Convolution.** With the kernel's centre `c = (kh // 2, kw // 2)` put at the origin, so that images are not shifted,

    (A y)_n = sum_j k_j y_{n - (j - c)}    (indices modulo the image's size),

which is diagonal in the discrete Fourier basis: `(A y)^_w = T_w y^_w` with the transfer `T_w = sum_j k_j exp(-2 pi i <w, j - c> / size)`.
`A` is normal, `A^T` has the transfer `conj T`, the singular values are `|T_w|`, and `A^T A + beta I` is the multiplier `|T|^2 + beta`.

**Singular vectors.** `T_{-w} = conj T_w`, so on the plane of the frequencies `w`, `-w` the map scales by `|T_w|` and turns the
phase: `cos(2 pi <w, n> / size)` is a right singular vector for `|T_w|`, exactly; its image is the same wave with a phase of `arg T_w`.

**Bounds.** The transfer is summed directly in float64, first over rows, then over columns. The angles `2 pi (w j mod n) / n` are
reduced in integers and rounded three times, an absolute error of at most `2 pi gamma_3`; a cosine adds at most `2 u`. With the complex
sums of `kw` and `kh` products every `T_w` errs by at most `gamma_{4 (kh + kw) + 64} sum |k_j|`, which widens both bounds. The largest
singular value is also at most `sum |k_j|`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import pi
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.constructions.imaging._linear_map import LinearMap, Scalar, axis_free, same_trailing
from eqtheory.errors import GradientUnavailableError, InputError, ShapeError
from eqtheory.norms import Euclidean
from eqtheory.roundoff import gamma
from eqtheory.validate import require_finite

__all__ = ["CircularBlur", "SingularVectors"]

Multiplier = Callable[[Tensor, Tensor], Tensor]
"""From the transfer and its squared modulus to what a spectrum is multiplied by."""


@dataclass(frozen=True)
class SingularVectors:
    """Some right singular vectors of a blur.

    Args:
        vectors: real waves of norm 1, shape `(q, 1, h, w)`: one channel.
        values: their singular values `|T|`, shape `(q,)`.
        frequencies: cycles per pixel along rows and columns, in `[-1/2, 1/2]`, shape `(q, 2)`.
    """

    vectors: Tensor
    values: Tensor
    frequencies: Tensor


@final
class CircularBlur(LinearMap):
    """Convolution with a kernel and periodic boundaries, the same in every channel.

    States and observations are images, shape `(batch, channels, h, w)`, float32 or float64, on any device. A kernel of even length
    has its centre half a pixel off, at `kh // 2`. The kernel is held fixed.

    Args:
        kernel: shape `(kh, kw)`, finite, sum 1.
        size: the images' `(h, w)`, at least the kernel's.
        normalize: divide the kernel by its sum.
        any_sum: keep a kernel whose sum is not 1, which then brightens or darkens.

    Raises:
        InputError: no tensor of float32 or float64, a sum that is not 1 up to the rounding of its own type, or both options.
        ShapeError: not two axes, or larger than the image.
        NonFiniteError: a NaN or an infinity.
        GradientUnavailableError: the kernel requires a gradient.

    Theorem: T10.

    Example:
        >>> blur = CircularBlur(torch.full((1, 3), 1 / 3), (4, 4))
        >>> spot = torch.zeros(1, 1, 4, 4)
        >>> spot[0, 0, 2, 2] = 3.0
        >>> blur(spot)[0, 0, 2].round(decimals=5)
        tensor([0., 1., 1., 1.])
    """

    def __init__(
        self, kernel: Tensor, size: tuple[int, int], *, normalize: bool = False, any_sum: bool = False
    ) -> None:
        self.size = _grid(size)
        self.kernel = _kernel(kernel, self.size, normalize=normalize, any_sum=any_sum)
        self._kept: dict[tuple[str, torch.dtype], tuple[Tensor, Tensor]] = {}

    @cached_property
    def transfer(self) -> Tensor:
        """The transfer on the half spectrum of `rfft2`, complex128, shape `(h, w // 2 + 1)`."""
        h, w = self.size
        rows = _waves(h, torch.arange(h), self.kernel.shape[0])
        columns = _waves(w, torch.arange(w // 2 + 1), self.kernel.shape[1])
        return rows @ self.kernel.to(torch.complex128) @ columns.mT

    @cached_property
    def norm(self) -> Bound:
        """Upper bound on `max |T|`, rounding included."""
        total = float(self.kernel.abs().sum()) * (1 + gamma(self.kernel.numel() + 1, torch.float64))
        value = min(total, float(self.transfer.abs().amax()) + self._error)
        return Bound(value, Side.UPPER, "largest modulus of the transfer", Evidence.PROVED, Euclidean().name)

    @cached_property
    def smallest(self) -> Bound:
        """Lower bound on `min |T|`, rounding included; 0 where some frequency may be wiped out."""
        value = max(0.0, float(self.transfer.abs().amin()) - self._error)
        return Bound(value, Side.LOWER, "smallest modulus of the transfer", Evidence.PROVED, Euclidean().name)

    @property
    def _error(self) -> float:
        operations = 4 * sum(self.kernel.shape) + 64
        return gamma(operations, torch.float64) * float(self.kernel.abs().sum())

    def __call__(self, y: Tensor) -> Tensor:
        return self._multiplied("y", y, lambda T, _: T)

    def adjoint(self, x: Tensor) -> Tensor:
        """Correlate with the kernel, the adjoint of convolving with it.

        Args:
            x: observations, shape `(batch, channels, h, w)`.

        Returns:
            `A^T x`, the shape of `x`.
        """
        return self._multiplied("x", x, lambda T, _: T.conj())

    def normal(self, y: Tensor) -> Tensor:
        """Apply `A^T A`.

        Args:
            y: states, shape `(batch, channels, h, w)`.

        Returns:
            `A^T A y`, the shape of `y`. Cost: two transforms instead of four.
        """
        return self._multiplied("y", y, lambda _, power: power)

    def solve(self, v: Tensor, beta: Scalar) -> Tensor:
        """Solve `(A^T A + beta I) u = v`, a division in the Fourier domain.

        Args:
            v: right sides, shape `(batch, channels, h, w)`.
            beta: regularisation, positive; a number or a tensor without axes.

        Returns:
            `u`, the shape of `v`.
        """
        axis_free("beta", beta)
        return self._multiplied("v", v, lambda _, power: 1 / (power + beta))

    def singular_vectors(self, quantiles: Sequence[float]) -> SingularVectors:
        """Return exact singular vectors at quantiles of spatial frequency.

        The pairs `{w, -w}` are ordered by `|w|` in cycles per pixel (those of equal `|w|` in a fixed order); the quantile `q` of `N` pairs
        is the one at place `floor(q (N - 1))`: 0 is the constant image, 1 the finest wave.

        Args:
            quantiles: numbers in `[0, 1]`.

        Returns:
            Vectors, values and frequencies, float64.

        Raises:
            InputError: no quantiles, or one outside `[0, 1]`.
        """
        found = list(quantiles)
        if not found or not all(0 <= q <= 1 for q in found):
            raise InputError("quantiles", str(found), "numbers in [0, 1]", "pass for example (0.1, 0.5, 0.9)")
        h, w = self.size
        pairs = _half_plane(h, w)
        signed = torch.stack((_signed(pairs[:, 0], h), pairs[:, 1]), dim=1)
        # |w|^2 times (h w)^2 is an integer, so ties are ties.
        order = (signed * torch.tensor([w, h])).square().sum(1).argsort(stable=True)
        chosen = order[torch.tensor([int(q * (len(order) - 1)) for q in found])]
        at, frequencies = pairs[chosen], signed[chosen].double() / torch.tensor([h, w], dtype=torch.float64)
        rows = (at[:, :1] * torch.arange(h) % h).double() / h
        columns = (at[:, 1:] * torch.arange(w) % w).double() / w
        waves = torch.cos(2 * pi * (rows.unsqueeze(2) + columns.unsqueeze(1))).unsqueeze(1)
        vectors = waves / Euclidean()(waves).reshape(-1, 1, 1, 1)
        return SingularVectors(vectors, self.transfer[at[:, 0], at[:, 1]].abs(), frequencies)

    def _multiplied(self, name: str, image: Tensor, choose: Multiplier) -> Tensor:
        same_trailing(
            name, image, (None, *self.size), f"build the blur for the images' size, it was built for {self.size}"
        )
        spectrum = choose(*self._on(image)) * torch.fft.rfft2(image)
        return torch.fft.irfft2(spectrum, s=self.size)

    def _on(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The transfer and its squared modulus in the type and place of an image."""
        key = (str(like.device), like.dtype)
        if key not in self._kept:
            T = self.transfer.to(like.device)
            power = (T.real.square() + T.imag.square()).to(like.dtype)
            self._kept[key] = (T.to(torch.complex64 if like.dtype == torch.float32 else T.dtype), power)
        return self._kept[key]


def _grid(size: tuple[int, int]) -> tuple[int, int]:
    right = isinstance(size, Sequence) and len(size) == 2 and all(isinstance(n, int) and n >= 1 for n in size)
    if not right:
        raise InputError("size", str(size), "the images' (h, w)", "pass for example size=(128, 128)")
    return size[0], size[1]


def _kernel(kernel: Tensor, size: tuple[int, int], *, normalize: bool, any_sum: bool) -> Tensor:
    """The kernel in float64 on the host, after all checks."""
    if not isinstance(kernel, Tensor) or kernel.dtype not in (torch.float32, torch.float64):
        came = f"dtype {kernel.dtype}" if isinstance(kernel, Tensor) else type(kernel).__name__
        raise InputError("kernel", came, "a tensor of float32 or float64", "convert with .double()")
    if kernel.ndim != 2 or kernel.numel() == 0 or any(k > n for k, n in zip(kernel.shape, size, strict=True)):
        needed = f"(kh, kw), at least (1, 1) and at most the image's {size}"
        raise ShapeError("kernel", f"shape {tuple(kernel.shape)}", needed, "crop the kernel or take larger images")
    require_finite("kernel", kernel, "repair it")
    if kernel.requires_grad:
        message = "kernel requires a gradient, but its transfer is computed once and carries none; pass kernel.detach()"
        raise GradientUnavailableError(message)
    if normalize and any_sum:
        raise InputError("normalize, any_sum", "both", "at most one of the two", "drop one")
    taps = kernel.to("cpu", torch.float64, copy=True)
    total, weight = float(taps.sum()), float(taps.abs().sum())
    # Taps that were divided by their sum in the kernel's own type: N - 1 roundings in the sum, one in each quotient, and the sum here.
    slack = gamma(kernel.numel() + 1, kernel.dtype) * weight
    if normalize:
        if not abs(total) > slack:
            raise InputError(
                "kernel", f"sum {total:.6g}", "a sum that is not zero to rounding", "pass any_sum=True to keep it"
            )
        return taps / total
    if not any_sum and not abs(total - 1) <= slack:
        raise InputError("kernel", f"sum {total:.9g}", "sum 1", "pass normalize=True, or any_sum=True to keep it")
    return taps


def _waves(n: int, frequencies: Tensor, taps: int) -> Tensor:
    """`exp(-2 pi i f (j - taps // 2) / n)`, complex128, shape `(frequencies, taps)`, with angles reduced in integers."""
    turns = frequencies.unsqueeze(1) * (torch.arange(taps) - taps // 2) % n
    angles = 2 * pi * turns.double() / n
    return torch.complex(torch.cos(angles), -torch.sin(angles))


def _signed(frequency: Tensor, n: int) -> Tensor:
    return torch.where(2 * frequency > n, frequency - n, frequency)


def _half_plane(h: int, w: int) -> Tensor:
    """One frequency `(row, column)` of every pair `{w, -w}`, all with a column on the half spectrum."""
    grid = torch.cartesian_prod(torch.arange(h), torch.arange(w // 2 + 1))
    row, column = grid[:, 0], grid[:, 1]
    # On the columns that are their own partner the rows r and h - r are one pair.
    own = (column == 0) | (2 * column == w)
    return grid[~own | (2 * row <= h)]
