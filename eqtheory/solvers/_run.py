"""One pass of one solver over a batch: evaluate once, judge every sample, step.

One evaluation of `G` a step. The state that is returned is one at which `G` was evaluated, so its residual and its error bound
cost nothing more. A sample that leaves keeps its state: `torch.where` holds it while its batch mates go on, until the batch is
cut down to those that remain.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.nests import map_tensors, merge, spread, take
from eqtheory.operators import ImplicitOperator
from eqtheory.solvers._anchor import Anchor
from eqtheory.solvers._company import Company
from eqtheory.solvers._ledger import Ledger
from eqtheory.solvers._measure import Gauge, finite_rows, host_sees, largest_entry, working
from eqtheory.solvers._progress import Watcher
from eqtheory.solvers._solution import Memory, Recorder, Solution
from eqtheory.solvers._solver import Solver

__all__ = ["Run"]


@final
class Run:
    """The iteration of one solver.

    Args:
        operator: the operator.
        x: all inputs.
        y: starting states, shape `(batch, ...)`.
        g: `G(y, x)`.
        solver: chooses the steps.
        ledger: the account of the samples; its `active` says who is iterated.
        gauge: measures states.
        recorder: collects the trace.
        every: steps between two looks of the host.
        watcher: told how far the solve is.
        memory: of an earlier solve by the same solver.
    """

    def __init__(
        self,
        operator: ImplicitOperator,
        x: Any,
        y: Tensor,
        g: Tensor,
        solver: Solver[Any],
        ledger: Ledger,
        gauge: Gauge,
        recorder: Recorder,
        *,
        every: int,
        watcher: Watcher | None,
        memory: Memory | None,
    ) -> None:
        # An operator may return the same storage every time. The first value is kept until there is a second one, so that equal
        # addresses are proof.
        self._operator, self._y, self._g = operator, y, g.clone()
        self._lent: Tensor | None = g
        self._reuses = False
        self._original, self._batch = solver, y.shape[0]
        self._solver = solver.attached(self._pushforward)
        self._ledger, self._gauge, self._recorder = ledger, gauge, recorder
        self._every, self._watcher = every, watcher
        self._company = Company(operator, gauge, x, self._batch, fixed=recorder.wanted)
        self._certificate = ledger.certificate
        self._anchor = Anchor()
        self._calls = 1
        self._state = self._remembered(memory)
        # Proposals worked out in float32 may overflow when they are rounded to half precision.
        whole = working(y.dtype) == y.dtype
        self._finite = whole and self._solver.residuals(self._state) is not None
        self._measures = gauge.euclidean and not recorder.wanted and self._finite
        self._watches = not recorder.wanted
        # Whether proposals of compiled steps leave those where they are who have left.
        self._held = False
        self._compiled = self._solver.compiled(self._state) is not None
        self._filed: dict[str, Tensor] | None = None

    def solve(self) -> Solution:
        """Iterate until every sample has left or the steps are used up.

        Returns:
            The solution.
        """
        ledger, company, last, t = self._ledger, self._company, self._ledger.stop.max_steps, 0
        while True:
            proposal, residual = self._look(t, last)
            if t == last:
                break
            if t % self._every == 0:
                if not ledger.untouched:
                    remaining = ledger.remaining()
                    if not remaining:
                        break
                    if company.crowded(remaining):
                        proposal = self._cut(proposal)
                if self._watcher is not None:
                    self._watcher.look(t, self._batch, ledger.remaining)
            if proposal is None:
                proposal, self._held = self._propose(), True
            self._y = self._advance(proposal)
            self._g = self._owned(self._operator(self._y, company.x).contiguous())
            self._calls += 1
            t += 1
        ledger.close(t, self._y, self._g, residual)
        return self._solution()

    def _look(self, t: int, last: int) -> tuple[Tensor | None, Tensor | None]:
        """Let go of those who leave at this step; the next proposal and everyone's residuals, where these are known."""
        ledger, anchor, proposal, residual = self._ledger, self._anchor, None, None
        if self._watches and ledger.watched:
            measured = None
            if self._compiled and t != last:
                proposal = self._propose()
                measured = self._solver.compiled(self._state)
            due = anchor.due(t)
            self._held = ledger.glance(
                t, self._y, self._g, last=t == last, measured=measured, anchor=due, proposal=proposal
            )
            if self._held:
                anchor.pass_by(t, self._y)
                return proposal, None
        else:
            proposal, residual = self._ahead(t, last)
        if residual is None:
            reading = ledger.read(self._y, self._g)
            residual = reading.residual
            ledger.judge(t, reading, last=t == last)
        if (seen := anchor.look(t, self._y)) is not None:
            ledger.judge_return(t, reading, self._y, *seen)
        if self._recorder.wanted:
            self._recorder.add(ledger.current(residual), self._y)
        return proposal, residual

    def _ahead(self, t: int, last: int) -> tuple[Tensor | None, Tensor | None]:
        """The residuals, if the host sees that nobody can leave; with the next proposal, if the solver measured them."""
        ledger = self._ledger
        if t == last or not ledger.may_be_quiet(t):
            return None, None
        if not self._measures:
            return None, ledger.quiet(self._gauge.quick_distance(self._g, self._y))
        proposal, self._held = self._propose(), False
        size = self._solver.residuals(self._state)
        return proposal, None if size is None else ledger.quiet(size)

    def _propose(self) -> Tensor:
        proposal, self._state = self._solver.step(self._state, self._y, self._g, self._ledger.active)
        return proposal

    def _owned(self, g: Tensor) -> Tensor:
        """The operator's value in storage that its next evaluation leaves alone."""
        if self._lent is not None:
            self._reuses, self._lent = g.data_ptr() == self._lent.data_ptr(), None
        return g.clone() if self._reuses else g

    def _advance(self, proposal: Tensor) -> Tensor:
        """Move the samples that are still iterated; the operator's value stands in for a proposal that is not finite."""
        y, g, ledger = self._y, self._g, self._ledger
        if proposal is not g and not self._finite and not (host_sees(g) and largest_entry(proposal).item() < torch.inf):
            proposal = torch.where(spread(finite_rows(proposal), g), proposal, g)
        if ledger.untouched or (self._compiled and self._held):
            return proposal
        return torch.where(spread(ledger.active, y), proposal, y)

    def _pushforward(self, y: Tensor, v: Tensor, needed: Tensor) -> Tensor:
        """`(dG/dy) v` at `y`, counted for the samples that need it."""
        x = self._company.x
        self._calls += 1
        self._ledger.products += needed
        try:
            product = self._operator.pushforward(y, x, v)
        except (RuntimeError, NotImplementedError) as error:
            came = f"an operator without forward derivatives ({str(error).splitlines()[0][:120]})"
            remedy = "build it from differentiable operations, or use Anderson() or Broyden(), which need no derivative"
            raise InputError("G", came, "one that torch.func.jvp can differentiate", remedy) from error
        return product

    def _remembered(self, memory: Memory | None) -> Any:
        fresh = self._solver.init(self._y)
        if memory is None or memory.solver != self._original:
            return fresh
        if memory.index is None:
            return map_tensors(
                torch.clone, memory.state
            )  # a step may write into it, and the solution may be resumed again
        return merge(fresh, memory.state, memory.index, self._batch)

    def _cut(self, proposal: Tensor | None) -> Tensor | None:
        """Go on with the samples that are still iterated, if the operator treats its samples alone."""
        company, ledger, size, index = self._company, self._ledger, self._company.size, self._company.index
        probes = company.probes
        keep = company.cut(ledger.active, self._y, self._g)
        self._calls += company.probes - probes
        if keep is None:
            return proposal
        self._file(index)
        ledger.take(keep, company.x)
        self._anchor.take(keep)
        self._state = take(self._state, keep, size)
        self._y, self._g = self._y.index_select(0, keep), self._g.index_select(0, keep)
        return None if proposal is None else proposal.index_select(0, keep)

    def _file(self, index: Tensor | None) -> None:
        """Write down where everyone stands who was in the batch so far."""
        self._ledger.settle(self._y)
        now = {name: getattr(self._ledger, name) for name in ("status", "steps", "residual", "products")}
        now["value"] = self._y
        if index is None or self._filed is None:
            self._filed = now
        else:
            self._filed = {name: torch.index_copy(self._filed[name], 0, index, part) for name, part in now.items()}

    def _solution(self) -> Solution:
        index = self._company.index
        self._file(index)
        filed = self._filed or {}
        value, residual, certificate = filed["value"], filed["residual"], self._certificate
        memory = None
        if left := self._ledger.remaining():  # those who ran out of steps
            batch = len(self._ledger.active)
            rows_left = None if left == self._batch else self._ledger.active.nonzero().squeeze(1)
            state = self._state if rows_left is None else take(self._state, rows_left, batch)
            places = rows_left if index is None or rows_left is None else index.index_select(0, rows_left)
            memory = Memory(self._original, places, state)
        return Solution(
            value=value,
            status=filed["status"],
            steps=filed["steps"],
            residual=residual,
            error_bound=None if certificate is None else certificate.bound(residual, self._gauge(value)),
            evaluations=filed["steps"] + 1 + filed["products"],
            calls=self._calls,
            trace=self._recorder.trace(),
            memory=memory,
        )
