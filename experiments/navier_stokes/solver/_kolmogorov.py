r"""Kolmogorov's flow: laminar solution, critical Reynolds number, and the steady states that branch off.

On `[0, 2 pi / a] x [0, 2 pi]` with viscosity `1/R` and force `(sin y, 0) / R` the laminar flow is `u = (sin y, 0)`, `w = -cos y`,
for every `R`. It is unstable only if `a < 1` (Meshalkin and Sinai 1961): a real eigenvalue crosses zero at the critical `R`, and steady
states branch off.

**Translations.** The force does not change under shifts in x, so the other states come in circles, and `F'(w) d_x w = 0`: Newton's
matrix is singular along them. With the unit vector `t` along `d_x w` the matrix `F'(w) + s t t^T`, `s` of the size of the viscosity, is
regular, and the step it gives leaves the component along the circle alone: the iteration converges quadratically to the nearest
state of the circle.

References:
    Okamoto and Shoji, Bifurcation diagrams in Kolmogorov's problem of viscous incompressible fluid on 2-D flat tori, Japan J. Indust.
    Appl. Math. 10 (1993); Meshalkin and Sinai, J. Appl. Math. Mech. 25 (1961).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from eqtheory.errors import InputError
from eqtheory.validate import positive
from experiments.navier_stokes.solver._linearized import dense_jacobian, residual

__all__ = ["BranchState", "critical_reynolds", "kolmogorov_force", "laminar", "leading_mode", "secondary_state"]


def _single_wave(torus: GalerkinTorus) -> Tensor:
    """Coordinates of `-cos y`."""
    c = torch.zeros(torus.dimension, dtype=torch.float64)
    c[int((torus.modes == torch.tensor([0, 1])).all(dim=1).nonzero())] = -(0.5**0.5)
    return c


def kolmogorov_force(torus: GalerkinTorus, reynolds: float) -> tuple[Tensor, Tensor]:
    """The curl of the force and the viscosity.

    Args:
        torus: the truncated space.
        reynolds: `R > 0`.

    Returns:
        Coordinates, shape `(1, n)`, and `1/R`, shape `(1,)`.
    """
    positive("reynolds", reynolds)
    return _single_wave(torus).unsqueeze(0) / reynolds, torch.tensor([1 / reynolds], dtype=torch.float64)


def laminar(torus: GalerkinTorus) -> Tensor:
    """The laminar flow.

    Args:
        torus: the truncated space.

    Returns:
        Coordinates of its vorticity, shape `(1, n)`.
    """
    return _single_wave(torus).unsqueeze(0)


def leading_mode(torus: GalerkinTorus, c: Tensor, viscosity: Tensor) -> tuple[complex, Tensor]:
    """The fastest growing disturbance of one flow, by dense eigenvectors of the whole truncation.

    Args:
        torus: the truncated space.
        c: coordinates of the flow, shape `(1, n)`.
        viscosity: shape `(1,)`.

    Returns:
        The eigenvalue of `-F'`, and the real part of its unit eigenvector, shape `(1, n)`.
    """
    values, vectors = torch.linalg.eig(-dense_jacobian(torus, c, viscosity, torus)[0])
    at = int(values.real.argmax())
    mode = vectors[:, at].real
    return complex(values[at]), (mode / torch.linalg.vector_norm(mode)).unsqueeze(0)


def critical_reynolds(
    aspect: float, *, waves: int = 20, bracket: tuple[float, float] = (1.0, 20.0), rounds: int = 60
) -> float:
    """The Reynolds number at which the laminar flow loses stability.

    A disturbance has one wave number `a m` in x; its matrix is that of the modes `(m, n)`, and `m = 1`, the longest wave, goes first. The
    leading eigenvalue is real there and its sign is bisected, to the last bits.

    Args:
        aspect: `0 < a < 1`.
        waves: modes `|n|` up to this.
        bracket: Reynolds numbers with a stable and with an unstable laminar flow.
        rounds: of bisection.

    Returns:
        The critical Reynolds number of the truncation.

    Raises:
        InputError: no aspect below one, or a bracket that holds no change of stability.
    """
    if not 0 < aspect < 1:
        raise InputError(
            "aspect", str(aspect), "0 < aspect < 1", "the laminar flow of aspect 1 and above is always stable"
        )
    points = 3 * waves + 1
    torus = GalerkinTorus((4, points + points % 2), aspect)

    def growth(reynolds: float) -> float:
        _, viscosity = kolmogorov_force(torus, reynolds)
        matrix = -dense_jacobian(torus, laminar(torus), viscosity, torus)[0]
        return float(torch.linalg.eigvals(matrix).real.amax())

    low, high = bracket
    if not growth(low) < 0 < growth(high):
        raise InputError("bracket", str(bracket), "a stable and an unstable end", "widen it")
    for _ in range(rounds):
        middle = (low + high) / 2
        low, high = (low, middle) if growth(middle) > 0 else (middle, high)
    return (low + high) / 2


@dataclass(frozen=True)
class BranchState:
    """A steady state on the branch off the laminar flow.

    Args:
        torus: the truncated space.
        c: coordinates of the vorticity, shape `(1, n)`.
        residual: `|F(w)| / |g|`.
        distance: root mean square of the vorticity's difference from the laminar one.
        history: relative residuals of Newton's method.
    """

    torus: GalerkinTorus
    c: Tensor
    residual: float
    distance: float
    history: tuple[float, ...]


def secondary_state(torus: GalerkinTorus, reynolds: float, *, tolerance: float = 1e-13) -> BranchState | None:
    """Look for a steady state off the laminar one.

    Newton's method starts at the laminar flow plus multiples of its fastest growing disturbance, largest first.

    Args:
        torus: the truncated space, small enough for dense matrices.
        reynolds: `R`.
        tolerance: relative residual that counts as a state.

    Returns:
        The state, or `None` where the laminar flow is stable or no start leads to another state. `None` is no proof that there is none.
    """
    g, viscosity = kolmogorov_force(torus, reynolds)
    base = laminar(torus)
    growth, mode = leading_mode(torus, base, viscosity)
    if growth.real <= 0:
        return None
    for amplitude in (1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05):
        c, history = _newton_off_circles(torus, base + amplitude * mode, g, viscosity, tolerance)
        distance = float(torch.linalg.vector_norm(c - base))
        if history[-1] <= tolerance and distance > 1e-6:
            return BranchState(torus, c, history[-1], distance, tuple(history))
    return None


def _shift(torus: GalerkinTorus, c: Tensor) -> Tensor:
    """`d_x w` in coordinates."""
    kx = torus.aspect * torus.modes[:, 0].double()
    return torus.real_of(1j * kx * torus.complex_of(c))


def _newton_off_circles(
    torus: GalerkinTorus, c: Tensor, g: Tensor, viscosity: Tensor, tolerance: float
) -> tuple[Tensor, list[float]]:
    size = float(torch.linalg.vector_norm(g))
    f = residual(torus, c, g, viscosity)
    history = [float(torch.linalg.vector_norm(f)) / size]
    for _ in range(40):
        matrix = dense_jacobian(torus, c, viscosity, torus)[0]
        along = _shift(torus, c)[0]
        length = torch.linalg.vector_norm(along)
        if float(length) > 0:
            along = along / length
            matrix = matrix + viscosity * torch.outer(along, along)
        step = torch.linalg.solve(matrix, -f[0]).unsqueeze(0)
        c = c + step
        f = residual(torus, c, g, viscosity)
        history.append(float(torch.linalg.vector_norm(f)) / size)
        if not history[-1] < 1e6 or (history[-1] <= tolerance and history[-1] >= 0.5 * history[-2]):
            break
        if history[-1] <= tolerance / 100:
            break
    return c, history
