"""`eqtheory audit`: find out what an operator provably is, and what it is not."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import tyro

from eqtheory.errors import InputError

__all__ = ["AuditCommand", "load"]

_REFUTED = 1


@dataclass(frozen=True)
class AuditCommand:
    """Audit an operator: its laws, (R1), (R2), derivatives, growth over iterations, and the solver that suits it.

    The exit code is 0 where nothing is refuted and 1 where something is.

    Args:
        operator: `package.module:object`, callable as `(y, x) -> y`; a class is made without arguments.
        sampler: `package.module:object`, callable as `(n, generator) -> (y, x)`, or a pair of both.
        domain: `package.module:object`, a pair of regions or of `(low, high)` for states and inputs; the box of the samples by default.
        samples: how many to draw.
        seed: of everything that is drawn.
        steps: of the growth curve.
        json: where to write the audit as JSON.
        html: where to write the audit as one page.
    """

    operator: tyro.conf.Positional[str]
    sampler: str
    domain: str | None = None
    samples: int = 256
    seed: int = 0
    steps: int = 50
    json: Path | None = None
    html: Path | None = None

    def run(self) -> int:
        """Audit, print, write.

        Returns:
            0, or 1 where something is refuted.
        """
        import torch

        from eqtheory.auditing import audit

        found = audit(
            _made(load("operator", self.operator)),
            _made(load("sampler", self.sampler)),
            domain=None if self.domain is None else load("domain", self.domain),
            samples=self.samples,
            steps=self.steps,
            generator=torch.Generator().manual_seed(self.seed),
            name=self.operator,
        )
        print(found)
        if self.json is not None:
            _write(self.json, json.dumps(found.to_dict(), indent=2, allow_nan=False) + "\n")
        if self.html is not None:
            _write(self.html, found.to_html())
        return _REFUTED if found.conclusion.startswith("refuted") else 0


def load(argument: str, where: str) -> Any:
    """Import an object by its place.

    Args:
        argument: what it is for, for messages.
        where: `package.module:object`; the object may be an attribute of an attribute.

    Returns:
        The object.

    Raises:
        InputError: no such module or object.
        ModuleNotFoundError: the module itself imports one that is missing.
    """
    module, colon, name = where.partition(":")
    if not (module and colon and name):
        raise InputError(
            argument, repr(where), "package.module:object", f"pass for example --{argument} mylayers:layer"
        )
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise InputError(
            argument, f"no module {module!r}", "a module that can be imported", "run from its folder"
        ) from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(argument, f"no {part!r} in {module!r}", "an object of that module", "check its name")
        found = getattr(found, part)
    return found


def _made(found: Any) -> Any:
    return found() if isinstance(found, type) else found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
