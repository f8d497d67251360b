"""Race to the same true error on one core: `python -m tests.benchmarks.solvers.race [--only NAME] [--no-ours] [--json PATH]`.

Every setting walks from loose to strict tolerances and keeps the first at which the largest relative error of a sample is at
most 1e-6. The best of the others and our best three then run in turns, and the median of the ratios round by round is reported.
Compilation is not timed.
"""

from __future__ import annotations

import os

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
os.environ.update(ONE_THREAD, XLA_FLAGS="--xla_cpu_multi_thread_eigen=false")  # before anything starts its threads

import argparse  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402

from tests.benchmarks.solvers import competitors, ours  # noqa: E402
from tests.benchmarks.solvers.competitors import Setting, Solve, each, jax_double  # noqa: E402
from tests.benchmarks.solvers.problems import PROBLEMS, Problem, build  # noqa: E402

GOAL = 1e-6
"""Largest relative error of a sample."""
CHOSEN = Path(__file__).with_name("chosen.json")
"""The settings that won, as `test_solvers.py` runs them."""
_TOLERANCES = [10.0**-k for k in range(5, 11)]
_PATIENCE = 5.0
"""A setting is dropped when one call takes this many times as long as the best so far."""
_LONGEST = 8.0
"""Seconds of a call while nothing has succeeded yet."""
_PROBE = 64


@dataclass(frozen=True)
class Outcome:
    """A setting that reached the goal, with the tolerance it needed."""

    package: str
    name: str
    tol: float
    limit: int
    seconds: float
    evaluations: int
    error: float
    solve: Solve

    def record(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "solve"}


def say(line: str) -> None:
    """Report progress, beside the table."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def clock(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def measure(setting: Setting, problem: Problem, budget: float) -> Outcome | None:
    """The setting at the loosest tolerance, in steps of half a decade, that reaches the goal; `None` if it does not pay."""
    try:
        solve = setting.prepare(problem)
        solve.run(1e-12, 4)
        took, out = clock(lambda: solve.run(1e-12, _PROBE))
        each_step = took / max(1, min(_PROBE, solve.read(out)[1]))
        limit = int(min(max(budget / each_step, _PROBE), 100_000))
        found = None
        for tol in _TOLERANCES:
            found = attempt(setting, solve, problem, tol, limit)
            if found.error <= GOAL:
                break
            if found.seconds > budget or found.evaluations >= limit:
                return None
        else:
            return None
        if tol < _TOLERANCES[0]:
            looser = attempt(setting, solve, problem, tol * 10**0.5, limit)
            found = looser if looser.error <= GOAL else found
        # A limit just above what is needed: some libraries fill their records up to it.
        times = [attempt(setting, solve, problem, found.tol, found.evaluations + 5) for _ in range(3)]
    except (RuntimeError, ValueError, ArithmeticError) as failure:
        say(f"    {setting.package} {setting.name}: {type(failure).__name__} {str(failure)[:80]!r}")
        return None
    good = [again for again in times if again.error <= GOAL] or [found]
    return min(good, key=lambda outcome: outcome.seconds)


def attempt(setting: Setting, solve: Solve, problem: Problem, tol: float, limit: int) -> Outcome:
    seconds, out = clock(lambda: solve.run(tol, limit))
    value, evaluations = solve.read(out)
    error = problem.error(value)
    return Outcome(setting.package, setting.name, tol, limit, seconds, evaluations, error, solve)


def survey(settings: Iterable[Setting], problem: Problem) -> list[Outcome]:
    """What reached the goal, fastest first."""
    found: list[Outcome] = []
    for setting in settings:
        best = min((outcome.seconds for outcome in found), default=None)
        outcome = measure(setting, problem, _LONGEST if best is None else max(_PATIENCE * best, 0.002))
        if outcome is not None:
            found.append(outcome)
        report = "-" if outcome is None else f"{1e3 * outcome.seconds:.3g} ms, {outcome.evaluations} evaluations"
        say(f"    {setting.package} {setting.name}: {report}")
    return sorted(found, key=lambda outcome: outcome.seconds)


def in_turns(outcomes: list[Outcome], *, rounds: int = 7, seconds: float = 3.0) -> list[list[float]]:
    """Times of every outcome, one per round."""
    times: list[list[float]] = [[] for _ in outcomes]
    began = time.perf_counter()
    while len(times[0]) < rounds or (time.perf_counter() - began < seconds and len(times[0]) < 1000):
        for mine, outcome in zip(times, outcomes, strict=True):
            mine.append(clock(lambda o=outcome: o.solve.run(o.tol, o.limit))[0])
    return times


def bare(problem: Problem) -> dict[str, float]:
    """Seconds of one evaluation of `G` at the equilibrium."""
    at, found = problem.solution.astype(problem.dtype), {}
    G, x, y = problem.torch_map(), each(torch.from_numpy, problem.x), torch.from_numpy(at)
    with torch.no_grad():
        found["torch"] = _repeated(lambda: G(y, x))
    N = problem.numpy_map()
    found["numpy"] = _repeated(lambda: N(at, problem.x))
    try:
        import jax
    except ModuleNotFoundError:
        return found
    with jax_double(problem):
        J, xs, ys = jax.jit(problem.jax_map()), each(jax.numpy.asarray, problem.x), jax.numpy.asarray(at)
        found["jax"] = _repeated(lambda: J(ys, xs).block_until_ready())
    return found


def _repeated(call: Callable[[], Any]) -> float:
    call()
    times, began = [], time.perf_counter()
    while len(times) < 20 or (time.perf_counter() - began < 0.1 and len(times) < 1000):
        times.append(clock(call)[0])
    return statistics.median(times)


def recalled(problem: Problem) -> list[Outcome]:
    """The competitor that won last time, without a new survey."""
    chosen = json.loads(CHOSEN.read_text())[problem.name]["theirs"]
    key = (chosen["package"], chosen["name"])
    setting = next(s for s in competitors.settings(problem) if (s.package, s.name) == key)
    solve = setting.prepare(problem)
    attempt(setting, solve, problem, chosen["tol"], chosen["limit"])
    return [attempt(setting, solve, problem, chosen["tol"], chosen["limit"])]


def race(problem: Problem, *, with_ours: bool, recorded: bool) -> dict[str, Any]:
    """Everything that is known of one problem after the race."""
    theirs = recalled(problem) if recorded else survey(competitors.settings(problem), problem)
    row: dict[str, Any] = {"problem": problem.name, "bare": bare(problem)}
    row["competitors"] = [outcome.record() for outcome in theirs]
    if not with_ours:
        return row
    mine = survey(ours.settings(problem), problem)
    row["all_ours"] = [outcome.record() for outcome in mine]
    if not (mine and theirs):
        return row
    times = in_turns([theirs[0], *mine[:3]])
    row["bare"] = bare(problem)
    ratios = [statistics.median(a / b for a, b in zip(turn, times[0], strict=True)) for turn in times[1:]]
    place = min(range(len(ratios)), key=ratios.__getitem__)
    row["theirs"] = theirs[0].record() | {"seconds": statistics.median(times[0])}
    row["ours"] = mine[place].record() | {"seconds": statistics.median(times[1 + place])}
    row["ratio"] = ratios[place]
    row["overhead"] = row["ours"]["seconds"] / (mine[place].evaluations * row["bare"]["torch"])
    return row


def record(row: dict[str, Any]) -> None:
    """Keep the winners of one problem for the tests."""
    chosen = json.loads(CHOSEN.read_text()) if CHOSEN.exists() else {}
    keep = ("package", "name", "tol", "limit")
    chosen[row["problem"]] = {who: {key: row[who][key] for key in keep} for who in ("theirs", "ours")}
    CHOSEN.write_text(json.dumps(chosen, indent=1) + "\n")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table of Markdown, with the median and the worst ratio below."""
    lines = [
        "| problem | best competitor | ms | iterations | ours | ms | evaluations | ours/theirs | overhead |",
        "|---|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        rival = row.get("theirs") or next(iter(row["competitors"]), None)
        cells = [row["problem"], *_cells(rival), *_cells(row.get("ours"))]
        cells += [f"{row['ratio']:.2f}", f"{row['overhead']:.2f}"] if "ratio" in row else ["-", "-"]
        lines.append("| " + " | ".join(cells) + " |")
    ratios = [row["ratio"] for row in rows if "ratio" in row]
    if ratios:
        lines += ["", f"median ratio {statistics.median(ratios):.2f}", f"worst ratio {max(ratios):.2f}"]
    return "\n".join(lines)


def _cells(outcome: dict[str, Any] | None) -> list[str]:
    if outcome is None:
        return ["-", "-", "-"]
    name = outcome["name"] if outcome["package"] == "eqtheory" else f"{outcome['package']} {outcome['name']}"
    return [f"{name} at {outcome['tol']:.0e}", f"{1e3 * outcome['seconds']:.3g}", str(outcome["evaluations"])]


def main() -> None:
    parser = argparse.ArgumentParser(description="Race of fixed-point solvers to a true relative error of 1e-6.")
    parser.add_argument("--only", action="append", choices=list(PROBLEMS), help="a problem; may be repeated")
    parser.add_argument("--no-ours", action="store_true", help="survey the competitors only")
    parser.add_argument("--recorded", action="store_true", help="take the competitors' settings from chosen.json")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--record", action="store_true", help="write the winners to chosen.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = []
    for name in options.only or PROBLEMS:
        say(f"  {name}")
        rows.append(race(build(name), with_ours=not options.no_ours, recorded=options.recorded))
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
        if options.record and "ours" in rows[-1]:
            record(rows[-1])
        say(table(rows[-1:]).splitlines()[2])
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
