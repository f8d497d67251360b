"""Implicit models as executable theory.

An implicit model computes the fixed point `y*(x) = G(y*(x), x)` of one operator. This package holds the operators that the
proofs build, solvers that say how far their answer is from the truth, and the registry of theorems they rest on.

Submodules load on first use, so that reading the registry or the command line's help does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eqtheory import (
        auditing,
        bounds,
        constructions,
        errors,
        gradients,
        learned,
        lipschitz,
        norms,
        operators,
        roundoff,
        solvers,
        targets,
        theorems,
    )
    from eqtheory.auditing import Audit, audit
    from eqtheory.bounds import Bound, Bracket, Evidence, LocalBound, Side, Verdict, VerdictKind
    from eqtheory.errors import EqTheoryError
    from eqtheory.gradients import Implicit, Neumann, OneStep, Phantom, Unrolled, fixed_point
    from eqtheory.operators import ImplicitOperator, Regularity, as_operator
    from eqtheory.solvers import (
        Anderson,
        AndersonTGS,
        BarzilaiBorwein,
        Broyden,
        Halpern,
        KrasnoselskiiMann,
        NewtonKrylov,
        Picard,
        Solution,
        Status,
        Stop,
    )
    from eqtheory.theorems import bibtex, theorem

__version__ = "0.1.0"

_MODULES = (
    "auditing",
    "bounds",
    "constructions",
    "errors",
    "gradients",
    "learned",
    "lipschitz",
    "norms",
    "operators",
    "roundoff",
    "solvers",
    "targets",
    "theorems",
)
_NAMES = {
    "eqtheory.auditing": ("Audit", "audit"),
    "eqtheory.bounds": ("Bound", "Bracket", "Evidence", "LocalBound", "Side", "Verdict", "VerdictKind"),
    "eqtheory.errors": ("EqTheoryError",),
    "eqtheory.gradients": ("Implicit", "Neumann", "OneStep", "Phantom", "Unrolled", "fixed_point"),
    "eqtheory.operators": ("ImplicitOperator", "Regularity", "as_operator"),
    "eqtheory.solvers": (
        "Anderson",
        "AndersonTGS",
        "BarzilaiBorwein",
        "Broyden",
        "Halpern",
        "KrasnoselskiiMann",
        "NewtonKrylov",
        "Picard",
        "Solution",
        "Status",
        "Stop",
    ),
    "eqtheory.theorems": ("bibtex", "theorem"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Anderson",
    "AndersonTGS",
    "Audit",
    "BarzilaiBorwein",
    "Bound",
    "Bracket",
    "Broyden",
    "EqTheoryError",
    "Evidence",
    "Halpern",
    "Implicit",
    "ImplicitOperator",
    "KrasnoselskiiMann",
    "LocalBound",
    "Neumann",
    "NewtonKrylov",
    "OneStep",
    "Phantom",
    "Picard",
    "Regularity",
    "Side",
    "Solution",
    "Status",
    "Stop",
    "Unrolled",
    "Verdict",
    "VerdictKind",
    "__version__",
    "as_operator",
    "audit",
    "auditing",
    "bibtex",
    "bounds",
    "constructions",
    "errors",
    "fixed_point",
    "gradients",
    "learned",
    "lipschitz",
    "norms",
    "operators",
    "roundoff",
    "solvers",
    "targets",
    "theorem",
    "theorems",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"eqtheory.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    message = f"module 'eqtheory' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
