"""Suprema and Lipschitz constants of formulas, with ball arithmetic. Brackets."""

from __future__ import annotations

from eqtheory.lipschitz.formulas._formula_lipschitz import formula_lipschitz
from eqtheory.lipschitz.formulas._supremum import supremum

__all__ = ["formula_lipschitz", "supremum"]
