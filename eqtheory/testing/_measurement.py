"""What is one comparison, and how does its margin survive being written down?

The data a `Recorder` is made of: the arithmetic of a comparison (`Kind`), all comparisons of one inequality
(`Measurement`), one wrong construction put before a check (`Catch`), and the two ways a check can fail on purpose
(`Refuted`, `EvidenceError`). Each has a form in plain JSON values: a record crosses process borders and ends in a
file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from typing import Any, TypeAlias

from eqtheory.errors import EqTheoryError, InputError

__all__ = [
    "Catch",
    "EvidenceError",
    "Kind",
    "Margin",
    "Measurement",
    "Refuted",
    "checked_margin",
    "checked_text",
    "format_margin",
    "margin_from_data",
    "margin_to_data",
    "margin_value",
]

Margin: TypeAlias = float | Fraction
"""A relative margin `(rhs - lhs) / rhs`: rational where the arithmetic was exact."""

_EXACT_BITS = 256
# Longer numerators or denominators are reported as decimals only: nobody reads them, and Python refuses to print 4300
# digits.


class Kind(Enum):
    """The arithmetic a comparison was made in."""

    EXACT = "exact"
    BALL = "ball"
    SAMPLED = "sampled"


class EvidenceError(EqTheoryError, AssertionError):
    """A check did not establish what it claims: a regime was never drawn, or a wrong construction was not caught."""


class Refuted(EqTheoryError, AssertionError):  # noqa: N818  (a verdict, not a malfunction)
    """An instance that satisfies the hypotheses violates the inequality.

    Args:
        quantity: the inequality that is violated.
        margin: its relative margin there, negative.
        witness: the instance, as text from which it can be rebuilt.

    Example:
        >>> print(Refuted("joint_budget", -0.25, "X = {0, 1}, F = (0, 3)"))
        joint_budget: violated with margin -0.25 by X = {0, 1}, F = (0, 3)
    """

    def __init__(self, quantity: str, margin: Margin, witness: str) -> None:
        self.quantity = quantity
        self.margin = margin
        self.witness = witness
        super().__init__(f"{quantity}: violated with margin {margin_value(margin):.6g} by {witness}")

    def __reduce__(self) -> tuple[type[Refuted], tuple[str, Margin, str]]:
        """Rebuild from the three parts, so the witness crosses process borders whole.

        Returns:
            The class and its arguments.
        """
        return type(self), (self.quantity, self.margin, self.witness)


def margin_value(margin: Margin) -> float:
    """Return a margin as a float; a rational beyond the range of floats becomes an infinity of its sign.

    Args:
        margin: a float or a rational.

    Returns:
        The nearest float.
    """
    try:
        return float(margin)
    except OverflowError:
        return math.inf if margin > 0 else -math.inf


def format_margin(margin: Margin) -> str:
    """Write a margin for a table: exactly where that is short, otherwise to three digits.

    Args:
        margin: a float or a rational.

    Returns:
        At most ten characters.
    """
    if isinstance(margin, Fraction) and len(str(margin_to_data(margin)[1])) in range(1, 9):
        return str(margin)
    # Adding zero turns -0.0 into 0.0.
    return f"{margin_value(margin) + 0.0:.3g}".replace("e-0", "e-").replace("e+0", "e+")


def margin_to_data(margin: Margin) -> tuple[float | str, str]:
    """Split a margin into a JSON number (or '-inf') and, for a rational of readable length, its exact text.

    Args:
        margin: a checked margin.

    Returns:
        The pair; the second entry is empty where there is no exact text.
    """
    value = margin_value(margin)
    exact = ""
    if (
        isinstance(margin, Fraction)
        and max(margin.numerator.bit_length(), margin.denominator.bit_length()) <= _EXACT_BITS
    ):
        exact = str(margin)
    return (value if math.isfinite(value) else str(value)), exact


def margin_from_data(value: float | str, exact: str) -> Margin:
    """Read back what `margin_to_data` wrote.

    Args:
        value: the JSON number, or '-inf'.
        exact: the exact text, or nothing.

    Returns:
        The margin.
    """
    return Fraction(exact) if exact else float(value)


def checked_margin(name: str, margin: Any) -> Margin:
    """Require a relative margin.

    Args:
        name: name of the argument, for the message.
        margin: what came.

    Returns:
        A float or a rational, not NaN and below +inf.

    Raises:
        InputError: it is not a number, or NaN, or +inf.
    """
    if isinstance(margin, bool) or not isinstance(margin, (int, float, Fraction)):
        came = type(margin).__name__
        raise InputError(name, came, "a float or a Fraction", "pass float(...), or .item() of a tensor")
    if isinstance(margin, Fraction):
        return margin
    # +inf would mean a right side of 0 or infinity, which bounds nothing; -inf is an honest violation of `lhs <= 0`.
    if math.isnan(margin) or margin == math.inf:
        raise InputError(
            name, str(margin), "a number below +inf", "compute (rhs - lhs)/rhs only where rhs > 0 is finite"
        )
    return Fraction(margin) if isinstance(margin, int) else float(margin)


def checked_text(name: str, text: Any, remedy: str) -> str:
    """Require a non-empty string and put it on one line.

    Args:
        name: name of the argument, for the message.
        text: what came.
        remedy: what the caller can do about it.

    Returns:
        The text with every run of white space made one blank.

    Raises:
        InputError: not a string, or blank.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError(name, repr(text), "a non-empty string", remedy)
    return " ".join(text.split())


@dataclass(frozen=True)
class Measurement:
    """All comparisons of one inequality in one arithmetic.

    Args:
        kind: the arithmetic.
        quantity: which inequality.
        instances: how many independently drawn instances, at least 1.
        worst_margin: smallest relative margin among them.
        proved: statements established for all cases, in the order they were recorded.
    """

    kind: Kind
    quantity: str
    instances: int
    worst_margin: Margin
    proved: tuple[str, ...] = ()

    def merged(self, other: Measurement) -> Measurement:
        """Add the instances and keep the smaller margin.

        Args:
            other: comparisons of the same inequality in the same arithmetic.

        Returns:
            Both together.
        """
        return replace(
            self,
            instances=self.instances + other.instances,
            worst_margin=min(self.worst_margin, other.worst_margin),
            proved=tuple(dict.fromkeys(self.proved + other.proved)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values.

        Returns:
            Kind, quantity, instances, the worst margin as a number and, where it is a short rational, exactly.
        """
        value, exact = margin_to_data(self.worst_margin)
        return {
            "kind": self.kind.value,
            "quantity": self.quantity,
            "instances": self.instances,
            "worst_margin": value,
            "worst_margin_exact": exact,
            "proved": list(self.proved),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """Read back what `to_dict` wrote.

        Args:
            data: the plain values.

        Returns:
            The measurement.
        """
        margin = margin_from_data(data["worst_margin"], data["worst_margin_exact"])
        return cls(Kind(data["kind"]), data["quantity"], data["instances"], margin, tuple(data["proved"]))


@dataclass(frozen=True)
class Catch:
    """One wrong construction or tightened bound that was put before the check.

    Args:
        name: what was wrong.
        kind: `zoo` for a wrong construction, `tightened` for a bound made too small.
        margin: the violation the check saw; the weakest one where it was seen several times. Caught means negative.
    """

    name: str
    kind: str
    margin: Margin

    @property
    def caught(self) -> bool:
        """Whether every time it was put before the check, the check saw a violation."""
        return self.margin < 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values.

        Returns:
            Name, kind, margin and whether it was caught.
        """
        value, exact = margin_to_data(self.margin)
        return {"name": self.name, "kind": self.kind, "margin": value, "margin_exact": exact, "caught": self.caught}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Catch:
        """Read back what `to_dict` wrote.

        Args:
            data: the plain values.

        Returns:
            The catch.
        """
        return cls(data["name"], data["kind"], margin_from_data(data["margin"], data["margin_exact"]))
