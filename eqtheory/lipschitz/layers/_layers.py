r"""Lipschitz constants of the layers that are not activations: normalisations, dense layers and convolutions.

**LayerNorm** with `eps`: `z = P x` removes the mean of `D` entries, `g(z) = z / s` with `s^2 = |z|^2 / D + eps`, and
`y = diag(w) g(P x)`. The Jacobian is

    diag(w) (P - z z^T / (D s^2)) / s.

`0 <= P - z z^T / (D s^2) <= P` on the range of `P`, so that the middle factor is `P` times a contraction, and `s >= sqrt eps`:
in l2 the constant is `|diag(w) P|_2 / sqrt eps`, attained at `z = 0`, at every constant vector. Without `eps` there is none.
In sup (and, the middle factor being symmetric, in l1) an absolute row sum is at most
`(2 (1 - 1/D) + |z_i| |z|_1 / (D s^2)) / s`; with `|z_i| <= |z|`, `|z|_1 <= sqrt D |z|` and `r = |z|^2 / (D eps)` the second
term is `sqrt D r (1 + r)^(-3/2) / sqrt eps`, largest at `r = 2`:

    |LayerNorm|_sup <= max |w| (2 (1 - 1/D) + 2 sqrt(D / 27)) / sqrt eps.

**RMSNorm** is the same without `P`, **GroupNorm** is one such map per group, bounded with the largest weight.

**BatchNorm** in evaluation is diagonal: `max |w_c| / sqrt(v_c + eps)`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound
from eqtheory.lipschitz.layers._activations import _MODULES as ACTIVATIONS
from eqtheory.lipschitz.layers._activations import activation_constant
from eqtheory.lipschitz.layers._certified import U, dense_norm, known_norm
from eqtheory.lipschitz.layers._convolution_norm import convolution_norm_of
from eqtheory.lipschitz.layers._own_forward import forward_hooks, replaced_method
from eqtheory.lipschitz.layers._pooling import COPYING, POOLS, copies_constant, pool_constant
from eqtheory.norms import Euclidean, Norm
from eqtheory.roundoff import gamma
from eqtheory.validate import count, require_finite

__all__ = ["layer_constant"]

_DENSE = 2048
_Rule = Callable[[nn.Module, tuple[int, ...], Norm], tuple[float, str]]


def layer_constant(layer: nn.Module, size: tuple[int, ...], *, norm: Norm | None = None) -> Bound:
    """Bound the Lipschitz constant of one layer of torch from above.

    Args:
        layer: an activation, dense layer, convolution, normalisation, pooling, padding, nearest upsampling or rearrangement.
        size: shape of one sample, channels first, without the batch.
        norm: norm of all entries of a sample; Euclidean by default, Sum and Sup are known too.

    Returns:
        An upper bound, proved for the map in exact arithmetic with the stored numbers.

    Raises:
        InputError: a layer that is not known, that is random or uses the batch in training mode, or that has hooks.
        ShapeError: a size without channels.

    Example:
        >>> import torch
        >>> round(layer_constant(torch.nn.AvgPool2d(2), (3, 8, 8)).value, 9)
        0.5
    """
    chosen = known_norm(norm)
    size = tuple(count("size", n, "pass the shape of one sample, for example (3, 32, 32)") for n in size)
    hooks = forward_hooks(layer)
    if hooks is not None:
        raise InputError(
            "layer", f"{type(layer).__name__} {hooks}", "a layer that is only its forward", "remove the hooks"
        )
    if layer.training and parametrize.is_parametrized(layer):
        came = f"parametrised {type(layer).__name__} in training mode"
        raise InputError("layer", came, "weights that do not change from use to use", "call .eval() first")
    base = next((c for c in type(layer).__mro__ if c in _RULES and type(layer).forward is c.forward), None)
    if base is None:
        needed = "a layer of torch.nn whose norm is known"
        raise InputError("layer", type(layer).__name__, needed, "bound it by hand and multiply the bounds")
    axes = _AXES.get(base)
    if axes is not None and len(size) != axes + 1:
        raise ShapeError(
            "size", str(size), f"channels and {axes} lengths", "give the size of one sample with its channels"
        )
    own = replaced_method(layer, base)
    if own is not None:
        raise InputError(
            "layer", f"{type(layer).__name__} whose {own} was replaced", "its class's map", "bound it by hand"
        )
    value, method = _RULES[base](layer, size, chosen)
    assumptions = activation_constant(layer).assumptions if base in ACTIVATIONS else ()
    return Bound(value, Side.UPPER, method, Evidence.PROVED, chosen.name, assumptions)


def _activation(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:  # noqa: ARG001
    if isinstance(layer, (nn.Softmax, nn.Softmin)) and layer.dim in {0, -1 - len(size)}:
        raise InputError(
            "layer", f"{type(layer).__name__} over the batch", "a map of one sample", "pass dim=1 or dim=-1"
        )
    found = activation_constant(layer)
    return float(found.value), found.method


def _linear(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:  # noqa: ARG001
    weight = cast("Tensor", layer.weight).detach()
    return float(matrix_norm_upper_bound(weight, norm)), "norm of the weight"


def _convolution(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:
    found = convolution_norm_of(layer, size[1:], norm=norm).upper
    return float(found.value), found.method


def _isometry(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:  # noqa: ARG001
    return 1.0, "entries are moved, not changed"


def _dropout(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:  # noqa: ARG001
    if layer.training and cast("float", layer.p) > 0:
        raise InputError("layer", f"{type(layer).__name__} in training mode", "a fixed map", "call .eval() first")
    return 1.0, "identity in evaluation"


def _batch_norm(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:  # noqa: ARG001
    variance = cast("Tensor | None", layer.running_var)
    if layer.training or variance is None:
        needed = "statistics that do not depend on the batch"
        raise InputError(
            "layer", f"{type(layer).__name__} in training mode", needed, "call .eval(), with running statistics"
        )
    scale = (variance.detach().to("cpu", torch.float64) + cast("float", layer.eps)).sqrt()
    ratio = _weights(layer, variance.numel()) / scale
    require_finite("weight / sqrt(variance + eps)", ratio, "variances and eps have to be positive")
    return float(ratio.amax()) * (1 + gamma(6, torch.float64)), "diagonal in evaluation"


def _weights(layer: nn.Module, length: int) -> Tensor:
    weight = cast("Tensor | None", layer.weight)
    if weight is None:
        return torch.ones(length, dtype=torch.float64)
    require_finite("weight", weight, "repair it")
    return weight.detach().to("cpu", torch.float64).abs().flatten()


def _floor(layer: nn.Module) -> float:
    """The root of `eps`, rounded down.

    Returns:
        A positive number.

    Raises:
        InputError: no positive `eps`.
    """
    eps = cast("float | None", layer.eps)
    if eps is None:
        eps = torch.finfo(torch.float64).eps  # torch takes that of the input's type: the smallest of all holds for each
    if not eps > 0:
        raise InputError("eps", str(eps), "a number > 0", "without it the layer is not Lipschitz at constant vectors")
    return float(eps) ** 0.5 * (1 - 2 * U)


def _layer_norm(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:  # noqa: ARG001
    D = prod(cast("tuple[int, ...]", layer.normalized_shape))
    weights = _weights(layer, D)
    top, root = float(weights.amax()), _floor(layer)
    if not isinstance(norm, Euclidean):
        return top * _row_sum(2 * (1 - 1 / D), D) / root * (
            1 + 8 * U
        ), "row sums of the Jacobian, largest at |z|^2 = 2 D eps"
    if D > _DENSE:
        return top / root * (1 + 4 * U), "largest weight over the root of eps"
    projected = weights[:, None] * (torch.eye(D, dtype=torch.float64) - 1 / D)
    rounding = (
        gamma(4, torch.float64) * top * D**0.5 * (1 + 8 * U)
    )  # entries of the projection sum to D in squares at most
    upper = dense_norm(projected, Euclidean())[1] + rounding
    return min(upper, top) / root * (1 + 4 * U), "Jacobian at constant vectors"


def _row_sum(middle: float, D: int) -> float:
    return (middle + 2 * (D / 27) ** 0.5) * (1 + 8 * U)


def _rms_norm(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:  # noqa: ARG001
    D = prod(cast("tuple[int, ...]", layer.normalized_shape))
    scale = float(_weights(layer, D).amax()) / _floor(layer) * (1 + 4 * U)
    if isinstance(norm, Euclidean):
        return scale, "Jacobian at zero"
    return scale * _row_sum(1.0, D) * (1 + 4 * U), "row sums of the Jacobian"


def _group_norm(layer: nn.Module, size: tuple[int, ...], norm: Norm) -> tuple[float, str]:
    channels, groups = cast("int", layer.num_channels), cast("int", layer.num_groups)
    scale = float(_weights(layer, channels).amax()) / _floor(layer) * (1 + 4 * U)
    if isinstance(norm, Euclidean):
        return scale, "largest weight over the root of eps"
    D = channels // groups * prod(size[1:])
    return scale * _row_sum(2 * (1 - 1 / D), D) * (1 + 4 * U), "row sums of the Jacobian"


_AXES = {
    kind: int(kind.__name__[-2])
    for kind in (
        *POOLS,
        *COPYING,
        nn.Conv1d,
        nn.Conv2d,
        nn.Conv3d,
        nn.ConvTranspose1d,
        nn.ConvTranspose2d,
        nn.ConvTranspose3d,
    )
    if kind.__name__.endswith("d") and kind.__name__[-2].isdigit()
}
"""Spatial axes of the layers whose name says how many they have."""

_RULES: dict[type[nn.Module], _Rule] = {
    **dict.fromkeys(ACTIVATIONS, _activation),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout), _dropout),
    **dict.fromkeys((nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle), _isometry),
    **dict.fromkeys(POOLS, pool_constant),
    **dict.fromkeys(COPYING, copies_constant),
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.Linear: _linear,
    nn.RMSNorm: _rms_norm,
}
