r"""Lipschitz constants of small networks on boxes: balls through the layers, an interval matrix for the Jacobian.

A `Ball` holds midpoints and radii, entry by entry. With `gamma` for the length `n` of the inner products (Rump's midpoint-radius product)

    W (m +- r) + b  lies in  fl(W m + b) +- (|W| r + gamma_{n+2} (|W| |m| + |b|) + underflow),

and every radius is raised by the roundings of its own computation. Slopes of activations on the pre-activations' balls multiply the rows
of the Jacobian. The generalized Jacobian of the network at every point of the box lies in the interval matrix `M +- R` that results, and
a box is convex, so that the mean value theorem applies (N9):

    lip <= |M| + |R|,   and   lip <= | |M| + R |   in l2, l1 and sup.

The product of the layers' own norms with the largest slopes of the activations bounds it too, and the least of all is returned.

References:
    S. M. Rump, BIT 39 (1999), Fast and parallel interval arithmetic; M. Fazlyab and others for what tighter relaxations cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz._matrix_norm import matrix_norm_upper_bound
from eqtheory.lipschitz.layers._activation_slopes import SLACK, Activation, activation_of, on
from eqtheory.lipschitz.layers._own_forward import forward_hooks, replaced_method
from eqtheory.norms import Euclidean, Norm, Sum, Sup, same_shape
from eqtheory.roundoff import gamma, unit_roundoff
from eqtheory.validate import batch_of, require_finite

__all__ = ["Ball", "propagated_lipschitz"]

_U = unit_roundoff(torch.float64)
_TINY = 2.0**-1040
"""More than the products of an inner product of `2^30` terms lose together where they underflow, `2^-1075` each."""


@dataclass(frozen=True)
class Ball:
    """All tensors that differ from a midpoint by at most a radius, entry by entry.

    Args:
        middle: midpoints, float64.
        radius: radii, not negative, the same shape.
    """

    middle: Tensor
    radius: Tensor

    @classmethod
    def between(cls, low: Tensor, high: Tensor) -> Ball:
        """Cover a box.

        Args:
            low: lower ends, float64.
            high: upper ends.

        Returns:
            The ball.
        """
        middle = 0.5 * low + 0.5 * high
        return cls(middle, torch.maximum(high - middle, middle - low).clamp_min(0) * (1 + 4 * _U))

    def ends(self) -> tuple[Tensor, Tensor]:
        """Ends of every entry, rounded outwards.

        Returns:
            Lower and upper ends.
        """
        slack = 2 * _U * (self.middle.abs() + self.radius)
        return self.middle - self.radius - slack, self.middle + self.radius + slack

    def magnitude(self) -> Tensor:
        """Largest absolute values, rounded up.

        Returns:
            The shape of the ball.
        """
        return (self.middle.abs() + self.radius) * (1 + 2 * _U)

    def map(self, weight: Tensor, bias: Tensor | None = None) -> Ball:
        """Enclose `x W^T + b`, for rows `x`.

        Args:
            weight: shape `(m, n)`, float64.
            bias: shape `(m,)`; none for zero.

        Returns:
            A ball of shape `(..., m)`.
        """
        g = gamma(weight.shape[1] + 2, torch.float64)
        shift = torch.zeros(weight.shape[0], dtype=torch.float64, device=weight.device) if bias is None else bias
        size = weight.abs()
        # One product for both terms of the radius; its own roundings, and those of its two summands, raise it.
        radius = (self.radius + g * self.middle.abs()) @ size.mT + g * shift.abs()
        return Ball(self.middle @ weight.mT + shift, radius * (1 + gamma(weight.shape[1] + 6, torch.float64)) + _TINY)

    def times(self, other: Ball) -> Ball:
        """Enclose products entry by entry.

        Args:
            other: a ball of a shape that this one's extends.

        Returns:
            A ball.
        """
        middle = self.middle * other.middle
        radius = self.middle.abs() * other.radius + self.radius * (other.middle.abs() + other.radius)
        return Ball(middle, (radius + _U * middle.abs()) * (1 + 8 * _U) + _TINY)


def propagated_lipschitz(network: torch.nn.Sequential, low: Tensor, high: Tensor, *, norm: Norm | None = None) -> Bound:
    """Bound the Lipschitz constant of a small network from above, on each of a batch of boxes.

    Args:
        network: a `Sequential` of Linear, Flatten, Identity and activations (ReLU, LeakyReLU, Hardtanh, ELU, Softplus, SiLU, GELU, Tanh,
            Sigmoid); Dropout and BatchNorm1d only in evaluation mode. It is taken as a map of real numbers with these weights.
        low: lower corners, shape `(batch, n)`.
        high: upper corners, the same shape.
        norm: l2 (the default), l1 or sup, on arguments and values.

    Returns:
        Proved upper bounds of shape `(batch,)`; infinite where a range overflows. As a box shrinks to a point at which the network is
        differentiable, the bound falls to the norm of its Jacobian. Cost: one Jacobian per box, `O(batch * width^2 * n)` a layer.

    Raises:
        InputError: an unknown layer, one whose mode changes its map, or an unusable norm.
        ShapeError: corners of different shapes, or layers that do not fit.

    Theorem: N9.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.ReLU())
        >>> _ = network[0].weight.data.fill_(3.0)
        >>> box = torch.tensor([[1.0], [-2.0]])
        >>> [round(v, 6) for v in propagated_lipschitz(network, box, box + 1).value.tolist()]
        [3.0, 0.0]
    """
    chosen = norm or Euclidean()
    if not isinstance(chosen, Euclidean | Sum | Sup):
        raise InputError("norm", str(getattr(chosen, "name", chosen)), "l2, l1 or sup", "pass Euclidean() or another")
    batch_of("low", low, trailing=(None,))
    batch_of("high", high, trailing=(None,))
    same_shape("low, high", low, high)
    if bool((low > high).any()):
        raise InputError("low", "a corner above the upper one", "low <= high", "exchange them")
    state = _State(chosen, Ball.between(low.detach().double(), high.detach().double()))
    with torch.no_grad():
        for name, layer in _layers(network, "network"):
            state.pass_through(name, layer)
        value = state.bound()
    rest = () if state.exact else ("torch's elementary functions are accurate to a few units in the last place",)
    method = "balls through the layers, norm of the interval Jacobian or product of norms"
    return Bound(value, Side.UPPER, method, Evidence.PROVED, norm=chosen.name, assumptions=rest)


def _layers(network: torch.nn.Module, name: str) -> Iterator[tuple[str, torch.nn.Module]]:
    if (
        forward_hooks(network)
        or not isinstance(network, torch.nn.Sequential)
        or replaced_method(network, torch.nn.Sequential)
    ):
        yield name, network
        return
    for k, layer in enumerate(network):
        yield from _layers(layer, f"{name}[{k}]")


def _is(layer: torch.nn.Module, kind: type[torch.nn.Module]) -> bool:
    """Whether a layer computes what its class computes; with parametrized weights it does, with an overridden `forward` it does not.

    Returns:
        The answer.
    """
    return isinstance(layer, kind) and replaced_method(layer, kind) is None


class _State:
    """Values, Jacobian and product of norms after the layers so far."""

    def __init__(self, norm: Norm, values: Ball) -> None:
        self.norm, self.values, self.exact = norm, values, True
        batch, n = values.middle.shape
        # The Jacobian transposed, so that a layer maps its last axis as it maps values.
        eye = torch.eye(n, dtype=torch.float64, device=values.middle.device).expand(batch, n, n)
        self.jacobian = Ball(eye, torch.zeros_like(eye))
        self.product = torch.ones(batch, dtype=torch.float64, device=eye.device)

    def pass_through(self, name: str, layer: torch.nn.Module) -> None:
        """Go through one layer.

        Raises:
            InputError: it is unknown, or its mode changes its map.
        """
        hooks = forward_hooks(layer)
        if hooks is not None:
            raise InputError(name, f"a layer {hooks}", "one that is its class's map", "remove the hooks")
        if isinstance(layer, torch.nn.Linear) and _is(layer, torch.nn.Linear):
            self._linear(name, layer)
        elif isinstance(layer, torch.nn.BatchNorm1d) and _is(layer, torch.nn.BatchNorm1d):
            self._batch_norm(name, layer)
        elif isinstance(layer, torch.nn.Dropout) and _is(layer, torch.nn.Dropout):
            if layer.training and layer.p > 0:
                raise InputError(name, "Dropout in training mode", "a map without chance", "call network.eval() first")
        elif (activation := activation_of(layer)) is not None:
            self._activation(activation)
        elif not (_is(layer, torch.nn.Identity) or (_is(layer, torch.nn.Flatten) and layer.start_dim == 1)):
            raise InputError(
                name,
                type(layer).__name__,
                "Linear, Flatten, Identity, Dropout, BatchNorm1d or a supported activation",
                "bound it by hand, or write it with these layers",
            )

    def _linear(self, name: str, layer: torch.nn.Linear) -> None:
        weight = layer.weight.detach().double()
        bias = None if layer.bias is None else layer.bias.detach().double()
        if weight.shape[1] != self.values.middle.shape[1]:
            width = self.values.middle.shape[1]
            raise ShapeError(name, f"{weight.shape[1]} inputs", f"{width}, what comes before", "check the widths")
        require_finite(f"{name}.weight", weight, "repair it")
        if bias is not None:
            require_finite(f"{name}.bias", bias, "repair it")
        self.values, self.jacobian = self.values.map(weight, bias), self.jacobian.map(weight)
        self._stretch(matrix_norm_upper_bound(weight, self.norm))

    def _batch_norm(self, name: str, layer: torch.nn.BatchNorm1d) -> None:
        if layer.training or layer.running_var is None or layer.running_mean is None:
            raise InputError(
                name, "BatchNorm1d that normalizes by the batch", "one map for all samples", "call network.eval() first"
            )
        mean, one = layer.running_mean.double(), torch.ones_like(layer.running_var, dtype=torch.float64)
        weight = one if layer.weight is None else layer.weight.detach().double()
        bias = 0 * one if layer.bias is None else layer.bias.detach().double()
        scale = weight / torch.sqrt(layer.running_var.double() + layer.eps)
        factor = Ball(scale, 8 * _U * scale.abs() + _TINY)  # an addition, a root and a division
        shift = Ball(mean, torch.zeros_like(mean)).times(factor)
        scaled = self.values.times(factor)
        middle = scaled.middle - shift.middle + bias
        size = scaled.middle.abs() + shift.middle.abs() + bias.abs()
        self.values = Ball(middle, (scaled.radius + shift.radius + 4 * _U * size) * (1 + 8 * _U))
        self._scale(factor)

    def _activation(self, activation: Activation) -> None:
        self.exact &= activation.exact
        low, high = self.values.ends()
        unit = 4 * _U if activation.exact else SLACK
        least, most = on(activation.value, activation.extrema, low, high)
        slack = (
            unit * (1 + torch.maximum(low.abs(), high.abs()))
            if not activation.exact
            else unit * least.abs().maximum(most.abs())
        )
        self.values = Ball.between(least - slack, most + slack)
        flattest, steepest = on(activation.slope, activation.slope_extrema, low, high)
        loose = 0.0 if activation.exact else SLACK
        self._scale(Ball.between(flattest - loose, steepest + loose))

    def _scale(self, factor: Ball) -> None:
        """Multiply the rows of the Jacobian."""
        rows = Ball(factor.middle.unsqueeze(-2), factor.radius.unsqueeze(-2))
        self.jacobian = self.jacobian.times(rows)
        self._stretch(factor.magnitude().amax(-1))

    def _stretch(self, factor: float | Tensor) -> None:
        """Multiply the product of norms, from above below the normal range as well."""
        upper = self.product * factor * (1 + 2 * _U)
        self.product = torch.where((self.product > 0) & (torch.as_tensor(factor) > 0), upper + _TINY, upper)

    def bound(self) -> Tensor:
        """The least of the bounds of the header.

        Returns:
            Shape `(batch,)`.
        """
        middle, radius = self.jacobian.middle.mT, self.jacobian.radius.mT
        sizes = self.jacobian.magnitude().mT
        known = torch.isfinite(sizes).all(-1).all(-1)
        middle, radius, sizes = (torch.where(known[:, None, None], t, 0.0) for t in (middle, radius, sizes))
        bounds = [matrix_norm_upper_bound(sizes, self.norm)]
        if isinstance(self.norm, Euclidean):
            parts = [matrix_norm_upper_bound(t, self.norm) for t in (middle, radius)]
            bounds.append((parts[0] + parts[1]) * (1 + 2 * _U))
            sums = [matrix_norm_upper_bound(sizes, norm).sqrt() for norm in (Sum(), Sup())]
            bounds.append(sums[0] * sums[1] * (1 + 8 * _U))  # roots first: the product of the sums may underflow
        best = torch.where(known, torch.stack(bounds).amin(0), torch.inf)
        product = torch.where(self.product.isnan(), torch.inf, self.product)
        return torch.minimum(best, product)
