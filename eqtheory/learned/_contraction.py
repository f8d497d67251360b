r"""How fast a learned operator contracts where it is used, as a number that training can push down.

Picard's iterates leave the slowest mode of `dG/dy` last: the residual `r = G(y) - y` near the end of a solve lies along the directions in
which the operator contracts least. So

    |G(y + r) - G(y)| / |r|

is a lower bound on the contraction factor (it is a slope of `G`), and one that looks where the factor is attained. After solvers that
remove slow modes first, such as Anderson's, it shows less than after plain steps. It costs two evaluations and is differentiable; a
penalty on its excess over a wanted factor keeps equilibria stable, without which more iterations at test time than in training end in
a slow drift. Nothing is proved by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eqtheory.nests import map_tensors
from eqtheory.norms import Euclidean
from eqtheory.operators import ImplicitOperator, as_operator
from eqtheory.roundoff import unit_roundoff

__all__ = ["residual_contraction"]


def residual_contraction(operator: ImplicitOperator | Callable[[Tensor, Any], Tensor], y: Tensor, x: Any) -> Tensor:
    """Measure the slope of an operator along its own residual.

    Args:
        operator: the operator `G`.
        y: states near the end of a solve, shape `(batch, ...)`; no derivative flows into them.
        x: inputs.

    Returns:
        `|G(y + r) - G(y)| / |r|` with `r = G(y) - y`, Euclidean, shape `(batch,)`: a lower bound on the contraction factor at each
        sample, up to the rounding of `G`, differentiable in the operator's parameters. Zero where the residual is rounding.
        Cost: three evaluations, one of them without derivatives.

    Theorem: T1.

    Example:
        >>> import torch
        >>> residual_contraction(lambda y, x: 0.5 * y + x, torch.zeros(2, 3), torch.ones(2, 3))
        tensor([0.5000, 0.5000])
    """
    G, norm = as_operator(operator), Euclidean()
    y = y.detach()
    with torch.no_grad():
        r = G(y, x) - y
    both = G(torch.cat([y, y + r]), map_tensors(lambda t: torch.cat([t, t]), x))
    before, after = both.chunk(2)
    length = norm(r)
    seen = length > 64 * unit_roundoff(y.dtype) * norm(y)
    safe = torch.where(seen, length, torch.ones_like(length))
    change = torch.where(seen.reshape(-1, *[1] * (y.ndim - 1)), after - before, torch.zeros_like(y))
    return norm(change) / safe
