"""The oldest bound on the Lipschitz constant of a network: the product of those of its layers (1-Lipschitz networks rest on it).

The chain `L_n ... L_1` bounds the composition whatever the layers are. It is far above the truth for deep networks, since the
vectors that one layer stretches most are not those that the next one does; what it needs is that every factor is an upper
bound of the true operator norm, of the map with its padding, stride and size, and not of a reshaped kernel or what power
iteration has reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz.layers._certified import U, known_norm
from eqtheory.lipschitz.layers._layers import layer_constant
from eqtheory.lipschitz.layers._own_forward import forward_hooks, replaced_method
from eqtheory.norms import Norm
from eqtheory.validate import count

__all__ = ["product_of_norms"]


def product_of_norms(network: nn.Module, size: Sequence[int], *, norm: Norm | None = None) -> Bound:
    """Bound the Lipschitz constant of a chain of layers by the product of their constants.

    Args:
        network: one layer, or `torch.nn.Sequential`, nested as deep as you like.
        size: shape of one sample, without the batch; it is followed from layer to layer by running each on zeros.
        norm: norm of all entries of a sample, the same everywhere; Euclidean by default, Sum and Sup are known too.

    Returns:
        An upper bound, proved for exact arithmetic with the stored parameters, on all inputs of that size.

    Raises:
        InputError: a layer that is not known, random, or normalising over the batch; the message names the first one.
        ShapeError: a layer that does not take what the one before it gives.

    Example:
        >>> import torch
        >>> layers = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.AvgPool1d(4), torch.nn.Sigmoid())
        >>> round(product_of_norms(layers, (2, 16)).value, 9)
        0.125
    """
    chosen = known_norm(norm)
    shape = tuple(count("size", n, "pass the shape of one sample") for n in size)
    value, factors = 1.0, 0
    assumptions: list[str] = []
    for name, layer in _leaves("", network):
        try:
            found = layer_constant(layer, shape, norm=chosen)
        except InputError as error:
            came = f"layer {name or 'itself'}: {error.argument} {error.came}"
            raise InputError("network", came, error.needed, error.remedy) from error
        value = _product(value, float(found.value))
        factors += 1
        assumptions += [a for a in found.assumptions if a not in assumptions]
        shape = _after(name, layer, shape)
    method = f"product of the norms of {factors} layers"
    return Bound(value, Side.UPPER, method, Evidence.PROVED, chosen.name, tuple(assumptions))


def _leaves(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(module, nn.Sequential) and _untouched(module):
        for child_name, child in module._modules.items():  # noqa: SLF001  (named_children() leaves out repetitions)
            if child is None:
                raise InputError("network", f"nothing at {child_name}", "a layer at every place", "remove the place")
            yield from _leaves(f"{name}.{child_name}" if name else child_name, child)
    else:
        yield name, module


def _product(value: float, factor: float) -> float:
    """From above, below the normal range as well, where rounding is not relative."""
    upper = value * factor * (1 + 2 * U)
    return upper + 2.0**-1074 if value > 0 and factor > 0 else upper


def _untouched(module: nn.Module) -> bool:
    # What is not is left to the rule for single layers, which refuses it.
    return forward_hooks(module) is None and replaced_method(module, nn.Sequential) is None


def _after(name: str, layer: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    like = next(layer.parameters(), None)
    x = torch.zeros(1, *shape) if like is None else torch.zeros(1, *shape, dtype=like.dtype, device=like.device)
    try:
        with torch.no_grad():
            out = layer(x)
    except (RuntimeError, ValueError, TypeError) as error:
        what = f"a sample of shape {shape} at layer {name or 'itself'} ({type(layer).__name__})"
        raise ShapeError("size", what, "a shape that the layer takes", f"torch says: {error}") from error
    if not isinstance(out, Tensor):
        needed = f"one tensor from layer {name or 'itself'}"
        raise InputError("network", type(out).__name__, needed, "for pooling, pass return_indices=False")
    return tuple(out.shape[1:])
