"""The record keeps what was established, refuses what would make it meaningless, and survives being sent."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from fractions import Fraction

import pytest

from eqtheory.errors import EqTheoryError, InputError, UnknownTheoremError
from eqtheory.testing import _measurement, evidence
from eqtheory.testing._measurement import format_margin, margin_value
from eqtheory.testing.evidence import PARTS, EvidenceError, Kind, Recorder, Refuted


@pytest.fixture
def recorder() -> Recorder:
    return Recorder("T3", "holds")


def test_records_of_one_inequality_in_one_arithmetic_add_up(recorder: Recorder) -> None:
    recorder.record(Kind.SAMPLED, instances=3, worst_margin=0.5, quantity="joint_budget")
    recorder.record(Kind.SAMPLED, instances=4, worst_margin=0.25, quantity="joint_budget")
    recorder.record(Kind.SAMPLED, instances=9, worst_margin=0.75, quantity="step_radius")
    recorder.record(Kind.EXACT, instances=2, worst_margin=Fraction(1, 3), quantity="joint_budget")
    found = {(m.kind, m.quantity): (m.instances, m.worst_margin) for m in recorder.measurements}
    assert found == {
        (Kind.SAMPLED, "joint_budget"): (7, 0.25),
        (Kind.SAMPLED, "step_radius"): (9, 0.75),
        (Kind.EXACT, "joint_budget"): (2, Fraction(1, 3)),
    }


def test_a_later_larger_margin_does_not_hide_an_earlier_smaller_one(recorder: Recorder) -> None:
    for margin in (0.25, 0.5):
        recorder.record(Kind.SAMPLED, instances=1, worst_margin=margin, quantity="q")
    assert recorder.measurements[0].worst_margin == 0.25


def test_statements_proved_are_kept_once_each(recorder: Recorder) -> None:
    for text in ("a  +\n b", "c", "a + b"):
        recorder.record(Kind.EXACT, instances=1, worst_margin=0, quantity="q", proved=text)
    assert recorder.measurements[0].proved == ("a + b", "c")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "exact"}, "kind: got 'exact', needed a Kind; pass Kind.EXACT, Kind.BALL or Kind.SAMPLED"),
        ({"instances": 0}, "instances: got 0, needed an int of at least 1; count the instances examined"),
        ({"instances": True}, "instances: got True, needed an int of at least 1"),
        ({"instances": 2.0}, "instances: got 2.0, needed an int of at least 1"),
        ({"worst_margin": math.nan}, "worst_margin: got nan, needed a number below +inf"),
        ({"worst_margin": math.inf}, "worst_margin: got inf, needed a number below +inf"),
        ({"worst_margin": "0.5"}, "worst_margin: got str, needed a float or a Fraction; pass float(...)"),
        ({"worst_margin": True}, "worst_margin: got bool, needed a float or a Fraction"),
        ({"quantity": " "}, "quantity: got ' ', needed a non-empty string; name the inequality"),
        ({"proved": "for all x"}, "proved: got 'for all x' from samples, needed exact or ball arithmetic"),
    ],
)
def test_record_refuses_what_has_no_meaning(recorder: Recorder, changes: dict[str, object], message: str) -> None:
    arguments = {"kind": Kind.SAMPLED, "instances": 1, "worst_margin": 0.5, "quantity": "q"} | changes
    with pytest.raises(InputError) as caught:
        recorder.record(arguments.pop("kind"), **arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert recorder.empty


def test_the_five_parts_are_closed() -> None:
    with pytest.raises(
        InputError, match="part: got 'hold', needed one of holds, sharp, hypothesis_needed, rejects, exact"
    ):
        Recorder("T3", "hold")


def test_regimes_add_up_and_an_undrawn_one_fails(recorder: Recorder) -> None:
    recorder.regimes({"tiny": 2, "huge": 0})
    recorder.regimes({"tiny": 3, "flat": 1})
    assert recorder.regime_counts == {"tiny": 5, "huge": 0, "flat": 1}
    recorder.require_regimes("tiny", "flat")
    with pytest.raises(AssertionError, match=r"^T3 holds: never drawn: huge, near one$"):
        recorder.require_regimes("tiny", "huge", "near one")


def test_a_bad_count_changes_nothing(recorder: Recorder) -> None:
    with pytest.raises(InputError, match=r"regimes\['b'\]: got -1, needed an int of at least 0"):
        recorder.regimes({"a": 1, "b": -1})
    assert recorder.regime_counts == {}


def test_requiring_no_regime_is_refused(recorder: Recorder) -> None:
    with pytest.raises(InputError, match="names: got nothing, needed at least one regime"):
        recorder.require_regimes()


def test_controls_are_looked_up(recorder: Recorder) -> None:
    recorder.control("exponent-below-two", "slope 1e6")
    recorder.control("n5", "slope 1e7")
    assert recorder.controls == {"N5": ("slope 1e6", "slope 1e7")}
    with pytest.raises(UnknownTheoremError, match="control: got 'N99'"):
        recorder.control("N99", "slope 1e6")
    with pytest.raises(InputError, match="observed: got '', needed a non-empty string"):
        recorder.control("N5", "")


def test_only_a_violation_counts_as_caught(recorder: Recorder) -> None:
    recorder.caught("eps = rho", -0.5)
    recorder.caught("budget 1.9", Fraction(-1, 10**9), kind="tightened")
    recorder.caught("no bound at all", -math.inf)
    for margin in (0.0, 0.25, Fraction(0)):
        with pytest.raises(AssertionError, match=r"^eps = 1: not caught: margin .* is not negative$"):
            recorder.caught("eps = 1", margin)
    assert [(c.name, c.caught) for c in recorder.catches] == [
        ("eps = rho", True),
        ("budget 1.9", True),
        ("no bound at all", True),
        ("eps = 1", False),
    ]


def test_a_fault_missed_once_stays_missed(recorder: Recorder) -> None:
    with pytest.raises(EvidenceError):
        recorder.caught("eps = rho", 0.125)
    recorder.caught("eps = rho", -0.5)
    assert [(c.margin, c.caught) for c in recorder.catches] == [(0.125, False)]


@pytest.mark.parametrize(
    ("name", "margin", "kind", "message"),
    [
        ("", -1.0, "zoo", "name: got '', needed a non-empty string"),
        ("a", math.nan, "zoo", "margin: got nan"),
        ("a", -1.0, "park", "kind: got 'park', needed 'zoo' or 'tightened'"),
    ],
)
def test_caught_refuses(recorder: Recorder, name: str, margin: float, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recorder.caught(name, margin, kind=kind)  # type: ignore[arg-type]
    assert recorder.empty


def test_counting_alone_establishes_nothing(recorder: Recorder) -> None:
    assert recorder.empty
    recorder.regimes({"tiny": 2})
    assert recorder.empty
    recorder.require_regimes("tiny")
    assert not recorder.empty


@pytest.mark.parametrize(
    ("theorem", "part", "kind", "margin", "speaks_against"),
    [
        ("T3", "holds", Kind.EXACT, Fraction(-1, 10**30), True),
        ("T3", "sharp", Kind.EXACT, Fraction(-1, 2), True),
        ("T3", "exact", Kind.EXACT, -0.5, True),
        ("T3", "exact", Kind.EXACT, Fraction(0), False),
        ("T3", "holds", Kind.SAMPLED, -0.5, True),  # margins already grant rounding its slack
        ("T3", "holds", Kind.BALL, -0.5, True),
        ("T3", "hypothesis_needed", Kind.EXACT, -0.5, False),  # the hypotheses do not hold there
        ("T3", "rejects", Kind.EXACT, -0.5, False),
        ("N5", "exact", Kind.EXACT, -0.5, False),
    ],
)
def test_a_violation_within_the_hypotheses_is_a_counterexample(
    theorem: str, part: str, kind: Kind, margin: float, speaks_against: bool
) -> None:
    recorder = Recorder(theorem, part)
    recorder.record(kind, instances=1, worst_margin=margin, quantity="q")
    assert (recorder.counterexample is not None) is speaks_against


def full() -> Recorder:
    recorder = Recorder("T3", "rejects")
    recorder.record(Kind.SAMPLED, instances=7, worst_margin=-1e-17, quantity="joint_budget")
    recorder.record(Kind.BALL, instances=1, worst_margin=-math.inf, quantity="joint_budget")
    recorder.record(Kind.EXACT, instances=2, worst_margin=Fraction(1, 3), quantity="step_radius", proved="for all r")
    recorder.regimes({"tiny": 5, "huge": 0})
    recorder.require_regimes("tiny")
    recorder.control("N5", "slope 1e6")
    recorder.caught("eps = rho", Fraction(-1, 7))
    recorder.caught("budget 1.9", -math.inf, kind="tightened")
    return recorder


def test_a_record_survives_the_border_between_processes() -> None:
    recorder = full()
    text = json.dumps(recorder.to_dict(), allow_nan=False)
    again = Recorder.from_dict(json.loads(text))
    assert again.to_dict() == recorder.to_dict()
    assert again.measurements == recorder.measurements
    assert again.catches == recorder.catches
    assert not again.empty


def test_merging_adds_everything() -> None:
    merged = Recorder("T3", "rejects")
    merged.merge(full())
    merged.merge(full())
    assert [m.instances for m in merged.measurements] == [14, 2, 4]
    assert merged.regime_counts == {"tiny": 10, "huge": 0}
    assert merged.controls == full().controls
    assert merged.catches == full().catches


def test_merging_keeps_the_weakest_catch() -> None:
    weak, strong = Recorder("T3", "rejects"), Recorder("T3", "rejects")
    strong.caught("a", -0.5)
    weak.caught("a", -0.25)
    strong.merge(weak)
    weak.merge(strong)
    assert [c.margin for c in strong.catches] == [c.margin for c in weak.catches] == [-0.25]


def test_a_rational_of_many_digits_is_reported_as_a_decimal(recorder: Recorder) -> None:
    huge = Fraction(1, 3**10_000)  # str() of it would raise: Python prints at most 4300 digits
    recorder.record(Kind.EXACT, instances=1, worst_margin=huge, quantity="q")
    entry = recorder.to_dict()["measurements"][0]
    assert (entry["worst_margin"], entry["worst_margin_exact"]) == (0.0, "")
    recorder.caught("overflow", Fraction(-(10**400)))
    assert recorder.to_dict()["caught"][0]["margin"] == "-inf"
    assert margin_value(Fraction(10**400)) == math.inf


@pytest.mark.parametrize(
    ("margin", "text"),
    [
        (Fraction(0), "0"),
        (0.0, "0"),
        (-0.0, "0"),
        (Fraction(1, 7), "1/7"),
        (Fraction(-1, 20), "-1/20"),
        (Fraction(3, 1_000_000_007), "3e-9"),
        (1.2345e-7, "1.23e-7"),
        (-0.3, "-0.3"),
        (1e-300, "1e-300"),
        (-math.inf, "-inf"),
    ],
)
def test_margins_are_short(margin: float, text: str) -> None:
    assert format_margin(margin) == text
    assert len(text) <= 10


def test_a_refutation_is_a_failed_assertion_that_carries_its_witness() -> None:
    error = Refuted("joint_budget", Fraction(-1, 4), "X = {0, 1}")
    assert isinstance(error, AssertionError)
    assert isinstance(error, EqTheoryError)
    assert str(error) == "joint_budget: violated with margin -0.25 by X = {0, 1}"
    again = pickle.loads(pickle.dumps(error))
    assert (again.quantity, again.margin, again.witness) == ("joint_budget", Fraction(-1, 4), "X = {0, 1}")


def test_names_are_public_where_the_interface_says() -> None:
    import eqtheory.testing

    for name in eqtheory.testing.__all__:
        assert hasattr(eqtheory.testing, name)
    assert eqtheory.testing.Recorder is Recorder
    assert evidence.Refuted is _measurement.Refuted
    assert PARTS == ("holds", "sharp", "hypothesis_needed", "rejects", "exact")
    with pytest.raises(AttributeError, match=r"module 'eqtheory.testing' has no attribute 'Recordr'"):
        _ = eqtheory.testing.Recordr


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("eqtheory.testing.evidence", ("torch", "numpy", "rich", "pytest", "hypothesis")),
        ("eqtheory.testing.pytest_plugin", ("torch", "numpy", "eqtheory.theorems", "eqtheory.testing.evidence")),
    ],
)
def test_imports_stay_light(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
