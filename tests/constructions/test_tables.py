"""The relaxation of a table of data: what it is, what it promises, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from eqtheory.bounds import Evidence, Side
from eqtheory.constructions import (
    ExactBalls,
    RadiusProduct,
    RelaxationRule,
    SlopeMajorant,
    SquaredRadius,
    TableRelaxation,
    _adaptive,
    adaptive_relaxation,
)
from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from eqtheory.norms import Euclidean, Norm, Spectral, Sum, Sup
from eqtheory.roundoff import gamma
from eqtheory.targets import ReciprocalMap, SampleTable
from eqtheory.theorems import simplicity
from eqtheory.theorems.order_optimal_step import lipschitz_rate

NORMS: tuple[Norm, ...] = (Euclidean(), Sup(), Sum())


def table(
    n: int = 60, *, input_norm: Norm | None = None, output_norm: Norm | None = None, seed: int = 1
) -> SampleTable:
    g = torch.Generator().manual_seed(seed)
    size = 10.0 ** (4 * torch.rand(n, 1, generator=g, dtype=torch.float64) - 2)
    return SampleTable(
        torch.rand(n, 2, generator=g, dtype=torch.float64),
        size * torch.randn(n, 3, generator=g, dtype=torch.float64),
        input_norm=input_norm or Euclidean(),
        output_norm=output_norm or Euclidean(),
    )


def worst_state_excess(G: TableRelaxation, budget: float, seed: int = 2) -> float:
    """Largest relative excess of (R2) with `L0 = L1 = budget` over all pairs and several states, beyond rounding."""
    data, norm = G.table, G.table.output_norm
    i, j = torch.tril_indices(len(data), len(data), -1)
    offset = G.eps[i, None] * data.values[i] - G.eps[j, None] * data.values[j]
    g = torch.Generator().manual_seed(seed)
    excess = -math.inf
    # The zero state, random ones, and those against the change of the offset, which are the worst.
    for t in (0.0, None, -1.0, -1e3, 1e-3):
        y = torch.randn(offset.shape, generator=g, dtype=torch.float64) if t is None else t * offset
        moved, size, delta = norm.distance(G(y, i), G(y, j)), norm(y), data.distance(i, j)
        lhs, rhs = simplicity.sides(gap=moved, state_norm=size, delta=delta, L0=budget, L1=budget)
        weight = G.eps[i] * norm(data.values[i]) + G.eps[j] * norm(data.values[j])
        slack = gamma(16, torch.float64) * (size + weight)
        excess = max(excess, float(((lhs - slack) / rhs - 1).max()))
    return excess


@pytest.mark.parametrize("input_norm", NORMS, ids=lambda n: n.name)
@pytest.mark.parametrize("output_norm", NORMS, ids=lambda n: n.name)
@pytest.mark.parametrize("rule", [SquaredRadius(), RadiusProduct()], ids=lambda r: r.theorem)
@pytest.mark.parametrize("radii", [ExactBalls(), SlopeMajorant()], ids=["balls", "majorant"])
def test_the_budget_holds_at_all_pairs_and_worst_states(
    input_norm: Norm, output_norm: Norm, rule: RelaxationRule, radii: Any
) -> None:
    data = table(input_norm=input_norm, output_norm=output_norm)
    for scale in (1.0, 0.25):
        G = adaptive_relaxation(data, rule=rule, scale=scale, table_radii=radii)
        assert worst_state_excess(G, 2 * scale) <= 0
        assert worst_state_excess(G, 1e-4 * scale) > 0  # the check can fail


def test_what_is_declared() -> None:
    data = table(input_norm=Sup(), output_norm=Sum())
    G = adaptive_relaxation(data, scale=0.5)
    r = G.regularity
    assert r is not None
    for bound in (r.L0, r.L1):
        assert (bound.value, bound.side, bound.evidence, bound.method) == (1.0, Side.UPPER, Evidence.PROVED, "T3b")
    assert (r.mu.side, r.mu.evidence) == (Side.EXACT, Evidence.PROVED)
    assert (r.state_norm, r.input_metric) == (Sum(), data)
    x = data.points
    assert torch.equal(r.mu.at(x), 1 - G.eps)
    assert torch.equal(G.step(x), G.eps)
    assert torch.equal(G.eps, 0.5 * G.rho * G.sigma)


def test_values_are_fixed_points_and_iterates_follow_the_closed_form() -> None:
    data = table()
    G, x = adaptive_relaxation(data), data.points
    assert torch.equal(G(data.values, x), data.values)
    y = G.initial_state(x)
    assert torch.equal(y, torch.zeros_like(data.values))
    for _ in range(5):
        y = G(y, x)
    closed = (1 - (1 - G.eps) ** 5).unsqueeze(1) * data.values
    # 1 - (1 - eps)^5 loses u/eps to cancellation, at most 1 in absolute terms.
    assert bool(((y - closed).abs() <= 32 * 2.0**-53 * (closed.abs() + data.values.abs())).all())


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_any_batch_of_indices_is_an_input(dtype: torch.dtype) -> None:
    data = table()
    G = adaptive_relaxation(data)
    index = torch.tensor([7, 3, 3, 59], dtype=dtype)
    y = torch.ones(4, 3, dtype=torch.float64)
    assert torch.equal(G.target(index), data.values[[7, 3, 3, 59]])
    assert torch.equal(G.step(index), G.eps[[7, 3, 3, 59]])
    together = G(y, index)
    assert torch.equal(together, torch.cat([G(y[k : k + 1], index[k : k + 1]) for k in range(4)]))


def test_points_are_found_again_by_their_rows() -> None:
    data = table()
    G = adaptive_relaxation(data)
    x = data.indices_of(data.inputs[[5, 0]])
    assert torch.equal(G.target(x), data.values[[5, 0]])


def test_a_bounded_lipschitz_table_has_steps_of_the_promised_order() -> None:
    points = torch.linspace(-1, 1, 101, dtype=torch.float64)
    for slope in (1.0, 100.0):
        values = torch.tanh(slope * points)
        G = adaptive_relaxation(SampleTable(points, values, input_norm=Sup(), output_norm=Sup()))
        lhs, rhs = lipschitz_rate.sides(eps=G.eps, size=1.0, slope=slope)
        assert bool((lhs <= rhs).all())
        square = adaptive_relaxation(G.table, rule=SquaredRadius())
        assert bool((square.eps <= G.eps).all())


def test_large_tables_use_the_majorant_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    data = table(40)
    exact = adaptive_relaxation(data, table_radii=ExactBalls()).rho
    majorant = adaptive_relaxation(data, table_radii=SlopeMajorant()).rho
    assert not torch.equal(exact, majorant)
    assert torch.equal(adaptive_relaxation(data).rho, exact)
    monkeypatch.setattr(_adaptive, "_EXACT_UP_TO", 39)
    assert torch.equal(adaptive_relaxation(data).rho, majorant)
    assert torch.equal(adaptive_relaxation(data, table_radii=ExactBalls()).rho, exact)


def test_a_single_point_is_a_table() -> None:
    G = adaptive_relaxation(SampleTable(torch.zeros(1), torch.tensor([3.0]), input_norm=Sup(), output_norm=Sup()))
    assert G.eps.tolist() == [1 / 16]


def test_any_norm_will_do_for_building() -> None:
    g = torch.Generator().manual_seed(3)
    matrices = torch.randn(10, 2, 2, generator=g, dtype=torch.float64)
    data = SampleTable(matrices, matrices.mT.contiguous(), input_norm=Spectral(), output_norm=Spectral())
    G = adaptive_relaxation(data)
    assert bool(((G.eps > 0) & (G.eps <= 1)).all())
    assert torch.equal(G(data.values, data.points), data.values)


@pytest.mark.parametrize("size", [1e100, 1e160, 1e200])
def test_values_too_large_for_a_step_in_float64_are_refused_and_not_given_a_step_of_zero(size: float) -> None:
    data = SampleTable(
        torch.tensor([0.0, 1.0], dtype=torch.float64),
        torch.tensor([0.0, size], dtype=torch.float64),
        input_norm=Sup(),
        output_norm=Sup(),
    )
    # The step is 1/(1 + |F|)^2, which float64 can hold for |F| up to about 1e161.
    if size < 1e161:
        assert bool((adaptive_relaxation(data).eps > 0).all())
        return
    with pytest.raises(InputError) as caught:
        adaptive_relaxation(data)
    assert len(str(caught.value).splitlines()) == 1


def test_values_whose_norm_overflows_are_refused_by_the_table() -> None:
    huge = torch.full((1, 2), 1.7e308, dtype=torch.float64)
    with pytest.raises(
        NonFiniteError, match=r"values: got row 0, whose l1 norm overflows, needed finite norms; rescale"
    ):
        SampleTable(torch.zeros(1, dtype=torch.float64), huge, input_norm=Sup(), output_norm=Sum())


# What is refused.

INDEX_ERRORS: list[tuple[Any, type[InputError], str]] = [
    (
        torch.tensor([0.0, 1.0]),
        InputError,
        "x: got torch.float32, needed an integer tensor of indices; pass table.points",
    ),
    (torch.tensor([True]), InputError, "x: got torch.bool, needed an integer tensor of indices"),
    (torch.tensor([-1]), DomainError, "x: got index -1, needed 0 <= index < 60; the map is defined on the table only"),
    (torch.tensor([0, 60]), DomainError, "x: got index 60, needed 0 <= index < 60"),
    (torch.tensor([], dtype=torch.int64), ShapeError, "x: got shape (0,), needed (batch,), not empty; pass a one-dim"),
    (torch.tensor([[0]]), ShapeError, "x: got shape (1, 1), needed (batch,), not empty"),
    (torch.tensor(0), ShapeError, "x: got shape (), needed (batch,), not empty"),
    ([0, 1], InputError, "x: got list, needed an integer tensor of indices"),
]


@pytest.mark.parametrize(("x", "kind", "message"), INDEX_ERRORS)
def test_unusable_indices_are_refused(x: Any, kind: type[InputError], message: str) -> None:
    G = adaptive_relaxation(table())
    asks: list[Any] = [G.step, G.initial_state, lambda x: G(torch.zeros(1, 3, dtype=torch.float64), x)]
    for ask in asks:
        with pytest.raises(InputError) as caught:
            ask(x)
        assert isinstance(caught.value, kind)
        # Values and radii are both looked up by the index; either may be the first to see it.
        assert str(caught.value).replace("index: got", "x: got").startswith(message)


@pytest.mark.parametrize("y", [torch.zeros(1, 3), torch.zeros(2), torch.zeros(2, 3, 1)])
def test_states_of_another_shape_are_refused(y: Tensor) -> None:
    G = adaptive_relaxation(table())
    with pytest.raises(ShapeError, match=r"y, F\(x\): got .* and \(2, 3\), needed equal shapes; expand one of them"):
        G(y.double(), torch.tensor([0, 1]))


def test_radii_of_tables_are_for_tables() -> None:
    with pytest.raises(
        InputError, match="table_radii: got SlopeMajorant, needed None for a map that is not a table; leave"
    ):
        adaptive_relaxation(ReciprocalMap(), table_radii=SlopeMajorant())  # type: ignore[call-overload]


@pytest.mark.parametrize("scale", [0, -1, 1.0001, math.nan])
def test_the_scale_lies_in_the_unit_interval(scale: float) -> None:
    with pytest.raises(InputError, match=rf"scale: got {scale}, needed 0 < scale <= 1; scale = 1 is the step of T3"):
        adaptive_relaxation(table(5), scale=scale)
