"""Random programs, reference solutions with the least-norm rule, the commands, and Netlib's problems where they are at hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy.optimize import linprog

from eqtheory.constructions import LinearProgram, LinearStatus, optimal_basis, optimality, solve_linear_program
from experiments.linear_programming.__main__ import main
from experiments.linear_programming.data import Distribution, draw
from experiments.linear_programming.figures import draw as draw_figure
from experiments.linear_programming.measure import FOLDER, classical_settings, measure
from experiments.linear_programming.netlib import netlib_folder, solve_file
from experiments.linear_programming.reference import feasible_programs, largest_exact_weight, reference_solutions
from tests.constructions.linear_programs import INF, program


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_distribution_is_the_papers() -> None:
    x = draw(2000, seeded())
    assert x.shape == (2000, 10, 50)
    assert x.entries.shape == (2000, 100)  # no place twice: the program would refuse it
    assert abs(float(x.equality.double().mean()) - 0.3) < 0.01
    assert abs(float(x.entries.std()) - 1) < 0.01
    assert float(x.c.abs().max()) <= 0.01
    assert float(x.b.abs().max()) <= 1
    # The mean distance of two draws of N(0, 10^2) is 20 / sqrt(pi).
    assert abs(float((x.u - x.l).mean()) - 20 / torch.pi**0.5) < 0.2
    again = draw(2000, seeded())
    assert torch.equal(again.entries, x.entries)
    small = draw(3, seeded(), distribution=Distribution(constraints=2, variables=4, nonzeros=5), first_id=7)
    assert small.shape == (3, 2, 4)
    assert small.ids.tolist() == [7, 8, 9]


def test_only_feasible_ones_are_kept_and_ids_count_all_draws() -> None:
    found = feasible_programs(12, seeded())
    assert found.program.shape[0] == 12
    assert int(found.program.ids[-1]) > 11  # some were infeasible
    everything = draw(12, seeded())
    first = int(found.program.ids[0])
    assert torch.equal(found.program.entries[0], everything.entries[first])
    assert float(optimality(found.program, found.y, found.p).relative_error.max()) < 1e-12
    assert bool(found.unique.all())
    assert bool(optimal_basis(found.program, found.y, found.p).nondegenerate.all())


SEVERAL = {
    # An edge: the middle is nearest to 0.
    "an edge": (program([[1, 1]], [1], [1, 1], [0, 0], [1, 1], [True]), [0.5, 0.5]),
    # Costs zero: the nearest feasible point.
    "a half plane": (program([[-1, -2]], [-5], [0, 0], [-9, -9], [9, 9]), [1.0, 2.0]),
    "zero itself": (program([[1, 1]], [1], [0, 0], [-1, -1], [1, 1]), [0.0, 0.0]),
    # One coordinate is priced to its bound, on the rest an edge that bounds cut off.
    "a cut edge": (program([[1, 1, 1]], [3], [1, 1, 5], [0, 0, 1], [0.75, 4, 2], [True]), [0.75, 1.25, 1.0]),
    "a missing bound": (program([[1, 1]], [1], [1, 1], [-INF, -INF], [INF, INF], [True]), [0.5, 0.5]),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_the_solution_of_least_norm_is_taken(name: str) -> None:
    x, wanted = SEVERAL[name]
    found = reference_solutions(x)
    assert torch.allclose(found.y, torch.tensor([wanted]).double(), atol=1e-9)
    assert not bool(found.unique)
    # HiGHS alone would have returned a vertex in most of these; the value is the same.
    assert float(optimality(x, found.y, found.p).relative_error) < 1e-9


def test_instances_without_a_solution_are_left_out_by_name() -> None:
    x = draw(20, seeded())
    impossible = x.b.clone()
    impossible[3], impossible[11] = 1e6, 1e6
    equality = x.equality.clone()
    equality[3], equality[11] = True, True
    found = reference_solutions(replace(x, b=impossible, equality=equality))
    assert not set(found.program.ids.tolist()) & {3, 11}
    at = found.program.ids.tolist().index(int(found.program.ids[-1]))
    assert torch.equal(found.program.entries[at], x.entries[int(found.program.ids[-1])])
    with pytest.raises(ValueError, match="no instance that has a solution"):
        reference_solutions(program([[1, 1]], [3], [1, 1], [0, 0], [1, 1], [True]))


def test_the_largest_exact_weight_is_eps_in_the_example_and_zero_for_no_vertex() -> None:
    for eps in (1.0, 0.1, 1e-3):
        x = program([[1, 1]], [1], [eps, 0], [0, 0], [9, 9], [True])
        assert abs(largest_exact_weight(x, torch.tensor([[0.0, 1.0]]).double()) - eps) < 1e-9
    symmetric = program([[1, 1]], [1], [1, 1], [0, 0], [1, 1], [True])
    assert largest_exact_weight(symmetric, torch.tensor([[0.5, 0.5]]).double()) == INF
    with pytest.raises(ValueError, match="no weight makes a minimiser"):
        largest_exact_weight(
            program([[1, 1]], [1], [1, 0], [0, 0], [9, 9], [True]), torch.tensor([[1.0, 0.0]]).double()
        )


SMALL = "NAME T\nROWS\n N C\n {kind} R\nCOLUMNS\n X C {cost} R 1\n Y C 2 R {other}\nRHS\n R {right}\n C -10\nENDATA\n"


def solved(folder: Path, **parts: object) -> Path:
    path = folder / "small.mps"
    path.write_text(SMALL.format(**{"kind": "E", "cost": 1, "other": 1, "right": 1, **parts}))
    return path


def test_solving_a_file_prints_status_objective_gap_and_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("solve", solved(tmp_path)) == 0
    text = capsys.readouterr().out
    assert text.startswith("T: solved")
    for word in (
        "objective 11",
        "certified gap",
        "relative KKT error",
        "optimal value >=",
        "optimal value <=",
        "steps",
    ):
        assert word in text
    found = solve_file(solved(tmp_path))
    assert found.bracket is not None
    assert found.bracket.lower.value <= 11 <= found.bracket.upper.value


@pytest.mark.parametrize(
    ("parts", "code", "word"),
    [
        ({"right": -1}, 2, "infeasible"),
        ({"cost": -1, "other": -1}, 3, "unbounded"),
        ({"cost": -3, "kind": "G"}, 3, "unbounded"),
    ],
)
def test_files_without_a_solution_have_codes_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], parts: dict[str, object], code: int, word: str
) -> None:
    if code == 3 and "other" in parts:
        parts = {**parts, "cost": -3}
    assert main("solve", solved(tmp_path, **parts)) == code
    text = capsys.readouterr().out
    assert word in text
    assert "proved up to size" in text
    assert "objective" not in text


def test_files_that_cannot_be_read_are_one_line_and_code_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.mps"
    path.write_text("hello\n")
    assert main("solve", path) == 1
    assert main("solve", tmp_path / "absent.mps") == 1
    assert main("solve") == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 3


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("programs") / "linear_programming.json"
    measure("smoke", out)
    return out


def test_the_smoke_preset_measures_slopes_errors_and_solves(result: Path) -> None:
    found = json.loads(result.read_text())["measured"]
    for part, line in found["target_lines"].items():
        assert line["largest_error_of_the_perturbation"] <= 1e-12, part
        assert line["other_parts_moved"] == 0
    assert found["target_lines"]["costs"]["mean_norm_of_the_jacobian"] == 0
    for name in ("matrix", "right_side", "lower", "upper"):  # while bases stay, slopes are those of the Jacobian
        line = found["target_lines"][name]
        assert abs(line["mean_slope"] - line["mean_slope_along_the_same_directions"]) <= 0.05 * line["mean_slope"]
    for operator in ("primal_dual", "regularised_dual"):
        assert found[operator]["error"][-1] < found[operator]["error"][0]
        for slopes in found[operator]["slopes"].values():
            assert slopes[-1] > slopes[1]
    assert found["solves"]["solved_share"] == 1
    assert found["solves"]["mean_distance_to_the_reference"] < 1e-4


def test_the_figure_is_drawn(result: Path, tmp_path: Path) -> None:
    picture = draw_figure(result, tmp_path / "programs.png")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("name", ["linear_programming", "netlib"])
def test_the_committed_results_are_those_the_readme_shows(name: str) -> None:
    content = json.loads((FOLDER / "results" / f"{name}.json").read_text())
    readme = (FOLDER / "README.md").read_text()
    if name == "linear_programming":
        assert content["config"] == {"preset": "cpu", **classical_settings("cpu")}
        for line in content["measured"]["target_lines"].values():
            assert f"{line['mean_slope']:.3g}" in readme
        return
    problems = content["measured"]
    assert len(problems) == 16
    assert sum(p["status"] == "SOLVED" and p["relative_kkt_error"] <= 1e-6 for p in problems.values()) >= 6
    for problem, found in problems.items():
        assert f"| {problem} | {found['steps']} |" in readme
        # Published values have 11 or 12 digits.
        slack = 1e-9 * abs(found["highs"])
        assert found["lower"] - slack <= found["highs"] <= found["upper"] + slack


def opened(x: LinearProgram, share: float, generator: torch.Generator) -> LinearProgram:
    """Some bounds taken away."""
    low, high = torch.rand(2, *x.l.shape, generator=generator) < share
    return replace(x, l=torch.where(low, -INF, x.l), u=torch.where(high, INF, x.u))


def status_by_highs(x: LinearProgram) -> list[str]:
    found = []
    for i in range(x.shape[0]):
        A, e, b = x.dense()[i].numpy(), x.equality[i].numpy(), x.b[i].numpy()
        bounds = list(zip(x.lower[i].tolist(), x.upper[i].tolist(), strict=True))
        answer = linprog(x.c[i].numpy(), A_ub=A[~e], b_ub=b[~e], A_eq=A[e], b_eq=b[e], bounds=bounds).status
        found.append({0: "SOLVED", 2: "INFEASIBLE", 3: "UNBOUNDED"}[answer])
    return found


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
def test_answers_are_those_of_highs_on_mixed_batches(share: float) -> None:
    x = opened(draw(40, seeded(3)), share, seeded(4))
    found = solve_linear_program(x, max_steps=60_000)
    expected = status_by_highs(x)
    assert len(set(expected)) > 1
    assert [status.name for status in found.status] == expected


def test_brackets_hold_the_value_for_pairs_that_are_off_where_their_assumption_holds() -> None:
    small = Distribution(constraints=3, variables=8, nonzeros=12, cost=1.0)
    found = reference_solutions(opened(draw(200, seeded(5), distribution=small), 0.3, seeded(6)))
    batch = found.y.shape[0]
    assert batch >= 30
    held = without = 0
    for scale in (1e-8, 1e-4, 1e-1):
        y, p = (v + scale * torch.randn(v.shape, generator=seeded(7)).double() for v in (found.y, found.p))
        y, p = y.clamp(found.program.l, found.program.u), found.program.projected(p)
        quality = optimality(found.program, y, p)
        ok_y = (found.y.abs() <= 2 * y.abs().clamp_min(1.0)).all(dim=1)
        ok_p = (found.p.abs() <= 2 * p.abs().clamp_min(1.0)).all(dim=1)
        slack = 1e-9 * (1 + found.value.abs())  # of HiGHS
        assert bool((quality.lower <= found.value + slack)[ok_y].all())
        assert bool((quality.upper >= found.value - slack)[ok_p].all())
        held += int((ok_y & ok_p).sum())
        # Planted fault: values alone, with what the residuals can be worth left out.
        without += int(
            ((quality.dual_value > found.value + slack) | (quality.primal_value < found.value - slack)).sum()
        )
    assert held >= 2 * batch
    assert without >= batch // 4


@pytest.mark.skipif(netlib_folder() is None, reason="EQTHEORY_DATA does not name a folder with netlib/")
@pytest.mark.parametrize(
    ("name", "value"), [("afiro", -464.75314285714285), ("sc50b", -70.0), ("blend", -30.812149845828)]
)
def test_netlib_problems_reach_their_values(name: str, value: float) -> None:
    folder = netlib_folder()
    assert folder is not None
    found = solve_file(folder / "mps" / f"{name}.mps")
    assert found.status is LinearStatus.SOLVED
    assert found.bracket is not None
    assert found.bracket.lower.value <= value <= found.bracket.upper.value
    assert abs(found.objective - value) <= found.gap


def test_a_program_is_a_nest_that_solvers_accept() -> None:
    assert isinstance(draw(2, seeded()), LinearProgram)
