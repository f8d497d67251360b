"""What fails without the hypotheses of T10: an observation with a null space (N10), and a set that is not convex (N11)."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from eqtheory.constructions import Box, DenseMap, ProximalGradient, Sphere, Subspace, hqs, pgd
from eqtheory.norms import Euclidean
from eqtheory.testing.evidence import Recorder
from eqtheory.testing.margins import exact_margin
from eqtheory.theorems.imaging import half_quadratic_contraction, proximal_gradient_simplicity, stability

__all__ = ["null_space", "set_not_convex"]

Q = Fraction
norm = Euclidean()


def null_space(evidence: Recorder) -> str:
    """N10: the null space."""
    A = DenseMap(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    x = torch.zeros(1, 1, dtype=torch.float64)
    square = Box(-1.0, 1.0)
    states = torch.tensor([[0.0, -1.0], [0.0, 0.25], [0.0, 1.0]], dtype=torch.float64)
    for G in (pgd(A, square, 1.0, 1.0), hqs(A, square, 1.0, 2.0)):
        assert G.regularity is None  # nothing is claimed
        assert torch.equal(G(states, x.expand(3, 1)), states)  # three fixed points for one observation
    shift = ProximalGradient(A, lambda z: z + torch.tensor([0.0, 1.0], dtype=torch.float64), 1.0)
    y = torch.zeros(1, 2, dtype=torch.float64)
    for _ in range(50):
        y = shift(y, x)
    assert y.tolist() == [[0.0, 50.0]]
    # The first axis meets the null space in 0 only: prox (I - gamma A^T A) = diag(1 - gamma, 1/(1 + gamma alpha)).
    axis = pgd(A, Subspace(torch.tensor([[1.0], [0.0]], dtype=torch.float64)), 1.0, 0.5)
    assert axis.regularity is None  # s = 0: sufficient, not necessary
    matrix = axis(torch.eye(2, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64))
    assert float(torch.linalg.svdvals(matrix)[0]) < 0.7
    # Claimed with s > 0, the pair of fixed points refutes (R1).
    for s in (Q(1, 100), Q(1, 2)):
        sides = half_quadratic_contraction.sides(gap_after=Q(2), gap_before=Q(2), beta=Q(2), smallest=s)
        evidence.caught(f"null space ignored, s = {s}", exact_margin(sides))
    return (
        "A = (1, 0): (0, -1), (0, 1/4), (0, 1) are all fixed points at x = 0 of both operators with the square; with the shift the iterate "
        "after 50 steps is (0, 50); with the first axis the factor is 2/3 although s = 0"
    )


def scalar_sphere(y: Fraction, x: Fraction, alpha: Fraction, step: Fraction) -> Fraction:
    """Proximal gradient for `M = {-1, 1}`, `A = 1`."""
    v, c = y - step * (y - x), step * alpha
    return (v + c * (1 if v > 0 else -1)) / (1 + c)


def set_not_convex(evidence: Recorder) -> str:
    """N11: the sphere in one dimension, in rationals; and the slope of the projection in two."""
    alpha, step = Q(1), Q(1, 2)
    for claimed in (Q(1), Q(10**3), Q(10**6)):
        h = step * alpha / (1 + step * alpha) / (claimed + 1)
        gap = abs(scalar_sphere(Q(0), h, alpha, step) - scalar_sphere(Q(0), -h, alpha, step))
        sides = proximal_gradient_simplicity.sides(gap=gap, delta=2 * h, gamma=step, norm=claimed / step)
        evidence.caught(f"L0 = {claimed} for two points", exact_margin(sides))
    x = Q(1, 10)
    low, high = (x - alpha) / (1 + alpha), (x + alpha) / (1 + alpha)
    assert [scalar_sphere(y, x, alpha, step) for y in (low, high)] == [low, high]

    def objective(y: Fraction) -> Fraction:
        return (x - y) ** 2 / 2 + alpha / 2 * min((y - 1) ** 2, (y + 1) ** 2)

    assert objective(low) > objective(high)  # stationary, and no minimiser
    jump = 2 * alpha / (1 + alpha)
    for h in (Q(1, 10), Q(1, 10**9)):  # F(h) and F(-h) are the two minimisers, and h F > 0
        above, below = (h + alpha) / (1 + alpha), (-h - alpha) / (1 + alpha)
        assert scalar_sphere(above, h, alpha, step) == above
        sides = stability.sides(gap=above - below, delta=2 * h, smallest=Q(1))
        assert above - below == jump + 2 * h / (1 + alpha)
        evidence.caught("1/s for two points", exact_margin(sides))
    # On the plane: at the points of the radius r the projection turns a step along the circle into one 1/r as long.
    slopes = []
    for r in (1.0, 0.1, 1e-3):
        z = torch.tensor([[r, 0.0], [r, r * 1e-6]], dtype=torch.float64)
        image = Sphere(1.0).project(z)
        slopes.append(float(norm(image[1:] - image[:1]) / norm(z[1:] - z[:1])))
    assert slopes == pytest.approx([1.0, 10.0, 1000.0], rel=1e-6)
    return (
        f"M = (-1, 1), A = 1, alpha = 1: L0 = 1, 1e3, 1e6 refuted; at x = 1/10 the fixed points {low} and {high} have the objectives "
        f"{objective(low)} and {objective(high)}; F jumps by {jump} at 0; slopes of the projection on the plane "
        f"{', '.join(f'{s:.4g}' for s in slopes)} at the distances 1, 0.1, 0.001 of the centre"
    )
