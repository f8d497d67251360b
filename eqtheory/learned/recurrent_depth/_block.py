r"""One block: attention and a gated feed-forward layer, each between two root-mean-square norms.

    u = n2(v + attention(n1(v))),        block(v) = n4(u + feedforward(n3(u))).

The outer norms keep states of any number of iterations on one scale, without which deep recurrences drift. Attention is written out in
plain operations, since forward derivatives and derivatives of derivatives of these exist everywhere.

References:
    Geiping, McLeish, Jain, Kirchenbauer, Singh, Bartoldson, Kailkhura, Bhatele, Goldstein, Scaling up test-time compute with latent
    reasoning: a recurrent depth approach, 2025, section 3.2; Zhang and Sennrich, Root mean square layer normalization, 2019.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from eqtheory.learned.recurrent_depth._geometry import Geometry, rotate
from eqtheory.learned.recurrent_depth._size import BlockSize

__all__ = ["Block", "RootMeanSquareNorm", "initialise"]

Pair = tuple[Tensor, Tensor]
_FLOOR = 1e-6
"""Added to the mean square: a zero state is mapped to zero, and the slope there is a thousand times the weight."""


@final
class RootMeanSquareNorm(nn.Module):
    """Divide by the root of the mean square, entry by entry times a weight.

    Args:
        width: of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise.

        Args:
            x: shape `(..., width)`.

        Returns:
            The same shape.
        """
        return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + _FLOOR) * self.weight


@final
class Attention(nn.Module):
    """Causal attention of several heads with rotated queries and keys.

    Args:
        size: widths and heads.
    """

    def __init__(self, size: BlockSize) -> None:
        super().__init__()
        self.size = size
        self.into = nn.Linear(size.width, 3 * size.width, bias=False)
        self.out = nn.Linear(size.width, size.width, bias=False)

    def forward(self, x: Tensor, geometry: Geometry, past: Pair | None = None) -> tuple[Tensor, Pair]:
        """Attend.

        Args:
            x: shape `(batch, queries, width)`.
            geometry: of the queries, among all keys.
            past: keys and values of the places before the queries, each `(batch, heads, keys - queries, head)`.

        Returns:
            The result, the shape of `x`, and keys and values of the queries' own places.
        """
        batch, queries, width = x.shape
        q, k, v = self.into(x).reshape(batch, queries, 3, self.size.heads, self.size.head).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, geometry), rotate(k, geometry)
        keys, values = (k, v) if past is None else (torch.cat([past[0], k], 2), torch.cat([past[1], v], 2))
        scores = (q @ keys.transpose(-1, -2)) * self.size.head**-0.5
        weights = scores.masked_fill(~geometry.allowed, -torch.inf).softmax(dim=-1)
        return self.out((weights @ values).transpose(1, 2).reshape(batch, queries, width)), (k, v)


@final
class Block(nn.Module):
    """Attention and a gated feed-forward layer.

    Args:
        size: of the block.
    """

    def __init__(self, size: BlockSize) -> None:
        super().__init__()
        self.attention = Attention(size)
        self.up = nn.Linear(size.width, 2 * size.feedforward, bias=False)
        self.down = nn.Linear(size.feedforward, size.width, bias=False)
        self.norms = nn.ModuleList(RootMeanSquareNorm(size.width) for _ in range(4))

    def forward(self, x: Tensor, geometry: Geometry, past: Pair | None = None) -> tuple[Tensor, Pair]:
        """Apply the block.

        Args:
            x: shape `(batch, queries, width)`.
            geometry: of the queries, among all keys.
            past: keys and values before the queries.

        Returns:
            The result, the shape of `x`, and keys and values of the queries' own places.
        """
        found, pair = self.attention(self.norms[0](x), geometry, past)
        x = self.norms[1](x + found)
        gate, value = self.up(self.norms[2](x)).chunk(2, dim=-1)
        return self.norms[3](x + self.down(functional.silu(gate) * value)), pair


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw all matrices of a module so that vectors keep their scale; norms stay at one.

    Args:
        module: the module.
        generator: where the numbers come from; torch's own state where `None`.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=part.in_features**-0.5, generator=generator)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, generator=generator)
