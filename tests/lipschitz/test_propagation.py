"""Ball propagation: never below a sampled Jacobian, exact on points, and wrong as soon as an extremum or a rounding is forgotten."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor, nn

from eqtheory.bounds import Evidence, Side
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import Ball, matrix_norm_upper_bound, propagated_lipschitz
from eqtheory.lipschitz.layers import _activation_slopes, _propagation
from eqtheory.lipschitz.layers._activation_slopes import SLACK, activation_of, on
from eqtheory.norms import BlockSum, Euclidean, Norm, Sum, Sup

ACTIVATIONS: list[nn.Module] = [
    nn.ReLU(),
    nn.ReLU6(),
    nn.LeakyReLU(0.2),
    nn.LeakyReLU(-0.5),
    nn.Hardtanh(-0.5, 0.7),
    nn.ELU(1.5),
    nn.ELU(0.5),
    nn.Softplus(),
    nn.Softplus(beta=3.0),
    nn.SiLU(),
    nn.GELU(),
    nn.Tanh(),
    nn.Sigmoid(),
]
NORMS: list[tuple[Norm, float]] = [(Euclidean(), 2), (Sum(), 1), (Sup(), float("inf"))]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(activation: nn.Module, seed: int, widths: tuple[int, ...] = (3, 8, 8, 2)) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k, (n, m) in enumerate(pairwise(widths)):
        layer = nn.Linear(n, m).double()
        layer.weight.data, layer.bias.data = normal(m, n, seed=seed + 2 * k), normal(m, seed=seed + 2 * k + 1)
        layers += [layer, activation]
    return nn.Sequential(*layers[:-1]).eval()


def sampled(net: nn.Module, low: Tensor, high: Tensor, order: float, count: int = 300) -> Tensor:
    unit = torch.rand(
        low.shape[0], count, low.shape[1], generator=torch.Generator().manual_seed(9), dtype=torch.float64
    )
    x = low[:, None] + (high - low)[:, None] * unit
    J = torch.func.vmap(torch.func.jacrev(lambda v: net(v.unsqueeze(0)).squeeze(0)))(x.flatten(0, 1))
    return torch.linalg.matrix_norm(J, ord=order).reshape(low.shape[0], count).amax(1)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("width", [2.0, 0.3, 1e-2])
def test_no_sampled_jacobian_exceeds_the_bound(activation: nn.Module, width: float) -> None:
    for seed in range(3):
        net, centre = network(activation, 10 * seed), normal(6, 3, seed=seed)
        for norm, order in NORMS:
            found = propagated_lipschitz(net, centre - width, centre + width, norm=norm)
            assert found.value.shape == (6,)
            assert (found.side, found.evidence, found.norm) == (Side.UPPER, Evidence.PROVED, norm.name)
            # The samples themselves are rounded: 30 operations of relative size u on positive sums of comparable size.
            assert bool((found.value * (1 + 1e-13) >= sampled(net, centre - width, centre + width, order)).all())


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_the_bound_shrinks_to_the_norm_of_the_jacobian(activation: nn.Module) -> None:
    net, x = network(activation, 3), normal(5, 3, seed=7)
    for norm, order in NORMS:
        local = sampled(net, x, x, order, count=1)
        excess = [propagated_lipschitz(net, x - w, x + w, norm=norm).value - local for w in (1e-2, 1e-4, 1e-6, 0.0)]
        # Radii are proportional to widths; at width 0 only the slack for rounding is left, grown through two layers.
        assert bool((excess[3] <= 1e-11 * (1 + local)).all())
        assert bool((excess[2] <= 2e-2 * excess[0] + 1e-11 * (1 + local)).all())


def test_the_bound_is_never_above_the_product_of_norms() -> None:
    for activation, steepest in ((nn.Tanh(), 1.0), (nn.GELU(), 1.1289041451851549), (nn.ReLU(), 1.0)):
        net = network(activation, 5)
        wide = torch.full((1, 3), 50.0, dtype=torch.float64)
        for norm, _ in NORMS:
            weights = [layer.weight.detach() for layer in net if isinstance(layer, nn.Linear)]
            product = steepest**2 * torch.stack([matrix_norm_upper_bound(w, norm) for w in weights]).prod()
            assert float(propagated_lipschitz(net, -wide, wide, norm=norm).value) <= float(product) * (1 + 1e-12)


def test_linear_networks_are_met_exactly() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Identity(), nn.Sequential(nn.Linear(3, 2)))
    A = net[3][0].weight.detach().double() @ net[1].weight.detach().double()
    low = torch.zeros(1, 4)
    for norm, order in NORMS:
        exact = float(torch.linalg.matrix_norm(A, ord=order))
        assert float(propagated_lipschitz(net, low, low + 1, norm=norm).value) == pytest.approx(exact, rel=1e-13)


def test_batch_norm_and_dropout_in_evaluation_mode() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 2)).double()
    net(normal(50, 3))  # fills the statistics
    net.eval()
    low = normal(4, 3, seed=1)
    found = propagated_lipschitz(net, low, low + 0.5)
    assert bool((found.value * (1 + 1e-13) >= sampled(net, low, low + 0.5, 2)).all())
    at = propagated_lipschitz(net, low, low).value
    assert at.tolist() == pytest.approx(sampled(net, low, low, 2, count=1).tolist(), rel=1e-10)


# The tables of activations.


def _reference(layer: nn.Module) -> Any:
    Phi, half = mpmath.ncdf, mpmath.mpf(1) / 2
    return {
        "SiLU": lambda t: t / (1 + mpmath.exp(-t)),
        "GELU": lambda t: t * Phi(t),
        "Tanh": mpmath.tanh,
        "Sigmoid": lambda t: half + mpmath.tanh(t / 2) / 2,
    }[type(layer).__name__]


@pytest.mark.parametrize("layer", [nn.SiLU(), nn.GELU(), nn.Tanh(), nn.Sigmoid()], ids=str)
def test_ranges_hold_against_many_digits(layer: nn.Module) -> None:
    found, exact = activation_of(layer), _reference(layer)
    assert found is not None
    ends = (
        torch.randn(200, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64).mul(3).sort(dim=1).values
    )
    with mpmath.workdps(30):
        for low, high in ends:
            inner = torch.cat([torch.linspace(float(low), float(high), 9, dtype=torch.float64), low[None], high[None]])
            for function, extrema, order in ((found.value, found.extrema, 0), (found.slope, found.slope_extrema, 1)):
                least, most = on(function, extrema, low, high)
                slack = SLACK * (1 + float(inner.abs().max()))
                for t in inner.clamp(low, high).tolist():
                    value = mpmath.diff(exact, mpmath.mpf(t)) if order else exact(mpmath.mpf(t))
                    assert float(least) - slack <= value <= float(most) + slack


def test_the_extrema_in_the_tables_solve_their_equations() -> None:
    for layer in ACTIVATIONS:
        found = activation_of(layer)
        assert found is not None
        if type(layer).__name__ in {"SiLU", "GELU"}:
            exact = _reference(layer)
            with mpmath.workdps(30):
                for place, value in found.extrema:
                    assert abs(mpmath.diff(exact, mpmath.mpf(place))) < 1e-15
                    assert abs(exact(mpmath.mpf(place)) - value) < SLACK
                for place, value in found.slope_extrema:
                    assert abs(mpmath.diff(exact, mpmath.mpf(place), 2)) < 1e-15
                    assert abs(mpmath.diff(exact, mpmath.mpf(place)) - value) < SLACK


def single(activation: nn.Module) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), activation).double()
    net[0].weight.data.fill_(1.0)
    return net


def test_a_forgotten_maximum_of_a_slope_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    net = single(nn.GELU())
    low = torch.tensor([[0.9]], dtype=torch.float64)
    true = sampled(net, low, low + 1, 2, count=3000)
    assert bool((propagated_lipschitz(net, low, low + 1).value >= true).all())
    honest = activation_of(nn.GELU())
    assert honest is not None
    monkeypatch.setattr(_propagation, "activation_of", lambda _: replace(honest, slope_extrema=()))
    faulty = propagated_lipschitz(net, low, low + 1)
    # The product of norms takes the same slopes, so the fault shows in the bound that is returned.
    assert bool((faulty.value < true - 1e-3).all())


def test_forgotten_roundings_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def violations() -> int:
        seen = 0
        for seed in range(20):
            w, x = normal(4, 30, seed=seed), normal(1, 30, seed=100 + seed)
            ball = Ball(x, torch.zeros_like(x)).map(w)
            for i in range(4):
                exact = sum(
                    (Fraction(a) * Fraction(b) for a, b in zip(w[i].tolist(), x[0].tolist(), strict=True)), Fraction(0)
                )
                seen += abs(exact - Fraction(float(ball.middle[0, i]))) > Fraction(float(ball.radius[0, i]))
        return seen

    assert violations() == 0
    monkeypatch.setattr(_propagation, "gamma", lambda *_: 0.0)
    assert violations() > 20


def test_products_of_balls_hold_all_products() -> None:
    a, b = Ball(normal(50), normal(50, seed=1).abs()), Ball(normal(50, seed=2), normal(50, seed=3).abs())
    found = a.times(b)
    for k in range(50):
        A, B = ([Fraction(float(t.middle[k])) + s * Fraction(float(t.radius[k])) for s in (-1, 1)] for t in (a, b))
        m, r = Fraction(float(found.middle[k])), Fraction(float(found.radius[k]))
        assert all(abs(p * q - m) <= r for p in A for q in B)


def test_a_range_that_overflows_is_infinite_and_no_number_is_lost() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    for layer in net:
        layer.weight.data.fill_(1e200)
    found = propagated_lipschitz(net, torch.zeros(1, 1), torch.ones(1, 1)).value
    assert found.tolist() == [float("inf")]


class _Doubled(nn.Tanh):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return 2 * super().forward(input)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Softmax(dim=1), r"network\[1\]: got Softmax, needed Linear"),
        (nn.Dropout(0.1), "got Dropout in training mode"),
        (nn.BatchNorm1d(3), r"network\[1\]: got BatchNorm1d that normalizes by the batch"),
        (nn.GELU(approximate="tanh"), "needed the exact GELU"),
        (nn.Flatten(0), r"network\[1\]: got Flatten"),
        (nn.ELU(-1.0), "needed alpha >= 0"),
        (_Doubled(), r"network\[1\]: got _Doubled"),
    ],
)
def test_layers_without_a_bound_are_refused(layer: nn.Module, message: str) -> None:
    net = nn.Sequential(nn.Linear(2, 3), layer).train()
    with pytest.raises(InputError, match=message):
        propagated_lipschitz(net, torch.zeros(1, 2), torch.ones(1, 2))


def test_other_refusals() -> None:
    net, zero, one = nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2), torch.ones(1, 2)
    with pytest.raises(InputError, match="low: got a corner above the upper one"):
        propagated_lipschitz(net, one, zero)
    with pytest.raises(ShapeError, match=r"network\[0\]: got 2 inputs, needed 3"):
        propagated_lipschitz(net, torch.zeros(1, 3), torch.ones(1, 3))
    with pytest.raises(ShapeError):
        propagated_lipschitz(net, zero, torch.ones(2, 2))
    with pytest.raises(InputError, match="needed l2, l1 or sup"):
        propagated_lipschitz(net, zero, one, norm=BlockSum((2,), (1.0,), Sup()))
    net[0].register_forward_hook(lambda _module, _inputs, output: 2 * output)
    with pytest.raises(InputError, match="got a layer with hooks"):
        propagated_lipschitz(net, zero, one)
    broken = nn.Sequential(nn.Linear(2, 2))
    broken[0].weight.data[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"network\[0\].weight"):
        propagated_lipschitz(broken, zero, one)


def test_what_rests_on_elementary_functions_says_so() -> None:
    zero, one = torch.zeros(1, 3), torch.ones(1, 3)
    assert propagated_lipschitz(network(nn.ReLU(), 0), zero, one).assumptions == ()
    assert len(propagated_lipschitz(network(nn.Tanh(), 0), zero, one).assumptions) == 1
    assert _activation_slopes.SLACK == 64 * 2.0**-53
