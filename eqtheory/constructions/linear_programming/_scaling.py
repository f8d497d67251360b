r"""Changing the units of rows and variables, so that first-order iterations see entries of one size.

With positive diagonal `D` and `E` the program in `y = E y~` has the matrix `D A E`, right side `D b`, costs `E c`, bounds `l / E`,
`u / E`, and multipliers `p = D p~`: the same program in other units.

1. Ruiz's equilibration: divide rows and columns by the square roots of their largest entries, again and again; the largest entries
   of all rows and columns tend to 1.
2. Once by the square roots of the *sums* of absolute values, `r_i` and `s_j` (Pock and Chambolle's diagonal preconditioner with exponent
   1). Then the norm is at most 1 whatever the matrix was: `|p . A~ y| <= sum |A_ij| |p_i| |y_j| / sqrt(r_i s_j)`, which by Cauchy and
   Schwarz is at most `sqrt(sum |A_ij| p_i^2 / r_i) sqrt(sum |A_ij| y_j^2 / s_j) = |p| |y|`.
3. Costs and right sides are divided by one plus their norms, so that both halves of the state start at one size; `y` and `p`
   scale accordingly.

References:
    Ruiz 2001, RAL-TR-2001-034; Pock, Chambolle 2011, ICCV; Applegate et al. 2021, NeurIPS 34 (PDLP, which combines the two).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqtheory.constructions.linear_programming._program import LinearProgram

__all__ = ["ScaledProgram", "equilibrated"]


@dataclass(frozen=True)
class ScaledProgram:
    """A program in other units, with the way back.

    Args:
        program: in the new units; its matrices have norm at most 1, up to rounding.
        primal: `y = primal * y~`, shape `(batch, n)`.
        dual: `p = dual * p~`, shape `(batch, m)`.
    """

    program: LinearProgram
    primal: Tensor
    dual: Tensor


def equilibrated(program: LinearProgram, rounds: int = 10) -> ScaledProgram:
    """Equilibrate a batch, every instance on its own.

    Args:
        program: the programs.
        rounds: of Ruiz's equilibration.

    Returns:
        The scaled programs. Cost: a few operations per non-zero and round.
    """
    down, across = torch.ones_like(program.b), torch.ones_like(program.c)
    entries = program.entries.abs()

    def by_row(reduce: str) -> Tensor:
        found = torch.zeros_like(down).scatter_reduce(1, program.rows, entries, reduce)
        return torch.where(found > 0, found, 1.0).rsqrt()

    def by_column(reduce: str) -> Tensor:
        found = torch.zeros_like(across).scatter_reduce(1, program.columns, entries, reduce)
        return torch.where(found > 0, found, 1.0).rsqrt()

    for reduce in [*["amax"] * rounds, "sum"]:
        r, s = by_row(reduce), by_column(reduce)
        entries = entries * r.gather(1, program.rows) * s.gather(1, program.columns)
        down, across = down * r, across * s
    right = 1 / (1 + torch.linalg.vector_norm(program.b * down, dim=1, keepdim=True))
    costs = 1 / (1 + torch.linalg.vector_norm(program.c * across, dim=1, keepdim=True))
    scaled = replace(
        program,
        entries=entries * program.entries.sign(),
        b=program.b * down * right,
        c=program.c * across * costs,
        l=program.lower / across * right,
        u=program.upper / across * right,
    )
    return ScaledProgram(scaled, across / right, down / costs)
