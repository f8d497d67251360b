"""T5b under attack: Jacobians of iterates converge at the rate `t mu^(t-1)`, and slopes level off on convex sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import Any

import pytest
import sympy
import torch
from hypothesis import given, target
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.norms import slopes_of
from eqtheory.roundoff import gamma
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import BrokenBound, broken_bounds
from eqtheory.theorems.levelling_off import jacobian_step, levelling_off, levelling_off_of_slopes
from proofs_check import controls
from proofs_check.instances import MANY, generator

STEPS = 12
WRONG = broken_bounds("T5b")
HONEST = {bound.name: bound.sides for bound in (jacobian_step, levelling_off)}
CURVATURE = 4 / (3 * sqrt(3))
"""Lipschitz constant of `sech^2`, the derivative of `tanh`: its own derivative `-2 tanh sech^2` is largest at `tanh = 1/sqrt(3)`."""


@dataclass(frozen=True)
class Networks:
    """`G(y, x) = A tanh(y + x w) + x v` for scalar `x`, everything in the sup norm, on a grid of the convex set [-1,1].

    `d_yG = A diag(sech^2)` has norm at most `mu = |A|`, and `alpha = c |A|`, `beta = c |A| |w|` with `c = 4/(3 sqrt(3))`.

    Args:
        A: shape `(batch, n, n)`.
        w: shape `(batch, n)`.
        v: shape `(batch, n)`.
        x: the grid, shape `(points,)`.
        start: first state, the same at all inputs, shape `(batch, n)`.
        drift: derivative of the first state in x, so that `y_0 = start + x drift`, shape `(batch, n)`.
    """

    A: Tensor
    w: Tensor
    v: Tensor
    x: Tensor
    start: Tensor
    drift: Tensor

    def __len__(self) -> int:
        return self.A.shape[0]

    @property
    def mu(self) -> Tensor:
        """Shape `(batch, 1)`: the same at every input."""
        return self.A.abs().sum(dim=2).amax(dim=1, keepdim=True)

    def constants(self) -> dict[str, Tensor]:
        """Upper bounds of the three constants, raised by their own rounding."""
        up = 1 + gamma(16, torch.float64)
        alpha = CURVATURE * self.mu * up
        return {"mu": self.mu, "alpha": alpha, "beta": alpha * self.w.abs().amax(dim=1, keepdim=True)}

    def first(self) -> tuple[Tensor, Tensor]:
        """`y_0` and `Dy_0`, shape `(batch, points, n)`."""
        y = self.start.unsqueeze(1) + self.x.reshape(1, -1, 1) * self.drift.unsqueeze(1)
        return y, self.drift.unsqueeze(1).expand_as(y)

    def step(self, y: Tensor, D: Tensor) -> tuple[Tensor, Tensor]:
        """The next iterate and its derivative in x."""
        inner = torch.tanh(y + self.x.reshape(1, -1, 1) * self.w.unsqueeze(1))
        bend = 1 - inner * inner
        image = inner @ self.A.mT + self.x.reshape(1, -1, 1) * self.v.unsqueeze(1)
        return image, (bend * (D + self.w.unsqueeze(1))) @ self.A.mT + self.v.unsqueeze(1)

    def limit(self) -> tuple[Tensor, Tensor]:
        """`y*` and `Dy*` by iteration until `mu^t` is far below rounding (`mu <= 0.9`)."""
        y, D = self.first()
        for _ in range(500):
            y, D = self.step(y, D)
        return y, D

    def describe(self, index: int) -> str:
        i = index % len(self)
        parts = {"A": self.A, "w": self.w, "v": self.v, "y_0": self.start, "Dy_0": self.drift}
        return ", ".join(f"{name} = {tensor[i].tolist()}" for name, tensor in parts.items())


def size(v: Tensor) -> Tensor:
    return v.abs().amax(dim=-1)


def draw_networks(batch: int, n: int, g: torch.Generator) -> Networks:
    """Factors from 0.01 to 0.9; first states far away or at the origin, with and without a derivative of their own."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    A = normal(batch, n, n)
    mu = 0.9 * 10.0 ** (-2 * torch.rand(batch, 1, 1, generator=g, dtype=torch.float64) ** 2)
    A = A / A.abs().sum(dim=2).amax(dim=1)[:, None, None] * mu
    moved = (torch.arange(batch) % 2 == 0).unsqueeze(1)
    return Networks(
        A, normal(batch, n), normal(batch, n), torch.linspace(-1, 1, 9, dtype=torch.float64),
        torch.where(moved, 3 * normal(batch, n), 0.0), torch.where(moved, normal(batch, n), 0.0),
    )  # fmt: skip


def networks_comparisons(G: Networks) -> Iterator[tuple[str, dict[str, Any], Tensor]]:
    """Both pointwise forms at every input of the grid.

    Slack: a state errs by `tau / (1 - mu)` where `tau` is one evaluation's rounding, a Jacobian by its own rounding and by what
    the state's error moves it, `(alpha |D| + beta)` times that, over `1 - mu` once more.
    """
    (y, D), (star, J) = G.first(), G.limit()
    constants = G.constants()
    gap = 1 - G.mu
    reach = size(y).amax(dim=1, keepdim=True) + size(G.v).unsqueeze(1) + 1
    turn = (size(D).amax(dim=1, keepdim=True) + size(G.w).unsqueeze(1) + size(G.v).unsqueeze(1) + 1) / gap
    unit = gamma(4 * G.A.shape[-1] + 32, torch.float64)
    state = unit * reach / gap
    slack = 4 * (unit * turn + (constants["alpha"] * turn + constants["beta"]) * state) / gap
    start = {"start_error": size(D - J), "start_state_error": size(y - star)}
    for t in range(1, STEPS + 1):
        after, turned = G.step(y, D)
        one = {"error_before": size(D - J), "state_error": size(y - star), "jacobian": size(J), **constants}
        yield "jacobian_step", {"error_after": size(turned - J), **one}, slack.expand(-1, len(G.x))
        whole = {"jacobian_error": size(turned - J), "jacobian": size(J), "steps": t, **start, **constants}
        yield "levelling_off", whole, slack.expand(-1, len(G.x))
        y, D = after, turned


@pytest.mark.theorem("T5b", part="holds")
def test_holds(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.integers(1, 4))
    def attack(seed: int, n: int) -> None:
        G = draw_networks(128, n, generator(seed))
        worst: dict[str, Tensor] = {}
        for name, quantities, slack in networks_comparisons(G):
            margins = relative_margin(HONEST[name](**quantities), slack).amin(dim=1)
            worst[name] = torch.minimum(worst.get(name, margins), margins)
        found = [
            settle(evidence, Kind.SAMPLED, name, margins, instances=len(G), witness=G.describe)
            for name, margins in worst.items()
        ]
        mu = G.mu.squeeze(1)
        evidence.regimes({"mu above 0.8": int((mu > 0.8).sum()), "mu below 0.1": int((mu < 0.1).sum())})
        target(-min(found))

    attack()
    evidence.require_regimes("mu above 0.8", "mu below 0.1")


@pytest.mark.theorem("T5b", part="holds")
def test_slopes_level_off(evidence: Recorder) -> None:
    """Slopes over the grid against the bound with constants uniform on [-1,1]: `lip(y_t)` and `lip(y*)` differ by at most `lip(y_t - y*)`.

    From `y_0 = 0`: `|y*| <= |A| + |v|` and `|Dy*| <= (|A| |w| + |v|)/(1 - mu)`, whatever the input.
    """

    @given(st.integers(0, 2**32), st.integers(1, 3))
    def attack(seed: int, n: int) -> None:
        drawn = draw_networks(128, n, generator(seed))
        zero = torch.zeros_like(drawn.start)
        G = Networks(drawn.A, drawn.w, drawn.v, drawn.x, zero, zero)
        (y, D), (star, _) = G.first(), G.limit()
        constants, mu = G.constants(), G.mu.squeeze(1)
        steepest = (mu * size(G.w) + size(G.v)) / (1 - mu)
        far = mu + size(G.v)
        distances = (G.x.unsqueeze(1) - G.x).abs()

        def lip(of: Tensor) -> Tensor:
            return slopes_of(size(of.unsqueeze(2) - of.unsqueeze(1)), distances).amax(dim=(1, 2))

        # A state errs by gamma_n (1 + |v|) / (1 - mu); the grid's points are a quarter apart.
        slack = 64 * gamma(4 * n + 32, torch.float64) * (1 + size(G.v)) / (1 - mu)
        worst = torch.ones(len(G), dtype=torch.float64)
        for t in range(1, STEPS + 1):
            y, D = G.step(y, D)
            bound = levelling_off.sides(
                jacobian_error=0.0,
                start_error=steepest,
                start_state_error=far,
                mu=mu,
                alpha=constants["alpha"].squeeze(1),
                beta=constants["beta"].squeeze(1),
                jacobian=steepest,
                steps=t,
            )[1]
            sides = levelling_off_of_slopes.sides(slope=lip(y), target_slope=lip(star), jacobian_bound=bound)
            worst = torch.minimum(worst, relative_margin(sides, slack))
        target(-settle(evidence, Kind.SAMPLED, "levelling_off_of_slopes", worst, instances=len(G), witness=G.describe))

    attack()


def pair_iterates(
    mu: Fraction, first: Fraction, turn: Fraction, steps: int
) -> Iterator[tuple[int, Fraction, Fraction]]:
    """The sharp instance at `x = 0`: `t`, the state's error before the step, and the Jacobian's error after it."""
    a, D = first, turn
    for t in range(1, steps + 1):
        error, D = abs(a), mu * D + a
        yield t, error, D
        a = mu * a


@pytest.mark.theorem("T5b", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    unit = st.fractions(min_value=Fraction(1, 50), max_value=Fraction(49, 50), max_denominator=50)
    number = st.fractions(min_value=Fraction(1, 9), max_value=9, max_denominator=9)

    @MANY
    @given(unit, number, st.fractions(min_value=0, max_value=9, max_denominator=9))
    def equality(mu: Fraction, first: Fraction, turn: Fraction) -> None:
        before = turn
        for t, error, D in pair_iterates(mu, first, turn, 8):
            step = jacobian_step.sides(
                error_after=D, error_before=before, state_error=error, mu=mu, alpha=0, beta=1, jacobian=0
            )
            whole = levelling_off.sides(
                jacobian_error=D,
                start_error=turn,
                start_state_error=first,
                mu=mu,
                alpha=0,
                beta=1,
                jacobian=0,
                steps=t,
            )
            for name, (lhs, rhs) in (("jacobian_step", step), ("levelling_off", whole)):
                assert lhs == rhs
                evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=name)
                evidence.caught(f"{name} 1% smaller", exact_margin((lhs, Fraction(99, 100) * rhs)), kind="tightened")
            before = D

    equality()


@pytest.mark.theorem("T5b", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.jacobian_without_convexity(evidence)


@pytest.mark.theorem("T5b", part="hypothesis_needed")
def test_slopes_need_a_bounded_start(evidence: Recorder) -> None:
    """`G = y/2` from `y_0 = x^2` on the line: `alpha = beta = 0`, `y* = 0`, and yet `lip(y_t) >= 1` for every t.

    The pair `2^t, 2^t - 1` shows it.
    """
    mu = Fraction(1, 2)
    for t in range(1, 40):
        x, other = Fraction(2**t), Fraction(2**t - 1)
        slope = mu**t * (x**2 - other**2) / (x - other)
        assert slope >= 1
        # The bound of the Jacobians on [-1, 1], taken for all of the line.
        bound = levelling_off.sides(
            jacobian_error=0, start_error=2, start_state_error=1, mu=mu, alpha=0, beta=0, jacobian=0, steps=t
        )[1]
        if t > 1:
            sides = levelling_off_of_slopes.sides(slope=slope, target_slope=0, jacobian_bound=bound)
            evidence.caught("Jacobians at the start not bounded on S", exact_margin(sides))


def roots(e: Fraction, r: Fraction, first: Fraction, turn: Fraction, steps: int) -> Iterator[dict[str, Any]]:
    """`G(y, s) = y - e (y^2 - s)` at `s = r^2`, `y_0 >= r`: the root of s, with `alpha = 2 e`, `beta = 0`, `mu = 1 - 2 e r`.

    States stay in `[r, y_0]` if `2 e y_0 <= 1`, and there `0 <= d_yG = 1 - 2 e y <= mu`.
    """
    y, D, star = first, turn, 1 / (2 * r)
    for t in range(1, steps + 1):
        state_error, before = y - r, abs(D - star)
        y, D = y - e * (y * y - r * r), (1 - 2 * e * y) * D + e
        yield {
            "error_after": abs(D - star),
            "error_before": before,
            "state_error": state_error,
            "jacobian_error": abs(D - star),
            "start_error": abs(turn - star),
            "start_state_error": first - r,
            "mu": 1 - 2 * e * r,
            "alpha": 2 * e,
            "beta": 0 * e,
            "jacobian": star,
            "steps": t,
        }


ONE_STEP = ("error_after", "error_before", "state_error", "mu", "alpha", "beta", "jacobian")
WHOLE = ("jacobian_error", "start_error", "start_state_error", "mu", "alpha", "beta", "jacobian", "steps")


@pytest.mark.theorem("T5b", part="rejects")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_rejects(evidence: Recorder, wrong: BrokenBound) -> None:
    instances: list[dict[str, Any]] = []
    for mu in (Fraction(1, 2), Fraction(9, 10)):
        for turn in (Fraction(0), Fraction(2)):
            before = turn
            for t, error, D in pair_iterates(mu, Fraction(1), turn, 6):
                shared = {"mu": mu, "alpha": 0, "beta": 1, "jacobian": 0, "steps": t}
                ends = {"error_after": D, "error_before": before, "state_error": error}
                starts = {"jacobian_error": D, "start_error": turn, "start_state_error": Fraction(1)}
                instances.append({**shared, **ends, **starts})
                before = D
    instances += roots(Fraction(1, 4), Fraction(1, 2), Fraction(2), Fraction(1), 6)
    names = ONE_STEP if wrong.about == "jacobian_step" else WHOLE
    margins = []
    for quantities in ({name: found[name] for name in names} for found in instances):
        assert exact_margin(HONEST[wrong.about](**quantities)) >= 0
        lhs, rhs = wrong.sides(**quantities)
        margins.append(exact_margin((Fraction(lhs), Fraction(rhs))))
    evidence.caught(wrong.name, min(margins))


@pytest.mark.theorem("T5b", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Square roots by a rational iteration (`alpha > 0`, `beta = 0`) and a triangular bilinear map off its fixed point's kink."""
    unit = st.fractions(min_value=Fraction(1, 20), max_value=1, max_denominator=20)
    number = st.fractions(min_value=-3, max_value=3, max_denominator=9)

    @MANY
    @given(unit, unit, unit, number)
    def attack(share: Fraction, r: Fraction, ratio: Fraction, turn: Fraction) -> None:
        first = r / ratio
        e = share / (2 * first)
        found = list(roots(e, r, first, turn, 4))
        for honest, names in ((jacobian_step, ONE_STEP), (levelling_off, WHOLE)):
            margins = [exact_margin(honest.sides(**{name: q[name] for name in names})) for q in found]
            evidence.record(Kind.EXACT, instances=1, worst_margin=min(margins), quantity=f"{honest.name}: square root")

    attack()

    @MANY
    @given(unit, number, number, number, number, number)
    def bilinear(share: Fraction, p: Fraction, q: Fraction, x: Fraction, a: Fraction, b: Fraction) -> None:
        # G((a,b), x) = (m a + p x, m b + q x a): in the sup norm |d_yG| = m + |q x|, alpha = 0, beta = |q|.
        m = share * Fraction(9, 10)
        coupling = min(abs(q * x), (1 - m) / 2)
        q = coupling / x if x else q
        mu = m + abs(q * x)
        star = (p * x / (1 - m), q * p * x * x / (1 - m) ** 2)
        J = (p / (1 - m), 2 * q * p * x / (1 - m) ** 2)
        y, D = (a, b), (Fraction(1), Fraction(-1))
        start = {
            "start_error": max(abs(D[0] - J[0]), abs(D[1] - J[1])),
            "start_state_error": max(abs(y[0] - star[0]), abs(y[1] - star[1])),
        }
        margins = []
        for t in range(1, 5):
            D = (m * D[0] + p, m * D[1] + q * x * D[0] + q * y[0])
            y = (m * y[0] + p * x, m * y[1] + q * x * y[0])
            error = max(abs(D[0] - J[0]), abs(D[1] - J[1]))
            sides = levelling_off.sides(
                jacobian_error=error,
                mu=mu,
                alpha=0,
                beta=abs(q),
                jacobian=max(map(abs, J)),
                steps=t,
                **start,
            )
            margins.append(exact_margin(sides))
        evidence.record(Kind.EXACT, instances=1, worst_margin=min(margins), quantity="levelling_off: bilinear")

    bilinear()
    t = sympy.Symbol("t", integer=True, positive=True)
    mu, first, turn = sympy.symbols("mu a s", positive=True)
    formula = mu**t * turn + t * mu ** (t - 1) * first
    statement = "D_{t+1} = mu D_t + mu^t a is solved by mu^t s + t mu^(t-1) a"
    assert sympy.simplify(formula.subs(t, t + 1) - (mu * formula + mu**t * first)) == 0
    evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="sharp recursion", proved=statement)
