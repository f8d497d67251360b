r"""Messages between the rows and the variables of linear programs, applied once or iterated to a fixed point.

A **block** takes an estimate and gives a better one. Its state is `(y, p)`: a value `y_j` per variable in the units of the data and a
few numbers of memory `p_i` per row, as the primal-dual step has. With the program in units of its own, `z` the position of `y` in its
box and `r = M z - beta` what the rows are off by,

    v_j = act(E [z_j, g_j, size_j]),           w_i = act(F [p_i, r_i, beta_i, equation_i]),
    w  <- w + act(U [w, M v]),                 v  <- v + act(V v + M^T V' w),          some rounds, each with weights of its own,
    y_j = mid_j + half_j tanh(e . v_j),        p_i = f w_i.

An **explicit** model is one block from zero. The **implicit** one iterates `state <- (1 - a) state + a block(state)`, with one trained
weight `a`; everything else is the same. In an explicit one the weights of the memory, and `a`, have nothing to do. Both treat all rows
alike, and all variables, so relabelling these relabels results; an instance does not see its batch mates; and any number of rows,
variables and non-zeros will do.

`y` stays in the box whatever is learned, up to the rounding of `mid`, `half` and their sum: at a saturated `tanh` it may leave it by
three unit roundoffs of `max(|l|, |u|)`. Whether the memory stays bounded and iterates settle is for training to see to
(`residual_contraction`), and for measurements to say.
"""

from __future__ import annotations

from typing import cast, final

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from eqtheory.errors import InputError, ShapeError
from eqtheory.learned._scaled_program import Program, ScaledProgram, scaled
from eqtheory.operators import ImplicitOperator
from eqtheory.validate import count

__all__ = ["MessagePassing", "ProgramOperator"]

_LEAK = 0.1
"""Slope of the activation below 0: at width 4 a channel that is off everywhere would be a quarter of the network."""


@final
class MessagePassing(nn.Module):
    """One block: from a state of a batch of linear programs to a better one.

    Args:
        width: channels of every row and variable.
        rounds: how often messages go to the rows and back.
        memory: numbers that a state holds per row.
        generator: of the initial weights; a fixed seed by default.

    Raises:
        InputError: a count that is no positive integer.

    Example:
        >>> MessagePassing(4).parameter_count
        191
    """

    def __init__(self, width: int, *, rounds: int = 2, memory: int = 1, generator: Generator | None = None) -> None:
        super().__init__()
        self.width = count("width", width, "pass for example width=8")
        self.rounds = count("rounds", rounds, "pass for example rounds=2")
        self.memory = count("memory", memory, "pass for example memory=1")
        self.variables_in = nn.Linear(3, width)
        self.rows_in = nn.Linear(memory + 3, width)
        self.to_rows = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(rounds))
        self.to_variables = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(rounds))
        self.variables_out = nn.Linear(width, 1)
        self.rows_out = nn.Linear(width, memory)
        self.weight_logit = nn.Parameter(torch.zeros(()))
        self._initialise(generator or torch.Generator().manual_seed(0))

    @torch.no_grad()
    def _initialise(self, generator: Generator) -> None:
        for weight in self.parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)
            else:
                nn.init.zeros_(weight)

    @property
    def parameter_count(self) -> int:
        """Trained numbers, the weight of the iteration among them."""
        return sum(p.numel() for p in self.parameters())

    def zero_state(self, x: ScaledProgram) -> Tensor:
        """Return the state from which both models start.

        Args:
            x: the programs.

        Returns:
            Zeros, shape `(batch, n + memory * m)`.
        """
        batch, m = x.right.shape
        return x.right.new_zeros(batch, x.costs.shape[1] + self.memory * m)

    def forward(self, state: Tensor, x: ScaledProgram) -> Tensor:
        """Apply the block.

        Args:
            state: shape `(batch, n + memory * m)`.
            x: the programs.

        Returns:
            The next state, the shape of `state`.

        Raises:
            ShapeError: a state of another length.
        """
        (batch, m), n = x.right.shape, x.costs.shape[1]
        if state.ndim != 2 or state.shape != (batch, n + self.memory * m):
            needed = f"({batch}, {n + self.memory * m}): {n} variables and {self.memory} numbers for each of {m} rows"
            raise ShapeError("state", f"shape {tuple(state.shape)}", needed, "start from zero_state(x)")
        z, memory = x.position(state[:, :n]).unsqueeze(2), state[:, n:].reshape(batch, m, self.memory)
        off = x.times(z) - x.right.unsqueeze(2)
        v = _active(self.variables_in(torch.cat([z, torch.stack([x.costs, x.relative_size], dim=2)], dim=2)))
        w = _active(self.rows_in(torch.cat([memory, off, torch.stack([x.right, x.equality], dim=2)], dim=2)))
        for rows, variables in zip(self.to_rows, self.to_variables, strict=True):
            w = w + _active(rows(torch.cat([w, x.times(v)], dim=2)))
            # The same as of rows, with the second half of the weights applied on the side of the rows, of which there are fewer.
            weights = cast("nn.Linear", variables)
            own, sent = weights.weight[:, : self.width], weights.weight[:, self.width :]
            v = v + _active(functional.linear(v, own, weights.bias) + x.transposed(functional.linear(w, sent)))
        y = x.mid + x.half * self.variables_out(v).squeeze(2).tanh()
        return torch.cat([y, self.rows_out(w).flatten(1)], dim=1)


@final
class ProgramOperator(ImplicitOperator):
    """A block as an operator whose fixed point holds the solution.

    Args:
        block: the network; it is not copied.

    Example:
        >>> from eqtheory.constructions import LinearProgram
        >>> x = LinearProgram.from_dense(
        ...     torch.ones(1, 1, 2), b=torch.ones(1, 1), c=torch.ones(1, 2), l=torch.zeros(1, 2), u=torch.ones(1, 2)
        ... )
        >>> G = ProgramOperator(MessagePassing(4))
        >>> G(G.initial_state(x), x).shape
        torch.Size([1, 3])
    """

    compacts = False

    def __init__(self, block: MessagePassing) -> None:
        if not isinstance(block, MessagePassing):
            raise InputError("block", type(block).__name__, "a MessagePassing", "build one, or use as_operator")
        self.block = block

    def __call__(self, y: Tensor, x: Program | ScaledProgram) -> Tensor:
        weight = self.block.weight_logit.sigmoid()
        at = _scaled(x)
        n = at.costs.shape[1]
        # What leaves the box counts as its nearest point in it, also in what is kept.
        kept = torch.cat([at.mid + at.half * at.position(y[:, :n]), y[:, n:]], dim=1)
        return kept + weight * (self.block(y, at) - kept)

    def initial_state(self, x: Program | ScaledProgram) -> Tensor:
        """Start from zero.

        Args:
            x: the programs.

        Returns:
            Shape `(batch, n + memory * m)`.
        """
        return self.block.zero_state(_scaled(x))


def _scaled(x: Program | ScaledProgram) -> ScaledProgram:
    return x if isinstance(x, ScaledProgram) else scaled(x)


def _active(values: Tensor) -> Tensor:
    return functional.leaky_relu(values, _LEAK)
