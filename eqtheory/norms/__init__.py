"""The one place where norms and distances are computed.

A batch of states has shape `(batch, ...)`; everything after the first axis is one vector (or matrix) of the state space.
Each norm works on tensors, and the polyhedral ones also on rationals, where no rounding happens at all.
"""

from __future__ import annotations

from eqtheory.norms._composite import BlockSum, Spectral, Weighted
from eqtheory.norms._entrywise import Euclidean, Sum, Sup
from eqtheory.norms._norm import Metric, Norm, host_sees, rows_of, same_shape, slopes_of
from eqtheory.norms._torus import TorusSobolev

__all__ = [
    "BlockSum",
    "Euclidean",
    "Metric",
    "Norm",
    "Spectral",
    "Sum",
    "Sup",
    "TorusSobolev",
    "Weighted",
    "host_sees",
    "rows_of",
    "same_shape",
    "slopes_of",
]
