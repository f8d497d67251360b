"""Audits written down: as text, as plain values for JSON, as one page."""

from __future__ import annotations

from eqtheory.auditing.report._as_dict import as_dict
from eqtheory.auditing.report._as_page import as_page
from eqtheory.auditing.report._as_text import as_text

__all__ = ["as_dict", "as_page", "as_text"]
