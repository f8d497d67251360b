"""Ten thousand equilibrium layers in float32: no solver returns a NaN, and every one converges."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.solvers import (
    Anderson,
    AndersonTGS,
    BarzilaiBorwein,
    Broyden,
    Halpern,
    KrasnoselskiiMann,
    NewtonKrylov,
    OnFailure,
    Picard,
    Solver,
    Status,
    Stop,
    fixed_point,
)

SOLVERS: list[Solver[Any]] = [
    Picard(), KrasnoselskiiMann(0.8), Halpern(), Anderson(), AndersonTGS(), AndersonTGS(native=True), BarzilaiBorwein(),
    Broyden(), NewtonKrylov(),
]  # fmt: skip


def layers(count: int, n: int) -> tuple[dict[str, Tensor], Tensor]:
    """`relu(W y + x)` with a matrix a sample, of spectral norm between 0.05 and 0.97, at scales from 1e-3 to 1e3."""
    g = torch.Generator().manual_seed(77)
    W = torch.randn(count, n, n, generator=g)
    mu = 0.05 + 0.92 * torch.rand(count, generator=g)
    W = W * (mu / torch.linalg.matrix_norm(W, ord=2)).reshape(-1, 1, 1)
    x = torch.randn(count, n, generator=g) * 10 ** (6 * torch.rand(count, 1, generator=g) - 3)
    return {"W": W, "x": x}, mu


def relu(y: Tensor, x: dict[str, Tensor]) -> Tensor:
    return torch.relu((x["W"] * y.unsqueeze(1)).sum(dim=2) + x["x"])


@pytest.mark.parametrize(
    "solver", SOLVERS, ids=lambda s: type(s).__name__ + ("-native" if getattr(s, "native", False) else "")
)
def test_ten_thousand_relu_layers(solver: Solver[Any]) -> None:
    inputs, mu = layers(10_000, 6)
    start = torch.zeros(10_000, 6)
    s = fixed_point(
        relu, inputs, start, solver=solver, stop=Stop(rtol=1e-6, max_steps=4000), on_failure=OnFailure.RETURN
    )
    assert bool(torch.isfinite(s.value).all())
    assert bool(torch.isfinite(s.residual).all())
    # float32 carries 6e-8; a layer whose rounding keeps its residual above 1e-6 may stagnate, and says so.
    assert set(s.count()) <= {Status.CONVERGED, Status.STAGNATED}
    assert int(s.converged.sum()) >= 9_990
    image = relu(s.value.double(), {key: value.double() for key, value in inputs.items()})
    residual = (image - s.value.double()).norm(dim=1)
    error = residual / (1 - mu.double())  # T1: what the residual proves of the distance to the equilibrium
    assert bool((error <= (3e-6 / (1 - mu.double())) * (image.norm(dim=1) + 1e-30)).all())


def test_a_solver_without_care_is_seen_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anderson's columns divided by lengths of zero, with the two places that catch what comes of it taken away."""
    from eqtheory.solvers import _anderson, _run, _safeguard

    def careless(difference: Tensor) -> Tensor:
        return difference / torch.linalg.vector_norm(difference[:, 0], dim=1)[:, None, None]

    monkeypatch.setattr(_anderson, "_unit", careless)
    monkeypatch.setattr(_run.Run, "_advance", lambda self, proposal: proposal)
    monkeypatch.setattr(_safeguard.Guard, "follow", lambda self, size, image, proposal, **rest: (None, proposal, self))
    inputs, _ = layers(200, 6)
    stop = Stop(rtol=1e-6, max_steps=400)
    s = fixed_point(relu, inputs, torch.zeros(200, 6), solver=Anderson(), stop=stop, on_failure=OnFailure.RETURN)
    assert not bool(torch.isfinite(s.value).all())
