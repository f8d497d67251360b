"""What did this check establish, on how many instances, in which arithmetic, and by what margin?

Definitions. An *instance* is one independently drawn problem. The *margin* of an inequality `lhs <= rhs` on an
instance is relative, `(rhs - lhs) / rhs`: 1 where the left side vanishes, 0 where the bound is attained, negative
where it is violated. A theorem is attacked in five *parts*: it holds, its bound is attained, its hypotheses are
needed, wrong constructions are rejected, and an exact argument agrees. A `Recorder` belongs to one test of one part
and travels as plain data.

Three rules keep the record honest. Sampling never proves: a statement for all cases needs exact or ball arithmetic.
An exact margin below zero, on instances that satisfy the hypotheses, is a counterexample whether or not the test
noticed. A wrong construction counts as caught only with a negative margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from eqtheory.errors import InputError
from eqtheory.testing._measurement import (
    Catch,
    EvidenceError,
    Kind,
    Margin,
    Measurement,
    Refuted,
    checked_margin,
    checked_text,
    margin_value,
)
from eqtheory.theorems import THEOREMS, control

__all__ = [
    "PARTS",
    "WITHIN_HYPOTHESES",
    "Catch",
    "EvidenceError",
    "Kind",
    "Margin",
    "Measurement",
    "Recorder",
    "Refuted",
]

PARTS = ("holds", "sharp", "hypothesis_needed", "rejects", "exact")
"""The five parts of a theorem's check, in the order they are reported."""

WITHIN_HYPOTHESES = ("holds", "sharp", "exact")
"""The parts whose instances satisfy the hypotheses: only there does a negative margin speak against the theorem."""


class Recorder:
    """What one test established.

    Args:
        theorem: identifier of the theorem, or of the control, that the test is about.
        part: one of `PARTS`.

    Raises:
        InputError: `part` is not one of the five.

    Example:
        >>> from fractions import Fraction
        >>> evidence = Recorder("T3", "holds")
        >>> evidence.record(Kind.EXACT, instances=3, worst_margin=Fraction(1, 4), quantity="joint_budget")
        >>> evidence.measurements[0].instances
        3
    """

    def __init__(self, theorem: str, part: str) -> None:
        if part not in PARTS:
            raise InputError(
                argument="part",
                came=repr(part),
                needed=f"one of {', '.join(PARTS)}",
                remedy="name the part this check belongs to",
            )
        self.theorem = theorem
        self.part = part
        self._measurements: dict[tuple[Kind, str], Measurement] = {}
        self._catches: dict[tuple[str, str], Catch] = {}
        self._regimes: dict[str, int] = {}
        self._required: dict[str, None] = {}
        self._controls: dict[str, dict[str, None]] = {}

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """Comparisons, one entry per arithmetic and inequality, in the order they first came."""
        return tuple(self._measurements.values())

    @property
    def catches(self) -> tuple[Catch, ...]:
        """Wrong constructions and tightened bounds that were put before the check."""
        return tuple(self._catches.values())

    @property
    def regime_counts(self) -> dict[str, int]:
        """How many instances of each regime were drawn."""
        return dict(self._regimes)

    @property
    def controls(self) -> dict[str, tuple[str, ...]]:
        """What was observed of each negative control."""
        return {identifier: tuple(seen) for identifier, seen in self._controls.items()}

    @property
    def empty(self) -> bool:
        """Whether nothing was established. Counting regimes establishes nothing until some are required."""
        return not (self._measurements or self._catches or self._controls or self._required)

    @property
    def counterexample(self) -> Measurement | None:
        """A comparison that fails where the hypotheses hold; margins grant rounding what it can explain."""
        if self.part not in WITHIN_HYPOTHESES or all(theorem.id != self.theorem for theorem in THEOREMS):
            return None
        return next((m for m in self.measurements if m.worst_margin < 0), None)

    def record(self, kind: Kind, *, instances: int, worst_margin: Margin, quantity: str, proved: str = "") -> None:
        """Record comparisons of one inequality; further calls for it add up.

        Args:
            kind: the arithmetic they were made in.
            instances: independently drawn instances examined, at least 1.
            worst_margin: smallest relative margin `(rhs - lhs) / rhs` among them.
            quantity: which inequality, for example the name it has in the registry.
            proved: a statement this established for all cases; only exact and ball arithmetic can.

        Raises:
            InputError: an argument is unusable, or sampling claims a proof.
        """
        if not isinstance(kind, Kind):
            raise InputError(
                argument="kind", came=repr(kind), needed="a Kind", remedy="pass Kind.EXACT, Kind.BALL or Kind.SAMPLED"
            )
        if isinstance(instances, bool) or not isinstance(instances, int) or instances < 1:
            raise InputError(
                argument="instances",
                came=repr(instances),
                needed="an int of at least 1",
                remedy="count the instances examined",
            )
        margin = checked_margin("worst_margin", worst_margin)
        quantity = checked_text("quantity", quantity, "name the inequality that was compared")
        if proved and kind is Kind.SAMPLED:
            raise InputError(
                argument="proved",
                came=f"{proved!r} from samples",
                needed="exact or ball arithmetic",
                remedy="samples only refute",
            )
        if proved and margin < 0:
            raise InputError(
                argument="proved",
                came=f"{proved!r} with margin {margin}",
                needed="a margin that is not negative",
                remedy="a violated comparison proves nothing",
            )
        entry = Measurement(kind, quantity, instances, margin, (" ".join(proved.split()),) if proved else ())
        self._add(entry)

    def regimes(self, counts: Mapping[str, int]) -> None:
        """Count drawn instances by regime; further calls add up.

        Args:
            counts: regime to number of instances, 0 or more.

        Raises:
            InputError: a count is not an int of at least 0.
        """
        for name, count in counts.items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise InputError(
                    argument=f"regimes[{name!r}]",
                    came=repr(count),
                    needed="an int of at least 0",
                    remedy="count drawn instances",
                )
        for name, count in counts.items():
            self._regimes[name] = self._regimes.get(name, 0) + count

    def require_regimes(self, *names: str) -> None:
        """Insist that every named regime was drawn at least once.

        Args:
            names: the regimes the check claims to have covered.

        Raises:
            InputError: no name was given, so nothing would be required.
            EvidenceError: some were never drawn; an `AssertionError` that names them all.
        """
        if not names:
            raise InputError(
                argument="names",
                came="nothing",
                needed="at least one regime",
                remedy="name the regimes that must be drawn",
            )
        self._required.update(dict.fromkeys(names))
        absent = [name for name in names if not self._regimes.get(name)]
        if absent:
            message = f"{self.theorem} {self.part}: never drawn: {', '.join(absent)}"
            raise EvidenceError(message)

    def control(self, identifier: str, observed: str) -> None:
        """Record that a negative control failed as predicted.

        Args:
            identifier: id or slug of a registered control.
            observed: what was seen, in one line with its numbers.

        Raises:
            InputError: `observed` is empty.
            UnknownTheoremError: no such control is registered.
        """
        found = control(identifier).id
        seen = checked_text("observed", observed, "say what was seen, with its numbers")
        self._controls.setdefault(found, {})[seen] = None

    def caught(self, name: str, margin: Margin, kind: Literal["zoo", "tightened"] = "zoo") -> None:
        """Record that the check rejects a wrong construction or a tightened bound.

        Args:
            name: what was wrong with it.
            margin: the relative margin the check saw, which must be negative.
            kind: `zoo` for a wrong construction, `tightened` for a bound made too small.

        Raises:
            InputError: an argument is unusable.
            EvidenceError: the margin is not negative: the check does not see the fault.
        """
        name = checked_text("name", name, "say what is wrong with the construction")
        if kind not in ("zoo", "tightened"):
            raise InputError(
                argument="kind",
                came=repr(kind),
                needed="'zoo' or 'tightened'",
                remedy="say which of the two was rejected",
            )
        entry = Catch(name, kind, checked_margin("margin", margin))
        self._put(entry)
        if not entry.caught:
            message = f"{name}: not caught: margin {margin_value(entry.margin):.6g} is not negative"
            raise EvidenceError(message)

    def _add(self, entry: Measurement) -> None:
        earlier = self._measurements.get((entry.kind, entry.quantity))
        self._measurements[entry.kind, entry.quantity] = entry if earlier is None else earlier.merged(entry)

    def _put(self, catch: Catch) -> None:
        # The weakest violation is kept: a fault that was missed once counts as missed.
        earlier = self._catches.get((catch.kind, catch.name), catch)
        self._catches[catch.kind, catch.name] = max(earlier, catch, key=lambda seen: seen.margin)

    def merge(self, other: Recorder) -> None:
        """Add what another test of the same theorem and part established.

        Args:
            other: its record.
        """
        for entry in other.measurements:
            self._add(entry)
        for catch in other.catches:
            self._put(catch)
        for name, count in other._regimes.items():
            self._regimes[name] = self._regimes.get(name, 0) + count
        self._required.update(other._required)
        for identifier, seen in other._controls.items():
            self._controls.setdefault(identifier, {}).update(seen)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, which survive any process border.

        Returns:
            Everything recorded.
        """
        return {
            "theorem": self.theorem,
            "part": self.part,
            "measurements": [entry.to_dict() for entry in self.measurements],
            "regimes": self.regime_counts,
            "required_regimes": list(self._required),
            "controls": {identifier: list(seen) for identifier, seen in self._controls.items()},
            "caught": [catch.to_dict() for catch in self.catches],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recorder:
        """Read back what `to_dict` wrote.

        Args:
            data: the plain values.

        Returns:
            An equal record.
        """
        found = cls(data["theorem"], data["part"])
        for entry in map(Measurement.from_dict, data["measurements"]):
            found._add(entry)
        for catch in map(Catch.from_dict, data["caught"]):
            found._put(catch)
        found._regimes.update(data["regimes"])
        found._required.update(dict.fromkeys(data["required_regimes"]))
        found._controls.update({identifier: dict.fromkeys(seen) for identifier, seen in data["controls"].items()})
        return found
