"""Kernels in C, compiled on the machine they run on: one library, a few seconds of work, kept for later processes.

Compilation happens only when it is asked for: by `compile_kernels()`, or by the first solver with `native=True`. The library lies in
`$XDG_CACHE_HOME/eqtheory` (by default `~/.cache/eqtheory`) under a name made of the sources, the flags and the processor. The compiler
is no part of the name: what is added to what in which order stands in the sources, so that any compiler gives the same bits.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from eqtheory.errors import InputError

__all__ = ["compile_kernels", "compiled", "kernel"]

_FOLDER = Path(__file__).with_name("kernels")
_FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC", "-std=c11", "-Wno-psabi")


def compile_kernels() -> Path:
    """Compile what this package has in C, unless that has been done on this machine before.

    Solvers with `native=True` then start at once. Solves on a CPU by any solver then also ask compiled code whether a sample could
    leave, which changes no bit of any result and takes most of the cost of a step beside its evaluation.

    Returns:
        Where the library lies; deleting it undoes everything.

    Raises:
        InputError: there is no working C compiler (`$CC`, else `cc`), or what it made cannot be loaded.
    """
    target = _target()
    if not target.exists():
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None:
            raise InputError(
                "native", "True, and no C compiler", "gcc or clang", "install one, set $CC, or pass native=False"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            _run(compiler, *_FLAGS, str(_FOLDER / "all.c"), "-o", str(made), "-lm")
            made.replace(target)  # at once, so that no other process ever loads half a file
    compiled.cache_clear()
    if compiled() is None:
        came = f"True, and a library that cannot be loaded ({target})"
        raise InputError("native", came, "one that can", "delete it, or pass native=False")
    return target


@cache
def compiled() -> ctypes.CDLL | None:
    """Load the library if it has been compiled, without compiling it.

    Returns:
        The library, or `None`.
    """
    try:
        target = _target()
        return ctypes.CDLL(str(target)) if target.exists() else None
    except OSError:
        return None


def kernel(name: str, dtype: torch.dtype, arguments: tuple[Any, ...], result: Any = None) -> Any:
    """Look up one function of the library.

    Args:
        name: its name, without the precision.
        dtype: float32 or float64.
        arguments: their types.
        result: its type.

    Returns:
        The function, or `None` where the library has not been compiled.
    """
    library = compiled()
    if library is None:
        return None
    function = getattr(library, f"{name}_{'double' if dtype is torch.float64 else 'float'}")
    function.argtypes, function.restype = arguments, result
    return function


def _target() -> Path:
    sources = [path.read_text() for path in sorted(_FOLDER.iterdir()) if path.suffix in {".c", ".h"}]
    key = sha256("\n".join([*sources, *_FLAGS, _processor()]).encode()).hexdigest()[:20]
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "eqtheory" / f"kernels-{key}.so"


def _run(compiler: str, *arguments: str) -> None:
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        needed = "a C compiler that can build it"
        raise InputError(
            "native", f"True, and a compiler that says {first[:120]!r}", needed, "repair it, or pass native=False"
        )


def _processor() -> str:
    """What `-march=native` means here."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        import platform

        return platform.processor() + platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
