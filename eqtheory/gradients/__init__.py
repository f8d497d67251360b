"""Derivatives of fixed points: exact ones that cost constant memory, cheap ones that say how far off they are."""

from __future__ import annotations

from eqtheory.gradients._bias import Bias, DescentCondition, GradientBias, gradient_bias
from eqtheory.gradients._fixed_point import fixed_point
from eqtheory.gradients._gradient import Equilibrium, Gradient
from eqtheory.gradients._implicit import AdjointMemory, Implicit
from eqtheory.gradients._neumann import Neumann
from eqtheory.gradients._phantom import OneStep, Phantom
from eqtheory.gradients._report import AdjointLog, AdjointReport, AdjointWarning, OnAdjointFailure, Replacement
from eqtheory.gradients._unrolled import Unrolled

__all__ = [
    "AdjointLog",
    "AdjointMemory",
    "AdjointReport",
    "AdjointWarning",
    "Bias",
    "DescentCondition",
    "Equilibrium",
    "Gradient",
    "GradientBias",
    "Implicit",
    "Neumann",
    "OnAdjointFailure",
    "OneStep",
    "Phantom",
    "Replacement",
    "Unrolled",
    "fixed_point",
    "gradient_bias",
]
