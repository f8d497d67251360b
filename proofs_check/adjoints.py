"""The gradients that the checks of T9 and T9a attack: the one place where they are chosen.

Plain gradients, written as the statements read, always take part, so that a library that agreed with itself only would be seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from eqtheory.testing.zoo.adjoints import PLAIN, AdjointClaim

__all__ = ["under_attack"]


def under_attack(about: str) -> Iterator[AdjointClaim]:
    """All gradients that claim an inequality.

    Args:
        about: name of the inequality.

    Yields:
        The claims.
    """
    yield from (claim for claim in PLAIN if claim.about == about)
