r"""Diagonal scaling of matrices whose entries may differ by as much as the range of the type allows.

`D^{-1} J D` has the eigenvalues of `J`, and with `D` the Perron vector of `|J|` its rows have sums as small as they can be. That vector is
sought on logarithms first, by `p <- (p + max_j (log|J_ij| + p_j)) / 2`: an average with a map that is nonexpansive in the sup norm, which
keeps its fixed points where plain iteration would go around in circles; then, for what is left, by powers of the scaled matrix. Any `D`
will do for what is proved. Powers of two are shifted as whole numbers, with the exponent of the largest entry kept apart, so that nothing
overflows, and what underflows is off by less than `2^-1072` of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["balanced", "power_of_two", "scaled"]

_NEVER = 1 << 40
_STEADY = 0.01
_REACH = 700
"""Powers of two on the diagonal go so far: entries are shifted by at most 1400, and as much again and 1074 for the largest one."""


def power_of_two(k: Tensor) -> Tensor:
    """`2^k` without rounding, from its bits.

    Args:
        k: whole numbers between -1022 and 1023.

    Returns:
        Float64, the shape of `k`.
    """
    return ((k.to(torch.int64) + 1023) << 52).view(torch.float64)


def scaled(B: Tensor, shift: Tensor) -> Tensor:
    """`2^shift B`, for shifts beyond what one number can hold; entries that underflow are rounded at most four times, below `2^-1072`.

    Args:
        B: float64.
        shift: whole numbers of size at most 4000.

    Returns:
        The shape of `B`.
    """
    left = shift.to(torch.int64)
    for _ in range(4):
        part = left.clamp(-1000, 1000)
        B, left = B * power_of_two(part), left - part
    return B


def balanced(J: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`D^{-1} J D` with powers of two near the Perron vector of `|J|` on the diagonal of `D`, and the largest entry scaled to order one.

    Args:
        J: float64, finite, shape `(..., n, n)`.

    Returns:
        The similar matrix; the exponent `e` for which `2^e` times it is meant; and whether entries have underflowed, each of which is
        then off by less than `2^-1072`.
    """
    gross = _log_perron(J)
    B = _apart(J, gross)[0]
    size = B.abs()
    size = size + 1e-12 * size.amax(dim=(-2, -1), keepdim=True)  # all positive, so that there is a Perron vector
    v = torch.ones_like(J[..., 0])
    for _ in range(100):
        v = (size @ v.unsqueeze(-1)).squeeze(-1)
        v = v / torch.where(v.amax(-1, keepdim=True) > 0, v.amax(-1, keepdim=True), 1.0)
    return _apart(J, _within_reach(gross + torch.log2(torch.where(v > 0, v, 1.0))))


def _log_perron(J: Tensor) -> Tensor:
    """Logarithms of the Perron vector of `|J|`, as far as entries differ by orders of magnitude.

    Returns:
        Numbers of size at most `_REACH`, shape `(..., n)`.
    """
    mantissa, exponent = torch.frexp(J.abs())
    logs = torch.where(mantissa > 0, torch.log2(torch.where(mantissa > 0, mantissa, 1.0)) + exponent, -torch.inf)
    least = torch.where(torch.isfinite(logs), logs, torch.inf).amin(dim=(-2, -1), keepdim=True)
    least = torch.where(torch.isfinite(least), least, 0.0)
    # No row is empty, and nilpotent matrices have a vector too, within reach: along a chain of `n` entries with nothing on the diagonal
    # it falls by the gap every time. Diagonals themselves are not moved by scaling.
    on_diagonal = torch.eye(J.shape[-1], dtype=torch.bool, device=J.device)
    logs = torch.where(on_diagonal, torch.maximum(logs, least - 2 * _REACH / J.shape[-1]), logs)
    p = torch.zeros_like(J[..., 0])
    for _ in range(100 + 4 * J.shape[-1]):  # what one entry asks for reaches the others step by step
        image = (logs + p.unsqueeze(-2)).amax(dim=-1)
        last, p = p, _within_reach(0.5 * (p + image))
        if not bool(((p - last).abs() > _STEADY).any()):
            break
    return p


def _within_reach(p: Tensor) -> Tensor:
    """Logarithms of a multiple of the same vector, or of a power of it where it reaches too far.

    Returns:
        Numbers of size at most `_REACH`, the shape of `p`.
    """
    p = p - 0.5 * (p.amax(dim=-1, keepdim=True) + p.amin(dim=-1, keepdim=True))
    return p * (_REACH / p.abs().amax(dim=-1, keepdim=True).clamp_min(_REACH))


def _apart(J: Tensor, powers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`2^-e D^{-1} J D` and `e`, the exponent of the largest entry of `D^{-1} J D`, which itself may be out of range.

    Returns:
        The matrix, whole numbers of shape `(...)`, and whether entries may have lost digits.
    """
    whole = torch.round(powers).to(torch.int64)
    shift = whole.unsqueeze(-2) - whole.unsqueeze(-1)
    orders = torch.frexp(J).exponent - 1 + shift
    exponent = torch.where(J != 0, orders, -_NEVER).amax(dim=(-2, -1))
    exponent = torch.where(exponent > -_NEVER, exponent, 0)
    # An entry of order at least -1022 + 52 keeps all of its 53 digits.
    lost = ((J != 0) & (orders - exponent[..., None, None] < -970)).flatten(-2).any(dim=-1)
    return scaled(J, shift - exponent[..., None, None]), exponent.to(J.dtype), lost
