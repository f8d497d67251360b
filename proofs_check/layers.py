"""Layers with known fixed points and proved constants, many at a time; shared by the checks of T9 and T9a.

Every operator is one layer `G(y, x) = A f(y + C x) + E x + p + b` with `f` the identity or `tanh`, and `p` a probe, zero, whose gradient
is the adjoint itself. With `D = diag(f')`, `J = A D` and `B = A D C + E`. In each of the norms here `|D|` is the largest entry, at
most 1, so `|J| <= |A| = mu`; `|f''| <= s = 4 / (3 sqrt(3))` makes `D` `s`-Lipschitz as a map from states to matrices (the sup norm of
`y - z` is at most any of the three), hence `alpha = mu s` and `beta = mu s |C|`, both zero where `f` is the identity.

The offset `b = y* - A f(y* + C x) - E x` makes the fixed point known. Everything a layer needs travels in its inputs, so that a
solver may cut the batch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.roundoff import gamma
from eqtheory.testing.matrices import SHAPES, operator_norm, unit_norm
from eqtheory.testing.zoo.adjoints import Inputs

__all__ = ["NORMS", "PROBE", "Layers", "Pair", "X", "draw_layers", "layer"]

X, PROBE = 0, 1
"""Places of the input and of the probe among the inputs."""

_CURVATURE = 4 / (3 * 3**0.5)
"""Largest slope of the derivative of `tanh`, `-2 tanh (1 - tanh^2)`, taken at `tanh^2 = 1/3`."""


@dataclass(frozen=True)
class Pair:
    """A norm of states and inputs, and the dual norm of their gradients."""

    norm: Norm
    dual: Norm

    def of(self, A: Tensor) -> Tensor:
        """Operator norm of matrices, shape `(batch, m, n)` to `(batch,)`: exact up to rounding, never iterated."""
        return operator_norm(A, self.norm)


NORMS = {"l2": Pair(Euclidean(), Euclidean()), "sup": Pair(Sup(), Sum()), "l1": Pair(Sum(), Sup())}


def layer(y: Tensor, inputs: Inputs) -> Tensor:
    """Apply the layers: shape `(batch, n)` to `(batch, n)`."""
    x, probe, A, C, E, b, bounded = inputs
    inner = y + _product(C, x)
    inner = torch.where(bounded.unsqueeze(1) > 0, torch.tanh(inner), inner)
    return _product(A, inner) + _product(E, x) + probe + b


def _product(A: Tensor, v: Tensor) -> Tensor:
    # Not a matrix product of the library, so that a sample's value does not depend on its batch mates.
    return (A * v.unsqueeze(1)).sum(dim=2)


@dataclass(frozen=True)
class Layers:
    """A batch of layers of one state dimension.

    Args:
        inputs: what `layer` takes: input, probe, `A`, `C`, `E`, offset, and 1 where `tanh` is applied.
        mu: norms of `A`, shape `(batch,)`.
        solution: fixed points, shape `(batch, n)`.
        labels: one shape per operator.
        pair: the norms.
    """

    inputs: Inputs
    mu: Tensor
    solution: Tensor
    labels: tuple[str, ...]
    pair: Pair

    def __len__(self) -> int:
        return self.mu.shape[0]

    @property
    def dimension(self) -> int:
        return self.solution.shape[1]

    @property
    def alpha(self) -> Tensor:
        """Lipschitz constants of `J` in the state."""
        return self.mu * _CURVATURE * self.inputs[6]

    @property
    def beta(self) -> Tensor:
        """Lipschitz constants of `B` in the state."""
        return self.alpha * self.pair.of(self.inputs[3])

    @property
    def size(self) -> Tensor:
        """Largest term of one evaluation near the fixed point: state, offset, or `n` for `tanh`, up to a factor of three."""
        return torch.stack([self.pair.norm(t) for t in (self.solution, self.inputs[5])]).amax(dim=0) + self.dimension

    def solved(self, h: Tensor) -> Tensor:
        """Fixed points at inputs moved by `h`, by Newton's method from those known; exact up to rounding for small `h`."""
        moved = replace(self, inputs=(self.inputs[X] + h, *self.inputs[1:]))
        y, eye = self.solution, torch.eye(self.dimension, dtype=torch.float64)
        for _ in range(8):
            J, _ = moved.derivatives(y)
            y = y + torch.linalg.solve(eye - J, layer(y, moved.inputs) - y)
        return y

    def derivatives(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`J` and `B` at a state by their formulas, shape `(batch, n, n)` each."""
        x, _, A, C, E, _, bounded = self.inputs
        slopes = torch.where(bounded.unsqueeze(1) > 0, 1 - torch.tanh(y + _product(C, x)) ** 2, 1.0)
        J = A * slopes.unsqueeze(1)
        return J, J @ C + E

    def derivative(self, y: Tensor) -> Tensor:
        """`(I - J)^-1 B` at a state, shape `(batch, n, n)`."""
        J, B = self.derivatives(y)
        return torch.linalg.solve(torch.eye(self.dimension, dtype=J.dtype) - J, B)

    def adjoint(self, v: Tensor) -> Tensor:
        """The true adjoint, `w = v + J^T w` at the fixed point, shape `(batch, n)`."""
        J, _ = self.derivatives(self.solution)
        return torch.linalg.solve(torch.eye(self.dimension, dtype=J.dtype) - J.mT, v)

    def slack(self, size: Tensor) -> Tensor:
        """Rounding of a solution of `(I - J) w = v`, or of a sum of `(J^T)^k v`, for `|v| <= size`.

        LU with partial pivoting solves a system that differs by `n^2 gamma_3n rho` (Higham 2002, Theorem 9.5), the growth `rho` being
        at most `2^(n-1)`; changing norms costs a factor of `n` at most, `|I - J| <= 2`, and the solution moves by `1/(1 - mu)` times
        that times `|w| <= |v|/(1 - mu)`. The sum of the series makes `n + 3` roundings a term on terms that add up to no more, and
        `|A|` as stored misses `mu` by `n^2` roundings, which moves the bounds by `1/(1 - mu)` times that too. A state that is
        the fixed point only up to `n + 8` roundings over `1 - mu` (T14) moves `J` by `alpha` times that. Two such quantities
        meet in a comparison.

        Args:
            size: shape `(batch,)`.

        Returns:
            Shape `(batch,)`.
        """
        n, room = self.dimension, 1 - self.mu
        arithmetic = gamma(2 * 3 * n * n**2 * 2 ** (n - 1) * n + n * n + 8, torch.float64)
        moved = gamma(n + 8, torch.float64) * self.alpha * self.size / room
        return 2 * (arithmetic + moved) * size / room**2

    def counts(self) -> dict[str, int]:
        """How many operators of each shape, how many with a factor near 1."""
        near = int((self.mu > 0.999).sum())
        return {**Counter(self.labels), "mu above 0.999": near, "mu below 0.5": int((self.mu < 0.5).sum())}

    def describe(self, index: int) -> str:
        """Describe one operator in a line, as a witness."""
        i = index % len(self)
        names = ("x", "probe", "A", "C", "E", "b", "bounded")
        shown = ", ".join(f"{name} = {part[i].tolist()}" for name, part in zip(names, self.inputs, strict=True))
        return f"{self.labels[i]}, mu = {float(self.mu[i])}, {shown}, y* = {self.solution[i].tolist()}"


def draw_layers(
    *, batch: int, dimension: int, nearness: float, scale: float, g: torch.Generator, pair: Pair = NORMS["l2"]
) -> Layers:
    """Draw a batch that holds every shape.

    Args:
        batch: number of operators, at least the number of shapes.
        dimension: length of states and inputs.
        nearness: factors are `1 - 10^-u` with `u` uniform on `[0.05, nearness]`, at most 4 behind `tanh`, where rounding of the
            state enters the derivative.
        scale: size of the fixed points where `f` is the identity; 1 behind `tanh`, which is flat far from zero.
        g: source of randomness.
        pair: the norms.

    Returns:
        The batch.
    """
    each = [batch // len(SHAPES) + (i < batch % len(SHAPES)) for i in range(len(SHAPES))]
    unit = torch.cat([unit_norm(shape, dimension, count, g) for shape, count in zip(SHAPES, each, strict=True)])
    labels = tuple(shape for shape, count in zip(SHAPES, each, strict=True) for _ in range(count))
    bounded = torch.tensor([label == "tanh" for label in labels], dtype=torch.float64)
    exponents = 0.05 + (nearness - 0.05) * torch.rand(batch, generator=g, dtype=torch.float64)
    mu = 1 - 10.0 ** -torch.where(bounded > 0, exponents.clamp_max(4.0), exponents)
    A = (mu / pair.of(unit)).reshape(-1, 1, 1) * unit
    C, E = torch.randn(2, batch, dimension, dimension, generator=g, dtype=torch.float64)
    x = torch.randn(batch, dimension, generator=g, dtype=torch.float64)
    sizes = torch.where(bounded > 0, 1.0, scale).unsqueeze(1)
    solution = sizes * torch.randn(batch, dimension, generator=g, dtype=torch.float64)
    # Every third layer has its fixed point where tanh is steepest, so that |J| = mu there.
    centre = (torch.arange(batch) % 3 == 0).unsqueeze(1) & (bounded.unsqueeze(1) > 0)
    solution = torch.where(centre, -_product(C, x), solution)
    zero = torch.zeros_like(solution)
    offset = solution - layer(solution, (x, zero, A, C, E, zero, bounded))
    return Layers((x, zero, A, C, E, offset, bounded), mu, solution, labels, pair)
