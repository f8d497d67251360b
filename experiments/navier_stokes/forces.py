r"""Random forces of Kolmogorov's type: a few large waves, the strongest at wave number one.

The curl of a force is `g = sum a(|k|) xi_k e^{i k x}` over the modes with `|m|, |n| <= 4`, with independent standard normal `xi` and
`a(kappa) = kappa e^{-kappa^2 / 2}`, which is largest at `kappa = 1`. It is then scaled to its Grashof number
`Gr = |f|_2 / nu^2` (the lowest wave number of the square is 1), drawn log-uniformly from an interval, with `nu` drawn from a list.

Every sample has a generator of its own, seeded by a hash of the seed and its number: no sample depends on how many others are drawn, in
which order, or in which batch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from eqtheory.errors import InputError

__all__ = ["ForceLaw", "Forces", "draw_forces", "generator_of"]

_WAVES = 4


@dataclass(frozen=True)
class ForceLaw:
    """What forces are drawn from.

    Args:
        viscosities: the values of `nu`, each as likely.
        grashof: smallest and largest Grashof number.

    Raises:
        InputError: no viscosity, one that is not positive, or an empty interval.
    """

    viscosities: tuple[float, ...]
    grashof: tuple[float, float]

    def __post_init__(self) -> None:
        if not self.viscosities or not all(v > 0 for v in self.viscosities):
            raise InputError("viscosities", str(self.viscosities), "positive numbers", "pass for example (0.01,)")
        low, high = self.grashof
        if not 0 < low <= high:
            raise InputError("grashof", str(self.grashof), "0 < smallest <= largest", "pass for example (0.1, 100.0)")


@dataclass(frozen=True)
class Forces:
    """A batch of forces.

    Args:
        g: coordinates of the curls, shape `(batch, n)`.
        viscosity: shape `(batch,)`.
        grashof: shape `(batch,)`.
    """

    g: Tensor
    viscosity: Tensor
    grashof: Tensor


def generator_of(seed: int, index: int) -> torch.Generator:
    """The generator of one sample.

    Args:
        seed: of the data set.
        index: the number of the sample.

    Returns:
        A generator that no other pair of numbers shares, up to collisions of a 63-bit hash.
    """
    digest = hashlib.blake2b(f"{seed}:{index}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def draw_forces(torus: GalerkinTorus, law: ForceLaw, seed: int, indices: range) -> Forces:
    """Draw the forces of some samples.

    Args:
        torus: the truncated space.
        law: what they are drawn from.
        seed: of the data set.
        indices: numbers of the samples.

    Returns:
        The forces, in the order of the numbers.

    Raises:
        InputError: the grid does not hold the waves.
    """
    if min(torus.cutoff) < _WAVES:
        raise InputError("shape", str(torus.shape), f"modes up to {_WAVES} in each direction", "pass at least (14, 14)")
    waves = (torus.modes.abs().amax(dim=1) <= _WAVES).nonzero().squeeze(1)
    places = torch.cat([waves, waves + torus.dimension // 2])
    squared = torus.squared[places]
    weight = squared.sqrt() * torch.exp(-squared / 2)
    # The mode order of a larger grid differs, so numbers are dealt to modes sorted by themselves.
    order = sorted(range(len(waves)), key=lambda i: tuple(torus.modes[waves[i]].tolist()))
    dealt = torch.tensor([*order, *(i + len(waves) for i in order)])
    g = torch.zeros(len(indices), torus.dimension, dtype=torch.float64)
    viscosity, grashof = (torch.zeros(len(indices), dtype=torch.float64) for _ in range(2))
    low, high = (torch.tensor(v, dtype=torch.float64).log() for v in law.grashof)
    for row, index in enumerate(indices):  # a hundred numbers a sample
        generator = generator_of(seed, index)
        xi = torch.randn(len(places), generator=generator, dtype=torch.float64)
        place = torch.rand(2, generator=generator, dtype=torch.float64)
        shape = torch.zeros_like(xi)
        shape[dealt] = xi
        shape = shape * weight
        viscosity[row] = law.viscosities[min(int(place[0] * len(law.viscosities)), len(law.viscosities) - 1)]
        grashof[row] = torch.exp(low + (high - low) * place[1])
        size = torch.linalg.vector_norm(shape / squared.sqrt())
        g[row, places] = shape * (grashof[row] * viscosity[row] ** 2 / size)
    return Forces(g, viscosity, grashof)
