"""A batch in which every sample ends in its own way, and matrices with chosen eigenvalues."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["INPUTS", "STARTS", "matvec", "mixed", "with_spectrum"]


def mixed(y: Tensor, x: Tensor) -> Tensor:
    """By the input: halves, counts up to NaN or infinity at 4, flips its sign, doubles."""
    broken = torch.where(x == -1, torch.nan, torch.inf)
    counting = torch.where(y >= 4, broken, y + 1)
    g = torch.where(x < 0, counting, 0.5 * y + x)
    g = torch.where(x == 7, -y, g)
    return torch.where(x == 8, 2 * y + 1, g)


INPUTS = torch.tensor([1.0, -1.0, 3.0, -2.0, 7.0, 8.0, 1e-3], dtype=torch.float64)
STARTS = torch.tensor([0.0, 0.0, 1e3, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)


def matvec(W: Tensor, v: Tensor) -> Tensor:
    return (W * v.unsqueeze(-2)).sum(dim=-1)


def with_spectrum(*eigenvalues: float, n: int = 30, normal: bool = True) -> Tensor:
    g = torch.Generator().manual_seed(1)
    basis = torch.randn(n, n, generator=g, dtype=torch.float64)
    basis = torch.linalg.qr(basis)[0] if normal else basis
    values = torch.tensor(eigenvalues, dtype=torch.float64).repeat(n // len(eigenvalues) + 1)[:n]
    return basis @ torch.diag(values) @ torch.linalg.inv(basis)
