"""Maps that are locally, but not globally, Lipschitz, with everything known about them.

`CATALOGUE` holds one instance of each; the conformance tests hold every instance to the laws of `Target`.
"""

from __future__ import annotations

from eqtheory.norms import Euclidean
from eqtheory.targets._base import Target
from eqtheory.targets._combinators import Composition, TargetSum
from eqtheory.targets._rational import RationalTable
from eqtheory.targets._samples import SampleTable, from_samples
from eqtheory.targets.maps.elementary import (
    ExpMap,
    LogMap,
    ReciprocalMap,
    SqrtMap,
    SquareMap,
    TwoSidedReciprocalMap,
)
from eqtheory.targets.maps.kepler import KeplerMap
from eqtheory.targets.maps.lambert import LambertWMap
from eqtheory.targets.maps.linear_program import LinearProgramMap
from eqtheory.targets.maps.matrices import MatrixInverseMap, MatrixSquareRootMap
from eqtheory.targets.maps.piecewise import FloorMap, IslandsMap
from eqtheory.targets.maps.roots import CubicRootMap, QuadraticRootMap
from eqtheory.targets.maps.special import DigammaMap, GammaMap
from eqtheory.targets.maps.trigonometric import OscillatingMap, TanMap
from eqtheory.targets.maps.vectors import InversionMap, NormalisationMap

__all__ = [
    "CATALOGUE",
    "Composition",
    "CubicRootMap",
    "DigammaMap",
    "ExpMap",
    "FloorMap",
    "GammaMap",
    "InversionMap",
    "IslandsMap",
    "KeplerMap",
    "LambertWMap",
    "LinearProgramMap",
    "LogMap",
    "MatrixInverseMap",
    "MatrixSquareRootMap",
    "NormalisationMap",
    "OscillatingMap",
    "QuadraticRootMap",
    "RationalTable",
    "ReciprocalMap",
    "SampleTable",
    "SqrtMap",
    "SquareMap",
    "TanMap",
    "Target",
    "TargetSum",
    "TwoSidedReciprocalMap",
    "from_samples",
]

CATALOGUE: tuple[Target, ...] = (
    ReciprocalMap(),
    TwoSidedReciprocalMap(),
    LogMap(),
    SqrtMap(),
    SquareMap(),
    ExpMap(),
    TanMap(),
    OscillatingMap(),
    GammaMap(),
    DigammaMap(),
    LambertWMap(),
    InversionMap(),
    NormalisationMap(),
    MatrixInverseMap(),
    MatrixInverseMap(2, Euclidean()),
    MatrixSquareRootMap(),
    MatrixSquareRootMap(2, Euclidean()),
    QuadraticRootMap(),
    CubicRootMap(),
    KeplerMap(),
    LinearProgramMap(),
    FloorMap(),
    IslandsMap(),
    Composition(LogMap(), ReciprocalMap()),
    Composition(MatrixInverseMap(2, Euclidean()), MatrixSquareRootMap(2, Euclidean())),
    TargetSum(LogMap(), SqrtMap()),
)
"""Default instances of every target, two norms for matrices, and combinations."""
