"""Maps of one sample for the traced bounds, and the check that a bound is not below what sampled Jacobians show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from eqtheory.lipschitz import traced_lipschitz
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.roundoff import gamma

NORMS: list[tuple[Norm, float]] = [(Euclidean(), 2.0), (Sum(), 1.0), (Sup(), torch.inf)]
SHAPE = (1, 2, 4, 4)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def filled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights of the seed's, in evaluation mode; fresh modules draw from a global generator."""
    for k, parameter in enumerate(module.parameters()):
        parameter.data = draw(seed + k, *parameter.shape) / max(parameter.shape[-1], 1) ** 0.5
    return module.double().eval()


def samples(shape: tuple[int, ...], n: int = 6) -> list[Tensor]:
    scales = (0.0, 0.05, 0.3, 1.0, 2.0, 5.0)
    return [scales[k % len(scales)] * draw(100 + k, *shape) for k in range(n)]


def jacobian(function: Callable[..., Tensor], arguments: tuple[Tensor, ...], place: int) -> Tensor:
    found = torch.func.jacrev(function, argnums=place)(*arguments)
    return found.detach().reshape(-1, arguments[place].numel())


def excess(
    function: Callable[..., Tensor], points: list[tuple[Tensor, ...]], norms: list[tuple[Norm, float]], **options: Any
) -> float:
    """Largest sampled slope over the bound, in the worst argument and norm: above 1 the bound is refuted."""
    worst = 0.0
    seen = [[jacobian(function, p, place) for p in points] for place in range(len(points[0]))]
    for norm, order in norms:
        bounds = traced_lipschitz(function, points[0], norm=norm, **options)
        for matrices, bound in zip(seen, bounds, strict=True):
            slope = max(float(torch.linalg.matrix_norm(J, ord=order)) for J in matrices)
            if slope > 0:
                worst = max(worst, slope / bound.value if bound.value > 0 else torch.inf)
    return worst


def points_of(shapes: tuple[tuple[int, ...], ...]) -> list[tuple[Tensor, ...]]:
    return list(zip(*(samples(shape)[k:] + samples(shape)[:k] for k, shape in enumerate(shapes)), strict=True))


# A Jacobian of n entries a side has a norm that is right to about n^2 roundings times the steps of the program.
SLACK = gamma(64**2, torch.float64)

A = draw(1, 12, 8) / 4
W = draw(2, 8, 8) / 3
B8, MIX = draw(20, 8), draw(17, 16, 16) / 4
GRAPH = torch.rand(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
KERNEL = draw(4, 2, 2, 3, 3)
SPECTRUM = torch.complex(draw(5, 4, 3), draw(6, 4, 3))
COLUMN = torch.tensor([0, 1, 1, 3])
MASK = torch.eye(4, dtype=torch.bool)


def conv(mode: str) -> nn.Module:
    return filled(nn.Conv2d(2, 2, 3, padding=1, padding_mode=mode), 7)


RING = conv("circular")


class Layer(nn.Module):
    """An implicit layer: a residual step of a network in the state, with the input injected."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.inject = nn.Linear(8, 8), nn.Linear(8, 8, bias=False)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return 0.4 * y + 0.6 * torch.tanh(self.inner(y) + self.inject(x))


LAYER, NORMED = filled(Layer(), 9), filled(nn.BatchNorm2d(2), 11)
NORMED.running_var.copy_(torch.tensor([0.3, 2.0]))  # type: ignore[union-attr, operator]
MLP = filled(nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 8)), 13)
WEIGHTED = filled(nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), 15)


def circulated(y: Tensor) -> Tensor:
    return torch.fft.irfft2(torch.fft.rfft2(y) * SPECTRUM, s=(4, 4))


def mixer(y: Tensor) -> Tensor:
    tokens = y.flatten(2)  # (1, 2, 16)
    tokens = tokens + torch.tanh(tokens.mT @ W[:2, :2]).mT
    return (tokens + torch.sin(tokens @ MIX)).reshape(SHAPE)


def written(y: Tensor) -> Tensor:
    z = y.clone()
    z[:, 0] = 2 * z[:, 1]
    z.mul_(0.5)
    return z


def padded(mode: str) -> Callable[[Tensor], Tensor]:
    def map_(y: Tensor) -> Tensor:
        return F.conv2d(F.pad(y, (1, 1, 1, 1), mode=mode), KERNEL)

    return map_


# Affine: the bound is the norm of the Jacobian.
AFFINE: dict[str, tuple[Callable[..., Tensor], tuple[int, ...]]] = {
    "gradient descent": (lambda y: y - 0.3 * (y @ A - B8) @ A.T, (1, 12)),
    "averaged linear": (lambda y: 0.7 * y + 0.3 * (y @ W), (1, 8)),
    "linear module": (filled(nn.Linear(8, 5), 21), (1, 8)),
    "weight norm": (WEIGHTED, (1, 8)),
    "convolution, zeros": (conv("zeros"), SHAPE),
    "convolution, circular": (conv("circular"), SHAPE),
    "convolution, reflect": (conv("reflect"), SHAPE),
    "convolution, replicate": (padded("replicate"), SHAPE),
    "convolution, strided": (lambda y: F.conv2d(y, KERNEL, stride=2, dilation=1, padding=1), SHAPE),
    "convolution, dilated groups": (lambda y: F.conv2d(y, KERNEL[:, :1], dilation=2, padding=2, groups=2), SHAPE),
    "convolution, transposed": (lambda y: F.conv_transpose2d(y, KERNEL, stride=2, padding=1), SHAPE),
    "convolution, transposed groups": (lambda y: F.conv_transpose2d(y, KERNEL[:, :1], groups=2), SHAPE),
    "normalised by statistics": (NORMED, SHAPE),
    "spectral filter": (circulated, SHAPE),
    "complex transform": (lambda y: torch.fft.ifft(torch.fft.fft(y, dim=-1) * SPECTRUM[:, :1].T, dim=-1).real, SHAPE),
    "graph": (lambda y: GRAPH @ y, SHAPE),
    "einsum": (lambda y: torch.einsum("bcij,jk->bcik", y, GRAPH), SHAPE),
    "broadcast": (lambda y: y.sum(-1, keepdim=True).expand(SHAPE) - y.mean((2, 3), keepdim=True), SHAPE),
    "interpolation": (lambda y: F.interpolate(F.avg_pool2d(y, 2), scale_factor=2, mode="bilinear"), SHAPE),
    "nearest": (lambda y: F.interpolate(y, scale_factor=3), SHAPE),
    "selection": (lambda y: y[..., COLUMN].roll(1, -1).flip(2), SHAPE),
    "concatenation": (lambda y: torch.cat([y, 2 * y[:, :1], y.transpose(2, 3)], dim=1), SHAPE),
    "stacked parts": (lambda y: torch.stack(y.chunk(2, dim=1)[::-1], dim=0).cumsum(-1), SHAPE),
    "masked": (lambda y: torch.where(MASK, y, 0.5 * y.mT).masked_fill(~MASK.flip(0), 3.0), SHAPE),
    "written in place": (written, SHAPE),
    "detached": (lambda y: y + 2 * y.detach().clone().to(torch.float64), SHAPE),
    "patches": (lambda y: F.unfold(y, 3, padding=1), SHAPE),
    "pixels": (lambda y: F.pixel_shuffle(y.repeat(1, 2, 1, 1), 2).tril(), SHAPE),
    "interpolated": (lambda y: torch.lerp(y, y.flip(-1), 0.25) / 3 - y.neg(), SHAPE),
}

# An activation of an affine map, and a point where it is steepest in every norm.
STEEP: dict[str, tuple[Callable[..., Tensor], Tensor]] = {
    "tanh": (lambda y: torch.tanh(y @ W), torch.zeros(1, 8, dtype=torch.float64)),
    "sigmoid": (lambda y: torch.sigmoid(y @ W), torch.zeros(1, 8, dtype=torch.float64)),
    "erf": (lambda y: torch.erf(y @ W), torch.zeros(1, 8, dtype=torch.float64)),
    "sin after residual": (lambda y: torch.sin(y - 0.5 * y @ W), torch.zeros(1, 8, dtype=torch.float64)),
    "relu": (lambda y: F.relu(y @ W + 1), torch.zeros(1, 8, dtype=torch.float64)),
    "leaky relu": (lambda y: F.leaky_relu(y @ W + 1), torch.zeros(1, 8, dtype=torch.float64)),
    "clamp": (lambda y: (y @ W).clamp(-1, 1), torch.zeros(1, 8, dtype=torch.float64)),
    "gelu": (lambda y: F.gelu(y @ W + 2**0.5), torch.zeros(1, 8, dtype=torch.float64)),
    "gelu, tanh": (lambda y: F.gelu(y @ W + 1.4185040088, approximate="tanh"), torch.zeros(1, 8, dtype=torch.float64)),
    "silu": (lambda y: F.silu(y @ W + 2.3993572805), torch.zeros(1, 8, dtype=torch.float64)),
    "mish": (lambda y: F.mish(y @ W + 1.4905710795), torch.zeros(1, 8, dtype=torch.float64)),
    "hardswish": (lambda y: F.hardswish(y @ W + 3 - 1e-9), torch.zeros(1, 8, dtype=torch.float64)),
    "softmax of two": (lambda y: torch.softmax(y, -1), torch.zeros(1, 2, dtype=torch.float64)),
    "side by side": (
        lambda y: torch.cat([torch.tanh(y), torch.sin(2 * y)], -1),
        torch.zeros(1, 8, dtype=torch.float64),
    ),
    "residual": (lambda y: 0.6 * y + 0.4 * torch.tanh(y), torch.zeros(1, 8, dtype=torch.float64)),
    "layer norm": (
        lambda y: F.layer_norm(y, (8,), eps=0.5) if y.ndim else y,
        torch.zeros(1, 8, dtype=torch.float64),
    ),
}

# Everything else: never below what is seen.
OTHERS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "implicit layer": (LAYER, ((1, 8), (1, 8))),
    "perceptron": (MLP, ((1, 8),)),
    "mixer": (mixer, (SHAPE,)),
    "gated": (lambda y, x: torch.sigmoid(y @ W) * torch.tanh(x @ W), ((1, 8), (1, 8))),
    "gates of one": (lambda y: torch.tanh(y) * torch.sigmoid(y.flip(-1)) * torch.cos(y), ((1, 8),)),
    "softmax": (lambda y: torch.softmax(3 * y @ W, -1) @ W, ((1, 8),)),
    "log softmax": (lambda y: torch.log_softmax(3 * y, -1), ((1, 8),)),
    "log sum exp": (lambda y: torch.logsumexp(y.reshape(1, 2, 4), -1), ((1, 8),)),
    "normalised": (lambda y: F.layer_norm(y, (4, 4), W[:4, :4], W[4:, 4:], eps=0.1), (SHAPE,)),
    "group norm": (lambda y: F.group_norm(y, 2, W[0, :2], W[1, :2], eps=0.1), (SHAPE,)),
    "maxima": (lambda y: torch.maximum(y, y.flip(-1) @ GRAPH) + y.amax(-1, keepdim=True), (SHAPE,)),
    "minimum with a constant": (lambda y, x: torch.minimum(y.mT, 0.3 * x) + torch.minimum(y, GRAPH), (SHAPE, SHAPE)),
    "pooled": (lambda y: F.max_pool2d(y, 3, stride=1), (SHAPE,)),
    "sorted": (lambda y: y.sort(-1).values @ GRAPH, (SHAPE,)),
    "lengths": (lambda y: torch.linalg.vector_norm(y + 0.1, dim=-1) + torch.fft.rfft(y).abs().amax(-1), (SHAPE,)),
    "softplus and friends": (lambda y: F.softplus(y) + F.elu(y, 2.0) - F.logsigmoid(y) + F.selu(y), ((1, 8),)),
    "hard functions": (lambda y: F.hardsigmoid(y) - F.relu6(2 * y) + F.celu(y, 0.5) + torch.asinh(y), ((1, 8),)),
    "prelu and abs": (lambda y: F.prelu(y, W[0, :2]) + y.abs() + torch.atan(y) + F.softshrink(y), (SHAPE,)),
    "residual convolution": (lambda y: y + 0.3 * RING(torch.tanh(y)), (SHAPE,)),
    "neural operator": (lambda y: F.gelu(circulated(y) + 0.5 * y), (SHAPE,)),
    "averaged": (lambda y, x: 0.5 * y + 0.5 * F.relu(y @ W + x), ((1, 8), (1, 8))),
    "input by a product": (lambda y, x: torch.tanh(y) * (1 + torch.sin(x)) + x, ((1, 8), (1, 8))),
    "upsampled gate": (
        lambda y: F.interpolate(torch.sigmoid(F.avg_pool2d(y, 2)), scale_factor=2) * y.clamp(-2, 2),
        (SHAPE,),
    ),
    "attention of bounded keys": (
        lambda y: torch.softmax(torch.tanh(y) @ torch.tanh(y).mT, -1) @ torch.sin(y),
        (SHAPE,),
    ),
    "divided": (lambda y: torch.tanh(y) / (1.5 + torch.sin(y.flip(-1))) + torch.sqrt(1 + torch.sigmoid(y)), ((1, 8),)),
    "powers inside": (lambda y: torch.tanh(y) ** 3 + torch.exp(torch.sin(y)) + (2 + torch.cos(y)).log(), ((1, 8),)),
    "roots inside": (lambda y: (2 + torch.cos(y)).rsqrt() * torch.reciprocal(2 + torch.sin(y)), ((1, 8),)),
}

# Limits of affine values are not known beyond the size of matrices that are formed, and these multiply such values.
NEED_LIMITS = {
    "input by a product",
    "upsampled gate",
    "attention of bounded keys",
    "divided",
    "powers inside",
    "roots inside",
    "gates of one",
}
