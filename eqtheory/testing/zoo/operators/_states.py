"""Operators that do not contract in the state: everywhere, nearly nowhere, in the wrong norm, at some inputs only.

The hidden ones use `b(r) = 1/2 log(1 + r^2)`, whose derivative `r/(1 + r^2)` is at most 1/2, at `r = 1`, and falls like `1/r`:
slowly enough for an ascent on slopes to feel it from far away, while the region of slope above one has the width `1e-3` that no
sampler meets in dimension 4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eqtheory.testing.zoo.operators._case import (
    ANY,
    DIMENSION,
    HIDDEN,
    REFUTED,
    AuditCase,
    expected,
    matrix,
    normal,
    uniform,
)
from eqtheory.testing.zoo.pointwise_contraction import PointwiseContraction

__all__ = ["NOT_CONTRACTIVE", "PLACE", "WIDTH"]

WIDTH = 1e-3
"""Width of the region in which hidden operators expand."""

PLACE = (0.3, -0.2, 0.55, 0.1)
"""Where that region lies."""


def _multiple(factor: float) -> Any:
    # A multiple of an orthogonal matrix: the factor in every direction.
    Q = torch.linalg.qr(matrix(11)).Q
    return lambda y, x: factor * (y @ Q.T) + x


def _plain_multiple(factor: float) -> Any:
    return lambda y, x: factor * y + x


def _bump_in_the_state() -> Any:
    # y/2 + 3/2 w b(|y - p|/w) e_1 + x: the derivative is I/2 + e_1 g^T with |g| <= 3/4, so its norm is at most 5/4, attained at
    # distance w from p along the first axis.
    p, first = torch.tensor(PLACE, dtype=torch.float64), torch.eye(DIMENSION, dtype=torch.float64)[0]

    def G(y: Tensor, x: Tensor) -> Tensor:
        r2 = ((y - p) / WIDTH).square().sum(dim=1, keepdim=True)
        return 0.5 * y + 0.75 * WIDTH * torch.log1p(r2) * first + x

    return G


def _bump_in_the_input() -> Any:
    # m(x) y + x with m = 1/2 + 3/4 (1 + |x - p|^2/w^2)^(-1/2), above one within 1.12 w of p.
    p = torch.tensor(PLACE, dtype=torch.float64)

    def G(y: Tensor, x: Tensor) -> Tensor:
        r2 = ((x - p) / WIDTH).square().sum(dim=1, keepdim=True)
        return (0.5 + 0.75 / torch.sqrt(1 + r2)) * y + x

    return G


def _smooth_pointwise() -> Any:
    # y/2 + (1/2 - x^2) x tanh(y/x), and y/2 at x = 0: the factor is 1 - x^2, attained at y = 0, and 1/2 at zero. With s = y/x,
    # dG/dx = -2 x^2 tanh s + (1/2 - x^2)(tanh s - s / cosh^2 s). The last bracket is odd and grows to 1, so that the size is at most
    # 2 x^2 + (1/2 - x^2) <= 1: (R2) holds.
    def G(y: Tensor, x: Tensor) -> Tensor:
        safe = torch.where(x == 0, 1.0, x)
        return y / 2 + torch.where(x == 0, 0.0, (0.5 - x**2) * x * torch.tanh(y / safe))

    return G


def _towards_zero(n: int, generator: torch.Generator, reach: float = 0.7) -> tuple[Tensor, Tensor]:
    u = torch.rand(2, n, 1, generator=generator, dtype=torch.float64)
    x = reach * 10.0 ** (-5 * u[0])
    return (2 * u[1] - 1) * x, x


def _matrix_of(rows: list[list[float]]) -> Any:
    A = torch.tensor(rows, dtype=torch.float64)
    return lambda y, x: y @ A.T + x


def _jump() -> Any:
    return lambda y, x: 0.5 * y + 0.25 * (y > 0.3).to(y.dtype) + x


def _quantised() -> Any:
    return lambda y, x: torch.round(0.5 * y / WIDTH) * WIDTH + x


def _steep_piece() -> Any:
    def G(y: Tensor, x: Tensor) -> Tensor:
        return 0.5 * y + torch.nn.functional.pad(2 * torch.relu(y[:, :1] - 0.9), (0, DIMENSION - 1)) + x

    return G


def _outside_the_ball() -> Any:
    def G(y: Tensor, x: Tensor) -> Tensor:
        beyond = torch.relu(y.square().sum(dim=1, keepdim=True) - 1)
        return (0.5 + beyond) * y + x

    return G


def _in_the_ball(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    y, x = normal()(n, generator)
    radius = torch.rand(n, 1, generator=generator, dtype=torch.float64) ** (1 / DIMENSION)
    return radius * y / torch.linalg.vector_norm(y, dim=1, keepdim=True), x


def _softplus() -> Any:
    return lambda y, x: torch.nn.functional.softplus(y) + x


NOT_CONTRACTIVE: tuple[AuditCase, ...] = (
    AuditCase(
        "expansive", lambda: _multiple(1.5), normal(), expected(R1=REFUTED), "Every distance grows by a half.", mu=1.5
    ),
    AuditCase(
        "slightly expansive",
        lambda: _multiple(1.0005),
        normal(),
        expected(R1=REFUTED),
        "The excess of 0.0005 is far above rounding and far below what a plot shows.",
        mu=1.0005,
    ),
    AuditCase(
        "one at this resolution",
        lambda: _plain_multiple(1 - 1e-9),
        normal(),
        expected(R1=ANY),
        "It contracts, by less than the resolution: a proof is right, and so is a refutation at that resolution.",
        mu=1 - 1e-9,
    ),
    AuditCase(
        "expansive in a tiny region of states",
        _bump_in_the_state,
        uniform(),
        expected(R1=REFUTED),
        "Slope 5/4 in a ball of radius about 0.003 in dimension 4, and 1/2 nearly everywhere else.",
        domain=((-1.0, 1.0), (-1.0, 1.0)),
        mu=1.25,
    ),
    AuditCase(
        "expansive in a tiny region of inputs",
        _bump_in_the_input,
        uniform(),
        expected(R1=REFUTED),
        "The factor is 5/4 at one input and falls below one within about 0.001 of it.",
        domain=((-1.0, 1.0), (-1.0, 1.0)),
        mu=1.25,
    ),
    AuditCase(
        "contractive at every input only",
        PointwiseContraction,
        lambda n, g: _towards_zero(n, g, reach=1.0),
        expected(R1=REFUTED, gradient=ANY),
        "N1: the factor 1 - x^2 is below one everywhere, 1/2 at zero, and not bounded away from one near zero.",
        domain=((-1.0, 1.0), (0.0, 1.0)),
        mu=1.0,
    ),
    AuditCase(
        "contractive at every input only, smooth in the state",
        _smooth_pointwise,
        _towards_zero,
        expected(R1=REFUTED, gradient=ANY),
        "The factor is 1 - x^2, attained at y = 0, and 1/2 at zero; (R2) holds.",
        domain=((-1.0, 1.0), (-0.7, 0.7)),
        mu=1.0,
    ),
    AuditCase(
        "contractive in a weighted norm only",
        lambda: _matrix_of([[0.5, 100.0], [0.0, 0.5]]),
        normal(state=2, inputs=2),
        expected(R1=REFUTED),
        "Spectral radius 1/2, Euclidean norm about 100: Picard converges after growing a hundredfold.",
        mu=float(torch.linalg.matrix_norm(torch.tensor([[0.5, 100.0], [0.0, 0.5]], dtype=torch.float64), ord=2)),
    ),
    AuditCase(
        "rotation",
        lambda: _matrix_of([[0.0, -1.0], [1.0, 0.0]]),
        normal(state=2, inputs=2),
        expected(R1=REFUTED),
        "N2: an isometry of period four; it has one fixed point, Picard never arrives, averaging does.",
        mu=1.0,
    ),
    AuditCase(
        "translation",
        lambda: _plain_multiple(1.0),
        normal(),
        expected(R1=REFUTED),
        "N2: y + x has no fixed point unless x = 0.",
        mu=1.0,
    ),
    AuditCase(
        "sign change",
        lambda: _plain_multiple(-1.0),
        normal(),
        expected(R1=REFUTED),
        "N2: x - y has one fixed point, around which Picard oscillates for ever.",
        mu=1.0,
    ),
    AuditCase(
        "monotone and not contractive",
        lambda: _matrix_of([[1.0, 0.1], [-0.1, 1.0]]),
        normal(state=2, inputs=2),
        expected(R1=REFUTED),
        "A relaxed step on a skew map: I - G is monotone, and every step expands by sqrt(1.01).",
        mu=1.01**0.5,
    ),
    AuditCase(
        "contractive on every pair and not uniformly",
        _softplus,
        normal(30.0),
        expected(R1=REFUTED),
        "log(1 + e^y) has slopes below one that tend to one, and no fixed point at x = 0.",
        mu=1.0,
    ),
    AuditCase(
        "jump in the state",
        _jump,
        uniform(),
        expected(R1=REFUTED, gradient=ANY),
        "Two states on both sides of 0.3 are thrown apart, however close they are.",
        domain=((-1.0, 1.0), (-1.0, 1.0)),
    ),
    AuditCase(
        "quantised",
        _quantised,
        uniform(),
        expected(R1=REFUTED, gradient=ANY),
        "Rounded to multiples of 0.001: slope 1/2 on the coarse scale, jumps on the fine one, derivative zero.",
        domain=((-1.0, 1.0), (-1.0, 1.0)),
    ),
    AuditCase(
        "one steep piece",
        _steep_piece,
        uniform(),
        expected(R1=REFUTED, gradient=ANY),
        "Piecewise linear with slope 5/2 where the first entry exceeds 0.9.",
        domain=((-1.0, 1.0), (-1.0, 1.0)),
        mu=2.5,
    ),
    AuditCase(
        "contractive where the sampler looks",
        _outside_the_ball,
        _in_the_ball,
        expected(R1=HIDDEN, gradient=ANY),
        "Slope 1/2 in the unit ball, in which all samples lie, and growing outside.",
        domain=((-3.0, 3.0), None),
    ),
)
"""Every operator here violates (R1), or is not told from one that does."""
