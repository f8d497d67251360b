"""True norms of structured maps and of networks made of them. Upper bounds."""

from __future__ import annotations

from eqtheory.lipschitz.layers._activations import ACTIVATION_CONSTANTS, activation_constant
from eqtheory.lipschitz.layers._convolution_norm import convolution_norm, convolution_norm_of
from eqtheory.lipschitz.layers._fourier_norm import fourier_multiplier_norm, place_modes, translation_invariant_norm
from eqtheory.lipschitz.layers._graph_norm import bipartite_operator_norm, graph_operator_norm
from eqtheory.lipschitz.layers._layers import layer_constant
from eqtheory.lipschitz.layers._products import product_of_norms
from eqtheory.lipschitz.layers._propagation import Ball, propagated_lipschitz

__all__ = [
    "ACTIVATION_CONSTANTS",
    "Ball",
    "activation_constant",
    "bipartite_operator_norm",
    "convolution_norm",
    "convolution_norm_of",
    "fourier_multiplier_norm",
    "graph_operator_norm",
    "layer_constant",
    "place_modes",
    "product_of_norms",
    "propagated_lipschitz",
    "translation_invariant_norm",
]
