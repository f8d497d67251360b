"""Lipschitz constants of maps, operators and iterates, each labelled with what it proves: lower bound, upper bound or estimate."""

from __future__ import annotations

from eqtheory.lipschitz._extremes import Extreme, extreme_value_estimate
from eqtheory.lipschitz._finite import growth_on_table, largest_slope
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound, operator_norm
from eqtheory.lipschitz._region import Box, Everywhere, Region
from eqtheory.lipschitz._spectrum import SpectralRadius, TransientGrowth, spectral_radius, transient_growth
from eqtheory.lipschitz._witness import Witnessed
from eqtheory.lipschitz.curves import Curve, Finding, Iteration, Shape, curve
from eqtheory.lipschitz.formulas import formula_lipschitz, supremum
from eqtheory.lipschitz.layers import (
    ACTIVATION_CONSTANTS,
    Ball,
    activation_constant,
    bipartite_operator_norm,
    convolution_norm,
    convolution_norm_of,
    fourier_multiplier_norm,
    graph_operator_norm,
    layer_constant,
    place_modes,
    product_of_norms,
    propagated_lipschitz,
    translation_invariant_norm,
)
from eqtheory.lipschitz.search import (
    Search,
    dense_jacobian,
    exact_jacobian_norm,
    frequency_direction,
    halved_pairs,
    jacobian_norm,
    pair_lower_bound,
    perturbation_lower_bound,
    random_directions,
    steepest,
)
from eqtheory.lipschitz.traced import traced_lipschitz, traced_regularity

__all__ = [
    "ACTIVATION_CONSTANTS",
    "Ball",
    "Box",
    "Curve",
    "Everywhere",
    "Extreme",
    "Finding",
    "Iteration",
    "Region",
    "Search",
    "Shape",
    "SpectralRadius",
    "TransientGrowth",
    "Witnessed",
    "activation_constant",
    "bipartite_operator_norm",
    "convolution_norm",
    "convolution_norm_of",
    "curve",
    "dense_jacobian",
    "exact_jacobian_norm",
    "extreme_value_estimate",
    "formula_lipschitz",
    "fourier_multiplier_norm",
    "frequency_direction",
    "graph_operator_norm",
    "growth_on_table",
    "halved_pairs",
    "jacobian_norm",
    "largest_slope",
    "layer_constant",
    "matrix_norm_upper_bound",
    "operator_norm",
    "pair_lower_bound",
    "perturbation_lower_bound",
    "place_modes",
    "product_of_norms",
    "propagated_lipschitz",
    "random_directions",
    "spectral_radius",
    "steepest",
    "supremum",
    "traced_lipschitz",
    "traced_regularity",
    "transient_growth",
    "translation_invariant_norm",
]
