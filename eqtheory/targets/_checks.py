"""What every target refuses, and the rounding of every bound it gives."""

from __future__ import annotations

import torch
from torch import Tensor

from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.roundoff import unit_roundoff
from eqtheory.targets._arithmetic import U
from eqtheory.validate import batch_of

__all__ = ["outwards", "radii_of", "require_finite", "whole"]


def whole(mask: Tensor) -> Tensor:
    """Say which samples satisfy an entrywise condition in every entry.

    Args:
        mask: booleans, shape `(batch, ...)`.

    Returns:
        Booleans, shape `(batch,)`.
    """
    return mask if mask.ndim == 1 else mask.flatten(1).all(dim=1)


def require_finite(x: Tensor, value: Tensor) -> None:
    """Refuse values that overflowed.

    Args:
        x: the inputs, for the message.
        value: the computed values.

    Raises:
        NonFiniteError: with the first sample whose value is not finite.
    """
    finite = whole(torch.isfinite(value.detach()))
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        came = f"a point whose value {x.dtype} cannot hold, at sample {first}"
        raise NonFiniteError("x", came, "a finite value", "use a wider type, or drop that sample")


def radii_of(r: Tensor, batch: int) -> Tensor:
    """Require one positive finite radius per ball.

    Args:
        r: what came.
        batch: number of balls.

    Returns:
        The radii in float64, shape `(batch,)`.

    Raises:
        InputError: a radius that is not positive.
        ShapeError: another number of radii.
    """
    radius = batch_of("r", r, trailing=()).double()
    if radius.shape[0] != batch:
        raise ShapeError("r", f"shape {tuple(r.shape)}", f"({batch},), one radius per centre", "expand it")
    if not bool((radius > 0).all()):
        first = int((radius <= 0).nonzero()[0])
        raise InputError("r", f"{float(radius[first])} at sample {first}", "r > 0", "a ball needs a positive radius")
    return radius


def outwards(bound: Tensor, ulps: float, dtype: torch.dtype) -> Tensor:
    """Round an upper bound upwards.

    Args:
        bound: computed in float64; NaN comes from infinity minus infinity, where nothing finite is known.
        ulps: relative rounding error of the computation, in unit roundoffs.
        dtype: type of the result.

    Returns:
        A bound that is not below the exact value of the formula; infinity in place of NaN.
    """
    # Relative for rounding, absolute below the normal range, where a positive bound may have been flushed to zero.
    raised = torch.nan_to_num(bound, nan=torch.inf, posinf=torch.inf) * (1 + ulps * U) + torch.finfo(torch.float64).tiny
    if dtype == torch.float64:
        return raised
    return (raised * (1 + 2 * unit_roundoff(dtype)) + torch.finfo(dtype).tiny).to(dtype)
