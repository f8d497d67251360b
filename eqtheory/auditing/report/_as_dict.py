"""An audit as plain values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from eqtheory.bounds import Bound

if TYPE_CHECKING:
    from eqtheory.auditing._attack import Attack
    from eqtheory.auditing._audit import Audit

__all__ = ["as_dict"]


def as_dict(audit: Audit) -> dict[str, Any]:
    """Write an audit as plain values.

    Args:
        audit: the audit.

    Returns:
        Strings, numbers, lists and mappings; what is not finite is `None`.
    """
    return {
        "operator": audit.name,
        "conclusion": audit.conclusion,
        "norms": {"states": audit.norms[0], "inputs": audit.norms[1]},
        "verdicts": {
            check: {
                "verdict": verdict.kind.value,
                "trials": verdict.trials,
                "worst_margin": _number(verdict.worst_margin),
                "method": verdict.method,
                "witness": verdict.witness,
            }
            for check, verdict in audit.verdicts.items()
        },
        "slopes": {"state": _attack(audit.R1), "input": _attack(audit.R2)},
        "growth": None if audit.growth is None else audit.growth.to_dict(),
        "iterations": [
            {
                "accuracy": entry.accuracy,
                "certified": entry.certified,
                "evidence": None if entry.evidence is None else entry.evidence.value,
                "seen": entry.seen,
            }
            for entry in audit.iterations
        ],
        "solvers": [
            {"solver": r.solver, "solved": r.solved, "samples": r.samples, "evaluations": _number(r.evaluations)}
            for r in audit.solvers
        ],
        "notes": list(audit.notes),
        "made": audit.made,
    }


def _number(value: Any) -> float | None:
    number = float(torch.as_tensor(value, dtype=torch.float64).max())
    return number if math.isfinite(number) else None


def _bound(bound: Bound | None) -> dict[str, Any] | None:
    if bound is None:
        return None
    return {
        "value": _number(bound.value),
        "side": bound.side.value,
        "evidence": bound.evidence.value,
        "method": bound.method,
        "norm": bound.norm,
        "assumptions": list(bound.assumptions),
    }


def _attack(attack: Attack | None) -> dict[str, Any] | None:
    if attack is None:
        return None
    return {
        "lower": _bound(attack.lower),
        "lower_is_a_multiple_of": attack.per or None,
        "upper": _bound(attack.upper),
        "steepest": attack.witness.at(0),
    }
