"""Tests of compiled steps are skipped, and say so, where there is nothing to compile them with."""

from __future__ import annotations

import os
import shutil

import pytest

NAMED = {
    "test_the_compiled_step_is_the_same_iteration",
    "test_every_shape_passes_the_compiled_step",
    "test_steps_write_into_nothing_that_was_returned",
    "test_nothing_is_compiled_unasked",
}


def compiles(item: pytest.Item) -> bool:
    """Whether a test runs a compiled step: one of its parameters says so, or it is known to."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    named = getattr(item, "originalname", item.name) in NAMED
    named = named or item.path.name == "test_watch.py"
    return named or parameters.get("native") is True or any(getattr(v, "native", False) for v in parameters.values())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if shutil.which(os.environ.get("CC", "cc")) is None:
        for item in items:
            if compiles(item):
                item.add_marker(pytest.mark.skip(reason="no C compiler on this machine"))
