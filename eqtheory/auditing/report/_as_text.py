"""An audit as text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from eqtheory.auditing._attack import DECLARED
from eqtheory.bounds import Bound, VerdictKind

if TYPE_CHECKING:
    from eqtheory.auditing._audit import Audit

__all__ = ["as_text", "constants", "shown"]

_WIDTH = 14


def as_text(audit: Audit) -> str:
    """Write an audit for a terminal.

    Args:
        audit: the audit.

    Returns:
        Lines of plain text.
    """
    from eqtheory.auditing._audit import CHECKS

    lines = [f"{audit.name}: {audit.conclusion}", ""]
    for check, says in CHECKS.items():
        verdict = audit.verdicts[check]
        lines.append(f"{verdict.kind.value:<{_WIDTH}}{says}")
        if verdict.kind is VerdictKind.REFUTED:
            lines.append(f"{'':<{_WIDTH}}witness: {verdict.witness}")
        lines.append(f"{'':<{_WIDTH}}{_trials(verdict.trials)}{verdict.method}")
    rows = constants(audit)
    if rows:
        lines += ["", f"slopes in {audit.norms[0]} (states) and {audit.norms[1]} (inputs)"]
        lines += [f"  {name}: {lower}, {upper}" for name, lower, upper in rows]
    if audit.iterations:
        lines += ["", "Picard iterations from the samples, by accuracy"]
        lines += [f"  {row[0]}: {row[1]}; {row[2]}" for row in iteration_rows(audit)]
    if audit.solvers:
        lines += ["", "evaluations to a relative residual of 1e-6"]
        lines += [f"  {r.solver}: {shown(r.evaluations)} ({r.solved} of {r.samples} samples)" for r in audit.solvers]
    if audit.growth is not None:
        lines += ["", str(audit.growth).splitlines()[0], str(audit.growth).splitlines()[1]]
    if audit.notes:
        lines += ["", *(f"note: {note}" for note in audit.notes)]
    return "\n".join(lines)


def constants(audit: Audit) -> list[tuple[str, str, str]]:
    """What is known of the constants of (R1) and (R2).

    Args:
        audit: the audit.

    Returns:
        Name, lower side and upper side of each.
    """
    none = "no upper bound"
    rows = []
    if audit.R1 is not None:
        upper = none if audit.R1.upper is None else _side(audit.R1.upper)
        rows.append(("slope in the state (mu)", _side(audit.R1.lower), upper))
    if audit.R2 is not None:
        upper = none if audit.R2.upper is None else _side(audit.R2.upper)
        if audit.R2.per == DECLARED:
            rows.append(
                ("share of the declared budget that slopes in the input use", _side(audit.R2.lower), "1 if it holds")
            )
            rows.append(("L0", "see the share", upper))
        else:
            rows.append((f"slope in the input over {audit.R2.per}", _side(audit.R2.lower), upper))
    return rows


def iteration_rows(audit: Audit) -> Sequence[tuple[str, str, str]]:
    """Iterations by accuracy.

    Args:
        audit: the audit.

    Returns:
        Accuracy, certified number, number seen in a run.
    """
    rows = []
    for entry in audit.iterations:
        evidence = "" if entry.evidence is None else f" (factor {entry.evidence.value})"
        certified = (
            "none certified: no factor below 1 is known"
            if entry.certified is None
            else f"{entry.certified} certified{evidence}"
        )
        seen = (
            "residual not below it in the run"
            if entry.seen is None
            else f"residual below it after {entry.seen} (seen, proves nothing)"
        )
        rows.append((f"{entry.accuracy:g}", certified, seen))
    return rows


def shown(value: float) -> str:
    """Write a number.

    Args:
        value: the number.

    Returns:
        Four digits, or a dash where it is infinite.
    """
    return "-" if value == float("inf") else f"{value:.4g}"


def _side(bound: Bound) -> str:
    sign = {"lower bound": ">=", "upper bound": "<=", "estimate": "~", "exact value": "="}[bound.side.value]
    return f"{sign} {float(torch.as_tensor(bound.value, dtype=torch.float64).max()):.6g} ({bound.evidence.value}: {bound.method})"


def _trials(trials: int) -> str:
    return "" if trials == 0 else f"{trials} trials; "
