"""Measure the growth curve of the diabetes table under the steps of T3 and T3b, at several budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from eqtheory.constructions import RadiusProduct, RelaxationRule, SquaredRadius, adaptive_relaxation
from eqtheory.lipschitz import growth_on_table, largest_slope
from eqtheory.targets import SampleTable, from_samples
from experiments.common.record import load_preset, write_result

__all__ = ["FOLDER", "diabetes", "measure"]

FOLDER = Path(__file__).parent
RULES: tuple[RelaxationRule, ...] = (SquaredRadius(), RadiusProduct())


def diabetes(rows: int) -> SampleTable:
    """The standardised diabetes table.

    Args:
        rows: how many patients to keep.

    Returns:
        A map from R^10 to R on that many points.
    """
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    return from_samples(data.data[:rows], data.target[:rows]).standardised()


def measure(preset: str, out: Path | None = None) -> dict[str, Any]:
    """Run one preset and write its result.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        out: file to write; `results/growth.json` by default.

    Returns:
        What was measured.
    """
    config = load_preset(FOLDER, preset)
    table = diabetes(config["rows"])
    steps = [0, *(2**k for k in range(config["iterations"].bit_length()))]
    curves = []
    for rule in RULES:
        for scale in config["scales"]:
            G = adaptive_relaxation(table, rule=rule, scale=scale)
            certificate = G.certify()
            growth = growth_on_table(G, table, steps)
            slowest = 1 - G.eps.min()
            curves.append(
                {
                    "theorem": rule.theorem,
                    "scale": scale,
                    "budget": G.budget,
                    "certificate": str(certificate),
                    "smallest_eps": float(G.eps.min()),
                    "steps": steps,
                    "lipschitz": [bound.value for bound in growth],
                    # The error at a patient is (1 - eps)^t |F|; the relative error is largest where eps is smallest.
                    "relative_error": [float(slowest**t) for t in steps],
                }
            )
    measured = {
        "curves": curves,
        "lip_F": largest_slope(table, table.values).value,
        "largest_value": float(table.values.abs().max()),
        "pairs": len(table) * (len(table) - 1) // 2,
        "threads": torch.get_num_threads(),
    }
    write_result(out or FOLDER / "results" / "growth.json", config={"preset": preset, **config}, measured=measured)
    return measured
