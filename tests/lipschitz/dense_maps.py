"""The oracle of the tests of structured norms: the dense matrix of a linear map, column by column from a basis."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor


def dense_matrix(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Tensor:
    """Columns are the images of the basis, all in one batch."""
    n = prod(shape)
    with torch.no_grad():
        images = function(torch.eye(n, dtype=torch.float64).reshape(n, *shape))
    return images.reshape(n, -1).mT


def true_norm(matrix: Tensor, name: str) -> float:
    order = {"l2": 2, "l1": 1, "sup": torch.inf}[name]
    return float(torch.linalg.matrix_norm(matrix, ord=order))
