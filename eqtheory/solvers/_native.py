"""Kernels in C, compiled on the machine they run on: one file, a second of work, kept for later processes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path

from eqtheory.errors import InputError

__all__ = ["load"]

_FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC", "-std=c11")


@cache
def load(name: str) -> ctypes.CDLL:
    """Compile and load a kernel of this folder.

    The result lies in `$XDG_CACHE_HOME/eqtheory` (by default `~/.cache/eqtheory`) under a name made of the source, the flags, the
    compiler's version and the processor.

    Args:
        name: the file, without its ending.

    Returns:
        The loaded library.

    Raises:
        InputError: there is no working C compiler (`$CC`, else `cc`).
    """
    source = Path(__file__).with_name(f"{name}.c")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise InputError(
            "native", "True, and no C compiler", "gcc or clang", "install one, set $CC, or pass native=False"
        )
    key = sha256("\n".join([source.read_text(), *_FLAGS, _said(compiler, "--version"), _processor()]).encode())
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "eqtheory"
    target = folder / f"{name}-{key.hexdigest()[:20]}.so"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / target.name
            _said(compiler, *_FLAGS, str(source), "-o", str(made), "-lm")
            made.replace(target)  # at once, so that no other process ever loads half a file
    return ctypes.CDLL(str(target))


def _said(compiler: str, *arguments: str) -> str:
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        needed = "a C compiler that can build it"
        raise InputError(
            "native", f"True, and a compiler that says {first[:120]!r}", needed, "repair it, or pass native=False"
        )
    return done.stdout


def _processor() -> str:
    """What `-march=native` means here."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        import platform

        return platform.processor() + platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
