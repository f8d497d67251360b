"""Regular operators on finite metric spaces and their iterates, many at a time; shared by the checks of T4, T4b, T5 and T6.

Every operator is `G(y, i) = A_i f(y) + b_i` with `f` the identity or `tanh` entrywise, `|f(y) - f(z)| <= |y - z|` and `|f(y)| <= |y|`
in the sup norm. So `mu_i = |A_i|`, and (R2) holds with the Lipschitz constants `L1` of `i -> A_i` and `L0` of `i -> b_i`, which
on a finite space are maxima over its pairs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from eqtheory.norms import slopes_of
from eqtheory.roundoff import gamma

__all__ = ["KINDS", "Growth", "affine", "draw_growth", "reciprocals"]

KINDS = ("affine", "behind tanh", "one matrix", "factor one", "relaxation", "shift")
"""Moving matrices, the same behind tanh, `L1 = 0`, `mu = 1` at every point, `(1 - eps_i) y + eps_i F_i`, nilpotent parts."""


def _size(v: Tensor) -> Tensor:
    return v.abs().amax(dim=-1)


def _gaps(v: Tensor) -> Tensor:
    """Sup distances of all pairs of points: `(batch, m, k)` to `(batch, m, m)`."""
    return _size(v.unsqueeze(2) - v.unsqueeze(1))


def _row_sums(A: Tensor) -> Tensor:
    """Operator norm for the sup norm, which row sums of absolute entries are."""
    return A.abs().sum(dim=-1).amax(dim=-1)


@dataclass(frozen=True)
class Growth:
    """A batch of operators on spaces of one number of points.

    Args:
        A: linear parts, shape `(batch, m, n, n)`.
        b: offsets, shape `(batch, m, n)`.
        bounded: where `tanh` stands before `A`, shape `(batch,)`.
        distances: shape `(batch, m, m)`.
        start: first iterates, shape `(batch, m, n)`.
        labels: one kind per operator.
    """

    A: Tensor
    b: Tensor
    bounded: Tensor
    distances: Tensor
    start: Tensor
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return self.A.shape[0]

    def __call__(self, y: Tensor) -> Tensor:
        inner = torch.where(self.bounded[:, None, None], torch.tanh(y), y)
        return (self.A * inner.unsqueeze(-2)).sum(dim=-1) + self.b

    @cached_property
    def mu(self) -> Tensor:
        """Contraction factors, shape `(batch, m)`."""
        return _row_sums(self.A)

    @cached_property
    def m(self) -> Tensor:
        """Largest factor over the space, shape `(batch,)`."""
        return self.mu.amax(dim=1)

    @cached_property
    def L0(self) -> Tensor:
        """Lipschitz constant of the offsets, shape `(batch,)`."""
        return slopes_of(_gaps(self.b), self.distances).amax(dim=(1, 2))

    @cached_property
    def L1(self) -> Tensor:
        """Lipschitz constant of the linear parts, shape `(batch,)`."""
        moved = _row_sums(self.A.unsqueeze(2) - self.A.unsqueeze(1))
        return slopes_of(moved, self.distances).amax(dim=(1, 2))

    @cached_property
    def image_of_zero(self) -> Tensor:
        """Largest `|G(0, .)|` over the space, shape `(batch,)`."""
        return self.sizes(self.b)

    def sizes(self, y: Tensor) -> Tensor:
        """Largest norm over the space, shape `(batch,)`."""
        return _size(y).amax(dim=1)

    def gaps(self, y: Tensor) -> Tensor:
        """Distances of all pairs of states, shape `(batch, m, m)`."""
        return _gaps(y)

    def slopes(self, y: Tensor) -> Tensor:
        """Lipschitz constant over the space, exact up to rounding, shape `(batch,)`."""
        return slopes_of(_gaps(y), self.distances).amax(dim=(1, 2))

    def rounding(self, largest: Tensor, steps: int) -> Tensor:
        """Bound the error of iterates in the sup norm, shape `(batch,)`.

        One evaluation has `n + 4` roundings on quantities of size at most `m R + |b|`; a factor up to 1 carries errors on
        unchanged, so `t` steps err by at most `t` times that.

        Args:
            largest: largest norm of the iterates.
            steps: how many were taken.
        """
        each = gamma(self.b.shape[-1] + 8, largest.dtype)
        return (steps + 1) * each * (self.m.clamp_min(1) * largest + self.image_of_zero)

    def slope_slack(self, largest: Tensor, steps: int) -> Tensor:
        """Rounding of a slope of iterates: twice the error of one over the closest pair, and that of the constants.

        Args:
            largest: largest norm of the iterates.
            steps: how many were taken.
        """
        closest = torch.where(self.distances > 0, self.distances, torch.inf).amin(dim=(1, 2))
        constants = gamma(16, largest.dtype) * (steps + 1) * (self.L0 + self.L1 * largest)
        return 4 * self.rounding(largest, steps) / closest + constants

    def counts(self) -> dict[str, int]:
        """How many operators of each kind, and how many of the regimes that matter."""
        return {
            **Counter(self.labels),
            "factor exactly one": int((self.m == 1).sum()),
            "factor below a half": int((self.m < 0.5).sum()),
            "start not constant": int((self.slopes(self.start) > 0).sum()),
        }

    def describe(self, index: int) -> str:
        """Describe one operator in a line, as a witness."""
        i = index % len(self)
        parts = {"A": self.A, "b": self.b, "d": self.distances, "y_0": self.start}
        return f"{self.labels[i]}, " + ", ".join(f"{name} = {tensor[i].tolist()}" for name, tensor in parts.items())


def _linear_parts(kind: str, count: int, m: int, n: int, g: torch.Generator) -> Tensor:
    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=g, dtype=torch.float64)

    eye = torch.eye(n, dtype=torch.float64)
    if kind == "relaxation":
        return (1 - 10.0 ** (-4 * uniform(count, m, 1, 1))) * eye
    if kind == "shift":
        shape = torch.diag(torch.ones(n - 1, dtype=torch.float64), 1) if n > 1 else eye
        return uniform(count, m, 1, 1) * shape
    A = 2 * uniform(count, 1 if kind == "one matrix" else m, n, n) - 1
    A = A / _row_sums(A)[..., None, None]
    if kind == "factor one":
        # Signed permutations: row sums are 1 without rounding.
        order = torch.argsort(uniform(count, m, n), dim=-1)
        sign = 1.0 - 2.0 * (uniform(count, m, n, 1) < 0.25)
        return sign * eye[order]
    near = 1 - 10.0 ** (-5 * uniform(count, 1, 1, 1))
    return (near * A).expand(count, m, n, n)


def draw_growth(*, batch: int, points: int, dimension: int, g: torch.Generator) -> Growth:
    """Draw a batch that holds every kind.

    Args:
        batch: number of operators, at least the number of kinds.
        points: points of every space.
        dimension: length of a state.
        g: source of randomness.

    Returns:
        The batch. Points lie on a line, clustered in half of the spaces; matrices drift slowly from point to point in half.
    """
    each = [batch // len(KINDS) + (i < batch % len(KINDS)) for i in range(len(KINDS))]
    A = torch.cat([_linear_parts(kind, c, points, dimension, g) for kind, c in zip(KINDS, each, strict=True)])
    labels = tuple(kind for kind, c in zip(KINDS, each, strict=True) for _ in range(c))

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=g, dtype=torch.float64)

    half = (torch.arange(batch) % 2 == 0).reshape(-1, 1)
    x = torch.where(half, uniform(batch, points), 10.0 ** (-3 * uniform(batch, points)))
    b = torch.randn(batch, points, dimension, generator=g, dtype=torch.float64) * 10.0 ** (2 * uniform(batch, 1, 1) - 1)
    # Offsets along x, as in the sharp instance, for a quarter of the spaces.
    along = (torch.arange(batch) % 4 == 1).reshape(-1, 1, 1)
    b = torch.where(along, x.unsqueeze(-1) * b[:, :1], b)
    start = torch.where((torch.arange(batch) % 3 == 0).reshape(-1, 1, 1), torch.randn_like(b), torch.zeros_like(b))
    start = start * uniform(batch, 1, 1)
    bounded = torch.tensor([label == "behind tanh" for label in labels])
    distances = (x.unsqueeze(2) - x.unsqueeze(1)).abs()
    return Growth(A, b, bounded, distances, start, labels)


def affine(mu: float, L0: float, start_slope: float, *, points: tuple[float, ...] = (-1.0, 0.5, 1.0)) -> Growth:
    """`G = mu y + L0 x` from `y_0 = start_slope x`, which attains the geometric form, as a batch of one."""
    x = torch.tensor(points, dtype=torch.float64)
    A = torch.full((1, len(points), 1, 1), mu, dtype=torch.float64)
    column = x.reshape(1, -1, 1)
    distances = (x.unsqueeze(1) - x).abs().unsqueeze(0)
    return Growth(A, L0 * column, torch.tensor([False]), distances, start_slope * column, (f"mu = {mu}",))


def reciprocals(eta: float, points: tuple[float, ...]) -> Growth:
    """T7's one-sided operator `y - eta (x y - 1)` at the given inputs, from zero, as a batch of one."""
    x = torch.tensor(points, dtype=torch.float64)
    A = (1 - eta * x).reshape(1, -1, 1, 1)
    b = torch.full((1, len(points), 1), eta, dtype=torch.float64)
    distances = (x.unsqueeze(1) - x).abs().unsqueeze(0)
    return Growth(A, b, torch.tensor([False]), distances, torch.zeros_like(b), (f"1/x, eta = {eta}",))
