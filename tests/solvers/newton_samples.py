"""Problems for Newton's method, on most of which Picard's iteration fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.solvers import OnFailure, Solution, Solver, Stop, fixed_point
from eqtheory.solvers._newton_krylov import NewtonKrylov
from tests.problems import PROBLEMS

RETURN = OnFailure.RETURN
SOLVERS = {"default": NewtonKrylov(), "two products": NewtonKrylov(inner=2, forcing=0.5, goal=1e-3)}
solvers = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
problems = pytest.mark.parametrize("name", PROBLEMS)
dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def attached(solver: NewtonKrylov, G: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> NewtonKrylov:
    return solver.attached(lambda y, v, _: torch.func.jvp(lambda at: G(at, x), (y,), (v,))[1])


def neighbours(y: Tensor) -> tuple[Tensor, Tensor]:
    pad = torch.nn.functional.pad
    return pad(y, (1, 0))[:, :-1], pad(y, (0, 1))[:, 1:]


def broyden(y: Tensor, x: Tensor) -> Tensor:
    """`G = y - F` with Broyden's tridiagonal function."""
    left, right = neighbours(y)
    return y - ((3 - 2 * y) * y - left - 2 * right + x)


def bratu(y: Tensor, x: Tensor) -> Tensor:
    """`-y'' = x exp(y)` by finite differences; the branch ends near `x = 3.51`."""
    left, right = neighbours(y)
    return y - (2 * y - left - right - x * torch.exp(y) / (y.shape[1] + 1) ** 2)


def cubic(y: Tensor, x: Tensor) -> Tensor:
    return x - 3 * y - y**3 + 0.5 * torch.sin(y.roll(1, -1))


def arctan(y: Tensor, x: Tensor) -> Tensor:
    """Newton's full steps diverge from further than 1.4 off."""
    return y - 2 * torch.atan(y - x)


def cycle(y: Tensor, x: Tensor) -> Tensor:
    """A contraction with factor 0.9 on which Newton's full steps jump between -18 and 18."""
    return -0.9 * y.clamp(-1, 1) + 0.9 * (y - y.clamp(-1, 1)) + 0 * x


def ones(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float64)


NONLINEAR: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]] = {
    "broyden": (broyden, ones(2, 50), -ones(2, 50)),
    "bratu": (bratu, torch.tensor([[1.0], [3.0], [3.5]]).double(), 0 * ones(3, 30)),
    "cubic": (cubic, 20 * torch.linspace(-3, 3, 40).double().reshape(2, 20), 0 * ones(2, 20)),
    "arctan": (arctan, torch.tensor([0.5, 2.0, 5.0, 20.0]).double(), 0 * ones(4)),
}


def solve_nonlinear(name: str, solver: Solver[Any], **settings: Any) -> Solution:
    G, x, y0 = NONLINEAR[name]
    stop = Stop(rtol=1e-10, atol=1e-12, max_steps=60)
    return fixed_point(G, x, y0, solver=solver, stop=stop, on_failure=RETURN, **settings)
