"""Operators that are trained: networks whose fixed points, gradients and Lipschitz constants the rest of the library takes."""

from __future__ import annotations

from eqtheory.learned._contraction import residual_contraction
from eqtheory.learned._denoiser import Denoiser, DenoiserSize
from eqtheory.learned._fourier_layer import FourierKernel, FourierLayer
from eqtheory.learned._fourier_operator import (
    ExplicitFourierOperator,
    FourierBlock,
    FourierSize,
    HiddenField,
    ImplicitFourierOperator,
)

__all__ = [
    "Denoiser",
    "DenoiserSize",
    "ExplicitFourierOperator",
    "FourierBlock",
    "FourierKernel",
    "FourierLayer",
    "FourierSize",
    "HiddenField",
    "ImplicitFourierOperator",
    "residual_contraction",
]
