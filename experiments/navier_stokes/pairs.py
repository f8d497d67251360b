r"""Pairs of force and vorticity to learn from: without viscosity, band-limited, split, and multiplied by the symmetries of the square.

**Without viscosity.** Put `w = nu w'`, `u = nu u'`, `g = nu^2 g'` into `u . grad w = nu Laplace w + g` and divide by `nu^2`:

    u' . grad w' = Laplace w' + g'.

On the torus whose lowest wave number is one all viscosities share one solution map `S`, and `w = nu S(g / nu^2)`; the size of
`g'` is the Grashof number. So models learn `S` from `g'` alone, and need no viscosity among their inputs. Slopes scale as
`D w / D g = S' / nu`: what is measured of `S` is `nu L`.

**Band-limited.** Flows are restricted to the modes that a coarse grid carries without aliasing (`GalerkinTorus`), where both members are
sampled. What that leaves out is measured, and far below any model's error.

**Symmetries.** Vorticity and curl are scalars under rotations and change their sign under reflections: if `w' = S(g')`, then for
every quarter turn `Q`, `w'(Q .) = S(g'(Q .))`, and for the mirror `P`, `-w'(P .) = S(-g'(P .))`. On a grid a turn is exact up to
a shift, which is a symmetry too. Eight pairs come from each, all exact; every model is trained on all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from eqtheory.errors import InputError
from eqtheory.validate import require_finite
from experiments.common.checkpoints import digest, random_generator
from experiments.navier_stokes.solver import cut
from experiments.navier_stokes.store import DataSet, load

__all__ = ["Pairs", "Split", "read_split", "turned"]


@dataclass(frozen=True)
class Pairs:
    """Scaled forces and flows on the coarse grid.

    Args:
        torus: the coarse truncation.
        g: coordinates of the curls `g'`, float64, shape `(samples, n)`.
        w: coordinates of the vorticities `w'`, of the same shape.
        grashof: shape `(samples,)`.
        viscosity: shape `(samples,)`.
        lipschitz: `nu` times the true local Lipschitz constant, as stored with the data; shape `(samples,)`.
        left_out: norm of what the truncation leaves out, relative to the flow; shape `(samples,)`.
        fine: the truncation in which the data were solved.
        flows: coordinates of the vorticities `w'` there.
    """

    torus: GalerkinTorus
    g: Tensor
    w: Tensor
    grashof: Tensor
    viscosity: Tensor
    lipschitz: Tensor
    left_out: Tensor
    fine: GalerkinTorus
    flows: Tensor

    def __len__(self) -> int:
        return len(self.g)

    def rows(self, at: Tensor) -> Pairs:
        """Take some samples.

        Args:
            at: their numbers.

        Returns:
            These samples.
        """
        return replace(
            self,
            g=self.g[at],
            w=self.w[at],
            grashof=self.grashof[at],
            viscosity=self.viscosity[at],
            lipschitz=self.lipschitz[at],
            left_out=self.left_out[at],
            flows=self.flows[at],
        )

    def fields(self, scale: float, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Sample forces and flows on the grid.

        Args:
            scale: what both are divided by; slopes do not change.
            dtype: of the fields.

        Returns:
            Inputs and targets, shape `(samples, 1, x, y)`.
        """
        found = [(self.torus.field(c) / scale).to(dtype).unsqueeze(1) for c in (self.g, self.w)]
        return found[0], found[1]

    @property
    def digest(self) -> str:
        """A name of the numbers."""
        return digest(self.g, self.w)


@dataclass(frozen=True)
class Split:
    """What models are trained on and what they are tested on.

    Args:
        train: pairs for training.
        test: pairs that no model sees in training.
    """

    train: Pairs
    test: Pairs


def turned(field: Tensor, which: int) -> Tensor:
    """Apply one of the eight symmetries of the square to forces or flows.

    Args:
        field: shape `(..., x, x)`.
        which: 0 to 7; quarter turns, from 4 on after the mirror.

    Returns:
        The field seen from there, up to a shift of the grid.
    """
    seen = torch.rot90(field, which % 4, dims=(-2, -1))
    return -seen.flip(-1) if which >= 4 else seen


def read_split(folder: Path, settings: dict[str, Any]) -> Split:
    """Read a data set, scale and truncate it, and split it.

    Args:
        folder: of the data set.
        settings: `points` of the coarse grid; `split`, the seed of the split; `test`, samples for testing.

    Returns:
        The two parts.

    Raises:
        InputError: none or too many samples are wanted for testing, the torus is not a square, the data are coarser than `points`, or
            not finite.
    """
    data, points, test = load(folder), settings["points"], settings["test"]
    if test < 1:
        raise InputError("test", f"{test}", "at least one sample to test on", "correct the preset")
    if len(data) <= test:
        raise InputError("folder", f"{len(data)} samples", f"more than {test}, to test on", "generate more data")
    pairs = _scaled(data, GalerkinTorus((points, points)))
    order = torch.randperm(len(data), generator=random_generator(settings["split"]))
    return Split(pairs.rows(order[test:]), pairs.rows(order[:test]))


def _scaled(data: DataSet, coarse: GalerkinTorus) -> Pairs:
    fine = data.torus
    if fine.aspect != 1.0:
        raise InputError("folder", f"flows of aspect {fine.aspect}", "aspect 1", "symmetries are those of a square")
    if min(fine.shape) < max(coarse.shape):
        raise InputError("points", f"{coarse.shape} on data of {fine.shape}", "no more than those", "take fewer points")
    for name in ("viscosity", "g", "c", "lipschitz", "grashof"):
        require_finite(name, data.columns[name], "generate that chunk anew")
    nu = data.columns["viscosity"]
    g, flows = data.columns["g"] / nu.unsqueeze(1).square(), data.columns["c"] / nu.unsqueeze(1)
    w = cut(fine, coarse, flows)
    length = torch.linalg.vector_norm(flows, dim=1)
    left_out = (length.square() - w.square().sum(dim=1)).clamp(min=0).sqrt() / length
    lipschitz = data.columns["lipschitz"] * nu
    return Pairs(coarse, cut(fine, coarse, g), w, data.columns["grashof"], nu, lipschitz, left_out, fine, flows)
