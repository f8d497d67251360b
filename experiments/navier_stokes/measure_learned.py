"""Measure trained operators: errors on flows they never saw, curves over iterations, and the true slopes beside them.

Each part is written as soon as it is there: one that fails, or is killed, takes no other with it, and parts that were measured before with
the same program, settings and weights are not measured again.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from eqtheory.constructions import GalerkinTorus
from eqtheory.learned import FourierLayer, ImplicitFourierOperator
from experiments.common.checkpoints import digest
from experiments.common.parts import sources_digest
from experiments.common.record import load_preset, write_result
from experiments.navier_stokes.curves import Tangents, error_curve, slope_curve, slopes_of_pairs, tangents_of
from experiments.navier_stokes.generate import FOLDER, data_folder
from experiments.navier_stokes.pairs import Pairs, Split, read_split
from experiments.navier_stokes.shipped import available, load_model
from experiments.navier_stokes.solver import prolong
from experiments.navier_stokes.training import Model, Run, names, relative_error

__all__ = ["measure_learned", "table_of"]


def measure_learned(
    preset: str, *, runs: Path, data: Path | None = None, results: Path | None = None, seeds: list[int] | None = None
) -> dict[str, Any]:
    """Run all measurements of a preset that are not there yet.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        runs: folder of training checkpoints; what is missing there is taken from the shipped models.
        data: folder of the data set; `data_folder(preset, "learning")` by default.
        results: folder for `learned.json`.
        seeds: the preset's by default.

    Returns:
        What was measured.

    Raises:
        FileNotFoundError: no model was trained or ships.
    """
    config = load_preset(FOLDER, preset)["learned"]
    torch.set_num_threads(config["threads"])
    out = (results or FOLDER / "results") / "learned.json"
    split = read_split(data or data_folder(preset, "learning"), config)
    store = _Parts(out, {"preset": preset, **config}, split)
    tangents: Tangents | None = None
    for seed in seeds or config["seeds"]:
        run = Run(config, seed, runs)
        for name in names(config, seed):
            if not available(name, run, out.parent):
                continue
            model = load_model(name, run, out.parent)
            key, weights = f"{name}-{seed}", digest(*model.state_dict().values())
            part = store.part(key, weights)
            if "error" not in part:
                part = store.keep(key, {**part, **errors_of(model, split, config)})
                print(f"{name}, seed {seed}: relative error {part['error']:.4f}", flush=True)
            if isinstance(model, ImplicitFourierOperator) and "slopes" not in part:
                chosen = _for_curves(split.test, config["measure"])
                tangents = tangents or tangents_of(chosen, config["measure"]["quantiles"])
                part = store.keep(key, {**part, **curves_of(model, split.test, chosen, tangents, config)})
                _tell(name, seed, part)
    if not store.measured["models"]:
        raise FileNotFoundError("models: got none that were trained or ship; needed one; run the command train")
    return store.measured


class _Parts:
    """Results that are written part by part.

    Args:
        path: the JSON file.
        config: settings; results of others are not gone on with.
        split: the data.
    """

    def __init__(self, path: Path, config: dict[str, Any], split: Split) -> None:
        self.path, self.config, self.sources = path, config, sources_digest()
        about = {
            "train": len(split.train),
            "test": len(split.test),
            "digest": split.test.digest,
            "left_out_median": float(split.test.left_out.median()),
            "left_out_largest": float(split.test.left_out.max()),
        }
        before = json.loads(path.read_text()) if path.exists() else {"config": None, "measured": {}}
        same = before["config"] == config and before["measured"].get("data") == about
        self.measured: dict[str, Any] = before["measured"] if same else {"data": about, "models": {}, "table": {}}

    def part(self, key: str, weights: str) -> dict[str, Any]:
        """What was measured of these weights.

        Args:
            key: model and seed.
            weights: their digest.

        Returns:
            The part, empty but for what names weights and program where there is none.
        """
        found, named = self.measured["models"].get(key, {}), {"weights": weights, "sources": self.sources}
        return dict(found) if {name: found.get(name) for name in named} == named else named

    def keep(self, key: str, part: dict[str, Any]) -> dict[str, Any]:
        """Write a part.

        Args:
            key: model and seed.
            part: what was measured.

        Returns:
            The part.
        """
        self.measured["models"][key] = part
        self.measured["table"] = table_of(self.measured["models"])
        write_result(self.path, config=self.config, measured=self.measured)
        return part


@torch.no_grad()
def errors_of(model: Model, split: Split, config: dict[str, Any]) -> dict[str, Any]:
    """Measure a model's errors: on the grid it was trained on, and on a finer one.

    Args:
        model: the model.
        split: the data.
        config: the preset's settings for learned operators.

    Returns:
        Mean relative errors on test and training samples, by Grashof number, on the finer grid, and the norms of all Fourier layers.
    """
    how, scale = config["measure"], config["scale"]
    place = next(model.parameters()).device
    x, wanted = (part.to(place) for part in split.test.fields(scale))
    error = relative_error(_applied(model, x, how["steps"]), wanted).cpu()
    few = split.train.rows(torch.arange(min(len(split.train), len(split.test))))
    seen, target = (part.to(place) for part in few.fields(scale))
    fine = _refined(split.test, how["fine_points"]).fields(scale)
    on_fine = relative_error(_applied(model, fine[0].to(place), how["steps"]), fine[1].to(place)).cpu()
    edges = how["grashof"]
    by = []
    for low, high in pairwise(edges):
        at = (split.test.grashof >= low) & (split.test.grashof < high)
        if bool(at.any()):
            by.append({"from": low, "to": high, "samples": int(at.sum()), "error": float(error[at].mean())})
    norms = [layer.norm().upper.value for layer in model.modules() if isinstance(layer, FourierLayer)]
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "error": float(error.mean()),
        "error_median": float(error.median()),
        "error_largest": float(error.max()),
        "error_train": float(relative_error(_applied(model, seen, how["steps"]), target).mean()),
        "error_fine_grid": float(on_fine.mean()),
        "by_grashof": by,
        "layer_norms": norms,
    }


def _applied(model: Model, x: torch.Tensor, steps: int) -> torch.Tensor:
    parts = torch.split(x, 50)
    if isinstance(model, ImplicitFourierOperator):
        return torch.cat([model(part, steps) for part in parts])
    return torch.cat([model(part) for part in parts])


def _refined(pairs: Pairs, points: int) -> Pairs:
    """The same flows as the coarse truncation, sampled on a finer grid."""
    torus = GalerkinTorus((points, points))
    return replace(pairs, torus=torus, g=prolong(pairs.torus, torus, pairs.g), w=prolong(pairs.torus, torus, pairs.w))


def _for_curves(test: Pairs, how: dict[str, Any]) -> Pairs:
    """The first test samples, and those with the largest true Lipschitz constants."""
    first = torch.arange(min(how["curve_samples"], len(test)))
    steepest = test.lipschitz.argsort(descending=True)[: how["steepest"]]
    return test.rows(torch.cat([first, steepest[~torch.isin(steepest, first)]]))


def curves_of(
    model: ImplicitFourierOperator, test: Pairs, chosen: Pairs, tangents: Tangents, config: dict[str, Any]
) -> dict[str, Any]:
    """Follow errors and slopes over iterations.

    Args:
        model: the model.
        test: samples for errors.
        chosen: samples for slopes.
        tangents: changes of their forces.
        config: the preset's settings for learned operators.

    Returns:
        Curves of plain and of Anderson's iterates, and the true slopes.
    """
    how, scale = config["measure"], config["scale"]
    place = next(model.parameters()).device
    x, wanted = (part.to(place) for part in test.fields(scale))
    double, iterations = copy.deepcopy(model).cpu().double(), how["iterations"]
    slopes = slope_curve(double, chosen, tangents, iterations, scale)
    few = how["anderson_samples"]
    at = torch.arange(len(chosen))[-few:]
    some = Tangents(
        tangents.forces[at], tangents.slopes[at], tangents.lipschitz[at], tangents.changed[at], tangents.wavenumbers
    )
    anderson = slopes_of_pairs(double, chosen.rows(at), some, iterations, scale)
    return {
        "iterations": iterations,
        **{f"curve_{key}": value for key, value in error_curve(model, x, wanted, iterations).items()},
        "slopes": {
            "samples": len(chosen),
            "sines": slopes["single"][:, :, :-1].amax(dim=(1, 2)).tolist(),
            "most_sensitive": slopes["single"][:, :, -1].amax(dim=1).tolist(),
            "block": slopes["block"].amax(dim=1).tolist(),
            "block_median": slopes["block"].median(dim=1).values.tolist(),
            "ratio_to_truth": (slopes["block"][-1] / tangents.lipschitz).tolist(),
        },
        "anderson": {
            "samples": few,
            "slope": anderson["single"].amax(dim=(1, 2)).tolist(),
            "error": anderson["error"].mean(dim=1).tolist(),
        },
        "truth": {
            "lipschitz": tangents.lipschitz.tolist(),
            "changed_largest": float(tangents.changed.max()),
            "sines_largest": float(tangents.slopes[:, :-1].max()),
            "wavenumbers": tangents.wavenumbers.tolist(),
            "all_test_largest": float(test.lipschitz.max()),
        },
    }


def _tell(name: str, seed: int, part: dict[str, Any]) -> None:
    block, error = part["slopes"]["block"], part["curve_error"]
    print(
        f"{name}, seed {seed}: slopes {block[0]:.3g} to {block[-1]:.3g}, true {max(part['truth']['lipschitz']):.3g}; "
        f"error {error[0]:.3g} to {error[-1]:.3g}",
        flush=True,
    )


def table_of(models: dict[str, Any]) -> dict[str, Any]:
    """Put means and spreads over seeds into one table.

    Args:
        models: parts by model and seed.

    Returns:
        Rows by model: parameters, mean error and its spread (largest less smallest), seeds.
    """
    rows: dict[str, Any] = {}
    for name in dict.fromkeys(key.rpartition("-")[0] for key in models):
        parts = [part for key, part in models.items() if key.rpartition("-")[0] == name and "error" in part]
        errors = [part["error"] for part in parts]
        if errors:
            rows[name] = {
                "parameters": parts[0]["parameters"],
                "error_mean": mean(errors),
                "error_spread": max(errors) - min(errors),
                "seeds": len(errors),
            }
    return rows
