"""Random programs against sampled Jacobians, and planted faults that the comparison catches."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from eqtheory.lipschitz import traced_lipschitz
from eqtheory.lipschitz.traced import _activations, _affine, _call, _nonlinear, _slopes, _values, _walk
from tests.lipschitz.traced_maps import NORMS, SLACK, draw, excess, points_of

SMALL = (1, 2, 3, 3)
KERNEL, DENSE, SIDE = draw(1, 2, 2, 3, 3) / 3, draw(2, 18, 18) / 4, draw(3, 3, 3) / 2

UNARY: list[Callable[[Tensor], Tensor]] = [
    torch.tanh,
    torch.sigmoid,
    F.relu,
    F.gelu,
    F.silu,
    torch.sin,
    torch.abs,
    lambda y: F.leaky_relu(y, 0.2),
    lambda y: F.elu(y, 1.5),
    lambda y: y.clamp(-0.5, 1.0),
    lambda y: torch.softmax(y, dim=-1),
    lambda y: F.layer_norm(y, (3, 3), eps=0.2),
    lambda y: F.conv2d(y, KERNEL, padding=1),
    lambda y: F.conv2d(F.pad(y, (1, 1, 1, 1), mode="circular"), KERNEL),
    lambda y: (y.flatten(1) @ DENSE).reshape(SMALL),
    lambda y: SIDE @ y,
    lambda y: y.flip(2).roll(1, 3),
    lambda y: y.mean(1, keepdim=True).expand(SMALL),
    lambda y: 2 * y.sum(-1, keepdim=True) - y,
    lambda y: torch.cat([y[:, 1:], 0.5 * y[:, :1]], dim=1),
    lambda y: torch.fft.ifft(torch.fft.fft(y, dim=-1), dim=-1).real,
    lambda y: F.max_pool2d(y, 3, stride=1, padding=1),
    lambda y: y.sort(dim=-1).values,
    lambda y: -1.5 * y + 0.3,
]
BINARY: list[Callable[[Tensor, Tensor], Tensor]] = [
    torch.add,
    torch.sub,
    torch.maximum,
    torch.minimum,
    lambda a, b: 0.7 * a + 0.3 * b,
    lambda a, b: torch.tanh(a) * torch.sigmoid(b),
    lambda a, b: torch.cat([a[:, :1], b[:, 1:]], dim=1),
    lambda a, b: torch.sin(a) @ torch.softmax(b, -1),
    lambda a, b: torch.where(torch.eye(3, dtype=torch.bool), a, b),
]


def program(steps: list[tuple[int, int, int]]) -> Callable[[Tensor, Tensor], Tensor]:
    """Each step applies an operation to values that are already there, and adds its result to them."""

    def run(y: Tensor, x: Tensor) -> Tensor:
        values = [y, x]
        for which, first, second in steps:
            a, b = values[-1 - first % len(values)], values[-1 - second % len(values)]
            k = which % (len(UNARY) + len(BINARY))
            values.append(UNARY[k](a) if k < len(UNARY) else BINARY[k - len(UNARY)](a, b))
        return values[-1]

    return run


STEPS = st.lists(
    st.tuples(st.integers(0, len(UNARY) + len(BINARY) - 1), st.integers(0, 2), st.integers(0, 3)),
    min_size=1,
    max_size=7,
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(steps=STEPS, norm=st.sampled_from(NORMS))
def test_no_program_is_steeper_than_its_bound(steps: list[tuple[int, int, int]], norm: tuple) -> None:
    assert excess(program(steps), points_of((SMALL, SMALL))[1:], [norm]) <= 1 + SLACK


# Faults.


def probe(function: Callable[..., Tensor], place: int, **options: int) -> float:
    points = [(torch.zeros(1, 4, dtype=torch.float64),), (0.3 * draw(0, 1, 4),), (3 * draw(1, 1, 4),)]
    return excess(function, points, [NORMS[place]], **options)


def branches(y: Tensor) -> Tensor:
    return y + torch.tanh(y)


def pair(y: Tensor) -> Tensor:
    return torch.cat([torch.tanh(y), torch.sin(y)], dim=-1)


def repeated(y: Tensor) -> Tensor:
    return torch.sin(y).sum(-1, keepdim=True).expand(1, 4)


def honest_sums(linear: Callable[..., Tensor], shapes: list, place: int) -> tuple[float, float]:
    return (1.0, 1.0)  # what it costs to repeat is forgotten


def no_mixed(self: _slopes._Pairs, sizes: list[float]) -> float:
    return sum((s * n) ** 2 for s, n in zip(sizes, self.norms, strict=True)) ** 0.5


FAULTS: dict[str, tuple[object, str, object, Callable[..., Tensor], int, dict[str, int]]] = {
    "triangle replaced by the largest": (_values, "_on_top", max, branches, 0, {"exact_up_to": 1}),
    "concatenation by the largest": (_values, "_side_by_side", lambda p, _: max(p), pair, 0, {"exact_up_to": 1}),
    "repetition for free": (_affine, "_one_sums", honest_sums, repeated, 0, {"exact_up_to": 1}),
    "mixed products dropped": (_slopes._Pairs, "slope", no_mixed, branches, 0, {}),
    "rows of the first part alone": (
        _slopes._Rows,
        "slope",
        lambda self, sizes: float((sizes[0] * self.rows[0]).amax()),
        branches,
        2,
        {},
    ),
    "limits of a product": (
        _slopes.Scope,
        "largest",
        lambda *_: 0.2,
        lambda y: torch.sin(y) * torch.cos(y),
        0,
        {},
    ),
    "a range that is too small": (
        _slopes.Scope,
        "limits",
        lambda *_: (1.5, 2.0),
        lambda y: (1 + torch.sigmoid(y)).reciprocal(),
        0,
        {},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, fault, function, place, options = FAULTS[name]
    assert probe(function, place, **options) <= 1 + SLACK
    monkeypatch.setattr(owner, attribute, fault)
    assert probe(function, place, **options) > 1.05


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "sin", "erf", "cos", "atan"])
def test_a_constant_that_is_too_small_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = getattr(torch, name)
    centred = (lambda y: torch.cos(y - torch.pi / 2)) if name == "cos" else function
    slope, limits = _activations.SUPREMA[name]
    assert probe(centred, 0) <= 1 + SLACK
    monkeypatch.setitem(_activations.SUPREMA, name, (0.8 * slope, limits))
    assert probe(centred, 0) > 1.2


def test_a_softmax_constant_that_is_too_small_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(y: Tensor) -> Tensor:
        return torch.softmax(y[:, :2], -1)

    assert probe(two, 0) <= 1 + SLACK
    honest = _nonlinear._grouped
    monkeypatch.setattr(_nonlinear, "_grouped", lambda call, factor, limits: honest(call, 0.8 * factor, limits))
    assert probe(two, 0) > 1.2


def test_a_broadcast_for_free_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tanh(s) t` with a number `s`: the product repeats `s`, and its slope grows by the root of how often."""

    def gate(y: Tensor) -> Tensor:
        return torch.tanh(y.sum(-1, keepdim=True)) + torch.zeros(1, 4, dtype=torch.float64)

    assert probe(gate, 0, exact_up_to=1) <= 1 + SLACK
    monkeypatch.setattr(_call.Scope, "of_norm", lambda _self, *, l2, l1, sup: 1.0)
    assert probe(gate, 0, exact_up_to=1) > 1.5


def test_every_rule_belongs_to_an_operation_of_torch() -> None:
    # Names that are not operations would never be asked for, and nobody would notice.
    assert [name for name in _walk.RULES if not hasattr(torch.ops.aten, name)] == []


def stationary_slope(name: str) -> float:
    """The largest derivative, where the second one vanishes."""
    with mpmath.workdps(20):
        function = {
            "silu": lambda v: v / (1 + mpmath.exp(-v)),
            "mish": lambda v: v * mpmath.tanh(mpmath.log1p(mpmath.exp(v))),
            "gelu": lambda v: v * mpmath.ncdf(v),
            "gelu tanh": lambda v: v / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (v + 0.044715 * v**3))),
        }[name]
        start = {"silu": 2.4, "mish": 1.49, "gelu": 1.414, "gelu tanh": 1.4185}[name]
        where = mpmath.findroot(lambda v: mpmath.diff(function, v, 2), start)
        return float(mpmath.diff(function, where))


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("silu", _activations.SUPREMA["silu"][0]),
        ("mish", _activations.SUPREMA["mish"][0]),
        ("gelu", 1.12890415),
        ("gelu tanh", 1.12899307),
    ],
)
def test_rounded_suprema_are_above_the_stationary_values(name: str, constant: float) -> None:
    assert stationary_slope(name) <= constant <= stationary_slope(name) * (1 + 1e-7)


def test_a_leaf_too_long_for_a_matrix_costs_its_own_path_only() -> None:
    """A gradient step beside a wide layer: the step keeps its exact norm, the layer adds the product of its own."""
    A, B = draw(21, 20, 20), draw(22, 150, 20)
    A, B = A / torch.linalg.matrix_norm(A, ord=2), B / torch.linalg.matrix_norm(B, ord=2)
    y = torch.zeros(1, 20, dtype=torch.float64)

    def step(y: Tensor, x: Tensor) -> Tensor:
        return y - 0.9 * (y @ A.T - x) @ A + 0.05 * torch.relu(y @ B.T) @ B

    exact = float(torch.linalg.matrix_norm(torch.eye(20).double() - 0.9 * A.T @ A, ord=2))
    whole, short = (traced_lipschitz(step, (y, y), exact_up_to=limit)[0].value for limit in (2048, 100))
    assert exact <= whole <= short <= (exact + 0.05) * (1 + 1e-6)
    points = draw(23, 64, 20)
    slopes = torch.linalg.matrix_norm(
        torch.autograd.functional.jacobian(lambda t: step(t, t.detach()).sum(0), points).permute(1, 0, 2), ord=2
    )
    assert float(slopes.max()) <= whole
