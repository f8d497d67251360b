"""The adaptive relaxation of a finite table of data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Evidence
from eqtheory.constructions._certificate import BudgetCertificate, certify_budget, require_pairs
from eqtheory.constructions._finite_radii import exact_ball_radii, majorant_radii
from eqtheory.constructions._relaxation import AdaptiveRelaxation
from eqtheory.constructions._rules import RelaxationRule
from eqtheory.errors import InputError
from eqtheory.norms import slopes_of
from eqtheory.targets import SampleTable

__all__ = ["ExactBalls", "SlopeMajorant", "TableRadii", "TableRelaxation"]

_BLOCK_ENTRIES = 1 << 22
"""Entries of one block of slopes: 32 MB in float64."""


class TableRadii(ABC):
    """A way to find `rho` and `sigma` at every point of a table."""

    @abstractmethod
    def __call__(self, table: SampleTable) -> tuple[Tensor, Tensor]:
        """Find the radii.

        Args:
            table: the map.

        Returns:
            `rho` and `sigma`, each of shape `(n,)`.
        """


@final
@dataclass(frozen=True)
class ExactBalls(TableRadii):
    """`h(x, r)` itself, from every ball that can matter.

    Since `h(x, r) >= 1 + |F(x)|`, both radii are at most `1/(1 + |F(x)|)`, and points from that distance on are in no ball that
    counts. With at most `m` points closer than that, time is O(n^2 + n m^2) and memory O(n^2); for tables up to a few thousand
    rows.
    """

    def __call__(self, table: SampleTable) -> tuple[Tensor, Tensor]:
        distances = table.input_norm.pairwise(table.inputs, table.inputs)
        slopes = slopes_of(table.output_norm.pairwise(table.values, table.values), distances)
        sizes = table.output_norm(table.values)
        rho, sigma = torch.empty_like(sizes), torch.empty_like(sizes)
        counts = (distances < (1 / (1 + sizes)).unsqueeze(1)).sum(dim=1)
        by_count = counts.argsort(descending=True)
        start = 0
        while start < len(table):
            m = int(counts[by_count[start]])  # the fullest ball among the centres that are left
            part = by_count[start : start + max(1, _BLOCK_ENTRIES // (m * m))]
            near, index = distances[part].topk(m, dim=1, largest=False)
            rho[part], sigma[part] = exact_ball_radii(
                near, sizes[index], slopes[index.unsqueeze(2), index.unsqueeze(1)]
            )
            start += len(part)
        return rho, sigma


@final
@dataclass(frozen=True)
class SlopeMajorant(TableRadii):
    """A majorant of `h` that needs no balls: O(n^2) time in blocks of bounded memory, radii at most a little smaller or larger."""

    def __call__(self, table: SampleTable) -> tuple[Tensor, Tensor]:
        return majorant_radii(
            table.blocks(),
            lambda block: table.input_norm.pairwise(table.inputs[block], table.inputs),
            lambda block: table.output_norm.pairwise(table.values[block], table.values),
            table.output_norm(table.values),
        )


@final
class TableRelaxation(AdaptiveRelaxation):
    """The adaptive relaxation of a `SampleTable`; inputs are indices of its points.

    Args:
        table: the map.
        rule: how the step follows from the radii.
        scale: the factor `c` of T3a.
        radii: how the radii are found.

    Raises:
        InputError: a value so large or steep that its step underflows.
    """

    def __init__(self, table: SampleTable, *, rule: RelaxationRule, scale: float, radii: TableRadii) -> None:
        super().__init__(
            rule=rule,
            scale=scale,
            output_norm=table.output_norm,
            input_metric=table,
            evidence=Evidence.PROVED,
            assumptions=("steps as in exact arithmetic; certify() decides those that are stored",),
        )
        self.table = table
        self.rho, self.sigma = radii(table)
        self.eps = self.scale * rule(self.rho, self.sigma)
        if not bool((self.eps > 0).all()):
            i = int((self.eps <= 0).nonzero()[0])
            size = float(self.norm(table.values)[i])
            raise InputError(
                "table",
                f"a value of norm {size:.3g} in row {i}",
                "values whose step does not underflow",
                "rescale them",
            )

    def target(self, x: Tensor) -> Tensor:
        """Look the values up.

        Args:
            x: indices, shape `(batch,)`.

        Returns:
            Values, shape `(batch, ...)`.
        """
        return self.table(x)

    def radii(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Look the radii up.

        Args:
            x: indices, shape `(batch,)`.

        Returns:
            `rho` and `sigma`, each of shape `(batch,)`.
        """
        index = self.table.check_indices("x", x)
        return self.rho[index], self.sigma[index]

    def certify(self) -> BudgetCertificate:
        """Check the stored steps against the budget over all pairs, in exact arithmetic.

        Returns:
            The certificate; its verdict is `proved` or `refuted`, never an estimate.

        Raises:
            ShapeError: fewer than two points, so there is no pair to check.
        """
        require_pairs(self.table)
        return certify_budget(self.table, self.eps, self.budget)
