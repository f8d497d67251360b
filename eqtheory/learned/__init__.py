"""Operators that are trained: networks whose fixed points, gradients and Lipschitz constants the rest of the library takes."""

from __future__ import annotations

from eqtheory.learned._contraction import residual_contraction
from eqtheory.learned._denoiser import Denoiser, DenoiserSize

__all__ = ["Denoiser", "DenoiserSize", "residual_contraction"]
