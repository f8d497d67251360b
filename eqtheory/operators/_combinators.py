"""Operators made from operators, with the regularity that follows from the parts (T15).

Every rule is derived where it is used; evidence is inherited, so nothing becomes `proved` because it was combined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.errors import InputError
from eqtheory.norms import BlockSum, Euclidean, Metric, Norm, Sup
from eqtheory.operators._base import ImplicitOperator
from eqtheory.operators._regularity import Regularity

__all__ = ["Cascade", "Clipped", "Composed", "Encoded", "Relaxed"]


def _weaker(*bounds: Bound | LocalBound) -> tuple[Side, Evidence]:
    """Label of a quantity computed from several: as weak as the weakest."""
    order = [Evidence.PROVED, Evidence.DECLARED, Evidence.ESTIMATED]
    evidence = max((b.evidence for b in bounds), key=order.index)
    return (Side.ESTIMATE if evidence is Evidence.ESTIMATED else Side.UPPER), evidence


def _derive(
    rule: Callable[..., Any], method: str, *parts: Bound, resting_on: tuple[Bound | LocalBound, ...] = ()
) -> Bound:
    side, evidence = _weaker(*parts, *resting_on)
    return Bound(rule(*(p.value for p in parts)), side, method, evidence, norm=parts[0].norm)


def _derive_mu(rule: Callable[..., Any], method: str, *parts: Bound | LocalBound) -> Bound | LocalBound:
    if all(isinstance(p, Bound) for p in parts):
        return _derive(rule, method, *[p for p in parts if isinstance(p, Bound)])
    side, evidence = _weaker(*parts)
    # The rules are continuous and do not decrease in any factor, so they keep semicontinuity from above. A tensor of factors, one per
    # sample, says nothing of inputs in between.
    kept = all(p.semicontinuous if isinstance(p, LocalBound) else getattr(p.value, "ndim", 0) == 0 for p in parts)
    return LocalBound(
        lambda x: rule(*(p.at(x) for p in parts)), side, method, evidence, norm=parts[0].norm, semicontinuous=kept
    )


@final
class Relaxed(ImplicitOperator):
    """`(1 - eps) y + eps G(y, x)`: the same fixed points, closer steps.

    Regularity: `mu' = 1 - eps (1 - mu)` since `|(1-eps) dy + eps dG| <= ((1-eps) + eps mu) |dy|`; budget `eps (L0, L1)`,
    since only `eps G` sees the input.

    Args:
        operator: the operator to relax.
        eps: relaxation, `0 < eps <= 1`.

    Raises:
        InputError: `eps` outside `(0, 1]`.
    """

    def __init__(self, operator: ImplicitOperator, eps: float) -> None:
        if not 0 < eps <= 1:
            raise InputError("eps", str(eps), "0 < eps <= 1", "eps = 1 is the operator itself")
        self.operator = operator
        self.eps = eps
        base = operator.regularity
        if base is not None:
            self.regularity = replace(
                base,
                mu=_derive_mu(lambda mu: 1 - eps * (1 - mu), "relaxation", base.mu),
                L0=_derive(lambda L: eps * L, "relaxation", base.L0),
                L1=_derive(lambda L: eps * L, "relaxation", base.L1),
                rounding=None,
            )

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        return y + self.eps * (self.operator(y, x) - y)

    def initial_state(self, x: Any) -> Tensor:
        """Return the initial state of the relaxed operator, which is that of the operator.

        Args:
            x: inputs with a batch axis.

        Returns:
            States, shape `(batch, ...)`.
        """
        return self.operator.initial_state(x)


@final
class Encoded(ImplicitOperator):
    """`G(y, E(x))` for an encoder `E`.

    Regularity: the same `mu` at `E(x)`; an `e`-Lipschitz encoder gives the budget `e (L0, L1)` (T15).

    Args:
        operator: the operator that reads the code.
        encoder: maps inputs to codes, batch axis first.
        lipschitz: a Lipschitz constant of the encoder from `input_metric` to the operator's input metric; without it no
            regularity is derived.
        input_metric: metric on the inputs of the encoder; Euclidean by default.

    Raises:
        InputError: a negative Lipschitz constant.
    """

    def __init__(
        self,
        operator: ImplicitOperator,
        encoder: Callable[[Any], Any],
        *,
        lipschitz: Bound | None = None,
        input_metric: Metric | None = None,
    ) -> None:
        if lipschitz is not None and not lipschitz.value >= 0:
            raise InputError("lipschitz", str(lipschitz.value), "a number >= 0", "pass Bound(e, Side.UPPER, ...)")
        if lipschitz is not None and lipschitz.side is Side.LOWER:
            raise InputError("lipschitz", lipschitz.side.value, "an upper bound", "a lower bound cannot bound a budget")
        self.operator = operator
        self.encoder = encoder
        base = operator.regularity
        if base is not None and lipschitz is not None:
            mu = base.mu
            if isinstance(mu, LocalBound):
                # A Lipschitz encoder is continuous, so semicontinuity is kept; how well that is known, L0 says as well.
                kept = mu.semicontinuous and lipschitz.side is not Side.ESTIMATE
                mu = LocalBound(
                    lambda x: base.mu.at(encoder(x)), mu.side, "encoder", mu.evidence, mu.norm, semicontinuous=kept
                )
            self.regularity = replace(
                base,
                mu=mu,
                L0=_derive(lambda L, e: e * L, "T15 encoder", base.L0, lipschitz),
                L1=_derive(lambda L, e: e * L, "T15 encoder", base.L1, lipschitz),
                input_metric=input_metric or Euclidean(),
                rounding=None,
            )

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        return self.operator(y, self.encoder(x))

    def initial_state(self, x: Any) -> Tensor:
        """Return the operator's initial state at the code of the input.

        Args:
            x: inputs with a batch axis.

        Returns:
            States, shape `(batch, ...)`.
        """
        return self.operator.initial_state(self.encoder(x))


@final
class Clipped(ImplicitOperator):
    """`G(P(y), x)` with `P` the projection of the state onto the ball of a given radius.

    Projections onto balls around zero are nonexpansive in the Euclidean norm, and entrywise clipping is in the sup norm,
    so `mu` is kept; since `|P(y)| <= radius`, the budget becomes `(L0 + L1 radius, 0)`. The fixed point is kept wherever
    it lies in the ball.

    Args:
        operator: the operator whose state is clipped.
        radius: radius of the ball in the operator's state norm, Euclidean or sup.

    Raises:
        InputError: a radius that is not positive, or a norm in which the projection expands.
    """

    def __init__(self, operator: ImplicitOperator, radius: float) -> None:
        if not 0 < radius < float("inf"):
            raise InputError("radius", str(radius), "a positive number", "pass a bound on the states you expect")
        if not isinstance(operator.norm, (Euclidean, Sup)):
            raise InputError("operator.norm", operator.norm.name, "l2 or sup", "other projections can expand distances")
        self.operator = operator
        self.radius = radius
        base = operator.regularity
        if base is not None:
            self.regularity = replace(
                base,
                L0=_derive(lambda L0, L1: L0 + L1 * radius, "clipping", base.L0, base.L1),
                L1=_derive(lambda L1: 0 * L1, "clipping", base.L1),
                rounding=None,
            )

    def project(self, y: Tensor) -> Tensor:
        """Project states onto the ball.

        Args:
            y: states, shape `(batch, ...)`.

        Returns:
            The nearest states of norm at most `radius`, the shape of `y`.
        """
        if isinstance(self.operator.norm, Sup):
            return y.clamp(-self.radius, self.radius)
        size = self.operator.norm(y).clamp_min(self.radius)
        return y * (self.radius / size).reshape(-1, *[1] * (y.ndim - 1))

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        return self.operator(self.project(y), x)

    def initial_state(self, x: Any) -> Tensor:
        """Return the operator's initial state, projected.

        Args:
            x: inputs with a batch axis.

        Returns:
            States, shape `(batch, ...)`.
        """
        return self.project(self.operator.initial_state(x))


@final
class Composed(ImplicitOperator):
    """`G(H(y, x), x)`: one operator after the other on the same state.

    Regularity: `mu = mu_G mu_H`. If `G` has `L1 = 0`, the input moves the result by at most `mu_G (L0_H + L1_H |y|) d`
    through `H` and `L0_G d` directly: budget `(L0_G + L0_H, L1_H)` with `mu_G <= 1`. If `G` has `L1 > 0` nothing follows
    (`|H(y, x)|` need not be bounded in `x`), and no regularity is declared; clip `G` first. Nor is one where the two are measured
    in different norms or metrics.

    Args:
        outer: `G`, applied last.
        inner: `H`, applied first.
    """

    def __init__(self, outer: ImplicitOperator, inner: ImplicitOperator) -> None:
        self.outer = outer
        self.inner = inner
        a, b = outer.regularity, inner.regularity
        alike = a is not None and b is not None and (a.state_norm, a.input_metric) == (b.state_norm, b.input_metric)
        if alike and a is not None and b is not None and a.L1.value == 0:
            # That `G` has L1 = 0 and mu <= 1 is used by the budget, so the budget is known no better than these are.
            used = (a.L1, a.mu)
            self.regularity = replace(
                a,
                mu=_derive_mu(lambda m, n: m * n, "composition", a.mu, b.mu),
                L0=_derive(lambda La, Lb: La + Lb, "composition", a.L0, b.L0, resting_on=used),
                L1=_derive(lambda Lb: Lb, "composition", b.L1, resting_on=used),
                rounding=None,
            )

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        return self.outer(self.inner(y, x), x)

    def initial_state(self, x: Any) -> Tensor:
        """Return the inner operator's initial state.

        Args:
            x: inputs with a batch axis.

        Returns:
            States, shape `(batch, ...)`.
        """
        return self.inner.initial_state(x)


@final
class Cascade(ImplicitOperator):
    """`(y1, y2) -> (G1(y1, x), G2(y2, y1))`: the second operator reads the first one's state as its input.

    The state is flat, `(batch, n1 + n2)`. With factors `m1, m2 < 1` and `G2` `l`-Lipschitz in `y1`, the cascade contracts
    in `|y1| + theta |y2|`, `theta = (1 - m1) / (2 l)`, with factor `max((1 + m1)/2, m2)`, and keeps the budget of `G1` (T15).

    Args:
        first: `G1`, with regularity declared and a constant `mu`.
        second: `G2`, with regularity declared and a constant `mu`; its `L1` must be 0, its `L0` is the coupling `l`.
        sizes: lengths `(n1, n2)` of the two states.

    Raises:
        InputError: regularity is missing, depends on the input, or `G2` has `L1 > 0`.
    """

    def __init__(self, first: ImplicitOperator, second: ImplicitOperator, *, sizes: tuple[int, int]) -> None:
        a, b = first.regularity, second.regularity
        if a is None or b is None or not isinstance(a.mu, Bound) or not isinstance(b.mu, Bound):
            raise InputError(
                "first, second", "no constant mu", "declared regularity with one mu each", "use Regularity.declared"
            )
        if b.L1.value != 0:
            raise InputError("second", f"L1 = {b.L1.value}", "L1 = 0, so that it is Lipschitz in y1", "clip it first")
        if a.state_norm != b.state_norm:
            raise InputError(
                "second", b.state_norm.name, f"the state norm of first, {a.state_norm.name}", "declare both in one norm"
            )
        if b.input_metric != a.state_norm:
            raise InputError(
                "second",
                f"inputs measured in {b.input_metric.name}",
                f"the state norm of first, {a.state_norm.name}, since its input is that state",
                "declare its L0 in that norm",
            )
        self.first, self.second, self.sizes = first, second, sizes
        coupling = b.L0.value
        theta = 1.0 if coupling == 0 else (1 - a.mu.value) / (2 * coupling)
        norm: Norm = BlockSum(sizes, (1.0, float(theta)), a.state_norm)
        self.regularity = Regularity(
            mu=replace(
                _derive(
                    lambda m, n: max((1 + m) / 2 if coupling else m, n),
                    "T15 cascade",
                    a.mu,
                    b.mu,
                    resting_on=(b.L0, b.L1),
                ),
                norm=norm.name,
            ),
            L0=replace(a.L0, norm=norm.name),
            L1=replace(a.L1, norm=norm.name),
            state_norm=norm,
            input_metric=a.input_metric,
        )

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        y1, y2 = torch.split(y, list(self.sizes), dim=1)
        return torch.cat([self.first(y1, x), self.second(y2, y1)], dim=1)

    def initial_state(self, x: Any) -> Tensor:
        """Return both initial states, one after the other.

        Args:
            x: inputs with a batch axis.

        Returns:
            States, shape `(batch, n1 + n2)`.
        """
        y1 = self.first.initial_state(x)
        return torch.cat([y1, self.second.initial_state(y1)], dim=1)
