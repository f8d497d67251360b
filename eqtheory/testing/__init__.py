"""What a test suite imports to attack theorems and operators, and to say what was established.

`strategies` draws batched problems whose constants are true, and `assertions` compares operators and maps with what is claimed of
them. `evidence` is the record a check keeps (what was compared, on how many instances, with what margin); `pytest_plugin` gives every
marked test such a record and ends the run with a table, a JSON file and an HTML page. `zoo` keeps what is broken on purpose.

Names load on first use: the plugin is imported in every pytest run of an environment that has this package, and must
cost nothing there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eqtheory.testing import assertions, strategies, zoo
    from eqtheory.testing.assertions import (
        assert_batch_independent,
        assert_contractive,
        assert_deterministic,
        assert_fixed_point,
        assert_lipschitz,
        assert_locally_lipschitz,
        assert_monotone,
        assert_nonexpansive,
        assert_regular,
    )
    from eqtheory.testing.evidence import PARTS, EvidenceError, Kind, Recorder, Refuted

_MODULES = ("assertions", "strategies", "zoo")
_NAMES = {
    "eqtheory.testing.assertions": (
        "assert_batch_independent",
        "assert_contractive",
        "assert_deterministic",
        "assert_fixed_point",
        "assert_lipschitz",
        "assert_locally_lipschitz",
        "assert_monotone",
        "assert_nonexpansive",
        "assert_regular",
    ),
    "eqtheory.testing.evidence": ("PARTS", "EvidenceError", "Kind", "Recorder", "Refuted"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "PARTS",
    "EvidenceError",
    "Kind",
    "Recorder",
    "Refuted",
    "assert_batch_independent",
    "assert_contractive",
    "assert_deterministic",
    "assert_fixed_point",
    "assert_lipschitz",
    "assert_locally_lipschitz",
    "assert_monotone",
    "assert_nonexpansive",
    "assert_regular",
    "assertions",
    "strategies",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"eqtheory.testing.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    message = f"module 'eqtheory.testing' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
