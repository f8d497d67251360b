"""Deliberately broken solvers, each violating one law of `Solver`; the laws must reject them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from eqtheory.solvers import Solver

__all__ = [
    "AbsoluteRidge",
    "BatchMean",
    "Forgetful",
    "NanProposer",
    "OriginBound",
    "Overwriting",
    "Remembering",
    "Stuck",
]


@dataclass(frozen=True)
class _Stateless(Solver[Any]):
    def init(self, y: Tensor) -> Any:
        return torch.zeros_like(y)


@dataclass(frozen=True)
class BatchMean(_Stateless):
    """Chooses its relaxation from the whole batch, as stop rules and ridges of batched libraries do."""

    def step(self, state: Any, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, Any]:
        eps = 1 / (1 + (g - y).abs().mean())
        return y + eps * (g - y), state


@dataclass(frozen=True)
class AbsoluteRidge(_Stateless):
    """A ridge with a unit: `1e-3` means something else at every scale."""

    def step(self, state: Any, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, Any]:
        f = g - y
        return y + f * (f.abs() / (f.abs() + 1e-3)), state


@dataclass(frozen=True)
class OriginBound(_Stateless):
    """Shrinks towards zero, which is nowhere in particular."""

    def step(self, state: Any, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, Any]:
        return 0.999 * g, state


@dataclass(frozen=True)
class Stuck(_Stateless):
    """Does not move."""

    def step(self, state: Any, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, Any]:
        return y, state


@dataclass(frozen=True)
class Remembering(_Stateless):
    """Keeps a memory of its own from one solve to the next."""

    seen: list[int] = field(default_factory=list)

    def step(self, state: Any, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, Any]:
        self.seen.append(1)
        return y + (g - y) * (1 - 0.5 / len(self.seen)), state


@dataclass(frozen=True)
class Overwriting(_Stateless):
    """Changes the operator's value, which the loop may still need."""

    def step(self, state: Any, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, Any]:
        return g.mul_(0.5), state


@dataclass(frozen=True)
class Forgetful(_Stateless):
    """Moves on from a fixed point."""

    def step(self, state: Any, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, Any]:
        return g + 1e-3, state


@dataclass(frozen=True)
class NanProposer(_Stateless):
    """Proposes NaN every other time."""

    def init(self, y: Tensor) -> Any:
        return 0

    def step(self, state: Any, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, Any]:
        return (g * torch.nan if state % 2 else g), state + 1
