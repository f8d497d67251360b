"""Averaging with one constant step, and the pair of inputs that refutes any budget claimed for it (T8)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side, Verdict, VerdictKind
from eqtheory.errors import InputError
from eqtheory.norms import same_shape
from eqtheory.operators import ImplicitOperator, OncePerInput, Regularity
from eqtheory.targets import Target
from eqtheory.theorems.naive_averaging import violation
from eqtheory.validate import open_unit

__all__ = ["ConstantRelaxation"]


@final
class ConstantRelaxation(ImplicitOperator):
    """`G(y, x) = y + eps (F(x) - y)` with the same `eps` everywhere.

    It contracts with `mu = 1 - eps` and has the right fixed point, but `G(0,x) - G(0,x') = eps (F(x) - F(x'))`: a budget exists
    only if `F` is globally Lipschitz. With a proved global constant `l` it is `L0 = eps l`, `L1 = 0`.

    Args:
        represented: the map.
        eps: the step, `0 < eps <= 1`.
        lipschitz: a global Lipschitz constant of the map, where there is one.

    Raises:
        InputError: `eps` outside, or a lower bound or an estimate in place of a Lipschitz constant.

    Theorem: T8.
    """

    def __init__(self, represented: Target, eps: float, *, lipschitz: Bound | None = None) -> None:
        self.represented = represented
        self.eps = open_unit("eps", eps, include_one=True)
        self._value = OncePerInput(represented)
        if lipschitz is not None:
            if lipschitz.side not in (Side.UPPER, Side.EXACT):
                raise InputError(
                    "lipschitz", lipschitz.side.value, "an upper bound", "a global constant has to be proved"
                )
            norm = represented.output_norm
            self.regularity = Regularity(
                Bound(1 - eps, Side.EXACT, "relaxation", Evidence.PROVED, norm.name),
                Bound(eps * lipschitz.value, lipschitz.side, "T8", lipschitz.evidence, norm.name),
                Bound(0.0, Side.EXACT, "T8", Evidence.PROVED, norm.name),
                norm,
                represented.input_norm,
            )

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        value = self._value(x)
        same_shape("y, F(x)", y, value)
        return y + self.eps * (value - y)

    def initial_state(self, x: Tensor) -> Tensor:
        """Start from zero.

        Args:
            x: inputs in the map's domain.

        Returns:
            Zeros of the shape of `F(x)`.
        """
        return torch.zeros_like(self._value(x))

    def refute(self, L0: float) -> Verdict:
        """Find a pair of inputs that violates (R2) with the claimed `L0`, at the zero state, where `L1` cannot help.

        Args:
            L0: the claimed budget, finite and not negative.

        Returns:
            `refuted` with the pair, or `not refuted` without a trial if no pair of float64 inputs is steep enough.

        Raises:
            InputError: a negative or non-finite claim.
        """
        if not 0 <= L0 < float("inf"):
            raise InputError("L0", str(L0), "a finite number >= 0", "pass the budget you want refuted")
        try:
            a, b = self.represented.steep_pair(2 * L0 / self.eps + 1)
        except InputError as error:
            # Real numbers hold a steeper pair; this arithmetic does not, and a refutation needs its witness.
            return Verdict(VerdictKind.NOT_REFUTED, 0, float("inf"), f"no witness in float64: {error}")
        zero = self.initial_state(a)
        gap = self.represented.output_norm.distance(self(zero, a), self(zero, b))
        delta = self.represented.input_norm.distance(a, b)
        claimed, actual = violation.sides(gap=gap, delta=delta, L0=L0)
        margin = float((claimed - actual) / actual)
        if margin < 0:
            witness = f"x = {a[0].tolist()}, x' = {b[0].tolist()}"
            return Verdict(VerdictKind.REFUTED, 1, margin, "one pair at the zero state", witness)
        return Verdict(VerdictKind.NOT_REFUTED, 1, margin, "one pair at the zero state")
