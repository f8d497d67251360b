r"""The norm of a linear map that acts mode by mode on the half spectrum of a real signal, as in Fourier neural operators.

The layer is `x -> irfftn(M rfftn(x))`, a matrix `M_k` at every stored frequency `k = (k_1, ..., k_d)`, `0 <= k_d <= n_d / 2`.

**Modes with a partner that is not stored** (`0 < k_d < n_d / 2`). The inverse transform supplies the conjugate at `-k`, so the
real map has the blocks `M_k` at `k` and `conj M_k` at `-k`.

**Modes that are stored together with their partner** (`k_d = 0`, and `k_d = n_d / 2` for even `n_d`). There `-k` lies in the
same stored plane, and the last inverse transform drops the imaginary part of that plane. With `z = M x^` on the plane, `Re` of
its inverse transform has the coefficients `(z_k + conj z_{-k}) / 2`, and `conj x^_{-k} = x^_k` for real `x`:

    H_k = (M_k + conj M_{-k}) / 2,

the Hermitian part (in the frequency, not in the channels). What is antisymmetric in `M` there does nothing. The blocks are now
those of a real map on all frequencies and the transforms are unitary up to a factor that cancels: the norm is `max_k |H_k|_2`,
exactly, and the complex maximum is the real one because the map is real.

**Rounding.** Halving the sum rounds once, `|E| <= u |H|` entry by entry, at most `2 u sqrt(min(c_out, c_in))` of the norm.

References:
    Li et al. 2021, Fourier Neural Operator for Parametric Partial Differential Equations, ICLR (the layer).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor

from eqtheory.bounds import Bracket, Evidence
from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz.layers._certified import U, bracket, largest_block
from eqtheory.lipschitz.layers._symbol import Torus, torus_norm
from eqtheory.norms import Euclidean
from eqtheory.roundoff import gamma
from eqtheory.validate import count, require_finite

__all__ = ["fourier_multiplier_norm", "place_modes", "translation_invariant_norm"]

_TRIALS = 3


def fourier_multiplier_norm(multiplier: Tensor, size: Sequence[int]) -> Bracket:
    """Bracket the Euclidean norm of `x -> irfftn(multiplier @ rfftn(x), s=size)` on real signals.

    Args:
        multiplier: shape `(c_out, c_in, n_1, ..., n_d // 2 + 1)`, complex, zero where modes are truncated.
        size: the grid `(n_1, ..., n_d)`; the parity of `n_d` matters.

    Returns:
        Both sides proved, about 1e-12 apart relatively. Cost: one product of matrices per frequency.

    Raises:
        InputError: a multiplier that is not complex, or a grid that is none.
        ShapeError: not the half spectrum of the grid.

    Example:
        >>> import torch
        >>> derivative = 1j * torch.arange(5, dtype=torch.float64)  # on 8 cells; the Nyquist mode 4 is imaginary and has no effect
        >>> round(fourier_multiplier_norm(derivative[None, None], (8,)).upper.value, 9)
        3.0
    """
    grid = _grid(size)
    if not isinstance(multiplier, Tensor) or not multiplier.is_complex():
        came = f"dtype {multiplier.dtype}" if isinstance(multiplier, Tensor) else type(multiplier).__name__
        raise InputError("multiplier", came, "a complex tensor", "use torch.complex(real, imaginary)")
    half = (*grid[:-1], grid[-1] // 2 + 1) if grid else ()
    if not grid or multiplier.ndim != 2 + len(grid) or multiplier.shape[2:] != half:
        needed = f"(c_out, c_in{''.join(f', {n}' for n in half)}) for the grid {grid}"
        raise ShapeError("multiplier", f"shape {tuple(multiplier.shape)}", needed, "lay it out as rfftn does")
    require_finite("multiplier", multiplier, "repair it")
    M = multiplier.detach().to("cpu", torch.complex128)
    planes = [0] if grid[-1] % 2 else [0, grid[-1] // 2]
    H = M.clone()
    leading = list(range(2, M.ndim - 1))
    for plane in planes:
        own = M[..., plane]
        partner = own.flip(leading).roll([1] * len(leading), leading) if leading else own
        H[..., plane] = (own + partner.conj()) / 2
    c_out, c_in = M.shape[:2]
    lower, upper, _ = largest_block(H.flatten(2).permute(2, 0, 1).contiguous())
    slack = 4 * U * min(c_out, c_in) ** 0.5
    return bracket((lower * (1 - slack), upper * (1 + slack)), Euclidean(), "Hermitian part at every frequency")


def _grid(size: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(size, Sequence) or isinstance(size, str):
        shown = " ".join(str(size).split())
        raise InputError("size", shown[:60], "the cells along each axis", "pass a tuple, for example (16, 16)")
    return tuple(count("size", n, "pass the cells along each axis, for example (16, 16)") for n in size)


def place_modes(weights: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Lay the truncated weights of a Fourier neural operator out on a half spectrum.

    Args:
        weights: `2^(d-1)` blocks of shape `(c_in, c_out, m_1, ..., m_d)`, the signs of the first `d - 1` frequencies being
            `+, -` for two axes and `++, -+, +-, --` for three: a block of negative frequencies fills the last `m_i` entries of
            its axis.
        size: the grid.

    Returns:
        The multiplier, shape `(c_out, c_in, n_1, ..., n_d // 2 + 1)`, zero elsewhere. Where blocks overlap the later one
        stays, as in the layer.

    Raises:
        InputError: the wrong number of blocks, or a grid that is none.
        ShapeError: blocks of different shapes, or more modes than the grid has.

    Example:
        >>> import torch
        >>> w = torch.ones(2, 3, 4, dtype=torch.complex64)
        >>> tuple(place_modes([w], (16,)).shape)
        (3, 2, 9)
    """
    grid = _grid(size)
    blocks = list(weights)
    if not grid or len(blocks) != 2 ** (len(grid) - 1):
        needed = f"{2 ** max(len(grid) - 1, 0)} for {len(grid)} axes"
        raise InputError("weights", f"{len(blocks)} blocks", needed, "pass one block per choice of signs")
    shape = tuple(blocks[0].shape)
    half = (*grid[:-1], grid[-1] // 2 + 1)
    fits = len(shape) == 2 + len(grid) and all(m <= n for m, n in zip(shape[2:], half, strict=True))
    if not fits or any(tuple(block.shape) != shape for block in blocks):
        shapes = ", ".join(str(tuple(block.shape)) for block in blocks)
        raise ShapeError("weights", shapes, f"equal shapes (c_in, c_out, modes up to {half})", "truncate the modes")
    out = torch.zeros(shape[1], shape[0], *half, dtype=torch.complex128)
    signs = [s[::-1] for s in product((False, True), repeat=len(grid) - 1)]  # the first axis changes fastest
    for block, negative in zip(blocks, signs, strict=True):
        modes, last = shape[2:-1], shape[-1]
        parts = [slice(n - m, n) if minus else slice(0, m) for n, m, minus in zip(grid, modes, negative, strict=False)]
        out[(slice(None), slice(None), *parts, slice(0, last))] = block.detach().to("cpu", out.dtype).transpose(0, 1)
    return out


def translation_invariant_norm(
    function: Callable[[Tensor], Tensor],
    channels: int,
    size: Sequence[int],
    *,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
) -> Bracket:
    """Bracket the Euclidean norm of a linear map on a periodic grid that commutes with shifts, from its answers to impulses.

    The map is a circular convolution with its impulse responses, so the norm is that of the symbol at every frequency. That it
    is linear and commutes with shifts is looked at on random signals, which can refute it and does not prove it: the evidence
    is `DECLARED`.

    Args:
        function: maps `(batch, channels, *size)` to `(batch, c_out, *size)`.
        channels: channels of its input.
        size: the grid.
        dtype: type in which it is called.
        generator: source of the random signals and shifts; a fresh one with seed 0 by default.

    Returns:
        Both sides, assuming the map to be what it was declared to be. Cost: `channels` calls and a small matrix per frequency.

    Raises:
        InputError: it was seen not to be linear, or not to commute with a shift.
        ShapeError: another shape came back.

    Example:
        >>> import torch
        >>> found = translation_invariant_norm(lambda x: x - x.roll(1, -1), 1, (8,))
        >>> round(found.upper.value, 9)
        2.0
    """
    count("channels", channels, "pass the channels of the input")
    grid = _grid(size)
    source = generator or torch.Generator().manual_seed(0)
    cells = tuple(range(2, 2 + len(grid)))
    impulses = torch.zeros(channels, channels, *grid, dtype=dtype)
    impulses.flatten(2)[:, :, 0].fill_diagonal_(1.0)
    with torch.no_grad():
        response = function(impulses)
        if not isinstance(response, Tensor) or response.ndim != 2 + len(grid) or response.shape[2:] != grid:
            came = f"shape {tuple(response.shape)}" if isinstance(response, Tensor) else type(response).__name__
            raise ShapeError("function(x)", came, f"(batch, c_out, {', '.join(map(str, grid))})", "keep the grid")
        require_finite("function(impulse)", response, "repair the map")
        # Each value is a sum of that many products, in whatever order, of the responses and a signal.
        reach = float(response.abs().sum((0, *cells)).amax())
        unit = gamma(8 * (prod(grid) * channels + 8), dtype)
        for _ in range(_TRIALS):
            x, y = torch.randn(2, 1, channels, *grid, generator=source, dtype=dtype)
            a = 1 + float(torch.rand((), generator=source, dtype=dtype))
            peak = float(x.abs().amax()) * a + float(y.abs().amax())
            _same(
                "linear",
                function(a * x + y),
                a * function(x) + function(y),
                unit,
                reach * peak,
                "subtract its value at zero",
            )
            shift = [int(torch.randint(n, (), generator=source)) for n in grid]
            moved = function(x.roll(shift, cells))
            _same(
                f"invariant under the shift {shift}",
                moved,
                function(x).roll(shift, cells),
                unit,
                reach * peak,
                "use circular padding",
            )
    # The response at cell j to an impulse at 0 is the tap that reads -j; opposite frequencies have conjugate blocks, so the
    # sign does not matter.
    K = response.detach().to("cpu", torch.float64).transpose(0, 1)[None]
    ones = (1,) * len(grid)
    lower, upper, _ = torus_norm(K, Torus(grid, (0,) * len(grid)), stride=ones, dilation=ones)
    seen = (f"linear and translation invariant, as seen on {_TRIALS} random signals", "impulse responses as computed")
    return bracket((lower, upper), Euclidean(), "symbol of the impulse responses", Evidence.DECLARED, *seen)


def _same(what: str, came: Tensor, needed: Tensor, unit: float, size: float, remedy: str) -> None:
    gap = float((came - needed).abs().amax())
    slack = unit * (size + float(came.abs().amax()) + float(needed.abs().amax()))
    if not gap <= slack:
        raise InputError("function", f"a gap of {gap:.3g}", f"a map that is {what} (up to {slack:.3g})", remedy)
