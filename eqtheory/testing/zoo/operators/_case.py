"""What an audit of an operator is put before, and what it may answer.

Checks: `finite` (finite results at finite arguments), `shape` (shape and type of the state), `deterministic` (equal arguments give
equal results, and stay as they were), `batch_independent`, `R1` (contractive in the state), `R2` (simple in the input), `gradient`
(automatic derivatives are those of the function).

`R1` is refuted by a pair of states whose certified slope is at least `1 - RESOLUTION`; a declared factor that is too small but below
one need not be refuted and is never proved. `R2` is refuted by a pair of inputs whose certified slope exceeds
`LARGEST_BUDGET (1 + |y|)`, or what is declared. Both are about the domain of the case, in its norm. The rule behind every
expectation: what is broken is never `proved`, and where the fault is within reach it is `refuted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from eqtheory.bounds import VerdictKind
from eqtheory.norms import Euclidean, Norm
from eqtheory.operators import ImplicitOperator

__all__ = [
    "ANY",
    "CHECKS",
    "DIMENSION",
    "FREE",
    "HIDDEN",
    "HOLDS",
    "LARGEST_BUDGET",
    "REFUTED",
    "RESOLUTION",
    "AuditCase",
    "Box",
    "Builder",
    "Sampler",
    "expected",
    "matrix",
    "normal",
    "uniform",
    "within_reach_of_zero",
]

CHECKS = ("finite", "shape", "deterministic", "batch_independent", "R1", "R2", "gradient")
"""What an audit decides, in this order."""

RESOLUTION = 1e-6
"""Slopes in the state from one minus this on count as not contractive."""

LARGEST_BUDGET = 1e6
"""Slopes in the input above this times `1 + |y|` count as unbounded."""

DIMENSION = 4
"""Length of states and inputs, where nothing else is said."""

HOLDS = frozenset({VerdictKind.PROVED, VerdictKind.NOT_REFUTED})
REFUTED = frozenset({VerdictKind.REFUTED})
HIDDEN = frozenset({VerdictKind.REFUTED, VerdictKind.NOT_REFUTED})
"""Broken, or true only in part: it need not be seen, and is never proved."""
ANY = frozenset(VerdictKind)

Builder: TypeAlias = Callable[[], ImplicitOperator | Callable[[Tensor, Any], Tensor]]
Sampler: TypeAlias = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
Box: TypeAlias = tuple[float, float] | None

FREE: tuple[Box, Box] = (None, None)
"""No limits on states or inputs."""


@dataclass(frozen=True)
class AuditCase:
    """One operator with what an audit may say about it.

    Args:
        name: what it is.
        build: makes the operator, so that hidden state is fresh each time.
        sample: draws states and inputs, `(n, generator) -> (y, x)`, float64, shapes `(n, d)` each.
        expected: the allowed verdicts of each of `CHECKS`.
        why: what is wrong with it, or why nothing is.
        domain: bounds of the entries of states and of inputs, `None` for no bound.
        mu: the true factor: supremum over the domain, in `norm`, of the slope in the state; `None` where it is infinite or not
            known.
        norm: of the states.
    """

    name: str
    build: Builder
    sample: Sampler
    expected: Mapping[str, frozenset[VerdictKind]]
    why: str
    domain: tuple[Box, Box] = FREE
    mu: float | None = None
    norm: Norm = field(default_factory=Euclidean)

    @property
    def operator(self) -> ImplicitOperator | Callable[[Tensor, Any], Tensor]:
        """A fresh operator."""
        return self.build()

    @property
    def good(self) -> bool:
        """Whether nothing is broken."""
        return all(VerdictKind.PROVED in allowed for allowed in self.expected.values())

    @property
    def broken(self) -> tuple[str, ...]:
        """Checks that have to refute it."""
        return tuple(check for check in CHECKS if self.expected[check] == REFUTED)


def expected(
    *,
    finite: frozenset[VerdictKind] = HOLDS,
    shape: frozenset[VerdictKind] = HOLDS,
    deterministic: frozenset[VerdictKind] = HOLDS,
    batch_independent: frozenset[VerdictKind] = HOLDS,
    R1: frozenset[VerdictKind] = HOLDS,
    R2: frozenset[VerdictKind] = HOLDS,
    gradient: frozenset[VerdictKind] = HOLDS,
) -> dict[str, frozenset[VerdictKind]]:
    """Allowed verdicts: everything holds, but for what is said.

    Args:
        finite: of that check.
        shape: of that check.
        deterministic: of that check.
        batch_independent: of that check.
        R1: of that check.
        R2: of that check.
        gradient: of that check.

    Returns:
        One set for each check.
    """
    given = (finite, shape, deterministic, batch_independent, R1, R2, gradient)
    return dict(zip(CHECKS, given, strict=True))


def matrix(seed: int, rows: int = DIMENSION, columns: int = DIMENSION, *, norm: float = 1.0) -> Tensor:
    """A fixed matrix of a given spectral norm.

    Args:
        seed: which one.
        rows: how many.
        columns: how many.
        norm: largest singular value.

    Returns:
        Shape `(rows, columns)`, float64.
    """
    A = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return A * (norm / torch.linalg.matrix_norm(A, ord=2))


def normal(scale: float = 1.0, *, state: int = DIMENSION, inputs: int = DIMENSION) -> Sampler:
    """States and inputs from a normal distribution.

    Args:
        scale: standard deviation.
        state: length of a state.
        inputs: length of an input.

    Returns:
        The sampler.
    """

    def sample(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        y = torch.randn(n, state, generator=generator, dtype=torch.float64)
        return scale * y, scale * torch.randn(n, inputs, generator=generator, dtype=torch.float64)

    return sample


def uniform(
    y: tuple[float, float] = (-1.0, 1.0),
    x: tuple[float, float] = (-1.0, 1.0),
    *,
    state: int = DIMENSION,
    inputs: int = DIMENSION,
) -> Sampler:
    """States and inputs uniform in boxes.

    Args:
        y: bounds of the entries of states.
        x: bounds of the entries of inputs.
        state: length of a state.
        inputs: length of an input.

    Returns:
        The sampler.
    """

    def sample(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        u = torch.rand(n, state, generator=generator, dtype=torch.float64)
        v = torch.rand(n, inputs, generator=generator, dtype=torch.float64)
        return y[0] + (y[1] - y[0]) * u, x[0] + (x[1] - x[0]) * v

    return sample


def within_reach_of_zero(decades: float, states: Callable[[Tensor], Tensor]) -> Sampler:
    """Inputs of both signs whose sizes go down to `10^-decades`, uniformly on a logarithmic scale.

    Args:
        decades: how far down.
        states: makes states, shape `(n, d)`, from uniform numbers in `[0, 1)`.

    Returns:
        The sampler.
    """

    def sample(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        u = torch.rand(3, n, DIMENSION, generator=generator, dtype=torch.float64)
        sign = torch.where(u[2] < 0.5, -1.0, 1.0)
        return states(u[0]), sign * 10.0 ** (-decades * u[1])

    return sample
