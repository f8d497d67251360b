"""Every assertion catches the fault it is for, lets an honest operator pass, and grants rounding what it explains and no more."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side, Verdict, VerdictKind
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.norms import Euclidean, Norm, Sup
from eqtheory.operators import FunctionOperator, Regularity
from eqtheory.roundoff import Rounding
from eqtheory.targets import ReciprocalMap
from eqtheory.testing.assertions import (
    assert_batch_independent,
    assert_contractive,
    assert_deterministic,
    assert_fixed_point,
    assert_lipschitz,
    assert_locally_lipschitz,
    assert_monotone,
    assert_nonexpansive,
    assert_regular,
)
from eqtheory.testing.evidence import EvidenceError, Refuted

G = Callable[[Tensor, Any], Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


X, Y, Z, W = (draw(12, 3, seed=k) for k in range(4))
HALF = Regularity.declared(mu=0.5, L0=1.0, L1=0.0)


def half(y: Tensor, x: Tensor) -> Tensor:
    return 0.5 * y + x


def matrix_of(factor: float) -> G:
    A = factor * torch.linalg.qr(draw(3, 3, seed=9)).Q
    return lambda y, x: y @ A.to(y.dtype).T + x


# Contraction.


def test_an_attained_factor_passes_and_all_pairs_are_counted() -> None:
    verdict = assert_contractive(half, X, Y, Z, W, mu=0.5)
    assert verdict.kind is VerdictKind.NOT_REFUTED
    assert verdict.trials == 3 * len(X)
    assert 0 <= verdict.worst_margin < 1e-12
    assert "|y1 - y2|" in verdict.method


@pytest.mark.parametrize("excess", [1e-9, 1e-3, 1.0])
def test_an_excess_is_refuted_with_its_witness(excess: float) -> None:
    with pytest.raises(Refuted) as caught:
        assert_contractive(matrix_of(0.5 + excess), X, Y, Z, mu=0.5)
    text = str(caught.value)
    assert caught.value.margin == pytest.approx(-2 * excess, rel=1e-3)
    assert "claimed 0.5, excess" in text
    assert any(
        f"y1 = {y.tolist()}, y2 = {z.tolist()}, x = {x.tolist()}" in text for x, y, z in zip(X, Y, Z, strict=True)
    )
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize(
    "claim",
    [
        0.5,
        Bound(0.5, Side.UPPER, "argument", Evidence.DECLARED),
        LocalBound(lambda x: torch.full((len(x),), 0.5), Side.UPPER, "argument", Evidence.DECLARED),
        torch.full((12,), 0.5),
        lambda x: 0.5 + 0 * x[:, 0],
    ],
)
def test_claims_come_in_every_form(claim: Any) -> None:
    assert assert_contractive(half, X, Y, Z, mu=claim).trials == 12
    with pytest.raises(Refuted):
        assert_contractive(matrix_of(0.51), X, Y, Z, mu=claim)


def test_the_declared_factor_and_norm_are_the_default() -> None:
    # In the sup norm this expands; in l2 it is a rotation by 45 degrees of size 0.99.
    c = 0.99 * math.sqrt(0.5)
    A = torch.tensor([[c, -c], [c, c]], dtype=torch.float64)
    y, z, x = torch.ones(1, 2).double(), torch.zeros(1, 2).double(), torch.zeros(1, 2).double()

    def operator(norm: Any) -> FunctionOperator:
        known = Regularity.declared(mu=0.995, L0=1.0, L1=0.0, state_norm=norm)
        return FunctionOperator(lambda y, x: y @ A.T + x, regularity=known)

    assert assert_contractive(operator(Euclidean()), x, y, z).trials == 1
    with pytest.raises(Refuted, match=r"slope 1\.40007, claimed 0\.995"):
        assert_contractive(operator(Sup()), x, y, z)
    with pytest.raises(Refuted):
        assert_contractive(operator(Euclidean()), x, y, z, norm=Sup())


def test_one_bad_sample_is_enough() -> None:
    def G(y: Tensor, x: Tensor) -> Tensor:
        return torch.where(x > 2, 1.5, 0.5) * y

    x = torch.zeros(12, 3).double()
    x[7] = 3.0
    with pytest.raises(Refuted, match=r"x = \[3.0, 3.0, 3.0\]: slope 1.5"):
        assert_contractive(G, x, Y, Z, mu=0.5)


# Rounding.


def close_pairs(distance: float, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    y = (1 + draw(256, 1, seed=5).abs()).to(dtype)
    return y, y + distance


def test_rounding_alone_gives_large_slopes_and_is_granted() -> None:
    y, z = close_pairs(3e-16)

    def G(y: Tensor, x: Tensor) -> Tensor:
        return torch.sin(100 * (y / 100)) / 3 + 1.0

    slopes = (G(y, y) - G(z, z)).abs() / (y - z).abs().clamp_min(1e-300)
    assert float(slopes[y != z].max()) > 0.4  # steeper than 1/3
    far = torch.zeros_like(y)
    assert assert_contractive(G, y, y, z, far, mu=1 / 3).worst_margin >= 0


def test_pairs_that_could_show_nothing_are_no_evidence() -> None:
    y, z = close_pairs(3e-16)
    with pytest.raises(EvidenceError, match="contraction: no pair decides: points coincide, or are so close"):
        assert_contractive(half, y, y, z, mu=0.5)
    with pytest.raises(EvidenceError, match="lipschitz: no pair decides"):
        assert_lipschitz(torch.sin, Y, Y, bound=1.0)


def test_a_declared_rounding_takes_the_place_of_the_assumed_one() -> None:
    y, z = close_pairs(1e-7)
    noisy = matrix_of(1.0)

    def G(y: Tensor, x: Tensor) -> Tensor:
        # Cancels terms of size 1e9: errs by 1e-7, which the assumption does not know.
        return (0.5 * y + 1e9) - 1e9

    with pytest.raises(Refuted):
        assert_contractive(G, y, y, z, mu=0.5)
    coarse = Rounding(relative=0.0, constant=4e9)
    far = torch.zeros_like(y)
    assert assert_contractive(G, y, y, z, far, mu=0.5, rounding=coarse).trials >= 256
    known = Regularity(HALF.mu, HALF.L0, HALF.L1, Euclidean(), Euclidean(), coarse)
    assert assert_contractive(FunctionOperator(G, regularity=known), y, y, z, far).trials >= 256
    # And it does not hide what is larger.
    with pytest.raises(Refuted):
        assert_contractive(noisy, X, Y, Z, mu=0.5, rounding=coarse)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_single_precision_is_granted_its_own_rounding(dtype: torch.dtype) -> None:
    x, y, z = (t.to(dtype) for t in (X, Y, Z))
    assert assert_contractive(matrix_of(0.75), x, y, z, mu=0.75).trials == 12
    with pytest.raises(Refuted):
        assert_contractive(matrix_of(0.76), x, y, z, mu=0.75)


@pytest.mark.parametrize(("dtype", "entries"), [(torch.bfloat16, 200), (torch.float16, 2000), (torch.bfloat16, 16)])
def test_many_entries_of_half_precision_are_compared_like_others(dtype: torch.dtype, entries: int) -> None:
    y, z = draw(4, entries, dtype=dtype), draw(4, entries, seed=1, dtype=dtype)
    assert assert_contractive(half, y, y, z, mu=0.75).trials == 4
    assert assert_monotone(lambda v: 2 * v, y, z).trials == 4
    with pytest.raises(Refuted):
        assert_contractive(lambda y, x: 3 * y + x, y, y, z, mu=0.75)


@pytest.mark.parametrize(
    ("dtype", "jump"),
    [(torch.float16, 1e4), (torch.float16, 4e4), (torch.float32, 3e38), (torch.float64, 1e5), (torch.float64, 1.7e308)],
)
@pytest.mark.parametrize("norm", [Euclidean(), Sup()])
def test_a_jump_whose_size_overflows_is_refuted(dtype: torch.dtype, jump: float, norm: Norm) -> None:
    y, z = torch.tensor([[0.1], [2.0]], dtype=dtype), torch.tensor([[0.2], [-2.0]], dtype=dtype)

    def G(y: Tensor, x: Tensor) -> Tensor:
        return torch.where(y.abs() > 1, jump * y.sign(), 0.5 * y) + 0 * x

    with pytest.raises(Refuted, match=r"contraction: .*y1 = \[2.0\], y2 = \[-2.0\]"):
        assert_contractive(G, torch.zeros_like(y), y, z, mu=0.75, norm=norm)


def test_a_distance_that_overflows_decides_nothing() -> None:
    y = torch.full((1, 1), 1.7e308, dtype=torch.float64)
    with pytest.raises(EvidenceError, match="no pair decides"):
        assert_contractive(lambda y, x: 0.5 * y + 0 * x, torch.zeros_like(y), y, -y, mu=0.75)


# Nonexpansive, regular.


def test_an_isometry_is_nonexpansive_and_a_little_more_is_not() -> None:
    assert assert_nonexpansive(matrix_of(1.0), X, Y, Z).trials == 12
    with pytest.raises(Refuted, match="nonexpansive: violated"):
        assert_nonexpansive(matrix_of(1 + 1e-9), X, Y, Z)


def test_a_regular_operator_passes_both_parts() -> None:
    verdict = assert_regular(half, (X, W), (Y, Z), regularity=HALF)
    assert verdict.trials == 2 * 12 + 2 * 12
    assert verdict.worst_margin >= 0


@pytest.mark.parametrize(
    ("G", "quantity"),
    [
        (lambda y, x: 0.51 * y + x, "contraction"),
        (lambda y, x: 0.5 * y + 1.01 * x, "simplicity"),
        (lambda y, x: 0.5 * y + torch.sign(x), "simplicity"),
    ],
)
def test_each_part_of_regularity_is_refuted_by_name(G: G, quantity: str) -> None:
    close = X.clone()
    close[:, 0] = -1e-3 * X[:, 0].sign()
    near = close.clone()
    near[:, 0] = -close[:, 0]
    with pytest.raises(Refuted, match=f"{quantity}: violated"):
        assert_regular(G, (close, near), (Y, Z), regularity=HALF)


def test_inputs_of_a_narrower_type_are_compared_without_rounding() -> None:
    """The budget is attained: rounding a distance to the type of the inputs would be an excess."""
    inputs, states = [draw(64, 5, seed=k, dtype=torch.float32) for k in (0, 1)], [draw(64, 5, seed=k) for k in (2, 3)]
    assert assert_regular(lambda y, x: 0.5 * y + x.double(), inputs, states, regularity=HALF).trials == 256
    with pytest.raises(Refuted, match="simplicity"):
        assert_regular(lambda y, x: 0.5 * y + 1.000001 * x.double(), inputs, states, regularity=HALF)


def test_the_budget_grows_with_the_state_where_it_is_declared_to() -> None:
    def G(y: Tensor, x: Tensor) -> Tensor:
        return 0.5 * y + 0.1 * torch.sin(x) * y

    grows = Regularity.declared(mu=0.6, L0=0.0, L1=0.1, state_norm=Sup(), input_metric=Sup())
    assert assert_regular(G, (X, W), (Y, Z), regularity=grows).trials > 0
    constant = Regularity.declared(mu=0.6, L0=0.1, L1=0.0, state_norm=Sup(), input_metric=Sup())
    with pytest.raises(Refuted, match="simplicity"):
        assert_regular(G, (X, X + 1e-3), (100 * Y, Z), regularity=constant)


# Maps.


def test_lipschitz_maps_pass_and_steeper_ones_do_not() -> None:
    assert assert_lipschitz(torch.sin, X, Y, Z, bound=1.0).trials == 36
    with pytest.raises(Refuted, match=r"lipschitz: violated .*claimed 0.9"):
        assert_lipschitz(torch.sin, 1e-3 * X, 1e-3 * Y, bound=0.9)
    with pytest.raises(Refuted):
        assert_lipschitz(torch.sqrt, torch.zeros(1).double(), torch.tensor([1e-8]).double(), bound=1000.0)


def test_a_map_may_change_its_shape() -> None:
    assert assert_lipschitz(lambda x: x.sum(dim=1), X, Y, bound=3**0.5).trials == 12
    with pytest.raises(Refuted):
        assert_lipschitz(lambda x: x.sum(dim=1), X, X + 1, bound=1.7)


def test_local_bounds_hold_on_balls() -> None:
    x = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    # On B(x, r) the slope of 1/x is at most (x - r)^-2.
    verdict = assert_locally_lipschitz(
        lambda x: 1 / x, x, radius=0.25, generator=seeded(), bound=lambda x: (x - 0.25) ** -2
    )
    assert verdict.trials > 80
    assert assert_locally_lipschitz(ReciprocalMap(), x[:2], radius=x[:2] / 2, generator=seeded()).trials > 30


@pytest.mark.parametrize("bound", [1.0, lambda x: x**-2])
def test_bounds_that_forget_the_ball_are_refuted(bound: Any) -> None:
    x = torch.tensor([0.5, 1.0], dtype=torch.float64)
    with pytest.raises(Refuted, match="locally Lipschitz: violated"):
        assert_locally_lipschitz(lambda x: 1 / x, x, radius=0.25, generator=seeded(), bound=bound)


def test_points_outside_the_domain_are_left_out() -> None:
    x = torch.tensor([1e-3], dtype=torch.float64)
    contains = lambda z: z > 0  # noqa: E731
    # The root has no bound near zero, and is not asked for negative numbers.
    with pytest.raises(Refuted, match="locally Lipschitz"):
        assert_locally_lipschitz(torch.sqrt, x, radius=0.1, generator=seeded(), bound=1.0, contains=contains)
    with pytest.raises(Refuted, match="finite values"):
        assert_locally_lipschitz(torch.sqrt, x, radius=0.1, generator=seeded(), bound=1e9)


def test_the_same_generator_state_gives_the_same_verdict() -> None:
    def run() -> Verdict:
        return assert_locally_lipschitz(torch.sin, X, radius=1.0, generator=seeded(3), bound=1.0)

    assert run() == run()


def test_monotone_maps_pass_and_others_do_not() -> None:
    skew = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    assert assert_monotone(lambda v: v @ skew.T, X, Y).worst_margin >= 0
    assert assert_monotone(lambda v: 2 * v + v @ skew.T, X, Y, modulus=2.0).trials == 12
    with pytest.raises(Refuted, match=r"monotone: violated .*modulus 2, claimed 2.001, short by 0.001"):
        assert_monotone(lambda v: 2 * v + v @ skew.T, X, Y, modulus=2.001)
    with pytest.raises(Refuted, match="modulus -1, claimed 0"):
        assert_monotone(lambda v: -v, X, Y)


@pytest.mark.parametrize(
    "function", [lambda v: v.sum(1, keepdim=True), lambda v: v[:, :2], lambda v: (v**2).sum(1), lambda v: v[None]]
)
def test_values_of_another_shape_are_no_monotone_map(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(Refuted, match=r"shape: .*F\(x\) of shape .* where \(12, 3\) is needed"):
        assert_monotone(function, X, Y)


# Laws.


def test_a_fixed_point_passes_and_its_neighbour_does_not() -> None:
    verdict = assert_fixed_point(half, X, 2 * X, 1e-12)
    assert (verdict.trials, verdict.worst_margin) == (12, 1.0)
    moved = 2 * X.clone()
    moved[4, 1] += 1e-3
    with pytest.raises(Refuted, match=r"fixed point: violated .* sample 4: .*residual 0.0005, allowed 1e-12"):
        assert_fixed_point(half, X, moved, 1e-12)
    allowed = torch.full((12,), 1e-12).double()
    allowed[4] = 1e-3
    assert assert_fixed_point(half, X, moved, allowed).worst_margin == pytest.approx(0.5)


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        self.calls += 1
        return half(y, x) + 1e-15 * (self.calls > 3)


class LastState:
    """Hidden state that equal states in a row do not show."""

    last: Tensor | None = None

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        last = y if self.last is None else self.last
        self.last = y.clone()
        return half(y, x) + 0.1 * (y - last)


NOISE = seeded(4)


@pytest.mark.parametrize(
    ("operator", "quantity"),
    [
        (Counter(), "deterministic"),
        (LastState(), "deterministic"),
        (lambda y, x: half(y, x) + torch.randn(y.shape, generator=NOISE), "deterministic"),
        (lambda y, x: y.mul_(0.5) + x, "arguments untouched"),
        (lambda y, x: 0.5 * y + x.add_(1.0), "arguments untouched"),
    ],
)
def test_what_is_no_function_is_refuted(operator: G, quantity: str) -> None:
    keep_x, keep_y = X.clone(), Y.clone()
    with pytest.raises(Refuted, match=f"{quantity}: violated with margin -inf by"):
        assert_deterministic(operator, X, Y)
    assert torch.equal(X, keep_x)
    assert torch.equal(Y, keep_y)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: x["gain"].mul_(2), r"x\['gain'\]: 1.0 became 2.0 in place"),
        (lambda x: x["b"].resize_(36), r"x\['b'\]: shape \(12, 3\) became \(36,\) in place"),
    ],
)
def test_changes_of_what_has_no_rows_or_changes_its_shape_are_refuted(
    change: Callable[[Any], Tensor], text: str
) -> None:
    nest = {"b": X.clone(), "gain": torch.tensor(1.0, dtype=torch.float64)}

    def G(y: Tensor, x: Any) -> Tensor:
        out = 0.5 * y + x["b"]
        change(x)
        return out

    with pytest.raises(Refuted, match=f"arguments untouched: .*{text}"):
        assert_deterministic(G, nest, Y)


def test_functions_of_nests_are_deterministic_and_independent() -> None:
    nest = (X, {"shift": W})

    def G(y: Tensor, x: Any) -> Tensor:
        return 0.5 * y + x[0] + x[1]["shift"]

    assert assert_deterministic(G, nest, Y, repeats=2).trials == 2
    assert assert_batch_independent(G, nest, Y, bitwise=True).worst_margin == 0.0
    with pytest.raises(Refuted, match=r"x = \(x\[0\] = "):
        assert_contractive(lambda y, x: 2 * G(y, x), nest, Y, Z, mu=0.5)


@pytest.mark.parametrize(
    ("operator", "company"),
    [
        (lambda y, x: half(y, x) + 1e-9 * y.mean(dim=0), "half"),
        (lambda y, x: 0.5 * y.sort(dim=0).values + x, ""),
        (lambda y, x: torch.nn.functional.batch_norm(y, None, None, training=True) + x, "half"),
        (lambda y, x: half(y, x) + torch.arange(len(y)).unsqueeze(1), "in reverse order"),
        (lambda y, x: half(y, x) if len(y) > 1 else 0 * y, "alone"),
        (lambda y, x: half(y, x) if bool(y.sum() > 0) else x - y, ""),
    ],
)
def test_company_is_noticed(operator: G, company: str) -> None:
    with pytest.raises(Refuted, match=f"batch independence: violated .*sample .* with all 12, .*{company}"):
        assert_batch_independent(operator, X, Y)


def test_matrix_products_may_round_differently_in_company() -> None:
    y, x = draw(33, 17, seed=6), draw(33, 17, seed=7)
    A = draw(17, 17, seed=8)
    verdict = assert_batch_independent(lambda y, x: y @ A.T + x, x, y)
    assert verdict.worst_margin > 0
    assert verdict.trials == 33 + 16 + 17 + 9


# What is refused, and what is refuted whatever the claim.


@pytest.mark.parametrize(
    ("operator", "text"),
    [
        (lambda y, x: y[:, :1], r"shape: violated .* G\(y, x\) of shape \(12, 1\) where \(12, 3\) is needed"),
        (lambda y, x: None, "shape: violated .* of NoneType where"),
        (lambda y, x: y.unsqueeze(2), r"of shape \(12, 3, 1\)"),
        (lambda y, x: y.float(), "dtype: violated .* of torch.float32 from torch.float64"),
        (lambda y, x: y / (y.abs() < 0), r"finite values: violated .*inf.* at y = \["),
        (lambda y, x: torch.log(y), "finite values: violated .*nan"),
    ],
)
@pytest.mark.parametrize(
    "check",
    [
        lambda G: assert_contractive(G, X, Y, Z, mu=0.5),
        lambda G: assert_regular(G, (X, W), (Y, Z), regularity=HALF),
        lambda G: assert_fixed_point(G, X, Y, 1.0),
        lambda G: assert_deterministic(G, X, Y),
        lambda G: assert_batch_independent(G, X, Y),
    ],
)
def test_results_that_are_no_states_are_refuted(operator: G, text: str, check: Callable[[G], Verdict]) -> None:
    with pytest.raises(Refuted, match=text):
        check(operator)


BAD = Y.clone()
BAD[3, 1] = math.nan


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: assert_contractive(half, X, Y, mu=0.5), InputError, "states: got 1 batches, needed at least 2; pairs"),
        (lambda: assert_contractive(half, X, Y, Z), InputError, "regularity: got None, needed constants to compare"),
        (
            lambda: assert_contractive(half, X, Y, Z, mu=1.0),
            InputError,
            "mu: got 1.0, needed 0 <= mu < 1; other claims",
        ),
        (lambda: assert_contractive(half, X, Y, Z, mu=-0.1), InputError, "mu: got -0.1"),
        (lambda: assert_contractive(half, X, Y, Z, mu=math.nan), InputError, "mu: got nan"),
        (lambda: assert_contractive(half, X, Y, Z, mu=torch.full((5,), 0.5)), ShapeError, "mu: got shape"),
        (lambda: assert_contractive(half, X, Y, Z[:5], mu=0.5), ShapeError, r"states\[1\]: got shape \(5, 3\)"),
        (lambda: assert_contractive(half, X, Y, Z.float(), mu=0.5), ShapeError, r"states\[1\]: .*float32"),
        (
            lambda: assert_contractive(half, X[:5], Y, Z, mu=0.5),
            ShapeError,
            r"x: got shape \(5, 3\), needed a batch axis of 12",
        ),
        (
            lambda: assert_contractive(half, X, BAD, Z, mu=0.5),
            NonFiniteError,
            r"states\[0\]: got nan at index \(3, 1\)",
        ),
        (lambda: assert_contractive(half, BAD, Y, Z, mu=0.5), NonFiniteError, "x: got a NaN"),
        (lambda: assert_nonexpansive(half, X, Y), InputError, "states: got 1 batches"),
        (lambda: assert_regular(half, (X,), (Y, Z), regularity=HALF), InputError, "inputs: got 1 batches"),
        (lambda: assert_regular(half, (X, W), (Y, Z)), InputError, "regularity: got None"),
        (lambda: assert_regular(half, (X[:5], W[:5]), (Y, Z), regularity=HALF), InputError, "inputs: got 5 rows"),
        (lambda: assert_lipschitz(torch.sin, X, bound=1.0), InputError, "points: got 1 batches"),
        (
            lambda: assert_lipschitz(torch.sin, X, Y, bound=-1.0),
            InputError,
            "bound: got -1.0, needed 0 <= bound; other",
        ),
        (
            lambda: assert_locally_lipschitz(torch.sin, X, radius=0.0, generator=seeded(), bound=1.0),
            InputError,
            "radius: got 0.0, needed finite radii > 0",
        ),
        (
            lambda: assert_locally_lipschitz(torch.sin, X, radius=1.0, generator=seeded()),
            InputError,
            "bound: got None, needed a Lipschitz constant on each ball",
        ),
        (
            lambda: assert_locally_lipschitz(torch.sin, X, radius=1.0, generator=seeded(), bound=1.0, pairs=0),
            InputError,
            "pairs: got 0",
        ),
        (lambda: assert_monotone(torch.sin, X, Y, modulus=-1.0), InputError, "modulus: got -1.0"),
        (lambda: assert_fixed_point(half, X, Y, -1.0), InputError, "tol: got -1.0"),
        (lambda: assert_deterministic(half, X, Y, repeats=0), InputError, "repeats: got 0"),
        (
            lambda: assert_batch_independent(half, X[:1], Y[:1]),
            InputError,
            "y: got 1 state, needed at least two states",
        ),
    ],
)
def test_unusable_arguments_are_refused(call: Callable[[], Verdict], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
