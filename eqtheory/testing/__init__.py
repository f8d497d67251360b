"""What a test suite imports to attack theorems and to say what was established.

`evidence` is the record a check keeps (what was compared, on how many instances, with what margin); `pytest_plugin`
gives every marked test such a record and ends the run with a table, a JSON file and an HTML page.

Names load on first use: the plugin is imported in every pytest run of an environment that has this package, and must
cost nothing there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eqtheory.testing.evidence import PARTS, EvidenceError, Kind, Recorder, Refuted

_NAMES = {
    "eqtheory.testing.evidence": ("PARTS", "EvidenceError", "Kind", "Recorder", "Refuted"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["PARTS", "EvidenceError", "Kind", "Recorder", "Refuted"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    message = f"module 'eqtheory.testing' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
