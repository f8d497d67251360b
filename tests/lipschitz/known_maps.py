"""Maps whose Lipschitz constants are known in closed form, each with what bounds it from above.

Every map is given with points of which at least one is a place where it is steepest, so that a lower bound can be asked to come within one
percent of the truth there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import mpmath
import sympy
import torch
from torch import Tensor, nn

from eqtheory.lipschitz import (
    convolution_norm,
    formula_lipschitz,
    fourier_multiplier_norm,
    graph_operator_norm,
    operator_norm,
    product_of_norms,
    propagated_lipschitz,
    traced_lipschitz,
)

Upper = Callable[[], float]


@dataclass(frozen=True)
class Known:
    """One map.

    Args:
        function: the map, shape `(batch, ...)` to `(batch, ...)`, float64.
        points: where it is looked at, shape `(batch, ...)`; it is steepest at one of them.
        truth: its Lipschitz constant in l2, over the box of `low` and `high`.
        low: lower corner of the box; `None` for the whole space.
        high: upper corner.
        uppers: upper bounds by name.
    """

    function: Callable[[Tensor], Tensor]
    points: Tensor
    truth: float
    low: float | None = None
    high: float | None = None
    uppers: dict[str, Upper] = field(default_factory=dict)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def largest(A: Tensor) -> float:
    return float(torch.linalg.matrix_norm(A, ord=2).max())


def traced(function: Callable[[Tensor], Tensor], points: Tensor) -> Upper:
    return lambda: float(traced_lipschitz(function, (points[:1],))[0].value)


def _matrix(name: str, A: Tensor) -> dict[str, Known]:
    points = torch.zeros(1, A.shape[1], dtype=torch.float64)

    def f(x: Tensor) -> Tensor:
        return x @ A.T

    layer = nn.Sequential(nn.Linear(A.shape[1], A.shape[0], bias=False, dtype=torch.float64))
    layer[0].weight.data.copy_(A)
    uppers: dict[str, Upper] = {
        "matrix": lambda: float(operator_norm(A).upper.value),
        "product": lambda: float(product_of_norms(layer, (A.shape[1],)).value),
        "traced": traced(f, points),
        "propagated": lambda: float(propagated_lipschitz(layer, points - 1, points + 1).value),
    }
    return {name: Known(f, points, largest(A), uppers=uppers)}


def _behind(name: str, activation: nn.Module, slope: float, at: float) -> dict[str, Known]:
    """`f(A x)`, steepest where all entries of `A x` are `at`."""
    A = draw(11, 6, 6)
    point = torch.linalg.solve(A, torch.full((6,), at, dtype=torch.float64)).unsqueeze(0)
    network = nn.Sequential(nn.Linear(6, 6, bias=False, dtype=torch.float64), activation).eval()
    network[0].weight.data.copy_(A)
    uppers: dict[str, Upper] = {
        "product": lambda: float(product_of_norms(network, (6,)).value),
        "traced": traced(network, point),
        "propagated": lambda: float(propagated_lipschitz(network, point - 1, point + 1).value),
    }
    return {f"{name} layer": Known(network, torch.cat([point, draw(12, 4, 6)]), slope * largest(A), uppers=uppers)}


def _convolution(mode: str, stride: int = 1) -> dict[str, Known]:
    kernel = draw(21, 3, 2, 3, 3)
    layer = nn.Conv2d(2, 3, 3, padding=1, stride=stride, padding_mode=mode, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(kernel)
    basis = torch.eye(2 * 8 * 8, dtype=torch.float64).reshape(-1, 2, 8, 8)
    with torch.no_grad():
        truth = largest(layer(basis).flatten(1).T)
    points = torch.zeros(1, 2, 8, 8, dtype=torch.float64)
    uppers: dict[str, Upper] = {
        "convolution": lambda: float(
            convolution_norm(kernel, (8, 8), padding=1, padding_mode=mode, stride=stride).upper.value
        ),
        "product": lambda: float(product_of_norms(nn.Sequential(layer), (2, 8, 8)).value),
        "traced": traced(layer, points),
    }
    return {f"convolution, {mode}, stride {stride}": Known(layer, points, truth, uppers=uppers)}


def _fourier() -> dict[str, Known]:
    multiplier = torch.complex(draw(31, 2, 2, 6, 4), draw(32, 2, 2, 6, 4))

    def f(x: Tensor) -> Tensor:
        return torch.fft.irfftn(
            torch.einsum("oixy,bixy->boxy", multiplier, torch.fft.rfftn(x, dim=(2, 3))), s=(6, 6), dim=(2, 3)
        )

    basis = torch.eye(72, dtype=torch.float64).reshape(-1, 2, 6, 6)
    points = torch.zeros(1, 2, 6, 6, dtype=torch.float64)
    uppers: dict[str, Upper] = {
        "Fourier": lambda: float(fourier_multiplier_norm(multiplier, (6, 6)).upper.value),
        "traced": traced(f, points),
    }
    return {"Fourier layer": Known(f, points, largest(f(basis).flatten(1).T), uppers=uppers)}


def _graph(kind: str) -> dict[str, Known]:
    A = (draw(41, 7, 7) > 0.3).double()
    A = ((A + A.T) > 0).double() if kind != "directed" else A
    W0, W1 = draw(42, 3, 3), draw(43, 3, 3)
    weights = [None, W1] if kind == "directed" else [W0, W1]

    def f(x: Tensor) -> Tensor:
        moved = torch.einsum("uv,bvk,kl->bul", A, x, W1)
        return moved if kind == "directed" else moved + x @ W0

    basis = torch.eye(21, dtype=torch.float64).reshape(-1, 7, 3)
    points = torch.zeros(1, 7, 3, dtype=torch.float64)
    uppers: dict[str, Upper] = {
        "graph": lambda: float(graph_operator_norm(A, weights).upper.value),
        "traced": traced(f, points),
    }
    return {f"graph, {kind}": Known(f, points, largest(f(basis).flatten(1).T), uppers=uppers)}


def _formula(name: str, expression: str, box: tuple[float, float], steepest: float, truth: float) -> dict[str, Known]:
    x = sympy.Symbol("x", real=True)
    formula = sympy.sympify(expression, locals={"x": x})
    function = sympy.lambdify(
        x, formula, modules=[{"Abs": torch.abs, "Max": lambda *v: torch.maximum(*map(torch.as_tensor, v))}, torch]
    )
    points = torch.tensor([[steepest], [box[0] + 0.31 * (box[1] - box[0])]], dtype=torch.float64)
    low, high = sympy.Rational(str(box[0])), sympy.Rational(str(box[1]))
    uppers: dict[str, Upper] = {"formula": lambda: float(formula_lipschitz([formula], {x: (low, high)}).upper.value)}
    return {f"formula {name}": Known(function, points, truth, box[0], box[1], uppers)}


def _steps() -> dict[str, Known]:
    A = draw(51, 5, 4)
    A = A / largest(A)
    points = torch.zeros(1, 4, dtype=torch.float64)

    def gradient(y: Tensor) -> Tensor:
        return y - (y @ A.T - 1.0) @ A

    def relaxed(y: Tensor) -> Tensor:
        return 0.3 * y + 0.7 * torch.tanh(0.9 * y)

    singular = torch.linalg.svdvals(A)
    return {
        "gradient step": Known(
            gradient, points, float((1 - singular**2).abs().max()), uppers={"traced": traced(gradient, points)}
        ),
        "relaxed operator": Known(relaxed, points, 0.93, uppers={"traced": traced(relaxed, points)}),
    }


# GELU'' = phi (2 - x^2) and SiLU'' = 0 where 2 = x tanh(x / 2); sin u + u cos u is extreme where 2 cos u = u sin u, last before 10 here.
_GELU = float(mpmath.ncdf(mpmath.sqrt(2)) + mpmath.sqrt(2) * mpmath.npdf(mpmath.sqrt(2)))
_SILU_AT = float(mpmath.findroot(lambda x: x * mpmath.tanh(x / 2) - 2, 2.4))
_SILU = float(1 / (1 + mpmath.exp(-_SILU_AT))) * (1 + _SILU_AT * float(1 / (1 + mpmath.exp(_SILU_AT))))
_WAVE_AT = float(mpmath.findroot(lambda u: 2 * mpmath.cos(u) - u * mpmath.sin(u), 9.63))

KNOWN: dict[str, Known] = {
    **_matrix("square matrix", draw(1, 12, 12)),
    **_matrix("tall matrix", draw(2, 20, 5)),
    **_matrix("wide matrix", draw(3, 5, 20)),
    **_matrix("Jordan block", torch.tensor([[0.5, 100.0], [0.0, 0.5]], dtype=torch.float64)),
    **_matrix("orthogonal matrix", torch.linalg.qr(draw(4, 8, 8))[0]),
    **_matrix("rank one", draw(5, 9, 1) @ draw(6, 1, 9)),
    **_behind("tanh", nn.Tanh(), 1.0, 0.0),
    **_behind("ReLU", nn.ReLU(), 1.0, 1.0),
    **_behind("leaky ReLU", nn.LeakyReLU(0.2), 1.0, 1.0),
    **_behind("sigmoid", nn.Sigmoid(), 0.25, 0.0),
    **_behind("softplus", nn.Softplus(), 1.0, 30.0),
    **_behind("GELU", nn.GELU(), _GELU, math.sqrt(2)),
    **_behind("SiLU", nn.SiLU(), _SILU, _SILU_AT),
    **_behind("ELU", nn.ELU(), 1.0, 1.0),
    **_convolution("zeros"),
    **_convolution("circular"),
    **_convolution("reflect"),
    **_convolution("replicate"),
    **_convolution("zeros", stride=2),
    **_convolution("circular", stride=2),
    **_fourier(),
    **_graph("directed"),
    **_graph("symmetric, two weights"),
    **_steps(),
    **_formula("sin", "sin(3*x)", (-2.0, 2.0), 0.0, 3.0),
    **_formula("steep tanh", "tanh(100*x)", (-1.0, 1.0), 0.0, 100.0),
    **_formula("cubic", "x**3 - x", (-2.0, 2.0), 2.0, 11.0),
    **_formula("exp", "exp(-x)", (-1.0, 3.0), -1.0, math.e),
    **_formula(
        "wave", "x*sin(5*x)", (-2.0, 2.0), _WAVE_AT / 5, abs(math.sin(_WAVE_AT) + _WAVE_AT * math.cos(_WAVE_AT))
    ),
    **_formula("product", "x**2*exp(-x)", (-1.0, 2.0), -1.0, 3 * math.e),
    **_formula("arctan", "atan(7*x)/2", (-1.0, 1.0), 0.0, 3.5),
}
