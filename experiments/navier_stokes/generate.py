"""Make a data set of certified steady flows: reproducible by its seed, resumable, in as many processes as asked for."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from eqtheory.constructions import GalerkinTorus
from experiments.common.record import load_preset
from experiments.navier_stokes.certificate import Certificate, certify_flows
from experiments.navier_stokes.forces import ForceLaw, draw_forces
from experiments.navier_stokes.solver import FlowStatus, local_lipschitz, solve_coordinates
from experiments.navier_stokes.store import Chunk, chunk_path, claim_folder, load, read_chunk, write_chunk

__all__ = ["FOLDER", "Summary", "data_folder", "generate", "make_chunk", "summarise"]

FOLDER = Path(__file__).parent

Summary = dict[str, Any]
"""Counts of certificates and rejections, and how long it took."""


def make_chunk(settings: dict[str, Any], number: int) -> Chunk:
    """Draw, solve and certify the samples of one chunk.

    Args:
        settings: of the data set.
        number: of the chunk.

    Returns:
        The certified samples, and why the others are none.
    """
    torus = GalerkinTorus((settings["points"], settings["points"]), settings["aspect"])
    law = ForceLaw(tuple(settings["viscosities"]), (settings["grashof"][0], settings["grashof"][1]))
    indices = range(number * settings["chunk"], (number + 1) * settings["chunk"])
    forces = draw_forces(torus, law, settings["seed"], indices)
    flows = solve_coordinates(torus, forces.g, forces.viscosity)
    found = certify_flows(flows)
    accepted = found.kind != Certificate.NONE.value
    at = accepted.nonzero().squeeze(1)
    lipschitz = torch.zeros(0, dtype=torch.float64)
    if len(at):
        lipschitz = local_lipschitz(torus, flows.c[at], flows.viscosity[at], rounds=1).value
    columns = {
        "index": torch.tensor(list(indices))[at],
        "g": flows.g[at],
        "c": flows.c[at],
        "viscosity": flows.viscosity[at],
        "grashof": forces.grashof[at],
        "residual": flows.residual[at],
        "tail": flows.tail[at],
        "kind": found.kind[at],
        "smallness": found.smallness[at],
        "margin": found.margin[at],
        "leading": found.leading[at],
        "error": found.error[at],
        "lipschitz": lipschitz,
    }
    rejected = [
        {
            "index": indices[row],
            "viscosity": float(forces.viscosity[row]),
            "grashof": float(forces.grashof[row]),
            "reason": _reason(FlowStatus(int(flows.status[row]))),
            "history": [float(r) for r in flows.history[row]],
        }
        for row in (~accepted).nonzero().squeeze(1).tolist()
    ]
    return Chunk({k: v.numpy() for k, v in columns.items()}, rejected)


def _reason(status: FlowStatus) -> str:
    return "not certified as stable" if status is FlowStatus.CONVERGED else status.name.lower().replace("_", " ")


def _work(settings: dict[str, Any], number: int, folder: Path) -> int:
    """Make one chunk and write it; runs in a process of its own."""
    torch.set_num_threads(1)  # small matrices in two contending threads are far slower than in one
    chunk = make_chunk(settings, number)
    write_chunk(chunk_path(folder, number), chunk)
    return len(chunk)


def data_folder(preset: str, purpose: str = "data") -> Path:
    """Where a data set is kept unless another place is asked for.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        purpose: `data`, all Grashof numbers, or `learning`, what operators are trained and tested on.

    Returns:
        The folder.
    """
    return FOLDER / "data" / (preset if purpose == "data" else f"{preset}-{purpose}")


def generate(preset: str, folder: Path | None = None, *, purpose: str = "data", workers: int = 2) -> Summary:
    """Make a data set of a preset, going on where an earlier run stopped.

    Args:
        preset: `smoke`, `cpu` or `paper`.
        folder: where to keep it; `data_folder` by default.
        purpose: `data`, all Grashof numbers, or `learning`, what operators are trained and tested on.
        workers: processes of one thread each; 1 stays in this one.

    Returns:
        A summary.
    """
    settings = load_preset(FOLDER, preset)[purpose]
    out = folder or data_folder(preset, purpose)
    claim_folder(out, settings)
    begin = time.perf_counter()
    made = _run(settings, out, workers)
    return {**summarise(out, settings), "seconds": time.perf_counter() - begin, "chunks_made": made}


def _run(settings: dict[str, Any], out: Path, workers: int) -> int:
    wanted, sizes, made = int(settings["samples"]), dict[int, int](), 0

    def have() -> int:
        """Samples in the chunks without a gap."""
        total, number = 0, 0
        while number in sizes:
            total, number = total + sizes[number], number + 1
        return total

    def next_number(started: set[int]) -> int:
        number = 0
        while number in sizes or number in started:
            number += 1
        return number

    number = 0
    while chunk_path(out, number).exists():
        sizes[number] = len(read_chunk(chunk_path(out, number)))
        number += 1
    if workers == 1:
        while have() < wanted:
            number = next_number(set())
            sizes[number], made = _work(settings, number, out), made + 1
        return made
    running: dict[Future[int], int] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        while have() < wanted:
            while len(running) < workers:
                number = next_number(set(running.values()))
                if chunk_path(out, number).exists():  # of an earlier run, beyond a gap
                    sizes[number] = len(read_chunk(chunk_path(out, number)))
                    continue
                running[pool.submit(_work, settings, number, out)] = number
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                sizes[running.pop(future)] = future.result()
                made += 1
        wait(running)
    return made


def summarise(folder: Path, settings: dict[str, Any]) -> Summary:
    """Count what a data set holds.

    Args:
        folder: of the data set.
        settings: of the data set.

    Returns:
        Samples by certificate, rejections by reason, and the worst residual.
    """
    data = load(folder)
    kind = data.columns["kind"]
    reasons: dict[str, int] = {}
    for entry in data.rejected:
        reasons[entry["reason"]] = reasons.get(entry["reason"], 0) + 1
    return {
        "samples": len(data),
        "grid": f"{settings['points']} x {settings['points']}",
        "certificates": {
            c.name.lower(): int((kind == c.value).sum()) for c in Certificate if c is not Certificate.NONE
        },
        "rejected": reasons,
        "worst_residual": float(data.columns["residual"].max()),
        "worst_tail": float(data.columns["tail"].max()),
    }
