"""Whether iterations come to rest, memory included: residuals of whole states, and how large the memory has become.

The error looks at `y` alone, which stays in its box. The memory of the rows need not stay anywhere: where it grows, there is no fixed
point, and an error that has levelled off by then is the error of a long transient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqtheory.learned import ProgramOperator, scaled
from experiments.linear_programming.reference import References
from experiments.linear_programming.training import relative_errors

__all__ = ["MOVES", "settling"]

MOVES = 1e-3
"""Relative residual above which an instance counts as one that still moves."""


@torch.no_grad()
def settling(G: ProgramOperator, found: References, steps: list[int]) -> dict[str, Any]:
    """Look at states after some numbers of iterations from zero.

    Args:
        G: the operator, float64.
        found: instances and solutions.
        steps: increasing, from 1.

    Returns:
        For every number of steps: `residual`, the relative residual `|G(s) - s| / (|s| + 1)` of whole states (median and largest);
        `moving`, the share of instances where it is above `MOVES`; `largest_memory` (median and largest of the instances'), and
        the mean `error` of `y`.
    """
    x = scaled(found.program)
    state, n = G.initial_state(x), x.costs.shape[1]
    seen: list[dict[str, Any]] = []
    for t in range(1, steps[-1] + 1):
        state = G(state, x)
        if t not in steps:
            continue
        residual = torch.linalg.vector_norm(G(state, x) - state, dim=1) / (torch.linalg.vector_norm(state, dim=1) + 1)
        seen.append(
            {
                "residual": _middle_and_largest(residual),
                "moving": float((residual > MOVES).double().mean()),
                "largest_memory": _middle_and_largest(state[:, n:].abs().amax(dim=1)),
                "error": float(relative_errors(state, found.y).mean()),
            }
        )
    return {"instances": len(found.y), "steps": steps, **{key: [row[key] for row in seen] for key in seen[0]}}


def _middle_and_largest(values: Tensor) -> dict[str, float]:
    return {"median": float(values.quantile(0.5)), "largest": float(values.max())}
