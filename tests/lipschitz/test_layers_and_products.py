"""Constants of activations in balls and in 40 digits, of layers against slopes, and of chains."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor, nn

from eqtheory.bounds import Evidence, Side
from eqtheory.errors import InputError, ShapeError
from eqtheory.lipschitz import ACTIVATION_CONSTANTS, activation_constant, layer_constant, product_of_norms
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from tests.lipschitz.dense_maps import dense_matrix, true_norm

NORMS: tuple[Norm, ...] = (Euclidean(), Sum(), Sup())
flint: Any = pytest.importorskip("flint")


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The smooth activations, as functions of an mpmath number or, for the balls, of a power series.

SMOOTH: dict[str, Callable[[Any], Any]] = {
    "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "gelu_tanh": lambda x: x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
}
TOPS = {"gelu": 1.4, "gelu_tanh": 1.4, "silu": 2.4, "mish": 1.5}


@pytest.mark.parametrize("name", sorted(SMOOTH))
def test_the_table_is_the_largest_slope_rounded_up_in_forty_digits(name: str) -> None:
    f, value = SMOOTH[name], ACTIVATION_CONSTANTS[name]
    with mpmath.workdps(40):
        at = mpmath.findroot(lambda x: mpmath.diff(f, x, 2), TOPS[name])
        top = mpmath.diff(f, at)
        assert mpmath.mpf(value) >= top
        assert mpmath.mpf(value) <= top * (1 + mpmath.mpf(2) ** -51)
    with mpmath.workdps(25):  # nowhere else is the slope as large in size
        grid = [mpmath.mpf(k) / 8 for k in range(-96, 97)]
        assert max(abs(mpmath.diff(f, x)) for x in grid) <= top


def slope_in_balls(name: str, x: Any) -> Any:
    """The derivative on a ball, in interval arithmetic."""
    one, half = flint.arb(1), flint.arb(1) / 2
    if name == "gelu":
        phi = (-x * x / 2).exp() / (2 * flint.arb.pi()).sqrt()
        return half * (-x / flint.arb(2).sqrt()).erfc() + x * phi
    if name == "gelu_tanh":
        c, a = (2 / flint.arb.pi()).sqrt(), flint.arb("0.044715")
        t = (c * (x + a * x**3)).tanh()
        return half * (one + t) + half * x * (one - t * t) * c * (one + 3 * a * x * x)
    if name == "silu":
        s = one / (one + (-x).exp())
        return s + x * s * (one - s)
    t, s = (one + x.exp()).log().tanh(), one / (one + (-x).exp())
    return t + x * (one - t * t) * s


@pytest.mark.parametrize("name", sorted(SMOOTH))
def test_no_slope_exceeds_the_table_in_ball_arithmetic(name: str) -> None:
    """Bisection on [-12, 12]: every ball ends below the value, except next to the top, where the curve is flat."""
    limit = flint.arb(ACTIVATION_CONSTANTS[name]) + flint.arb("1e-6")
    work = [(-12.0, 12.0)]
    checked = 0
    while work:
        a, b = work.pop()
        checked += 1
        assert checked < 20_000
        ball = flint.arb((a + b) / 2, (b - a) / 2)
        if not abs(slope_in_balls(name, ball)) < limit:
            middle = (a + b) / 2
            work += [(a, middle), (middle, b)]


def test_products_of_stored_numbers_are_rounded_up() -> None:
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    assert Fraction(ACTIVATION_CONSTANTS["selu"]) >= Fraction(scale) * Fraction(alpha)
    assert Fraction(ACTIVATION_CONSTANTS["hardsigmoid"]) >= Fraction(1, 6)


MODULES: tuple[nn.Module, ...] = (
    nn.ReLU(),
    nn.LeakyReLU(-2.0),
    nn.PReLU(2, 1.5),
    nn.Tanh(),
    nn.Sigmoid(),
    nn.Softplus(3.0),
    nn.ELU(2.0),
    nn.CELU(0.3),
    nn.SELU(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.SiLU(),
    nn.Mish(),
    nn.Hardtanh(-2, 3),
    nn.Hardsigmoid(),
    nn.Hardswish(),
    nn.ReLU6(),
    nn.Softsign(),
    nn.Tanhshrink(),
    nn.Softshrink(),
    nn.LogSigmoid(),
    nn.Identity(),
    nn.RReLU().eval(),
)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_slopes_stay_below_the_constant_and_come_close(module: nn.Module) -> None:
    x = torch.linspace(-12, 12, 48_001, dtype=torch.float64)
    with torch.no_grad():
        y = module.double()(x.expand(1, 2, -1))[0, 0]
    slopes = ((y[1:] - y[:-1]) / (x[1:] - x[:-1])).abs()
    constant = activation_constant(module).value
    assert float(slopes.amax()) <= constant * (1 + 1e-6)
    assert float(slopes.amax()) >= constant * (1 - 1e-3)


def test_a_constant_that_is_too_small_would_be_seen() -> None:
    x = torch.linspace(-12, 12, 48_001, dtype=torch.float64)
    y = nn.functional.hardswish(x)
    assert float(((y[1:] - y[:-1]) / (x[1:] - x[:-1])).amax()) > 1.0 * (1 + 1e-6)  # the slope of ReLU, often used


def test_aten_operations_and_types_share_the_table() -> None:
    aten = torch.ops.aten
    assert activation_constant(aten.gelu.default).value == ACTIVATION_CONSTANTS["gelu"]
    assert activation_constant(aten.gelu.default, approximate="tanh").value == ACTIVATION_CONSTANTS["gelu_tanh"]
    assert activation_constant(aten.relu_.default).value == 1.0
    assert activation_constant(aten.elu.default, alpha=3.0).value == 3.0
    assert activation_constant(aten._softmax.default).value == 0.5
    assert activation_constant(nn.LeakyReLU, negative_slope=4.0).value == 4.0
    assert activation_constant(nn.Sigmoid).side is Side.EXACT
    assert activation_constant(nn.GELU).side is Side.UPPER
    assert "threshold counts as rounding" in activation_constant(nn.Softplus()).assumptions[0]


def test_softmax_is_half_lipschitz_and_attains_it() -> None:
    for norm in NORMS:
        x, y = 3 * draw(0, 20_000, 5), 3 * draw(1, 20_000, 5)
        ratios = norm(torch.softmax(x, 1) - torch.softmax(y, 1)) / norm(x - y)
        assert float(ratios.amax()) <= 0.5
        step = torch.tensor([[1e-6, -1e-6]], dtype=torch.float64)
        moved = torch.softmax(step, 1) - 0.5
        assert float(norm(moved) / norm(step)) == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("activation", [nn.Hardshrink(), nn.Threshold(1.0, 0.0), torch.ops.aten.hardshrink.default])
def test_jumps_are_refused(activation: Any) -> None:
    with pytest.raises(InputError, match=r"activation: got .*, needed one without jumps"):
        activation_constant(activation)


def test_unknown_activations_and_options_are_refused() -> None:
    class Other(nn.ReLU):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return 5 * input

    for activation in (Other(), nn.Linear(1, 1), torch.ops.aten.sin.default, torch.sin):
        with pytest.raises(InputError, match=r"needed an activation of torch.nn or torch.ops.aten"):
            activation_constant(activation)
    with pytest.raises(InputError, match=r"options: got slope, needed options of leaky_relu: negative_slope"):
        activation_constant(nn.LeakyReLU, slope=1.0)
    with pytest.raises(InputError, match=r"alpha: got -1.0, needed a number > 0"):
        activation_constant(nn.CELU, alpha=-1.0)
    with pytest.raises(InputError, match=r"RReLU in training mode"):
        activation_constant(nn.RReLU())


# Layers.

LINEAR_LAYERS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.AvgPool1d(3, 2, 1), (2, 11)),
    (nn.AvgPool1d(3, 2, 1, ceil_mode=True, count_include_pad=False), (2, 10)),
    (nn.AvgPool2d(2), (2, 6, 8)),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (1, 6, 8)),
    (nn.AvgPool2d(3, 1, 1, count_include_pad=False), (1, 6, 5)),
    (nn.AvgPool2d((2, 3), divisor_override=5), (1, 6, 8)),
    (nn.AvgPool3d(2, 1), (1, 3, 4, 3)),
    (nn.AdaptiveAvgPool2d((3, 4)), (2, 7, 6)),
    (nn.Upsample(scale_factor=3), (2, 4)),
    (nn.Upsample(size=(5, 7)), (1, 3, 4)),
    (nn.ReflectionPad2d(2), (1, 4, 5)),
    (nn.ReplicationPad1d(3), (2, 5)),
    (nn.CircularPad1d(2), (1, 4)),
    (nn.ZeroPad2d(1), (1, 3, 3)),
    (nn.PixelShuffle(2), (4, 2, 3)),
    (nn.PixelUnshuffle(2), (1, 4, 2)),
    (nn.Flatten(), (2, 3)),
    (nn.Dropout(0.5).eval(), (5,)),
    (nn.Linear(3, 4, bias=False), (2, 3)),
    (nn.Conv2d(2, 3, 3, padding=1, bias=False), (2, 5, 5)),
    (nn.ConvTranspose1d(2, 3, 4, stride=2, bias=False), (2, 6)),
]


@pytest.mark.parametrize(("layer", "size"), LINEAR_LAYERS, ids=str)
def test_linear_layers_have_the_norm_of_their_matrix(layer: nn.Module, size: tuple[int, ...]) -> None:
    A = dense_matrix(layer.double(), size)
    for norm in NORMS:
        assert layer_constant(layer, size, norm=norm).value == pytest.approx(true_norm(A, norm.name), rel=1e-9)
        assert layer_constant(layer, size, norm=norm).value >= true_norm(A, norm.name) * (1 - 1e-13)


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.MaxPool1d(3, 2, 1), (2, 11)),
        (nn.MaxPool2d(3, 1), (1, 6, 6)),
        (nn.MaxPool2d(2, 1, dilation=2), (1, 6, 6)),
        (nn.MaxPool2d(2, ceil_mode=True), (2, 5, 5)),
        (nn.AdaptiveMaxPool2d((3, 2)), (1, 5, 5)),
    ],
    ids=str,
)
def test_the_constant_of_maximum_pooling_is_attained(layer: nn.Module, size: tuple[int, ...]) -> None:
    """One input above all others, moved: it is the maximum of every window that holds it."""
    x = 0.01 * draw(0, 1, *size)
    best = {norm.name: 0.0 for norm in NORMS}
    for cell in range(x[0, 0].numel()):
        raised, moved = x.clone(), x.clone()
        raised[0, 0].view(-1)[cell], moved[0, 0].view(-1)[cell] = 1.0, 2.0
        gap = (layer(moved) - layer(raised)).flatten(1)
        best = {norm.name: max(best[norm.name], float(norm(gap))) for norm in NORMS}
    for norm in NORMS:
        assert layer_constant(layer, size, norm=norm).value == pytest.approx(best[norm.name], rel=1e-12)


def test_normalisations_against_their_jacobians() -> None:
    layers = [nn.LayerNorm(6, eps=0.01), nn.RMSNorm(6, eps=0.01), nn.GroupNorm(2, 6, eps=0.01)]
    for k, layer in enumerate(layers):
        layer.double().weight.data.copy_(draw(k, 6))
        exact = not isinstance(layer, nn.GroupNorm)
        points = [torch.zeros(6, dtype=torch.float64), *draw(5, 20, 6), *(0.1 * draw(6, 20, 6))]

        def flat(x: Tensor, module: nn.Module = layer) -> Tensor:
            return module(x[None])[0]

        jacobians = torch.stack([torch.func.jacrev(flat)(x) for x in points]).detach()
        for norm in NORMS:
            bound = layer_constant(layer, (6,), norm=norm).value
            seen = max(true_norm(J, norm.name) for J in jacobians)
            assert seen <= bound * (1 + 1e-12)
            if exact and isinstance(norm, Euclidean):
                assert seen == pytest.approx(bound, rel=1e-12)  # at zero, a constant vector
    batch = nn.BatchNorm1d(4).double().eval()
    batch.running_var.copy_(torch.tensor([1.0, 4.0, 0.25, 9.0]))
    A = dense_matrix(batch, (4, 3)) - 0.0
    assert layer_constant(batch, (4, 3)).value == pytest.approx(true_norm(A, "l2"), rel=1e-12)


# Chains.


def network() -> nn.Sequential:
    source = torch.Generator().manual_seed(0)
    layers = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(4), nn.SiLU()),
        nn.Sequential(nn.Conv2d(4, 4, 3, stride=2), nn.MaxPool2d(2), nn.Dropout(0.2)),
        nn.Flatten(),
        nn.Linear(36, 5),
        nn.Softmax(dim=1),
    ).eval()
    for p in layers.parameters():
        p.data.copy_(torch.randn(p.shape, generator=source))
    return layers


@pytest.mark.parametrize("norm", NORMS, ids=lambda n: n.name)
def test_no_slope_of_a_network_exceeds_the_product(norm: Norm) -> None:
    layers = network()
    bound = product_of_norms(layers, (1, 14, 14), norm=norm)
    assert (bound.side, bound.evidence) == (Side.UPPER, Evidence.PROVED)
    double = layers.double()
    x = draw(1, 200, 1, 14, 14)
    y = x + 1e-3 * draw(2, *x.shape)
    with torch.no_grad():
        ratios = norm((double(x) - double(y)).flatten(1)) / norm((x - y).flatten(1))
    assert float(ratios.amax()) <= bound.value


def test_a_product_is_the_product() -> None:
    layers = network()
    value, x = 1.0, torch.zeros(1, 1, 14, 14)
    for layer in [m for m in layers.modules() if not isinstance(m, nn.Sequential)]:
        value *= layer_constant(layer, tuple(x.shape[1:])).value
        x = layer(x)
    assert product_of_norms(layers, (1, 14, 14)).value == pytest.approx(value, rel=1e-12)


def test_the_first_layer_that_is_not_known_is_named() -> None:
    body = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh(), nn.Bilinear(2, 2, 2)))
    with pytest.raises(InputError, match=r"network: got layer 1\.1: layer Bilinear, needed .*bound it by hand"):
        product_of_norms(body, (2,))
    with pytest.raises(InputError, match=r"layer 0: layer Dropout in training mode.*call .eval\(\) first"):
        product_of_norms(nn.Sequential(nn.Dropout(0.1)), (2,))
    with pytest.raises(InputError, match=r"layer itself: layer BatchNorm1d in training mode"):
        product_of_norms(nn.BatchNorm1d(2), (2, 3))
    with pytest.raises(InputError, match=r"layer 0: activation hardshrink"):
        product_of_norms(nn.Sequential(nn.Hardshrink()), (2,))
    with pytest.raises(InputError, match=r"Upsample in mode 'linear'"):
        product_of_norms(nn.Upsample(scale_factor=2, mode="linear"), (2, 3))
    with pytest.raises(ShapeError, match=r"size: got a sample of shape \(2,\) at layer 0 \(Linear\)"):
        product_of_norms(nn.Sequential(nn.Linear(3, 3)), (2,))
    with pytest.raises(InputError, match=r"Softmax over the batch"):
        product_of_norms(nn.Softmax(dim=0), (2,))
    with pytest.raises(InputError, match=r"layer 0: layer MaxPool1d with indices, needed one tensor"):
        product_of_norms(nn.Sequential(nn.MaxPool1d(2, return_indices=True)), (1, 4))
    normalised = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"parametrised ParametrizedLinear in training mode"):
        product_of_norms(normalised, (2,))
    assert product_of_norms(normalised.eval(), (2,)).value > 0.5
    hooked = nn.ReLU()
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match=r"ReLU with hooks"):
        product_of_norms(hooked, (2,))


def test_layers_without_a_floor_are_refused() -> None:
    with pytest.raises(InputError, match=r"eps: got 0.0, needed a number > 0"):
        layer_constant(nn.LayerNorm(3, eps=0.0), (3,))
