r"""A recurrent-depth transformer, and its core as an operator `G(y, x)` on the latent state.

    x = prelude(tokens),      y_{t+1} = G(y_t, x) = norm(core(W [y_t; x])),      logits = head(norm(coda(y_t))).

The prompt is injected in every iteration, so that what the state becomes in the end can depend on the prompt and not on where it started;
without it a recurrence that contracts forgets what it was asked. The last norm bounds states, `|y_t| <= max|w| sqrt(width * length)`, so
T4 allows slopes to grow by one budget an iteration as long as the core does not expand; nothing makes it contract, so `m` of T4's recursion
can exceed one, and what is true of a trained model has to be measured.

**Training.** Iterations are drawn at random for every batch. Derivatives go through the last few of them only: the state before is taken as
a start from nowhere, which is what it should not matter that it is. Or the fixed point is solved for and differentiated by any rule of
`eqtheory.gradients`.

References:
    Geiping, McLeish, Jain, Kirchenbauer, Singh, Bartoldson, Kailkhura, Bhatele, Goldstein, Scaling up test-time compute with latent
    reasoning: a recurrent depth approach, 2025, section 3; Bansal, Schwarzschild, Borgnia, Emam, Huang, Goldblum, Goldstein, End-to-end
    algorithm synthesis with recurrent networks, NeurIPS 2022 (recall, and starts from nowhere).

Theorem: T4.
"""

from __future__ import annotations

from typing import Any, cast, final

import torch
from torch import Tensor, nn

from eqtheory.errors import InputError, ShapeError
from eqtheory.gradients import Gradient, Phantom, fixed_point
from eqtheory.learned.recurrent_depth._block import Block, RootMeanSquareNorm, initialise
from eqtheory.learned.recurrent_depth._geometry import Geometry, geometry_of
from eqtheory.learned.recurrent_depth._prompt import Prompt, checked_tokens
from eqtheory.learned.recurrent_depth._size import RecurrentDepthSize
from eqtheory.operators import ImplicitOperator
from eqtheory.solvers import Anderson, OnFailure, Solution, Solver, Stop
from eqtheory.validate import count

__all__ = ["LatentOperator", "RecurrentDepthTransformer"]

_STOP = Stop(rtol=1e-3, max_steps=32)
_ANDERSON = Anderson()
_PHANTOM = Phantom(steps=4, relaxation=1.0)


@final
class RecurrentDepthTransformer(nn.Module):
    """A transformer whose core is iterated as often as one likes.

    Args:
        size: of the whole.
        generator: where the initial weights come from; torch's own state where `None`.

    Theorem: T4.

    References:
        Geiping et al. 2025, section 3.

    Example:
        >>> import torch
        >>> from eqtheory.learned.recurrent_depth import RecurrentDepthSize, RecurrentDepthTransformer
        >>> model = RecurrentDepthTransformer(RecurrentDepthSize(11), generator=torch.Generator().manual_seed(0))
        >>> model(torch.tensor([[3, 1, 4], [1, 5, 9]]), steps=8).shape
        torch.Size([2, 3, 11])
    """

    def __init__(self, size: RecurrentDepthSize, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.size = size
        width = size.block.width
        self.table = nn.Embedding(size.vocabulary, width)
        self.prelude = nn.ModuleList(Block(size.block) for _ in range(size.prelude))
        self.inject = nn.Linear(2 * width, width, bias=False)
        self.core = nn.ModuleList(Block(size.block) for _ in range(size.core))
        self.state_norm = RootMeanSquareNorm(width)
        self.coda = nn.ModuleList(Block(size.block) for _ in range(size.coda))
        self.output_norm = RootMeanSquareNorm(width)
        self.head = nn.Linear(width, size.vocabulary, bias=False)
        initialise(self, generator)

    def embed(self, tokens: Tensor, visible: Tensor | None = None) -> Prompt:
        """Apply the prelude.

        Args:
            tokens: int64, shape `(batch, length)`.
            visible: which places hold tokens, booleans of that shape; all where `None`.

        Returns:
            What every iteration is told.
        """
        visible = checked_tokens(tokens, visible, self.size.vocabulary)
        x: Tensor = self.table(tokens)
        where = self.geometry(visible, x)
        for block in self.prelude:
            x, _ = block(x, where)
        return Prompt(x * where.visible, visible)

    def geometry(self, visible: Tensor, like: Tensor, queries: int | None = None) -> Geometry:
        """Lay out a batch for the blocks of this model.

        Args:
            visible: which places hold tokens, booleans, shape `(batch, keys)`.
            like: a state, for its type.
            queries: how many of the last places ask; all where `None`.

        Returns:
            The geometry.
        """
        return geometry_of(visible, self.size.block, like.dtype, queries=queries)

    def step(self, y: Tensor, embedded: Tensor, where: Geometry) -> Tensor:
        """Iterate the core once.

        Args:
            y: states, shape `(batch, length, width)`.
            embedded: the embedded prompt, the same shape.
            where: geometry of the batch.

        Returns:
            New states; zero where there is no token.
        """
        h: Tensor = self.inject(torch.cat([y, embedded], dim=-1))
        for block in self.core:
            h, _ = block(h, where)
        return self.state_norm(h) * where.visible

    def read(self, y: Tensor, visible: Tensor) -> Tensor:
        """Apply the coda to states.

        Args:
            y: states, shape `(batch, length, width)`.
            visible: which places hold tokens, booleans, shape `(batch, length)`.

        Returns:
            Logits of the next token at every place, shape `(batch, length, vocabulary)`.
        """
        where = self.geometry(visible, y)
        for block in self.coda:
            y, _ = block(y, where)
        return self.head(self.output_norm(y))

    def operator(self) -> LatentOperator:
        """Return the core as an operator, for solvers, curves and audits.

        Returns:
            `G(y, x)` at the present parameters; inputs are prompts as `embed` makes them.
        """
        return LatentOperator(self)

    def start(self, x: Prompt, *, scale: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Make a state to begin with.

        Args:
            x: embedded prompts.
            scale: standard deviation of its entries; zero starts at zero.
            generator: where they come from.

        Returns:
            States, shape `(batch, length, width)`, zero where there is no token.
        """
        if scale == 0.0:
            return torch.zeros_like(x.embedded)
        drawn = torch.randn(x.embedded.shape, generator=generator, dtype=x.embedded.dtype).to(x.embedded.device)
        return scale * drawn * x.visible[..., None]

    def latent(self, x: Prompt, steps: int, *, y0: Tensor | None = None, through: int | None = None) -> Tensor:
        """Iterate, and keep derivatives of the last iterations only.

        Args:
            x: embedded prompts.
            steps: how many iterations.
            y0: where to start; zero where `None`.
            through: how many of the last iterations are differentiated; all where `None`.

        Returns:
            The last states, shape `(batch, length, width)`.
        """
        count("steps", steps, "iterate at least once")
        free = 0 if through is None else max(0, steps - count("through", through, "differentiate at least one step"))
        y = self.start(x) if y0 is None else y0
        where = self.geometry(x.visible, y)
        with torch.no_grad():
            for _ in range(free):
                y = self.step(y, x.embedded, where)
        for _ in range(steps - free):
            y = self.step(y, x.embedded, where)
        return y

    def equilibrium(
        self,
        x: Prompt,
        *,
        stop: Stop = _STOP,
        solver: Solver[Any] = _ANDERSON,
        gradient: Gradient = _PHANTOM,
        y0: Tensor | None = None,
    ) -> Solution:
        """Solve for the fixed point of the core, with a derivative by any rule of `eqtheory.gradients`.

        Args:
            x: embedded prompts.
            stop: when to stop.
            solver: which iteration.
            gradient: how derivatives are formed.
            y0: where to start; zero where `None`.

        Returns:
            The solution; its value is to be read by `read`.
        """
        how = OnFailure.RETURN
        start = self.start(x) if y0 is None else y0
        return fixed_point(self.operator(), x, start, solver=solver, stop=stop, gradient=gradient, on_failure=how)

    def forward(
        self,
        tokens: Tensor,
        visible: Tensor | None = None,
        *,
        steps: int = 8,
        through: int | None = None,
        y0: Tensor | None = None,
    ) -> Tensor:
        """Logits after a number of iterations.

        Args:
            tokens: int64, shape `(batch, length)`.
            visible: which places hold tokens; all where `None`.
            steps: iterations of the core.
            through: how many of the last ones are differentiated; all where `None`.
            y0: where the state starts; zero where `None`.

        Returns:
            Shape `(batch, length, vocabulary)`; at places without a token they mean nothing.
        """
        x = self.embed(tokens, visible)
        return self.read(self.latent(x, steps, y0=y0, through=through), x.visible)


@final
class LatentOperator(ImplicitOperator):
    """The core of a recurrent-depth transformer on the latent state, with the embedded prompt as its input.

    Places without a token have the state zero. States of all places of one sentence are one vector, measured in the Euclidean norm.

    Args:
        model: the transformer; parameters are not copied.

    Theorem: T4.
    """

    def __init__(self, model: RecurrentDepthTransformer) -> None:
        self.model = model

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        """Iterate the core once.

        Args:
            y: states, shape `(batch, length, width)`.
            x: prompts, as `embed` makes them.

        Returns:
            New states, the shape of `y`.

        Raises:
            InputError: the input is no prompt.
            ShapeError: states and prompts differ in shape.
        """
        if not isinstance(x, Prompt):
            raise InputError("x", type(x).__name__, "a Prompt", "pass model.embed(tokens)")
        if y.shape != x.embedded.shape:
            needed = f"that of the embedded prompt, {tuple(x.embedded.shape)}"
            raise ShapeError("y", f"shape {tuple(y.shape)}", needed, "start from operator.initial_state(x)")
        return self.model.step(y, x.embedded, self.model.geometry(x.visible, y))

    def initial_state(self, x: Any) -> Tensor:
        """Start at zero.

        Args:
            x: prompts.

        Returns:
            States, shape `(batch, length, width)`.
        """
        return self.model.start(cast("Prompt", x))
