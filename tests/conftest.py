"""Plugins of the tests. `pytester` runs pytest on small suites written on the spot."""

from __future__ import annotations

pytest_plugins = ["pytester"]
