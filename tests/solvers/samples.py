"""A batch in which every sample ends in its own way."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["INPUTS", "STARTS", "mixed"]


def mixed(y: Tensor, x: Tensor) -> Tensor:
    """By the input: halves, counts up to NaN or infinity at 4, flips its sign, doubles."""
    broken = torch.where(x == -1, torch.nan, torch.inf)
    counting = torch.where(y >= 4, broken, y + 1)
    g = torch.where(x < 0, counting, 0.5 * y + x)
    g = torch.where(x == 7, -y, g)
    return torch.where(x == 8, 2 * y + 1, g)


INPUTS = torch.tensor([1.0, -1.0, 3.0, -2.0, 7.0, 8.0, 1e-3], dtype=torch.float64)
STARTS = torch.tensor([0.0, 0.0, 1e3, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
