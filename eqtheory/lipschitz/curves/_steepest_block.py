"""The block of tangents on which the last iterate is steepest, by subspace iteration: `W <- orth(Dy_T^T Dy_T W)`.

Products with the transpose run the iteration backwards: with `U_T` a block of cotangents of `y_T`,

    U_t = a_t U_{t+1} + c_t dG/dy(y_t, x)^T U_{t+1},      and   Dy_T^T U_T = sum_t c_t dG/dx(y_t, x)^T U_{t+1},

one product with the transpose at every step, at states that were kept. Starts are taken as constants.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqtheory.lipschitz.curves._block import Block, orthonormal
from eqtheory.lipschitz.curves._iteration import Averaging, combined
from eqtheory.lipschitz.curves._tangents import Propagator
from eqtheory.nests import Raveled
from eqtheory.operators import ImplicitOperator, Linearization

__all__ = ["steepest_block"]


def steepest_block(
    G: ImplicitOperator,
    x: Any,
    start: Tensor,
    steps: int,
    weights: Averaging,
    block: Block,
) -> Block:
    """One round of subspace iteration.

    Args:
        G: the operator.
        x: inputs.
        start: the states from which iterations start.
        steps: the iterate that is to be steep.
        weights: of every step.
        block: where to begin.

    Returns:
        A block of the same width, orthonormal at every sample.
    """
    batch, n = start.shape[0], start[0].numel()
    raveled = Raveled(x, batch)
    flat = raveled.flat(x).to(start.dtype)
    push = Propagator(G, x, start, block.directions, weights)
    y, states = start, []
    V = V0 = start.new_zeros(block.directions.shape[0], *start.shape)
    for t in range(steps):
        states.append(y)
        values, moved = push.images(y, V, V0, [t])
        y, V = combined(weights(t), y, start, values[0]), combined(weights(t), V, V0, moved[0])
    U = V.reshape(V.shape[0], batch, n)
    found = torch.zeros_like(block.directions)
    for t in reversed(range(steps)):
        a, _, c = weights(t)
        joint = torch.cat([states[t].reshape(batch, n), flat], dim=1)
        here = Linearization(
            lambda z, _: G(z[:, :n].reshape(start.shape), raveled.nest(z[:, n:])).reshape(batch, n), joint, None
        )
        pulled = torch.stack([here.pull(u) for u in U])
        U = a * U + c * pulled[..., :n]
        found = found + c * pulled[..., n:]
    good = torch.isfinite(found).all(dim=2).all(dim=0) & (found.abs().amax(dim=2) > 0).all(dim=0)
    best = orthonormal(torch.where(good.reshape(1, -1, 1), found, block.directions).transpose(0, 1))
    return Block(best.transpose(0, 1).contiguous(), block.norm, block.spans)
