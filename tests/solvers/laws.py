"""What every solver must satisfy, as functions that raise `AssertionError`; `zoo` holds solvers that must be rejected."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from eqtheory.nests import spread
from eqtheory.operators import FunctionOperator
from eqtheory.solvers import OnFailure, Solution, Solver, Stop, fixed_point
from tests.problems import Problem

__all__ = [
    "converges_to_the_equilibrium",
    "counts_its_evaluations",
    "follows_a_change_of_origin",
    "follows_a_change_of_scale",
    "is_deterministic",
    "is_independent_of_batch_mates",
    "leaves_a_fixed_point_alone",
    "same_bits",
    "steps_purely",
]

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}
"""Above the residuals `2 e / (1 - mu)` that rounding can keep alive: 1.2e-4 in float32 at mu = 0.999 with errors `e = u |y|`."""


def solve(solver: Solver[Any], p: Problem, **changes: Any) -> Solution:
    settings = {"rtol": TOLERANCE[p.x.dtype], "max_steps": 60_000} | changes
    return fixed_point(p.operator, p.x, p.y0, solver=solver, stop=Stop(**settings), on_failure=OnFailure.RETURN)


def same_bits(a: Any, b: Any) -> bool:
    """Whether two results agree bit for bit, through tuples and dataclasses."""
    if isinstance(a, Tensor):
        if not a.dtype.is_floating_point:
            return a.dtype == b.dtype and torch.equal(a, b)
        known = ~a.isnan()  # a state may mark with NaN what it does not have
        return a.dtype == b.dtype and torch.equal(known, ~b.isnan()) and torch.equal(a[known], b[known])
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same_bits(p, q) for p, q in zip(a, b, strict=True))
    if is_dataclass(a):
        return all(same_bits(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return bool(a == b)


def converges_to_the_equilibrium(solver: Solver[Any], p: Problem) -> None:
    s = solve(solver, p)
    assert bool(s.converged.all()), str(s)
    size = p.operator.norm(s.value).double()
    # The stop test holds at the value, and T1 turns it into an error; 1e-4 for the rounding of norms in float32.
    assert bool((s.residual <= 1.0001 * TOLERANCE[p.x.dtype] * (size + s.residual)).all())
    assert bool((p.error(s.value) <= s.error_bound.value).all())
    target = TOLERANCE[p.x.dtype] * (size + s.residual) / (1 - p.mu)
    floor = p.operator.regularity.rounding.error(p.operator.norm(s.value), p.x).double() / (1 - p.mu)
    assert bool((p.error(s.value) <= 1.01 * target + floor).all())


def is_independent_of_batch_mates(solver: Solver[Any], p: Problem) -> None:
    together = solve(solver, p)
    for i in range(len(p.x)):
        part = [i, (i + 1) % len(p.x)]  # alone and in other company
        for rows in ([i], part):
            q = replace(p, x=p.x[rows].clone(), y0=p.y0[rows].clone())
            other = solve(solver, q)
            for name in ("value", "status", "steps", "residual", "evaluations"):
                assert same_bits(getattr(other, name)[0], getattr(together, name)[i]), f"{name} of sample {i} moved"
            assert same_bits(other.error_bound.value[0], together.error_bound.value[i])


def is_deterministic(solver: Solver[Any], p: Problem) -> None:
    first, second = solve(solver, p), solve(solver, p)
    for name in ("value", "status", "steps", "residual", "evaluations"):
        assert same_bits(getattr(first, name), getattr(second, name)), name


def counts_its_evaluations(solver: Solver[Any], p: Problem) -> None:
    calls = []

    def counted(y: Tensor, x: Tensor) -> Tensor:
        calls.append(1)
        return p.operator(y, x)

    G = FunctionOperator(counted, regularity=p.operator.regularity)
    s = fixed_point(G, p.x, p.y0, solver=solver, stop=Stop(rtol=1e-4, max_steps=5000), on_failure=OnFailure.RETURN)
    assert len(calls) == s.calls == int(s.evaluations.max())


def follows_a_change_of_scale(solver: Solver[Any], p: Problem) -> None:
    """`s G(y/s)` from `s y0` runs through `s y_t`, bit for bit when `s` is a power of two."""
    plain = iterates(solver, p, p.operator, p.y0)
    for scale in (2.0**-12, 2.0**13):
        scaled = iterates(solver, p, lambda y, x, s=scale: s * p.operator(y / s, x), scale * p.y0)
        assert same_bits(scaled / scale, plain), f"scale {scale}"


def follows_a_change_of_origin(solver: Solver[Any], p: Problem) -> None:
    """`G(y - c) + c` from `y0 + c` runs through `y_t + c`, up to rounding.

    Shifted arithmetic errs by a few `u |c|` a step. A least-squares problem with ridge `lambda >= 1e-10` on unit columns passes
    errors of its data on with at most `1 / lambda**0.5 = 1e5`, and eight steps stay far below `1e3` times that.
    """
    c = torch.linspace(1, 2, p.x[0].numel(), dtype=p.x.dtype).reshape(p.x[0].shape)
    plain = iterates(solver, p, p.operator, p.y0)
    shifted = iterates(solver, p, lambda y, x: p.operator(y - c, x) + c, p.y0 + c)
    slack = 1e8 * torch.finfo(p.x.dtype).eps * float(plain.abs().max() + 2)
    steps = min(len(plain), len(shifted))  # a scalar problem can hit its fixed point exactly, which ends the run
    assert steps >= 3
    gap = float((shifted[:steps] - c - plain[:steps]).abs().max())
    assert gap <= slack, f"moved by {gap:.3g}, allowed {slack:.3g}"


def iterates(solver: Solver[Any], p: Problem, function: Any, y0: Tensor) -> Tensor:
    """Eight steps of a solver without stopping."""
    G = FunctionOperator(function)
    stop = Stop(rtol=0.0, max_steps=8, divergence=1e300)
    s = fixed_point(G, p.x, y0, solver=solver, stop=stop, on_failure=OnFailure.RETURN, iterates=True)
    assert s.trace is not None
    return s.trace.iterates


def steps_purely(solver: Solver[Any], p: Problem) -> None:
    """A step gives the same answer to the same question, and writes into nothing but the state it was handed."""
    y, active = p.y0.clone(), torch.ones(len(p.x), dtype=torch.bool)
    state = solver.init(y)
    for _ in range(7):
        g = p.operator(y, p.x)
        before = y.clone(), g.clone()
        first = solver.step(_copy(state), y, g, active)
        second = solver.step(state, y, g, active)
        assert same_bits(first, second), "two answers to one question"
        assert same_bits((y, g), before), "arguments were overwritten"
        y, state = first


def _copy(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, tuple):
        return tuple(_copy(part) for part in state)
    if is_dataclass(state):
        return replace(state, **{f.name: _copy(getattr(state, f.name)) for f in fields(state)})
    return state


def leaves_a_fixed_point_alone(solver: Solver[Any], p: Problem) -> None:
    """A sample at its fixed point stays there, bit for bit, while the others move."""
    y = p.y0 + 1
    at_rest = torch.zeros(len(y), dtype=torch.bool)
    at_rest[0] = True
    state = solver.init(y)
    for _ in range(6):
        g = torch.where(spread(at_rest, y), y, p.operator(y, p.x))
        y_next, state = solver.step(state, y, g, torch.ones_like(at_rest))
        assert same_bits(y_next[0], y[0])
        y = y_next
