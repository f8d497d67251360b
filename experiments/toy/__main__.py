"""Command line of the experiment: `python -m experiments.toy measure --preset cpu`, `python -m experiments.toy figures`."""

from __future__ import annotations

from typing import Literal

import tyro

from experiments.toy.figures import draw
from experiments.toy.measure import measure


def main(command: Literal["measure", "figures"], /, preset: Literal["smoke", "cpu", "paper"] = "cpu") -> None:
    """Measure, or draw what was measured.

    Args:
        command: what to do.
        preset: size of the measurement.
    """
    if command == "measure":
        for name, found in measure(preset)["tables"].items():
            for curve in found["curves"]:
                print(f"{name}, {curve['theorem']}, budget {curve['budget']:g}: {curve['certificate']}")
    else:
        print(f"wrote {draw().name}")


if __name__ == "__main__":
    tyro.cli(main)
