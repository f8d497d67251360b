"""The gradients that the checks of T9 and T9a attack, chosen here and nowhere else, and what is compared with the truth.

Plain gradients, written as the statements read, always take part, so that a library that agreed with itself only would be seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

import eqtheory as eq
from eqtheory.gradients import AdjointWarning, OnAdjointFailure
from eqtheory.roundoff import tolerance
from eqtheory.solvers import OnFailure
from eqtheory.testing.zoo.adjoints import PLAIN, AdjointClaim, Gradient, Inputs, Operator
from eqtheory.theorems.implicit_gradient import jacobian_bound, residual_bound
from proofs_check.instances import generator
from proofs_check.layers import NORMS, PROBE, Layers, X, draw_layers, layer

__all__ = ["METHODS", "Compared", "compared", "draw", "of_a_loose_backward_pass", "of_gradient", "under_attack"]

Compared = tuple[str, str, dict[str, Any], Tensor]
"""Inequality, what it is about, the quantities it relates, and the slack."""

METHODS = ("neumann_truncation", "phantom_truncation", "residual_bound")
"""The inequalities of T9 that gradients are held to; those sold as exact to a residual of zero."""


def _of_library(gradient: eq.gradients.Gradient) -> Gradient:
    """The derivative that a rule of the library attaches to a state, without a step of a solver in between."""

    def derivative(G: Operator, inputs: Inputs, y: Tensor, v: Tensor, wrt: int) -> Tensor:
        leaf = inputs[wrt].detach().requires_grad_()
        found = eq.fixed_point(
            G,
            (*inputs[:wrt], leaf, *inputs[wrt + 1 :]),
            y,
            stop=eq.Stop(max_steps=0),
            on_failure=OnFailure.RETURN,
            gradient=gradient,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdjointWarning)
            return torch.autograd.grad(found.value, leaf, v)[0]

    return derivative


# A factor that is known in any norm is enough; without one the sum is given up where its next term is no smaller than the loss gradient.
_TOLD = OnAdjointFailure.WARN
# Solved means |r| <= rtol |w + r|, hence |r| <= rtol / (1 - rtol) |w|.
_SOLVED = eq.Stop(rtol=1e-10, max_steps=10_000)
LIBRARY = (
    AdjointClaim("Neumann", "neumann_truncation", lambda K, _: _of_library(eq.Neumann(K, _TOLD))),
    AdjointClaim("Phantom", "phantom_truncation", lambda K, a: _of_library(eq.Phantom(K, a))),
    AdjointClaim(
        "Implicit",
        "residual_bound",
        lambda *_: _of_library(eq.Implicit(stop=_SOLVED)),
        tolerance=_SOLVED.rtol / (1 - _SOLVED.rtol),
    ),
    AdjointClaim("OneStep", "deviation", lambda *_: _of_library(eq.OneStep())),
)
"""What the library offers, through its public entry point."""


def under_attack(about: str) -> Iterator[AdjointClaim]:
    """All gradients that claim an inequality, plain and of the library.

    Args:
        about: name of the inequality.

    Yields:
        The claims.
    """
    yield from (claim for claim in (*PLAIN, *LIBRARY) if claim.about == about)


def _promised(G: Layers, claim: AdjointClaim) -> float:
    """Residual of an adjoint over its own norm; changing from the Euclidean to the dual norm costs a root of `n` at most."""
    return claim.tolerance * G.dimension**0.5


def of_gradient(G: Layers, v: Tensor, steps: int, relaxation: float, claim: AdjointClaim) -> Compared:
    """What one gradient claims of its adjoint, which the gradient of the probe shows."""
    dual = G.pair.dual
    found = claim.gradient(steps, relaxation)(layer, G.inputs, G.solution, v, PROBE)
    size = dual(v)
    quantities: dict[str, Any] = {"error": dual.distance(found, G.adjoint(v)), "mu": G.mu}
    own: dict[str, dict[str, Any]] = {
        "neumann_truncation": {"cotangent_norm": size, "terms": steps},
        "phantom_truncation": {"cotangent_norm": size, "steps": steps, "relaxation": relaxation},
        "residual_bound": {"residual": _promised(G, claim) * dual(found)},
    }
    return claim.about, claim.name, quantities | own[claim.about], G.slack(size)


def _of_any_adjoint(G: Layers, v: Tensor, guess: Tensor) -> Compared:
    """The residual of an adjoint that nobody computed."""
    dual = G.pair.dual
    J, _ = G.derivatives(G.solution)
    residual = dual(v + (J * guess.unsqueeze(2)).sum(dim=1) - guess)
    quantities = {"error": dual.distance(guess, G.adjoint(v)), "mu": G.mu, "residual": residual}
    # The residual itself is rounded, and both sides divide it by 1 - mu.
    return "residual_bound", "any adjoint", quantities, G.slack(dual(v) + dual(guess))


def _of_derivatives(G: Layers, v: Tensor, elsewhere: Tensor) -> Iterator[Compared]:
    """Sizes of derivatives, and the formula at another state, as matrices and as gradients that were computed there."""
    of, dual = G.pair.of, G.pair.dual
    true, computed = G.derivative(G.solution), G.derivative(elsewhere)
    inputs = of(G.derivatives(G.solution)[1])
    # B = J C + E is rounded at the size of its terms. It is solved for column by column; n columns make an operator norm.
    slack = G.slack(2 * G.dimension * (of(G.inputs[3]) + of(G.inputs[4])))
    yield "jacobian_bound", "derivative", {"derivative_norm": of(true), "input_norm": inputs, "mu": G.mu}, slack
    known: dict[str, Any] = {"mu": G.mu, "alpha": G.alpha, "beta": G.beta}
    known["state_error"] = G.pair.norm.distance(elsewhere, G.solution)
    gradients = [("", of(computed - true), slack)]
    for claim in under_attack("residual_bound"):
        gradient = claim.gradient(1, 1.0)(layer, G.inputs, elsewhere, v, X)
        error = dual.distance(gradient, (true * v.unsqueeze(2)).sum(dim=1)) / dual(v)
        # An adjoint w with a residual of t |w| moves the gradient by |D| t |w|, and |w| <= |v| / (1 - mu - t).
        promised = _promised(G, claim)
        gradients.append((f"{claim.name}, ", error, slack + of(computed) * promised / (1 - G.mu - promised)))
    for name, size in (("true", of(true)), ("computed", of(computed))):
        for method, error, room in gradients:
            quantities = {"error": error, "derivative_norm": size, **known}
            yield "certificate", f"{method}{name} derivative known", quantities, room


def compared(
    G: Layers, v: Tensor, guess: Tensor, elsewhere: Tensor, steps: int, relaxation: float
) -> Iterator[Compared]:
    """Everything T9 says about a batch of layers.

    Args:
        G: the layers.
        v: loss gradients.
        guess: any adjoints.
        elsewhere: any states.
        steps: terms of the series, steps of the phantom gradient.
        relaxation: of the phantom gradient.

    Yields:
        The comparisons.
    """
    for about in METHODS:
        for claim in under_attack(about):
            yield of_gradient(G, v, steps, relaxation, claim)
    yield _of_any_adjoint(G, v, guess)
    yield from _of_derivatives(G, v, elsewhere)
    yield _of_a_backward_pass(G, v, guess, elsewhere)


def _of_a_backward_pass(G: Layers, v: Tensor, guess: Tensor, elsewhere: Tensor) -> Compared:
    """The gradient that any adjoint gives at any state, against the true one."""
    dual, true = G.pair.dual, G.derivative(G.solution)
    J, B = G.derivatives(elsewhere)
    gradient, exact = ((A * q.unsqueeze(2)).sum(dim=1) for A, q in ((B, guess), (true, v)))
    quantities = {
        "error": dual.distance(gradient, exact),
        "alpha": G.alpha,
        "beta": G.beta,
        "derivative_norm": G.pair.of(true),
        "adjoint_norm": dual(guess),
        "adjoint_residual": dual(v + (J * guess.unsqueeze(2)).sum(dim=1) - guess),
        "state_error": G.pair.norm.distance(elsewhere, G.solution),
    }
    size = G.dimension * (G.pair.of(G.inputs[3]) + G.pair.of(G.inputs[4])) * (dual(v) + dual(guess))
    return "gradient_certificate", "any adjoint at any state", quantities, G.slack(size)


def of_a_loose_backward_pass(G: Layers, v: Tensor) -> Compared:
    """The gradient after a few steps towards both solutions, certified by what was computed and the constants alone."""
    dual, room = G.pair.dual, 1 - G.mu
    x, probe = (part.detach().requires_grad_() for part in G.inputs[:2])
    loose = eq.Implicit(stop=eq.Stop(rtol=1e-2))
    found = eq.fixed_point(
        layer,
        (x, probe, *G.inputs[2:]),
        torch.zeros_like(G.solution),
        stop=eq.Stop(rtol=1e-3, max_steps=20),
        on_failure=OnFailure.RETURN,
        gradient=loose,
    )
    gradient, w = torch.autograd.grad(found.value, (x, probe), v)
    y = found.value.detach()
    J, B = G.derivatives(y)
    away = residual_bound.sides(error=0, mu=G.mu, residual=G.pair.norm.distance(layer(y, G.inputs), y))[1]
    known = {
        "error": dual.distance(gradient, (G.derivative(G.solution) * v.unsqueeze(2)).sum(dim=1)),
        "alpha": G.alpha,
        "beta": G.beta,
        "derivative_norm": jacobian_bound.sides(derivative_norm=0, input_norm=G.pair.of(B) + G.beta * away, mu=G.mu)[1],
        "adjoint_norm": dual(w),
        "adjoint_residual": dual(v + (J * w.unsqueeze(2)).sum(dim=1) - w),
        "state_error": away,
    }
    size = G.dimension * (G.pair.of(G.inputs[3]) + G.pair.of(G.inputs[4])) * (dual(v) + dual(w))
    # The distance is known up to n + 8 roundings of three sizes over 1 - mu, which enters by alpha and beta as the distance does.
    rounded = 4 * tolerance(G.size, G.dimension + 8, 1 / room) * (G.alpha * known["derivative_norm"] + G.beta) * dual(w)
    return "gradient_certificate", "computed quantities alone", known, G.slack(size) + rounded


def draw(
    seed: int, dimension: int, nearness: float, exponent: int, of_v: int, norm: str, batch: int
) -> tuple[Layers, Tensor, Tensor, Tensor]:
    """Layers, a loss gradient, some adjoint and some state; the last two at distances of all sizes from the true ones."""
    g = generator(seed)
    G = draw_layers(batch=batch, dimension=dimension, nearness=nearness, scale=10.0**exponent, g=g, pair=NORMS[norm])
    noise = torch.randn(3, batch, dimension, generator=g, dtype=torch.float64)
    sizes = 10.0 ** (-6 * torch.rand(2, batch, 1, generator=g, dtype=torch.float64) + 1)
    v = 10.0**of_v * noise[0]
    return G, v, G.adjoint(v) + 10.0**of_v * sizes[0] * noise[1], G.solution + sizes[1] * noise[2]
