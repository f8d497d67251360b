r"""Where the tokens of a batch stand, and which of them may see which.

Sentences of different lengths are padded to one batch, and the mask `visible` says which places hold tokens. Positions count the
tokens that can be seen, so a sentence has the same positions however it is padded. A place sees the places before it and itself as far as
they hold tokens; a place without a token sees only itself, so that its softmax is defined, and nobody sees it.

**Rotation.** Entries `(a, b)` of a head are one complex number, turned by the angle `position * base^{-2k/n}` for the `k`-th pair of
`n` rotated entries. Products of a turned query and a turned key depend on the difference of the two positions alone.

References:
    Su, Lu, Pan, Murtadha, Wen, Liu, RoFormer: Enhanced transformer with rotary position embedding, 2021, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.learned.recurrent_depth._size import BlockSize

__all__ = ["Geometry", "geometry_of", "rotate"]


@final
@dataclass(frozen=True, eq=False)
class Geometry:
    """What attention has to know of places, for the queries of one pass.

    Args:
        cos: of the angles of the queries' places, shape `(batch, 1, queries, pairs)`.
        sin: the same.
        allowed: whether a query may see a key, booleans, shape `(batch, 1, queries, keys)`.
        visible: whether a query's place holds a token, shape `(batch, queries, 1)`.
    """

    cos: Tensor
    sin: Tensor
    allowed: Tensor
    visible: Tensor


def geometry_of(visible: Tensor, size: BlockSize, dtype: torch.dtype, *, queries: int | None = None) -> Geometry:
    """Lay out a batch.

    Args:
        visible: which places hold tokens, booleans, shape `(batch, keys)`.
        size: of the blocks.
        dtype: of the states.
        queries: how many of the last places ask; all where `None`.

    Returns:
        The geometry of these queries.
    """
    keys = visible.shape[1]
    asked = keys if queries is None else queries
    # Counted in integers, turned in float64, so that far positions lose nothing.
    position = (visible.long().cumsum(dim=1) - 1).clamp_min(0)[:, keys - asked :]
    pairs = size.turned // 2
    rates = size.base ** (-torch.arange(pairs, dtype=torch.float64, device=visible.device) / max(1, pairs))
    angle = (position[..., None].double() * rates)[:, None]
    index = torch.arange(keys, device=visible.device)
    row, column = index[keys - asked :, None], index[None, :]
    allowed = ((column <= row) & visible[:, None, :]) | (column == row)
    return Geometry(angle.cos().to(dtype), angle.sin().to(dtype), allowed[:, None], visible[:, keys - asked :, None])


def rotate(x: Tensor, geometry: Geometry) -> Tensor:
    """Turn queries or keys by their positions.

    Args:
        x: shape `(batch, heads, queries, head)`.
        geometry: of the same places.

    Returns:
        The turned vectors; entries beyond the rotated ones are left alone.
    """
    pairs = geometry.cos.shape[-1]
    if pairs == 0:
        return x
    a, b, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    return torch.cat([a * geometry.cos - b * geometry.sin, a * geometry.sin + b * geometry.cos, rest], dim=-1)
