"""Points that hurt: samples concentrated where maps are steep, at every order of magnitude.

A uniform sample of `(0, 1]` almost never sees a slope of `1/x` above a million. Distances to a singular set are therefore drawn
log-uniformly, so that every decade is visited equally often.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

__all__ = ["constant", "log_uniform", "mixture", "normal", "orthogonal", "signs", "uniform", "unit_vectors"]


def _rand(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)


def normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Draw standard normal numbers.

    Args:
        shape: shape of the result.
        generator: source of randomness.

    Returns:
        float64 tensor of that shape.
    """
    return torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)


def uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """Draw uniformly from an interval that contains its upper end but not its lower one.

    Args:
        n: number of samples.
        low: lower end.
        high: upper end.
        generator: source of randomness.

    Returns:
        Shape `(n,)`, float64.
    """
    return high - (high - low) * _rand((n,), generator)


def constant(n: int, value: float, generator: Generator) -> Tensor:
    """Repeat one point, so that a mixture visits it for certain.

    Args:
        n: number of samples.
        value: the point.
        generator: only its device is looked at.

    Returns:
        Shape `(n,)`, float64.
    """
    return torch.full((n,), value, dtype=torch.float64, device=generator.device)


def log_uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """Draw positive numbers whose logarithm is uniform.

    Args:
        n: number of samples.
        low: smallest value, positive.
        high: largest value.
        generator: source of randomness.

    Returns:
        Shape `(n,)`, float64.
    """
    return torch.exp(uniform(n, math.log(low), math.log(high), generator))


def signs(n: int, generator: Generator) -> Tensor:
    """Draw signs.

    Args:
        n: number of samples.
        generator: source of randomness.

    Returns:
        Shape `(n,)`, entries -1.0 and 1.0.
    """
    return 1.0 - 2.0 * torch.round(_rand((n,), generator))


def unit_vectors(n: int, dimension: int, generator: Generator) -> Tensor:
    """Draw directions uniformly from the sphere.

    Args:
        n: number of samples.
        dimension: of the space.
        generator: source of randomness.

    Returns:
        Shape `(n, dimension)`, Euclidean norm 1.
    """
    v = normal((n, dimension), generator)
    return v / torch.linalg.vector_norm(v, dim=1, keepdim=True)


def orthogonal(n: int, dimension: int, generator: Generator) -> Tensor:
    """Draw orthogonal matrices.

    Args:
        n: number of samples.
        dimension: rows and columns.
        generator: source of randomness.

    Returns:
        Shape `(n, dimension, dimension)`.
    """
    q, _ = torch.linalg.qr(normal((n, dimension, dimension), generator))
    return q


def mixture(generator: Generator, *parts: Tensor) -> Tensor:
    """Pick each sample from one of several sources, all equally likely.

    Args:
        generator: source of randomness.
        parts: tensors of one shape `(n, ...)`.

    Returns:
        Shape `(n, ...)`.
    """
    stacked = torch.stack(parts)
    n = stacked.shape[1]
    which = (_rand((n,), generator) * len(parts)).long().clamp_max(len(parts) - 1)
    return stacked[which, torch.arange(n, device=stacked.device)]
