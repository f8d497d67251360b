"""Audits: what an operator provably is and what it is not, for people, for machines and for a page to send around."""

from __future__ import annotations

from eqtheory.auditing._attack import Attack
from eqtheory.auditing._audit import CHECKS, Audit, audit
from eqtheory.auditing._iterations import Iterations, Race
from eqtheory.auditing._subject import Sampler

__all__ = ["CHECKS", "Attack", "Audit", "Iterations", "Race", "Sampler", "audit"]
