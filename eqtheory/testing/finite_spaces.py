"""Batches of finite metric spaces with maps on them, drawn from regimes that have broken things before.

All spaces of a batch have the same number of points. Metric regimes and value regimes alternate along the batch, so every
batch covers all of them; a report can count what was drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.constructions import exact_ball_radii
from eqtheory.errors import InputError
from eqtheory.norms import Norm, slopes_of

__all__ = ["METRIC_REGIMES", "VALUE_REGIMES", "FiniteBatch", "draw_finite_spaces"]


@dataclass(frozen=True)
class FiniteBatch:
    """A batch of maps on finite metric spaces.

    Args:
        distances: shape `(batch, n, n)`.
        values: shape `(batch, n, k)`.
        norm: norm on the values.
        regimes: one label per space.
    """

    distances: Tensor
    values: Tensor
    norm: Norm
    regimes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.distances.shape[0]

    @property
    def sizes(self) -> Tensor:
        """Norms of the values, shape `(batch, n)`."""
        return self.norm(self.values.flatten(0, 1)).reshape(self.values.shape[:2])

    def gaps(self, of: Tensor) -> Tensor:
        """Distances of all pairs of given vectors.

        Args:
            of: shape `(batch, n, k)`.

        Returns:
            Shape `(batch, n, n)`.
        """
        b, n = of.shape[:2]
        return self.norm((of.unsqueeze(2) - of.unsqueeze(1)).reshape(b * n * n, -1)).reshape(b, n, n)

    def slopes(self) -> Tensor:
        """Slopes of all pairs, shape `(batch, n, n)`."""
        return slopes_of(self.gaps(self.values), self.distances)

    def radii(self) -> tuple[Tensor, Tensor]:
        """`rho` and `sigma` at every point, each of shape `(batch, n)`, by the library's own routine."""
        return self.radii_from(self.sizes, self.slopes())

    def radii_from(self, sizes: Tensor, slopes: Tensor, *, distances: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Radii from other sizes, slopes or distances: how wrong constructions are made.

        Args:
            sizes: shape `(batch, n)`.
            slopes: shape `(batch, n, n)`.
            distances: shape `(batch, n, n)`; the batch's own by default.

        Returns:
            `rho` and `sigma`, each of shape `(batch, n)`.
        """
        b, n = sizes.shape
        d = self.distances if distances is None else distances
        rho, sigma = exact_ball_radii(
            d.reshape(b * n, n),
            sizes.unsqueeze(1).expand(b, n, n).reshape(b * n, n),
            slopes.unsqueeze(1).expand(b, n, n, n).reshape(b * n, n, n),
        )
        return rho.reshape(b, n), sigma.reshape(b, n)

    def regime_counts(self) -> dict[str, int]:
        """How many spaces carry each metric regime and each value regime."""
        return dict(Counter(part for label in self.regimes for part in label.split(" / ")))

    def describe(self, index: int) -> str:
        """Describe one space in a line, as a witness.

        Args:
            index: which one.

        Returns:
            Its regime, distances and values.
        """
        label = self.regimes[index] if self.regimes else "given"
        return f"{label}; d = {self.distances[index].tolist()}; F = {self.values[index].tolist()}"


Draw = Callable[[torch.Generator, int, int], Tensor]


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _of_points(points: Tensor, p: float) -> Tensor:
    return torch.cdist(points, points, p=p, compute_mode="donot_use_mm_for_euclid_dist")


def _line(generator: torch.Generator, batch: int, n: int) -> Tensor:
    return _of_points(2 * _uniform(generator, batch, n, 1), 1.0)


def _plane(generator: torch.Generator, batch: int, n: int) -> Tensor:
    return _of_points(2 * _uniform(generator, batch, n, 2), 2.0)


def _ultrametric(generator: torch.Generator, batch: int, n: int) -> Tensor:
    # d = 2^-(length of the common prefix) on random binary words: a ball is the class of a prefix, with every point a centre.
    words = torch.randint(0, 2, (batch, n, 6), generator=generator)
    agree = (words.unsqueeze(2) == words.unsqueeze(1)).long().cumprod(dim=-1).sum(dim=-1)
    return torch.where(agree == 6, 0.0, 2.0 ** (1.0 - agree.double()))


def _around_one(generator: torch.Generator, batch: int, n: int) -> Tensor:
    # All distances in (3/4, 3/2): any such symmetric matrix is a metric, and radii are cut at 1 in its midst.
    upper = (0.75 + 0.75 * _uniform(generator, batch, n, n)).triu(diagonal=1)
    return upper + upper.mT


def _two_clusters(generator: torch.Generator, batch: int, n: int) -> Tensor:
    side = 5.0 * (torch.arange(n) % 2).double().reshape(1, n, 1)
    return _of_points(side + 0.1 * _uniform(generator, batch, n, 1), 1.0)


def _tiny(generator: torch.Generator, batch: int, n: int) -> Tensor:
    return 1e-6 * _line(generator, batch, n)


def _huge(generator: torch.Generator, batch: int, n: int) -> Tensor:
    return 1e6 * _line(generator, batch, n)


def _geometric(generator: torch.Generator, batch: int, n: int) -> Tensor:
    # Points at 0, q, q^2, ...: accumulates at a point, as a singularity does.
    ratio = 0.05 + 0.9 * _uniform(generator, batch, 1, 1)
    return _of_points(ratio ** torch.arange(n).double().reshape(1, n, 1), 1.0)


METRIC_REGIMES: dict[str, Draw] = {
    "line": _line,
    "plane": _plane,
    "ultrametric": _ultrametric,
    "distances around 1": _around_one,
    "two clusters": _two_clusters,
    "tiny distances": _tiny,
    "huge distances": _huge,
    "geometric sequence": _geometric,
}


def _moderate(generator: torch.Generator, distances: Tensor, k: int) -> Tensor:
    return torch.randn((*distances.shape[:2], k), generator=generator, dtype=torch.float64)


def _large(generator: torch.Generator, distances: Tensor, k: int) -> Tensor:
    return 1e6 * _moderate(generator, distances, k)


def _mixed(generator: torch.Generator, distances: Tensor, k: int) -> Tensor:
    magnitude = 10.0 ** (6 * _uniform(generator, *distances.shape[:2], 1) - 3)
    return magnitude * _moderate(generator, distances, k)


def _zero_or_large(generator: torch.Generator, distances: Tensor, k: int) -> Tensor:
    keep = torch.randint(0, 2, (*distances.shape[:2], 1), generator=generator)
    return 10.0 * keep * torch.ones(k, dtype=torch.float64)


def _alternating(generator: torch.Generator, distances: Tensor, k: int) -> Tensor:
    # (M, -M, M, ...) with M matched to the nearest distance: the pattern that attains the budget at distance 1/(1+M).
    n = distances.shape[1]
    nearest = torch.where(distances > 0, distances, torch.inf).amin(dim=(1, 2)).clamp(1e-9, 1e9)
    size = (1 / nearest - 1).clamp_min(0.5) * (0.5 + _uniform(generator, distances.shape[0]))
    sign = 1.0 - 2.0 * (torch.arange(n) % 2).double()
    return (size.reshape(-1, 1, 1) * sign.reshape(1, n, 1)).expand(-1, n, k).clone()


def _slope_one(generator: torch.Generator, distances: Tensor, k: int) -> Tensor:
    steep = 10.0 ** (4 * _uniform(generator, distances.shape[0], 1, 1) - 1)
    return (steep * distances[:, :, :1]).expand(-1, -1, k).clone()


VALUE_REGIMES: dict[str, Callable[[torch.Generator, Tensor, int], Tensor]] = {
    "moderate values": _moderate,
    "large values": _large,
    "mixed magnitudes": _mixed,
    "zero or large": _zero_or_large,
    "alternating at the critical distance": _alternating,
    "constant slope": _slope_one,
}


def draw_finite_spaces(
    *, batch: int, points: int, dimension: int, norm: Norm, generator: torch.Generator
) -> FiniteBatch:
    """Draw a batch of maps on finite metric spaces that covers all combinations of regimes.

    Args:
        batch: number of spaces, at least the number of combinations (48).
        points: points in each.
        dimension: length of the values.
        norm: norm on the values.
        generator: source of randomness.

    Returns:
        The batch. Coinciding points (ultrametric words can be equal) carry one value.

    Raises:
        InputError: too few spaces to cover the combinations.
    """
    combinations = [(m, v) for m in METRIC_REGIMES for v in VALUE_REGIMES]
    if batch < len(combinations):
        raise InputError("batch", str(batch), f"at least {len(combinations)}", "every combination of regimes is drawn")
    counts = [batch // len(combinations) + (i < batch % len(combinations)) for i in range(len(combinations))]
    all_distances, all_values, labels = [], [], []
    for (metric, value), count in zip(combinations, counts, strict=True):
        distances = METRIC_REGIMES[metric](generator, count, points)
        values = VALUE_REGIMES[value](generator, distances, dimension)
        # The first of several coinciding points lends its value to the others.
        first = (distances == 0).double().argmax(dim=2)
        values = values.gather(1, first.unsqueeze(-1).expand_as(values))
        all_distances.append(distances)
        all_values.append(values)
        labels += [f"{metric} / {value}"] * count
    return FiniteBatch(torch.cat(all_distances), torch.cat(all_values), norm, tuple(labels))
