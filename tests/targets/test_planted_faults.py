"""The conformance checks reject targets that are wrong in one place each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from eqtheory.targets import (
    ExpMap,
    InversionMap,
    IslandsMap,
    LinearProgramMap,
    LogMap,
    MatrixInverseMap,
    OscillatingMap,
    QuadraticRootMap,
    ReciprocalMap,
    SquareMap,
    Target,
)
from eqtheory.targets.maps.trigonometric import TanMap

Hook = Callable[..., Any]


def with_fault(base: type[Target], **hooks: Hook) -> Target:
    """A subclass of a correct target with some hooks replaced; `self` is the correct target's."""
    return type(f"Faulty{base.__name__}", (base,), hooks)()


def altered_bounds(base: type[Target], change: Callable[..., tuple[Tensor, Tensor]]) -> Target:
    """`change(self, x, r, sup, lip)` gives the faulty bounds."""

    def bounds(self: Target, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        return change(self, x, r, *base._bounds(self, x, r))

    # `final` is a promise to type checkers; at run time the class can be derived from.
    return with_fault(base, _bounds=bounds)


def ignores_gap(_self: Target, x: Tensor, r: Tensor, sup: Tensor, lip: Tensor) -> tuple[Tensor, Tensor]:
    """Only derivatives: N9."""
    return sup, torch.where(torch.isfinite(lip), torch.minimum(lip, (x - r - 1.25).clamp_min(0.01) ** -2), lip)


def naive_phase(_self: Target, x: Tensor) -> tuple[Tensor, Tensor]:
    t = x**-2
    return t, torch.zeros_like(t)


def unstable_root(_self: Target, x: Tensor) -> Tensor:
    return (torch.sqrt(x[:, 0] ** 2 - 4 * x[:, 1]) - x[:, 0]) / 2


def generator_of_its_own(_self: Target, n: int, _generator: Generator) -> Tensor:
    return torch.rand(n, dtype=torch.float64, generator=Generator().manual_seed(torch.seed() % 2**31))


def mild_pair(_self: Target, _slope: float) -> tuple[Tensor, Tensor]:
    return torch.tensor([0.5], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)


def basis_assumed(self: Target, x: Tensor, r: Tensor, _sup: Tensor, _lip: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds for a basis that is assumed to stay optimal."""
    best = self._optimum(x)  # type: ignore[attr-defined]
    left = (best.smallest - r).clamp_min(0.0)
    size = torch.linalg.vector_norm(best.value, dim=1) * 3 + r
    return size, torch.hypot(size, torch.ones_like(size)) / left


FAULTS: dict[str, tuple[str, Callable[[], Target]]] = {
    "half the slope bound": ("ball_bounds", lambda: altered_bounds(ReciprocalMap, lambda _s, _x, _r, s, k: (s, k / 2))),
    "slope bound one per cent short": (
        "sandwich",
        lambda: altered_bounds(InversionMap, lambda _s, _x, _r, s, k: (s, 0.99 * k)),
    ),
    "supremum at the centre": ("ball_bounds", lambda: altered_bounds(ExpMap, lambda s, x, _r, _s, k: (s._value(x), k))),
    "pairs across the gap": ("ball_bounds", lambda: altered_bounds(IslandsMap, ignores_gap)),
    "optimal basis assumed": ("ball_bounds", lambda: altered_bounds(LinearProgramMap, basis_assumed)),
    "slope bound jumps up and down": (
        "monotone",
        lambda: altered_bounds(TanMap, lambda _s, x, _r, s, k: (s, k * (1 + 0.1 * torch.sin(1e4 * x)))),
    ),
    "size bound grows when the ball shrinks": (
        "monotone",
        lambda: altered_bounds(SquareMap, lambda _s, _x, r, s, k: (s + 1 / (1 + r), k)),
    ),
    "nothing finite": (
        "sandwich",
        lambda: altered_bounds(LogMap, lambda _s, _x, r, s, _k: (s, torch.full_like(r, torch.inf))),
    ),
    "bound that does not tend to the modulus": (
        "sandwich",
        lambda: altered_bounds(LogMap, lambda _s, _x, _r, s, k: (s, 1.5 * k)),
    ),
    "negative bound": ("never_nan", lambda: altered_bounds(LogMap, lambda _s, _x, _r, s, k: (s - 1e9, k))),
    "modulus one per mille short": (
        "modulus",
        lambda: with_fault(MatrixInverseMap, _modulus=lambda s, x: 0.999 * MatrixInverseMap._modulus(s, x)),
    ),
    "modulus one per mille too large": (
        "modulus",
        lambda: with_fault(QuadraticRootMap, _modulus=lambda s, x: 1.001 * QuadraticRootMap._modulus(s, x)),
    ),
    "phase in one number": ("evaluation_error", lambda: with_fault(OscillatingMap, _phase=naive_phase)),
    "cancelling formula": ("evaluation_error", lambda: with_fault(QuadraticRootMap, _value=unstable_root)),
    "a wrong value": ("exact_values", lambda: with_fault(LogMap, _value=lambda _s, x: torch.log(x) * (1 + 1e-14))),
    "a wrong reference": (
        "exact_values",
        lambda: with_fault(LogMap, _reference=lambda _s, mp, x: mp.log(x) + mp.mpf(10) ** -45),
    ),
    "no exact value": ("exact_values", lambda: with_fault(LogMap, _exact=lambda _s, _sympy: ())),
    "batch mates": ("batch_mates", lambda: with_fault(LogMap, _value=lambda _s, x: torch.log(x) + 1e-3 * x.mean())),
    "detached": ("gradient", lambda: with_fault(LogMap, _value=lambda _s, x: torch.log(x.detach()) + 0 * x)),
    "only easy points": (
        "samples",
        lambda: with_fault(
            ReciprocalMap, _draw=lambda _s, n, g: 0.5 + 0.5 * torch.rand(n, generator=g, dtype=torch.float64)
        ),
    ),
    "random numbers of its own": ("samples", lambda: with_fault(ReciprocalMap, _draw=generator_of_its_own)),
    "a pair that is not steep": ("steep_pairs", lambda: with_fault(ReciprocalMap, steep_pair=mild_pair)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_caught(fault: str, laws: dict[str, Callable[[Target], None]]) -> None:
    law, faulty = FAULTS[fault]
    with pytest.raises(AssertionError):
        laws[law](faulty())


def test_every_law_catches_something(laws: dict[str, Callable[[Target], None]]) -> None:
    assert {law for law, _ in FAULTS.values()} == set(laws)
