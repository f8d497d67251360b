"""Command line of the experiment: `python -m experiments.schedules measure --preset cpu`, `python -m experiments.schedules figures`."""

from __future__ import annotations

from typing import Literal

import tyro

from experiments.schedules.figures import draw
from experiments.schedules.measure import measure


def main(command: Literal["measure", "figures"], /, preset: Literal["smoke", "cpu", "paper"] = "cpu") -> None:
    """Measure, or draw what was measured.

    Args:
        command: what to do.
        preset: size of the measurement.
    """
    if command == "measure":
        for name, found in measure(preset).items():
            print(f"{name}: {found['certificate']}")
            print(f"{name}: smallest steps {found['smallest']}, totals {found['total']}")
    else:
        print(f"wrote {draw().name}")


if __name__ == "__main__":
    tyro.cli(main)
