"""Solve files in MPS format with the primal-dual iteration, and compare with the published values of Netlib's problems."""

from __future__ import annotations

import csv
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eqtheory.bounds import Bracket
from eqtheory.constructions import LinearStatus, solve_linear_program
from experiments.common.record import write_result
from experiments.linear_programming.mps import read_mps

__all__ = ["FileSolution", "netlib", "netlib_folder", "solve_file"]

_RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class FileSolution:
    """What a solve found out about a file.

    Args:
        name: of the problem.
        status: what is known.
        objective: value at the point found, with the file's sign and constant.
        bracket: of the optimal value, in the same terms; `None` unless solved.
        relative_error: the relative KKT error.
        primal_residual: Euclidean norm.
        dual_residual: Euclidean norm.
        radius: up to where a ray proves that there is no solution.
        steps: of the iteration.
        process_seconds: of the solve.
        wall_seconds: of the solve.
        integers: variables whose integrality was dropped.
        opened: variables whose lower bound a negative upper bound dropped.
    """

    name: str
    status: LinearStatus
    objective: float
    bracket: Bracket | None
    relative_error: float
    primal_residual: float
    dual_residual: float
    radius: float
    steps: int
    process_seconds: float
    wall_seconds: float
    integers: int
    opened: int

    @property
    def gap(self) -> float:
        """Width of the certified bracket; infinite where there is none."""
        return float("inf") if self.bracket is None else self.bracket.upper.value - self.bracket.lower.value

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.status.value}"]
        if self.integers:
            lines.append(f"relaxation: {self.integers} variables are declared integer and were let free")
        if self.opened:
            lines.append(f"{self.opened} negative upper bounds without a lower one: read as no lower bound")
        if self.bracket is not None:
            lines += [
                f"objective {self.objective:.12g}, certified gap {self.gap:.3g}",
                f"optimal value {self.bracket.lower}",
                f"optimal value {self.bracket.upper}",
            ]
        if self.status in (LinearStatus.SOLVED, LinearStatus.STEP_LIMIT):
            lines.append(
                f"relative KKT error {self.relative_error:.3g} "
                f"(residuals: primal {self.primal_residual:.3g}, dual {self.dual_residual:.3g})"
            )
        else:
            lines.append(f"proved up to size {self.radius:.3g}")
        lines.append(f"{self.steps} steps, {self.process_seconds:.2f} s of process time")
        return "\n".join(lines)


def solve_file(path: Path, *, tolerance: float = 1e-6, max_steps: int = 400_000) -> FileSolution:
    """Read and solve one file.

    Args:
        path: an MPS file.
        tolerance: relative KKT error.
        max_steps: limit of the steps.

    Returns:
        What was found out.
    """
    problem = read_mps(path)
    program = problem.program()
    began, wall = time.process_time(), time.perf_counter()
    found = solve_linear_program(program, tolerance=tolerance, max_steps=max_steps)
    seconds, elapsed = time.process_time() - began, time.perf_counter() - wall
    quality = found.optimality
    bracket = None
    if found.status[0] is LinearStatus.SOLVED:
        bracket = problem.bracket(quality.bracket())
    return FileSolution(
        name=problem.name or path.stem,
        status=found.status[0],
        objective=problem.value(float(quality.primal_value)),
        bracket=bracket,
        relative_error=float(quality.relative_error),
        primal_residual=float(quality.primal_residual),
        dual_residual=float(quality.dual_residual),
        radius=float(found.radius),
        steps=int(found.steps),
        process_seconds=seconds,
        wall_seconds=elapsed,
        integers=problem.integers,
        opened=problem.opened,
    )


def netlib_folder() -> Path | None:
    """Find Netlib's files: `netlib/` below the folder that the environment variable EQTHEORY_DATA names.

    Returns:
        The folder, with `mps/` and `optima.csv`; `None` where it is not set or not there.
    """
    named = os.environ.get("EQTHEORY_DATA")
    folder = Path(named) / "netlib" if named else None
    return folder if folder is not None and (folder / "optima.csv").exists() else None


def netlib(tolerance: float = 1e-6, max_steps: int = 400_000, out: Path | None = None) -> dict[str, Any]:
    """Solve all of Netlib's problems that are at hand, and write the result.

    Args:
        tolerance: relative KKT error.
        max_steps: limit of the steps of each.
        out: file to write; `results/netlib.json` by default.

    Returns:
        Per problem what was found.

    Raises:
        FileNotFoundError: the environment does not say where they are.
    """
    folder = netlib_folder()
    if folder is None:
        message = "EQTHEORY_DATA: not set, or without netlib/optima.csv; set it to the folder that holds netlib/"
        raise FileNotFoundError(message)
    measured: dict[str, Any] = {}
    with (folder / "optima.csv").open() as table:
        for row in csv.DictReader(table):
            found = solve_file(folder / "mps" / f"{row['name']}.mps", tolerance=tolerance, max_steps=max_steps)
            published = float(row["netlib_readme_cplex"] or row["netlib_readme_minos53"])
            computed = float(row["highs_1_16"])
            measured[row["name"]] = {
                "status": found.status.name,
                "objective": found.objective,
                "published": published,
                "highs": computed,
                "lower": None if found.bracket is None else found.bracket.lower.value,
                "upper": None if found.bracket is None else found.bracket.upper.value,
                "relative_kkt_error": found.relative_error,
                "steps": found.steps,
                "process_seconds": round(found.process_seconds, 2),
                "wall_seconds": round(found.wall_seconds, 2),
            }
            print(
                f"{row['name']}: {found.status.name}, {found.objective:.10g} (published {published:.10g}), {found.steps} steps"
            )
    write_result(
        out or _RESULTS / "netlib.json", config={"tolerance": tolerance, "max_steps": max_steps}, measured=measured
    )
    return measured
