r"""Solve linear programs by the primal-dual iteration, with a certificate for every answer.

**Answers.** *Solved* means that the relative KKT error of the returned pair, measured on the data as they came, is at most the
tolerance. *Infeasible* means that a ray proves that no feasible point has all coordinates below the `radius`. *Unbounded* means
that a ray proves that no dual feasible multipliers lie below the `radius`, and that a feasible point was found to the tolerance;
without that point the answer is *dual infeasible*. Everything else is *step limit*: nothing is claimed. A radius is infinite where
rounding leaves no doubt.

A solution beyond the radius asked for, 1e9 by default, is not told from none: data with solutions of such a size should be scaled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor

from eqtheory.constructions.linear_programming._iteration import Iteration, Products, start
from eqtheory.constructions.linear_programming._optimality import Optimality, optimality, relative_error
from eqtheory.constructions.linear_programming._program import LinearProgram
from eqtheory.constructions.linear_programming._rays import farkas_radius, recession_cone, recession_radius
from eqtheory.constructions.linear_programming._scaling import ScaledProgram, equilibrated
from eqtheory.errors import InputError
from eqtheory.nests import take
from eqtheory.validate import count, positive

__all__ = ["LinearSolution", "LinearStatus", "solve_linear_program"]

_BLOCK = 16
_LOOK = 4  # blocks between two measurements on the data as they came
_RAYS = 8  # such measurements between two looks for rays


class LinearStatus(Enum):
    """What is known about a linear program after a solve, and what to do."""

    SOLVED = "solved: the relative KKT error is at most the tolerance"
    INFEASIBLE = "infeasible: multipliers prove that no feasible point lies within the radius"
    UNBOUNDED = "unbounded: a feasible point was found, and a direction proves that no dual feasible multipliers lie within the radius"
    DUAL_INFEASIBLE = (
        "infeasible or unbounded: a direction proves that no dual feasible multipliers lie within the radius"
    )
    STEP_LIMIT = "not known: allow more steps, or ask for less accuracy"


@dataclass(frozen=True)
class LinearSolution:
    """What a solve found; every tensor has the batch first.

    Args:
        status: one per instance.
        y: points; the ray where the answer is unbounded or dual infeasible.
        p: multipliers; the ray where the answer is infeasible.
        steps: steps taken, each one product with `A` and one with its transpose, shape `(batch,)`.
        optimality: residuals and values of the pairs; of no meaning where a ray is returned.
        radius: up to where a ray proves its statement, 0 where there is none.
    """

    status: tuple[LinearStatus, ...]
    y: Tensor
    p: Tensor
    steps: Tensor
    optimality: Optimality
    radius: Tensor

    @property
    def solved(self) -> Tensor:
        """Which instances were solved, shape `(batch,)`."""
        return torch.tensor([status is LinearStatus.SOLVED for status in self.status], device=self.y.device)


@torch.no_grad()
def solve_linear_program(
    program: LinearProgram, *, tolerance: float = 1e-6, max_steps: int = 400_000, radius: float = 1e9
) -> LinearSolution:
    """Solve a batch of linear programs to a relative KKT error, or prove that there is nothing to solve.

    Args:
        program: the programs, best in float64.
        tolerance: relative KKT error, positive.
        max_steps: limit of the steps; what takes longer is answered with `STEP_LIMIT`.
        radius: how far a ray has to exclude feasible points or dual feasible multipliers to be an answer.

    Returns:
        Pairs or rays, with what they prove.

    Raises:
        InputError: arguments outside their ranges.

    Theorem: T12.

    Example:
        >>> x = LinearProgram.from_dense(
        ...     torch.ones(1, 1, 2).double(), b=torch.ones(1, 1).double(), c=torch.tensor([[1.0, 2.0]]).double(),
        ...     l=torch.zeros(1, 2).double(), u=torch.full((1, 2), torch.inf).double(), equality=torch.tensor([[True]]),
        ... )
        >>> found = solve_linear_program(x)
        >>> found.status[0].name, found.y.round(decimals=4).abs()
        ('SOLVED', tensor([[1., 0.]], dtype=torch.float64))
    """
    if not isinstance(program, LinearProgram):
        raise InputError("program", type(program).__name__, "a LinearProgram", "use LinearProgram.from_dense")
    positive("tolerance", tolerance)
    count("max_steps", max_steps, "pass for example max_steps=100_000")
    positive("radius", radius)
    run = _Run(program, tolerance, radius)
    while run.left and run.done < max_steps:
        run.advance()
    run.stop()
    return _with_feasible_points(run.solution(), program, tolerance, max_steps, radius)


class _Run:
    """A solve in progress: what is still iterated, and what has been answered."""

    def __init__(self, program: LinearProgram, tolerance: float, radius: float) -> None:
        self.program, self.tolerance, self.radius = program, tolerance, radius
        batch = program.shape[0]
        self.index = torch.arange(batch, device=program.c.device)
        self.active = torch.ones(batch, dtype=torch.bool, device=program.c.device)
        self.status = [LinearStatus.STEP_LIMIT] * batch
        self.y, self.p = torch.zeros_like(program.c), torch.zeros_like(program.b)
        self.steps, self.proved = torch.zeros_like(self.index), torch.zeros_like(program.c[:, 0])
        self.done, self.looks, self.here = 0, 0, program
        self.scaled: ScaledProgram = equilibrated(program)
        self.products = Products(self.scaled.program)
        self.state: Iteration = start(self.scaled.program)

    @property
    def left(self) -> bool:
        """Whether something is unanswered."""
        return bool(self.active.any())

    def advance(self) -> None:
        """Take steps, and look at every unanswered instance."""
        for _ in range(_LOOK):
            self.state = self.state.advanced(self.scaled.program, self.products, _BLOCK, self.done)
            self.done += _BLOCK
        self.looks += 1
        y, p = self.image()
        error = relative_error(self.here, y, p, self.here.times(y) - self.here.b, self.here.c + self.here.transposed(p))
        self.answer(self.active & (error <= self.tolerance), LinearStatus.SOLVED, y, p, torch.zeros_like(error))
        for move_y, move_p in self.rays() if self.looks % _RAYS == 0 else ():
            multipliers = self.here.projected(move_p)
            reach = farkas_radius(self.here, multipliers)
            self.answer(self.active & (reach >= self.radius), LinearStatus.INFEASIBLE, y, multipliers, reach)
            direction = recession_cone(self.here, move_y)
            reach = recession_radius(self.here, direction)
            self.answer(self.active & (reach >= self.radius), LinearStatus.DUAL_INFEASIBLE, direction, p, reach)
        if 2 * int(self.active.sum()) <= len(self.active) and self.left:
            self.shrink()

    def image(self) -> tuple[Tensor, Tensor]:
        """The current pair in the units of the data."""
        y = torch.clamp(self.state.image_y * self.scaled.primal, self.here.l, self.here.u)
        return y, self.here.projected(self.state.image_p * self.scaled.dual)

    def rays(self) -> list[tuple[Tensor, Tensor]]:
        """Candidates: the last step, and the way from the anchor, in the units of the data and of size 1."""
        state = self.state
        candidates = (
            (state.moved_y, state.moved_p),
            (state.image_y - state.anchor_y, state.image_p - state.anchor_p),
        )
        return [(_unit(dy * self.scaled.primal), _unit(dp * self.scaled.dual)) for dy, dp in candidates]

    def answer(self, which: Tensor, status: LinearStatus, y: Tensor, p: Tensor, reach: Tensor) -> None:
        """Write answers down."""
        where = which.nonzero().squeeze(1)
        if not len(where):
            return
        home = self.index[where]
        self.y[home], self.p[home], self.proved[home] = y[where], p[where], reach[where]
        self.steps[home] = self.done
        for i in home.tolist():
            self.status[i] = status
        self.active = self.active & ~which

    def shrink(self) -> None:
        """Go on with the unanswered instances only."""
        keep = self.active.nonzero().squeeze(1)
        batch = len(self.active)
        self.index, self.active = self.index[keep], self.active[keep]
        self.here, self.scaled = take(self.here, keep, batch), take(self.scaled, keep, batch)
        self.state, self.products = self.state.taken(keep), Products(self.scaled.program)

    def stop(self) -> None:
        """Give the best that there is for what is unanswered."""
        if self.left:
            y, p = self.image()
            self.answer(self.active.clone(), LinearStatus.STEP_LIMIT, y, p, torch.zeros_like(y[:, 0]))

    def solution(self) -> LinearSolution:
        """Collect the answers."""
        found = optimality(self.program, self.y, self.p)
        return LinearSolution(tuple(self.status), self.y, self.p, self.steps, found, self.proved)


def _unit(v: Tensor) -> Tensor:
    largest = v.abs().amax(dim=1, keepdim=True) if v.shape[1] else v.new_zeros(v.shape[0], 1)
    return torch.where(largest > 0, v / largest.clamp_min(1e-300), 0.0)


def _with_feasible_points(
    found: LinearSolution, program: LinearProgram, tolerance: float, max_steps: int, radius: float
) -> LinearSolution:
    """Tell unbounded programs from infeasible ones, by looking for feasible points: the same programs without costs."""
    open_cases = [i for i, status in enumerate(found.status) if status is LinearStatus.DUAL_INFEASIBLE]
    if not open_cases:
        return found
    where = torch.tensor(open_cases, device=program.c.device)
    asked = take(program, where, program.shape[0])
    asked = replace(asked, c=torch.zeros_like(asked.c))
    points = solve_linear_program(asked, tolerance=tolerance, max_steps=max_steps, radius=radius)
    status, p, proved, steps = list(found.status), found.p.clone(), found.radius.clone(), found.steps.clone()
    steps[where] += points.steps
    for i, (at, answer) in enumerate(zip(open_cases, points.status, strict=True)):
        if answer is LinearStatus.SOLVED:
            status[at] = LinearStatus.UNBOUNDED
        elif answer is LinearStatus.INFEASIBLE:
            status[at] = LinearStatus.INFEASIBLE
            p[at], proved[at] = points.p[i], points.radius[i]
    return replace(found, status=tuple(status), p=p, radius=proved, steps=steps)
