"""Run the theorem suite, read a theorem, cite it, audit an operator: `eqtheory check | theorem | cite | audit`.

Reading and citing load the registry alone; torch is loaded by the suite and by audits. A request that cannot be met is answered by one
line on the error stream and exit code 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from eqtheory import __version__
from eqtheory.cli._audit import AuditCommand
from eqtheory.cli._check import Check
from eqtheory.cli._registry import Cite, Show
from eqtheory.errors import EqTheoryError

__all__ = ["AuditCommand", "Check", "Cite", "Show", "main"]

_USAGE_ERROR = 2

_Command = (
    Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Show, tyro.conf.subcommand("theorem")]
    | Annotated[Cite, tyro.conf.subcommand("cite")]
    | Annotated[AuditCommand, tyro.conf.subcommand("audit")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after the program's name; those of the process where `None`.

    Returns:
        0 where all is well, 1 where an audit refutes something, 2 where the request cannot be met, otherwise the exit code of pytest.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        print(f"eqtheory {__version__}")
        return 0
    command: Check | Show | Cite | AuditCommand = tyro.cli(
        _Command,
        prog="eqtheory",
        description="Implicit models as executable theory. `eqtheory --version` prints the version.",
        args=words,
    )
    try:
        code = command.run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. What Python still holds goes nowhere, so that its own shutdown does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except EqTheoryError as error:
        print(f"eqtheory: {error}", file=sys.stderr)
        return _USAGE_ERROR
    return code
