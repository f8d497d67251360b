"""Blocks of tangents of the input, and the norm of what an iteration makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz._matrix_norm import operator_norm
from eqtheory.nests import spread
from eqtheory.norms import Euclidean, Norm, host_sees, rows_of
from eqtheory.roundoff import unit_roundoff
from eqtheory.validate import require_finite

__all__ = ["Block", "input_block", "norm_of_block", "orthonormal"]

_WHOLE = 8
"""Up to this many coordinates the whole input space is the block, unless told otherwise."""

_DEFAULT = 4
_HALF = frozenset({torch.float16, torch.bfloat16})
_LOW, _HIGH = 1e-9, 1e9
"""Between these largest entries squares and their sums stay in the range of single precision, with all digits that count."""


@final
@dataclass(frozen=True, eq=False)
class Block:
    """Tangents of the flattened input.

    Args:
        directions: shape `(K, batch, n)`: orthonormal at every sample in l2, unit vectors in other norms.
        norm: norm on the input.
        spans: whether they are the standard basis, so that nothing is missed.
    """

    directions: Tensor
    norm: Norm
    spans: bool


def input_block(flat: Tensor, block: int | Tensor | None, norm: Norm, generator: Generator | None) -> Block:
    """Make a block.

    Args:
        flat: inputs as vectors, shape `(batch, n)`.
        block: how many tangents, the tangents themselves, shape `(K, n)`, or `None` for the default.
        norm: norm on the input.
        generator: of random directions.

    Returns:
        The block.

    Raises:
        InputError: no tangents, dependent tangents or zero ones.
        ShapeError: tangents of another length.
    """
    batch, n = flat.shape
    if block is None:
        block = n if n <= _WHOLE else _DEFAULT
    if isinstance(block, Tensor):
        if block.ndim != 2 or block.shape[1] != n or block.shape[0] == 0:
            raise ShapeError(
                "block", f"shape {tuple(block.shape)}", f"(K, {n})", "pass tangents of the flattened input"
            )
        require_finite("block", block, "repair it")
        rows, spans = block.to(flat), False
        if block.shape[0] > n or int(torch.linalg.matrix_rank(block.double())) < block.shape[0]:
            raise InputError("block", "tangents that depend on each other", "independent ones", "drop some")
    elif not isinstance(block, int) or isinstance(block, bool) or block < 1:
        raise InputError("block", str(block), "an integer >= 1 or tangents", "pass for example block=8")
    elif block >= n:
        rows, spans = torch.eye(n, dtype=flat.dtype, device=flat.device), True
    else:
        source = generator or torch.Generator(device=flat.device).manual_seed(0)
        rows = torch.randn(block, n, generator=source, dtype=flat.dtype, device=flat.device)
        spans = False
    if not isinstance(norm, Euclidean):
        rows = rows / norm(rows).unsqueeze(1)
    elif not spans:
        rows = orthonormal(rows)
    return Block(rows.unsqueeze(1).expand(-1, batch, -1).contiguous(), norm, spans)


def orthonormal(rows: Tensor) -> Tensor:
    """Orthonormal tangents with the same span; in half precision, where there are no decompositions, up to rounding.

    Entries rounded by `u` move `K` orthonormal rows by at most `u sqrt(K)` in the Frobenius norm, so that they are shrunk by
    twice as much first (the product rounds once more): what is stored has norm at most one, and nothing seen by it is too large.

    Args:
        rows: shape `(..., K, n)`, finite.

    Returns:
        The shape of `rows`.
    """
    found = torch.linalg.qr(_wide(rows).mT)[0].mT
    if rows.dtype in _HALF:
        found = found / (1 + 2 * unit_roundoff(rows.dtype) * rows.shape[-2] ** 0.5)
    return found.to(rows)


def _wide(t: Tensor) -> Tensor:
    """Half precision as single precision, in which there are decompositions and sums of squares do not overflow."""
    return t.float() if t.dtype in _HALF else t


def norm_of_block(V: Tensor, block: Block, norm: Norm) -> Tensor:
    """The norm of `c -> sum_k c_k V_k` as far as it is seen: a lower bound on the derivative's.

    Args:
        V: images of the tangents, shape `(K, batch, ...)`.
        block: the tangents.
        norm: norm on the states.

    Returns:
        Shape `(batch,)`; single precision where images are of half.
    """
    K, batch = V.shape[:2]
    V = _wide(V)
    if K == 1:
        return norm(V[0])
    flat = V.reshape(K, batch, -1)
    if isinstance(norm, Euclidean) and isinstance(block.norm, Euclidean):
        # Scaled where squares might leave the range; the largest eigenvalue of the Gram matrix keeps all its digits.
        peak = torch.linalg.vector_norm(flat, ord=torch.inf, dim=(0, 2))
        fine = host_sees(peak) and bool(((peak == 0) | ((peak > _LOW) & (peak < _HIGH))).all())
        peak = torch.ones_like(peak) if fine else peak
        unit = flat if fine else flat / torch.where(peak > 0, peak, 1.0).reshape(1, -1, 1)
        gram = torch.einsum("kbn,lbn->bkl", unit, unit)
        finite = torch.isfinite(gram).reshape(batch, -1).all(dim=1)
        top = torch.linalg.eigvalsh(torch.where(spread(finite, gram), gram, 0.0))[:, -1].clamp_min(0).sqrt() * peak
        return torch.where(finite, top, torch.inf)
    columns = torch.stack([norm(v) for v in V]).amax(dim=0)
    if not block.spans:
        return columns
    scale = rows_of(_wide(block.directions[:, 0])).diagonal()  # the basis, each vector divided by its norm
    J = flat.permute(1, 2, 0) / scale
    return torch.maximum(columns, operator_norm(J, norm=block.norm, output_norm=norm).lower.value.to(columns))
