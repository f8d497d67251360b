r"""Spectral radius and transient growth of a matrix that need not be normal, both with proof.

**Spectral radius.** Gelfand: `rho(J) <= |J^k|^(1/k)` for every `k`, in every operator norm, and the right side tends to `rho`.
From below, `|tr J^k| <= n rho^k`, since the trace is the sum of the `k`-th powers of the eigenvalues. Powers `k = 2^j` by
squaring: if `B` is off from `J^k` by at most `e` in the Frobenius norm, `fl(B B)` is off from `J^2k` by at most `gamma_n |B|^2
+ 2 |B| e + e^2`. All is done for `D^{-1} J D`, which has the same eigenvalues, with `D` diagonal, of powers of two (so that
nothing is rounded), near the Perron vector of `|J|`: far less is then lost where `J` is not normal. Eigenvalues from a
decomposition, complex pairs included, are reported beside the bracket; they prove nothing, as eigenvalues can move by `u^(1/m)`
under a rounding (Jordan blocks of size `m`).

**Transient growth.** `sup_t |J^t|` over all `t >= 0` is found in finite time once some `|J^s| <= 1`: then `|J^(qs+r)| <=
|J^s|^q |J^r|`, so the supremum is `max_{r < s} |J^r|`. It is the factor by which errors may grow before they shrink. With `rho
< 1` such an `s` exists. The computed `P_{t+1} = fl(P_t J)` is off from `J^(t+1)` by `sum_k E_k J^(t-k)` with `|E_k| <= gamma_n
|P_k| |J|`; the norms of the powers on the right are those found before.

References:
    Gelfand 1941; Trefethen and Embree 2005, Spectra and Pseudospectra, chapters 14 and 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz._balancing import balanced, power_of_two, scaled
from eqtheory.lipschitz._matrix_norm import operator_norm
from eqtheory.norms import Euclidean, Norm
from eqtheory.roundoff import gamma
from eqtheory.validate import count, require_finite

__all__ = ["SpectralRadius", "TransientGrowth", "spectral_radius", "transient_growth"]

_SQUARINGS = 24
_MOST = 60
_NORMAL, _LEAST, _LARGEST = 2.0**-1022, 2.0**-1074, torch.finfo(torch.float64).max
_FLOOR = 2.0**-900


@final
@dataclass(frozen=True, eq=False)
class SpectralRadius:
    """How fast powers of a matrix shrink in the end.

    Args:
        bracket: proved bounds on the spectral radius, shape `(...)`.
        eigenvalues: all of them as a decomposition gives them, complex, the largest in modulus first, shape `(..., n)`: estimates.
    """

    bracket: Bracket
    eigenvalues: Tensor

    @property
    def estimate(self) -> Bound:
        """The largest modulus of the computed eigenvalues."""
        value = self.eigenvalues[..., 0].abs()
        return Bound(value, Side.ESTIMATE, "eigenvalues as computed", Evidence.ESTIMATED)

    @property
    def oscillates(self) -> Tensor:
        """Whether the leading eigenvalue is negative or one of a complex pair: iterates then approach in turns or spirals."""
        lead = self.eigenvalues[..., 0]
        return (lead.imag.abs() > 1e-9 * lead.abs()) | (lead.real < 0)


def spectral_radius(matrix: Tensor, *, squarings: int = _SQUARINGS) -> SpectralRadius:
    """Bracket the spectral radius.

    Args:
        matrix: shape `(..., n, n)`, real.
        squarings: powers up to `2^squarings` are looked at; rounding makes more than 30 useless.

    Returns:
        The bracket and the eigenvalues. Cost: a decomposition and `squarings` products.

    Raises:
        ShapeError: not square, or empty.
        InputError: more squarings than make sense.
        NonFiniteError: NaN or infinity.

    Example:
        >>> import torch
        >>> found = spectral_radius(torch.tensor([[0.5, 100.0], [0.0, 0.5]]))
        >>> round(float(found.bracket.lower.value), 2), round(float(found.bracket.upper.value), 2)
        (0.5, 0.5)
    """
    J = _square(matrix)
    if count("squarings", squarings, "pass for example squarings=24") > _MOST:
        raise InputError("squarings", str(squarings), f"at most {_MOST}", "rounding makes more than 30 useless")
    n = J.shape[-1]
    upper = torch.full(J.shape[:-2], torch.inf, dtype=J.dtype, device=J.device)
    lower = torch.zeros_like(upper)
    # J^k is 2^exponent B, off by at most 2^exponent error; powers of two scale exactly and keep squares in range.
    B, exponent, lost = balanced(J)
    values = _eigenvalues(B, exponent)
    error = torch.where(lost, n * 2.0**-1072, torch.zeros_like(upper))
    for j in range(squarings + 1):
        k = 2.0**j
        size = _frobenius(B)
        room = (size + error) * (1 + gamma(4, J.dtype))
        found = _root(room, exponent, k) * (1 + _lost(room, exponent, k))
        # Below the normal numbers a result may be off by half of the smallest number, whatever its size.
        found = torch.where((room > 0) & (found < _NORMAL), found + 2 * _LEAST, found)
        upper = torch.minimum(upper, found)
        trace = (B.diagonal(dim1=-2, dim2=-1).sum(-1).abs() * (1 - gamma(n, J.dtype)) - n**0.5 * error).clamp_min(0)
        # A rounded sum can exceed the true one by gamma_n times the sum of sizes.
        trace = (trace - gamma(n, J.dtype) * B.diagonal(dim1=-2, dim2=-1).abs().sum(-1)).clamp_min(0)
        found = _root(trace / n, exponent, k) * (1 - _lost(trace / n, exponent, k))
        found = torch.where(found < _NORMAL, (found - 2 * _LEAST).clamp_min(0), found.clamp_max(_LARGEST))
        lower = torch.maximum(lower, found)
        if j == squarings:
            break
        error = torch.where(
            size + error > 0,  # squares of small errors must not become zero
            ((gamma(n, J.dtype) * size**2 + 2 * size * error + error**2) * (1 + gamma(8, J.dtype))).clamp_min(_FLOOR),
            0.0,
        )
        B = B @ B
        # By the larger of the two: where all has cancelled down to rounding, the error alone would leave the range.
        shift = _binary_order(torch.maximum(B.abs().amax(dim=(-2, -1)), error))
        B, error = scaled(B, -shift[..., None, None]), error * power_of_two(-shift)
        exponent = 2 * exponent + shift.to(J.dtype)
    bracket = Bracket(
        Bound(lower, Side.LOWER, "traces of powers", Evidence.PROVED),
        Bound(upper, Side.UPPER, "norms of powers", Evidence.PROVED),
    )
    return SpectralRadius(bracket, values)


def _eigenvalues(B: Tensor, exponent: Tensor) -> Tensor:
    """Eigenvalues of `2^exponent B`, which is balanced: those of what it was balanced from may not be found, or be far off.

    Returns:
        Complex numbers, the largest first.
    """
    values = torch.linalg.eigvals(B)
    order = values.abs().argsort(dim=-1, descending=True)
    parts = torch.view_as_real(values.gather(-1, order))
    return torch.view_as_complex(scaled(parts, exponent[..., None, None]))


def _binary_order(size: Tensor) -> Tensor:
    """The power of two below a number, 0 for zero.

    Returns:
        Whole numbers, the shape of `size`.
    """
    return torch.where(size > 0, torch.frexp(size).exponent - 1, 0)


def _root(value: Tensor, exponent: Tensor, k: float) -> Tensor:
    """`(2^exponent value)^(1/k)`, zero at zero.

    Returns:
        The shape of `value`.
    """
    return torch.where(value > 0, torch.exp2((torch.log2(torch.where(value > 0, value, 1.0)) + exponent) / k), 0.0)


def _lost(value: Tensor, exponent: Tensor, k: float) -> Tensor:
    """What `_root` may be off by, relatively: logarithms err by a few units of their size, which the root divides by `k`.

    Returns:
        The shape of `value`.
    """
    size = exponent.abs() + torch.log2(torch.where(value > 0, value, 1.0)).abs()
    # Exponents beyond 2^53 are rounded as well, once a squaring.
    return 2.0**-46 * (size / k + 1)


def _frobenius(B: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(B) * (1 + gamma(B.shape[-1] ** 2 + 2, B.dtype))


@final
@dataclass(frozen=True, eq=False)
class TransientGrowth:
    """How far errors may grow before they shrink.

    Args:
        norms: upper bounds on `|J^t|` for `t = 0, 1, ...`, shape `(steps + 1, ...)`.
        lower: lower bounds on the same.
        settled: the first `s >= 1` with `|J^s| <= 1` proved, shape `(...)`; -1 where none was found.
        norm: the norm.
    """

    norms: Tensor
    lower: Tensor
    settled: Tensor
    norm: str

    @property
    def peak(self) -> Bracket:
        """`sup_t |J^t|` over all `t`; the upper side is infinite where no power was seen to be at most 1."""
        within = torch.arange(self.norms.shape[0], device=self.norms.device).reshape(-1, *[1] * (self.norms.ndim - 1))
        counted = torch.where((within < self.settled) | (within == 0), self.norms, 0.0).amax(dim=0)
        upper = torch.where(self.settled > 0, counted, torch.inf)
        lower = torch.minimum(self.lower.amax(dim=0), upper)
        return Bracket(
            Bound(lower, Side.LOWER, "norms of powers", Evidence.PROVED, self.norm),
            Bound(upper, Side.UPPER, "norms of powers up to the first at most 1", Evidence.PROVED, self.norm),
        )


def transient_growth(matrix: Tensor, *, steps: int = 200, norm: Norm | None = None) -> TransientGrowth:
    """Norms of powers, and their supremum over all times.

    Args:
        matrix: shape `(..., n, n)`, real.
        steps: the highest power.
        norm: the norm; Euclidean by default.

    Returns:
        Norms by time, from both sides. Cost: `steps` products and norms; stops early once a power of every matrix is at most 1.

    Raises:
        ShapeError: not square.
        InputError: powers overflow.

    Example:
        >>> import torch
        >>> found = transient_growth(torch.tensor([[0.5, 100.0], [0.0, 0.5]])).peak
        >>> round(float(found.upper.value), 2)
        100.0
    """
    J = _square(matrix)
    count("steps", steps, "pass for example steps=200")
    chosen = norm or Euclidean()
    n = J.shape[-1]
    power, size = torch.eye(n, dtype=J.dtype, device=J.device).expand(J.shape), _frobenius(J)
    # An error of e in the Frobenius norm moves the norm by at most this much.
    factor = 1.0 if isinstance(chosen, Euclidean) else _equivalence(chosen, n)
    uppers, lowers = [torch.ones_like(size)], [torch.ones_like(size)]
    norms = size.new_zeros(steps + 1, *size.shape)  # uppers once more, and |E_k| in the Frobenius norm
    roundings = size.new_zeros(steps, *size.shape)
    norms[0] = 1
    settled = torch.full(J.shape[:-2], -1, dtype=torch.int64, device=J.device)
    for t in range(1, steps + 1):
        roundings[t - 1] = gamma(n, J.dtype) * _frobenius(power) * size
        # |E_k J^(t-1-k)|, with factor^2 where the norm is not Euclidean, since |J^s|_2 is at most factor |J^s|.
        lost = (roundings[:t] * norms[:t].flip(0)).sum(dim=0) * factor**2 * (1 + gamma(4 * t, J.dtype))
        power = power @ J
        if not bool(torch.isfinite(power).all()):
            raise InputError(
                "steps", f"powers that overflow at {t}", "powers within the range of the type", "ask for fewer steps"
            )
        found = operator_norm(power, norm=chosen)
        uppers.append((found.upper.value + lost) * (1 + gamma(2, J.dtype)))
        norms[t] = uppers[-1]
        lowers.append((found.lower.value - lost).clamp_min(0))
        settled = torch.where((settled < 0) & (uppers[-1] <= 1), t, settled)
        if bool((settled > 0).all()):
            break
    return TransientGrowth(torch.stack(uppers), torch.stack(lowers), settled, chosen.name)


def _equivalence(norm: Norm, n: int) -> float:
    """How much larger the operator norm of a matrix can be than its Frobenius norm.

    Returns:
        A factor: for columns and rows of length `n`, the ratio of the norms of unit vectors at most squared.
    """
    eye = torch.eye(n, dtype=torch.float64)
    long = float(norm(eye).amax()) * n  # |v| <= sum |v_i| |e_i| <= sqrt(n) max |e_i| |v|_2, squared against rounding
    # |v|_2 <= c |v|: the dual norm of a unit vector of l2 is at most sqrt(n) times that of a basis vector.
    short = float((norm.aligned(eye) * eye).sum(dim=1).amax()) * n
    return long * short


def _square(matrix: Tensor) -> Tensor:
    if not isinstance(matrix, Tensor) or matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.is_complex():
        came = f"shape {tuple(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ShapeError("matrix", came, "a real (..., n, n)", "pass the Jacobian in the state")
    if matrix.shape[-1] == 0:
        raise ShapeError("matrix", "an empty one", "at least one row", "skip the call")
    require_finite("matrix", matrix, "repair it")
    return matrix.detach().to(torch.float64)
