"""Assertions for the test suite of an operator or a map.

Each compares computed slopes or results with a claim, grants what rounding can explain and no more, and returns a `Verdict`,
`not refuted`, with the number of pairs that decide something and the worst relative margin. A violation raises `Refuted`, an
`AssertionError` that carries the witness, the slope, the claim and the excess. Sampling never proves.

Rounding is taken from what the caller or the operator declares; otherwise results are assumed to have passed through at most
`8 (n + d) + 64` successive roundings of terms no larger than state, input and result. Where no pair could show a violation beyond
that, `EvidenceError` is raised: a check that cannot fail checks nothing.
"""

from __future__ import annotations

from eqtheory.testing.assertions._laws import assert_batch_independent, assert_deterministic, assert_fixed_point
from eqtheory.testing.assertions._maps import assert_lipschitz, assert_locally_lipschitz, assert_monotone
from eqtheory.testing.assertions._operators import assert_contractive, assert_nonexpansive, assert_regular

__all__ = [
    "assert_batch_independent",
    "assert_contractive",
    "assert_deterministic",
    "assert_fixed_point",
    "assert_lipschitz",
    "assert_locally_lipschitz",
    "assert_monotone",
    "assert_nonexpansive",
    "assert_regular",
]
