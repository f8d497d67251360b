"""Long measurements in parts: each is written as soon as it is there, and taken again only if nothing it depends on has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

__all__ = ["part", "sources_digest"]

ROOT = Path(__file__).parents[2]


def sources_digest() -> str:
    """Name the program by its sources: every Python file of the package and of the experiments.

    Returns:
        Sixteen hexadecimal digits.
    """
    found = sha256()
    for path in sorted(path for folder in ("eqtheory", "experiments") for path in (ROOT / folder).rglob("*.py")):
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def part(path: Path, key: dict[str, Any], compute: Callable[[], Any]) -> Any:
    """Compute one part of a measurement, or read it where it was computed from the same things.

    Args:
        path: the JSON file that keeps it, written whole or not at all.
        key: what the part depends on beside the program: settings, digests of weights and data.
        compute: returns plain finite values.

    Returns:
        The part, as it comes back from JSON.

    Raises:
        ValueError: a number of the part is not finite.
    """
    wanted = json.loads(json.dumps({**key, "sources": sources_digest()}))
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["key"] == wanted:
            return kept["part"]
    content = json.dumps({"key": wanted, "part": compute()}, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(content + "\n")
    partial.replace(path)
    return json.loads(content)["part"]
