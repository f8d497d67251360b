"""Lipschitz constants of maps and of iterates, each labelled with what it proves."""

from __future__ import annotations

from eqtheory.lipschitz._finite import growth_on_table, largest_slope

__all__ = ["growth_on_table", "largest_slope"]
