"""Our best setting beside the best of the others, as the race chose them. Times are reported; what is asserted is the error."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch

pytest.importorskip("pytest_benchmark")
pytest.importorskip("scipy")

from tests.benchmarks.solvers import competitors, ours
from tests.benchmarks.solvers.competitors import Setting
from tests.benchmarks.solvers.problems import PROBLEMS, Problem, build
from tests.benchmarks.solvers.race import CHOSEN, GOAL

TABLE: dict[str, dict[str, dict[str, Any]]] = json.loads(CHOSEN.read_text())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def chosen(problem: Problem, who: str) -> Setting:
    wanted = TABLE[problem.name][who]
    if who == "ours":
        settings = ours.settings(problem)
    elif wanted["package"] == "jaxopt":
        settings = competitors.jaxopt_settings(problem)
    elif wanted["package"] == "torchdeq":
        settings = competitors.torchdeq_settings()
    else:
        settings = competitors.scipy_settings()
    found = [setting for setting in settings if setting.name == wanted["name"]]
    assert found, f"{wanted['name']} is no longer tried: run the race with --record"
    return found[0]


@pytest.mark.parametrize("who", ["ours", "theirs"])
@pytest.mark.parametrize("name", list(PROBLEMS))
def test_time_to_a_true_error(benchmark: Any, name: str, who: str) -> None:
    benchmark.group = name
    wanted = TABLE[name][who]
    if wanted["package"] in {"jaxopt", "torchdeq"}:
        pytest.importorskip(wanted["package"])
    if "native=True" in wanted["name"] and shutil.which(os.environ.get("CC", "cc")) is None:
        pytest.skip("no C compiler on this machine")
    problem = build(name)
    solve = chosen(problem, who).prepare(problem)
    out = benchmark.pedantic(solve.run, (wanted["tol"], wanted["limit"]), rounds=3, iterations=1, warmup_rounds=1)
    value, evaluations = solve.read(out)
    benchmark.extra_info.update(package=wanted["package"], setting=wanted["name"], evaluations=evaluations)
    assert problem.error(value) <= GOAL


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_the_known_equilibrium_is_one(name: str) -> None:
    problem = build(name)
    x = competitors.each(torch.from_numpy, problem.x)
    at = problem.solution.astype(problem.dtype)
    image = problem.torch_map()(torch.from_numpy(at), x).numpy()
    # Six digits of error need far fewer of residual than are asked for where the arithmetic has them.
    resolved = 1e-12 if at.itemsize == 8 else GOAL
    assert problem.error(image) <= resolved
    assert problem.error(problem.numpy_map()(at, problem.x)) <= resolved
    assert problem.error(problem.start) == pytest.approx(1.0)


def test_a_wrong_equilibrium_is_seen() -> None:
    problem = build("small")
    wrong = problem.solution.copy()
    wrong[0, 0] += 1e-3
    image = problem.numpy_map()(wrong, problem.x)
    assert problem.error(image) > 1e-6
    assert problem.error(wrong * float("nan")) == float("inf")
