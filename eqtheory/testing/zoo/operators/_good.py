"""Operators that are regular, with their true factors: what an audit must not refute.

Each has `|A|_2` as a factor of the form `|D A|` or `|A D|` with `D` diagonal, entries in `[0, 1]`, and 1 attained:
`tanh' (0) = 1`, the positive part on the positive orthant, soft thresholding far out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eqtheory.operators import FunctionOperator, ImplicitOperator, Relaxed
from eqtheory.testing.zoo.operators._case import ANY, DIMENSION, AuditCase, expected, matrix, normal

__all__ = ["GOOD"]


def _linear() -> Any:
    A, B = matrix(1, norm=0.9), matrix(2)
    return lambda y, x: y @ A.T + x @ B.T


class _TanhLayer(nn.Module):
    """`tanh(W y + U x)` as a module with parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.U = nn.Parameter(matrix(3, norm=0.8)), nn.Parameter(matrix(4))

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(y @ self.W.T + x @ self.U.T)


def _relaxed() -> ImplicitOperator:
    # Symmetric with eigenvalues of both signs; the relaxation moves the spectrum towards one.
    A = matrix(5)
    A = (A + A.T) / 2
    A = A * (0.9 / torch.linalg.eigvalsh(A).amax())
    return Relaxed(FunctionOperator(lambda y, x: y @ A.T + x), 0.5)


def _convolution() -> Any:
    # Circular, with kernel (1/5, 2/5, 1/5): its symbol 2/5 (1 + cos t) is 4/5 at t = 0.
    kernel = torch.tensor([[[0.2, 0.4, 0.2]]], dtype=torch.float64)

    def G(y: Tensor, x: Tensor) -> Tensor:
        padded = nn.functional.pad(y.unsqueeze(1), (1, 1), mode="circular")
        return torch.tanh(nn.functional.conv1d(padded, kernel).squeeze(1) + x)

    return G


_SINGULAR = (1.0, 0.8, 0.6, 0.5)


def _gradient_step() -> Any:
    # A with the singular values above, so that 1 - eta s^2 goes from 0 to 3/4 at eta = 1.
    left, right = (torch.linalg.qr(matrix(seed)).Q for seed in (6, 7))
    A = (left * torch.tensor(_SINGULAR, dtype=torch.float64)) @ right.T
    return lambda y, x: y - (y @ A.T - x) @ A


def _shrinkage_step() -> Any:
    step = _gradient_step()
    return lambda y, x: nn.functional.softshrink(step(y, x), 0.1)


def _graph() -> Any:
    # A ring of six nodes with loops, normalised: symmetric with norm 1, attained by the constant vector.
    ring = torch.eye(6, dtype=torch.float64)
    ring = (ring + ring.roll(1, 0) + ring.roll(-1, 0)) / 3
    return lambda y, x: 0.7 * torch.relu(y) @ ring + x


def _cascade() -> Any:
    # Two blocks, the second driven by the first: block triangular, and still a contraction in l2.
    A, B = matrix(8, 2, 2, norm=0.5), matrix(9, 2, 2, norm=0.3)

    def G(y: Tensor, x: Tensor) -> Tensor:
        first, second = y[:, :2], y[:, 2:]
        return torch.cat([torch.tanh(first @ A.T + x[:, :2]), 0.5 * second + first @ B.T + x[:, 2:]], dim=1)

    return G


def _cascade_factor() -> float:
    # At zero the derivative is [[A, 0], [B, I/2]], and elsewhere its first block row is made smaller.
    J = torch.zeros(4, 4, dtype=torch.float64)
    J[:2, :2], J[2:, :2], J[2:, 2:] = matrix(8, 2, 2, norm=0.5), matrix(9, 2, 2, norm=0.3), 0.5 * torch.eye(2)
    return float(torch.linalg.matrix_norm(J, ord=2))


def _slow() -> Any:
    return lambda y, x: 0.999 * y + x


GOOD: tuple[AuditCase, ...] = (
    AuditCase("linear contraction", _linear, normal(), expected(), "A matrix of norm 0.9.", mu=0.9),
    AuditCase("tanh layer", _TanhLayer, normal(), expected(), "tanh is 1-Lipschitz, the weight has norm 0.8.", mu=0.8),
    AuditCase(
        "relaxed operator",
        _relaxed,
        normal(),
        expected(),
        "Half way to a symmetric operator with largest eigenvalue 0.9.",
        mu=0.95,
    ),
    AuditCase(
        "convolution layer",
        _convolution,
        normal(state=16, inputs=16),
        expected(),
        "A circular convolution whose symbol is at most 0.8, behind tanh.",
        mu=0.8,
    ),
    AuditCase(
        "gradient step",
        _gradient_step,
        normal(),
        expected(),
        "y - A^T (A y - x) with singular values from 1/2 to 1.",
        mu=1 - min(_SINGULAR) ** 2,
    ),
    AuditCase(
        "proximal gradient step",
        _shrinkage_step,
        normal(3.0),
        expected(gradient=ANY),
        "Soft thresholding is 1-Lipschitz; its kinks have no derivative.",
        mu=1 - min(_SINGULAR) ** 2,
    ),
    AuditCase(
        "graph layer",
        _graph,
        normal(state=6, inputs=6),
        expected(gradient=ANY),
        "A normalised adjacency of norm 1 times 0.7, after the positive part, which has a kink at zero.",
        mu=0.7,
    ),
    AuditCase(
        "cascade",
        _cascade,
        normal(state=4, inputs=4),
        expected(),
        "Block triangular with coupling weak enough for the Euclidean norm.",
        mu=_cascade_factor(),
    ),
    AuditCase(
        "slow contraction",
        _slow,
        normal(state=DIMENSION),
        expected(),
        "0.999 is far from one at this resolution.",
        mu=0.999,
    ),
)
"""Every operator here is regular, with the true factor `mu`."""
