"""Random contractions with known fixed points, many at a time; shared by the checks of T1, T14 and T15.

Every operator is `G(y) = A f(y) + b` with `|A|_2 = mu`, `f` the identity or `tanh` (1-Lipschitz entrywise, hence in l2), and
`b = y* - A f(y*)`, so that the fixed point is known by construction, up to one evaluation error over `1 - mu`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from hypothesis import settings
from torch import Tensor

from eqtheory.norms import Euclidean
from eqtheory.roundoff import tolerance
from eqtheory.testing.matrices import SHAPES, unit_norm

__all__ = ["MANY", "SHAPES", "Contractions", "draw_contractions", "generator", "unit_norm"]

MANY = settings(max_examples=3 * settings().max_examples)
"""For exact arithmetic, where one example is one instance and costs little: three times the profile's examples."""

_NORM = Euclidean()


def generator(seed: int) -> torch.Generator:
    """A generator of its own for one example.

    Args:
        seed: any non-negative integer.

    Returns:
        The generator.
    """
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Contractions:
    """A batch of contractions of one state dimension.

    Args:
        A: linear parts, shape `(batch, n, n)`, spectral norm `mu`.
        b: offsets, shape `(batch, n)`.
        mu: contraction factors, shape `(batch,)`.
        solution: fixed points, shape `(batch, n)`.
        bounded: where `tanh` stands before `A`, shape `(batch,)`.
        labels: one shape per operator.
    """

    A: Tensor
    b: Tensor
    mu: Tensor
    solution: Tensor
    bounded: Tensor
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return self.mu.shape[0]

    def __call__(self, y: Tensor) -> Tensor:
        inner = torch.where(self.bounded[:, None], torch.tanh(y), y)
        return (self.A * inner.unsqueeze(1)).sum(dim=2) + self.b

    def slack(self, *states: Tensor) -> Tensor:
        """Rounding of a distance between two of the given states or the fixed point, all computed with this operator.

        One evaluation has `n + 3` roundings on quantities no larger than the states and the offset; iterates and the stored
        fixed point carry at most `1/(1-mu)` times that (T14). Four such errors meet in a comparison.

        Args:
            states: states that occur, shape `(batch, n)` each.

        Returns:
            Shape `(batch,)`.
        """
        size = torch.stack([_NORM(s) for s in (*states, self.solution, self.b)]).amax(dim=0)
        return 4 * tolerance(size, self.b.shape[1] + 8, 1 / (1 - self.mu))

    def counts(self) -> dict[str, int]:
        """How many operators of each shape, and how many with a factor near 1."""
        near = int((self.mu > 0.999).sum())
        return {**Counter(self.labels), "mu above 0.999": near, "mu below 0.5": int((self.mu < 0.5).sum())}

    def describe(self, index: int) -> str:
        """Describe one operator in a line, as a witness.

        Args:
            index: which one.

        Returns:
            Its shape, factor, linear part, offset and fixed point.
        """
        i = index % len(self)
        parts = {"A": self.A, "b": self.b, "y*": self.solution}
        shown = ", ".join(f"{name} = {tensor[i].tolist()}" for name, tensor in parts.items())
        return f"{self.labels[i]}, mu = {float(self.mu[i])}, {shown}"


def draw_contractions(*, batch: int, dimension: int, nearness: float, scale: float, g: torch.Generator) -> Contractions:
    """Draw a batch that holds every shape.

    Args:
        batch: number of operators, at least the number of shapes.
        dimension: length of the state.
        nearness: factors are `1 - 10^-u` with `u` uniform on `[0.05, nearness]`.
        scale: size of the fixed points.
        g: source of randomness.

    Returns:
        The batch.
    """
    each = [batch // len(SHAPES) + (i < batch % len(SHAPES)) for i in range(len(SHAPES))]
    unit = torch.cat([unit_norm(shape, dimension, count, g) for shape, count in zip(SHAPES, each, strict=True)])
    mu = 1 - 10.0 ** -(0.05 + (nearness - 0.05) * torch.rand(batch, generator=g, dtype=torch.float64))
    labels = tuple(shape for shape, count in zip(SHAPES, each, strict=True) for _ in range(count))
    bounded = torch.tensor([label == "tanh" for label in labels])
    A = mu.reshape(-1, 1, 1) * unit
    solution = scale * torch.randn(batch, dimension, generator=g, dtype=torch.float64)
    blank = Contractions(A, torch.zeros_like(solution), mu, solution, bounded, labels)
    return Contractions(A, solution - blank(solution), mu, solution, bounded, labels)
