"""One call from a map to a regular operator that computes it: tables and maps with proved bounds (T3, T3a, T3b)."""

from __future__ import annotations

from typing import overload

from eqtheory.constructions._rules import RadiusProduct, RelaxationRule
from eqtheory.constructions._tables import ExactBalls, SlopeMajorant, TableRadii, TableRelaxation
from eqtheory.constructions._target import TargetRelaxation
from eqtheory.errors import InputError
from eqtheory.targets import SampleTable, Target

__all__ = ["adaptive_relaxation"]

_EXACT_UP_TO = 600
"""Rows up to which the default finds every ball exactly (a few seconds); beyond, the majorant."""


@overload
def adaptive_relaxation(
    represented: SampleTable,
    *,
    rule: RelaxationRule | None = None,
    scale: float = 1.0,
    table_radii: TableRadii | None = None,
) -> TableRelaxation: ...


@overload
def adaptive_relaxation(
    represented: Target, *, rule: RelaxationRule | None = None, scale: float = 1.0, table_radii: None = None
) -> TargetRelaxation: ...


def adaptive_relaxation(
    represented: SampleTable | Target,
    *,
    rule: RelaxationRule | None = None,
    scale: float = 1.0,
    table_radii: TableRadii | None = None,
) -> TableRelaxation | TargetRelaxation:
    """Build a regular operator whose fixed-point map is the given map, with budget `L0 = L1 = 2 scale`.

    Args:
        represented: a table of data (`targets.from_samples`) or a map of the catalogue. For a plain callable, whose slopes
            nobody knows, use `estimated_relaxation`.
        rule: how the step follows from the radii; `RadiusProduct()` (T3b) by default, `SquaredRadius()` for T3.
        scale: the factor `c` of T3a, `0 < c <= 1`: budget times `c`, iterations times `1/c`.
        table_radii: for tables only: `ExactBalls()` or `SlopeMajorant()`; by default exact up to 600 rows.

    Returns:
        The operator; its `regularity` holds `mu(x) = 1 - eps(x)` and the budget.

    Raises:
        InputError: neither a table nor a target, or `scale` outside `(0, 1]`.

    Theorem: T3, T3a, T3b.

    Example:
        >>> from eqtheory.targets import from_samples
        >>> G = adaptive_relaxation(from_samples([0.0, 1.0], [5.0, -5.0]))
        >>> bool((G(G.table.values, G.table.points) == G.table.values).all())
        True
    """
    chosen = rule or RadiusProduct()
    if isinstance(represented, SampleTable):
        radii = table_radii or (ExactBalls() if len(represented) <= _EXACT_UP_TO else SlopeMajorant())
        return TableRelaxation(represented, rule=chosen, scale=scale, radii=radii)
    if not isinstance(represented, Target):
        raise InputError(
            "represented",
            type(represented).__name__,
            "a SampleTable or a Target",
            "use estimated_relaxation for a callable",
        )
    if table_radii is not None:
        raise InputError(
            "table_radii", type(table_radii).__name__, "None for a map that is not a table", "leave it out"
        )
    return TargetRelaxation(represented, rule=chosen, scale=scale)
