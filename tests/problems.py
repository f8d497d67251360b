"""Fixed-point problems with known equilibria, for tests of anything that solves, differentiates or measures.

Every operator acts on each sample alone to the last bit (elementwise products and sums, no BLAS), declares a `mu` that is
true for the floating-point numbers it holds, and declares its rounding. Equilibria are those of the stored numbers in exact
arithmetic: a float64 solution plus one Newton correction whose residual is evaluated with 200 bits, so `y_star + y_star_rest`
is right to about 30 digits and the error of a float64 state can be measured to its last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import mpmath
import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, Side
from eqtheory.constructions import Reciprocal
from eqtheory.norms import BlockSum, Euclidean, Norm, Sup
from eqtheory.operators import ImplicitOperator, Regularity
from eqtheory.roundoff import Rounding

__all__ = ["PROBLEMS", "SHARP", "Layer", "Problem", "problem"]

_DIGITS = 60
Scalars = list[Any]


@dataclass(frozen=True)
class Problem:
    """One problem.

    Args:
        name: key of `PROBLEMS`.
        operator: the operator, with regularity and rounding declared.
        x: inputs.
        y0: a start away from the solution.
        y_star: the equilibrium, rounded to float64.
        y_star_rest: what `y_star` leaves out, float64.
        mu: the contraction factor of each sample, float64.
    """

    name: str
    operator: ImplicitOperator
    x: Tensor
    y0: Tensor
    y_star: Tensor
    y_star_rest: Tensor
    mu: Tensor

    def error(self, y: Tensor) -> Tensor:
        """Distance of states to the equilibrium in the operator's norm, float64, shape `(batch,)`.

        Near the equilibrium the first difference is exact, so the error keeps all its digits.
        """
        return self.operator.norm((y.double() - self.y_star) - self.y_star_rest)


def _matvec(W: Tensor, v: Tensor) -> Tensor:
    return (W * v.unsqueeze(1)).sum(dim=-1)


_ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Any]]] = {
    "identity": (lambda y: y, lambda y: y),
    "tanh": (torch.tanh, mpmath.tanh),
    "relu": (torch.relu, lambda y: max(y, 0)),
}


class Layer(ImplicitOperator):
    """`G(y, x) = W f(y) + x` with `f` the identity, tanh or ReLU (all 1-Lipschitz with `f(0) = 0`).

    Args:
        W: weights, shape `(n, n)`.
        mu: an upper bound on the operator norm of `W` in `norm`.
        activation: key of `_ACTIVATIONS`.
        norm: norm on states.
        absolute: an upper bound on the operator norm of `|W|` in `norm`.
    """

    def __init__(self, W: Tensor, mu: float, activation: str, norm: Norm, absolute: float) -> None:
        self.W, self.activation = W, activation
        self.function, self.exact_function = _ACTIVATIONS[activation]
        # A row sum of n products and one addition errs by gamma_{n+1} (|W| |f(y)| + |x|); tanh is good to a few units in the
        # last place, 8 u. The factor 1.1 covers 1 / (1 - (n + 9) u) in bfloat16 up to n = 8, and to spare in wider types.
        ulps = 1.1 * (W.shape[0] + (9 if activation == "tanh" else 1))
        rounding = Rounding(relative=ulps * absolute, constant=lambda x: ulps * norm(x.double()))

        def bound(value: float) -> Bound:
            return Bound(value, Side.UPPER, "norm of W", Evidence.DECLARED, norm.name)

        self.regularity = Regularity(bound(mu), bound(1.0), bound(0.0), norm, norm, rounding)

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        return _matvec(self.W, self.function(y)) + x

    def initial_state(self, x: Tensor) -> Tensor:
        """Zero."""
        return torch.zeros_like(x)

    def exact(self, y: Scalars, x: Scalars) -> Scalars:
        """The same map on one sample of high-precision numbers."""
        f = [self.exact_function(entry) for entry in y]
        rows = [[mpmath.mpf(w) for w in row] for row in self.W.double().tolist()]
        return [mpmath.fdot(row, f) + offset for row, offset in zip(rows, x, strict=True)]


def _newton_correction(exact: Callable[[Scalars, Scalars], Scalars], x: Tensor, y: Tensor, jacobian: Tensor) -> Tensor:
    """`(I - J)^{-1} (G(y) - y)` with the residual evaluated in high precision: the error left is its square."""
    with mpmath.workdps(_DIGITS):
        residuals = []
        for sample, at in zip(x.double().tolist(), y.tolist(), strict=True):
            inputs, state = [mpmath.mpf(v) for v in sample], [mpmath.mpf(v) for v in at]
            residuals.append([float(g - v) for g, v in zip(exact(state, inputs), state, strict=True)])
    identity = torch.eye(y.shape[1], dtype=torch.float64)
    return torch.linalg.solve(identity - jacobian, torch.tensor(residuals, dtype=torch.float64))


def _layer_problem(
    name: str, W: Tensor, y_star: Tensor, mu: float, activation: str, norm: Norm, absolute: float, dtype: torch.dtype
) -> Problem:
    operator = Layer(W, mu, activation, norm, absolute)
    W64, f = W.double(), operator.function
    x = (y_star - _matvec(W64, f(y_star))).to(dtype)  # manufactured, then rounded: the equilibrium moves a little
    slopes = {"identity": torch.ones_like, "tanh": lambda y: 1 - torch.tanh(y) ** 2, "relu": lambda y: (y > 0).double()}
    jacobian = W64 * slopes[activation](y_star).unsqueeze(1)
    for _ in range(3):  # Newton's method in float64 absorbs the rounding of x
        residual = _matvec(W64, f(y_star)) + x.double() - y_star
        y_star = y_star + torch.linalg.solve(torch.eye(W.shape[0], dtype=torch.float64) - jacobian, residual)
    rest = _newton_correction(operator.exact, x, y_star, jacobian)
    factors = torch.full((x.shape[0],), mu, dtype=torch.float64)
    return Problem(name, operator, x, torch.zeros_like(x), y_star, rest, factors)


def _targets(batch: int, n: int) -> Tensor:
    """Equilibria of sizes 0.1 to 30, fixed; no entry is near a kink of ReLU at 0."""
    g = torch.Generator().manual_seed(20)
    size = torch.logspace(-1, 1.5, batch, dtype=torch.float64).unsqueeze(1)
    draws = torch.rand(batch, n, generator=g, dtype=torch.float64) + 0.25
    signs = torch.where(torch.rand(batch, n, generator=g, dtype=torch.float64) < 0.4, -1.0, 1.0)
    return size * draws * signs


def _signed_permutation(n: int) -> Tensor:
    """An exact isometry of every l_p norm without eigenvalue 1 when scaled; its powers return to the identity late."""
    P = torch.roll(torch.eye(n, dtype=torch.float64), 1, dims=0)
    P[0] = -P[0]
    return P


def _linear(mu: float) -> Callable[[torch.dtype], Problem]:
    def make(dtype: torch.dtype) -> Problem:
        W = (mu * _signed_permutation(5)).to(dtype)
        stored = float(W.double().abs().max())  # mu as the dtype holds it
        return _layer_problem(f"linear {mu}", W, _targets(4, 5), stored, "identity", Euclidean(), stored, dtype)

    return make


def _multiple(dtype: torch.dtype) -> Problem:
    W = torch.tensor([[0.9]], dtype=torch.float64).to(dtype)
    mu = float(W)
    return _layer_problem("multiple", W, _targets(5, 1), mu, "identity", Euclidean(), mu, dtype)


def _rotation(dtype: torch.dtype) -> Problem:
    angle = torch.tensor(2.0, dtype=torch.float64)
    c, s = 0.9 * angle.cos(), 0.9 * angle.sin()
    W = torch.stack([torch.stack([c, -s]), torch.stack([s, c])]).to(dtype)
    mu = float(torch.hypot(W[0, 0].double(), W[1, 0].double())) * (1 + 1e-15)
    return _layer_problem("rotation", W, _targets(3, 2), mu, "identity", Euclidean(), 1.4 * mu, dtype)


def _shift(dtype: torch.dtype) -> Problem:
    """Spectral radius 0 and norm 0.99: as far from normal as a contraction in l2 can be."""
    W = (0.99 * torch.diag(torch.ones(7, dtype=torch.float64), 1)).to(dtype)
    mu = float(W.double().abs().max())
    return _layer_problem("shift", W, _targets(3, 8), mu, "identity", Sup(), mu, dtype)


def _jordan(dtype: torch.dtype) -> Problem:
    """Spectral radius 0.5 and l2 norm 100: a contraction only in a weighted norm, with factor 0.6."""
    W = torch.tensor([[0.5, 100.0], [0.0, 0.5]], dtype=dtype)
    norm = BlockSum((1, 1), (1.0, 1000.0), Euclidean())
    return _layer_problem("jordan", W, _targets(3, 2), 0.6, "identity", norm, 0.6, dtype)


def _network(activation: str, mu: float) -> Callable[[torch.dtype], Problem]:
    def make(dtype: torch.dtype) -> Problem:
        g = torch.Generator().manual_seed(3)
        W = torch.randn(6, 6, generator=g, dtype=torch.float64)
        W = (mu * W / torch.linalg.matrix_norm(W, ord=2)).to(dtype)
        stored = float(torch.linalg.matrix_norm(W.double(), ord=2)) * (1 + 1e-14)  # a decomposition errs by a few n u
        absolute = float(torch.linalg.matrix_norm(W.double()))
        return _layer_problem(activation, W, _targets(4, 6), stored, activation, Euclidean(), absolute, dtype)

    return make


def _reciprocal(dtype: torch.dtype) -> Problem:
    operator = Reciprocal(0.5)
    x = torch.tensor([1.0, 0.5, 0.1, 0.02], dtype=torch.float64).to(dtype)
    y_star = 1 / x.double()
    with mpmath.workdps(_DIGITS):
        pairs = zip(x.double().tolist(), y_star.tolist(), strict=True)
        rest = [float(1 / mpmath.mpf(entry) - mpmath.mpf(star)) for entry, star in pairs]
    mu = 1 - 0.5 * x.double()
    return Problem("reciprocal", operator, x, torch.zeros_like(x), y_star, torch.tensor(rest, dtype=torch.float64), mu)


PROBLEMS: dict[str, Callable[[torch.dtype], Problem]] = {
    "linear 0.5": _linear(0.5),
    "linear 0.9": _linear(0.9),
    "linear 0.99": _linear(0.99),
    "linear 0.999": _linear(0.999),
    "multiple": _multiple,
    "rotation": _rotation,
    "shift": _shift,
    "jordan": _jordan,
    "tanh": _network("tanh", 0.9),
    "relu": _network("relu", 0.95),
    "reciprocal": _reciprocal,
}
"""Makers by name; ask `problem` instead, which remembers what was made."""

SHARP = ("multiple", "reciprocal")
"""Problems on which T1's residual bound is an equality at every state, up to rounding."""


@cache
def problem(name: str, dtype: torch.dtype) -> Problem:
    """Return a problem.

    Args:
        name: key of `PROBLEMS`.
        dtype: of the numbers the operator and its inputs hold.

    Returns:
        The problem; always the same object, so do not change its tensors.
    """
    return PROBLEMS[name](dtype)
