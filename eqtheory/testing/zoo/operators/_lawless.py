"""Operators that break a law of `ImplicitOperator`: equal arguments, equal results; no company; shape and type of the state."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from eqtheory.testing.zoo.operators._case import ANY, DIMENSION, HIDDEN, REFUTED, AuditCase, expected, matrix, normal

__all__ = ["LAWLESS"]


class _Dropout(nn.Module):
    """A contraction behind dropout, in the mode in which it was trained."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.drop = nn.Parameter(matrix(21, norm=0.4)), nn.Dropout(0.5)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return self.drop(torch.tanh(y @ self.W.T + x))


@final
class _Noise:
    """A contraction with noise from a generator of its own."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        return 0.5 * y + x + 1e-3 * torch.randn(y.shape, generator=self.generator, dtype=y.dtype)


class _BatchNorm(nn.Module):
    """A contraction of what batch normalisation makes of the state, in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(DIMENSION, affine=False, track_running_stats=False, dtype=torch.float64)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return 0.1 * self.norm(y) + x


@final
class _Counter:
    """A contraction whose drive fades with every call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        self.calls += 1
        return 0.5 * y + x / self.calls


@final
class _Momentum:
    """A contraction that remembers the last state it has seen, if it has the same shape."""

    def __init__(self) -> None:
        self.last: Tensor | None = None

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        last = y if self.last is None or self.last.shape != y.shape else self.last
        self.last = y.detach().clone()
        return 0.5 * y + 0.1 * (y - last) + x


def _branch() -> Any:
    def G(y: Tensor, x: Tensor) -> Tensor:
        return 0.5 * y + x if float(y.detach().sum()) > 0 else 0.5 * y - x

    return G


LAWLESS: tuple[AuditCase, ...] = (
    AuditCase(
        "dropout left on",
        _Dropout,
        normal(),
        expected(deterministic=REFUTED, batch_independent=HIDDEN, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "A module in training mode gives another result each time.",
    ),
    AuditCase(
        "noise inside",
        _Noise,
        normal(),
        expected(deterministic=REFUTED, batch_independent=HIDDEN, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "Noise of size 0.001: harmless to look at, and every slope of a close pair is wrong.",
    ),
    AuditCase(
        "hidden counter",
        _Counter,
        normal(),
        expected(deterministic=REFUTED, batch_independent=HIDDEN, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "The result depends on how often it was called, so iterates converge to the fixed point of no input.",
    ),
    AuditCase(
        "hidden momentum",
        _Momentum,
        normal(),
        expected(deterministic=REFUTED, batch_independent=HIDDEN, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "The result depends on the state it saw last; equal states in a row hide it.",
    ),
    AuditCase(
        "writes into its argument",
        lambda: lambda y, x: y.mul_(0.5).add_(x),
        normal(),
        expected(deterministic=REFUTED, batch_independent=HIDDEN, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "The caller's state has changed when the result comes, so a residual computed from it is zero.",
    ),
    AuditCase(
        "batch normalisation in training mode",
        _BatchNorm,
        normal(),
        expected(batch_independent=REFUTED, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "Statistics of the batch enter every sample, and a batch of one is refused.",
    ),
    AuditCase(
        "batch mean",
        lambda: lambda y, x: 0.5 * y + 0.3 * y.mean(dim=0) + x,
        normal(),
        expected(batch_independent=REFUTED, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "Samples are pulled towards each other, so cutting the batch changes the fixed points.",
    ),
    AuditCase(
        "sorted across the batch",
        lambda: lambda y, x: 0.5 * y.sort(dim=0).values + x,
        normal(),
        expected(batch_independent=REFUTED, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "Samples change places; the map of the whole batch is still nonexpansive.",
    ),
    AuditCase(
        "branch on the batch",
        _branch,
        normal(),
        expected(batch_independent=REFUTED, R1=HIDDEN, R2=HIDDEN, gradient=ANY),
        "One branch is taken for all samples, by the sign of a sum over all of them.",
    ),
    AuditCase(
        "another type",
        lambda: lambda y, x: (0.5 * y + x).float(),
        normal(),
        expected(shape=REFUTED, batch_independent=ANY, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "float64 comes in and float32 goes out, and with it half of the digits.",
    ),
    AuditCase(
        "another shape",
        lambda: lambda y, x: (0.5 * y + x).mean(dim=1, keepdim=True),
        normal(),
        expected(shape=REFUTED, deterministic=ANY, batch_independent=ANY, R1=HIDDEN, R2=HIDDEN, gradient=HIDDEN),
        "One number a sample, which broadcasts against the state without a complaint.",
    ),
    AuditCase(
        "single precision inside",
        lambda: lambda y, x: (0.9 * y.float() + x.float()).double(),
        normal(),
        expected(R1=HIDDEN, R2=HIDDEN, gradient=ANY),
        "A staircase with steps of 1e-7: steep for pairs closer than that, and a contraction for all others.",
    ),
)
"""Every operator here breaks a law, or only just keeps it."""
