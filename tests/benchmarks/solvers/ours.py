"""The solvers of eqtheory that enter the race."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import torch

from eqtheory.solvers import (
    Anderson,
    AndersonTGS,
    BarzilaiBorwein,
    Broyden,
    OnFailure,
    Picard,
    Solution,
    Solver,
    Stop,
    compile_kernels,
    fixed_point,
)
from tests.benchmarks.solvers.competitors import Setting, Solve, each
from tests.benchmarks.solvers.problems import Array, Problem

__all__ = ["SOLVERS", "settings"]

SOLVERS: list[Solver[Any]] = [
    AndersonTGS(2, native=True),
    AndersonTGS(2),
    AndersonTGS(30, native=True),
    Anderson(5, native=True),
    Anderson(10, native=True),
    BarzilaiBorwein(),
    Anderson(5),
    Broyden(),
    Picard(),
]


def settings(problem: Problem) -> Iterator[Setting]:
    """Everything of ours that is tried on a problem."""
    for solver in SOLVERS:
        yield Setting("eqtheory", _name(solver), _prepare(solver))


def _name(solver: Solver[Any]) -> str:
    """The solver with the options that differ from their defaults."""
    changed = [
        f"{option.name}={getattr(solver, option.name)!r}"
        for option in fields(solver)  # type: ignore[arg-type]
        if option.repr and getattr(solver, option.name) != option.default
    ]
    return f"{type(solver).__name__}({', '.join(changed)})"


def _prepare(solver: Solver[Any]) -> Any:
    def prepare(problem: Problem) -> Solve:
        if shutil.which(os.environ.get("CC", "cc")) is not None:
            compile_kernels()  # as a user would once on a machine; the others' compilation is not timed either
        G, x = problem.torch_map(), each(torch.from_numpy, problem.x)
        y0 = torch.from_numpy(problem.start)

        def run(tol: float, limit: int) -> Solution:
            stop = Stop(rtol=tol, max_steps=limit)
            return fixed_point(G, x, y0, solver=solver, stop=stop, on_failure=OnFailure.RETURN)

        def read(out: Solution) -> tuple[Array, int]:
            return out.value.numpy(), out.calls

        return Solve(run, read)

    return prepare
