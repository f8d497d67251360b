"""Lipschitz constants of maps and of iterates, each labelled with what it proves."""

from __future__ import annotations

from eqtheory.lipschitz._activations import ACTIVATION_CONSTANTS, activation_constant
from eqtheory.lipschitz._convolution_norm import convolution_norm, convolution_norm_of
from eqtheory.lipschitz._finite import growth_on_table, largest_slope
from eqtheory.lipschitz._fourier_norm import fourier_multiplier_norm, place_modes, translation_invariant_norm
from eqtheory.lipschitz._graph_norm import bipartite_operator_norm, graph_operator_norm
from eqtheory.lipschitz._layers import layer_constant
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound, operator_norm
from eqtheory.lipschitz._products import product_of_norms

__all__ = [
    "ACTIVATION_CONSTANTS",
    "activation_constant",
    "bipartite_operator_norm",
    "convolution_norm",
    "convolution_norm_of",
    "fourier_multiplier_norm",
    "graph_operator_norm",
    "growth_on_table",
    "largest_slope",
    "layer_constant",
    "matrix_norm_upper_bound",
    "operator_norm",
    "place_modes",
    "product_of_norms",
    "translation_invariant_norm",
]
