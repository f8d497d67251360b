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
from eqtheory.learned._message_passing import MessagePassing, ProgramOperator
from eqtheory.learned._scaled_program import Program, ScaledProgram, scaled

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
    "MessagePassing",
    "Program",
    "ProgramOperator",
    "ScaledProgram",
    "residual_contraction",
    "scaled",
]
