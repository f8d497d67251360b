r"""What is known of a computed steady flow, from strongest to weakest.

1. **Unique by T11.** `c |f|_{V'} < nu^2`: the Navier-Stokes equation of this force, truncated or not, has one steady flow.
2. **Unique by energy.** The energy margin `m` is positive: within the truncation every steady flow of this force lies within `|r| / m` of
   the computed one, in the mean square of the velocity (`r` is the residual as a force).
3. **Locally stable.** The leading eigenvalues of the linearisation lie on the left of the imaginary axis, as estimated by two
   truncations that agree. Nothing is said about other steady flows.
4. **Not certified.** The residual is too large, the grid too coarse, or the flow is unstable. No data.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from eqtheory.theorems.navier_stokes import embedding_constant, oseen_factor
from experiments.navier_stokes.solver import SteadyFlows, energy_margin, growth_rates

__all__ = ["Certificate", "Certificates", "certify_flows"]

_BELOW_ONE = 1 - 1e-12
"""T11's smallness is a product of a few thousand roundings at most, relative to itself."""


class Certificate(Enum):
    """What is known of one flow; the value is the code that is stored."""

    UNIQUE_BY_T11 = 0
    UNIQUE_BY_ENERGY = 1
    LOCALLY_STABLE = 2
    NONE = 3


@dataclass(frozen=True)
class Certificates:
    """Certificates of a batch, shape `(batch,)` unless said otherwise.

    Args:
        kind: codes of `Certificate`.
        smallness: `c |f|_{V'} / nu^2`; below one it is the contraction factor of Oseen's step.
        margin: the energy margin over `nu`; a lower bound.
        leading: leading eigenvalues of the linearisation over `nu`, shape `(batch, count)`, complex; estimates.
        error: bound on the distance to every steady flow of the truncation, root mean square of the velocity; infinite where
            none is known.
    """

    kind: Tensor
    smallness: Tensor
    margin: Tensor
    leading: Tensor
    error: Tensor

    def counts(self) -> dict[str, int]:
        """How many flows have which certificate.

        Returns:
            Names to counts.
        """
        return {c.name.lower(): int((self.kind == c.value).sum()) for c in Certificate}


def certify_flows(flows: SteadyFlows, *, eigenvalues: int = 4) -> Certificates:
    """Find the strongest certificate of every flow.

    Args:
        flows: what a solve returned; samples that did not converge get none.
        eigenvalues: how many leading eigenvalues to keep.

    Returns:
        The certificates.
    """
    torus, nu = flows.torus, flows.viscosity
    force = torch.linalg.vector_norm(flows.g / torus.squared, dim=1)
    smallness = oseen_factor(embedding_constant(torus.aspect), force, nu)
    count = len(nu)
    margin, error = torch.full((count,), -torch.inf, dtype=nu.dtype), torch.full((count,), torch.inf, dtype=nu.dtype)
    leading = torch.zeros(count, eigenvalues, dtype=torch.complex128)
    stable = torch.zeros(count, dtype=torch.bool)
    at = flows.converged.nonzero().squeeze(1)
    if len(at):
        margin[at] = energy_margin(torus, flows.c[at], nu[at])
        growth = growth_rates(torus, flows.c[at], nu[at], count=eigenvalues)
        leading[at] = growth.leading / nu[at].unsqueeze(1)
        stable[at] = growth.stable
    kind = torch.full((count,), Certificate.NONE.value)
    kind[stable] = Certificate.LOCALLY_STABLE.value
    # |r| as a force is the residual of the vorticity equation over |k|, which is at least the shorter of a and 1.
    least = min(1.0, torus.aspect)
    size = flows.residual * torch.linalg.vector_norm(flows.g, dim=1) / least
    unique = flows.converged & (margin > 0)
    kind[unique] = Certificate.UNIQUE_BY_ENERGY.value
    error[unique] = size[unique] / margin[unique]
    kind[flows.converged & (smallness < _BELOW_ONE)] = Certificate.UNIQUE_BY_T11.value
    return Certificates(kind, smallness, margin / nu, leading, error)
