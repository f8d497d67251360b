"""Restoring images: forward maps, sets of plausible images, and the operators whose fixed points are the restored images (T10)."""

from __future__ import annotations

from eqtheory.constructions.imaging._circular_blur import CircularBlur, SingularVectors
from eqtheory.constructions.imaging._dense_map import DenseMap
from eqtheory.constructions.imaging._half_quadratic import HalfQuadraticSplitting, hqs
from eqtheory.constructions.imaging._linear_map import LinearMap
from eqtheory.constructions.imaging._proximal_gradient import ProximalGradient, pgd
from eqtheory.constructions.imaging._sets import Ball, Box, ConstraintSet, ProximalStep, Sphere, Subspace

__all__ = [
    "Ball",
    "Box",
    "CircularBlur",
    "ConstraintSet",
    "DenseMap",
    "HalfQuadraticSplitting",
    "LinearMap",
    "ProximalGradient",
    "ProximalStep",
    "SingularVectors",
    "Sphere",
    "Subspace",
    "hqs",
    "pgd",
]
