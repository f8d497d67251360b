r"""What an implicit operator computes after `t` iterations: how wrong it is, and how steep, beside the true solution map.

The state that is iterated is the hidden field `z`; what is looked at is `x -> decoder(z_t(x))`. Its derivative along tangents `T` of the
input follows the iteration,

    V_0 = 0,    V_{t+1} = dG/dz V_t + dG/dx T,    slope along T:  |D decoder(z_t) V_t| / |T|,

so that one pass gives all `t`; every slope is a lower bound on the local Lipschitz constant of that map. Lengths are root mean squares,
without viscosity, so slopes compare with `nu L` of the data.

**Tangents.** (1) Sines `v` of the vorticity at quantiles of wave number, pushed through the linearised equation to the changes of force
that make them, `F'(w) v`: along these the true slope is `|v| / |F'(w) v|`. (2) The change of force to which the flow is most sensitive,
where the true slope is the true local Lipschitz constant, the largest singular value of the tangent map. A block of all of them is
measured by the largest slope over its span.

**Anderson's iterates** adapt to their input. They have no growth bound (N8), and no derivative to be trusted across restarts: slopes
are those of pairs a finite distance apart, estimates.

Theorem: T4, N8.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.learned import ImplicitFourierOperator
from eqtheory.solvers import Anderson, OnFailure, Solver, Stop, fixed_point
from experiments.navier_stokes.pairs import Pairs
from experiments.navier_stokes.solver import Linearization, cut, local_lipschitz
from experiments.navier_stokes.training import relative_error

__all__ = ["Tangents", "error_curve", "slope_curve", "slopes_of_pairs", "tangents_of"]


@dataclass(frozen=True)
class Tangents:
    """Changes of force at flows, with what they do to the true flow.

    Args:
        forces: unit coordinates of the changes, shape `(samples, K + 1, n)`; the last one is the most sensitive.
        slopes: true slopes along them, shape `(samples, K + 1)`; exact for the sines, to rounding, on the coarse truncation.
        lipschitz: the true local Lipschitz constant `nu L`, found by iteration: a lower bound, sharp to `changed`; shape `(samples,)`.
        changed: relative change of it in the last round.
        wavenumbers: of the sines, shape `(K,)`.
    """

    forces: Tensor
    slopes: Tensor
    lipschitz: Tensor
    changed: Tensor
    wavenumbers: Tensor


def tangents_of(pairs: Pairs, quantiles: list[float]) -> Tangents:
    """Push sines through the linearised equation, and find the most sensitive change of force.

    Args:
        pairs: samples.
        quantiles: of the wave numbers that the coarse truncation keeps.

    Returns:
        The changes of force.

    Raises:
        InputError: a quantile is outside `[0, 1]`, or two of them meet on one mode, so that the block would not be independent.
    """
    torus, one = pairs.torus, torch.ones(len(pairs), dtype=torch.float64)
    half = torus.dimension // 2
    order = torus.squared[:half].argsort(stable=True)
    if not all(0 <= q <= 1 for q in quantiles):
        raise InputError("quantiles", f"{quantiles}", "numbers in [0, 1]", "correct the preset")
    places = [min(int(q * half), half - 1) for q in quantiles]
    if len(set(places)) < len(places):
        raise InputError(
            "quantiles", f"two on one of {half} modes", "one mode each", "choose fewer, or refine the grid"
        )
    chosen = order[torch.tensor(places)]
    at = Linearization.at(torus, pairs.w, one)
    forces, slopes = [], []
    for place in chosen.tolist():
        sine = torch.zeros(len(pairs), torus.dimension, dtype=torch.float64)
        sine[:, half + place] = 1.0  # the imaginary part of a coefficient: a sine of unit length
        force = at.apply(sine)
        length = torch.linalg.vector_norm(force, dim=1, keepdim=True)
        forces.append(force / length)
        slopes.append(1 / length[:, 0])
    found = local_lipschitz(pairs.fine, pairs.flows, one, rounds=3)
    worst, response = cut(pairs.fine, torus, found.force), cut(pairs.fine, torus, found.response)
    length = torch.linalg.vector_norm(worst, dim=1, keepdim=True)
    forces.append(worst / length)
    slopes.append(torch.linalg.vector_norm(response, dim=1) / length[:, 0])
    return Tangents(
        torch.stack(forces, dim=1),
        torch.stack(slopes, dim=1),
        found.value,
        found.changed,
        torus.squared[chosen].sqrt(),
    )


def _require_increasing(iterations: list[int]) -> None:
    if not iterations or iterations[0] < 1 or any(a >= b for a, b in pairwise(iterations)):
        raise InputError("iterations", f"{iterations}", "increasing numbers from 1 on", "sort them, each once")


@torch.no_grad()
def error_curve(
    model: ImplicitFourierOperator, x: Tensor, wanted: Tensor, iterations: list[int]
) -> dict[str, list[float]]:
    """Follow the error of plain iterates.

    Args:
        model: the model.
        x: inputs.
        wanted: targets.
        iterations: increasing numbers of iterations to look at.

    Returns:
        `error`, `median`, `largest`: relative, over samples; `residual`, the largest relative residual of the hidden field.
    """
    _require_increasing(iterations)
    operator = model.operator()
    injected = operator.encode(x)
    z, looked_at = operator.initial_state(injected), set(iterations)
    found: dict[str, list[float]] = {"error": [], "median": [], "largest": [], "residual": []}
    for t in range(1, iterations[-1] + 1):
        after = operator(z, injected)
        if t in looked_at:
            error = relative_error(model.decoder(after), wanted)
            moved = (after - z).flatten(1).norm(dim=1) / after.flatten(1).norm(dim=1)
            found["error"].append(float(error.mean()))
            found["median"].append(float(error.median()))
            found["largest"].append(float(error.max()))
            found["residual"].append(float(moved.max()))
        z = after
    return found


def slope_curve(
    model: ImplicitFourierOperator, pairs: Pairs, tangents: Tangents, iterations: list[int], scale: float
) -> dict[str, Tensor]:
    """Follow slopes of plain iterates along tangents, in float64.

    Args:
        model: the model, in float64.
        pairs: samples.
        tangents: changes of their forces.
        iterations: increasing numbers of iterations to look at.
        scale: what inputs and outputs are divided by.

    Returns:
        `single`: slope along each tangent, shape `(iterations, samples, K + 1)`; `block`: the largest over their span, shape
        `(iterations, samples)`.
    """
    _require_increasing(iterations)
    x, _ = pairs.fields(scale, torch.float64)
    moves = pairs.torus.field(tangents.forces.flatten(0, 1))
    moves = moves.reshape(*tangents.forces.shape[:2], *moves.shape[1:])
    T = moves.transpose(0, 1).unsqueeze(2)  # K + 1, samples, 1, x, y
    triangle = torch.linalg.qr(tangents.forces.mT)[1]
    operator, looked_at = model.operator(), set(iterations)
    injected, pushed = _pushed(operator.encode, (x,), (T,))
    z = operator.initial_state(injected)
    V = torch.zeros(len(T), *z.shape, dtype=z.dtype)
    single, block = [], []
    for t in range(1, iterations[-1] + 1):
        z, V = _pushed(lambda at, *fields: operator(at, fields), (z, *injected), (V, *pushed))
        if t in looked_at:
            seen = _pushed(model.decoder, (z,), (V,))[1].flatten(2).permute(1, 0, 2) / x[0].numel() ** 0.5
            single.append(torch.linalg.vector_norm(seen, dim=2))
            columns = torch.linalg.solve_triangular(triangle, seen.mT, upper=True, left=False)
            block.append(torch.linalg.matrix_norm(columns, ord=2))
    return {"single": torch.stack(single), "block": torch.stack(block)}


def _pushed(function: Any, at: tuple[Tensor, ...], along: tuple[Tensor, ...]) -> tuple[Any, Any]:
    """Values, and derivatives along many tangents at once.

    Returns:
        The value, and the derivatives with the tangents' axis first.
    """
    jvp: Any = torch.func.jvp
    vmap: Any = torch.func.vmap  # its stubs know no output without an axis
    with torch.no_grad():
        value, pushed = vmap(lambda *tangents: jvp(function, at, tangents), out_dims=(None, 0))(*along)
    return value, pushed


@torch.no_grad()
def slopes_of_pairs(
    model: ImplicitFourierOperator,
    pairs: Pairs,
    tangents: Tangents,
    iterations: list[int],
    scale: float,
    *,
    length: float = 1e-2,
    solver: Solver[Any] | None = None,
) -> dict[str, Tensor]:
    """Follow slopes between inputs and their perturbed copies under a solver, in float64; a sample at a time.

    Args:
        model: the model, in float64.
        pairs: samples.
        tangents: changes of their forces.
        iterations: increasing numbers of iterations to look at.
        scale: what inputs and outputs are divided by.
        length: of the perturbation of the scaled force, root mean square.
        solver: the iteration; Anderson's by default.

    Returns:
        `single`: slopes, shape `(iterations, samples, K + 1)`; `error`: relative errors of the iterates, shape `(iterations, samples)`.
    """
    _require_increasing(iterations)
    x, wanted = pairs.fields(scale, torch.float64)
    iteration, operator, single, errors = solver or Anderson(), model.operator(), [], []
    for k in range(len(pairs)):
        moved = x[k] + length * pairs.torus.field(tangents.forces[k]).unsqueeze(1)
        injected = operator.encode(torch.cat([x[k : k + 1], moved]))
        stop = Stop(rtol=0.0, max_steps=iterations[-1])
        found = fixed_point(
            operator, injected, solver=iteration, stop=stop, on_failure=OnFailure.RETURN, trace=True, iterates=True
        )
        states = found.trace.iterates if found.trace is not None else found.value.unsqueeze(0)
        seen = [model.decoder(states[min(t, len(states) - 1)]) for t in iterations]
        gaps = [(one[1:] - one[:1]).flatten(1).norm(dim=1) / (length * x[0].numel() ** 0.5) for one in seen]
        single.append(torch.stack(gaps))
        errors.append(torch.cat([relative_error(one[:1], wanted[k : k + 1]) for one in seen]))
    return {"single": torch.stack(single, dim=1), "error": torch.stack(errors, dim=1)}
