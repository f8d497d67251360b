"""Measure trained operators: errors on flows they never saw, curves over iterations, and the true slopes beside them.

Each part is written as soon as it is there: a model that fails, or a killed run, takes no other with it, and parts that were measured
before with the same program, settings, data and weights are not measured again. The table is made of such parts alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from eqtheory.constructions import GalerkinTorus
from eqtheory.learned import FourierLayer, ImplicitFourierOperator
from eqtheory.solvers import Stop
from experiments.common.checkpoints import digest
from experiments.common.record import load_preset
from experiments.navier_stokes.curves import Tangents, error_curve, slope_curve, slopes_of_pairs, tangents_of
from experiments.navier_stokes.generate import FOLDER, data_folder
from experiments.navier_stokes.pairs import Pairs, Split, read_split
from experiments.navier_stokes.parts import Parts
from experiments.navier_stokes.shipped import available, load_model
from experiments.navier_stokes.solver import prolong
from experiments.navier_stokes.training import Model, Run, names, relative_error

__all__ = ["measure_learned"]

SETTLED = 1e-3
"""Relative change of the hidden field in one step above which an iteration has not come to rest."""


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
        RuntimeError: some could not be measured, after all others were.
    """
    config = load_preset(FOLDER, preset)["learned"]
    torch.set_num_threads(config["threads"])
    out = (results or FOLDER / "results") / "learned.json"
    split = read_split(data or data_folder(preset, "learning"), config)
    work = _Work(config, split, Parts(out, {"preset": preset, **config}, split), {})
    found, failed = 0, []
    for seed in seeds or config["seeds"]:
        run = Run(config, seed, runs)
        for name in names(config, seed):
            try:
                found += _measure_one(name, run, out.parent, work)
            except (ValueError, RuntimeError, ArithmeticError) as error:
                failed.append(f"{name}, seed {seed}: {error}")
                print(f"failed: {failed[-1]}", flush=True)
    if failed:
        raise RuntimeError(f"models: got {len(failed)} that could not be measured, all others are: {'; '.join(failed)}")
    if not found:
        raise FileNotFoundError("models: got none that were trained or ship; needed one; run the command train")
    return work.parts.measured


@dataclass(frozen=True)
class _Work:
    """What all models are measured with; tangents are made once, when they are first needed."""

    config: dict[str, Any]
    split: Split
    parts: Parts
    tangents: dict[str, Tangents]


def _measure_one(name: str, run: Run, results: Path, work: _Work) -> bool:
    """Measure one model, unless it was; say whether there is such a model."""
    split, config, seed, trained_on = work.split, work.config, run.seed, work.split.train.digest
    if not available(name, run, results, trained_on):
        if run.path(name).exists():
            print(
                f"{name}, seed {seed}: left out, its training has not come to its end; run the command train",
                flush=True,
            )
        return False
    key = f"{name}-{seed}"
    model = load_model(name, run, results, trained_on)
    part = work.parts.part(key, digest(*model.state_dict().values()))
    if "error" not in part:
        part = work.parts.keep(key, {**part, **errors_of(model, split, config)})
        print(f"{name}, seed {seed}: relative error {part['error']:.4f}", flush=True)
    if isinstance(model, ImplicitFourierOperator) and "slopes" not in part:
        chosen = _for_curves(split.test, config["measure"])
        if not work.tangents:
            work.tangents["all"] = tangents_of(chosen, config["measure"]["quantiles"])
        tangents = work.tangents["all"]
        _tell(name, seed, work.parts.keep(key, {**part, **curves_of(model, split.test, chosen, tangents, config)}))
    return True


@torch.no_grad()
def errors_of(model: Model, split: Split, config: dict[str, Any]) -> dict[str, Any]:
    """Measure a model's errors: on the grid it was trained on, and on a finer one.

    Args:
        model: the model.
        split: the data.
        config: the preset's settings for learned operators.

    Returns:
        Mean relative errors on test and training samples, by Grashof number, on the finer grid, the norms of all Fourier layers, and how
        many test flows an iterated model still moves by more than `SETTLED` at the end.
    """
    how, scale = config["measure"], config["scale"]
    place = next(model.parameters()).device
    x, wanted = (part.to(place) for part in split.test.fields(scale))
    outputs, unsettled = _applied(model, x, how["steps"])
    error = relative_error(outputs, wanted).cpu()
    few = split.train.rows(torch.arange(min(len(split.train), len(split.test))))
    seen, target = (part.to(place) for part in few.fields(scale))
    fine = _refined(split.test, how["fine_points"]).fields(scale)
    on_fine = relative_error(_applied(model, fine[0].to(place), how["steps"])[0], fine[1].to(place)).cpu()
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
        "error_train": float(relative_error(_applied(model, seen, how["steps"])[0], target).mean()),
        "error_fine_grid": float(on_fine.mean()),
        "by_grashof": by,
        "layer_norms": norms,
        **({"unsettled": unsettled} if isinstance(model, ImplicitFourierOperator) else {}),
    }


def _applied(model: Model, x: torch.Tensor, steps: int) -> tuple[torch.Tensor, int]:
    """Outputs, and how many of them come from iterations that have not come to rest."""
    parts = torch.split(x, 50)
    if not isinstance(model, ImplicitFourierOperator):
        return torch.cat([model(part) for part in parts]), 0
    operator, outputs, unsettled = model.operator(), [], 0
    for part in parts:
        z = model.solve(part, stop=Stop(rtol=1e-6, max_steps=steps)).value
        after = operator(z, operator.encode(part))
        outputs.append(model.decoder(z))
        moved = (after - z).flatten(1).norm(dim=1) / after.flatten(1).norm(dim=1)
        unsettled += int((~(moved <= SETTLED)).sum())  # what is not finite has not settled
    return torch.cat(outputs), unsettled


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
