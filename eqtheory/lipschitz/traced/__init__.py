"""Upper bounds for any torch program, by a walk over its graph."""

from __future__ import annotations

from eqtheory.lipschitz.traced._lipschitz import traced_lipschitz, traced_regularity

__all__ = ["traced_lipschitz", "traced_regularity"]
