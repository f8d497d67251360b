"""Wrong schedules for scalar maps on the line: each looks like a way to the fastest relaxation of a budget, and is not one.

A claim takes increasing points, values and the budget, all rational, and returns the steps. What it breaks shows in exact
arithmetic: a pair beyond the budget, a step that is not positive, or a smallest step below the largest possible one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from eqtheory.constructions import greatest_on_line

__all__ = ["BROKEN_SCHEDULES", "ScheduleClaim"]

Steps = Callable[[Sequence[Fraction], Sequence[Fraction], Fraction, Fraction], list[Fraction]]


@dataclass(frozen=True)
class ScheduleClaim:
    """A schedule claimed to be the fastest one within its budget.

    Args:
        name: what is wrong with it.
        steps: points, values, `L0` and `L1` to the steps.
        two_signs: whether it is claimed for values of both signs as well.
    """

    name: str
    steps: Steps
    two_signs: bool = False


def _all_pairs(x: Sequence[Fraction], F: Sequence[Fraction], L0: Fraction, L1: Fraction, rounds: int) -> list[Fraction]:
    """The monotone iteration, stopped too early."""
    n = len(x)
    eps = [Fraction(1)] * n
    for _ in range(rounds):
        eps = [
            min(
                [Fraction(1)]
                + [eps[j] + L1 * abs(x[i] - x[j]) for j in range(n) if j != i]
                + [(eps[j] * F[j] + L0 * abs(x[i] - x[j])) / F[i] for j in range(n) if j != i and F[i] > 0]
            )
            for i in range(n)
        ]
    return eps


def _caps(x: Sequence[Fraction], F: Sequence[Fraction], L0: Fraction, L1: Fraction) -> list[Fraction]:
    n = len(x)
    return [
        min([Fraction(1)] + [(L0 + L1 * F[j]) * abs(x[i] - x[j]) / abs(F[i] - F[j]) for j in range(n) if F[j] != F[i]])
        for i in range(n)
    ]


def _forward(x: Sequence[Fraction], F: Sequence[Fraction], L0: Fraction, L1: Fraction) -> list[Fraction]:
    eps = [Fraction(1)]
    for (a, b), (f, g) in zip(pairwise(x), pairwise(F), strict=True):
        bounds = [Fraction(1), eps[-1] + L1 * (b - a)]
        eps.append(min([*bounds, (eps[-1] * f + L0 * (b - a)) / g] if g > 0 else bounds))
    return eps


def _sum_of_steps(x: Sequence[Fraction], F: Sequence[Fraction], L0: Fraction, L1: Fraction) -> list[Fraction]:
    """Maximise `eps_1 + eps_2` for two values of opposite signs: all of the room goes to the point where it buys most."""
    d = x[1] - x[0]
    small, large = sorted((0, 1), key=lambda i: abs(F[i]))
    eps = [Fraction(0)] * len(x)
    eps[small] = min(Fraction(1), L0 * d / abs(F[small]), L1 * d) if F[small] else Fraction(1)
    eps[large] = Fraction(0)
    return eps


BROKEN_SCHEDULES: tuple[ScheduleClaim, ...] = (
    ScheduleClaim("caps of pairs without what they do to others", _caps),
    ScheduleClaim("one sweep instead of two", _forward),
    ScheduleClaim("monotone iteration stopped after two rounds", lambda x, F, L0, L1: _all_pairs(x, F, L0, L1, 2)),
    ScheduleClaim("step half forgotten", lambda x, F, L0, _: greatest_on_line(x, F, L0, 10**9)),
    ScheduleClaim("offset half forgotten", lambda x, F, _, L1: greatest_on_line(x, F, 10**9, L1)),
    ScheduleClaim("sizes instead of values of both signs", greatest_on_line, two_signs=True),
    ScheduleClaim("distances doubled", lambda x, F, L0, L1: greatest_on_line([2 * v for v in x], F, L0, L1)),
    ScheduleClaim(
        "a solver's output as it is",
        lambda x, F, L0, L1: [min(Fraction(1), e * (1 + Fraction(1, 10**9))) for e in greatest_on_line(x, F, L0, L1)],
    ),
    ScheduleClaim("one step for all", lambda x, F, L0, L1: [min(greatest_on_line(x, F, L0, L1)) / 2] * len(x)),
    ScheduleClaim("largest sum of steps", _sum_of_steps, two_signs=True),
)
"""Every wrong schedule; each is caught on some line with a few points."""
