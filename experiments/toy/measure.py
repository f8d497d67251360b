"""Measure the growth curve of the diabetes table under the steps of T3 and T3b, at several budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eqtheory.constructions import (
    RadiusProduct,
    RelaxationRule,
    SquaredRadius,
    TableRelaxation,
    adaptive_relaxation,
)
from eqtheory.lipschitz import growth_on_table, largest_slope
from eqtheory.targets import SampleTable, from_samples
from experiments.common.record import load_preset, write_result

__all__ = ["FOLDER", "diabetes", "growth", "largest_relative_errors", "measure"]

FOLDER = Path(__file__).parent
RULES: tuple[RelaxationRule, ...] = (SquaredRadius(), RadiusProduct())


TABLES = {"all ten measurements": slice(0, 10), "six blood serum measurements": slice(4, 10)}


def diabetes(rows: int, columns: slice) -> SampleTable:
    """The standardised diabetes table.

    Args:
        rows: how many patients to keep.
        columns: which measurements to keep.

    Returns:
        A map from R^10 or R^6 to R on that many points.
    """
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    return from_samples(data.data[:rows, columns], data.target[:rows]).standardised()


def growth(table: SampleTable, rule: RelaxationRule, scale: float, steps: list[int]) -> dict[str, Any]:
    """Measure one relaxation of one table.

    Args:
        table: the map.
        rule: the step.
        scale: the factor of T3a.
        steps: iterations to look at.

    Returns:
        Budget, certificate, exact Lipschitz constants and largest relative errors.
    """
    G = adaptive_relaxation(table, rule=rule, scale=scale)
    return {
        "theorem": rule.theorem,
        "scale": scale,
        "budget": G.budget,
        "certificate": str(G.certify()),
        "smallest_eps": float(G.eps.min()),
        "lipschitz": [bound.value for bound in growth_on_table(G, table, steps)],
        "relative_error": largest_relative_errors(G, table, steps),
    }


def largest_relative_errors(G: TableRelaxation, table: SampleTable, steps: list[int]) -> list[float]:
    """Iterate, and compare with the table at the wanted iterations.

    Args:
        G: the operator.
        table: the map.
        steps: iterations to look at, increasing.

    Returns:
        `max |y_t - F| / |F|` over the table, one number per entry.
    """
    x, y, done, errors = table.points, G.initial_state(table.points), 0, []
    for t in steps:
        for _ in range(t - done):
            y = G(y, x)
        done = t
        errors.append(float(((y - table.values).abs() / table.values.abs()).max()))
    return errors


def measure(preset: str, out: Path | None = None) -> dict[str, Any]:
    """Run one preset and write its result.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        out: file to write; `results/growth.json` by default.

    Returns:
        What was measured.
    """
    config = load_preset(FOLDER, preset)
    steps = [0, *(2**k for k in range(config["iterations"].bit_length()))]
    tables = {}
    for name, columns in TABLES.items():
        table = diabetes(config["rows"], columns)
        tables[name] = {
            "lip_F": largest_slope(table, table.values).value,
            "largest_value": float(table.values.abs().max()),
            "pairs": len(table) * (len(table) - 1) // 2,
            "curves": [growth(table, rule, scale, steps) for rule in RULES for scale in config["scales"]],
        }
    measured = {"steps": steps, "tables": tables}
    write_result(out or FOLDER / "results" / "growth.json", config={"preset": preset, **config}, measured=measured)
    return measured
