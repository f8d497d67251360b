"""Bounds that were once on the wrong side, and what is refused since."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest
import sympy
import torch
from torch import Tensor, nn

from eqtheory.errors import InputError, NotBoundedError, ShapeError
from eqtheory.lipschitz import (
    formula_lipschitz,
    fourier_multiplier_norm,
    graph_operator_norm,
    layer_constant,
    matrix_norm_upper_bound,
    operator_norm,
    place_modes,
    product_of_norms,
    propagated_lipschitz,
    spectral_radius,
    traced_lipschitz,
    transient_growth,
)
from eqtheory.norms import Euclidean, Norm, Sum, Sup, Weighted


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("norm", [Sup(), Sum()])
def test_moduli_of_single_precision_are_not_rounded_in_it(norm: Norm) -> None:
    A = torch.complex(draw(1, 300, 1, 7), draw(2, 300, 1, 7)).to(torch.complex64)
    found = operator_norm(A, norm=norm)
    with mpmath.workprec(200):
        for k in range(300):
            sizes = [mpmath.sqrt(mpmath.mpf(float(z.real)) ** 2 + mpmath.mpf(float(z.imag)) ** 2) for z in A[k, 0]]
            truth = mpmath.fsum(sizes) if isinstance(norm, Sup) else max(sizes)
            assert float(found.lower.value[k]) <= truth <= float(found.upper.value[k])


def test_complex_sides_in_sup_are_both_right() -> None:
    found = operator_norm(torch.tensor([[1 + 1j]], dtype=torch.complex128), norm=Sup())
    with mpmath.workprec(100):
        assert float(found.lower.value) < mpmath.sqrt(2) < float(found.upper.value)


@pytest.mark.parametrize("pair", [(Sum(), Sup()), (Sum(), Euclidean()), (Euclidean(), Sup())])
def test_attained_norms_have_close_lower_sides(pair: tuple[Norm, Norm]) -> None:
    A = torch.tensor([[1.0] * 4 + [0.0], [1.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.5]])
    found = operator_norm(A, norm=pair[0], output_norm=pair[1])
    assert float(found.lower.value) >= float(found.upper.value) * (1 - 1e-13)


def test_numbers_below_the_normal_ones() -> None:
    A = torch.tensor([[5e-324, 5e-324]], dtype=torch.float64)
    assert Fraction(float(matrix_norm_upper_bound(A, Euclidean()))) ** 2 >= 2 * Fraction(5e-324) ** 2


def test_weights_do_not_take_entries_out_of_range() -> None:
    tiny, huge = (Weighted(torch.tensor([w], dtype=torch.float64)) for w in (1e200, 1e300))
    one = matrix_norm_upper_bound(torch.tensor([[1e-200]], dtype=torch.float64), tiny, output_norm=huge)
    assert float(one) == pytest.approx(1e-100)
    small = Weighted(torch.tensor([1e-200], dtype=torch.float64))
    with pytest.raises(InputError, match=r"weights: got weights that take entries out of the range of float64"):
        operator_norm(torch.tensor([[1e200]], dtype=torch.float64), norm=small, output_norm=huge)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (0, 2, 2)])
def test_empty_matrices_have_norm_zero(shape: tuple[int, ...]) -> None:
    found = operator_norm(torch.zeros(shape))
    assert bool((found.lower.value == 0).all())
    assert bool((found.upper.value == 0).all())


def test_radii_of_scalars_are_between_their_sides_at_every_scale() -> None:
    """The spectral radius of a number is its size, exactly: rounding of logarithms has to be paid for."""
    for low, high in ((-1, 1), (6, 12), (-12, -6), (50, 140), (-140, -50)):
        spread = torch.rand(400, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
        values = draw(3, 400, 1, 1) * 10.0 ** (low + (high - low) * spread)
        found = spectral_radius(values).bracket
        truth = values.abs().reshape(-1)
        assert bool((found.lower.value <= truth).all())
        assert bool((found.upper.value >= truth).all())
        assert bool((found.upper.value <= truth * (1 + 1e-10)).all())


def test_absurd_requests_are_refused() -> None:
    with pytest.raises(InputError, match=r"squarings: got 1100, needed at most 60"):
        spectral_radius(torch.eye(2), squarings=1100)
    with pytest.raises(ShapeError, match=r"matrix: got an empty one"):
        transient_growth(torch.zeros(0, 0))


def test_ranges_are_those_of_the_entries_and_not_of_the_weighted_ones() -> None:
    """`y^2 / 2` on [-2, 2] has slope 2 in every weighted norm with equal weights."""
    norm = Weighted(torch.full((2,), 10.0, dtype=torch.float64))
    (found,) = traced_lipschitz(lambda y: y**2 / 2, (torch.zeros(1, 2).double(),), norm=norm, ranges=[(-2.0, 2.0)])
    assert found.value == pytest.approx(2.0)


@pytest.mark.parametrize("f", [lambda y: y**3, lambda y: 1 / y, torch.rsqrt])
def test_ranges_that_overflow_are_no_bound(f: object) -> None:
    with pytest.raises(NotBoundedError):
        traced_lipschitz(f, (torch.zeros(1, 2).double(),), ranges=[(1e-320, 1e200)])  # type: ignore[arg-type]


def test_floating_point_numbers_in_formulas_are_the_rationals_they_are() -> None:
    x = sympy.Symbol("x", real=True)
    coarse = sympy.Float("1.05", 3) * sympy.sin(sympy.Float("0.906", 3) * x)
    found = formula_lipschitz([coarse], {x: (-1, 1)})
    numbers = [Fraction(int(f._mpf_[1])) * Fraction(2) ** int(f._mpf_[2]) for f in coarse.atoms(sympy.Float)]
    truth = numbers[0] * numbers[1]
    assert Fraction(float(found.lower.value)) <= truth <= Fraction(float(found.upper.value))
    assert float(found.upper.value) == pytest.approx(float(truth), rel=1e-6)


def test_assumptions_that_do_not_hold_on_the_box_are_refused() -> None:
    n = sympy.Symbol("n", integer=True)
    with pytest.raises(InputError, match=r"box: got a symbol n whose assumptions do not hold on its range"):
        formula_lipschitz([sympy.sin(sympy.pi * n) + n], {n: (-1, 1)})


@pytest.mark.parametrize("layer", [nn.MaxPool1d(3, stride=1), nn.AvgPool1d(3, stride=1), nn.ReplicationPad1d(2)])
def test_sizes_have_channels(layer: nn.Module) -> None:
    with pytest.raises(ShapeError, match=r"size: got \(10,\), needed channels and 1 lengths"):
        layer_constant(layer, (10,))
    assert layer_constant(layer, (1, 10)).value > 0.9


def test_the_eps_of_another_type_is_allowed_for() -> None:
    slope = 1 / torch.finfo(torch.float64).eps ** 0.5
    assert layer_constant(nn.RMSNorm(4, elementwise_affine=False), (4,)).value >= slope


def test_replaced_and_hooked_layers_are_refused() -> None:
    inner = nn.Linear(2, 2)
    network = nn.Sequential(inner)
    network.register_forward_hook(lambda module, given, out: 5 * out)
    replaced = nn.Linear(2, 2)
    replaced.forward = lambda x: 5 * x  # type: ignore[method-assign]
    box = torch.zeros(1, 2)
    for module in (network, nn.Sequential(replaced)):
        with pytest.raises(InputError):
            product_of_norms(module, (2,))
        with pytest.raises(InputError):
            propagated_lipschitz(module, box - 1, box + 1)


def test_softplus_that_jumps_is_refused() -> None:
    with pytest.raises(InputError, match=r"becomes linear at 0.01"):
        layer_constant(nn.Softplus(threshold=0.01), (2,))
    with pytest.raises(InputError, match=r"becomes linear at 0.01"):
        propagated_lipschitz(nn.Sequential(nn.Softplus(threshold=0.01)), torch.zeros(1, 2), torch.ones(1, 2))


class LouderConvolution(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        return 5 * super()._conv_forward(input, weight, bias)


class LargerTransposed(nn.ConvTranspose2d):
    def _output_padding(self, *args: object, **kwargs: object) -> list[int]:  # type: ignore[override]
        return [1, 1]


class LouderCall(nn.Linear):
    def __call__(self, x: Tensor) -> Tensor:
        return 5 * super().__call__(x)  # type: ignore[no-any-return]


class LouderSequence(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return 5 * super().forward(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("layer", "size", "name"),
    [
        (LouderConvolution(1, 1, 3), (1, 8, 8), "_conv_forward"),
        (LargerTransposed(1, 1, 3, stride=2), (1, 8, 8), "_output_padding"),
        (LouderCall(2, 2), (2,), "__call__"),
    ],
)
def test_layers_that_override_what_forward_calls_are_refused(
    layer: nn.Module, size: tuple[int, ...], name: str
) -> None:
    with pytest.raises(InputError, match=rf"layer: got \w+ whose {name} was replaced"):
        layer_constant(layer, size)
    with pytest.raises(InputError):
        product_of_norms(nn.Sequential(layer), size)


def test_sequences_and_layers_of_ones_own_are_not_walked_through() -> None:
    box = torch.zeros(1, 2)
    for network in (LouderSequence(nn.Linear(2, 2)), nn.Sequential(LouderCall(2, 2))):
        with pytest.raises(InputError):
            propagated_lipschitz(network, box - 1, box + 1)
        with pytest.raises(InputError):
            product_of_norms(network, (2,))


@pytest.mark.parametrize("norm", [Euclidean(), Sum(), Sup()])
@pytest.mark.parametrize("divisor", [-1, -3, 2])
def test_averages_with_negative_divisors(norm: Norm, divisor: int) -> None:
    def f(y: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(y, 2, padding=1, divisor_override=divisor)

    (found,) = traced_lipschitz(f, (torch.zeros(1, 1, 4, 4).double(),), norm=norm)
    basis = torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)
    truth = operator_norm(f(basis).reshape(16, -1).mT.contiguous(), norm=norm).lower.value
    assert found.value >= float(truth)


def test_filters_of_one_feature_are_written_out() -> None:
    found = graph_operator_norm(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), [torch.ones(1, 3), torch.ones(1, 3)])
    whole = torch.kron(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.ones(3, 1)).double()
    truth = float(operator_norm(whole).lower.value)
    assert found.lower.value <= truth * (1 + 1e-12)
    assert truth <= found.upper.value <= truth * (1 + 1e-9)


def test_powers_with_an_exponent_for_every_entry() -> None:
    y = torch.zeros(1, 2).double()
    (found,) = traced_lipschitz(lambda y: y ** torch.tensor([2.0, 3.0]), (y,), ranges=[(-2.0, 2.0)])
    assert found.value == pytest.approx(12.0)
    with pytest.raises(NotBoundedError, match=r"an exponent that is no positive integer"):
        traced_lipschitz(lambda y: y ** torch.tensor([2.0, 2.5]), (y,), ranges=[(-2.0, 2.0)])


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Upsample(scale_factor=2), (8,)),
        (nn.Upsample(scale_factor=2), ()),
        (nn.Upsample(size=(2, 2)), (1, 8)),
        (nn.ReflectionPad1d(9), (1, 8)),
        (nn.AvgPool1d(9), (1, 8)),
    ],
)
def test_sizes_that_a_layer_does_not_take_are_refused(layer: nn.Module, size: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"size: got \("):
        layer_constant(layer, size)


@pytest.mark.parametrize("size", [("a",), (0,), 8, None, "ab"])
def test_grids_that_are_none_are_refused(size: object) -> None:
    M = torch.ones(1, 1, 1, dtype=torch.complex128)
    with pytest.raises(InputError, match=r"size: got .*, needed"):
        fourier_multiplier_norm(M, size)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"size: got .*, needed"):
        place_modes([M], size)  # type: ignore[arg-type]


def test_products_below_the_normal_range_are_not_rounded_to_zero() -> None:
    for weight in (1e-200, 3e-162, 2.0**-537):
        layer = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.fill_(weight)
        truth = Fraction(layer.weight.item()) ** 2
        network = nn.Sequential(layer, nn.Identity(), layer)
        assert Fraction(product_of_norms(network, (1,)).value) >= truth
        assert Fraction(float(propagated_lipschitz(network, -torch.ones(1, 1), torch.ones(1, 1)).value)) >= truth


def test_a_call_that_goes_elsewhere_is_refused_and_compilation_is_not() -> None:
    layer = nn.Linear(2, 2)
    layer.compile(backend="eager")
    assert product_of_norms(nn.Sequential(layer), (2,)).value < 10
    layer._compiled_call_impl = lambda x: 100 * x
    with pytest.raises(InputError, match="whose _compiled_call_impl was replaced"):
        product_of_norms(layer, (2,))
