"""What holds for one map only: sharp bounds, other implementations, gaps, narrow types."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Side
from eqtheory.norms import Euclidean
from eqtheory.targets import (
    CATALOGUE,
    Composition,
    DigammaMap,
    ExpMap,
    FloorMap,
    GammaMap,
    InversionMap,
    IslandsMap,
    KeplerMap,
    LambertWMap,
    LinearProgramMap,
    LogMap,
    MatrixInverseMap,
    MatrixSquareRootMap,
    OscillatingMap,
    ReciprocalMap,
    SqrtMap,
    SquareMap,
    TanMap,
    Target,
    TargetSum,
    TwoSidedReciprocalMap,
)
from eqtheory.targets._arithmetic import HALF_PI, INVERSE_E, two_product, two_sum
from eqtheory.targets.maps import kepler


def f64(*values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


SHARP = [
    ReciprocalMap(), TwoSidedReciprocalMap(), LogMap(), SqrtMap(), SquareMap(), ExpMap(), TanMap(), GammaMap(), DigammaMap(),
    LambertWMap(),
]  # fmt: skip


@pytest.mark.parametrize("target", SHARP, ids=lambda t: t.name)
def test_bounds_that_are_exact_are_attained(target: Target) -> None:
    """On an interval, the steepest pair and the largest value at one of the two ends come within a part in a thousand."""
    x = target.sample(400, generator=seeded())
    r = 0.5 * torch.ones_like(x)
    while not bool(torch.isfinite(target.ball_bounds(x, r)[1]).all()):
        r = torch.where(torch.isfinite(target.ball_bounds(x, r)[1]), r, 0.7 * r)
    r = r / 2  # at most half the distance to the singularity, so a step of 1e-5 r changes nothing much
    sup, lip = target.ball_bounds(x, r)
    # Balls within which float64 tells points apart: their rim is resolved to 1e-5 of the radius.
    resolved = r > 1e-5 * x.abs()
    assert int(resolved.sum()) > 100
    size, slope = torch.zeros_like(x), torch.zeros_like(x)
    for sign in (-1, 1):
        z, w = x + sign * r * (1 - 1e-5), x + sign * r * (1 - 2e-5)
        inside = target.contains(z) & target.contains(w)
        z, w = torch.where(inside, z, x), torch.where(inside, w, x)
        inside &= z != w
        size = torch.maximum(size, target(z).abs())
        gap = torch.where(inside, (z - w).abs(), 1.0)
        slope = torch.maximum(slope, torch.where(inside, (target(z) - target(w)).abs() / gap, 0.0))
    assert bool((size >= 0.999 * sup - 1e-9)[resolved].all())
    # Rounding of two values over a gap of 1e-5 r spoils the slope where values are large: granted as measured.
    error = 2 * target.evaluation_error(x) / (1e-5 * r)
    assert bool((slope + error >= 0.99 * lip)[resolved].all())


def test_a_ball_that_touches_the_singularity_has_no_finite_bound() -> None:
    quarter = f64(0.25)
    unbounded: list[Target] = [ReciprocalMap(), TwoSidedReciprocalMap(), LogMap(), GammaMap(), DigammaMap()]
    bounded: list[Target] = [SqrtMap(), OscillatingMap()]
    for target in unbounded:
        assert all(bool(torch.isinf(b).all()) for b in target.ball_bounds(quarter, quarter))
        assert all(bool(torch.isfinite(b).all()) for b in target.ball_bounds(quarter, 0.999 * quarter))
    for target in bounded:
        sup, lip = target.ball_bounds(quarter, quarter)
        assert torch.isfinite(sup).all()
        assert torch.isinf(lip).all()
    assert torch.isinf(GammaMap().ball_bounds(f64(-2.75), quarter)[0]).all()
    sup, lip = MatrixInverseMap(2).ball_bounds(f64([[1.0, 0.0], [0.0, 0.25]]), quarter)
    assert torch.isinf(sup).all()
    assert torch.isinf(lip).all()


def test_islands() -> None:
    """Within an island, across the harmless gap, across the gap to the singularity."""
    target = IslandsMap()
    sup, lip = target.ball_bounds(f64(0.5, 1.0, 2.25, 2.5, 2.5, 1.0, 3.5), f64(0.5, 0.125, 0.125, 0.125, 0.5, 0.5, 3.0))
    assert lip[:4].tolist() == pytest.approx([1.0, 1.0, 0.875**-2, 0.0])
    # The centre 5/2 sees (2, 9/4] on the middle island: F up to 4/3 and down to 1, a jump of 5 over 1/4.
    assert float(lip[4]) == pytest.approx(20.0)
    assert float(sup[4]) == pytest.approx(6.0)
    assert torch.isinf(lip[5:]).all()
    assert torch.isinf(sup[5:]).all()
    # The slope 20 is attained, although derivatives are at most 1/(2.25 - 1.25)^2 = 1 next to the gap.
    rise = target(f64(2.5)) - target(f64(2.25))
    assert float(rise) / 0.25 == 20.0
    assert float(target.local_modulus(f64(2.25))) == 1.0


def test_floor() -> None:
    target = FloorMap()
    sup, lip = target.ball_bounds(f64(0.25, 0.25, -1e-20, 7.5), f64(0.25, 0.26, 1e-20, 0.5))
    tiny = torch.finfo(torch.float64).tiny  # what every bound is raised by, so that none is flushed to zero
    assert lip.tolist() == [tiny, math.inf, tiny, tiny]
    assert sup.tolist() == pytest.approx([0.0, 1.01, 1.0, 7.0])
    assert float(target.local_modulus(f64(0.5))) == 0.0


def test_linear_program_agrees_with_linprog() -> None:
    from scipy.optimize import linprog

    for target in (LinearProgramMap(), LinearProgramMap((1.0, 1.0, 2.0, 5.0, 1.5), 3)):
        m, n = target.rows, len(target.costs)
        x = target.sample(25, generator=seeded(4))
        for data, found in zip(x, target(x), strict=True):
            matrix, right = data[: m * n].reshape(m, n).numpy(), data[m * n :].numpy()
            best = linprog(target.costs, A_eq=matrix, b_eq=right, method="highs")
            # HiGHS works to 1e-7 in the constraints, magnified by the inverse of the basis.
            assert best.status == 0
            assert torch.allclose(torch.as_tensor(best.x), found, atol=1e-6 * float(target.local_modulus(data[None])))


def test_linear_program_bounds_are_finite_only_while_the_basis_is_optimal() -> None:
    target = LinearProgramMap()
    x = target.sample(300, generator=seeded(5))
    g = seeded(6)
    basis = target(x) > 0
    for shrink in (1.0, 0.5, 0.1):
        r = torch.full((300,), shrink, dtype=torch.float64)
        for _ in range(12):
            finite = torch.isfinite(target.ball_bounds(x, r)[1])
            z = x + 0.999 * r[:, None] * target.directions(x, generator=g)
            assert bool(target.contains(z)[finite].all())
            kept = finite & target.contains(z)
            assert torch.equal((target(torch.where(kept[:, None], z, x)) > 0)[kept], basis[kept])
            r = r / 4


def test_special_functions_agree_with_scipy() -> None:
    from scipy import special

    for target, function in (
        (GammaMap(), special.gamma),
        (LambertWMap(), lambda x: special.lambertw(x).real),
        (DigammaMap(), special.digamma),
    ):
        x = target.sample(2000, generator=seeded(2))
        x = x[
            (x > 0) | ((x - x.round()).abs() > 1e-5)
        ]  # scipy's reflection formula loses the distance to negative poles
        expected = torch.as_tensor(function(x.numpy()))
        # scipy rounds -1/e, which 1e-12 from the branch point of W moves its result by 2e-11; 50 digits are compared elsewhere.
        assert torch.allclose(target(x), expected, rtol=1e-10, atol=1e-10)


def test_newton_on_keplers_equation_has_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps fewer give the same solutions, so twelve are enough with room to spare."""
    target = KeplerMap()
    x = target.sample(20000, generator=seeded(8))
    full = target(x)
    monkeypatch.setattr(kepler, "_NEWTON_STEPS", 8)
    fewer = KeplerMap()(x)
    assert bool(((full - fewer).abs() <= target.evaluation_error(x)).all())
    monkeypatch.setattr(kepler, "_NEWTON_STEPS", 3)
    assert not bool(((full - KeplerMap()(x)).abs() <= target.evaluation_error(x)).all())


def test_kepler_far_from_the_origin() -> None:
    """Whole turns are taken off without losing what is left: 10^5 turns, at the steepest place."""
    target = KeplerMap()
    x = f64([1 - 2.0**-20, 628318.530717958699])
    error = abs(float(target(x)) - float(target.reference(x[0])))
    assert error <= float(target.evaluation_error(x)) < 1e-8


def test_phase_of_the_oscillation_is_kept() -> None:
    x = f64(1e-6, -3e-7)
    target = OscillatingMap()
    naive = x * torch.sin(1 / x**2)
    assert bool(((naive - target(x)).abs() > 100 * target.evaluation_error(x)).any())
    assert torch.equal(target(f64(1e200)), f64(1e-200))


def test_constants_and_error_free_arithmetic() -> None:
    import mpmath

    with mpmath.workdps(50):
        for (high, low), value in ((HALF_PI, mpmath.pi / 2), (INVERSE_E, 1 / mpmath.e)):
            assert abs(mpmath.mpf(high) + mpmath.mpf(low) - value) < mpmath.mpf(2) ** -105
        assert abs(sum(map(mpmath.mpf, kepler._TURN)) - 2 * mpmath.pi) < mpmath.mpf(2) ** -93
        a, b = f64(math.pi, 1e100, 1 / 3), f64(math.e, -1e-100, 3.0)
        sums, products = two_sum(a, b), two_product(a, b)
        with mpmath.workprec(800):
            for i in range(3):
                p, q = mpmath.mpf(float(a[i])), mpmath.mpf(float(b[i]))
                assert mpmath.mpf(float(sums[0][i])) + mpmath.mpf(float(sums[1][i])) == p + q
                assert mpmath.mpf(float(products[0][i])) + mpmath.mpf(float(products[1][i])) == p * q


@pytest.mark.parametrize("target", CATALOGUE, ids=lambda t: t.name)
def test_narrow_types_round_bounds_upwards(target: Target) -> None:
    x = target.sample(300, generator=seeded(9), dtype=torch.float32)
    r = torch.full((300,), 1e-3)
    for narrow, wide in zip(target.ball_bounds(x, r), target.ball_bounds(x.double(), r.double()), strict=True):
        assert narrow.dtype == torch.float32
        assert bool((narrow.double() >= wide).all())
    assert target.local_modulus(x).dtype == torch.float32
    assert target.directions(x, generator=seeded()).dtype == torch.float32


def test_sixteen_bit_inputs() -> None:
    for target in (ReciprocalMap(), MatrixInverseMap(2), KeplerMap()):
        x = target.sample(50, generator=seeded(10), dtype=torch.bfloat16)
        value = target(x)
        assert value.dtype == torch.bfloat16
        wide = target(x.double())
        gap = target.output_norm(value.double() - wide)
        assert bool((gap <= target.evaluation_error(x).double() * (1 + 2.0**-7)).all())


def test_inputs_changed_in_place_are_seen() -> None:
    """Work is remembered per input tensor, but never beyond a change of its entries."""
    for target in (KeplerMap(), LinearProgramMap(), MatrixInverseMap(2), MatrixSquareRootMap(2)):
        a, b = target.sample(2, generator=seeded(11)), target.sample(2, generator=seeded(12))
        r = f64(1e-6, 1e-6)
        x = a.clone()
        target.ball_bounds(x, r)
        x.copy_(b)
        assert torch.equal(target(x), target(b))
        for kept, fresh in zip(target.ball_bounds(x, r), target.ball_bounds(b, r), strict=True):
            assert torch.equal(kept, fresh)


def test_root_of_a_multiple_of_the_identity_has_a_gradient() -> None:
    """Equal eigenvalues: differentiating eigenvectors would give NaN."""
    x = 4.0 * torch.eye(3, dtype=torch.float64).unsqueeze(0).requires_grad_()
    x = x.detach().requires_grad_()
    (grad,) = torch.autograd.grad(MatrixSquareRootMap(3)(x).diagonal(dim1=1, dim2=2).sum(), x)
    assert torch.allclose(grad[0], torch.eye(3, dtype=torch.float64) / 4)


def test_combinations_say_what_their_modulus_is() -> None:
    spectral = Composition(MatrixInverseMap(2), MatrixSquareRootMap(2))
    assert spectral.modulus_side is Side.UPPER
    assert TargetSum(MatrixInverseMap(2), MatrixInverseMap(2)).modulus_side is Side.UPPER
    euclidean = Composition(MatrixInverseMap(2, Euclidean()), MatrixSquareRootMap(2, Euclidean()))
    assert euclidean.modulus_side is Side.EXACT
    # A^(-1/2) is steepest along the last eigenvector, in both norms: derivative of l^(-1/2).
    x = f64([[4.0, 0.0], [0.0, 0.25]])
    for target in (spectral, euclidean):
        assert float(target.local_modulus(x)) == pytest.approx(0.5 * 0.25**-1.5)


def test_cancelling_slopes_of_a_sum() -> None:
    """The modulus of a sum is not the sum of the moduli: `log x + 1/x` is flat at 1."""
    target = TargetSum(LogMap(), ReciprocalMap())
    assert float(target.local_modulus(f64(1.0))) == pytest.approx(0.0, abs=1e-15)
    assert target.domain == "x > 0, and 0 < x <= 1"
    assert not bool(target.contains(f64(2.0)))


def test_composition_counts_points_at_the_border_as_outside() -> None:
    """`log(tan x)` at the smallest angles: fine; a tangent of 0: outside."""
    target = Composition(LogMap(), TanMap())
    assert target.contains(f64(0.5, 0.0, -0.5, 1e-300)).tolist() == [True, False, False, True]


def test_inversion_is_an_involution() -> None:
    target = InversionMap(4)
    x = target.sample(500, generator=seeded(14))
    gap = target.output_norm(target(target(x)) - x)
    assert bool((gap <= 1e-14 * target.input_norm(x)).all())
