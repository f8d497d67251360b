"""Numbers that say what they prove.

A `Bound` carries a side. A *lower* bound never proves that a constant is small, an *upper* bound never proves that it is
large, an *estimate* proves neither, and an *exact* value proves both. A `Verdict` says what a check established:
`proved`, `refuted` (with the witness) or `not refuted` (with the number of trials and the worst margin).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from eqtheory.errors import BoundOrderError, InputError

__all__ = ["Bound", "Bracket", "Evidence", "LocalBound", "Side", "Verdict", "VerdictKind"]


class Side(Enum):
    """Which side of the true constant a number is known to lie on."""

    LOWER = "lower bound"
    UPPER = "upper bound"
    ESTIMATE = "estimate"
    EXACT = "exact value"


class Evidence(Enum):
    """Where a number comes from."""

    PROVED = "proved"
    DECLARED = "declared by the user"
    ESTIMATED = "estimated from samples"


@dataclass(frozen=True)
class Bound:
    """One number (or one number per sample) with the side it bounds and where that is known from.

    Args:
        value: the number; a tensor of shape `(batch,)` where it differs by sample.
        side: what it proves, see `Side`.
        method: how it was obtained, in a few words.
        evidence: proved, declared or estimated.
        norm: name of the norm it refers to; empty for pure numbers.
        assumptions: what it still rests on, one sentence each.

    Raises:
        InputError: a proved bound was labelled an estimate, or an estimated one a bound.

    Example:
        >>> print(Bound(2.0, Side.UPPER, method="T3", evidence=Evidence.PROVED))
        <= 2.0 (upper bound, proved: T3)
    """

    value: Any
    side: Side
    method: str
    evidence: Evidence
    norm: str = ""
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.side is Side.ESTIMATE) != (self.evidence is Evidence.ESTIMATED):
            raise InputError(
                "side",
                f"{self.side.value} with evidence '{self.evidence.value}'",
                "an estimate to be labelled an estimate and a bound to be proved or declared",
                "use Side.ESTIMATE with Evidence.ESTIMATED, and only those two together",
            )

    def at(self, x: Any) -> Any:  # noqa: ARG002  (same signature as LocalBound.at)
        """Return the value, which is the same at every input.

        Args:
            x: any input; not looked at.

        Returns:
            `value`.
        """
        return self.value

    def __str__(self) -> str:
        sign = {Side.LOWER: ">= ", Side.UPPER: "<= ", Side.ESTIMATE: "~ ", Side.EXACT: "= "}[self.side]
        where = f" in {self.norm}" if self.norm else ""
        rest = f"; assuming {'; '.join(self.assumptions)}" if self.assumptions else ""
        origin = self.side.value if self.side is Side.ESTIMATE else f"{self.side.value}, {self.evidence.value}"
        return f"{sign}{self.value}{where} ({origin}: {self.method}{rest})"


@dataclass(frozen=True)
class LocalBound:
    """A bound that depends on the input, such as the contraction factor `mu(x)` of a regular operator.

    Args:
        function: maps a batch of inputs to a tensor of shape `(batch,)`.
        side: what its values prove.
        method: how it was obtained.
        evidence: proved, declared or estimated.
        norm: name of the norm it refers to.
        semicontinuous: whether the function is known to be upper semicontinuous, `limsup mu(x') <= mu(x)` for `x' -> x`. Only then does
            the value at an input bound what happens in the limit next to it; N1 shows what can happen otherwise.
    """

    function: Any
    side: Side
    method: str
    evidence: Evidence
    norm: str = ""
    semicontinuous: bool = False

    def __post_init__(self) -> None:
        Bound(None, self.side, self.method, self.evidence)  # the same rule about labels
        if not callable(self.function):
            raise InputError(
                "function", type(self.function).__name__, "a callable of the input", "use Bound for a constant"
            )

    def at(self, x: Any) -> Any:
        """Evaluate the bound.

        Args:
            x: a batch of inputs.

        Returns:
            Tensor of shape `(batch,)`.
        """
        return self.function(x)


@dataclass(frozen=True)
class Bracket:
    """A lower and an upper bound on the same constant.

    Constants in different norms are different constants: sides that name different norms are refused, whether they cross or not. A side
    that names none is taken to refer to the other one's.

    Args:
        lower: a bound with side `LOWER` or `EXACT`.
        upper: a bound with side `UPPER` or `EXACT`.

    Raises:
        BoundOrderError: the sides cross, so one of them is wrong.
        InputError: a side is on the wrong side, an estimate, or in another norm than the other one.
    """

    lower: Bound
    upper: Bound

    def __post_init__(self) -> None:
        for name, bound, side in (("lower", self.lower, Side.LOWER), ("upper", self.upper, Side.UPPER)):
            if bound.side not in (side, Side.EXACT):
                raise InputError(
                    name, bound.side.value, f"a {side.value}", "an estimate or the other side proves nothing"
                )
        if self.lower.norm and self.upper.norm and self.lower.norm != self.upper.norm:
            raise InputError(
                "upper",
                f"a bound in {self.upper.norm}",
                f"one in {self.lower.norm}, as below",
                "bound both in one norm",
            )
        ordered = self.lower.value <= self.upper.value
        # Tensors answer sample by sample; one crossing pair is enough, and a NaN compares as crossing.
        if not bool(ordered.all() if hasattr(ordered, "all") else ordered):
            message = (
                f"the lower bound {self.lower.value} ({self.lower.method}) exceeds "
                f"the upper bound {self.upper.value} ({self.upper.method}): one of them is wrong"
            )
            raise BoundOrderError(message)


class VerdictKind(Enum):
    """The three things a check can establish."""

    PROVED = "proved"
    REFUTED = "refuted"
    NOT_REFUTED = "not refuted"


@dataclass(frozen=True)
class Verdict:
    """What a check established.

    Args:
        kind: see `VerdictKind`.
        trials: instances examined.
        worst_margin: smallest relative margin `(rhs - lhs) / rhs` seen; 0 means the bound was attained.
        witness: the refuting instance, `None` unless refuted.
        method: what was compared, and in which arithmetic.

    Raises:
        InputError: a refutation without a witness, or a witness without a refutation.
    """

    kind: VerdictKind
    trials: int
    worst_margin: float
    method: str
    witness: Any = field(default=None)

    def __post_init__(self) -> None:
        if (self.witness is not None) != (self.kind is VerdictKind.REFUTED):
            raise InputError(
                "witness", repr(self.witness), "a witness exactly when refuted", "pass the failing instance"
            )

    def __str__(self) -> str:
        if self.kind is VerdictKind.REFUTED:
            return f"refuted (witness: {self.witness}; margin {self.worst_margin:.3g}; {self.method})"
        if self.kind is VerdictKind.PROVED:
            return f"proved ({self.trials} cases, smallest margin {self.worst_margin:.3g}; {self.method})"
        return f"not refuted ({self.trials} trials, worst margin {self.worst_margin:.3g}; {self.method})"
